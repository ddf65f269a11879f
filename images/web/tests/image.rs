//! The web image for real: every trap and every promise of docs/images/web.md, tried on containers.
//!
//! TEST_WEB_IMAGE names the image, TEST_FLASK_IMAGE that of docs/examples/flask; without them the tests are skipped.
//! A stand-in application (standin.py) misbehaves on demand.

#[cfg(test)]
mod docker;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

use crate::docker::{Answer, Container, Network, docker_ok, image, under_load, wait_for};

/// The image under test, or the end of the test.
macro_rules! image_or_skip {
    () => {
        match image("TEST_WEB_IMAGE") {
            Some(image) => image,
            None => return,
        }
    };
}

// ---- Trap 1: a dead child ends the container, with its code, within 5 s.

#[rstest]
#[case::the_application_exits_with_3("/exit?3", 3)]
#[case::the_application_exits_with_0("/exit?0", 1)]
#[case::the_application_is_killed("/signal?9", 137)]
#[case::the_application_crashes("/signal?11", 139)]
fn the_end_of_the_application_is_the_end_of_the_container(#[case] request: &str, #[case] code: i32) {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    let begin = Instant::now();
    container.get(request);
    assert_eq!(container.exit_code(5), code);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(container.stderr().contains("tandem-web: app ended by itself with code "), "{}", container.stderr());
}

#[rstest]
#[case::nginx_is_killed("kill -9 $(cat /run/tandem/nginx.pid)", 137)]
#[case::nginx_is_told_to_stop("kill -TERM $(cat /run/tandem/nginx.pid)", 1)]
#[case::supervisord_is_killed("kill -9 $(cat /run/tandem/supervisord.pid)", 137)]
#[case::supervisord_is_told_to_stop("kill -TERM $(cat /run/tandem/supervisord.pid)", 1)]
#[case::the_runner_of_the_application_is_killed(RUNNER, 1)]
fn the_end_of_any_other_process_is_the_end_of_the_container(#[case] script: &str, #[case] code: i32) {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    let begin = Instant::now();
    container.exec(script);
    assert_eq!(container.exit_code(5), code);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

const RUNNER: &str = r#"for p in /proc/[0-9]*; do
    case "$(tr '\0' ' ' <$p/cmdline)" in "/usr/local/bin/tandem-web run app "*) kill -9 "${p#/proc/}" ;; esac
done"#;

#[test]
fn a_container_that_failed_serves_again_after_a_restart() {
    let container = Container::strict(&image_or_skip!(), &["--restart=on-failure"]).serving();
    container.get("/signal?9");
    wait_for("Docker restarts it", 20, || (container.inspect("{{.RestartCount}}") == "1").then_some(()));
    container.serving();
}

// ---- Trap 2: a stop drains nginx first and loses nothing.

#[test]
fn a_stop_is_clean_and_answers_what_is_in_flight() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    let mut stream = TcpStream::connect(container.address()).unwrap();
    stream.write_all(b"GET /slow?3 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    thread::sleep(Duration::from_millis(300)); // until nginx has passed it on
    let stopping = thread::scope(|scope| {
        let stopping = scope.spawn(|| container.stop());
        assert_eq!(Answer::read(&mut stream).unwrap().body, "slow\n");
        stopping.join().unwrap()
    });
    assert!(stopping < Duration::from_secs(8), "{stopping:?}");
    assert_eq!(container.exit_code(0), 0);
}

#[rstest]
fn a_stop_under_load_loses_no_request(#[values(true, false)] keepalive: bool, #[values("GET", "POST")] method: &str) {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    // Straight to the container: Docker's own proxy would accept connections that nobody serves.
    let ip = container.inspect("{{.NetworkSettings.IPAddress}}");
    let address = format!("{ip}:8080").parse().unwrap();
    let ((), met) = under_load(address, 50, keepalive, method, || {
        thread::sleep(Duration::from_secs(1));
        container.stop();
    });
    assert_eq!(met.lost, [""; 0]);
    assert!(met.served_by.values().sum::<u32>() > 100, "{met:?}");
    assert_eq!(container.exit_code(0), 0);
}

