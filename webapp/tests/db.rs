//! Every `db::` function, the migrations and the routes on a real MySQL.
//!
//! `TEST_DATABASE_URL` names a server and a user who may create databases, e.g. `mysql://root:pw@127.0.0.1:3306/mysql`.
//! Each test makes a database of its own on it and drops it again. Without the variable they are skipped.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use serde_json::Value;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tandem_webapp::app::App;
use tandem_webapp::config::DatabaseConfig;
use tandem_webapp::db::employees::Page;
use tandem_webapp::db::overview::Counts;
use tandem_webapp::db::sets::Narrowed;
use tandem_webapp::db::{self, Database};
use tandem_webapp::migrations::{self, Outcome, Recompute};
use tandem_webapp::router;
use tandem_webapp::search::Search;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

const SCHEMA: &str = include_str!("schema.sql");
const ROWS: &str = include_str!("rows.sql");
const PATIENCE: Duration = Duration::from_secs(20);

/// A database of one test.
struct Fixture {
    name: String,
    server: MySqlConnectOptions,
}

impl Fixture {
    /// An empty one; `None` where there is no server to make it on.
    async fn empty() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var("TEST_DATABASE_URL") else {
            println!("skipped: TEST_DATABASE_URL is not set");
            return None;
        };
        let server = MySqlConnectOptions::from_str(&url).unwrap();
        let name = format!("tandem_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let fixture = Self { name, server };
        let mut connection = fixture.server.connect().await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {}", fixture.name))).await.unwrap();
        Some(fixture)
    }

    /// One with the tables and a few rows.
    async fn loaded() -> Option<Self> {
        let fixture = Self::empty().await?;
        let mut connection = fixture.connection().await;
        connection.execute(SCHEMA).await.unwrap();
        connection.execute(ROWS).await.unwrap();
        Some(fixture)
    }

    async fn connection(&self) -> MySqlConnection {
        self.server.clone().database(&self.name).connect().await.unwrap()
    }

    async fn run(&self, sql: &'static str) {
        self.connection().await.execute(sql).await.unwrap();
    }

    /// Kills every other connection to this database, as a server that goes away would.
    async fn kill_all(&self, root: &mut MySqlConnection) {
        let ids: Vec<u64> =
            sqlx::query_scalar("SELECT id FROM performance_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()")
                .bind(&self.name)
                .fetch_all(&mut *root)
                .await
                .unwrap();
        assert!(!ids.is_empty());
        for id in ids {
            // It may have ended by itself since.
            match root.execute(AssertSqlSafe(format!("KILL {id}"))).await {
                Err(sqlx::Error::Database(error)) if error.message().starts_with("Unknown thread id") => {}
                done => drop(done.unwrap()),
            }
        }
    }

    /// How many statements of this database the server sleeps in. The list of information_schema would fail as a whole
    /// where another test's statement has an emoji in it.
    async fn sleeping(&self, connection: &mut MySqlConnection) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM performance_schema.processlist WHERE db = ? AND state = 'User sleep'")
            .bind(&self.name)
            .fetch_one(connection)
            .await
            .unwrap()
    }

    fn config(&self) -> DatabaseConfig {
        let options = self.server.clone().database(&self.name);
        DatabaseConfig {
            primary: options.clone(),
            reads: options,
            pool_size: 4,
            connect_timeout: Duration::from_secs(5),
            query_timeout: Duration::from_secs(5),
            max_lifetime: Duration::from_secs(60),
        }
    }

    fn database(&self) -> Database {
        Database::new(&self.config())
    }

    fn pages(&self) -> Router {
        router::pages(Arc::new(App::new(self.database(), "replica-1".to_owned(), false)), false)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("DROP DATABASE {}", self.name));
        // The test's own runtime cannot be waited for in here, and may be about to end with a failed assertion.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { server.connect().await?.execute(AssertSqlSafe(drop)).await.map(|_| ()) })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("database {} could not be dropped", self.name);
        }
    }
}

/// The fixture, or the end of a test that cannot run.
macro_rules! fixture {
    ($made:expr) => {
        match $made.await {
            Some(fixture) => fixture,
            None => return,
        }
    };
}

#[path = "db/exports.rs"]
mod exports;
#[path = "db/lists.rs"]
mod lists;
#[path = "db/statistics.rs"]
mod statistics;

