//! What HTTP itself promises, without a database: tags and conditional requests, compression, HEAD, cross-origin
//! reading, the security headers, and limits to what a request may be.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use common::closed_port;
use http_body_util::BodyExt;
use rstest::rstest;
use tandem_webapp::app::App;
use tandem_webapp::cors::Origins;
use tandem_webapp::router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

/// An answer of some kilobytes that needs no database.
const DOCUMENT: &str = "/api/openapi.json";

fn pages(origins: Option<&str>) -> Router {
    let cors_origins = origins.map(|text| Origins::parse(text).unwrap());
    router::pages(Arc::new(App { cors_origins, ..common::app("127.0.0.1", closed_port()) }), false)
}

async fn send(router: Router, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Vec<u8>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes().into())
}

async fn get(path: &str, headers: &[(&str, &str)]) -> Response<Vec<u8>> {
    send(pages(None), Method::GET, path, headers).await
}

fn header<'a>(response: &'a Response<Vec<u8>>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn an_answer_that_the_client_has_is_not_sent_again() {
    let first = get(DOCUMENT, &[]).await;
    let tag = header(&first, "etag").to_owned();
    assert!(tag.starts_with("W/\"") && tag.len() == 20, "{tag}");
    for known in [tag.as_str(), &tag[2..], "*", &format!("\"other\", {tag}")] {
        let again = get(DOCUMENT, &[("if-none-match", known)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert!(again.body().is_empty() && header(&again, "content-type").is_empty());
        assert_eq!((header(&again, "etag"), header(&again, "cache-control")), (tag.as_str(), "no-cache"));
    }
    let other = get(DOCUMENT, &[("if-none-match", "\"other\"")]).await;
    assert_eq!((other.status(), other.body()), (StatusCode::OK, first.body()));
}

#[tokio::test]
async fn errors_and_probes_have_no_tag() {
    for path in ["/nothing", "/api/v1/nothing", "/healthz", "/readyz"] {
        let response = get(path, &[("if-none-match", "*")]).await;
        assert_ne!(response.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!((header(&response, "etag"), header(&response, "cache-control")), ("", "no-store"), "{path}");
    }
}

#[rstest]
#[case("gzip", "gzip")]
#[case("br", "br")]
#[case("zstd", "zstd")]
#[case("gzip, deflate, br, zstd", "zstd")]
#[case("gzip;q=0.5, br;q=0.9", "br")]
#[case("deflate", "")]
#[case("identity", "")]
#[tokio::test]
async fn answers_are_compressed_as_the_client_likes(#[case] accepted: &str, #[case] encoding: &str) {
    let plain = get(DOCUMENT, &[]).await;
    let response = get(DOCUMENT, &[("accept-encoding", accepted)]).await;
    assert_eq!(header(&response, "content-encoding"), encoding);
    assert_eq!(header(&response, "vary"), "accept-encoding");
    // The tag stands for all forms.
    assert_eq!(header(&response, "etag"), header(&plain, "etag"));
    if encoding.is_empty() {
        assert_eq!(response.body(), plain.body());
    } else {
        assert!(response.body().len() * 4 < plain.body().len(), "{}", response.body().len());
        assert_eq!(header(&response, "content-length"), "");
    }
}

#[tokio::test]
async fn small_answers_are_not_compressed() {
    let response = get("/healthz", &[("accept-encoding", "gzip")]).await;
    assert_eq!((header(&response, "content-encoding"), response.body().as_slice()), ("", b"alive\n".as_slice()));
}

#[tokio::test]
async fn a_client_that_takes_no_encoding_at_all_is_told_so() {
    for path in [DOCUMENT, "/api/docs/swagger-ui-bundle.js", "/api/v1/nothing"] {
        let response = get(path, &[("accept-encoding", "identity;q=0")]).await;
        assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE, "{path}");
        assert_eq!(header(&response, "content-type"), "application/problem+json", "{path}");
        let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(problem["status"], 406, "{path}");
        // Nothing of the answer that it would have been.
        for name in ["etag", "content-encoding", "content-disposition"] {
            assert_eq!(header(&response, name), "", "{name} of {path}");
        }
    }
}

#[rstest]
#[case(DOCUMENT)]
#[case("/nothing")]
#[case("/healthz")]
#[tokio::test]
async fn head_has_the_header_of_get(#[case] path: &str) {
    let get = get(path, &[]).await;
    let head = send(pages(None), Method::HEAD, path, &[]).await;
    assert_eq!((head.status(), head.body().len()), (get.status(), 0));
    for name in ["etag", "content-type", "cache-control", "vary"] {
        assert_eq!(header(&head, name), header(&get, name), "{name}");
    }
    // The page of an error names its request, but each one in 32 characters.
    assert_eq!(header(&head, "content-length"), get.body().len().to_string());
}

#[tokio::test]
async fn head_says_nothing_of_a_length_that_nobody_knows() {
    let head = send(pages(None), Method::HEAD, DOCUMENT, &[("accept-encoding", "gzip")]).await;
    assert_eq!((header(&head, "content-encoding"), header(&head, "content-length")), ("gzip", ""));
    assert!(head.body().is_empty());
}

#[tokio::test]
async fn head_can_be_conditional() {
    let head = send(pages(None), Method::HEAD, DOCUMENT, &[("if-none-match", "*")]).await;
    assert_eq!((head.status(), header(&head, "content-type")), (StatusCode::NOT_MODIFIED, ""));
}

#[rstest]
#[case("/")]
#[case("/healthz")]
#[case("/nothing")]
#[case(DOCUMENT)]
#[case("/api/v1/show")]
#[case("/assets/nothing")]
#[tokio::test]
async fn every_answer_has_the_security_headers(#[case] path: &str) {
    let response = get(path, &[]).await;
    let policy: Vec<_> = header(&response, "content-security-policy").split("; ").collect();
    for directive in ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(&directive), "{directive} in {policy:?}");
    }
    assert!(!policy.iter().any(|directive| directive.contains("unsafe") || directive.contains('*')), "{policy:?}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(header(&response, name), value, "{name}");
    }
    assert!(header(&response, "permissions-policy").contains("geolocation=()"));
    assert_eq!(header(&response, "server"), "");
}

