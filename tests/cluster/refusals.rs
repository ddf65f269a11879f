//! Bad input: what the API server refuses, and what only the cluster knows, which is told and heals.

use rstest::rstest;
use serde_json::{Value, json};
use tandem_tests::docker::wait_for;

use crate::kubectl::{PATIENCE, SOON, cluster_or_skip, small, web_stack};

#[test]
fn the_api_server_refuses_what_is_wrong_and_names_the_field() {
    let namespace = cluster_or_skip!().namespace();
    let external = json!({"host": "db", "database": "a", "user": "a", "credentialsSecret": "a"});
    let cases: &[(&str, Value, &str)] = &[
        ("1a", json!({"mysql": {}}), "metadata.name may only have"),
        ("a.b", json!({"mysql": {}}), "metadata.name may only have"),
        ("a", json!({}), "exactly one of spec.mysql and spec.externalDatabase"),
        ("a", json!({"mysql": {}, "externalDatabase": external}), "exactly one of spec.mysql"),
        ("a", json!({"mysql": {"instances": 2}}), "spec.mysql.instances"),
        ("a", json!({"mysql": {"instances": -1}}), "spec.mysql.instances"),
        ("a", json!({"mysql": {"instances": 4}}), "spec.mysql.instances"),
        ("a", json!({"mysql": {"storage": {"size": "ten"}}}), "spec.mysql.storage.size"),
        ("a", json!({"mysql": {"database": "sys"}}), "spec.mysql.database"),
        ("a", json!({"mysql": {"database": "a`b"}}), "spec.mysql.database"),
        ("a", json!({"mysql": {"user": "root"}}), "spec.mysql.user"),
        ("a", json!({"mysql": {"user": "it's"}}), "spec.mysql.user"),
        ("a", json!({"mysql": {"dataset": "big"}}), "spec.mysql.dataset"),
        ("a", json!({"mysql": {"credentialsSecret": "A b"}}), "spec.mysql.credentialsSecret"),
        ("a", json!({"mysql": {"config": {"socket": "/x"}}}), "spec.mysql.config"),
        ("a", json!({"mysql": {"config": {"skip_networking": "ON"}}}), "spec.mysql.config"),
        ("a", json!({"mysql": {"envFrom": [{"secretRef": {}}]}}), "spec.mysql.envFrom[0].secretRef.name"),
        (
            "a",
            json!({"mysql": {}, "web": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "", "key": "k"}}}]}}),
            "spec.web.env[0].valueFrom.secretKeyRef.name",
        ),
        (
            "a",
            json!({"mysql": {}, "web": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "b"}}}]}}),
            "spec.web.env[0].valueFrom.secretKeyRef.key",
        ),
        ("a", json!({"mysql": {}, "web": {"replicas": -1}}), "spec.web.replicas"),
        ("a", json!({"mysql": {}, "web": {"service": {"port": 0}}}), "spec.web.service.port"),
        ("a", json!({"mysql": {}, "web": {"env": [{"name": "DATABASE_URL", "value": "x"}]}}), "spec.web.env"),
        ("a", json!({"mysql": {}, "web": {"ingress": {"host": "a b"}}}), "spec.web.ingress.host"),
        ("a", json!({"mysql": {}, "web": {"replica": 3}}), "spec.web.replica"),
        (
            "a",
            json!({"externalDatabase": {"host": "a b", "database": "a", "user": "a", "credentialsSecret": "a"}}),
            "spec.externalDatabase.host",
        ),
        (
            "a",
            json!({"externalDatabase": {"host": "a", "port": 70000, "database": "a", "user": "a", "credentialsSecret": "a"}}),
            "spec.externalDatabase.port",
        ),
    ];
    for (name, spec, words) in cases {
        let said = namespace.try_apply(&web_stack(name, spec.clone())).expect_err(words);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_missing_secret_is_told_and_its_coming_heals() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = small();
    spec["mysql"]["credentialsSecret"] = json!("mine");
    let stack = namespace.stack("shop", spec);
    let message = stack.wait("Ready", "False", "ReferenceMissing", SOON);
    assert_eq!(message, "mysql: Secret mine does not exist");
    let secret =
        |keys: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": keys});
    namespace.apply(&secret(json!({"password": "p"})));
    wait_for("the missing key", SOON, || {
        (stack.condition("Ready").2 == "mysql: Secret mine has no key root-password").then_some(())
    });
    assert_eq!(stack.events("ReferenceMissing"), 1);
    namespace.apply(&secret(json!({"password": "p", "root-password": "r"})));
    stack.settled();
}

#[rstest]
#[case::image_that_cannot_be_pulled(json!({"web": {"image": "tandem/web:typo"}}), "ImagePullBackOff", "tandem/web:typo")]
#[case::container_that_cannot_be_made(json!({"web": {"migrateCommand": ["no-such-program"]}}), "MigrationFails", "no-such-program")]
fn a_web_tier_that_cannot_roll_keeps_serving_says_why_and_heals(
    #[case] change: Value,
    #[case] reason: &str,
    #[case] words: &str,
) {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = small();
    spec["web"]["image"] = json!("tandem/web");
    let stack = namespace.stack("shop", spec.clone());
    stack.settled();
    let mut broken = change.clone();
    if broken["web"].get("image").is_none() {
        broken["web"]["image"] = json!("docker.io/tandem/web");
    }
    stack.patch(broken);
    let message = stack.wait("Ready", "False", reason, PATIENCE);
    assert!(message.contains(words) && message.starts_with("web: 2 of 2 Pods ready"), "{message}");
    assert_eq!(stack.page("/show").unwrap().status, 200);
    wait_for("an event", SOON, || (stack.events(reason) == 1).then_some(()));
    stack.patch(json!({"web": {"image": "tandem/web", "migrateCommand": null}}));
    stack.settled();
}

#[test]
fn a_missing_storage_class_is_told() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = small();
    spec["mysql"]["storage"]["className"] = json!("no-such-class");
    let stack = namespace.stack("shop", spec);
    let message = stack.wait("Ready", "False", "VolumeMissing", SOON);
    assert!(message.contains("PersistentVolumeClaim data-"), "{message}");
    assert!(message.contains("storageclass.storage.k8s.io \"no-such-class\" not found"), "{message}");
}

#[test]
fn a_quota_is_told_and_its_end_heals() {
    let namespace = cluster_or_skip!().namespace();
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}},
    });
    namespace.apply(&quota);
    wait_for("the quota's first count", PATIENCE, || {
        namespace.get("resourcequota", "none").filter(|quota| quota["status"]["used"]["pods"] == "0")
    });
    let stack = namespace.stack("shop", small());
    let message = stack.wait("Ready", "False", "QuotaExceeded", SOON);
    assert!(message.contains("exceeded quota: none"), "{message}");
    namespace.ok(&["delete", "resourcequota", "none"]);
    stack.settled();
}

#[test]
fn a_server_option_that_mysqld_refuses_is_told_by_name() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.patch(json!({"mysql": {"config": {"max_conections": "5"}}}));
    let message = stack.wait("Ready", "False", "ContainerCrashed", PATIENCE);
    assert!(message.contains("MYSQL_CONF_MAX_CONECTIONS"), "{message}");
    stack.patch(json!({"mysql": {"config": null}}));
    stack.settled();
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");
}
