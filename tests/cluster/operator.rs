//! The operator as a program: its end in the middle of things, its silence when there is nothing to do.

use serde_json::{Value, json};
use tandem_tests::docker::wait_for;

use crate::kubectl::{Cluster, PATIENCE, cluster_or_skip, small};

const LABEL: &str = "app.kubernetes.io/name=tandem-operator";

fn holder(cluster: &Cluster) -> String {
    cluster.ok(&["-n", "tandem-system", "get", "lease", "tandem-operator", "-o", "jsonpath={.spec.holderIdentity}"])
}

#[test]
fn the_other_replica_goes_on_when_the_leader_is_killed_during_a_roll() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let stack = namespace.stack("shop", small());
    stack.settled();
    let leader = wait_for("a leader", PATIENCE, || Some(holder(cluster)).filter(|name| !name.is_empty()));
    stack.patch(json!({"web": {"replicas": 4, "env": [{"name": "LOG_LEVEL", "value": "warn"}]}}));
    cluster.ok(&["-n", "tandem-system", "delete", "pod", &leader, "--grace-period=0", "--force"]);
    stack.patch(json!({"web": {"replicas": 3}}));
    stack.web("3/3");
    stack.settled();
    wait_for("another leader", PATIENCE, || Some(holder(cluster)).filter(|name| !name.is_empty() && *name != leader));
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let stack = namespace.stack("shop", small());
    stack.settled();
    let versions = || -> Vec<(String, String)> {
        let kinds = "webstacks,serviceaccounts,configmaps,services,networkpolicies,pdb,secrets,jobs";
        let listed = namespace.ok(&["get", kinds, "-o", "json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let about = |o: &Value| (o["metadata"]["name"].to_string(), o["metadata"]["resourceVersion"].to_string());
        listed["items"].as_array().unwrap().iter().map(about).collect()
    };
    let before = versions();
    // A reconcile that changes nothing: set off by a label that means nothing.
    namespace.ok(&["label", "secret", "shop-mysql", "seen=yes"]);
    let operators = cluster.ok(&["-n", "tandem-system", "get", "pods", "-l", LABEL, "-o", "name"]);
    assert_eq!(operators.lines().count(), 2);
    wait_for("the reconcile", PATIENCE, || {
        let after = versions();
        (after != before).then_some(())
    });
    let changed: Vec<_> = versions().into_iter().filter(|version| !before.contains(version)).collect();
    assert_eq!(changed.len(), 1, "the label alone: {changed:?}");
}
