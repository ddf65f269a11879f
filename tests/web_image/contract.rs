//! Trap 7, the application's own 503 passes unchanged, and the rest of the contract between nginx and the application.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;
use tandem_tests::docker::{docker_ok, wait_for};

use crate::image::{IPV6, Web, image_or_skip, start, strict};

#[test]
fn the_applications_own_errors_pass_unchanged() {
    let container = strict(&image_or_skip!(), &[]).serving();
    let answer = container.get("/unavailable");
    assert_eq!((answer.status, answer.body.as_str()), (503, "the database is away\n"));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert!(answer.header("x-served-by").unwrap().starts_with("standin-"));
}

#[test]
fn an_application_that_does_not_answer_is_excused_in_plain_words() {
    let container = strict(&image_or_skip!(), &["-e", "START_DELAY=6", "--hostname=front-1"]);
    let page =
        wait_for("nginx answers", 10, || container.request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    assert_eq!(page.status, 502);
    assert!(page.body.contains("The application does not answer"), "{}", page.body);
    assert_eq!(page.header("retry-after"), Some("2"));
    assert_eq!(page.header("x-served-by"), Some("front-1"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let problem = container.get_with("/api/v1/x", "X-Request-Id: id-2");
    assert_eq!((problem.status, problem.header("content-type")), (502, Some("application/problem+json")));
    assert_eq!(problem.header("x-request-id"), Some("id-2"));
    let body: Value = serde_json::from_str(&problem.body).unwrap();
    assert_eq!((&body["status"], &body["request_id"]), (&502.into(), &"id-2".into()), "{body}");
    container.serving();
}

#[test]
fn what_nginx_says_itself_is_as_safe_as_what_the_application_says() {
    let container = strict(&image_or_skip!(), &[]).serving();
    let broken = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n";
    let page = container.get("/metrics");
    let style = container.get("/.tandem/style.css");
    for (status, answer) in [(404, &page), (400, &container.request(broken).unwrap()), (200, &style)] {
        assert_eq!(answer.status, status);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; ") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        assert!(answer.header("permissions-policy").unwrap().contains("geolocation=()"));
        assert!(answer.header("x-request-id").is_some() && answer.header("x-served-by").is_some());
    }
    // The policy allows no style in the page, but its file.
    assert!(!page.body.contains("<style") && page.body.contains("href=\"/.tandem/style.css\""), "{}", page.body);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
}

#[test]
fn every_answer_says_who_served_it_once() {
    let image = image_or_skip!();
    let speaks = strict(&image, &["--hostname=a"]).serving();
    assert_eq!(speaks.get("/").header("x-served-by"), Some("standin-a"));
    assert_eq!(speaks.get("/metrics").header("x-served-by"), Some("a"));
    let silent = strict(&image, &["--hostname=b", "-e", "SERVED_BY=nobody"]).serving();
    assert_eq!(silent.get("/").header("x-served-by"), Some("b"));
}

#[test]
fn metrics_are_public_only_when_asked_for() {
    let image = image_or_skip!();
    let hidden = strict(&image, &[]).serving();
    for path in ["/metrics", "//metrics", "/./metrics", "/%6detrics", "/metrics?x"] {
        assert_eq!(hidden.get(path).status, 404, "{path}");
    }
    assert_eq!(strict(&image, &["-e", "METRICS_PUBLIC=true"]).serving().get("/metrics").status, 200);
}

#[test]
fn the_word_of_a_proxy_counts_where_it_is_trusted() {
    let image = image_or_skip!();
    let sent = "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\
                X-Request-Id: ok-1\r\nUpgrade: h2c\r\nConnection: close";
    let seen = |container: &Web| -> Value { serde_json::from_str(&container.get_with("/headers", sent).body).unwrap() };
    let behind = strict(&image, &[]).serving();
    let headers = seen(&behind);
    assert_eq!(headers["x-forwarded-for"], "198.51.100.7", "the last one that is no trusted proxy: {headers}");
    assert_eq!(headers["x-forwarded-proto"], "https", "{headers}");
    assert_eq!(headers["x-forwarded-host"], "shop.example", "{headers}");
    assert_eq!(headers["x-request-id"], "ok-1", "{headers}");
    assert!(headers.get("upgrade").is_none(), "{headers}");
    let front = strict(&image, &["-e", "TRUSTED_PROXIES=none"]).serving();
    let headers = seen(&front);
    assert!(headers["x-forwarded-for"].as_str().unwrap().starts_with("172."), "Docker's bridge: {headers}");
    assert_eq!(headers["x-forwarded-proto"], "http", "{headers}");
    assert_eq!(headers["x-forwarded-host"], "example.org", "{headers}");
}

#[rstest]
#[case("GET /headers HTTP/1.0\r\n\r\n", "localhost")]
#[case("GET http://Shop.example:81/headers HTTP/1.0\r\n\r\n", "shop.example")]
#[case("GET /headers HTTP/1.0\r\nHost: Shop.example:81\r\n\r\n", "Shop.example:81")]
fn who_asks_without_a_host_is_answered(#[case] request: &str, #[case] host: &str) {
    let container = strict(&image_or_skip!(), &[]).serving();
    let answer = container.request(request).unwrap();
    assert_eq!(answer.status, 200);
    let headers: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&headers["host"], &headers["x-forwarded-host"]), (&host.into(), &host.into()), "{headers}");
}

#[test]
fn web_sockets_are_upgraded() {
    let container = strict(&image_or_skip!(), &[]).serving();
    let request = "GET /headers HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let headers: Value = serde_json::from_str(&container.request(request).unwrap().body).unwrap();
    assert_eq!((&headers["upgrade"], &headers["connection"]), (&"websocket".into(), &"upgrade".into()), "{headers}");
}

#[test]
fn a_request_id_that_is_missing_or_strange_is_made_anew() {
    let container = strict(&image_or_skip!(), &[]).serving();
    for header in ["X-A: b".to_owned(), "X-Request-Id: a\"b".to_owned(), format!("X-Request-Id: {}", "a".repeat(129))] {
        let answer = container.get_with("/headers", &header);
        let id = answer.header("x-request-id").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{header}: {id}");
        assert!(answer.body.contains(id), "{answer:?}");
    }
    for id in ["a", "A-b_c.d:9", &"a:".repeat(64)] {
        let answer = container.get_with("/headers", &format!("X-Request-Id: {id}"));
        assert_eq!(answer.header("x-request-id"), Some(id));
        assert!(answer.body.contains(&format!("\"{id}\"")), "{answer:?}");
    }
}

#[test]
fn what_is_too_large_or_too_slow_is_refused() {
    let options = ["-e", "BODY_SIZE_LIMIT=1k", "-e", "HEADER_SIZE_LIMIT=2k", "-e", "CLIENT_TIMEOUT=1"];
    let container = strict(&image_or_skip!(), &options).serving();
    let post = |path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1025\r\n\r\n");
        container.request(&(head + &"x".repeat(1025))).unwrap()
    };
    let page = post("/");
    assert_eq!(page.status, 413);
    assert!(page.body.contains("larger than this server accepts") && page.header("retry-after").is_none(), "{page:?}");
    assert_eq!(post("/api/v1/x").header("content-type"), Some("application/problem+json"));
    assert_eq!(container.get(&format!("/{}", "a".repeat(3000))).status, 414);
    let long = format!("X-Long: {}", "a".repeat(3000));
    assert_eq!(container.get_with("/", &long).status, 431);
    for (status, answer) in [
        (414, container.get(&format!("/api/v1/employees?q={}", "a".repeat(3000)))),
        // As a client asks that takes nginx for its proxy.
        (414, container.get(&format!("http://a:80/api/v1/employees?q={}", "a".repeat(3000)))),
        (431, container.get_with("/api/v1/x", &long)),
    ] {
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/problem+json")));
    }
    // A header that never ends: the connection does.
    let mut slow = TcpStream::connect(container.address()).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let begin = Instant::now();
    let _ = slow.read_to_end(&mut Vec::new());
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[test]
fn text_is_compressed_for_who_takes_it() {
    let container = strict(&image_or_skip!(), &[]).serving();
    let packed = container.get_with("/big?100000", "Accept-Encoding: gzip");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < 2000);
    assert_eq!(container.get("/big?100000").header("content-encoding"), None);
}

