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
fn a_reconcile_leaves_alone_what_is_right() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let stack = namespace.stack("shop", small());
    stack.settled();
    let operators = cluster.ok(&["-n", "tandem-system", "get", "pods", "-l", LABEL, "-o", "name"]);
    assert_eq!(operators.lines().count(), 2);
    let generations = || -> Vec<(String, String)> {
        let kinds = "serviceaccounts,configmaps,services,networkpolicies,secrets,jobs,statefulsets,deployments";
        let listed: Value = serde_json::from_str(&namespace.ok(&["get", kinds, "-o", "json"])).unwrap();
        // Labels of ours that somebody else took away would be a change; what controllers count is none.
        let about = |o: &Value| {
            let (meta, kind) = (&o["metadata"], &o["kind"]);
            let version = if kind == "Deployment" || kind == "StatefulSet" { "generation" } else { "resourceVersion" };
            (format!("{kind} {}", meta["name"]), meta[version].to_string())
        };
        listed["items"].as_array().unwrap().iter().map(about).collect()
    };
    let before = generations();
    // A budget that is deleted comes back by a reconcile, which looks at everything else too.
    let uid = namespace.get("pdb", "shop-mysql").unwrap()["metadata"]["uid"].clone();
    namespace.ok(&["delete", "pdb", "shop-mysql", "--wait=false"]);
    wait_for("the reconcile", PATIENCE, || {
        namespace.get("pdb", "shop-mysql").filter(|budget| budget["metadata"]["uid"] != uid)
    });
    stack.settled();
    assert_eq!(generations(), before);
}