#[test]
fn requests_that_never_end_do_not_hold_a_stop_up() {
    let options = ["-e", "SHUTDOWN_TIMEOUT=1", "-e", "IGNORE_TERM=1"];
    let container = Container::strict(&image_or_skip!(), &options).serving();
    let mut stream = TcpStream::connect(container.address()).unwrap();
    stream.write_all(b"GET /slow?60 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let took = container.stop();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(container.exit_code(0), 0);
}

#[test]
fn a_delay_goes_on_serving_after_the_stop_was_asked_for() {
    let container = Container::strict(&image_or_skip!(), &["-e", "SHUTDOWN_DELAY=3"]).serving();
    docker_ok(&["kill", "-s", "TERM", &container.name]);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(2) {
        assert_eq!(container.get("/").status, 200);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(container.exit_code(8), 0);
    assert!(asked.elapsed() > Duration::from_secs(3));
}

// ---- Trap 3: output for a user who is not root, and nothing left over.

#[test]
fn a_request_is_one_json_line_on_stdout_and_errors_go_to_stderr() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
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
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
        assert!(!line.contains("/healthz"), "a good probe is not worth a line: {line}");
    }
}

#[test]
fn garbage_is_one_json_line_too() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
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
    let container = Container::start(&image_or_skip!(), options, &[]).serving();
    container.get("/seen");
    wait_for("the line", 5, || container.stdout().contains("\"uri\":\"/seen\"").then_some(()));
}

#[test]
fn a_restart_finds_no_leftovers() {
    // Without a tmpfs the sockets, FIFOs and pid files of the last run are all still there.
    let container = Container::start(&image_or_skip!(), &[], &[]).serving();
    docker_ok(&["kill", &container.name]);
    docker_ok(&["start", &container.name]);
    container.serving();
}

// ---- Trap 4: workers from the quota, IPv4 and IPv6.

#[test]
fn workers_follow_the_quota_and_both_protocols_listen() {
    let container = Container::strict(&image_or_skip!(), &["--cpus=0.5", IPV6]).serving();
    let workers = container.exec("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '^nginx: worker process$'");
    assert_eq!(String::from_utf8_lossy(&workers.stdout).trim(), "1");
    for host in ["127.0.0.1", "::1"] {
        let fetch = format!(
            "python3 -c \"import http.client as c; h = c.HTTPConnection('{host}', 8080); \
                             h.request('GET', '/'); print(h.getresponse().status)\""
        );
        assert_eq!(String::from_utf8_lossy(&container.exec(&fetch).stdout).trim(), "200", "{host}");
    }
}

#[test]
fn it_serves_where_ipv6_is_switched_off() {
    Container::strict(&image_or_skip!(), &["--sysctl=net.ipv6.conf.all.disable_ipv6=1"]).serving();
}

/// Docker switches IPv6 off in its default networks.
const IPV6: &str = "--sysctl=net.ipv6.conf.all.disable_ipv6=0";

// ---- Trap 5: read-only root, any user of group 0, no capability.

#[rstest]
#[case::its_own_user(&[])]
#[case::any_user(&["--user=123456:0"])]
#[case::any_user_and_its_default_group(&["--user=123456"])]
#[case::root_without_capabilities(&["--user=0"])]
fn it_serves_read_only_without_capabilities_as(#[case] options: &[&str]) {
    let container = Container::strict(&image_or_skip!(), options).serving();
    // A body that does not fit into nginx's buffer goes through a file.
    let body = "x".repeat(500_000);
    let length = body.len();
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    assert_eq!(container.request(&request).unwrap().body, "posted\n");
    assert_eq!(container.get("/big?3000000").body.len(), 3_000_000);
    container.stop();
    assert_eq!(container.exit_code(0), 0);
}

