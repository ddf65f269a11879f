//! The whole router without a database: probes, bad input, unknown paths, and what visitors see while the database is
//! away in each of the ways in which it can be.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use common::closed_port;
use http_body_util::BodyExt;
use rstest::rstest;
use tandem_webapp::app::App;
use tandem_webapp::router;
use tower::ServiceExt;

fn app(host: &str, port: u16) -> Arc<App> {
    Arc::new(common::app(host, port))
}

fn pages() -> Router {
    router::pages(app("127.0.0.1", closed_port()), false)
}

async fn send(router: Router, request: Request<Body>) -> Response<String> {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Response::from_parts(parts, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn get(router: Router, path: &str) -> Response<String> {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

fn header<'a>(response: &'a Response<String>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_process_is_alive_without_a_database() {
    let response = get(pages(), "/healthz").await;
    assert_eq!((response.status(), response.body().as_str()), (StatusCode::OK, "alive\n"));
}

#[tokio::test]
async fn every_answer_names_the_replica_and_the_request_and_forbids_scripts() {
    for path in ["/healthz", "/nothing", "/api/v1/nothing", "/employees?color=red"] {
        let response = get(pages(), path).await;
        assert_eq!(header(&response, "x-served-by"), "replica-1", "{path}");
        assert_eq!(header(&response, "x-request-id").len(), 32, "{path}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{path}");
        assert!(header(&response, "content-security-policy").starts_with("default-src 'none';"), "{path}");
    }
}

#[rstest]
#[case("from-nginx-1", true)]
#[case("<script>", false)]
#[tokio::test]
async fn a_sane_request_id_is_kept(#[case] id: &str, #[case] kept: bool) {
    let request = Request::get("/healthz").header("X-Request-Id", id).body(Body::empty()).unwrap();
    let response = send(pages(), request).await;
    assert_eq!(header(&response, "x-request-id") == id, kept);
}

#[rstest]
#[case("/employees?color=red", 400, "there is no parameter &#34;color&#34;")]
#[case("/employees?limit=-1", 400, "limit is")]
#[case("/employees?born_from=2000-01-01&born_to=1999-01-01", 400, "is later than")]
#[case("/employees?cursor=AAAA", 400, "cursor does not belong to this list")]
#[case("/employees?q=%3Cscript%3E+1+2", 400, "&#60;script&#62;")]
#[case("/employees?gender='%20OR%201=1--", 400, "gender is")]
#[case("/employees/-1", 400, "is not the number of an employee")]
#[case("/employees/abc", 400, "is not the number of an employee")]
#[case("/employees/1%27%20OR%201=1", 400, "is not the number of an employee")]
#[case("/employees/99999999999999999999", 400, "is not the number of an employee")]
#[case("/employees/2147483648", 400, "is not the number of an employee")]
#[case("/employees/%ff", 400, "not valid text")]
#[case("/employees/10001?x=1", 400, "there is no parameter")]
#[case("/departments/d0055", 400, "is not the number of a department")]
#[case("/departments/%00", 400, "is not the number of a department")]
#[case("/departments?sort=name", 400, "there is no parameter")]
#[case("/salaries?sort=name", 400, "there is no parameter")]
#[case("/salaries?gender=m", 400, "give one of M, F")]
#[case("/show?x", 400, "there is no parameter")]
#[case("/?x=1", 400, "there is no parameter")]
#[case("/nothing", 404, "There is no page")]
#[case("/employees/", 404, "There is no page")]
#[case("/metrics", 404, "There is no page")]
#[case("/assets/../Cargo.toml", 404, "There is no")]
#[case("/assets/%ff", 404, "There is no such file")]
#[case("/%3Cscript%3Ealert(1)", 404, "There is no page &#34;/%3Cscript%3E")]
#[tokio::test]
async fn bad_input_is_answered_in_plain_words(#[case] path: &str, #[case] status: u16, #[case] words: &str) {
    let page = get(pages(), path).await;
    assert_eq!(page.status().as_u16(), status);
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&page, "cache-control"), "no-store");
    assert!(page.body().contains(words), "{}", page.body());
    assert!(!page.body().contains("<script"));
}

#[rstest]
#[case("/api/v1/employees?color=red", 400)]
#[case("/api/v1/employees/x", 400)]
#[case("/api/v1/departments/%3Cb%3E", 400)]
#[case("/api/v1/overview?x=1", 400)]
#[case("/api/v1/history?year=1999", 400)]
#[case("/api/v1/history?department=d0055", 400)]
#[case("/api/v1/salaries?gender=x", 400)]
#[case("/api/v1/nothing", 404)]
#[case("/api", 404)]
#[case("/api/v1/show", 503)]
#[tokio::test]
async fn errors_of_the_api_are_problems(#[case] path: &str, #[case] status: u16) {
    let response = get(pages(), path).await;
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let problem: serde_json::Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    assert_eq!(problem["request_id"], header(&response, "x-request-id"));
}

#[rstest]
#[case("POST", "/employees", "text/html; charset=utf-8")]
#[case("DELETE", "/api/v1/employees/10001", "application/problem+json")]
#[case("FOO", "/", "text/html; charset=utf-8")]
#[tokio::test]
async fn other_methods_are_refused(#[case] method: &str, #[case] path: &str, #[case] kind: &str) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = send(pages(), request).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&response, "allow"), "GET,HEAD");
    assert_eq!(header(&response, "content-type"), kind);
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let response = send(pages(), Request::head("/healthz").body(Body::empty()).unwrap()).await;
    assert_eq!((response.status(), response.body().as_str()), (StatusCode::OK, ""));
    let response = send(pages(), Request::head("/nothing").body(Body::empty()).unwrap()).await;
    assert_eq!((response.status(), response.body().as_str()), (StatusCode::NOT_FOUND, ""));
}

#[tokio::test]
async fn assets_are_kept_for_good_under_their_own_name_only() {
    let page = get(pages(), "/nothing").await;
    let start = page.body().find("/assets/style-").unwrap();
    let own = &page.body()[start..start + "/assets/style-0123456789abcdef.css".len()];
    for (path, cache) in
        [(own, "public, max-age=31536000, immutable"), ("/assets/style-0123456789abcdef.css", "no-cache")]
    {
        let response = get(pages(), path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "content-type"), "text/css; charset=utf-8");
        assert_eq!(header(&response, "cache-control"), cache);
    }
}