#[rstest]
#[case("", "Accept-Encoding")]
#[case("accept-encoding", "accept-encoding")]
#[case("Cookie", "Cookie, Accept-Encoding")]
#[case("Cookie,Accept-Encoding", "Cookie,Accept-Encoding")]
#[case("X-Accept-Encoding", "X-Accept-Encoding, Accept-Encoding")]
#[case("*", "*")]
fn what_an_answer_depends_on_is_said_once(#[case] said: &str, #[case] sent: &str) {
    let container = strict(&image_or_skip!(), &[]).serving();
    for encoding in ["identity", "gzip"] {
        let answer = container.get_with(&format!("/vary?{said}"), &format!("Accept-Encoding: {encoding}"));
        assert_eq!(answer.header("vary"), Some(sent), "{encoding}");
    }
}

#[test]
fn what_the_application_compressed_is_not_compressed_again() {
    let container = strict(&image_or_skip!(), &[]).serving();
    let answer = container.get_with("/encoded?100000", "Accept-Encoding: gzip, br;q=0.9, zstd");
    assert_eq!((answer.header("content-encoding"), answer.body.len()), (Some("br"), 100_000));
    let headers: Value =
        serde_json::from_str(&container.get_with("/headers", "Accept-Encoding: br, zstd").body).unwrap();
    assert_eq!(headers["accept-encoding"], "br, zstd", "the application chooses: {headers}");
}

