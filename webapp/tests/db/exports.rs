//! Exports on a real MySQL: what is in the files, and what happens when they are broken off or too many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use proptest::test_runner::TestRunner;
use tandem_webapp::app::App;
use tandem_webapp::config::DatabaseConfig;
use tandem_webapp::db::Database;
use tandem_webapp::db::employees::Employee;
use tandem_webapp::db::exports::STRETCH;
use tandem_webapp::export::Exports;
use tandem_webapp::router;
use tandem_webapp::search::{Limit, Order, Search, Sort};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::ServiceExt;

use super::lists::{DAYS, FIRST_NAMES, LAST_NAMES, MANY, Person, day, expected, filled, filter, generate};
use super::{Fixture, SCHEMA, get};

/// How many random lists are exported.
const LISTS: usize = 60;

/// Enough people for several pieces.
fn company() -> Vec<Person> {
    let person = |number: i32| {
        let pick = |all: &[&'static str], step: usize| all[number as usize / step % all.len()];
        let row = Employee {
            emp_no: 10_000 + number * 3,
            birth_date: day(pick(DAYS, 20)),
            first_name: pick(FIRST_NAMES, 1).to_owned(),
            last_name: pick(LAST_NAMES, 5).to_owned(),
            gender: pick(&["M", "F", "M"], 7).to_owned(),
            hire_date: day(pick(DAYS, 80)),
        };
        let departments = vec![(pick(&["d001", "d002"], 300), number % 3 > 0)];
        Person { row, departments, titles: vec![(pick(&["Engineer", "Staff"], 2), number % 5 > 0)] }
    };
    (0..STRETCH as i32 * 7 / 2).map(person).collect()
}

/// An application with one connection and places for `at_once` exports.
fn app(fixture: &Fixture, at_once: u32) -> Arc<App> {
    let config = DatabaseConfig { pool_size: 1, ..fixture.config() };
    let app = App::new(Database::new(&config), "replica-1".to_owned(), false);
    Arc::new(App { exports: Exports::new(at_once, Duration::from_secs(60)), ..app })
}

async fn ask(pages: &Router, path: &str) -> Response<Body> {
    pages.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The numbers in a file.
fn emp_nos(format: &str, text: &str) -> Vec<i32> {
    let number = |row: &serde_json::Value| i32::try_from(row["emp_no"].as_i64().unwrap()).unwrap();
    match format {
        "csv" => text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect(),
        "json" => serde_json::from_str::<Vec<_>>(text).unwrap().iter().map(number).collect(),
        _ => text.lines().map(|line| number(&serde_json::from_str(line).unwrap())).collect(),
    }
}

#[tokio::test]
async fn a_file_holds_the_whole_list_in_its_order() {
    let mut runner = TestRunner::deterministic();
    let people = company();
    let fixture = fixture!(filled(&people));
    let pages = fixture.pages();
    let formats = ["csv", "json", "ndjson"];
    for number in 0..LISTS {
        let search = Search {
            // Each order with everybody first, then with filters.
            filter: if number < 12 { Default::default() } else { generate(&mut runner, &filter()) },
            sort: Sort::ALL[number % 6],
            order: Order::ALL[number / 6 % 2],
            limit: Limit::default(),
            cursor: None,
        };
        let format = formats[number % 7 % 3];
        let path = format!("/api/v1/employees.{format}?{}", search.list_query());
        let (status, text) = get(&pages, &path).await;
        assert_eq!(status, 200, "{path}: {text}");
        assert_eq!(emp_nos(format, &text), expected(&people, &search), "{path}");
    }
}

#[tokio::test]
async fn a_file_has_a_type_and_the_name_of_its_list() {
    let fixture = fixture!(Fixture::loaded());
    let pages = fixture.pages();
    for (format, kind) in [
        ("csv", "text/csv; charset=utf-8; header=present"),
        ("json", "application/json"),
        ("ndjson", "application/x-ndjson"),
    ] {
        let response = ask(&pages, &format!("/api/v1/employees.{format}?department=d001&sort=name")).await;
        assert_eq!(header(&response, "content-type"), kind);
        let name = format!("attachment; filename=\"employees-department-d001-sort-name.{format}\"");
        assert_eq!(header(&response, "content-disposition"), name);
    }
    let csv = get(&pages, "/api/v1/employees.csv?q=o'neil").await.1;
    assert_eq!(
        csv,
        "emp_no,birth_date,first_name,last_name,gender,hire_date\r\n20005,1970-06-15,Dora,O'Neil,F,1999-12-31\r\n"
    );
    for path in ["/api/v1/employees.csv?limit=5", "/api/v1/employees.json?cursor=x", "/api/v1/employees.ndjson?x=1"] {
        assert_eq!(get(&pages, path).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn exports_that_nobody_reads_leave_the_connection_to_the_pages_and_further_ones_are_sent_away() {
    let fixture = fixture!(filled(&company()));
    let pages = router::pages(app(&fixture, 2), false);
    let stalled = [ask(&pages, "/api/v1/employees.json").await, ask(&pages, "/api/v1/employees.csv").await];
    let refused = ask(&pages, "/api/v1/employees.ndjson").await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (503, "2"));
    for _ in 0..20 {
        assert_eq!(get(&pages, "/employees?gender=F").await.0, 200);
    }
    drop(stalled);
    // The tasks notice as soon as they run.
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(&pages, "/api/v1/employees.ndjson").await.status() != 200 {
        assert!(Instant::now() < deadline, "the places are not free again");
        tokio::task::yield_now().await;
    }
}

/// Serves the application on a port, and asks it for all employees as JSON with a small receive buffer.
async fn begin_download(app: &Arc<App>) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = router::pages(Arc::clone(app), false);
    tokio::spawn(async move { axum::serve(listener, pages).await });
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(b"GET /api/v1/employees.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut begin = [0; 1000];
    stream.read_exact(&mut begin).await.unwrap();
    assert!(begin.starts_with(b"HTTP/1.1 200 OK\r\n"));
    stream
}

async fn many() -> Option<Fixture> {
    let fixture = Fixture::empty().await?;
    fixture.run(SCHEMA).await;
    fixture.run(MANY).await;
    Some(fixture)
}

#[tokio::test]
async fn an_export_that_the_client_breaks_off_frees_its_connection_and_its_place_at_once() {
    let fixture = fixture!(many());
    let app = app(&fixture, 1);
    let pages = router::pages(Arc::clone(&app), false);
    let client = begin_download(&app).await;
    assert_eq!(ask(&pages, "/api/v1/employees.csv").await.status(), 503);
    drop(client);
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(&pages, "/api/v1/employees.csv").await.status() != 200 {
        assert!(Instant::now() < deadline, "the place is not free again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Nothing runs for the application any more, and its one connection takes the next query.
    let mut root = fixture.connection().await;
    loop {
        let busy: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM performance_schema.processlist \
             WHERE db = ? AND command <> 'Sleep' AND id <> CONNECTION_ID()",
        )
        .bind(&fixture.name)
        .fetch_one(&mut root)
        .await
        .unwrap();
        if busy == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{busy} queries still run");
    }
    assert_eq!(get(&pages, "/employees").await.0, 200);
}

#[tokio::test]
async fn an_export_without_its_database_is_broken_off_in_a_way_that_no_client_can_miss() {
    let fixture = fixture!(many());
    let app = app(&fixture, 1);
    let mut client = begin_download(&app).await;
    app.db.close().await;
    let mut rest = Vec::new();
    // Either the connection is reset, or it ends without the last chunk.
    let ended = client.read_to_end(&mut rest).await;
    assert!(ended.is_err() || !rest.ends_with(b"0\r\n\r\n"), "it looks complete");
    assert!(!rest.windows(3).any(|end| end == b"\n]\n"));
}

#[tokio::test]
async fn a_list_that_cannot_be_read_has_the_status_of_its_error() {
    let fixture = fixture!(Fixture::empty());
    assert_eq!(get(&fixture.pages(), "/api/v1/employees.csv").await.0, 503);
}

#[tokio::test]
async fn head_tells_about_a_file_without_reading_it() {
    let fixture = fixture!(filled(&company()));
    let pages = router::pages(app(&fixture, 1), false);
    for _ in 0..3 {
        let request = Request::head("/api/v1/employees.csv").body(Body::empty()).unwrap();
        let response = pages.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
        tokio::task::yield_now().await;
    }
}