#[tokio::test]
async fn the_documentation_may_show_pictures_of_its_style_sheet_and_nothing_else() {
    let (page, other) = (get("/api/docs", &[]).await, get("/healthz", &[]).await);
    let policy = header(&page, "content-security-policy");
    assert_eq!(policy.replace("img-src 'self' data:;", "img-src 'self';"), header(&other, "content-security-policy"));
    assert_ne!(policy, header(&other, "content-security-policy"));
    for markup in ["<style", " style=", "<script>", " onclick="] {
        assert!(!String::from_utf8_lossy(page.body()).contains(markup), "{markup}");
    }
}

#[tokio::test]
async fn the_documentation_needs_no_compression_of_its_own() {
    let path = "/api/docs/swagger-ui-bundle.js";
    let packed = get(path, &[("accept-encoding", "gzip, br, zstd")]).await;
    assert_eq!((header(&packed, "content-encoding"), header(&packed, "vary")), ("gzip", "accept-encoding"));
    let plain = get(path, &[]).await;
    assert_eq!((header(&plain, "content-encoding"), header(&plain, "vary")), ("", "accept-encoding"));
    assert!(packed.body().len() * 3 < plain.body().len() && plain.body().starts_with(b"/*!"));
    assert_eq!(get("/api/docs/swagger-ui.js", &[]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_origins_may_read_nothing_by_default() {
    let origin = [("origin", "https://example.org"), ("access-control-request-method", "GET")];
    let response = get(DOCUMENT, &origin).await;
    assert_eq!(header(&response, "access-control-allow-origin"), "");
    let preflight = send(pages(None), Method::OPTIONS, DOCUMENT, &origin).await;
    assert_eq!(preflight.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[rstest]
#[case("*", "https://example.org", "*")]
#[case("https://example.org", "https://example.org", "https://example.org")]
#[case("https://a.example,https://example.org", "https://example.org", "https://example.org")]
#[case("https://example.org", "https://example.org.evil.example", "")]
#[case("https://example.org", "null", "")]
#[tokio::test]
async fn listed_origins_may_read_the_api(#[case] listed: &str, #[case] origin: &str, #[case] allowed: &str) {
    let headers = [("origin", origin)];
    // Even an answer that the database refuses: a script has to see why.
    for path in [DOCUMENT, "/api/v1/show", "/api/v1/nothing"] {
        let response = send(pages(Some(listed)), Method::GET, path, &headers).await;
        assert_eq!(header(&response, "access-control-allow-origin"), allowed, "{path}");
        assert_eq!(header(&response, "access-control-allow-credentials"), "");
        assert!(header(&response, "access-control-expose-headers").contains("x-request-id"));
    }
    for path in ["/show", "/nothing", "/apis"] {
        let page = send(pages(Some(listed)), Method::GET, path, &headers).await;
        assert_eq!(header(&page, "access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn browsers_may_ask_before_they_read() {
    let question = [
        ("origin", "https://example.org"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "if-none-match"),
    ];
    let response = send(pages(Some("*")), Method::OPTIONS, "/api/v1/employees", &question).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "access-control-allow-methods"), "GET,HEAD");
    assert!(header(&response, "access-control-allow-headers").contains("if-none-match"));
    assert_eq!(header(&response, "access-control-max-age"), "3600");
    assert_eq!(header(&response, "x-request-id").len(), 32);
    let page = send(pages(Some("*")), Method::OPTIONS, "/employees", &question).await;
    assert_eq!(page.status(), StatusCode::METHOD_NOT_ALLOWED);
    let other = send(pages(Some("*")), Method::DELETE, "/api/v1/employees", &question).await;
    assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// Sends bytes to the application as a server, and reads what comes back until the connection ends.
async fn talk(request: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, pages(None)).await });
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let mut answer = Vec::new();
    // The server may answer and hang up before it has read everything: that is no error here.
    let (_, _) = tokio::join!(write.write_all(request), read.read_to_end(&mut answer));
    server.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_address_may_be_long_but_not_without_limit() {
    let long = |length: usize| {
        format!("GET /employees?q={} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "a".repeat(length)).into_bytes()
    };
    assert!(talk(&long(5_000)).await.starts_with("HTTP/1.1 400 "));
    assert!(talk(&long(70_000)).await.starts_with("HTTP/1.1 414 "));
}

#[tokio::test]
async fn a_header_may_not_be_without_limit() {
    let many = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(1_000)).into_bytes();
    assert!(talk(&many).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_body_that_nobody_asked_for_is_not_waited_for() {
    let request = b"POST /employees HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\nabc";
    assert!(talk(request).await.starts_with("HTTP/1.1 405 "));
}
