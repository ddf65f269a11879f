//! The operator as a program: its end in the middle of things, its silence when there is nothing to do, what it sees.
//!
//! Tests that disturb the others are ignored: they run after them, one at a time (tests/run).

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem_tests::docker::wait_for;
use tandem_tests::http::under_load;

use crate::group::fault::crash_the_operator;
use crate::kubectl::{Cluster, PATIENCE, SOON, Stack, cluster_or_skip, small};

const LABEL: &str = "app.kubernetes.io/name=tandem-operator";

/// How many reconciles a process has done.
const RECONCILES: &str = "tandem_operator_reconcile_duration_seconds_count";

/// Whose the Lease is; empty where it is nobody's.
pub(crate) fn holder(cluster: &Cluster) -> String {
    let lease = cluster.get("tandem-system", "lease", "tandem-operator").unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// The Pod that leads.
fn leading(cluster: &Cluster) -> String {
    wait_for("a leader", PATIENCE, || Some(holder(cluster)).filter(|name| !name.is_empty()))
}

/// Waits for a leader that is not this one.
fn leads_instead(cluster: &Cluster, leader: &str, seconds: u64) -> String {
    wait_for("another leader", seconds, || Some(holder(cluster)).filter(|name| !name.is_empty() && name != leader))
}

/// What one of the operator's Pods answers with 200, through the API server.
fn page(cluster: &Cluster, pod: &str, path: &str) -> Option<String> {
    let address = format!("/api/v1/namespaces/tandem-system/pods/{pod}:8080/proxy{path}");
    let answer = cluster.run(&["get", "--raw", &address]);
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
}

/// The value of a metric; its name is with its labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
#[ignore = "kills the leader"]
fn the_other_replica_goes_on_when_the_leader_is_killed_during_a_roll() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let stack = namespace.serving();
    let rolls = |replicas: i32| {
        wait_for("the roll to begin", PATIENCE, || {
            (namespace.get("deployment", "shop-web")?["spec"]["replicas"] == replicas).then_some(())
        });
    };
    // Its process alone: the kubelet starts another one, for which the Lease is still its own.
    let killed = leading(cluster);
    let restarts = || {
        let pod = cluster.get("tandem-system", "pod", &killed)?;
        pod["status"]["containerStatuses"][0]["restartCount"].as_u64()
    };
    let before = restarts().unwrap();
    stack.patch(json!({"web": {"replicas": 4, "env": [{"name": "LOG_LEVEL", "value": "warn"}]}}));
    rolls(4);
    crash_the_operator(cluster, &killed);
    stack.patch(json!({"web": {"replicas": 3}}));
    wait_for("its container again", PATIENCE, || restarts().filter(|restarts| *restarts > before));
    stack.web("3/3");
    stack.settled();
    // And with its Pod, which does not come back.
    let leader = leading(cluster);
    stack.patch(json!({"web": {"replicas": 4, "env": [{"name": "LOG_LEVEL", "value": "info"}]}}));
    rolls(4);
    cluster.ok(&["-n", "tandem-system", "delete", "pod", &leader, "--grace-period=0", "--force"]);
    stack.patch(json!({"web": {"replicas": 2}}));
    stack.web("2/2");
    stack.settled();
    leads_instead(cluster, &leader, PATIENCE);
}

/// What is promised for a leader that is told to stop, in seconds. A Lease that is not given back holds for 12.
const HANDED_OVER: u64 = 5;

