//! What goes wrong by itself, or by hand: everything comes back.

use serde_json::json;
use tandem_tests::docker::wait_for;

use crate::kubectl::{PATIENCE, cluster_or_skip, small};

#[test]
fn every_pod_that_is_deleted_comes_back_and_no_row_is_lost() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.stack("shop", small());
    stack.settled();
    stack.sql("CREATE TABLE kept (a INT PRIMARY KEY); INSERT INTO kept VALUES (7)");
    let serving = "app.kubernetes.io/component in (mysql,web)";
    for pod in namespace.list("pods", serving) {
        let (name, uid) = (pod["metadata"]["name"].as_str().unwrap(), &pod["metadata"]["uid"]);
        namespace.ok(&["delete", "pod", name, "--wait=false"]);
        wait_for("the Pod to go", PATIENCE, || {
            namespace.get("pod", name).is_none_or(|pod| pod["metadata"]["uid"] != *uid).then_some(())
        });
        stack.settled();
    }
    assert_eq!(stack.sql("SELECT a FROM kept"), "7");
}

#[test]
fn a_killed_mysqld_comes_back_with_its_rows() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.stack("shop", small());
    stack.settled();
    stack.sql("CREATE TABLE kept (a INT PRIMARY KEY); INSERT INTO kept VALUES (7)");
    // PID 1 takes no SIGKILL from its own container, but a crash it makes itself ends it.
    namespace.run(&["exec", "shop-mysql-0", "--", "sh", "-c", "kill -SEGV 1"]);
    wait_for("a restart", PATIENCE, || {
        let pod = namespace.get("pod", "shop-mysql-0")?;
        (pod["status"]["containerStatuses"][0]["restartCount"].as_u64()? > 0).then_some(())
    });
    stack.settled();
    assert_eq!(stack.sql("SELECT a FROM kept"), "7");
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");
}

#[test]
fn what_is_deleted_or_changed_by_hand_is_put_right() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.stack("shop", small());
    stack.settled();
    let children = "serviceaccounts,configmaps,services,networkpolicies,pdb,statefulsets,deployments";
    let names = |objects: Vec<serde_json::Value>| -> Vec<(String, String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let about =
            |o: &serde_json::Value| (text(&o["kind"]), text(&o["metadata"]["name"]), text(&o["metadata"]["uid"]));
        objects.iter().map(about).collect()
    };
    let before = names(namespace.list(children, &stack.label()));
    assert!(before.len() >= 13, "{before:?}");
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