#[test]
fn a_run_folder_that_cannot_be_written_is_said_in_one_line() {
    let container = Container::start(&image_or_skip!(), &["--read-only"], &[]);
    assert_eq!(container.exit_code(5), 1);
    assert!(container.stderr().ends_with("mount a tmpfs on /run\n"), "{}", container.stderr());
}

// ---- Trap 6: a bad variable is one line, and nothing starts.

#[rstest]
#[case("PORT=http", "PORT is \"http\": ")]
#[case("PORT=", "PORT is set but empty")]
#[case("WEB_ROLE=both", "WEB_ROLE is \"both\": give app or proxy")]
#[case("LISTEN=/run/app.sock", "LISTEN is \"/run/app.sock\": ")]
#[case("LISTEN=127.0.0.1:8080", "LISTEN and PORT are both port 8080")]
#[case("APP_COMMAND=nosuch serve", "APP_COMMAND is \"nosuch\": give a program in PATH")]
#[case("APP_COMMAND=python3 'x", "APP_COMMAND is \"python3 'x\": ")]
#[case("BODY_SIZE_LIMIT=1m; return 200", "BODY_SIZE_LIMIT is ")]
#[case("PROXY_UPSTREAM=web", "PROXY_UPSTREAM is \"web\": give HOST:PORT")]
#[case("TRUSTED_PROXIES=10.0.0.0/99", "TRUSTED_PROXIES is ")]
#[case("SHUTDOWN_TIMEOUT=-1", "SHUTDOWN_TIMEOUT is \"-1\": ")]
fn a_bad_variable_is_refused(#[case] variable: &str, #[case] message: &str) {
    let container = Container::strict(&image_or_skip!(), &["-e", variable]);
    assert_eq!(container.exit_code(10), 1);
    assert!(container.lifetime() < Duration::from_secs(2), "{:?}", container.lifetime());
    let stderr = container.stderr();
    assert!(stderr.starts_with(&format!("tandem-web: {message}")) && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(container.stdout(), "");
}

#[test]
fn an_application_that_refuses_its_variables_never_has_a_web_server() {
    let command = "APP_COMMAND=sh -c 'echo app: DATABASE_URL is wrong >&2; exit 78'";
    let container = Container::strict(&image_or_skip!(), &["-e", command]);
    assert_eq!(container.exit_code(10), 78);
    assert!(container.stderr().contains("app: DATABASE_URL is wrong\n"), "{}", container.stderr());
    assert!(!container.exec("ls /run/tandem/nginx.pid").status.success());
    assert_eq!(container.stdout(), "");
}

// ---- Trap 7: the application's own 503 passes unchanged.

#[test]
fn the_applications_own_errors_pass_unchanged() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    let answer = container.get("/unavailable");
    assert_eq!((answer.status, answer.body.as_str()), (503, "the database is away\n"));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert!(answer.header("x-served-by").unwrap().starts_with("standin-"));
}

// ---- The contract.

