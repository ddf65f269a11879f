//! The operator as a program: its end in the middle of things, its silence when there is nothing to do, what it sees.
//!
//! Tests that disturb the others are ignored: they run after them, one at a time (tests/run).

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem_tests::docker::wait_for;
use tandem_tests::http::under_load;

use crate::kubectl::{Cluster, PATIENCE, Stack, cluster_or_skip, small};

const LABEL: &str = "app.kubernetes.io/name=tandem-operator";

pub(crate) fn holder(cluster: &Cluster) -> String {
    cluster.ok(&["-n", "tandem-system", "get", "lease", "tandem-operator", "-o", "jsonpath={.spec.holderIdentity}"])
}

#[test]
#[ignore = "kills the leader"]
fn the_other_replica_goes_on_when_the_leader_is_killed_during_a_roll() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let stack = namespace.serving();
    let leader = wait_for("a leader", PATIENCE, || Some(holder(cluster)).filter(|name| !name.is_empty()));
    stack.patch(json!({"web": {"replicas": 4, "env": [{"name": "LOG_LEVEL", "value": "warn"}]}}));
    cluster.ok(&["-n", "tandem-system", "delete", "pod", &leader, "--grace-period=0", "--force"]);
    stack.patch(json!({"web": {"replicas": 3}}));
    stack.web("3/3");
    stack.settled();
    wait_for("another leader", PATIENCE, || Some(holder(cluster)).filter(|name| !name.is_empty() && *name != leader));
}

#[test]
fn a_reconcile_leaves_alone_what_is_right() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let stack = namespace.serving();
    let operators = cluster.ok(&["-n", "tandem-system", "get", "pods", "-l", LABEL, "-o", "name"]);
    assert_eq!(operators.lines().count(), 2);
    let generations = || -> Vec<(String, String)> {
        let kinds = "serviceaccounts,configmaps,services,networkpolicies,secrets,jobs,statefulsets,deployments";
        let listed: Value = serde_json::from_str(&namespace.ok(&["get", kinds, "-o", "json"])).unwrap();
        // Labels of ours that somebody else took away would be a change; what controllers count is none.
        let about = |o: &Value| {
            let (meta, kind) = (&o["metadata"], &o["kind"]);
            let version = if kind == "Deployment" || kind == "StatefulSet" { "generation" } else { "resourceVersion" };
            (format!("{kind} {}", meta["name"]), meta[version].to_string())
        };
        listed["items"].as_array().unwrap().iter().map(about).collect()
    };
    let before = generations();
    // A budget that is deleted comes back by a reconcile, which looks at everything else too.
    let uid = namespace.get("pdb", "shop-web").unwrap()["metadata"]["uid"].clone();
    namespace.ok(&["delete", "pdb", "shop-web", "--wait=false"]);
    wait_for("the reconcile", PATIENCE, || {
        namespace.get("pdb", "shop-web").filter(|budget| budget["metadata"]["uid"] != uid)
    });
    stack.settled();
    assert_eq!(generations(), before);
}

/// How long a steady state is watched, in seconds.
const STEADY: u64 = 60;

#[test]
#[ignore = "keeps the API server busy"]
fn fifty_stacks_at_rest_cause_no_write() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = small();
    spec["suspend"] = json!(true);
    let names: Vec<_> = (0..50).map(|n| format!("shop-{n}")).collect();
    for name in &names {
        namespace.stack(name, spec.clone());
    }
    // Whatever is written gets a new version, also a status; an event would be one more object.
    let versions = || -> Vec<String> {
        let kinds =
            "webstacks,events,serviceaccounts,configmaps,secrets,services,networkpolicies,pdb,statefulsets,deployments";
        let path = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        namespace.ok(&["get", kinds, "-o", path]).lines().map(str::to_owned).collect()
    };
    for name in &names {
        Stack::of(&namespace, name).wait("Ready", "False", "Suspended", PATIENCE);
    }
    // Until Kubernetes' own controllers are done as well.
    let mut before = versions();
    let began = wait_for("nothing to change any more", PATIENCE, || {
        let began = Instant::now();
        let now = versions();
        std::mem::replace(&mut before, now.clone()).eq(&now).then_some(began)
    });
    assert!(before.len() > 50 * 12, "{}", before.len());
    // A steady state is what does not change while time passes: there is nothing else to wait for.
    std::thread::sleep(Duration::from_secs(STEADY).saturating_sub(began.elapsed()));
    assert_eq!(versions(), before);
}

#[test]
#[ignore = "stops the API server"]
fn a_restart_of_the_api_server_is_outlived() {
    let cluster = cluster_or_skip!();
    let Ok(restart) = std::env::var("TEST_RESTART_API_SERVER") else {
        eprintln!("skipped: TEST_RESTART_API_SERVER is not a command");
        return;
    };
    let namespace = cluster.namespace();
    let stack = namespace.serving();
    stack.keep_a_row();
    stack.patch(json!({"web": {"replicas": 3, "env": [{"name": "LOG_LEVEL", "value": "warn"}]}}));
    let ((), met) = under_load(stack.address(), 4, true, "GET", || {
        let restarted = Command::new("sh").args(["-c", &restart]).output().unwrap();
        assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
        wait_for("the API server", PATIENCE, || {
            cluster.run(&["get", "--raw", "/readyz"]).status.success().then_some(())
        });
        stack.web("3/3");
        stack.settled();
        stack.patch(json!({"web": {"replicas": 2}}));
        stack.settled();
    });
    assert_eq!((met.refused, met.lost.len()), (0, 0), "{:?}", met.lost);
    stack.has_kept_it();
}

/// The operator of the whole cluster is away as long as this lives, whatever becomes of the test.
pub(crate) struct Away(&'static Cluster);

impl Away {
    pub(crate) fn take(cluster: &'static Cluster) -> Self {
        cluster.ok(&["-n", "tandem-system", "scale", "deployment/tandem-operator", "--replicas=0"]);
        let gone = ["-n", "tandem-system", "wait", "--for=delete", "pod", "-l", LABEL, "--timeout=120s"];
        cluster.ok(&gone);
        Self(cluster)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.0.run(&["-n", "tandem-system", "scale", "deployment/tandem-operator", "--replicas=2"]);
    }
}

#[test]
#[ignore = "takes the other operator away"]
fn an_operator_of_one_namespace_needs_no_more_than_a_role_in_it() {
    let cluster = cluster_or_skip!();
    let away = Away::take(cluster);
    let (home, elsewhere) = (cluster.namespace(), cluster.namespace());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/one-namespace");
    home.apply_text(&cluster.ok(&["kustomize", folder]).replace("tandem-system", &home.name)).unwrap();
    home.ok(&["rollout", "status", "deployment/tandem-operator", "--timeout=120s"]);
    let mut spec = small();
    spec["suspend"] = json!(true);
    let (seen, unseen) = (home.stack("shop", spec.clone()), elsewhere.stack("shop", spec));
    seen.wait("Ready", "False", "Suspended", PATIENCE);
    assert!(home.get("statefulset", "shop-mysql").is_some());
    assert_eq!(unseen.get()["status"], Value::Null);
    drop(away);
    unseen.wait("Ready", "False", "Suspended", PATIENCE);
}
