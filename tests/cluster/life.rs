//! A stack's life: made, scaled, changed, suspended, deleted, and taken up again.

use std::collections::HashSet;

use serde_json::json;
use tandem_tests::docker::wait_for;
use tandem_tests::http::under_load;

use crate::kubectl::{CHALLENGE, PATIENCE, Stack, cluster_or_skip, small, web_stack};

/// Keep-alive connections that send one request after the other.
const CLIENTS: usize = 10;

#[test]
fn the_minimal_example_serves_the_challenge() {
    let namespace = cluster_or_skip!().namespace();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples/minimal.yaml");
    namespace.ok(&["apply", "-f", example]);
    namespace.ok(&["wait", "--for=condition=Ready", "webstack/employees", "--timeout=120s"]);
    let example = Stack::of(&namespace, "employees");
    assert_eq!(example.address().port(), 30080);
    let page = example.page("/show").unwrap();
    let places: Vec<_> = CHALLENGE.iter().map(|number| page.body.find(number)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", page.body);
    let line = namespace.ok(&["get", "ws", "--no-headers"]);
    let columns: Vec<_> = line.split_whitespace().collect();
    assert_eq!(columns[..5], ["employees", "True", "1/1", "employees-mysql-0", "2/2"]);
    assert!(columns[5].ends_with(":30080"), "{line}");
}

#[test]
fn scaling_and_new_versions_lose_no_request() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let ((), met) = under_load(stack.address(), CLIENTS, true, "GET", || {
        stack.patch(json!({"web": {"replicas": 5}}));
        stack.web("5/5");
        namespace.ok(&["scale", "webstack/shop", "--replicas=1"]);
        stack.web("1/1");
        stack.settled();
        let columns = namespace.ok(&["get", "ws", "shop", "--no-headers"]);
        assert!(columns.contains(" 1/1 ") && columns.contains("True"), "{columns}");
        stack.patch(json!({"web": {"replicas": 2, "env": [{"name": "SERVED_BY", "value": "changed"}]}}));
        stack.settled();
        // Another reference to the same image is another version.
        stack.patch(json!({"web": {"image": "docker.io/tandem/web"}}));
        stack.settled();
    });
    assert_eq!((met.refused, met.lost.len()), (0, 0), "{:?}", met.lost);
    assert!(met.served_by.contains_key("changed"), "{:?}", met.served_by);
    let jobs = namespace.list("jobs", &stack.label());
    assert_eq!(jobs.len(), 1, "one migration, that of the version that serves");
    // What a HorizontalPodAutoscaler reads.
    let scale = namespace.ok(&[
        "get",
        "--raw",
        &format!("/apis/tandem.dev/v1alpha1/namespaces/{}/webstacks/shop/scale", namespace.name),
    ]);
    assert!(scale.contains("\"replicas\":2") && scale.contains("app.kubernetes.io/component=web"), "{scale}");
}

#[test]
fn a_changed_password_is_followed_by_both_tiers() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let before = namespace.get("pod", "shop-mysql-0").unwrap()["metadata"]["uid"].clone();
    let patch = json!({"stringData": {"password": "n'e\"w $x `y` \\ ß", "root-password": "another"}}).to_string();
    namespace.ok(&["patch", "secret", "shop-mysql", "-p", &patch]);
    wait_for("a new database Pod", PATIENCE, || {
        namespace.get("pod", "shop-mysql-0").filter(|pod| pod["metadata"]["uid"] != before)
    });
    // From the moment on when the database is back no request fails: old Pods may still use the old password.
    stack.wait("DatabaseReady", "True", "", PATIENCE);
    wait_for("pages again", PATIENCE, || stack.page("/").filter(|page| page.status == 200));
    let ((), met) = under_load(stack.address(), CLIENTS, true, "GET", || stack.settled());
    assert_eq!((met.refused, met.lost.len()), (0, 0), "{:?}", met.lost);
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");
}