#[test]
#[ignore = "stops the leader"]
fn the_program_tells_how_it_does_and_hands_over_when_it_is_told_to_stop() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let mut spec = small();
    spec["suspend"] = json!(true);
    namespace.stack("shop", spec).wait("Ready", "False", "Suspended", PATIENCE);
    // Whoever shall take over has to be there.
    cluster.ok(&["-n", "tandem-system", "rollout", "status", "deployment/tandem-operator", "--timeout=120s"]);
    let leader = leading(cluster);
    assert_eq!(page(cluster, &leader, "/healthz").as_deref(), Some("ok"));
    assert_eq!(page(cluster, &leader, "/readyz").as_deref(), Some("ready"));
    let suspended = r#"tandem_operator_stack_conditions{type="Ready",status="False",reason="Suspended"}"#;
    let metrics = wait_for("the stack among the metrics", SOON, || {
        let metrics = page(cluster, &leader, "/metrics")?;
        let counted = |name: &str| metric(&metrics, name).is_some_and(|count| count >= 1.0);
        [suspended, RECONCILES, "tandem_operator_stacks"].into_iter().all(counted).then_some(metrics)
    });
    assert_eq!(metric(&metrics, "tandem_operator_leader"), Some(1.0), "{metrics}");
    assert!(metric(&metrics, "tandem_operator_reconcile_errors_total").is_some(), "{metrics}");
    let log = cluster.ok(&["-n", "tandem-system", "logs", &leader]);
    assert!(!log.is_empty());
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }
    cluster.ok(&["-n", "tandem-system", "delete", "pod", &leader, "--wait=false"]);
    leads_instead(cluster, &leader, HANDED_OVER);
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
#[ignore = "keeps the API server busy, and stops the leader"]
fn fifty_stacks_at_rest_cause_no_write() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let mut spec = small();
    spec["suspend"] = json!(true);
    let names: Vec<_> = (0..50).map(|n| format!("shop-{n}")).collect();
    for name in &names {
        namespace.stack(name, spec.clone());
    }
    let kinds = "webstacks,events,serviceaccounts,configmaps,secrets,services,networkpolicies,poddisruptionbudgets,\
                 statefulsets,deployments";
    // Whatever is changed gets a new version, also a status; an event would be one more object.
    let versions = || -> Vec<String> {
        let path = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        namespace.ok(&["get", kinds, "-o", path]).lines().map(str::to_owned).collect()
    };
    // What is applied and changes nothing gets none, but the API server counts it, and nobody else applies these kinds
    // there. What it refused is left out: namespaces of earlier tests may still be about to go.
    let applied = || -> f64 {
        let about: Vec<_> = kinds.split(',').map(|kind| format!("resource=\"{kind}\"")).collect();
        let ours = |line: &&str| {
            let said = |words: &str| line.contains(words);
            line.starts_with("apiserver_request_total{")
                && said("verb=\"APPLY\"")
                && said("code=\"20")
                && about.iter().any(|kind| said(kind))
        };
        let metrics = cluster.ok(&["get", "--raw", "/metrics"]);
        metrics.lines().filter(ours).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let state = || (versions(), applied());
    for name in &names {
        Stack::of(&namespace, name).wait("Ready", "False", "Suspended", PATIENCE);
    }
    // Until Kubernetes' own controllers are done as well.
    let mut before = state();
    let began = wait_for("nothing to change any more", PATIENCE, || {
        let began = Instant::now();
        let now = state();
        std::mem::replace(&mut before, now.clone()).eq(&now).then_some(began)
    });
    assert!(before.0.len() > 50 * 12, "{}", before.0.len());
    assert!(before.1 > 50.0 * 10.0, "the API server counts what is applied: {}", before.1);
    // Whoever takes over looks at all stacks, as a leader does every 300 s.
    let reconciles = |pod: &str| metric(&page(cluster, pod, "/metrics")?, RECONCILES);
    let operators = cluster.ok(&["-n", "tandem-system", "get", "pods", "-l", LABEL, "-o", "name"]);
    let operators = operators.lines().map(|name| name.trim_start_matches("pod/"));
    let earlier: HashMap<_, _> = operators.map(|pod| (pod, reconciles(pod).unwrap_or_default())).collect();
    let leader = leading(cluster);
    cluster.ok(&["-n", "tandem-system", "delete", "pod", &leader, "--wait=false"]);
    let next = leads_instead(cluster, &leader, PATIENCE);
    let earlier = earlier.get(next.as_str()).copied().unwrap_or_default();
    wait_for("a look at all stacks", PATIENCE, || reconciles(&next).filter(|count| *count >= earlier + 50.0));
    // A steady state is what does not change while time passes: there is nothing else to wait for.
    std::thread::sleep(Duration::from_secs(STEADY).saturating_sub(began.elapsed()));
    assert_eq!(state(), before);
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
