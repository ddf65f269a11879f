//! Trap 2: a stop drains nginx first and loses nothing.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use tandem_tests::docker::docker_ok;
use tandem_tests::http::{Answer, under_load};

use crate::image::{image_or_skip, strict};

#[test]
fn a_stop_is_clean_and_answers_what_is_in_flight() {
    let container = strict(&image_or_skip!(), &[]).serving();
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
    let container = strict(&image_or_skip!(), &[]).serving();
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
    let container = strict(&image_or_skip!(), &options).serving();
    let mut stream = TcpStream::connect(container.address()).unwrap();
    stream.write_all(b"GET /slow?60 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let took = container.stop();
    // SHUTDOWN_TIMEOUT and two seconds; and one for Docker.
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(container.exit_code(0), 0);
    // The application holds both outputs to the very end.
    let stderr = container.stderr();
    assert!(stderr.contains("not every program stopped in time"), "{stderr}");
}

#[test]
fn a_stop_that_comes_while_the_variables_are_checked_is_not_lost() {
    let check = "APP_CHECK=sh -c 'echo checking >&2; exec sleep 60'";
    let container = strict(&image_or_skip!(), &["-e", check]);
    container.wait_for_log("checking", 1, 10);
    let took = container.stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(container.exit_code(0), 0);
    assert_eq!(container.stderr(), "checking\n");
}

#[test]
fn the_socket_that_wakes_supervisord_controls_nothing() {
    let container = strict(&image_or_skip!(), &[]).serving();
    let status = container.sh_ok(
        "python3 -c \"import http.client as c, socket as s; h = c.HTTPConnection('x'); h.sock = s.socket(s.AF_UNIX); \
         h.sock.connect('/run/tandem/doorbell.sock'); h.request('POST', '/RPC2', '<x/>'); print(h.getresponse().status)\"",
    );
    assert_eq!(status, "401");
}

#[test]
fn a_delay_goes_on_serving_after_the_stop_was_asked_for() {
    let container = strict(&image_or_skip!(), &["-e", "SHUTDOWN_DELAY=3"]).serving();
    let asked = Instant::now();
    docker_ok(&["kill", "-s", "TERM", container.name()]);
    while asked.elapsed() < Duration::from_secs(2) {
        assert_eq!(container.get("/").status, 200);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(container.exit_code(8), 0);
    assert!(asked.elapsed() > Duration::from_secs(3));
}
