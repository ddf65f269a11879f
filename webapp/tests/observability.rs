//! What `/metrics` gives, against what the documents, the dashboard and the alert rules say of it.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use sqlx::mysql::MySqlConnectOptions;
use tandem_webapp::app::App;
use tandem_webapp::config::DatabaseConfig;
use tandem_webapp::db::Database;
use tandem_webapp::router;
use tower::ServiceExt;

/// An application whose database is away: nobody listens on its port.
fn app() -> Arc<App> {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = MySqlConnectOptions::new().host("127.0.0.1").port(closed).database("employees");
    let config = DatabaseConfig {
        primary: options.clone(),
        reads: options,
        pool_size: 2,
        connect_timeout: Duration::from_secs(1),
        query_timeout: Duration::from_secs(1),
        max_lifetime: Duration::from_secs(60),
    };
    Arc::new(App::new(Database::new(&config), "replica-1".to_owned(), false))
}

async fn get(router: Router, path: &str) -> String {
    let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Name, type and help of each metric, under the name that Prometheus stores.
fn described(text: &str) -> BTreeMap<String, (String, String)> {
    let mut metrics = BTreeMap::<String, (String, String)>::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
        let mut words = line.splitn(3, ' ');
        let (what, name, rest) =
            (words.next().unwrap(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match what {
            "HELP" => metrics.entry(name.to_owned()).or_default().1 = rest.trim_end_matches('.').to_owned(),
            "TYPE" => metrics.entry(name.to_owned()).or_default().0 = rest.to_owned(),
            _ => {}
        }
    }
    let suffixed = |name: String, kind: &str| match kind {
        "counter" => name + "_total",
        "info" => name + "_info",
        _ => name,
    };
    metrics.into_iter().map(|(name, about)| (suffixed(name, &about.0), about)).collect()
}

#[tokio::test]
async fn the_documentation_has_every_metric() {
    let app = app();
    // A metric with labels is there as soon as something has been counted.
    get(router::pages(Arc::clone(&app), false), "/show").await;
    let metrics = described(&get(router::monitoring(app), "/metrics").await);
    let mut table = String::from("| metric | type | what it is |\n| --- | --- | --- |\n");
    for (name, (kind, help)) in &metrics {
        table += &format!("| `{name}` | {kind} | {help} |\n");
    }
    tandem_environment::docs::check(&docs().join("observability.md"), "metrics", &table).unwrap();
}

/// What the dashboard and the alert rules ask for, each with where it stands.
fn asked_for() -> Vec<(String, String)> {
    let read = |name: &str| std::fs::read_to_string(docs().join("observability").join(name)).unwrap();
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let rules: Value = serde_saphyr::from_str(&read("alerts.yaml")).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let panels = list(&dashboard["panels"]).into_iter().filter(|panel| panel["type"] != "row");
    let panels = panels.flat_map(|panel| {
        let title = text(&panel["title"]);
        list(&panel["targets"]).into_iter().map(move |target| (title.clone(), text(&target["expr"])))
    });
    let rules = list(&rules["groups"]).into_iter().flat_map(|group| list(&group["rules"]));
    let rules = rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"])));
    panels.chain(rules).collect()
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let app = app();
    get(router::pages(Arc::clone(&app), false), "/show").await;
    let text = get(router::monitoring(app), "/metrics").await;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let there: HashSet<&str> = samples.filter_map(|line| line.split([' ', '{']).next()).collect();
    let mut used = HashSet::new();
    for (place, expression) in asked_for() {
        let names = tandem_environment::docs::metrics_in(&expression);
        assert!(!names.is_empty(), "{place}: {expression}");
        // The operator's are compared by its own test.
        for name in names.into_iter().filter(|name| !name.starts_with("tandem_operator_")) {
            assert!(there.contains(name.as_str()), "{place} asks for {name}, which there is not: {expression}");
            used.insert(name);
        }
    }
    assert!(used.len() > 10, "{used:?}");
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = std::fs::read_to_string(docs().join("observability/alerts.yaml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&rules).unwrap();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let annotations = &rule["annotations"];
        for said in [&annotations["summary"], &annotations["runbook"], &rule["labels"]["severity"]] {
            assert!(said.as_str().is_some_and(|text| !text.is_empty()), "{rule}");
        }
    }
}

#[tokio::test]
async fn a_query_that_is_not_answered_is_counted_by_its_name_and_its_kind() {
    let app = app();
    get(router::pages(Arc::clone(&app), false), "/show").await;
    get(router::pages(Arc::clone(&app), false), "/employees/10001").await;
    let text = get(router::monitoring(app), "/metrics").await;
    for query in ["employees.show", "employees.basics"] {
        let line = format!(r#"database_query_errors_total{{query="{query}",kind="away"}} 1"#);
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(
        text.contains("\ndatabase_up 0.0\n") && text.contains("\ncatalog_counted_timestamp_seconds NaN\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_request_is_in_flight_until_it_is_answered_or_given_up() {
    let app = app();
    let text = get(router::monitoring(Arc::clone(&app)), "/metrics").await;
    assert!(text.contains("\nhttp_requests_in_flight 1\n"), "the scrape itself: {text}");
    // Its client is gone while the database is asked.
    let request = router::pages(Arc::clone(&app), false).oneshot(Request::get("/show").body(Body::empty()).unwrap());
    let mut request = Box::pin(request);
    tokio::select! {
        biased;
        _ = &mut request => panic!("answered without asking"),
        () = std::future::ready(()) => {}
    }
    let text = get(router::monitoring(Arc::clone(&app)), "/metrics").await;
    assert!(text.contains("\nhttp_requests_in_flight 2\n"), "{text}");
    drop(request);
    let text = get(router::monitoring(app), "/metrics").await;
    assert!(text.contains("\nhttp_requests_in_flight 1\n"), "{text}");
}
