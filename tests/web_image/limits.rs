//! What one client may do at most, and that many slow ones do not keep the others out.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rstest::rstest;
use serde_json::Value;
use tandem_tests::docker::{turn, wait_for};
use tandem_tests::http;

use crate::image::{Web, image_or_skip, strict};

/// How many slow clients there are at a time.
const SLOW_CLIENTS: usize = 10_000;

/// The statuses of `count` requests in a row from the client at `address`, as a trusted proxy names it.
fn asked(container: &Web, path: &str, address: &str, count: usize) -> Vec<u16> {
    let from = format!("X-Forwarded-For: {address}");
    (0..count).map(|_| container.get_with(path, &from).status).collect()
}

#[test]
fn a_client_has_a_rate_and_the_others_have_theirs() {
    let container = strict(&image_or_skip!(), &["-e", "RATE_LIMIT=1", "-e", "RATE_LIMIT_BURST=2"]).serving();
    assert_eq!(asked(&container, "/", "203.0.113.1", 3), [200; 3]);
    let page = container.get_with("/", "X-Forwarded-For: 203.0.113.1");
    assert_eq!((page.status, page.header("retry-after")), (429, Some("1")));
    assert!(page.body.contains("more requests than one client may make"), "{}", page.body);
    let problem = container.get_with("/api/v1/x", "X-Forwarded-For: 203.0.113.1\r\nX-Request-Id: id-4");
    assert_eq!((problem.status, problem.header("content-type")), (429, Some("application/problem+json")));
    let body: Value = serde_json::from_str(&problem.body).unwrap();
    assert_eq!((&body["status"], &body["request_id"]), (&429.into(), &"id-4".into()), "{body}");
    assert_eq!(asked(&container, "/", "203.0.113.2", 1), [200], "another client");
    for probe in ["/healthz", "/readyz", "//healthz"] {
        assert_eq!(asked(&container, probe, "203.0.113.1", 9), [200; 9], "{probe}");
    }
    wait_for("the client may go on", 5, || (asked(&container, "/", "203.0.113.1", 1) == [200]).then_some(()));
    assert!(!container.stderr().contains("limiting"), "the access log says it already: {}", container.stderr());
}

#[test]
fn an_ipv6_client_is_its_network() {
    let container = strict(&image_or_skip!(), &["-e", "RATE_LIMIT=1", "-e", "RATE_LIMIT_BURST=0"]).serving();
    assert_eq!(asked(&container, "/", "2001:db8:a0a:a0a::1", 1), [200]);
    assert_eq!(asked(&container, "/", "2001:db8:a0a:a0a:ffff::2", 1), [429]);
    assert_eq!(asked(&container, "/", "2001:db8:a0a:a0b::1", 1), [200]);
}

#[test]
fn who_is_not_trusted_cannot_name_another_client() {
    let options = ["-e", "RATE_LIMIT=1", "-e", "RATE_LIMIT_BURST=0", "-e", "TRUSTED_PROXIES=none"];
    let container = strict(&image_or_skip!(), &options).serving();
    assert_eq!(asked(&container, "/", "203.0.113.1", 1), [200]);
    assert_eq!(asked(&container, "/", "203.0.113.2", 1), [429]);
}

#[test]
fn a_client_has_a_number_of_requests_at_a_time() {
    let container = strict(&image_or_skip!(), &["-e", "CLIENT_REQUEST_LIMIT=2"]).serving();
    let held = "GET /held HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    thread::scope(|scope| {
        let held: Vec<_> = (0..2).map(|_| scope.spawn(|| container.request(held).unwrap().status)).collect();
        // Asked as another client, who takes nobody's place.
        let another = "X-Forwarded-For: 203.0.113.1";
        wait_for("both are being answered", 10, || (container.get_with("/busy", another).body == "2").then_some(()));
        assert_eq!(container.get("/").status, 429);
        assert_eq!(container.get("/healthz").status, 200);
        container.sh_ok("touch /tmp/go");
        assert_eq!(held.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>(), [200, 200]);
    });
    assert_eq!(container.get("/").status, 200);
}

#[test]
fn nobody_is_limited_by_default() {
    let container = strict(&image_or_skip!(), &[]).serving();
    assert_eq!(asked(&container, "/", "203.0.113.1", 200), [200; 200]);
}

