//! The front: the same image in its other role.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;
use tandem_tests::docker::{Network, wait_for};
use tandem_tests::http::{get, under_load};

use crate::image::{Web, image_or_skip, strict};

fn replica(image: &str, network: &Network) -> Web {
    strict(image, &["--network", network.name(), "--network-alias=web"])
}

fn front(image: &str, network: &Network) -> Web {
    strict(image, &["--network", network.name(), "-e", "WEB_ROLE=proxy"])
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
    assert_eq!(front.request("GET /headers HTTP/1.0\r\n\r\n").unwrap().status, 200, "no Host");
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
        let more = [replica(&image, &network), replica(&image, &network)].map(Web::serving);
        let begin = Instant::now();
        let (mut seen, mut spread) = (HashMap::<_, u32>::new(), None);
        // Not only once each: the clients of the load have to meet all of them too before two are stopped.
        wait_for("all three replicas serve, again and again", 40, || {
            *seen.entry(get(address, "/")?.header("x-served-by").unwrap().to_owned()).or_default() += 1;
            (seen.len() == 3).then(|| *spread.get_or_insert_with(|| begin.elapsed()))?;
            seen.values().all(|&times| times >= 5).then_some(())
        });
        let spread = spread.unwrap();
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
    let broken = ["--network", network.name(), "--network-alias=web", "-e", "START_DELAY=100"];
    let broken = strict(&image, &broken);
    wait_for("the broken one answers 502", 20, || {
        broken.request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    });
    let front = front(&image, &network).serving();
    for _ in 0..50 {
        assert_eq!(front.get("/").status, 200);
    }
}