#[test]
fn an_application_that_does_not_answer_is_excused_in_plain_words() {
    let container = Container::strict(&image_or_skip!(), &["-e", "START_DELAY=6", "--hostname=front-1"]);
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
fn every_answer_says_who_served_it_once() {
    let image = image_or_skip!();
    let speaks = Container::strict(&image, &["--hostname=a"]).serving();
    assert_eq!(speaks.get("/").header("x-served-by"), Some("standin-a"));
    assert_eq!(speaks.get("/metrics").header("x-served-by"), Some("a"));
    let silent = Container::strict(&image, &["--hostname=b", "-e", "SERVED_BY=nobody"]).serving();
    assert_eq!(silent.get("/").header("x-served-by"), Some("b"));
}

#[test]
fn metrics_are_public_only_when_asked_for() {
    let image = image_or_skip!();
    let hidden = Container::strict(&image, &[]).serving();
    for path in ["/metrics", "//metrics", "/./metrics", "/%6detrics", "/metrics?x"] {
        assert_eq!(hidden.get(path).status, 404, "{path}");
    }
    assert_eq!(Container::strict(&image, &["-e", "METRICS_PUBLIC=true"]).serving().get("/metrics").status, 200);
}

#[test]
fn the_word_of_a_proxy_counts_where_it_is_trusted() {
    let image = image_or_skip!();
    let sent = "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n\
                X-Request-Id: ok-1\r\nUpgrade: h2c\r\nConnection: close";
    let seen =
        |container: &Container| -> Value { serde_json::from_str(&container.get_with("/headers", sent).body).unwrap() };
    let behind = Container::strict(&image, &[]).serving();
    let headers = seen(&behind);
    assert_eq!(headers["x-forwarded-for"], "198.51.100.7", "the last one that is no trusted proxy: {headers}");
    assert_eq!(headers["x-forwarded-proto"], "https", "{headers}");
    assert_eq!(headers["x-forwarded-host"], "shop.example", "{headers}");
    assert_eq!(headers["x-request-id"], "ok-1", "{headers}");
    assert!(headers.get("upgrade").is_none(), "{headers}");
    let front = Container::strict(&image, &["-e", "TRUSTED_PROXIES=none"]).serving();
    let headers = seen(&front);
    assert!(headers["x-forwarded-for"].as_str().unwrap().starts_with("172."), "Docker's bridge: {headers}");
    assert_eq!(headers["x-forwarded-proto"], "http", "{headers}");
    assert_eq!(headers["x-forwarded-host"], "example.org", "{headers}");
}

#[test]
fn web_sockets_are_upgraded() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    let request = "GET /headers HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let headers: Value = serde_json::from_str(&container.request(request).unwrap().body).unwrap();
    assert_eq!((&headers["upgrade"], &headers["connection"]), (&"websocket".into(), &"upgrade".into()), "{headers}");
}

#[test]
fn a_request_id_that_is_missing_or_strange_is_made_anew() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    for header in ["X-A: b".to_owned(), "X-Request-Id: a\"b".to_owned(), format!("X-Request-Id: {}", "a".repeat(129))] {
        let answer = container.get_with("/headers", &header);
        let id = answer.header("x-request-id").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{header}: {id}");
        assert!(answer.body.contains(id), "{answer:?}");
    }
}

#[test]
fn what_is_too_large_or_too_slow_is_refused() {
    let options = ["-e", "BODY_SIZE_LIMIT=1k", "-e", "HEADER_SIZE_LIMIT=2k", "-e", "CLIENT_TIMEOUT=1"];
    let container = Container::strict(&image_or_skip!(), &options).serving();
    let post = |path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1025\r\n\r\n");
        container.request(&(head + &"x".repeat(1025))).unwrap()
    };
    let page = post("/");
    assert_eq!(page.status, 413);
    assert!(page.body.contains("larger than this server accepts") && page.header("retry-after").is_none(), "{page:?}");
    assert_eq!(post("/api/v1/x").header("content-type"), Some("application/problem+json"));
    assert_eq!(container.get(&format!("/{}", "a".repeat(3000))).status, 414);
    assert_eq!(container.get_with("/", &format!("X-Long: {}", "a".repeat(3000))).status, 431);
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
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    let packed = container.get_with("/big?100000", "Accept-Encoding: gzip");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < 2000);
    assert_eq!(container.get("/big?100000").header("content-encoding"), None);
}