#[test]
fn a_deleted_stack_keeps_its_rows_and_a_new_one_takes_them_up() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.keep_a_row();
    namespace.ok(&["delete", "webstack", "shop", "--timeout=60s"]);
    wait_for("everything that holds no data to go", PATIENCE, || {
        let kinds = "pods,services,statefulsets,deployments,jobs,configmaps,serviceaccounts,networkpolicies,pdb";
        namespace.list(kinds, &stack.label()).is_empty().then_some(())
    });
    assert!(namespace.get("secret", "shop-mysql").is_some() && namespace.get("pvc", "data-shop-mysql-0").is_some());

    let stack = namespace.serving();
    stack.has_kept_it();

    stack.patch(json!({"deletionPolicy": "Delete"}));
    stack.settled();
    namespace.ok(&["delete", "webstack", "shop", "--timeout=60s"]);
    wait_for("the data to go", PATIENCE, || {
        namespace.list("secrets,pvc,pods", &stack.label()).is_empty().then_some(())
    });
}

#[test]
fn a_suspended_stack_has_no_pods_and_comes_back_with_its_rows() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.keep_a_row();
    stack.patch(json!({"suspend": true}));
    stack.wait("Ready", "False", "Suspended", PATIENCE);
    wait_for("no Pods that serve", PATIENCE, || {
        let serving = "app.kubernetes.io/component in (mysql,web)";
        namespace.list("pods", serving).is_empty().then_some(())
    });
    stack.patch(json!({"suspend": false}));
    stack.settled();
    stack.has_kept_it();
}

#[test]
fn a_volume_grows_while_the_database_runs() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.patch(json!({"mysql": {"storage": {"size": "2Gi"}}}));
    wait_for("a larger volume", PATIENCE, || {
        let claim = namespace.get("pvc", "data-shop-mysql-0")?;
        (claim["status"]["capacity"]["storage"] == "2Gi").then_some(())
    });
    stack.settled();
    assert_eq!(namespace.get("pod", "shop-mysql-0").unwrap()["status"]["containerStatuses"][0]["restartCount"], 0);
    let smaller = namespace.try_apply(&web_stack("shop", small())).unwrap_err();
    assert!(smaller.contains("spec.mysql.storage.size cannot shrink"), "{smaller}");
}

#[test]
fn another_database_image_takes_over_a_database_that_was_shut_down() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.keep_a_row();
    // Another reference to the same image is another version.
    stack.patch(json!({"mysql": {"image": "docker.io/tandem/mysql"}}));
    wait_for("the new image", PATIENCE, || {
        let pod = namespace.get("pod", "shop-mysql-0")?;
        (pod["spec"]["containers"][0]["image"] == "docker.io/tandem/mysql").then_some(())
    });
    stack.settled();
    stack.has_kept_it();
    let log = namespace.ok(&["logs", "shop-mysql-0"]);
    assert!(!log.contains("was not shutdown normally") && !log.contains("crash recovery"), "{log}");
}

#[test]
fn a_database_that_a_newer_server_wrote_is_left_alone_and_told() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let history = r#"echo '{"upgrade_history":[{"version":"99.0.0"}]}' >/var/lib/mysql/mysql_upgrade_history"#;
    namespace.ok(&["exec", "shop-mysql-0", "--", "sh", "-c", history]);
    namespace.ok(&["delete", "pod", "shop-mysql-0"]);
    let message = stack.wait("DatabaseReady", "False", "ContainerCrashed", PATIENCE);
    assert!(message.contains("was written by MySQL 99.0.0, newer than this image's"), "{message}");
    assert_eq!(stack.condition("Ready").2, message);
}

#[test]
fn files_of_a_config_map_are_run_on_an_empty_volume() {
    let namespace = cluster_or_skip!().namespace();
    let files = json!({"10-shop.sql": "CREATE TABLE items (name TEXT); INSERT INTO items VALUES ('a chair')"});
    namespace.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": files}));
    let mut spec = small();
    spec["mysql"]["dataset"] = json!("none");
    spec["mysql"]["initdb"] = json!({"configMap": "files"});
    let stack = namespace.stack("shop", spec);
    stack.wait("DatabaseReady", "True", "", PATIENCE);
    assert_eq!(stack.sql("SELECT name FROM items"), "a chair");
}

