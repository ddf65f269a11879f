//! A stack's life: made, scaled, changed, suspended, deleted, and taken up again.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem_tests::docker::wait_for;
use tandem_tests::http::{get, under_load};

use crate::kubectl::{CHALLENGE, Namespace, PATIENCE, Stack, cluster_or_skip, small, web_stack};

/// Keep-alive connections that send one request after the other.
const CLIENTS: usize = 10;

/// How long after the database is ready again a page may still fail: a look of the kubelet's at a web Pod that hangs
/// ends after 5 s, the next one has to succeed, and whoever leads clients to Pods has to hear of it.
const FOLLOWED: Duration = Duration::from_secs(15);

/// The kinds of what goes with its stack; passwords and volumes stay.
const WITHOUT_DATA: &str = "pods,services,statefulsets,deployments,jobs,configmaps,serviceaccounts,networkpolicies,pdb";

/// A ConfigMap of the user's.
fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

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
    let database = stack.uids("mysql");
    let shows = |web: &str| {
        stack.web(web);
        let line = namespace.ok(&["get", "ws", "shop", "--no-headers"]);
        let columns: Vec<_> = line.split_whitespace().collect();
        assert_eq!(columns[..5], ["shop", "True", "1/1", "shop-mysql-0", web]);
        assert!(columns[5].starts_with("http://"), "{line}");
    };
    let served_by = |name: &str| namespace.apply(&config_map("mine", json!({"SERVED_BY": name})));
    served_by("first");
    shows("2/2");
    let ((), met) = under_load(stack.address(), CLIENTS, true, "GET", || {
        stack.patch(json!({"web": {"replicas": 5}}));
        shows("5/5");
        namespace.ok(&["scale", "webstack/shop", "--replicas=1"]);
        shows("1/1");
        stack.settled();
        stack.patch(json!({"web": {"replicas": 2, "env": [{"name": "SERVED_BY", "value": "changed"}]}}));
        stack.settled();
        // Another reference to the same image is another version.
        let mine = json!([{"configMapRef": {"name": "mine"}}]);
        stack.patch(json!({"web": {"image": "docker.io/tandem/web", "env": null, "envFrom": mine}}));
        stack.settled();
        // Of this the spec says nothing, and by itself the operator looks at everything only every 300 s.
        let web = stack.uids("web");
        served_by("second");
        stack.replaced("web", &web);
        stack.settled();
    });
    assert_eq!((met.refused, met.lost.len()), (0, 0), "{:?}", met.lost);
    for name in ["changed", "first", "second"] {
        assert!(met.served_by.contains_key(name), "{:?}", met.served_by);
    }
    assert_eq!(stack.uids("mysql"), database, "none of this is the database's");
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

/// Two who ask for a page all the time while `run` runs. Returns, beside its result, from when to when each request
/// took that did not get the page.
fn failures<T>(address: SocketAddr, run: impl FnOnce() -> T) -> (T, Vec<(Instant, Instant)>) {
    let stop = AtomicBool::new(false);
    let ask = || {
        let mut failed = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            if get(address, "/").is_none_or(|page| page.status != 200) {
                failed.push((began, Instant::now()));
                // Where nobody serves, refusals come at once.
                thread::sleep(Duration::from_millis(20));
            }
        }
        failed
    };
    thread::scope(|scope| {
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        let result = {
            // Also where `run` panics, or they would be waited for without end.
            let _stops = Stop(&stop);
            run()
        };
        (result, askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect())
    })
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_changed_password_is_followed_by_both_tiers() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let old = namespace.ok(&["exec", "shop-mysql-0", "--", "sh", "-c", "cat $MYSQL_PASSWORD_FILE"]);
    let old_is_taken = || {
        let password = format!("-p{old}");
        let login = ["exec", "shop-mysql-0", "--", "mysql", "-uapp", &password, "-e", "SELECT 1"];
        namespace.run(&login).status.success()
    };
    let (database, web) = (stack.uids("mysql"), stack.uids("web"));
    let patch = json!({"stringData": {"password": "n'e\"w $x `y` \\ ß", "root-password": "another"}}).to_string();
    let ((down, up), failed) = failures(stack.address(), || {
        namespace.ok(&["patch", "secret", "shop-mysql", "-p", &patch]);
        // No later than the database went: when it was last seen to be as before.
        let mut down = Instant::now();
        wait_for("the database to go", PATIENCE, || {
            let looked = Instant::now();
            let stays = namespace.get("pod", "shop-mysql-0").is_some_and(|pod| {
                let meta = &pod["metadata"];
                meta["uid"] == database[0].as_str() && meta["deletionTimestamp"].is_null()
            });
            if stays {
                down = looked;
            }
            (!stays).then_some(())
        });
        stack.replaced("mysql", &database);
        let up = Instant::now();
        wait_for("pages again", PATIENCE, || stack.page("/").filter(|page| page.status == 200));
        // From now on no request fails, of clients who keep their connections neither: old Pods may still use the old
        // password.
        let ((), met) = under_load(stack.address(), CLIENTS, true, "GET", || stack.replaced("web", &web));
        assert_eq!((met.refused, met.lost.len()), (0, 0), "{:?}", met.lost);
        (down, up)
    });
    let outside: Vec<_> = failed.iter().filter(|(began, ended)| *ended < down || *began > up + FOLLOWED).collect();
    assert!(outside.is_empty(), "{outside:?}, and the database was away from {down:?} to {up:?}");
    stack.settled();
    assert_eq!(stack.sql("SELECT COUNT(*) FROM employees"), "10000");

    // The next start ends the old one (docs/decisions/0013-passwords-overlap.md): who serves then has the new one.
    assert!(old_is_taken());
    let database = stack.uids("mysql");
    namespace.ok(&["delete", "pod", "shop-mysql-0", "--wait=false"]);
    stack.replaced("mysql", &database);
    assert!(!old_is_taken());
    wait_for("pages by the new password", PATIENCE, || stack.page("/").filter(|page| page.status == 200));
}