async fn get(router: &Router, path: &str) -> (u16, String) {
    let response = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn json(router: &Router, path: &str) -> Value {
    let (status, body) = get(router, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn numbers(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|row| row["emp_no"].as_i64().unwrap()).collect()
}

/// A page of a list, as a handler asks for it.
async fn list(db: &Database, search: &Search) -> Page {
    let counts = db::overview::counts(db).await.unwrap();
    db::employees::list(db, search, &Narrowed::new(db, &search.filter, &counts)).await.unwrap()
}

async fn found(db: &Database, query: &str) -> Vec<i32> {
    let page = list(db, &Search::parse(query).unwrap()).await;
    page.employees.iter().map(|row| row.emp_no).collect()
}

#[tokio::test]
async fn queries_are_timed_under_the_name_of_their_function() {
    let fixture = fixture!(Fixture::loaded());
    let app = Arc::new(App::new(fixture.database(), "replica-1".to_owned(), false));
    let pages = router::pages(Arc::clone(&app), true);
    json(&pages, "/api/v1/employees/223595").await;
    let began = Instant::now();
    let text = loop {
        let (_, text) = get(&pages, "/metrics").await;
        // The one that asks all the time may be later than the first request.
        if text.contains("\ndatabase_up 1.0\n") {
            break text;
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for (query, times) in [("employees.basics", 1), ("employees.salaries", 1)] {
        let line = format!("database_query_duration_seconds_count{{query=\"{query}\"}} {times}");
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("database_query_errors_total{"), "{text}");
}

#[tokio::test]
async fn the_challenge_has_nine_answers_in_the_order_of_full_names() {
    let fixture = fixture!(Fixture::loaded());
    let rows = db::employees::show(&fixture.database()).await.unwrap();
    let names: Vec<_> = rows.iter().map(|row| format!("{} {} {}", row.emp_no, row.first_name, row.last_name)).collect();
    let expected = [
        "223595 Chiranjit Dredge",
        "270794 Dannz Zhang",
        "284045 Fun Seiwald",
        "235729 Henk Anger",
        "74344 Hiroyasu Provine",
        "424584 Kagan Dredge",
        "80850 Koldo Luit",
        "433260 Make Olivero",
        "248758 Snehasis Muhlberg",
    ];
    assert_eq!(names, expected);
}

/// Searches and whom they find, with and without our indexes.
const SEARCHES: &[(&str, &[i32])] = &[
    ("q=dredge&sort=name", &[223_595, 424_584]),
    ("q=KAGAN", &[424_584]),
    ("q=Kagan+Dre", &[424_584]),
    ("q=dre+kag", &[424_584]),
    ("q=%25", &[]),
    ("q=_", &[]),
    ("q=O'Neil", &[20_005]),
    ("gender=F", &[20_001, 20_003, 20_005]),
    ("born_from=1965-02-01&born_to=1965-02-01&gender=F", &[20_001]),
    ("hired_to=1990-01-01&order=desc", &[20_004, 20_002]),
    ("department=d001", &[20_001, 20_002, 20_004]),
    ("department=d001&status=current", &[20_001, 20_004]),
    ("department=d001&status=former", &[20_002]),
    ("department=zzz", &[]),
    ("title=Engineer", &[20_001, 20_002, 20_003]),
    ("title=Engineer&status=current", &[20_001, 20_003]),
    ("title=Engineer&department=d001&status=current&sort=birth_date", &[20_001]),
    ("status=former&gender=M&limit=1", &[20_002]),
    ("status=current&sort=hire_date&order=desc", &[20_003, 20_001, 20_004]),
    ("status=current&sort=hire_date&hired_from=1990-01-01", &[20_001, 20_003]),
    ("status=current&sort=birth_date&born_to=1965-02-01", &[20_004, 20_001]),
    ("status=current&sort=name", &[20_003, 20_001, 20_004]),
];

#[tokio::test]
async fn searches_find_the_same_with_and_without_our_indexes() {
    let fixture = fixture!(Fixture::loaded());
    let db = fixture.database();
    for (query, expected) in SEARCHES {
        assert_eq!(found(&db, query).await, *expected, "{query}");
    }
    migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
    for (query, expected) in SEARCHES {
        assert_eq!(found(&db, query).await, *expected, "{query}, with indexes");
    }
}

#[tokio::test]
async fn pages_of_every_order_lead_through_all_employees_and_back() {
    let fixture = fixture!(Fixture::loaded());
    let db = fixture.database();
    for query in [
        "sort=emp_no",
        "sort=emp_no&order=desc",
        "sort=name",
        "sort=name&order=desc",
        "sort=birth_date",
        "sort=birth_date&order=desc",
        "sort=hire_date",
        "sort=hire_date&order=desc",
        "sort=name&status=current",
        "sort=birth_date&order=desc&status=former",
    ] {
        let all = found(&db, &format!("{query}&limit=100")).await;
        let mut search = Search::parse(&format!("{query}&limit=2")).unwrap();
        let (mut forwards, mut last) = (Vec::new(), Vec::new());
        loop {
            let page = list(&db, &search).await;
            last = page.employees.iter().map(|row| row.emp_no).chain(std::mem::take(&mut last)).collect();
            forwards.extend(page.employees.iter().map(|row| row.emp_no));
            let Some(next) = page.next else {
                search.cursor = page.previous;
                last = page.employees.iter().map(|row| row.emp_no).collect();
                break;
            };
            search = Search::parse(&search.page_query(&next)).unwrap();
        }
        assert_eq!(forwards, all, "{query}");
        let mut backwards = last;
        while search.cursor.is_some() {
            let page = list(&db, &search).await;
            backwards.splice(0..0, page.employees.iter().map(|row| row.emp_no));
            search.cursor = page.previous;
        }
        assert_eq!(backwards, all, "{query}, backwards");
    }
}

#[tokio::test]
async fn a_career_is_told_from_its_newest_to_its_oldest_part() {
    let fixture = fixture!(Fixture::loaded());
    let db = fixture.database();
    let db::employees::Person { employee, career } = db::employees::person(&db, 20_001).await.unwrap().unwrap();
    assert_eq!(employee.last_name, "Zimmer");
    let departments: Vec<_> = career.departments.iter().map(|row| (row.dept_no.as_str(), row.manager)).collect();
    assert_eq!(departments, [("d001", true), ("d001", false)]);
    assert_eq!(
        career.titles.iter().map(|row| row.title.as_str()).collect::<Vec<_>>(),
        ["Manager", "Engineer", "Staff"]
    );
    assert_eq!(career.salaries.iter().map(|row| row.salary).collect::<Vec<_>>(), [62_000, 60_000]);
    assert!(career.salaries[0].to_date.is_none() && career.salaries[1].to_date.is_some());
    let managers = |career: &db::employees::Career| {
        let spans = career.managers.iter().map(|row| (row.emp_no, row.from_date.to_string(), row.to_date));
        spans.collect::<Vec<_>>()
    };
    // Only while both were there, and nobody is a manager of their own.
    let day = |text: &str| Some(text.parse().unwrap());
    assert_eq!(managers(&career), [(20_002, "1992-01-01".to_owned(), day("1995-01-01"))]);
    assert_eq!(
        managers(&db::employees::person(&db, 20_004).await.unwrap().unwrap().career),
        [(20_001, "1995-01-01".to_owned(), None), (20_002, "1990-01-01".to_owned(), day("1995-01-01"))]
    );
    assert_eq!(db::employees::person(&db, 1).await.unwrap(), None);
}

#[tokio::test]
async fn people_who_are_asked_for_at_the_same_time_are_the_same_as_alone() {
    let fixture = fixture!(Fixture::loaded());
    let db = Arc::new(fixture.database());
    let numbers: Vec<u32> = (19_990..20_070).collect();
    let asking: Vec<_> = numbers
        .iter()
        .map(|&number| {
            let db = Arc::clone(&db);
            tokio::spawn(async move { db::employees::person(&db, number).await })
        })
        .collect();
    let mut found = 0;
    for (&number, together) in numbers.iter().zip(asking) {
        let together = together.await.unwrap().unwrap();
        assert_eq!(together, db::employees::person(&db, number).await.unwrap());
        found += usize::from(together.is_some_and(|person| person.employee.emp_no.unsigned_abs() == number));
    }
    assert_eq!(found, 5);
}

#[tokio::test]
async fn departments_have_managers_and_headcounts() {
    let fixture = fixture!(Fixture::loaded());
    let db = fixture.database();
    assert_eq!(db::departments::find(&db, "d009").await.unwrap(), None);
    assert_eq!(db::departments::find(&db, "d001").await.unwrap().unwrap().dept_name, "Marketing & Söhne");
    let managers = db::departments::managers(&db, "d001").await.unwrap();
    assert_eq!(
        managers.iter().map(|row| (row.emp_no, row.to_date.is_none())).collect::<Vec<_>>(),
        [(20_001, true), (20_002, false)]
    );
    let headcounts = db::overview::headcounts(&db).await.unwrap();
    let counts: Vec<_> = headcounts.iter().map(|row| (row.dept_no.as_str(), row.headcount)).collect();
    assert_eq!(counts, [("d001", 2), ("d002", 1), ("d003", 0)]);
    let counts = db::overview::counts(&db).await.unwrap();
    assert_eq!(
        (counts.employees, counts.current_employees, counts.departments, counts.titles, counts.salaries),
        (14, 3, 3, 6, 2)
    );
    assert_eq!(db::overview::titles(&db).await.unwrap(), ["Engineer", "Manager", "Senior Staff", "Staff"]);
}

#[tokio::test]
async fn a_data_set_is_described_by_its_row_or_not_at_all() {
    let fixture = fixture!(Fixture::loaded());
    let db = fixture.database();
    assert_eq!(db::dataset::describe(&db).await.unwrap(), None);
    fixture.run(DATASET).await;
    let found = db::dataset::describe(&db).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.employees, found.licence), ("sample", 14, None));
    assert_eq!(found.loaded_at.to_string(), "2026-01-02 03:04:05 UTC");
}

const DATASET: &str = "CREATE TABLE tandem_dataset (name VARCHAR(64) NOT NULL, description VARCHAR(255) NOT NULL, \
    source VARCHAR(255) NULL, licence VARCHAR(255) NULL, employees INT UNSIGNED NOT NULL, loaded_at TIMESTAMP NOT NULL); \
    SET time_zone = '+00:00'; \
    INSERT INTO tandem_dataset VALUES ('sample', 'A small <sample>', 'https://example.org/', NULL, 14, '2026-01-02 03:04:05')";

#[tokio::test]
async fn another_data_set_is_noticed_by_the_pages() {
    let fixture = fixture!(Fixture::loaded());
    let pages = fixture.pages();
    let (status, body) = get(&pages, "/").await;
    assert_eq!(status, 200);
    assert!(body.contains("a data set of its own (no description found)"), "{body}");
    fixture.run(DATASET).await;
    // A page that asks for nothing else looks each time, however short ago somebody has looked.
    let (_, body) = get(&pages, "/").await;
    assert!(body.contains("A small &#60;sample&#62;"), "{body}");
    fixture.run("UPDATE tandem_dataset SET description = 'Another <sample>'").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !get(&pages, "/departments").await.1.contains("Another &#60;sample&#62;") {
        assert!(std::time::Instant::now() < deadline, "the new data set was not noticed");
    }
}

#[tokio::test]
async fn what_one_replica_has_sent_is_known_to_the_others() {
    let fixture = fixture!(Fixture::loaded());
    let replica = |name: &str| router::pages(Arc::new(App::new(fixture.database(), name.to_owned(), false)), false);
    let (one, other) = (replica("replica-1"), replica("replica-2"));
    for path in ["/", "/show", "/employees", "/departments", "/api/v1/overview", "/api/v1/show", "/api/v1/employees"] {
        let tag = async |pages: &Router| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            pages.clone().oneshot(request).await.unwrap().headers()["etag"].clone()
        };
        assert_eq!(tag(&one).await, tag(&other).await, "{path}");
    }
}

#[tokio::test]
async fn every_page_and_its_json_answer() {
    let fixture = fixture!(Fixture::loaded());
    let pages = fixture.pages();
    for path in [
        "/",
        "/show",
        "/employees",
        "/employees?q=ka&sort=name",
        "/employees/20001",
        "/departments",
        "/departments/d001",
        "/salaries",
        "/salaries?department=d001&title=Staff&gender=F",
    ] {
        let (status, body) = get(&pages, path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(body.contains("replica-1") && body.contains(&fixture.name), "{path}");
    }
    assert_eq!(json(&pages, "/api/v1/overview").await["counts"]["employees"], 14);
    assert_eq!(json(&pages, "/api/v1/show").await["employees"].as_array().unwrap().len(), 9);
    let one = json(&pages, "/api/v1/employees/20001").await;
    assert_eq!(
        (one["employee"]["birth_date"].as_str(), one["career"]["salaries"][0]["to_date"].as_str()),
        (Some("1965-02-01"), None)
    );
    assert_eq!(json(&pages, "/api/v1/departments").await["departments"][0]["headcount"], 2);
    let department = json(&pages, "/api/v1/departments/d001").await;
    assert_eq!(numbers(&department["recent_hires"]), [20_001, 20_004]);
    let first = json(&pages, "/api/v1/employees?limit=5&sort=name").await;
    let second = json(&pages, first["next"].as_str().unwrap()).await;
    let back = json(&pages, second["previous"].as_str().unwrap()).await;
    assert_eq!(first, back);
    assert!(first["previous"].is_null());
    for path in ["/employees/1", "/departments/d009", "/api/v1/employees/1", "/api/v1/departments/d009"] {
        assert_eq!(get(&pages, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_search_that_cannot_be_made_is_answered_with_its_form() {
    let fixture = fixture!(Fixture::loaded());
    let (status, body) = get(&fixture.pages(), "/employees?q=a+b+c&born_from=1965-02-01").await;
    assert_eq!(status, 400);
    assert!(body.contains("value=\"a b c\"") && body.contains("value=\"1965-02-01\""), "{body}");
}

#[tokio::test]
async fn hostile_text_is_looked_for_and_not_executed() {
    let fixture = fixture!(Fixture::loaded());
    let pages = fixture.pages();
    for path in [
        "/employees?q=%27%3BDROP+TABLE",
        "/employees?q=%22--",
        "/employees?title=%27%29%3B%20DROP%20TABLE%20titles%3B--",
        "/employees?title=%3Cscript%3Ealert(1)%3C/script%3E",
        "/employees?q=%F0%9F%98%80",
        "/employees?q=%ff%fe",
        "/employees?title=%E2%80%AE",
    ] {
        let (status, body) = get(&pages, path).await;
        assert_eq!(status, 200, "{path}");
        assert!(!body.contains("<script>"), "{path}");
        assert!(body.contains("Nobody found"), "{path}");
    }
    assert_eq!(db::schema::tables(&fixture.database()).await.unwrap(), db::schema::TABLES);
}

#[tokio::test]
async fn the_application_cannot_write_through_its_pool() {
    let fixture = fixture!(Fixture::loaded());
    let db = fixture.database();
    let written = db.read(|pool| sqlx::query("DELETE FROM salaries").execute(pool)).await;
    assert!(written.unwrap_err().to_string().contains("READ ONLY"));
}

#[tokio::test]
async fn a_query_without_end_is_given_up() {
    let fixture = fixture!(Fixture::loaded());
    let db = Database::new(&DatabaseConfig { query_timeout: Duration::from_secs(1), ..fixture.config() });
    let limit = "SELECT CAST(@@max_execution_time AS SIGNED)";
    let limit: Result<i64, _> = db.read(|pool| sqlx::query_scalar(limit).fetch_one(pool)).await;
    assert_eq!(limit.unwrap(), 1000, "milliseconds that the server gives a statement");
    let mut connection = fixture.connection().await;
    let begins = async {
        let began = Instant::now();
        while fixture.sleeping(&mut connection).await == 0 {
            assert!(began.elapsed() < PATIENCE, "it does not begin");
        }
    };
    let (slept, ()) = tokio::join!(sleep_for(&db, 30.0), begins);
    // The server stops it itself: SLEEP then returns 1. We may have given it up a moment earlier.
    assert!(matches!(slept, Ok(1) | Err(db::Error::TooSlow(_))), "{slept:?}");
    let began = Instant::now();
    while fixture.sleeping(&mut connection).await > 0 {
        assert!(began.elapsed() < Duration::from_secs(3), "it goes on in the server");
    }
    assert_eq!(db::schema::tables(&db).await.unwrap(), db::schema::TABLES);
}

#[tokio::test]
async fn what_the_server_says_of_a_failed_query_is_in_no_answer() {
    let fixture = fixture!(Fixture::loaded());
    let user = format!("u{}", fixture.name.trim_start_matches("tandem_test_"));
    let mut root = fixture.connection().await;
    let mut sql = async |text: String| root.execute(AssertSqlSafe(text)).await.map(|_| ()).unwrap();
    // "Unknown column …" to those who may read it, "SELECT command denied to user …@… for table …" to this one.
    sql("ALTER TABLE employees DROP COLUMN hire_date".to_owned()).await;
    sql(format!("CREATE USER {user} IDENTIFIED BY 'never-shown'")).await;
    sql(format!("GRANT SELECT ON {}.departments TO {user}", fixture.name)).await;
    let denied = fixture.config().reads.username(&user).password("never-shown");
    for config in [fixture.config(), DatabaseConfig { reads: denied, ..fixture.config() }] {
        let name = config.reads.get_username().to_owned();
        let pages = router::pages(Arc::new(App::new(Database::new(&config), "replica-1".to_owned(), false)), false);
        for path in ["/employees/20001", "/show", "/api/v1/employees", "/api/v1/employees/20001", "/api/v1/show"] {
            let response = pages.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
            assert_eq!(parts.status.as_u16(), 500, "{name}, {path}: {body}");
            let problem = parts.headers["content-type"] == "application/problem+json";
            assert_eq!(problem, path.starts_with("/api/"), "{path}");
            // The footer of a page says which database it is, on purpose.
            let said = body.split("<footer>").next().unwrap();
            assert!(said.contains("Something went wrong"), "{said}");
            let secrets = ["Unknown column", "SELECT", "hire_date", "denied", "never-shown"];
            for secret in secrets.into_iter().chain([name.as_str(), fixture.server.get_host()]) {
                assert!(!said.contains(secret), "{path} says {secret}: {said}");
            }
        }
    }
    sql(format!("DROP USER {user}")).await;
}

#[tokio::test]
async fn killed_connections_cost_no_request() {
    let fixture = fixture!(Fixture::loaded());
    let db = fixture.database();
    let mut root = fixture.connection().await;
    for _ in 0..5 {
        assert_eq!(db::employees::show(&db).await.unwrap().len(), 9);
        fixture.kill_all(&mut root).await;
    }
}

#[tokio::test]
async fn all_connections_of_the_pool_may_die_at_once() {
    let fixture = fixture!(Fixture::loaded());
    let db = fixture.database();
    let mut root = fixture.connection().await;
    let (search, counts) = (Search::default(), Counts::default());
    let narrowed = Narrowed::new(&db, &search.filter, &counts);
    for _ in 0..5 {
        for found in join_all((0..8).map(|_| db::employees::list(&db, &search, &narrowed))).await {
            assert!(!found.unwrap().employees.is_empty());
        }
        fixture.kill_all(&mut root).await;
    }
}

/// Leads connections to a server. Those that are open when it freezes stay open, and nothing comes through any more.
struct Leader {
    port: u16,
    freeze: tokio::sync::watch::Sender<()>,
}

impl Leader {
    async fn to(host: String, port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let freeze = tokio::sync::watch::Sender::new(());
        let frozen = freeze.clone();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut server = tokio::net::TcpStream::connect((host.as_str(), port)).await.unwrap();
                let mut frozen = frozen.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = frozen.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { port: here, freeze }
    }
}

#[tokio::test]
async fn of_several_servers_one_that_is_frozen_costs_no_request() {
    let fixture = fixture!(Fixture::loaded());
    let server = Leader::to(fixture.server.get_host().to_owned(), fixture.server.get_port()).await;
    let config = fixture.config();
    let reads = config.reads.clone().host("localhost").port(server.port);
    let db = Database::new(&DatabaseConfig { reads, connect_timeout: Duration::from_secs(1), ..config });
    let (search, counts) = (Search::default(), Counts::default());
    let narrowed = Narrowed::new(&db, &search.filter, &counts);
    for _ in 0..3 {
        for found in join_all((0..4).map(|_| db::employees::list(&db, &search, &narrowed))).await {
            assert!(!found.unwrap().employees.is_empty());
        }
        server.freeze.send_replace(());
    }
}

#[tokio::test]
async fn readiness_follows_the_tables_and_the_migrations() {
    let fixture = fixture!(Fixture::empty());
    let pages = fixture.pages();
    assert_eq!(get(&pages, "/readyz").await, (503, "not ready: 0 of the data set's 6 tables are there.\n".to_owned()));
    let (status, body) = get(&pages, "/employees").await;
    assert_eq!(status, 503);
    assert!(body.contains("The data set is not loaded yet."));

    fixture.run(SCHEMA).await;
    assert_eq!(get(&pages, "/readyz").await, (200, "ready\n".to_owned()));
    let migrating = router::pages(Arc::new(App::new(fixture.database(), "replica-2".to_owned(), true)), false);
    assert_eq!(get(&migrating, "/readyz").await.0, 503);

    migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
    assert_eq!(get(&pages, "/readyz").await.0, 200);
    assert_eq!(get(&migrating, "/readyz").await.0, 200);
    fixture.run("DELETE FROM tandem_migrations WHERE version = 2").await;
    assert_eq!(
        get(&pages, "/readyz").await,
        (503, "not ready: Migrations [2] have not been applied yet.\n".to_owned())
    );
}

#[tokio::test]
async fn replicas_that_migrate_at_once_do_the_work_once() {
    let fixture = fixture!(Fixture::loaded());
    let config = fixture.config();
    let run = || migrations::run(&config, PATIENCE, Recompute::Outdated);
    let (one, two, three) = tokio::join!(run(), run(), run());
    let steps = [one.unwrap(), two.unwrap(), three.unwrap()];
    let created = steps.iter().flatten().filter(|step| matches!(step.outcome, Outcome::Created(_))).count();
    assert_eq!(created, steps[0].len());
    assert_eq!(steps.iter().flatten().filter(|step| step.outcome == Outcome::Recorded).count(), 2 * created);
}

#[tokio::test]
async fn migrations_tell_the_server_how_many_rows_its_tables_have() {
    let fixture = fixture!(Fixture::empty());
    fixture.run(SCHEMA).await;
    // It would find out by itself, later.
    fixture.run("ALTER TABLE salaries STATS_AUTO_RECALC = 0; ANALYZE TABLE salaries").await;
    fixture.run(ROWS).await;
    let known = async || -> u64 {
        sqlx::query_scalar(
            "SELECT n_rows FROM mysql.innodb_table_stats WHERE database_name = ? AND table_name = 'salaries'",
        )
        .bind(&fixture.name)
        .fetch_one(&mut fixture.connection().await)
        .await
        .unwrap()
    };
    assert_eq!(known().await, 0);
    migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
    assert_eq!(known().await, 2);
    // The servers that copy this one have to find out as well.
    let mut connection = fixture.connection().await;
    let logs = connection.fetch_all("SHOW BINARY LOGS").await.unwrap();
    let mut said = Vec::new();
    for log in logs {
        let events = AssertSqlSafe(format!("SHOW BINLOG EVENTS IN '{}'", log.get::<String, _>("Log_name")));
        let events = connection.fetch_all(events).await.unwrap();
        said.extend(events.iter().map(|event| event.get::<String, _>("Info")));
    }
    for tables in ["employees, departments", "tandem_salary_bands"] {
        let database = format!("`{}`", fixture.name);
        let told = |line: &String| line.contains(&database) && line.contains(&format!("ANALYZE TABLE {tables}"));
        assert!(said.iter().any(told), "{tables}");
    }
}

#[tokio::test]
async fn a_migration_that_was_killed_half_way_is_resumed() {
    let fixture = fixture!(Fixture::loaded());
    let config = fixture.config();
    migrations::run(&config, PATIENCE, Recompute::Outdated).await.unwrap();
    // Killed between an index or a summary and its record, and before the last index.
    fixture
        .run("DELETE FROM tandem_migrations WHERE version IN (5, 6, 8); ALTER TABLE titles DROP INDEX tandem_title")
        .await;
    let outcomes: Vec<_> = migrations::run(&config, PATIENCE, Recompute::Outdated)
        .await
        .unwrap()
        .into_iter()
        .map(|step| step.outcome)
        .collect();
    assert!(outcomes[..4].iter().all(|outcome| *outcome == Outcome::Recorded));
    assert_eq!(outcomes[4], Outcome::Found);
    assert!(matches!(outcomes[5], Outcome::Created(_)));
    assert_eq!(outcomes[6..9], [Outcome::Recorded, Outcome::Found, Outcome::Recorded]);
    assert!(outcomes[9..].iter().all(|outcome| *outcome == Outcome::Recorded));
}

#[tokio::test]
async fn migrations_without_a_data_set_or_without_the_lock_say_so() {
    let fixture = fixture!(Fixture::empty());
    let config = fixture.config();
    let error = migrations::run(&config, PATIENCE, Recompute::Outdated).await.unwrap_err();
    assert_eq!(error.to_string(), "table employees does not exist: load the data set first");
    let mut holder = fixture.connection().await;
    holder.execute("DO GET_LOCK(CONCAT('tandem_migrations_', LEFT(SHA2(DATABASE(), 256), 40)), 0)").await.unwrap();
    let error = migrations::run(&config, Duration::from_secs(1), Recompute::Outdated).await.unwrap_err();
    assert_eq!(error.to_string(), "another process has been migrating the database for 1s: try again later");
}

#[tokio::test]
async fn no_page_is_answered_from_memory_while_the_database_is_away() {
    let fixture = fixture!(Fixture::loaded());
    let app = Arc::new(App::new(fixture.database(), "replica-1".to_owned(), false));
    let pages = router::pages(Arc::clone(&app), false);
    for path in ["/", "/departments", "/show", "/employees"] {
        assert_eq!(get(&pages, path).await.0, 200, "{path}");
    }
    app.db.close().await;
    for path in ["/", "/departments", "/show", "/employees", "/api/v1/overview", "/api/v1/departments", "/readyz"] {
        assert_eq!(get(&pages, path).await.0, 503, "{path}");
    }
}

/// Stands between the application and the server, and can freeze: connections stay open, and nothing passes any more.
struct Freezer {
    port: u16,
    frozen: watch::Sender<bool>,
}

impl Freezer {
    async fn before(server: &MySqlConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (frozen, thawed) = watch::channel(false);
        let server = format!("{}:{}", server.get_host(), server.get_port());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, thawed.clone()));
                tokio::spawn(pass(from_server, to_client, thawed.clone()));
            }
        });
        Self { port, frozen }
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut part).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() || to.write_all(&part[..length]).await.is_err() {
            return;
        }
    }
}