#[test]
fn an_ingress_comes_changes_and_goes_with_the_spec() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = small();
    spec["suspend"] = json!(true);
    spec["web"]["ingress"] = json!({"host": "shop.example.com"});
    let stack = namespace.stack("shop", spec);
    let url = |expected: &str| {
        wait_for(expected, PATIENCE, || (stack.get()["status"]["url"] == expected).then_some(()));
    };
    url("http://shop.example.com");
    let rule = wait_for("the Ingress", PATIENCE, || namespace.get("ingress", "shop-web"))["spec"]["rules"][0].clone();
    assert_eq!(rule["host"], "shop.example.com");
    assert_eq!(rule["http"]["paths"][0]["backend"]["service"]["name"], "shop-web");
    stack.patch(json!({"web": {"ingress": {"tlsSecret": "certificate"}}}));
    url("https://shop.example.com");
    wait_for("TLS", PATIENCE, || {
        (namespace.get("ingress", "shop-web")?["spec"]["tls"][0]["secretName"] == "certificate").then_some(())
    });
    stack.patch(json!({"web": {"ingress": null}}));
    wait_for("no Ingress", PATIENCE, || namespace.get("ingress", "shop-web").is_none().then_some(()));
}

#[test]
fn server_options_reach_the_server() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.patch(json!({"mysql": {"config": {"max_connections": "77"}}}));
    wait_for("a restart", PATIENCE, || (stack.condition("Progressing").0 == "True").then_some(()));
    stack.settled();
    assert_eq!(stack.sql("SELECT @@max_connections"), "77");
}

#[test]
fn an_autoscaler_chooses_the_number_and_the_operator_follows() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = small();
    spec["web"]["replicas"] = json!(1);
    let stack = namespace.stack("shop", spec);
    stack.settled();
    stack.patch(json!({"web": {"autoscaling": {"minReplicas": 3, "maxReplicas": 4}}}));
    // The autoscaler's own lower bound needs no metrics.
    stack.web("3/3");
    assert_eq!(stack.get()["spec"]["web"]["replicas"], 3);
    stack.patch(json!({"web": {"autoscaling": null}}));
    wait_for("no autoscaler", PATIENCE, || namespace.get("hpa", "shop-web").is_none().then_some(()));
    assert_eq!(stack.get()["spec"]["web"]["replicas"], 3);
}

#[test]
fn the_web_tier_alone_stands_in_front_of_another_database() {
    let namespace = cluster_or_skip!().namespace();
    let owner = namespace.stack("owner", small());
    owner.settled();
    let host = format!("owner-mysql.{}.svc", namespace.name);
    let external = json!({"host": host, "database": "employees", "user": "app", "credentialsSecret": "owner-mysql"});
    let web = json!({"replicas": 1, "service": {"type": "NodePort"}});
    let guest = namespace.stack("guest", json!({"externalDatabase": external, "web": web}));
    guest.settled();
    assert_eq!(guest.page("/show").unwrap().status, 200);
    assert!(namespace.get("statefulset", "guest-mysql").is_none());
    assert_eq!(guest.get()["status"].get("mysql"), None);
}

#[test]
fn twenty_stacks_in_three_namespaces_do_not_touch_each_other() {
    let cluster = cluster_or_skip!();
    let namespaces = [cluster.namespace(), cluster.namespace(), cluster.namespace()];
    let mut spec = small();
    spec["suspend"] = json!(true);
    let stacks: Vec<_> = (0..20).map(|n| namespaces[n % 3].stack(&format!("shop-{}", n / 3), spec.clone())).collect();
    for stack in &stacks {
        stack.wait("Ready", "False", "Suspended", PATIENCE);
    }
    let passwords: HashSet<String> = namespaces
        .iter()
        .flat_map(|namespace| namespace.list("secrets", "app.kubernetes.io/name=webstack"))
        .map(|secret| secret["data"]["password"].to_string())
        .collect();
    assert_eq!(passwords.len(), 20);
    // Two of one name, and one beside: each has its own rows, and what is done to one leaves the others alone.
    let running = [&stacks[0], &stacks[1], &stacks[3]];
    for stack in running {
        stack.patch(json!({"suspend": false}));
    }
    for (number, stack) in running.iter().enumerate() {
        stack.settled();
        stack.sql(&format!("CREATE TABLE mine AS SELECT {number} AS number"));
    }
    for (number, stack) in running.iter().enumerate() {
        assert_eq!(stack.sql("SELECT number FROM mine"), number.to_string());
    }
    namespaces[0].ok(&["delete", "webstack", "shop-0", "--timeout=60s"]);
    assert_eq!(
        (running[1].sql("SELECT number FROM mine"), running[2].sql("SELECT number FROM mine")),
        ("1".into(), "2".into())
    );
    assert!(running[1..].iter().all(|stack| stack.condition("Ready").0 == "True"));
}