#[test]
fn secrets_reach_the_application_alone_and_odd_values_unchanged() {
    let image = image_or_skip!();
    let secret = r#"DATABASE_PASSWORD=%(ENV_HOME)s 100% "q" 'p' $HOME `id` \ ; é"#;
    let command =
        r#"APP_COMMAND=sh -c 'test "$1" = "100%(x)s; \"q\"" && exec python3 -S /standin.py' x '100%(x)s; "q"'"#;
    let container = Container::strict(&image, &["-e", secret, "-e", command]).serving();
    let environment: Value = serde_json::from_str(&container.get("/environment").body).unwrap();
    assert_eq!(format!("DATABASE_PASSWORD={}", environment["DATABASE_PASSWORD"].as_str().unwrap()), secret);
    let who = container.exec(
        "for p in /proc/[0-9]*; do grep -q DATABASE_PASSWORD $p/environ && tr '\\0' ' ' <$p/cmdline && echo; done",
    );
    let who = String::from_utf8_lossy(&who.stdout).into_owned();
    assert!(who.contains("standin.py") && !who.contains("nginx") && !who.contains("supervisord"), "{who}");
    assert!(!container.exec("grep -r DATABASE /run/tandem --include=*.conf").status.success());
}

#[rstest]
#[case("127.0.0.1:3000")]
#[case("0.0.0.0:3000")]
#[case("localhost:3000")]
#[case("[::1]:3000")]
#[case("unix:/tmp/other.sock")]
fn the_application_listens_where_it_is_told(#[case] listen: &str) {
    let container = Container::strict(&image_or_skip!(), &[IPV6, "-e", &format!("LISTEN={listen}")]).serving();
    let environment: Value = serde_json::from_str(&container.get("/environment").body).unwrap();
    let port = listen.rsplit_once(':').map(|(_, port)| port).filter(|port| *port == "3000");
    assert_eq!(environment.get("PORT").and_then(Value::as_str), port, "{environment}");
}

#[test]
fn it_is_healthy_while_it_serves() {
    let container =
        Container::strict(&image_or_skip!(), &["--health-interval=1s", "--health-start-period=0s"]).serving();
    let health = |status: &str| {
        wait_for(status, 30, || (container.inspect("{{.State.Health.Status}}") == status).then_some(()));
    };
    health("healthy");
    container.exec("touch /tmp/not-ready");
    health("unhealthy");
    let check = container.exec("tandem-web health");
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&check.stderr).starts_with("tandem-web: /readyz is answered with"), "{check:?}");
    container.exec("rm /tmp/not-ready");
    health("healthy");
}

#[rstest]
#[case(&["sh", "-c", "echo one-off; exit 4"], 4, "one-off\n")]
#[case(&["--help"], 0, "usage: tandem-web")]
#[case(&["--nonsense"], 1, "")]
#[case(&["nosuch"], 127, "")]
fn another_command_runs_in_its_place(#[case] command: &[&str], #[case] code: i32, #[case] stdout: &str) {
    let container = Container::start(&image_or_skip!(), &[], command);
    assert_eq!(container.exit_code(10), code);
    assert!(container.stdout().starts_with(stdout), "{}", container.stdout());
    assert!(code == 0 || code == 4 || container.stderr().contains("tandem-web: "), "{}", container.stderr());
}

#[test]
fn a_second_start_in_the_same_container_changes_nothing() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    let second = container.exec("tandem-web");
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&second.stderr), "tandem-web: it runs already in this container\n");
    assert_eq!(container.get("/").status, 200);
}

#[test]
fn orphans_do_not_pile_up() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    container.exec("(sleep 0.1 & sleep 0.1 & sleep 0.1 &) &");
    wait_for("no zombie is left", 5, || {
        let zombies = container.exec("grep -l '^State:.Z' /proc/[0-9]*/status");
        zombies.stdout.is_empty().then_some(())
    });
}