#[rstest]
#[case::a_body("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegun")]
#[case::a_header("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")]
#[case::nothing("")]
fn a_client_that_stops_sending_is_let_go_of(#[case] begun: &str) {
    let container = strict(&image_or_skip!(), &["-e", "CLIENT_TIMEOUT=1"]).serving();
    let mut stream = TcpStream::connect(container.address()).unwrap();
    stream.write_all(begun.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let began = Instant::now();
    // An end or a reset, and no answer.
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    assert!(!matches!(&ended, Err(error) if error.kind() == ErrorKind::WouldBlock), "still open after 10 s");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(answer, b"");
}

#[test]
fn a_header_byte_by_byte_has_the_time_of_one_header() {
    let container = strict(&image_or_skip!(), &["-e", "CLIENT_TIMEOUT=1"]).serving();
    let mut stream = TcpStream::connect(direct(&container)).unwrap();
    let began = Instant::now();
    while stream.write_all(b"X").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(4), "each byte gives it more time");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_body_byte_by_byte_ends_with_the_answer() {
    let options = ["-e", "CLIENT_TIMEOUT=1", "-e", "APP_COMMAND=webapp serve"];
    let database = ["DATABASE_HOST=127.0.0.1", "DATABASE_NAME=a", "DATABASE_USER=a", "DATABASE_PASSWORD=a"];
    let options: Vec<_> =
        options.into_iter().chain(database.into_iter().flat_map(|variable| ["-e", variable])).collect();
    let container = strict(&image_or_skip!(), &options).serving();
    for method in ["POST", "GET"] {
        let mut stream = TcpStream::connect(direct(&container)).unwrap();
        let head = format!("{method} /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let began = Instant::now();
        while stream.write_all(b"x").is_ok() {
            assert!(began.elapsed() < Duration::from_secs(4), "{method}: each byte gives it more time");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[rstest]
#[case::stays(true)]
#[case::hangs_up(false)]
fn a_client_that_stops_reading_is_let_go_of_and_so_is_the_application(#[case] stays: bool) {
    // Who hangs up is noticed before any limit.
    let limit = if stays { "CLIENT_TIMEOUT=5" } else { "CLIENT_TIMEOUT=60" };
    let container = strict(&image_or_skip!(), &["-e", limit]).serving();
    let mut stream = TcpStream::connect(direct(&container)).unwrap();
    stream.write_all(b"GET /big?50000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    let busy = |count: &str| (container.get("/busy").body == count).then_some(());
    wait_for("the application waits for its reader", 4, || busy("1"));
    // Closed here where it does not stay.
    let open = stays.then_some(stream);
    let line = wait_for("nginx gives it up", 10, || {
        container.stdout().lines().find(|line| line.contains("/big")).map(ToOwned::to_owned)
    });
    let line: Value = serde_json::from_str(&line).unwrap();
    assert!(line["bytes"].as_u64().unwrap() < 50_000_000, "{line}");
    wait_for("the application is free again", 10, || busy("0"));
    if let Some(mut stream) = open {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_err() || rest.len() < 49_000_000, "all of it came");
    }
}

/// The container itself: Docker's own proxy would hold connections that nginx has ended.
fn direct(container: &Web) -> SocketAddr {
    format!("{}:8080", container.inspect("{{.NetworkSettings.IPAddress}}")).parse().unwrap()
}

#[test]
fn ten_thousand_slow_clients_keep_nobody_out() {
    let image = image_or_skip!();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < SLOW_CLIENTS as u64 + 1000 {
        eprintln!("skipped: a process may open {hard} files only");
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let _turn = turn();
    let container = strict(&image, &[]).serving();
    let address = direct(&container);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                let status = http::get(address, "/healthz").map(|answer| answer.status);
                assert_eq!(status, Some(200), "after {:?}", began.elapsed());
                slowest = slowest.max(began.elapsed());
            }
            slowest
        });
        let mut slow: Vec<TcpStream> = (0..SLOW_CLIENTS)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").unwrap();
                stream
            })
            .collect();
        for _ in 0..3 {
            slow.iter_mut().for_each(|stream| stream.write_all(b"x").unwrap());
            thread::sleep(Duration::from_secs(1));
        }
        stop.store(true, Ordering::Relaxed);
        let slowest = others.join().unwrap();
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        // They were all there the whole time: nothing to read, and no end.
        for stream in &mut slow {
            stream.set_nonblocking(true).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    });
}
