//! The rights in `manifests/rbac` are those that the operator takes: each rule is used, and no request is without one.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fixture::api::{Cluster, Right, STACK, cache, labels, merge};
use fixture::{around, observed};
use rstest::rstest;
use serde_json::{Value, json};
use tandem_environment::Environment;
use tandem_operator::config::Config;
use tandem_operator::controller::keeper::Groups;
use tandem_operator::controller::{self, reconcile};
use tandem_operator::crd::WebStack;
use tandem_operator::leader::Election;
use tandem_operator::metrics::Metrics;
use tokio::sync::oneshot;

/// Where rights hold: in one namespace, or everywhere.
type Scope = Option<String>;

/// Every document in `manifests/rbac`.
fn documents() -> Vec<Value> {
    let folder = format!("{}/../manifests/rbac", env!("CARGO_MANIFEST_DIR"));
    let texts = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let parsed = |text: String| -> Vec<Value> {
        text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
    };
    texts.flat_map(parsed).collect()
}

/// The rules of every Role and ClusterRole that is bound to the operator's ServiceAccount, by where they hold.
fn granted() -> BTreeMap<Scope, BTreeSet<Right>> {
    let documents = documents();
    let account = json!({"kind": "ServiceAccount", "name": "tandem-operator", "namespace": "tandem-system"});
    let scope = |object: &Value| object["metadata"]["namespace"].as_str().map(str::to_owned);
    let bindings = documents.iter().filter(|document| {
        let is_binding = document["kind"] == "RoleBinding" || document["kind"] == "ClusterRoleBinding";
        is_binding && document["subjects"].as_array().unwrap().contains(&account)
    });
    let mut granted = BTreeMap::<Scope, BTreeSet<Right>>::new();
    for binding in bindings {
        let named = &binding["roleRef"];
        let mut roles = documents.iter().filter(|role| {
            role["kind"] == named["kind"]
                && role["metadata"]["name"] == named["name"]
                && (role["kind"] == "ClusterRole" || scope(role) == scope(binding))
        });
        granted.entry(scope(binding)).or_default().extend(rules(roles.next().unwrap()));
    }
    granted
}

/// The rules of one role.
fn rules(role: &Value) -> BTreeSet<Right> {
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

/// The rights that were taken are those that are granted there.
fn same(taken: &BTreeSet<Right>, scope: Option<&str>) {
    let granted = granted().remove(&scope.map(str::to_owned)).unwrap_or_default();
    let unused: Vec<_> = granted.difference(taken).collect();
    let missing: Vec<_> = taken.difference(&granted).collect();
    assert!(unused.is_empty() && missing.is_empty(), "{scope:?}: unused {unused:?}, missing {missing:?}");
}

#[test]
fn rights_are_granted_everywhere_and_where_the_lease_is_and_nowhere_else() {
    let scopes: Vec<_> = granted().into_keys().collect();
    assert_eq!(scopes, [None, Some("tandem-system".to_owned())]);
    // None that nobody has, and of which nobody would notice that it is not needed.
    let is_role = |document: &&Value| document["kind"] == "Role" || document["kind"] == "ClusterRole";
    assert_eq!(documents().iter().filter(is_role).count(), scopes.len());
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

/// The rights that the keeper of a group takes: on a server that has run alone and serves, to which nobody is led yet,
/// and on a Pod that was in a group and is in none. Nobody can be asked: the Pods have no addresses.
async fn kept() -> BTreeSet<Right> {
    let cluster = Cluster::new(json!({"mysql": {"instances": 3}}));
    let put = |kind: &str, name: &str, rest: Value| {
        let metadata = json!({"name": name, "namespace": "default", "labels": labels("mysql")});
        let mut object = json!({"metadata": metadata});
        merge(&mut object, rest);
        cluster.put(&format!("/api/v1/namespaces/default/{kind}/{name}"), object);
    };
    let passwords = json!({"data": {"password": "c2VjcmV0", "root-password": "c2VjcmV0"}});
    put("secrets", "shop-mysql", passwords.clone());
    put("secrets", "shop-mysql-group", passwords);
    put("services", "shop-mysql", json!({"spec": {"selector": {"statefulset.kubernetes.io/pod-name": "none"}}}));
    put("pods", "shop-mysql-0", json!({}));
    let inside = json!({"conditions": [{"type": "tandem.dev/in-group", "status": "True"}]});
    put("pods", "shop-mysql-1", json!({"metadata": {"annotations": {"tandem.dev/group": "uuid"}}, "status": inside}));
    let (groups, _news) = Groups::new(cluster.client.clone(), cache(&cluster.api().objects), around());
    let mut observed = observed(cluster.stack(), &["shop-mysql"]);
    groups.keep(&observed);
    let told = async {
        while observed.group.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            groups.report(&mut observed);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), told).await.unwrap();
    cluster.api().rights.clone()
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
    let taken = cluster.api().rights.clone();
    same(&taken.into_iter().chain(kept().await).collect(), None);
}

#[tokio::test]
async fn every_right_on_the_lease_is_used_and_none_is_missing() {
    let cluster = Cluster::new(full());
    let mut election = Election::stand(cluster.client.clone(), "tandem-system", "one");
    election.won().await;
    election.resign().await;
    same(&cluster.api().rights, Some("tandem-system"));
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
