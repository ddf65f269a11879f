//! No address can hold the database: the worst that we can think of, on the full data set. Each has its answer in time,
//! and afterwards no statement goes on in the server, whether the client has waited for the answer or hung up. And the
//! summaries of the full data set, compared with what its own tables say.
//!
//! `TEST_FULL_DATABASE_URL` names a server whose database `employees` holds the full data set, and a user who may
//! create users, e.g. `mysql://root:pw@127.0.0.1:3306/mysql`. Without the variable the tests are skipped.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tandem_webapp::app::App;
use tandem_webapp::config::DatabaseConfig;
use tandem_webapp::db::statistics::{Percentiles, Year};
use tandem_webapp::db::{self, Database};
use tandem_webapp::group::Group;
use tandem_webapp::router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// As it is by default.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// As long as two queries may take, and a second for all the rest.
const ANSWER_LIMIT: Duration = Duration::from_secs(11);
/// What is written while it is read: its size has no limit, and whoever hangs up ends it.
const EXPORTS: &[&str] =
    &["/api/v1/employees.csv", "/api/v1/employees.json?q=e+e", "/api/v1/employees.ndjson?sort=name"];
/// The largest answer, in bytes: no page has more than a few hundred rows.
const LARGEST: usize = 200_000;

/// Searches whose plan cannot profit from an index, that match (nearly) everything or nothing, sorted by what they do
/// not filter by, and the figures that are dear to compute.
const WORST: &[&str] = &[
    "/",
    "/employees?limit=100",
    "/employees?q=zzzz&sort=hire_date&order=desc&limit=100",
    "/employees?q=a&sort=birth_date&limit=100",
    "/employees?q=e+e&sort=hire_date&order=desc&limit=100",
    "/employees?q=%25&sort=name",
    "/employees?title=Senior+Engineer&sort=birth_date&order=desc&limit=100",
    "/employees?title=Nobody&sort=name&order=desc&limit=100",
    "/employees?title=Staff&department=d005&gender=F&status=former&sort=name&order=desc&limit=100",
    "/employees?title=Manager&department=d009&status=former&sort=hire_date&limit=100",
    "/employees?department=zzzz&status=current&sort=birth_date",
    "/employees?status=former&gender=M&born_from=1952-02-01&born_to=1952-02-01&sort=name&limit=100",
    "/employees?status=former&hired_from=1999-12-31&sort=birth_date&order=desc&limit=100",
    "/employees?status=current&title=Engineer&q=s+m&born_from=1950-01-01&hired_to=2005-01-01&sort=name&order=desc",
    "/departments/d005",
    "/departments/d004",
    "/employees/10001",
    "/salaries",
    "/show",
    "/api/v1/overview",
    "/api/v1/history",
    "/api/v1/salaries",
    "/api/v1/employees?title=Staff&status=former&q=zz&sort=hire_date&order=desc&limit=100",
];

/// The application on the full data set, as a database user of its own, so that its statements can be told apart.
struct Stack {
    root: MySqlConnectOptions,
    user: String,
    app: Arc<App>,
    address: SocketAddr,
}

impl Stack {
    async fn start(name: &str) -> Option<Self> {
        let Ok(url) = std::env::var("TEST_FULL_DATABASE_URL") else {
            println!("skipped: TEST_FULL_DATABASE_URL is not set");
            return None;
        };
        let root = MySqlConnectOptions::from_str(&url).unwrap();
        let user = format!("test_{name}_{}", std::process::id());
        let mut connection = root.connect().await.unwrap();
        for statement in
            [format!("CREATE USER {user} IDENTIFIED BY 'secret'"), format!("GRANT SELECT ON employees.* TO {user}")]
        {
            connection.execute(AssertSqlSafe(statement)).await.unwrap();
        }
        let reads = root.clone().username(&user).password("secret").database("employees");
        let config = DatabaseConfig {
            primary: reads.clone(),
            reads,
            pool_size: 4,
            connect_timeout: Duration::from_secs(1),
            query_timeout: QUERY_TIMEOUT,
            max_lifetime: Duration::from_secs(300),
        };
        let app = Arc::new(App::new(Database::new(&config), "replica-1".to_owned(), false));
        // As after the start of the program, which counts the rows before anybody asks.
        app.catalog().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = router::pages(Arc::clone(&app), false);
        tokio::spawn(async move { axum::serve(listener, pages).await });
        Some(Self { root, user, app, address })
    }

