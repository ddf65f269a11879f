//! Trap 3: output for a user who is not root, and nothing left over.

use std::net::TcpStream;

use rstest::rstest;
use serde_json::Value;
use tandem_tests::docker::{docker_ok, wait_for};

use crate::image::{image_or_skip, start, strict};

#[test]
fn a_request_is_one_json_line_on_stdout_and_errors_go_to_stderr() {
    let container = strict(&image_or_skip!(), &[]).serving();
    container.get_with("/hello?\"q\"=1", "User-Agent: a \"b\" \\c\r\ntraceparent: 00-ab-cd-01\r\nX-Request-Id: id-1");
    container.get("/stderr?oops");
    let line = wait_for("the line", 5, || {
        container.stdout().lines().find(|line| line.contains("/hello")).map(ToOwned::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    let expected = [
        ("log", "access"),
        ("method", "GET"),
        ("host", "example.org"),
        ("uri", "/hello?\"q\"=1"),
        ("request_id", "id-1"),
        ("user_agent", "a \"b\" \\c"),
        ("traceparent", "00-ab-cd-01"),
        ("upstream", "unix:/run/tandem/app.sock"),
    ];
    for (name, value) in expected {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["status"], 200, "{line}");
    assert_eq!(line["bytes"], 3, "{line}");
    assert!(line["request_time"].is_f64() && line["msec"].is_f64(), "{line}");
    assert!(line["upstream_time"].as_str().unwrap().parse::<f64>().is_ok(), "{line}");
    assert!(line["served_by"].as_str().unwrap().starts_with("standin-"), "{line}");
    wait_for("the application's own line", 5, || container.stderr().contains("oops\n").then_some(()));
    for line in container.stdout().lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(parsed["uri"] != "/healthz" || parsed["status"] != 200, "a good probe is not worth a line: {line}");
    }
}

#[rstest]
#[case::the_clients(
    "/a",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "0af7651916cd43dd8448eb211c80319c"
)]
#[case::of_a_later_version(
    "/b",
    "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
    "0af7651916cd43dd8448eb211c80319c"
)]
#[case::the_applications(
    "/traced?00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "none",
    "1bf7651916cd43dd8448eb211c80319c"
)]
#[case::none("/c", "00-0AF7-01", "")]
fn the_line_names_the_trace(#[case] path: &str, #[case] traceparent: &str, #[case] trace_id: &str) {
    let container = strict(&image_or_skip!(), &[]).serving();
    container.get_with(path, &format!("traceparent: {traceparent}"));
    let line =
        wait_for("the line", 5, || container.stdout().lines().find(|line| line.contains(path)).map(ToOwned::to_owned));
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["trace_id"], trace_id, "{line}");
}

#[test]
fn a_line_has_an_end_before_it_is_longer_than_a_pipe_takes_at_once() {
    let container = strict(&image_or_skip!(), &["-e", "HEADER_SIZE_LIMIT=16k"]).serving();
    // What takes most room as JSON.
    let long = |most: usize| format!("{}-the-rest", "\"".repeat(most));
    let headers = format!("Referer: {}\r\nUser-Agent: {}\r\ntraceparent: {0}", long(250), long(300));
    container.get_with(&format!("/{}", long(999)), &headers);
    let line = wait_for("the line", 5, || {
        container.stdout().lines().find(|line| line.contains(r#""/\"\"\""#)).map(ToOwned::to_owned)
    });
    assert!(line.len() < 4096, "{line}");
    let line: Value = serde_json::from_str(&line).unwrap();
    for (name, length) in [("uri", 1000), ("referer", 250), ("user_agent", 300), ("traceparent", 60)] {
        let text = line[name].as_str().unwrap();
        assert!(text.len() == length + 3 && text.ends_with("\"..."), "{name}: {text}");
    }
}

#[test]
fn garbage_is_one_json_line_too() {
    let container = strict(&image_or_skip!(), &[]).serving();
    for text in
        ["\u{1}\u{2}\"\r\n\r\n", "GET /\n", "GET /a HTTP/9.9\r\n\r\n", "GET /\u{7f}\" HTTP/1.1\r\nHost: \"\r\n\r\n"]
    {
        container.request(text);
    }
    drop(TcpStream::connect(container.address()));
    container.get("/last");
    wait_for("the last line", 5, || container.stdout().contains("/last").then_some(()));
    for line in container.stdout().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}

#[rstest]
#[case::a_terminal(&["-t"])]
#[case::another_user(&["--user=4711:0"])]
#[case::no_tmpfs(&[])]
fn output_works_on(#[case] options: &[&str]) {
    let container = start(&image_or_skip!(), options, &[]).serving();
    container.get("/seen");
    wait_for("the line", 5, || container.stdout().contains("\"uri\":\"/seen\"").then_some(()));
}

#[test]
fn a_restart_finds_no_leftovers() {
    // Without a tmpfs the sockets, FIFOs and pid files of the last run are all still there.
    let container = start(&image_or_skip!(), &[], &[]).serving();
    docker_ok(&["kill", container.name()]);
    docker_ok(&["start", container.name()]);
    container.serving();
}
