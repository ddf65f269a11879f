//! The API server's faults and late news: whatever it answers in between, and however far the watches are behind,
//! reconciling again ends where it would have ended without.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::sync::Arc;

use fixture::api::{Cluster, Documents, Fault};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;
use tandem_operator::controller::reconcile;
use tandem_operator::crd::WebStack;

/// A cluster with a new stack in it.
fn cluster() -> Cluster {
    Cluster::new(json!({"mysql": {}}))
}

/// The paths of what is not the same.
fn differences(one: &Documents, other: &Documents) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

/// What there is without any fault, and after how many requests.
async fn undisturbed() -> (Documents, usize) {
    let mut cluster = cluster();
    assert!(cluster.settle().await < 10);
    let requests = cluster.api().requests;
    (cluster.objects(), requests)
}

#[tokio::test]
async fn without_faults_everything_is_there_after_a_few_rounds() {
    let (objects, _) = undisturbed().await;
    for path in [
        "/apis/apps/v1/namespaces/default/statefulsets/shop-mysql",
        "/apis/apps/v1/namespaces/default/deployments/shop-web",
        "/api/v1/namespaces/default/secrets/shop-mysql",
    ] {
        assert!(objects.contains_key(path), "{path}");
    }
    assert!(objects.keys().any(|path| path.contains("/jobs/shop-migrate-")));
}

#[tokio::test]
async fn in_a_namespace_that_is_being_deleted_one_try_is_enough() {
    let mut cluster = cluster();
    cluster.api().ends = true;
    let context = cluster.context();
    let done = reconcile(Arc::new(cluster.stack()), context).await;
    assert!(done.is_ok(), "{done:?}");
    assert_eq!(cluster.api().writes, 1);
}

/// The reason and the message of a condition.
fn told(stack: &WebStack, type_: &str) -> (String, String) {
    let mut conditions = stack.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.find(|condition| condition.type_ == type_).unwrap();
    (found.reason.clone(), found.message.clone())
}

#[rstest]
#[case::refused(Fault::Status(403), "a fault")]
#[case::failing(Fault::Status(500), "a fault")]
#[case::without_an_answer(Fault::Hangs, "no answer within 10 s")]
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_told_and_keeps_no_group_from_being_looked_after(
    #[case] fault: Fault,
    #[case] why: &str,
) {
    let theirs = json!([{"secretRef": {"name": "theirs", "optional": true}}]);
    let mut cluster = Cluster::new(json!({"mysql": {"instances": 3}, "web": {"envFrom": theirs}}));
    cluster.settle().await;
    let before = cluster.objects();
    cluster.api().broken.insert("/api/v1/namespaces/default/secrets/theirs".to_owned(), fault);
    let context = cluster.context();
    // An operator that has just begun: the second time, the keeper has told.
    for _ in 0..2 {
        let done = reconcile(Arc::new(cluster.stack()), Arc::clone(&context)).await;
        assert_eq!(done.unwrap_err().to_string(), format!("observing: Secret theirs: {why}"));
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let stack = cluster.stack();
    let expected = format!("web: Secret theirs cannot be read: {why}");
    assert_eq!(told(&stack, "WebReady"), ("ReferenceUnreadable".to_owned(), expected));
    assert_ne!(told(&stack, "Degraded").0, "NotAsked");
    assert_eq!(differences(&cluster.objects(), &before), Vec::<String>::new(), "the tier is left as it is");
}

/// Each request is hit once.
#[rstest]
#[case(Fault::Status(409))]
#[case(Fault::Status(410))]
#[case(Fault::Status(429))]
#[case(Fault::Status(500))]
#[case(Fault::Lost)]
#[case(Fault::Hangs)]
#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_changes_nothing_in_the_end(#[case] fault: Fault) {
    let (expected, requests) = undisturbed().await;
    for position in 0..requests {
        let mut faults = vec![None; position];
        faults.push(Some(fault));
        let mut cluster = cluster();
        cluster.api().faults = faults.into();
        assert!(cluster.settle().await < 20, "{fault:?} at request {position}");
        let differ = differences(&cluster.objects(), &expected);
        assert!(differ.is_empty(), "{fault:?} at request {position}: {differ:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_sequence_of_faults_and_late_news_is_outlived(behind in prop::collection::vec(0..8usize, 0..30), faults in prop::collection::vec(prop::option::weighted(0.3, prop_oneof![
        Just(Fault::Status(409)), Just(Fault::Status(429)), Just(Fault::Status(500)), Just(Fault::Lost), Just(Fault::Hangs),
    ]), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut cluster = cluster();
        cluster.api().faults = faults.into();
            cluster.behind = behind.into();
            prop_assert!(cluster.settle().await < 200);
            let differ = differences(&cluster.objects(), &undisturbed().await.0);
            prop_assert!(differ.is_empty(), "{:?}", differ);
            Ok(())
        })?;
    }
}