async fn sleep_for(db: &Database, seconds: f64) -> Result<i64, db::Error> {
    db.read(|pool| sqlx::query_scalar("SELECT SLEEP(?)").bind(seconds).fetch_one(pool)).await
}

#[tokio::test]
async fn waiting_for_a_turn_in_a_busy_pool_is_not_an_outage() {
    let fixture = fixture!(Fixture::empty());
    let config = DatabaseConfig {
        pool_size: 1,
        connect_timeout: Duration::from_secs(1),
        query_timeout: Duration::from_secs(20),
        ..fixture.config()
    };
    let db = Arc::new(Database::new(&config));
    let mut visitors = tokio::task::JoinSet::new();
    // Three times as long as the database may stay silent.
    for _ in 0..10 {
        let db = Arc::clone(&db);
        visitors.spawn(async move { sleep_for(&db, 0.3).await });
    }
    let answers = visitors.join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(0))), "{answers:?}");
}

#[tokio::test]
async fn a_turn_that_never_comes_is_said_to_be_slow_and_not_an_outage() {
    let fixture = fixture!(Fixture::empty());
    let config = DatabaseConfig { pool_size: 1, query_timeout: Duration::from_secs(1), ..fixture.config() };
    let db = Database::new(&config);
    let (first, second) = tokio::join!(sleep_for(&db, 5.0), sleep_for(&db, 0.0));
    assert!(matches!(first, Ok(1) | Err(db::Error::TooSlow(_))), "{first:?}");
    assert!(matches!(second, Ok(0) | Err(db::Error::TooSlow(_))), "{second:?}");
}

