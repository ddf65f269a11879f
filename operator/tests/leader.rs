//! The election, before an API server in memory and on a clock that runs by itself: who leads, and that it is never
//! two.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::time::Duration;

use fixture::api::{Cluster, Fault};
use kube::Client;
use rstest::rstest;
use serde_json::json;
use tandem_operator::leader::{DEADLINE, DURATION, Election};
use tokio::time::{Instant, sleep, timeout};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/tandem-system/leases/tandem-operator";

/// How long it takes at most, by the documentation, until another one leads.
const TAKEOVER: Duration = Duration::from_secs(15);

fn stand(client: &Client, identity: &str) -> Election {
    Election::stand(client.clone(), "tandem-system", identity)
}

async fn leader(client: &Client, identity: &str) -> Election {
    let mut election = stand(client, identity);
    timeout(TAKEOVER, election.won()).await.unwrap();
    election
}

#[rstest]
#[case::without_an_answer(Fault::Hangs)]
#[case::refused(Fault::Status(403))]
#[case::too_busy(Fault::Status(429))]
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_has_given_up_before_another_one_leads(#[case] fault: Fault) {
    // Also at any other time since its last renewal.
    for after in [5000, 5500, 6000, 6990] {
        let cluster = Cluster::new(json!({"mysql": {}}));
        let (client, cut_off) = cluster.another_client();
        let one = leader(&client, "one").await;
        let mut two = stand(&cluster.client, "two");
        sleep(Duration::from_millis(after)).await;
        *cut_off.lock().unwrap() = Some(fault);
        let began = Instant::now();
        let lost = async {
            one.lost().await;
            began.elapsed()
        };
        let won = async {
            two.won().await;
            began.elapsed()
        };
        let (lost, won) = tokio::join!(lost, won);
        assert!(lost <= DEADLINE, "{lost:?}");
        assert!(won >= lost + (DURATION - DEADLINE) && won < TAKEOVER, "lost after {lost:?}, won after {won:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_can_renew_leads_on_also_after_a_while_without_an_answer() {
    let cluster = Cluster::new(json!({"mysql": {}}));
    let (client, cut_off) = cluster.another_client();
    let one = leader(&client, "one").await;
    let mut two = stand(&cluster.client, "two");
    for fault in [Fault::Hangs, Fault::Status(500), Fault::Lost] {
        *cut_off.lock().unwrap() = Some(fault);
        sleep(Duration::from_secs(6)).await;
        *cut_off.lock().unwrap() = None;
        sleep(Duration::from_secs(60)).await;
    }
    assert!(timeout(Duration::ZERO, one.lost()).await.is_err());
    assert!(timeout(Duration::ZERO, two.won()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn whoever_resigns_is_followed_at_once() {
    let cluster = Cluster::new(json!({"mysql": {}}));
    let one = leader(&cluster.client, "one").await;
    let mut two = stand(&cluster.client, "two");
    sleep(Duration::from_secs(5)).await;
    one.resign().await;
    timeout(Duration::from_secs(2), two.won()).await.unwrap();
    assert_eq!(cluster.api().objects[LEASE]["spec"]["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_operator_leads_again_as_soon_as_it_is_back() {
    let cluster = Cluster::new(json!({"mysql": {}}));
    let (client, cut_off) = cluster.another_client();
    let one = leader(&client, "one").await;
    *cut_off.lock().unwrap() = Some(Fault::Hangs);
    one.lost().await;
    drop(one);
    let mut again = stand(&client, "one");
    assert!(timeout(Duration::from_secs(60), again.won()).await.is_err(), "it is still cut off");
    *cut_off.lock().unwrap() = None;
    timeout(Duration::from_secs(3), again.won()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_from_whom_the_lease_was_taken_leads_no_more() {
    let cluster = Cluster::new(json!({"mysql": {}}));
    let one = leader(&cluster.client, "one").await;
    let lease = cluster.api().objects[LEASE].clone();
    assert_eq!((&lease["spec"]["holderIdentity"], &lease["spec"]["leaseDurationSeconds"]), (&json!("one"), &json!(12)));
    cluster.api().objects.get_mut(LEASE).unwrap()["spec"]["holderIdentity"] = json!("another");
    timeout(Duration::from_secs(3), one.lost()).await.unwrap();
    one.resign().await;
    assert_eq!(cluster.api().objects[LEASE]["spec"]["holderIdentity"], "another", "it is not its own to give back");
}

/// As releases before this one held it: renewed every ten seconds, for fifteen.
#[tokio::test(start_paused = true)]
async fn a_lease_is_waited_for_as_long_as_its_holder_says() {
    let cluster = Cluster::new(json!({"mysql": {}}));
    let spec = json!({"holderIdentity": "old", "leaseDurationSeconds": 15, "renewTime": "2020-01-01T00:00:00.000000Z"});
    let metadata = json!({"name": "tandem-operator", "resourceVersion": "1"});
    cluster.api().objects.insert(LEASE.to_owned(), json!({"metadata": metadata, "spec": spec}));
    let began = Instant::now();
    let mut two = stand(&cluster.client, "two");
    two.won().await;
    assert_eq!(began.elapsed().as_secs(), 15);
}