#[test]
fn a_hang_up_changes_nothing() {
    let container = Container::strict(&image_or_skip!(), &[]).serving();
    docker_ok(&["kill", "-s", "HUP", &container.name]);
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

// ---- The front.

fn replica(image: &str, network: &Network) -> Container {
    Container::strict(image, &["--network", &network.0, "--network-alias=web"])
}

fn front(image: &str, network: &Network) -> Container {
    Container::strict(image, &["--network", &network.0, "-e", "WEB_ROLE=proxy"])
}

#[test]
fn the_front_starts_before_its_replicas_and_follows_them() {
    let image = image_or_skip!();
    let network = Network::create();
    let front = front(&image, &network);
    let answer =
        wait_for("the front answers", 20, || front.request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    assert_eq!((answer.status, answer.header("retry-after")), (502, Some("2")));
    let replica = replica(&image, &network);
    let front = front.serving();
    let answer = front.get_with("/headers", "X-Forwarded-For: 203.0.113.9\r\nX-Request-Id: id-3");
    let headers: Value = serde_json::from_str(&answer.body).unwrap();
    assert_ne!(headers["x-forwarded-for"], "203.0.113.9", "the front believes nobody");
    assert_eq!(headers["x-request-id"], "id-3");
    assert_eq!(answer.header("x-request-id"), Some("id-3"));
    assert_eq!(answer.header("x-served-by"), Some(format!("standin-{}", &replica.inspect("{{.Id}}")[..12]).as_str()));
    assert_eq!(front.get("/metrics").status, 404);
    front.stop();
    assert_eq!(front.exit_code(0), 0);
}

#[rstest]
#[case::keepalive(true, "GET")]
#[case::one_connection_each(false, "GET")]
#[case::writes(true, "POST")]
fn replicas_come_and_go_without_a_lost_request(#[case] keepalive: bool, #[case] method: &str) {
    let image = image_or_skip!();
    let network = Network::create();
    let _stays = replica(&image, &network);
    let front = front(&image, &network).serving();
    let ip = front.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    let address = format!("{ip}:8080").parse().unwrap();
    let (spread, met) = under_load(address, 50, keepalive, method, || {
        thread::sleep(Duration::from_secs(1));
        let more = [replica(&image, &network), replica(&image, &network)].map(Container::serving);
        let begin = Instant::now();
        let mut seen = std::collections::HashSet::new();
        wait_for("all three replicas serve", 20, || {
            seen.insert(front.get("/").header("x-served-by").unwrap().to_owned());
            (seen.len() == 3).then_some(())
        });
        let spread = begin.elapsed();
        thread::scope(|scope| more.iter().for_each(|container| drop(scope.spawn(|| container.stop()))));
        drop(more);
        thread::sleep(Duration::from_secs(3));
        spread
    });
    assert_eq!(met.lost, [""; 0]);
    assert_eq!(met.refused, 0);
    assert_eq!(met.served_by.len(), 3, "{met:?}");
    assert!(spread < Duration::from_secs(10), "after they serve: {spread:?}");
}

#[test]
fn the_front_asks_another_replica_when_one_is_broken() {
    let image = image_or_skip!();
    let network = Network::create();
    let _good = replica(&image, &network).serving();
    // Its application never listens: its nginx says 502.
    let broken = ["--network", &network.0, "--network-alias=web", "-e", "START_DELAY=100"];
    let broken = Container::strict(&image, &broken);
    wait_for("the broken one answers 502", 20, || {
        broken.request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    });
    let front = front(&image, &network).serving();
    for _ in 0..50 {
        assert_eq!(front.get("/").status, 200);
    }
}

// ---- Another application in the same image: docs/examples/flask.

#[test]
fn the_flask_example_keeps_the_contract() {
    let Some(image) = image("TEST_FLASK_IMAGE") else { return };
    let database = ["-e", "DATABASE_HOST=127.0.0.1", "-e", "DATABASE_USER=a", "-e", "DATABASE_PASSWORD=b"];
    let container = Container::strict(&image, &database).serving();
    let page = container.get("/");
    assert_eq!(page.status, 503, "there is no database: {page:?}");
    assert!(page.header("retry-after").is_some() && page.body.contains("database"), "{page:?}");
    assert_eq!(container.get("/readyz").status, 503);
    assert_eq!(container.get("/nosuch").status, 404);
    assert!(page.header("x-served-by").is_some());
    container.stop();
    assert_eq!(container.exit_code(0), 0);

    let container = Container::strict(&image, &database).serving();
    container.exec("kill -9 $(cat /tmp/gunicorn.pid)");
    assert_eq!(container.exit_code(5), 137);
}
