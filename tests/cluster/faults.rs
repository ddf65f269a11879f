//! What goes wrong by itself, or by hand: everything comes back.

use serde_json::json;
use tandem_tests::docker::wait_for;

use crate::kubectl::{PATIENCE, cluster_or_skip, small};

#[test]
fn every_pod_that_is_deleted_comes_back_and_no_row_is_lost() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.keep_a_row();
    let serving = "app.kubernetes.io/component in (mysql,web)";
    for pod in namespace.list("pods", serving) {
        let (name, uid) = (pod["metadata"]["name"].as_str().unwrap(), &pod["metadata"]["uid"]);
        namespace.ok(&["delete", "pod", name, "--wait=false"]);
        wait_for("the Pod to go", PATIENCE, || {
            namespace.get("pod", name).is_none_or(|pod| pod["metadata"]["uid"] != *uid).then_some(())
        });
        stack.settled();
    }
    stack.has_kept_it();
}

#[test]
fn a_killed_mysqld_comes_back_with_its_rows() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.keep_a_row();
    // PID 1 takes no SIGKILL from its own container, but a crash it makes itself ends it.
    namespace.run(&["exec", "shop-mysql-0", "--", "sh", "-c", "kill -SEGV 1"]);
    // Of the Pod itself: what the stack's status says may still be about the time before.
    wait_for("a restart", PATIENCE, || {
        let pod = namespace.get("pod", "shop-mysql-0")?;
        let container = &pod["status"]["containerStatuses"][0];
        (container["restartCount"].as_u64()? > 0 && container["ready"] == true).then_some(())
    });
    stack.settled();
    stack.has_kept_it();
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");
}

/// What a stack with one server has made, beside its Secret.
const OF_ONE_SERVER: [&str; 12] = [
    "ConfigMap shop-mysql",
    "ConfigMap shop-web",
    "Deployment shop-web",
    "NetworkPolicy shop-mysql",
    "NetworkPolicy shop-web",
    "PodDisruptionBudget shop-web",
    "Service shop-mysql",
    "Service shop-mysql-nodes",
    "Service shop-web",
    "ServiceAccount shop-mysql",
    "ServiceAccount shop-web",
    "StatefulSet shop-mysql",
];

#[test]
fn what_is_deleted_or_changed_by_hand_is_put_right() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let children = "serviceaccounts,configmaps,services,networkpolicies,pdb,statefulsets,deployments";
    let names = |objects: Vec<serde_json::Value>| -> Vec<(String, String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let about =
            |o: &serde_json::Value| (text(&o["kind"]), text(&o["metadata"]["name"]), text(&o["metadata"]["uid"]));
        objects.iter().map(about).collect()
    };
    let before = names(namespace.list(children, &stack.label()));
    let mut there: Vec<_> = before.iter().map(|(kind, name, _)| format!("{kind} {name}")).collect();
    there.sort();
    assert_eq!(there, OF_ONE_SERVER);
    for (kind, name, uid) in &before {
        namespace.ok(&["delete", kind, name, "--wait=false"]);
        wait_for(&format!("{kind} {name} again"), PATIENCE, || {
            namespace.get(kind, name).filter(|there| there["metadata"]["uid"] != uid.as_str())
        });
    }
    stack.settled();
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");
    let patch = json!({"spec": {"replicas": 4}}).to_string();
    namespace.ok(&["patch", "deployment", "shop-web", "-p", &patch]);
    wait_for("two replicas again", PATIENCE, || {
        let deployment = namespace.get("deployment", "shop-web")?;
        (deployment["spec"]["replicas"] == 2).then_some(())
    });
}

#[test]
fn what_is_added_by_hand_goes_again() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let cases = [
        ("service", "shop-web", json!({"spec": {"selector": {"foo": "bar"}}}), "/spec/selector/foo"),
        (
            "networkpolicy",
            "shop-mysql",
            json!({"spec": {"podSelector": {"matchLabels": {"foo": "bar"}}}}),
            "/spec/podSelector/matchLabels/foo",
        ),
        ("configmap", "shop-web", json!({"data": {"LOG_LEVEL": "nonsense"}}), "/data/LOG_LEVEL"),
        ("configmap", "shop-mysql", json!({"data": {"MYSQL_CONF_NOSUCH": "1"}}), "/data/MYSQL_CONF_NOSUCH"),
    ];
    for (kind, name, patch, path) in cases {
        namespace.ok(&["patch", kind, name, "--type", "merge", "-p", &patch.to_string()]);
        wait_for(&format!("no {path} in {name}"), PATIENCE, || {
            namespace.get(kind, name)?.pointer(path).is_none().then_some(())
        });
    }
    let is = |kind: &str, name: &str, path: &str, expected: &serde_json::Value| {
        wait_for(&format!("{kind} {name} {path}"), PATIENCE, || {
            (namespace.get(kind, name)?.pointer(path) == Some(expected)).then_some(())
        });
    };
    // What merging the lists would contradict.
    let port = json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 3399}]).to_string();
    namespace.ok(&["patch", "service", "shop-mysql", "--type", "json", "-p", &port]);
    is("service", "shop-mysql", "/spec/ports/0/port", &json!(3306));
    // One more variable would come in front of those that follow it.
    let before =
        namespace.get("deployment", "shop-web").unwrap()["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    namespace.ok(&["set", "env", "deployment/shop-web", "FOO=bar"]);
    is("deployment", "shop-web", "/spec/template/spec/containers/0/env", &before);
    // Without the label by which it is found it is still the stack's.
    namespace.ok(&["label", "service", "shop-web", "app.kubernetes.io/managed-by=someone", "--overwrite"]);
    is("service", "shop-web", "/metadata/labels/app.kubernetes.io~1managed-by", &json!("tandem-operator"));
    stack.settled();
    wait_for("pages", PATIENCE, || stack.page("/").filter(|page| page.status == 200));
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");
}

#[test]
fn objects_of_others_are_left_alone() {
    let namespace = cluster_or_skip!().namespace();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop-web"},
        "spec": {"selector": {"app": "another"}, "ports": [{"port": 80, "name": "http", "targetPort": 9999}]},
    });
    namespace.apply(&service);
    let stack = namespace.stack("shop", small());
    let message = stack.wait("Ready", "False", "Conflict", PATIENCE);
    assert!(message.contains("Service shop-web"), "{message}");
    assert_eq!(namespace.get("service", "shop-web").unwrap()["spec"]["selector"]["app"], "another");
    namespace.ok(&["delete", "service", "shop-web"]);
    stack.settled();
}