#[test]
fn a_trace_passes_unchanged_and_none_is_made() {
    let container = strict(&image_or_skip!(), &[]).serving();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen =
        |headers: &str| -> Value { serde_json::from_str(&container.get_with("/headers", headers).body).unwrap() };
    let headers = seen(&format!("traceparent: {traceparent}\r\ntracestate: a=b"));
    assert_eq!((&headers["traceparent"], &headers["tracestate"]), (&traceparent.into(), &"a=b".into()), "{headers}");
    assert!(seen("X-A: b").get("traceparent").is_none());
}

#[test]
fn secrets_reach_the_application_alone_and_odd_values_unchanged() {
    let image = image_or_skip!();
    let secret = r#"DATABASE_PASSWORD=%(ENV_HOME)s 100% "q" 'p' $HOME `id` \ ; é"#;
    let command =
        r#"APP_COMMAND=sh -c 'test "$1" = "100%(x)s; \"q\"" && exec python3 -S /standin.py' x '100%(x)s; "q"'"#;
    let container = strict(&image, &["-e", secret, "-e", command]).serving();
    let environment: Value = serde_json::from_str(&container.get("/environment").body).unwrap();
    assert_eq!(format!("DATABASE_PASSWORD={}", environment["DATABASE_PASSWORD"].as_str().unwrap()), secret);
    let who = container
        .sh("for p in /proc/[0-9]*; do grep -q DATABASE_PASSWORD $p/environ && tr '\\0' ' ' <$p/cmdline && echo; done");
    let who = String::from_utf8_lossy(&who.stdout).into_owned();
    assert!(who.contains("standin.py") && !who.contains("nginx") && !who.contains("supervisord"), "{who}");
    assert!(!container.sh("grep -r DATABASE /run/tandem --include=*.conf").status.success());
}

#[rstest]
#[case("127.0.0.1:3000")]
#[case("0.0.0.0:3000")]
#[case("localhost:3000")]
#[case("[::1]:3000")]
#[case("unix:/tmp/other.sock")]
fn the_application_listens_where_it_is_told(#[case] listen: &str) {
    let container = strict(&image_or_skip!(), &[IPV6, "-e", &format!("LISTEN={listen}")]).serving();
    let environment: Value = serde_json::from_str(&container.get("/environment").body).unwrap();
    let port = listen.rsplit_once(':').map(|(_, port)| port).filter(|port| *port == "3000");
    assert_eq!(environment.get("PORT").and_then(Value::as_str), port, "{environment}");
}

#[test]
fn it_is_healthy_while_it_serves() {
    let container = strict(&image_or_skip!(), &["--health-interval=1s", "--health-start-period=0s"]).serving();
    let health = |status: &str| {
        wait_for(status, 30, || (container.inspect("{{.State.Health.Status}}") == status).then_some(()));
    };
    health("healthy");
    container.sh("touch /tmp/not-ready");
    health("unhealthy");
    let check = container.sh("tandem-web health");
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&check.stderr).starts_with("tandem-web: /readyz is answered with"), "{check:?}");
    container.sh("rm /tmp/not-ready");
    health("healthy");
}

#[rstest]
#[case(&["sh", "-c", "echo one-off; exit 4"], 4, "one-off\n")]
#[case(&["--help"], 0, "usage: tandem-web")]
#[case(&["--nonsense"], 1, "")]
#[case(&["nosuch"], 127, "")]
fn another_command_runs_in_its_place(#[case] command: &[&str], #[case] code: i32, #[case] stdout: &str) {
    let container = start(&image_or_skip!(), &[], command);
    assert_eq!(container.exit_code(10), code);
    assert!(container.stdout().starts_with(stdout), "{}", container.stdout());
    assert!(code == 0 || code == 4 || container.stderr().contains("tandem-web: "), "{}", container.stderr());
}

#[test]
fn a_second_start_in_the_same_container_changes_nothing() {
    let container = strict(&image_or_skip!(), &[]).serving();
    let second = container.sh("tandem-web");
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&second.stderr), "tandem-web: it runs already in this container\n");
    assert_eq!(container.get("/").status, 200);
}

#[test]
fn orphans_do_not_pile_up() {
    let container = strict(&image_or_skip!(), &[]).serving();
    container.sh_ok("(sleep 0.1 & sleep 0.1 & sleep 0.1 &) &");
    // Who has ended and is not reaped keeps its name.
    wait_for("no orphan is left, alive or dead", 5, || {
        let left = container.sh_ok("cat /proc/[0-9]*/comm");
        (left.contains("tandem-web") && !left.contains("sleep")).then_some(())
    });
}

#[test]
fn a_hang_up_changes_nothing() {
    let container = strict(&image_or_skip!(), &[]).serving();
    docker_ok(&["kill", "-s", "HUP", container.name()]);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(container.get("/").status, 200);
    assert_eq!(container.inspect("{{.State.Running}}"), "true");
}

#[test]
fn the_image_is_small_and_not_root() {
    let image = image_or_skip!();
    let size: u64 = docker_ok(&["image", "inspect", "-f", "{{.Size}}", &image]).parse().unwrap();
    assert!(size <= 250_000_000, "{size}");
    assert_eq!(docker_ok(&["image", "inspect", "-f", "{{.Config.User}}", &image]), "10001:0");
}
