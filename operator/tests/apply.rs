//! What is brought to the cluster, and what is left alone there.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::sync::Arc;

use fixture::api::{Cluster, STACK, labels, merge};
use rstest::rstest;
use serde_json::{Value, json};
use tandem_operator::controller::reconcile;

/// The stack's uid.
const UID: &str = "0f5f3a52-0000-4000-8000-000000000001";

const POD: &str = "/api/v1/namespaces/default/pods/shop-mysql-0";

/// A cluster where everything is there.
async fn settled() -> Cluster {
    let mut cluster = Cluster::new(json!({"mysql": {}}));
    assert!(cluster.settle().await < 10);
    cluster
}

/// A Pod of an older version whose image cannot be pulled, beside a StatefulSet that has a newer one.
fn put_stuck_pod(cluster: &Cluster) {
    let mut labels = labels("mysql");
    labels["controller-revision-hash"] = json!("shop-mysql-1");
    let status = json!({"name": "mysql", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff"}}});
    let metadata = json!({
        "name": "shop-mysql-0", "namespace": "default", "uid": "old", "resourceVersion": "1", "labels": labels,
    });
    cluster.put(POD, json!({"metadata": metadata, "status": {"containerStatuses": [status]}}));
    let path = "/apis/apps/v1/namespaces/default/statefulsets/shop-mysql";
    cluster.api().objects.get_mut(path).unwrap()["status"] = json!({"replicas": 1, "updateRevision": "shop-mysql-2"});
}

#[tokio::test]
async fn what_has_come_after_the_pod_that_was_judged_is_not_deleted() {
    for (uid, version) in [("new", "1"), ("old", "2")] {
        let mut cluster = settled().await;
        put_stuck_pod(&cluster);
        // What the watches have told.
        let context = cluster.context();
        merge(
            cluster.api().objects.get_mut(POD).unwrap(),
            json!({"metadata": {"uid": uid, "resourceVersion": version}}),
        );
        reconcile(Arc::new(cluster.stack()), context).await.unwrap();
        assert!(cluster.api().objects.contains_key(POD), "{uid} {version}");
        let context = cluster.context();
        reconcile(Arc::new(cluster.stack()), context).await.unwrap();
        assert!(!cluster.api().objects.contains_key(POD), "newer news tell that it is stuck");
    }
}

/// The names of the migrations that there are.
fn migrations(cluster: &Cluster) -> Vec<String> {
    let api = cluster.api();
    api.objects.keys().filter_map(|path| Some(path.split_once("/jobs/")?.1.to_owned())).collect()
}

#[tokio::test]
async fn the_next_migration_begins_when_the_last_one_and_its_pods_are_gone() {
    let mut cluster = settled().await;
    let first = migrations(&cluster);
    let pod = "/api/v1/namespaces/default/pods/shop-migrate";
    let mut labels = labels("migration");
    labels["batch.kubernetes.io/job-name"] = json!(first[0]);
    let metadata = json!({"name": "shop-migrate", "namespace": "default", "labels": labels});
    cluster.put(pod, json!({"metadata": metadata, "status": {"phase": "Running"}}));
    cluster.api().objects.get_mut(STACK).unwrap()["spec"]["web"]["image"] = json!("tandem/web:2");
    assert!(cluster.settle().await < 10);
    assert!(migrations(&cluster).is_empty(), "the first one goes, and its Pod is still at it");
    cluster.api().objects.remove(pod);
    assert!(cluster.settle().await < 10);
    let next = migrations(&cluster);
    assert!(next.len() == 1 && next != first, "{next:?}");

    // The same version with another variable.
    let path = format!("/apis/batch/v1/namespaces/default/jobs/{}", next[0]);
    let before = cluster.api().objects[&path].clone();
    cluster.api().objects.get_mut(STACK).unwrap()["spec"]["web"]["env"] =
        json!([{"name": "LOG_LEVEL", "value": "warn"}]);
    assert!(cluster.settle().await < 10);
    assert_ne!(cluster.api().objects[&path]["metadata"]["uid"], before["metadata"]["uid"]);
}

#[rstest]
#[case::a_config_map("/api/v1/namespaces/default/configmaps/shop-web")]
#[case::an_identity("/api/v1/namespaces/default/serviceaccounts/shop-mysql")]
#[case::a_service("/api/v1/namespaces/default/services/shop-web")]
#[tokio::test]
async fn what_somebody_else_has_made_is_left_alone_and_told(#[case] path: &str) {
    let mut cluster = Cluster::new(json!({"mysql": {}}));
    let name = path.rsplit_once('/').unwrap().1;
    let theirs = json!({"metadata": {"name": name, "namespace": "default", "uid": "theirs"}, "data": {"FOO": "bar"}});
    cluster.put(path, theirs.clone());
    for _ in 0..3 {
        let context = cluster.context();
        let error = reconcile(Arc::new(cluster.stack()), context).await.unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(cluster.api().objects[path], theirs);
    let ready = cluster.stack().status.unwrap().conditions.remove(0);
    assert_eq!(ready.reason, "Conflict", "{}", ready.message);
    cluster.api().objects.remove(path);
    assert!(cluster.settle().await < 10);
    assert!(cluster.api().objects.contains_key(path), "it has made way");
}

#[tokio::test]
async fn a_job_of_somebody_else_is_no_migration() {
    let mut cluster = settled().await;
    let path = format!("/apis/batch/v1/namespaces/default/jobs/{}", migrations(&cluster)[0]);
    let name = path.rsplit_once('/').unwrap().1;
    let theirs = json!({"metadata": {"name": name, "namespace": "default", "uid": "theirs"}});
    cluster.put(&path, theirs.clone());
    let context = cluster.context();
    let error = reconcile(Arc::new(cluster.stack()), context).await.unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    assert_eq!(cluster.api().objects[&path], theirs);
    let ready = cluster.stack().status.unwrap().conditions.remove(0);
    assert_eq!(ready.reason, "Conflict", "{}", ready.message);
    cluster.api().objects.remove(&path);
    assert!(cluster.settle().await < 10);
    assert_eq!(migrations(&cluster), [name], "it has made way");
}

#[rstest]
#[case::ours_without_its_labels(json!({"ownerReferences": [{
    "apiVersion": "tandem.dev/v1alpha1", "kind": "WebStack", "name": "shop", "uid": UID,
}]}))]
#[case::of_a_former_stack_of_that_name(json!({"labels": labels("web")}))]
#[tokio::test]
async fn what_is_ours_is_taken_back(#[case] mut metadata: Value) {
    let mut cluster = settled().await;
    let path = "/api/v1/namespaces/default/configmaps/shop-web";
    let before = cluster.api().objects[path].clone();
    merge(&mut metadata, json!({"name": "shop-web", "namespace": "default"}));
    // The watches have not told of it.
    cluster.api().objects.remove(path);
    let context = cluster.context();
    cluster.put(path, json!({"metadata": metadata, "data": {"FOO": "bar"}}));
    reconcile(Arc::new(cluster.stack()), context).await.unwrap();
    assert_eq!(cluster.api().objects[path]["data"], before["data"]);
    assert_eq!(cluster.api().objects[path]["metadata"]["labels"], before["metadata"]["labels"]);
}

#[tokio::test]
async fn a_secret_with_passwords_is_used_whoever_made_it() {
    let mut cluster = Cluster::new(json!({"mysql": {}}));
    let path = "/api/v1/namespaces/default/secrets/shop-mysql";
    let data = json!({"root-password": "MQ==", "password": "Mg=="});
    cluster.put(path, json!({"metadata": {"name": "shop-mysql", "namespace": "default"}, "data": data}));
    assert!(cluster.settle().await < 10);
    assert_eq!(cluster.api().objects[path]["data"], data);
}