#[tokio::test]
async fn a_script_is_sent_as_one() {
    let response = get(pages(), "/assets/app-0123456789abcdef.js").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn metrics_name_routes_and_never_paths() {
    let app = app("127.0.0.1", closed_port());
    let pages = router::pages(Arc::clone(&app), true);
    get(pages.clone(), "/employees/secret-path").await;
    get(pages.clone(), "/no-such-path").await;
    let response = get(router::monitoring(app), "/metrics").await;
    let text = response.body();
    assert!(
        text.contains(
            r#"http_request_duration_seconds_count{route="/employees/{emp_no}",method="GET",status="400"} 1"#
        ),
        "{text}"
    );
    assert!(text.contains(r#"route="unmatched""#) && !text.contains("secret-path") && !text.contains("no-such-path"));
    assert!(text.contains("process_resident_memory_bytes ") && text.contains("database_connections_in_use 0"));
    assert_eq!(get(pages, "/metrics").await.status(), StatusCode::OK);
}

/// Answers every page and probe with 503 in plain words, well within two seconds.
async fn is_away(app: Arc<App>) {
    let pages = router::pages(app, false);
    for path in ["/", "/show", "/employees", "/employees/10001", "/departments", "/departments/d001", "/readyz"] {
        let started = Instant::now();
        let response = get(pages.clone(), path).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(response.body().contains("The database does not answer."), "{path}: {}", response.body());
        assert_eq!(header(&response, "retry-after"), "2", "{path}");
        assert!(started.elapsed() < Duration::from_secs(2), "{path} took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_database_that_refuses_connections_is_away() {
    is_away(app("127.0.0.1", closed_port())).await;
}

#[tokio::test]
async fn a_database_whose_name_is_unknown_is_away() {
    is_away(app("nonexistent.invalid", 3306)).await;
}

#[tokio::test]
async fn a_database_that_never_says_a_word_is_away() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    is_away(app("127.0.0.1", silent.local_addr().unwrap().port())).await;
}

#[tokio::test]
async fn many_visitors_at_once_learn_within_two_seconds_that_the_database_is_away() {
    let pages = router::pages(app("127.0.0.1", closed_port()), false);
    let started = Instant::now();
    let mut visitors = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let pages = pages.clone();
        visitors.spawn(async move { get(pages, "/").await.status() });
    }
    let answers = visitors.join_all().await;
    assert!(answers.iter().all(|&status| status == StatusCode::SERVICE_UNAVAILABLE));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn visitors_set_nothing_off_while_the_database_is_away() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pages = router::pages(app("127.0.0.1", silent.local_addr().unwrap().port()), false);
    let connections = tokio::spawn(async move {
        let mut open = Vec::new();
        // The streams stay open: nobody answers, nobody hangs up.
        while let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::from_millis(2500), silent.accept()).await {
            open.push(stream);
        }
        open.len()
    });
    assert_eq!(get(pages.clone(), "/show").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    for _ in 0..300 {
        assert_eq!(get(pages.clone(), "/show").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(pages);
    assert!(connections.await.unwrap() < 10);
}