#[test]
fn a_deleted_stack_keeps_its_rows_and_a_new_one_takes_them_up() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    stack.keep_a_row();
    namespace.ok(&["delete", "webstack", "shop", "--timeout=60s"]);
    wait_for("everything that holds no data to go", PATIENCE, || {
        namespace.list(WITHOUT_DATA, &stack.label()).is_empty().then_some(())
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
    namespace.apply(&config_map("files", files));
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
fn server_options_reach_the_server_and_no_web_pod() {
    let namespace = cluster_or_skip!().namespace();
    let timeout = |seconds: &str| namespace.apply(&config_map("mine", json!({"MYSQL_CONF_WAIT_TIMEOUT": seconds})));
    timeout("1000");
    let mut spec = small();
    spec["mysql"]["envFrom"] = json!([{"configMapRef": {"name": "mine"}}]);
    let stack = namespace.stack("shop", spec);
    stack.settled();
    let web = stack.uids("web");
    let options = || stack.sql("SELECT @@max_connections, @@global.wait_timeout");
    let database = stack.uids("mysql");
    stack.patch(json!({"mysql": {"config": {"max_connections": "77"}}}));
    stack.replaced("mysql", &database);
    assert_eq!(options(), "77\t1000");
    // Of this the spec says nothing, and by itself the operator looks at everything only every 300 s.
    let database = stack.uids("mysql");
    timeout("2000");
    stack.replaced("mysql", &database);
    assert_eq!(options(), "77\t2000");
    stack.settled();
    assert_eq!(stack.uids("web"), web);
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

/// All objects of the stacks in these namespaces: where each is, whose it is, and what differs when somebody changes it
/// or makes it anew. What only controllers count in its status is no change.
fn objects(namespaces: &[Namespace]) -> BTreeSet<(usize, String, String)> {
    let mut found = BTreeSet::new();
    for (number, namespace) in namespaces.iter().enumerate() {
        let mut all = namespace.list("webstacks", "");
        for kinds in [WITHOUT_DATA, "secrets,pvc"] {
            all.extend(namespace.list(kinds, "app.kubernetes.io/name=webstack"));
        }
        for object in all {
            let (kind, meta) = (object["kind"].as_str().unwrap(), &object["metadata"]);
            let stack = meta["labels"]["app.kubernetes.io/instance"].as_str().or(meta["name"].as_str()).unwrap();
            let version = match kind {
                "Pod" => &object["status"]["containerStatuses"][0]["restartCount"],
                "PersistentVolumeClaim" => &object["spec"]["resources"],
                _ if meta["generation"].is_null() => &meta["resourceVersion"],
                _ => &meta["generation"],
            };
            found.insert((number, stack.to_owned(), format!("{kind} {} {} {version}", meta["name"], meta["uid"])));
        }
    }
    found
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
    // Two of one name, and one beside: each has its own rows, and what is done to one leaves all nineteen others alone.
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
    let alone = |number: usize, change: &dyn Fn()| {
        let name = &stacks[number].name;
        let others = || -> BTreeSet<_> {
            let all = objects(&namespaces).into_iter();
            all.filter(|(at, stack, _)| (*at, stack) != (number % 3, name)).collect()
        };
        let before = others();
        assert!(before.len() > 18 * 12, "{}", before.len());
        change();
        let after = others();
        let touched: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(touched.is_empty(), "{name} has changed, and with it {touched:?}");
    };
    alone(0, &|| {
        namespaces[0].ok(&["delete", "webstack", "shop-0", "--timeout=60s"]);
        wait_for("all that holds no data to go", PATIENCE, || {
            namespaces[0].list(WITHOUT_DATA, &stacks[0].label()).is_empty().then_some(())
        });
    });
    alone(1, &|| {
        stacks[1].patch(json!({"web": {"replicas": 1}}));
        stacks[1].web("1/1");
        stacks[1].settled();
        wait_for("the other Pod to go", PATIENCE, || (stacks[1].uids("web").len() == 1).then_some(()));
    });
    alone(3, &|| {
        let (database, web) = (stacks[3].uids("mysql"), stacks[3].uids("web"));
        let patch = json!({"stringData": {"password": "another"}}).to_string();
        namespaces[0].ok(&["patch", "secret", "shop-1-mysql", "-p", &patch]);
        stacks[3].replaced("mysql", &database);
        stacks[3].replaced("web", &web);
    });
    for (number, stack) in running.iter().enumerate().skip(1) {
        stack.settled();
        assert_eq!(stack.sql("SELECT number FROM mine"), number.to_string());
    }
}