    async fn connection(&self) -> MySqlConnection {
        self.root.connect().await.unwrap()
    }

    /// How many statements of ours the server works on.
    async fn statements(&self, connection: &mut MySqlConnection) -> i64 {
        sqlx::query_scalar(
            "SELECT COUNT(*) FROM performance_schema.processlist WHERE user = ? AND command IN ('Query', 'Execute')",
        )
        .bind(&self.user)
        .fetch_one(connection)
        .await
        .unwrap()
    }

    /// Waits until the server works on none; it must, within the time that a query may take.
    async fn is_quiet(&self) {
        let mut connection = self.connection().await;
        let deadline = Instant::now() + ANSWER_LIMIT;
        // The monitor's question counts as well while it is asked.
        while self.statements(&mut connection).await > 0 {
            assert!(Instant::now() < deadline, "a statement goes on");
        }
    }

    async fn send(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn stop(self) {
        let drop = format!("DROP USER {}", self.user);
        self.connection().await.execute(AssertSqlSafe(drop)).await.unwrap();
    }
}

/// The status and the whole answer's size, which must come in time.
async fn answer(mut stream: TcpStream, path: &str) -> (u16, usize) {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(ANSWER_LIMIT, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{path} has no answer after {ANSWER_LIMIT:?}");
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.len())
}

#[tokio::test]
async fn the_worst_addresses_are_answered_in_time_and_in_size() {
    let Some(stack) = Stack::start("alone").await else { return };
    for path in WORST {
        let began = Instant::now();
        let (status, size) = answer(stack.send(path).await, path).await;
        println!("{:>6.0} ms {status} {size:>7} bytes {path}", began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(status, 200, "{path}");
        assert!(size < LARGEST, "{path}: {size} bytes");
    }
    stack.is_quiet().await;
    stack.stop().await;
}

#[tokio::test]
async fn many_of_the_worst_at_once_are_answered_or_refused_in_time() {
    let Some(stack) = Stack::start("crowd").await else { return };
    let mut visitors = JoinSet::new();
    for _ in 0..5 {
        for path in WORST {
            let stream = stack.send(path).await;
            visitors.spawn(async move { (path, answer(stream, path).await) });
        }
    }
    for (path, (status, size)) in visitors.join_all().await {
        assert!([200, 503].contains(&status), "{path}: {status}");
        assert!(size < LARGEST, "{path}: {size} bytes");
    }
    stack.is_quiet().await;
    stack.stop().await;
}

#[tokio::test]
async fn who_hangs_up_leaves_no_statement_behind() {
    let Some(stack) = Stack::start("gone").await else { return };
    let mut connection = stack.connection().await;
    for _ in 0..5 {
        let mut streams = Vec::new();
        for path in WORST.iter().chain(EXPORTS) {
            streams.push(stack.send(path).await);
        }
        // Not before the server has begun.
        let deadline = Instant::now() + ANSWER_LIMIT;
        while stack.statements(&mut connection).await == 0 {
            assert!(Instant::now() < deadline, "no statement has begun");
        }
        drop(streams);
        stack.is_quiet().await;
    }
    // The connections are free again.
    let (status, _) = answer(stack.send("/employees/10001").await, "/employees/10001").await;
    assert_eq!(status, 200);
    stack.stop().await;
}

/// A department with many people.
const DEPARTMENT: &str = "d005";

/// Today's salaries, the lowest first: each with how many get it, in the company and in the department.
const PAID: &str = "\
    SELECT CAST(s.salary AS SIGNED), COUNT(*), COUNT(d.emp_no) FROM employees.salaries s \
    LEFT JOIN employees.dept_emp d ON d.emp_no = s.emp_no AND d.dept_no = ? AND d.to_date = '9999-01-01' \
    WHERE s.to_date = '9999-01-01' GROUP BY s.salary ORDER BY s.salary";

/// Of salaries with how many get each, the lowest first.
fn percentiles(paid: &[(i64, i64)]) -> Percentiles {
    let paid: Vec<(i64, i64)> = paid.iter().copied().filter(|&(_, people)| people > 0).collect();
    let employees: i64 = paid.iter().map(|(_, people)| people).sum();
    let at = |percent: i64| {
        let mut reached = 0_i64;
        let salary = paid.iter().find(|(_, people)| {
            reached += people;
            reached * 100 >= employees * percent
        });
        salary.unwrap().0
    };
    let total: i64 = paid.iter().map(|(salary, people)| salary * people).sum();
    let mean = (total as f64 * 100.0 / employees as f64).round() / 100.0;
    let (min, max) = (paid[0].0, paid[paid.len() - 1].0);
    Percentiles { employees, min, p10: at(10), p25: at(25), median: at(50), p75: at(75), p90: at(90), max, mean }
}

#[tokio::test]
async fn the_salaries_of_the_full_data_set_are_what_the_direct_query_finds() {
    let Some(stack) = Stack::start("paid").await else { return };
    let mut connection = stack.connection().await;
    let paid: Vec<(i64, i64, i64)> = sqlx::query_as(PAID).bind(DEPARTMENT).fetch_all(&mut connection).await.unwrap();
    let everybody: Vec<_> = paid.iter().map(|&(salary, people, _)| (salary, people)).collect();
    let members: Vec<_> = paid.iter().map(|&(salary, _, people)| (salary, people)).collect();
    for (group, paid) in [(Group::default(), everybody), (Group::department(DEPARTMENT), members)] {
        let salaries = db::statistics::salaries(&stack.app.db, &group).await.unwrap().unwrap();
        assert_eq!(salaries.salaries, Some(percentiles(&paid)), "{group:?}");
        assert_eq!(salaries.by_department.len(), 9);
        let banded: i64 = salaries.histogram.iter().map(|band| band.employees).sum();
        assert_eq!(banded, salaries.salaries.unwrap().employees, "{group:?}");
        for band in &salaries.histogram {
            let within = paid.iter().filter(|(salary, _)| (band.from..band.below).contains(salary));
            assert_eq!(within.map(|(_, people)| people).sum::<i64>(), band.employees, "{group:?}: {band:?}");
        }
    }
    stack.stop().await;
}

#[tokio::test]
async fn the_headcounts_of_the_full_data_set_are_what_the_direct_query_counts() {
    let Some(stack) = Stack::start("heads").await else { return };
    let mut connection = stack.connection().await;
    let history = db::statistics::history(&stack.app.db, None).await.unwrap().unwrap();
    let department = history.departments.iter().find(|department| department.dept_no == DEPARTMENT).unwrap();
    for (number, years) in [("", &history.company), (DEPARTMENT, &department.years)] {
        assert!(years.len() > 10, "{} years", years.len());
        // Some, and the last one: each is a look at all there is.
        for &Year { year, headcount, .. } in years.iter().step_by(6).chain(years.last()) {
            let counted: i64 = sqlx::query_scalar(
                "SELECT COUNT(DISTINCT emp_no) FROM employees.dept_emp WHERE (? = '' OR dept_no = ?) \
                 AND from_date <= MAKEDATE(?, 1) + INTERVAL 1 YEAR - INTERVAL 1 DAY AND YEAR(to_date) > ?",
            )
            .bind(number)
            .bind(number)
            .bind(year)
            .bind(year)
            .fetch_one(&mut connection)
            .await
            .unwrap();
            assert_eq!(headcount, counted, "{number} {year}");
        }
    }
    stack.stop().await;
}
