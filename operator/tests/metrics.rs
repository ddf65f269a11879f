//! What the operator's `/metrics` gives, against what the dashboard and the alert rules ask for.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use kube::runtime::{reflector, watcher};
use serde_json::{Value, json};
use tandem_environment::docs::metrics_in;
use tandem_operator::crd::WebStack;
use tandem_operator::metrics::Metrics;

/// What is told while a stack is not ready.
fn metrics() -> Metrics {
    let stack: WebStack = serde_json::from_value(json!({
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "WebStack",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {},
        "status": {"conditions": [{
            "type": "Ready", "status": "False", "reason": "Waiting", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }], "mysql": {
            "instances": 3, "readyInstances": 3, "ready": "3/3",
            "members": [
                {"name": "shop-mysql-0", "state": "ONLINE", "role": "primary", "used": 42},
                {"name": "shop-mysql-1", "state": "ONLINE", "role": "replica", "lagSeconds": 3, "gtidGap": 70},
            ],
            "lastFailover": {
                "from": "shop-mysql-1", "to": "shop-mysql-0", "time": "2026-01-31T12:00:00Z", "milliseconds": 6800,
            },
        }},
    }))
    .unwrap();
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&watcher::Event::Apply(stack));
    let metrics = Metrics::default();
    metrics.watch(store);
    metrics.reconciled(Duration::from_millis(1), false);
    metrics
}

fn text() -> String {
    metrics().encode().unwrap()
}

#[test]
fn two_who_ask_at_once_are_told_the_same() {
    let metrics = metrics();
    let alone = metrics.encode().unwrap();
    // The process's memory may differ from one time to the next.
    let counted = |text: &str| text.lines().filter(|line| !line.contains("memory")).map(str::to_owned).collect();
    let counted: &(dyn Fn(&str) -> Vec<String> + Sync) = &counted;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    assert_eq!(counted(&metrics.encode().unwrap()), counted(&alone));
                }
            });
        }
    });
}

#[test]
fn stacks_are_counted_by_condition() {
    let text = text();
    for line in [
        r#"tandem_operator_stack_conditions{type="Ready",status="False",reason="Waiting"} 1"#,
        "tandem_operator_stacks 1",
        "tandem_operator_leader 1",
        "tandem_operator_reconcile_errors_total 1",
        r#"tandem_operator_group_member{namespace="default",pod="shop-mysql-0",state="ONLINE",role="primary"} 1"#,
        r#"tandem_operator_group_member_lagging{namespace="default",pod="shop-mysql-0"} 0"#,
        r#"tandem_operator_group_member_lag_seconds{namespace="default",pod="shop-mysql-1"} 3"#,
        r#"tandem_operator_group_member_gtid_gap{namespace="default",pod="shop-mysql-1"} 70"#,
        r#"tandem_operator_group_member_volume_used_ratios{namespace="default",pod="shop-mysql-0"} 0.42"#,
        r#"tandem_operator_group_last_failover_duration_seconds{namespace="default",stack="shop"} 6.8"#,
        r#"tandem_operator_group_last_failover_timestamp_seconds{namespace="default",stack="shop"} 1769860800.0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let text = text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let there: HashSet<&str> = samples.filter_map(|line| line.split([' ', '{']).next()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let rules: Value = serde_saphyr::from_str(&read("alerts.yaml")).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let rules = rules["groups"].as_array().unwrap().iter().filter_map(|group| group["rules"].as_array());
    let asked: Vec<String> = targets
        .chain(rules)
        .flatten()
        .flat_map(|one| metrics_in(one["expr"].as_str().unwrap()))
        .filter(|name| name.starts_with("tandem_operator_"))
        .collect();
    assert!(asked.len() > 5, "{asked:?}");
    for name in asked {
        assert!(there.contains(name.as_str()), "{name} is asked for and is not there\n{text}");
    }
}
