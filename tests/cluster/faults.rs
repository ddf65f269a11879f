//! What goes wrong by itself, or by hand: everything comes back.

use std::time::{Duration, Instant};

use serde_json::json;
use tandem_tests::docker::wait_for;

use crate::group::fault::Fault;
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
    // From outside: PID 1 takes no SIGKILL from its own container.
    drop(Fault::Crash.strike(&namespace, "shop-mysql-0"));
    // Of the Pod itself: what the stack's status says may still be about the time before.
    let container = wait_for("a restart", PATIENCE, || {
        let container = namespace.get("pod", "shop-mysql-0")?["status"]["containerStatuses"][0].clone();
        (container["restartCount"].as_u64()? > 0 && container["ready"] == true).then_some(container)
    });
    // 128 and the number of SIGKILL.
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 137, "{container}");
    stack.settled();
    stack.has_kept_it();
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");
}

/// What a stack with one server has made that has an Ingress and an autoscaler, beside its Secret.
const OF_ONE_SERVER: [&str; 14] = [
    "ConfigMap shop-mysql",
    "ConfigMap shop-web",
    "Deployment shop-web",
    "HorizontalPodAutoscaler shop-web",
    "Ingress shop-web",
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

/// How soon what is deleted by hand is back.
const BACK: Duration = Duration::from_secs(2);

#[test]
#[ignore = "looks at how soon, and waits for no processors where it runs alone"]
fn what_is_deleted_or_changed_by_hand_is_put_right() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = small();
    spec["web"]["autoscaling"] = json!({"minReplicas": 2, "maxReplicas": 2});
    spec["web"]["ingress"] = json!({"host": "shop.example.com"});
    let stack = namespace.stack("shop", spec);
    stack.settled();
    let children = "serviceaccounts,configmaps,services,networkpolicies,pdb,statefulsets,deployments,hpa,ingresses";
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
        let began = Instant::now();
        namespace.ok(&["delete", kind, name, "--wait=false"]);
        // It goes at some time of this call. As long once more is granted to whoever looks from here.
        let call = began.elapsed();
        wait_for(&format!("{kind} {name} again"), PATIENCE, || {
            namespace.get(kind, name).filter(|there| there["metadata"]["uid"] != uid.as_str())
        });
        let took = began.elapsed();
        assert!(took <= BACK + 2 * call, "{kind} {name} was back after {took:?}, of which deleting took {call:?}");
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