#[tokio::test]
async fn an_outage_ends_waiting_requests_at_once_and_is_over_as_soon_as_the_database_answers() {
    let fixture = fixture!(Fixture::empty());
    let freezer = Freezer::before(&fixture.server).await;
    let reads = fixture.config().reads.host("127.0.0.1").port(freezer.port);
    let config = DatabaseConfig {
        primary: reads.clone(),
        reads,
        pool_size: 2,
        connect_timeout: Duration::from_secs(1),
        query_timeout: Duration::from_secs(20),
        ..fixture.config()
    };
    let db = Arc::new(Database::new(&config));
    for _ in 0..2 {
        assert!(sleep_for(&db, 0.0).await.is_ok());
        // Two in the middle of their queries, six that wait for a connection.
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let db = Arc::clone(&db);
            waiting.spawn(async move { sleep_for(&db, 10.0).await });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        freezer.frozen.send(true).unwrap();
        let began = Instant::now();
        let answers = waiting.join_all().await;
        assert!(answers.iter().all(|answer| matches!(answer, Err(db::Error::Unavailable(_)))), "{answers:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let began = Instant::now();
        assert!(matches!(sleep_for(&db, 0.0).await, Err(db::Error::Unavailable(_))));
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());

        freezer.frozen.send(false).unwrap();
        let began = Instant::now();
        while sleep_for(&db, 0.0).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(3), "it does not recover");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_password_that_changes_is_an_outage_for_who_is_not_in_and_over_when_it_fits_again() {
    let fixture = fixture!(Fixture::empty());
    let user = format!("u{}", fixture.name.trim_start_matches("tandem_test_"));
    let mut root = fixture.connection().await;
    let mut sql = async |text: String| root.execute(AssertSqlSafe(text)).await.map(|_| ()).unwrap();
    sql(format!("CREATE USER {user} IDENTIFIED BY 'old'")).await;
    sql(format!("GRANT ALL ON {}.* TO {user}", fixture.name)).await;
    let config = DatabaseConfig {
        reads: fixture.config().reads.username(&user).password("old"),
        connect_timeout: Duration::from_secs(5),
        ..fixture.config()
    };
    let db = Database::new(&config);
    let connections = async |wanted| {
        let began = Instant::now();
        while db.connections() != wanted {
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}, not {wanted:?}", db.connections());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(sleep_for(&db, 0.0).await.is_ok());
    // Back in the pool.
    connections((1, 1)).await;
    // One is at work on the connection and goes on to be, until we let go of what it waits for; the others need new
    // ones.
    let lock = format!("'{user}'");
    sql(format!("DO GET_LOCK({lock}, 0)")).await;
    let waits = db.read(|pool| sqlx::query_scalar("SELECT GET_LOCK(?, 10)").bind(&user).fetch_one(pool));
    let at_work = async {
        let others = async {
            connections((1, 0)).await;
            sql(format!("ALTER USER {user} IDENTIFIED BY 'new'")).await;
            let began = Instant::now();
            let refused = tokio::join!(sleep_for(&db, 0.0), sleep_for(&db, 0.0));
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
            sql(format!("DO RELEASE_LOCK({lock})")).await;
            refused
        };
        tokio::join!(waits, others)
    };
    let (first, (second, third)): (Result<i64, _>, _) = at_work.await;
    assert!(matches!(first, Ok(1)), "{first:?}");
    for refused in [second, third] {
        assert!(matches!(refused, Err(db::Error::Unavailable(_))), "{refused:?}");
    }
    sql(format!("ALTER USER {user} IDENTIFIED BY 'old'")).await;
    let began = Instant::now();
    loop {
        let (first, second) = tokio::join!(sleep_for(&db, 0.0), sleep_for(&db, 0.1));
        if first.is_ok() && second.is_ok() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(3), "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sql(format!("DROP USER {user}")).await;
}
