//! Bad input: what the API server refuses, and what only the cluster knows, which is told and heals.

use rstest::rstest;
use serde_json::{Value, json};
use tandem_tests::docker::wait_for;

use crate::kubectl::{Namespace, PATIENCE, SOON, cluster_or_skip, small, web_stack};

#[test]
fn the_api_server_refuses_what_is_wrong_and_names_the_field() {
    let namespace = cluster_or_skip!().namespace();
    let external = |changed: Value| {
        let mut external = json!({"host": "db", "database": "a", "user": "a", "credentialsSecret": "a"});
        external.as_object_mut().unwrap().extend(changed.as_object().cloned().unwrap());
        json!({"externalDatabase": external})
    };
    let mut both = external(json!({}));
    both["mysql"] = json!({});
    let cases: &[(&str, Value, &str)] = &[
        ("1a", json!({"mysql": {}}), "metadata.name may only have"),
        ("a.b", json!({"mysql": {}}), "metadata.name may only have"),
        ("a", json!({}), "exactly one of spec.mysql and spec.externalDatabase"),
        ("a", both, "exactly one of spec.mysql"),
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
        ("a", json!({"mysql": {"config": {"loose_datadir": "/x"}}}), "spec.mysql.config must not set"),
        ("a", json!({"mysql": {"config": {"sock": "/x"}}}), "spec.mysql.config must not set"),
        ("a", json!({"mysql": {"config": {"sql_mode": ""}}}), "spec.mysql.config: values"),
        ("a", json!({"mysql": {"config": {"sql_mode": "a\n[mysqld]"}}}), "spec.mysql.config: values"),
        (
            "a",
            json!({"mysql": {"env": [{"name": "MYSQL_CONF_PORT", "value": "1"}]}}),
            "spec.mysql.env must not set, after",
        ),
        ("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_SQL-MODE", "value": "a"}]}}), "spec.mysql.env: after"),
        (
            "a",
            json!({"mysql": {"env": [{"name": "MYSQL_CONF_SQL_MODE", "value": "a\nb"}]}}),
            "spec.mysql.env: the values",
        ),
        ("a", json!({"mysql": {"resources": {"limits": {"memory": "-1Gi"}}}}), "spec.mysql.resources.limits.memory"),
        ("a", json!({"mysql": {"resources": {"limits": {"cpu": -1}}}}), "spec.mysql.resources.limits.cpu"),
        ("a", json!({"mysql": {"resources": {"limits": {"cpus": "1"}}}}), "spec.mysql.resources may only name"),
        (
            "a",
            json!({"mysql": {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "2G"}}}}),
            "spec.mysql.resources.requests must not be above",
        ),
        (
            "a",
            json!({"mysql": {}, "web": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1999m"}}}}),
            "spec.web.resources.requests must not be above",
        ),
        (
            "a",
            json!({"mysql": {}, "web": {"resources": {"requests": {"cpu": "1001m"}, "limits": {"cpu": 1}}}}),
            "spec.web.resources.requests must not be above",
        ),
        (
            "a",
            json!({"mysql": {}, "web": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}}),
            "spec.web.resources.requests must not be above",
        ),
        (
            "a",
            json!({"mysql": {}, "web": {"resources": {"requests": {"hugepages-2Mi": "2Mi"}}}}),
            "spec.web.resources: what is not shared",
        ),
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
        ("a", external(json!({"host": "a b"})), "spec.externalDatabase.host"),
        ("a", external(json!({"port": 70000})), "spec.externalDatabase.port"),
        ("a", external(json!({"host": "a..b"})), "spec.externalDatabase.host"),
        ("a", external(json!({"host": ":::"})), "spec.externalDatabase.host"),
        ("a", external(json!({"database": "a\nb"})), "spec.externalDatabase.database"),
        ("a", external(json!({"user": "a\tb"})), "spec.externalDatabase.user"),
    ];
    for (name, spec, words) in cases {
        let said = namespace.try_apply(&web_stack(name, spec.clone())).expect_err(words);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn the_api_server_takes_amounts_as_texts_and_as_numbers() {
    let namespace = cluster_or_skip!().namespace();
    let resources = json!({
        "requests": {"cpu": 1, "memory": "64Mi", "ephemeral-storage": 1000, "example.com/gpu": 1},
        "limits": {"cpu": "1500m", "memory": 67_108_864, "ephemeral-storage": 1000, "example.com/gpu": 1},
    });
    // Suspended: it starts nothing.
    namespace.apply(&web_stack("a", json!({"suspend": true, "mysql": {}, "web": {"resources": resources}})));
}

#[test]
fn the_api_server_refuses_to_change_what_cannot_be_changed() {
    let namespace = cluster_or_skip!().namespace();
    let external = json!({"host": "db", "database": "a", "user": "a", "credentialsSecret": "a"});
    // Suspended: they start nothing.
    namespace.apply(&web_stack("own", json!({"suspend": true, "mysql": {"storage": {"className": "a"}}})));
    namespace.apply(&web_stack("guest", json!({"suspend": true, "externalDatabase": external})));
    let cases = [
        ("own", json!({"mysql": {"database": "b"}}), "spec.mysql.database cannot be changed"),
        ("own", json!({"mysql": {"user": "b"}}), "spec.mysql.user cannot be changed"),
        ("own", json!({"mysql": {"storage": {"className": "b"}}}), "spec.mysql.storage.className cannot be changed"),
        ("own", json!({"mysql": {"storage": {"className": null}}}), "spec.mysql.storage.className cannot be changed"),
        ("own", json!({"mysql": {"storage": {"size": "1Gi"}}}), "spec.mysql.storage.size cannot shrink"),
        ("own", json!({"mysql": null, "externalDatabase": external}), "spec.mysql cannot be exchanged"),
        ("guest", json!({"mysql": {}, "externalDatabase": null}), "spec.mysql cannot be exchanged"),
    ];
    for (name, spec, words) in cases {
        let patch = json!({"spec": spec}).to_string();
        let output = namespace.run(&["patch", "webstack", name, "--type", "merge", "-p", &patch]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{words}: {said}");
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

/// The web tier's Pods of which a container has no image or ended with an error, as the kubelet tells.
fn stuck(namespace: &Namespace) -> Vec<String> {
    let is_stuck = |container: &Value| {
        let state = &container["state"];
        matches!(state["waiting"]["reason"].as_str(), Some("ErrImagePull" | "ImagePullBackOff"))
            || state["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0)
    };
    let pods = namespace.list("pods", "app.kubernetes.io/component in (migration,web)");
    let stuck = pods.iter().filter(|pod| {
        let of = |kind: &str| pod["status"][kind].as_array().cloned().unwrap_or_default();
        of("initContainerStatuses").iter().chain(&of("containerStatuses")).any(is_stuck)
    });
    stuck.map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
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
    let before = stuck(&namespace);
    stack.patch(broken);
    // The operator's time counts from when the kubelet has tried.
    wait_for("a stuck Pod", PATIENCE, || stuck(&namespace).iter().any(|pod| !before.contains(pod)).then_some(()));
    let message = stack.wait("Ready", "False", reason, SOON);
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
    wait_for("an event", SOON, || (stack.events("VolumeMissing") == 1).then_some(()));
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
    wait_for("an event", SOON, || (stack.events("QuotaExceeded") == 1).then_some(()));
    namespace.ok(&["delete", "resourcequota", "none"]);
    stack.settled();
}

#[test]
fn a_server_option_that_mysqld_refuses_is_told_by_name() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let told = stack.events("ContainerCrashed");
    stack.patch(json!({"mysql": {"config": {"max_conections": "5"}}}));
    let container = || Some(namespace.get("pod", "shop-mysql-0")?["status"]["containerStatuses"][0].clone());
    // The operator's time counts from when the kubelet has started it.
    wait_for("a crash", PATIENCE, || {
        let container = container()?;
        let failed = |state: &str| container[state]["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0);
        (failed("state") || failed("lastState")).then_some(())
    });
    let message = stack.wait("Ready", "False", "ContainerCrashed", SOON);
    assert!(message.contains("MYSQL_CONF_MAX_CONECTIONS"), "{message}");
    // One event, however often it crashes.
    wait_for("another crash", PATIENCE, || (container()?["restartCount"].as_u64()? >= 2).then_some(()));
    assert_eq!(stack.events("ContainerCrashed"), told + 1);
    stack.patch(json!({"mysql": {"config": null}}));
    stack.settled();
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");
}
