//! The rights in `manifests/rbac` are those that the operator takes: each rule is used, and no request is without one.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fixture::api::{Cluster, Right, STACK, labels};
use rstest::rstest;
use serde_json::{Value, json};
use tandem_environment::Environment;
use tandem_operator::config::Config;
use tandem_operator::controller::keeper::{admit, label, select};
use tandem_operator::controller::{self, reconcile};
use tandem_operator::crd::WebStack;
use tandem_operator::leader::Election;
use tandem_operator::metrics::Metrics;
use tokio::sync::oneshot;

/// The rules of a file.
fn granted(file: &str) -> BTreeSet<Right> {
    let path = format!("{}/../manifests/rbac/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let role: Value = serde_saphyr::from_str(text.split("\n---\n").next().unwrap()).unwrap();
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                rights.extend(words(&rule["verbs"]).into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    rights
}

/// The rights that were taken are those of a file.
fn same(cluster: &Cluster, file: &str) {
    let (granted, taken) = (granted(file), cluster.api().rights.clone());
    let unused: Vec<_> = granted.difference(&taken).collect();
    let missing: Vec<_> = taken.difference(&granted).collect();
    assert!(unused.is_empty() && missing.is_empty(), "{file}: unused {unused:?}, missing {missing:?}");
}

/// Everything that a stack can have.
fn full() -> Value {
    json!({
        "mysql": {},
        "web": {
            "ingress": {"host": "shop.example.com"},
            "autoscaling": {"maxReplicas": 3},
            "envFrom": [{"configMapRef": {"name": "more", "optional": true}}],
        },
    })
}

/// Runs the controller until every kind is watched.
async fn watched(cluster: &Cluster, namespace: Option<&str>) {
    let variables: Environment = namespace.map(|namespace| ("WATCH_NAMESPACE", namespace)).into_iter().collect();
    let config = Config::read(&variables).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = controller::run(cluster.clients(), &config, Arc::new(Metrics::default()), async {
        drop(stopped.await);
    });
    let all = async {
        let watches = |right: &&Right| right.2 == "watch";
        while cluster.api().rights.iter().filter(watches).count() < 14 {
            // Of virtual time: the clock is paused, and goes on when nobody has anything to do.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.send(()).unwrap();
    };
    tokio::join!(running, all);
}

#[tokio::test(start_paused = true)]
async fn every_right_on_stacks_and_their_objects_is_used_and_none_is_missing() {
    let mut cluster = Cluster::new(full());
    watched(&cluster, None).await;
    assert!(cluster.settle().await < 10);

    // What the StatefulSet would make: a volume that gets our labels, and a Pod that is stuck on an old version.
    let volume = json!({
        "metadata": {"name": "data-shop-mysql-0", "namespace": "default", "labels": labels("mysql")},
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
    });
    cluster.put("/api/v1/namespaces/default/persistentvolumeclaims/data-shop-mysql-0", volume);
    let mut stuck = labels("mysql");
    stuck["controller-revision-hash"] = json!("shop-mysql-1");
    let waiting = json!({"reason": "ImagePullBackOff"});
    let status = json!({"name": "mysql", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": waiting}});
    let pod = json!({
        "metadata": {"name": "shop-mysql-0", "namespace": "default", "labels": stuck},
        "status": {"containerStatuses": [status]},
    });
    cluster.put("/api/v1/namespaces/default/pods/shop-mysql-0", pod);
    label(&cluster.client, "default", "shop-mysql-0".to_owned(), Some("primary"), None).await.unwrap();
    select(&cluster.client, "default", "shop-mysql".to_owned(), "shop-mysql-0").await.unwrap();
    cluster.put(
        "/api/v1/namespaces/default/pods/shop-mysql-1",
        json!({"metadata": {"name": "shop-mysql-1", "namespace": "default", "labels": labels("mysql")}}),
    );
    admit(&cluster.client, "default", "shop-mysql-1".to_owned(), true).await.unwrap();
    // A StatefulSet that gets no Pod, long after it was made.
    let path = "/apis/apps/v1/namespaces/default/statefulsets/shop-mysql";
    let mut set = cluster.api().objects[path].clone();
    set["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
    set["status"] = json!({"replicas": 0, "updateRevision": "shop-mysql-2"});
    cluster.put(path, set);
    // The same event twice: the second one adds to the first.
    let context = cluster.context();
    for _ in 0..2 {
        reconcile(Arc::new(cluster.stack()), Arc::clone(&context)).await.unwrap();
    }
    assert!(cluster.settle().await < 10);

    // Another version, whose migration replaces the old one, without what the spec need not ask for; data that shall go
    // with the stack. No more changes than the API server takes.
    let version = json!({"image": "tandem/web:2", "replicas": 1});
    for spec in [json!({"mysql": {}, "web": version}), json!({"mysql": {}, "deletionPolicy": "Delete"})] {
        let before = cluster.stack();
        let mut stack = cluster.api().objects[STACK].clone();
        stack["spec"] = spec;
        let stack: WebStack = serde_json::from_value(stack).unwrap();
        kube::core::cel::validate_cel_update(&stack, &before).unwrap();
        cluster.put(STACK, serde_json::to_value(stack).unwrap());
        assert!(cluster.settle().await < 10);
    }
    same(&cluster, "cluster-role.yaml");
}

#[tokio::test]
async fn every_right_on_the_lease_is_used_and_none_is_missing() {
    let cluster = Cluster::new(full());
    let mut election = Election::stand(cluster.client.clone(), "tandem-system", "one");
    election.won().await;
    election.resign().await;
    same(&cluster, "role.yaml");
}

#[rstest]
#[case::of_all_namespaces(None, "")]
#[case::of_one_namespace(Some("default"), "default")]
#[tokio::test(start_paused = true)]
async fn watches_are_of_the_namespaces_that_are_asked_for(#[case] namespace: Option<&str>, #[case] expected: &str) {
    let cluster = Cluster::new(full());
    watched(&cluster, namespace).await;
    let watched: Vec<String> = cluster.api().watched.iter().cloned().collect();
    assert_eq!(watched, [expected]);
}
