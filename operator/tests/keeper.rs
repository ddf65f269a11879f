//! A keeper before an API server that refuses or does not answer: what can be done is done, and what cannot is told.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixture::api::{Cluster, Fault, cache};
use fixture::{around, observed};
use rstest::rstest;
use serde_json::{Value, json};
use tandem_environment::Environment;
use tandem_operator::config::Config;
use tandem_operator::controller;
use tandem_operator::controller::keeper::{Groups, Report};
use tandem_operator::metrics::Metrics;
use tokio::sync::oneshot;

const SERVICE: &str = "/api/v1/namespaces/default/services/shop-mysql";
const FIRST: &str = "/api/v1/namespaces/default/pods/shop-mysql-0";
const SECOND: &str = "/api/v1/namespaces/default/pods/shop-mysql-1";

/// Longer than any round.
const SOON: Duration = Duration::from_secs(5);

fn object(path: &str, labels: Value, rest: Value) -> (String, Value) {
    let name = path.rsplit('/').next().unwrap();
    let mut object = json!({"metadata": {"name": name, "namespace": "default", "labels": labels}});
    object["metadata"]["labels"]["app.kubernetes.io/instance"] = json!("shop");
    fixture::api::merge(&mut object, rest);
    (path.to_owned(), object)
}

/// A server that has run alone and serves, of a stack that wants a group. Clients are not led to it yet, and readers to
/// another Pod. Nobody can be asked: the Pods have no addresses.
fn cluster() -> Cluster {
    with(json!({"mysql": {"instances": 3}}))
}

/// The same with this spec.
fn with(spec: Value) -> Cluster {
    let cluster = Cluster::new(spec);
    let selector = json!({"spec": {"selector": {"statefulset.kubernetes.io/pod-name": "none"}}});
    let member = json!({"metadata": {"annotations": {"tandem.dev/group": "uuid"}}});
    let passwords = json!({"data": {"password": "c2VjcmV0", "root-password": "c2VjcmV0"}});
    let secret =
        |name: &str| object(&format!("/api/v1/namespaces/default/secrets/{name}"), json!({}), passwords.clone());
    let objects = [
        object(SERVICE, json!({}), selector),
        object(FIRST, json!({}), json!({})),
        object(SECOND, json!({"tandem.dev/reads": "true"}), member),
        secret("shop-mysql"),
        secret("shop-mysql-group"),
    ];
    cluster.api().objects.extend(objects);
    cluster
}

/// What a keeper tells first: its report, or why it has none.
async fn told(cluster: &Cluster) -> Result<Report, String> {
    let cache = cache(&cluster.api().objects);
    let (groups, _news) = Groups::new(cluster.client.clone(), cache, around());
    let mut observed = observed(cluster.stack(), &["shop-mysql"]);
    groups.keep(&observed);
    let told = async {
        loop {
            groups.report(&mut observed);
            match (observed.group.take(), observed.unasked.take()) {
                (Some(report), _) => return Ok(report),
                (None, Some(why)) => return Err(why),
                (None, None) => {}
            }
            // Of virtual time.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, told).await.unwrap()
}

/// Whom the Service names, and the labels by which clients are led to the first and the second Pod.
fn led(cluster: &Cluster) -> [Value; 3] {
    let objects = &cluster.api().objects;
    [
        objects[SERVICE]["spec"]["selector"]["statefulset.kubernetes.io/pod-name"].clone(),
        objects[FIRST]["metadata"]["labels"]["tandem.dev/role"].clone(),
        objects[SECOND]["metadata"]["labels"]["tandem.dev/reads"].clone(),
    ]
}

#[rstest]
#[case::nothing(None, Some(0), json!(["shop-mysql-0", "primary", null]), None)]
#[case::the_service(Some(SERVICE), None, json!(["none", "primary", null]), Some("Service shop-mysql: a fault"))]
#[case::a_pod(Some(FIRST), Some(0), json!(["shop-mysql-0", null, null]), Some("Pod shop-mysql-0: a fault"))]
#[case::another_pod(Some(SECOND), Some(0), json!(["shop-mysql-0", "primary", "true"]), Some("Pod shop-mysql-1: a fault"))]
#[tokio::test(start_paused = true)]
async fn one_refusal_keeps_clients_from_nobody_else_and_is_told(
    #[case] refused: Option<&str>,
    #[case] primary: Option<u32>,
    #[case] expected: Value,
    #[case] failure: Option<&str>,
) {
    let cluster = cluster();
    cluster.api().broken.extend(refused.map(|path| (path.to_owned(), Fault::Status(403))));
    let report = told(&cluster).await.unwrap();
    assert_eq!((report.primary, report.failure.as_deref()), (primary, failure));
    assert_eq!(json!(led(&cluster)), expected);
}

#[tokio::test(start_paused = true)]
async fn without_passwords_nobody_is_led_elsewhere_and_it_is_told_why() {
    let cluster = cluster();
    let before = led(&cluster);
    cluster.api().broken.insert("/api/v1/namespaces/default/secrets/shop-mysql-group".to_owned(), Fault::Status(403));
    assert_eq!(told(&cluster).await.unwrap_err(), "Secret shop-mysql-group: a fault");
    assert_eq!(led(&cluster), before);
}

#[rstest]
#[case::the_service(SERVICE, None, json!(["none", "primary", null]), "Service shop-mysql: no answer within 2 s")]
#[case::a_pod(FIRST, Some(0), json!(["shop-mysql-0", null, null]), "Pod shop-mysql-0: no answer within 2 s")]
#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_given_up_and_the_round_goes_on(
    #[case] silent: &str,
    #[case] primary: Option<u32>,
    #[case] expected: Value,
    #[case] failure: &str,
) {
    let cluster = cluster();
    cluster.api().broken.insert(silent.to_owned(), Fault::Hangs);
    let report = told(&cluster).await.unwrap();
    assert_eq!((report.primary, report.failure.as_deref()), (primary, Some(failure)));
    assert_eq!(json!(led(&cluster)), expected);
}

#[tokio::test(start_paused = true)]
async fn passwords_that_do_not_come_are_not_waited_for() {
    let cluster = cluster();
    cluster.api().broken.insert("/api/v1/namespaces/default/secrets/shop-mysql-group".to_owned(), Fault::Hangs);
    assert_eq!(told(&cluster).await.unwrap_err(), "Secret shop-mysql-group: no answer within 2 s");
}

/// How often the keeper has tried to lead clients to the first Pod, and how often a reconcile has read the Secret.
fn asked(cluster: &Cluster) -> (usize, usize) {
    let asked = |path| cluster.api().asked.get(path).copied().unwrap_or_default();
    (asked(FIRST), asked("/api/v1/namespaces/default/secrets/theirs"))
}

#[rstest]
#[case::told_to_stop(true)]
#[case::dropped(false)]
#[tokio::test(start_paused = true)]
async fn groups_are_looked_after_until_the_last_reconcile_has_ended(#[case] stops: bool) {
    let theirs = json!({"mysql": {"instances": 3}, "web": {"envFrom": [{"secretRef": {"name": "theirs"}}]}});
    let cluster = with(theirs);
    let broken = [(FIRST, Fault::Status(403)), ("/api/v1/namespaces/default/secrets/theirs", Fault::Hangs)];
    cluster.api().broken.extend(broken.map(|(path, fault)| (path.to_owned(), fault)));
    let config = Config::read(&Environment::default()).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let metrics = Arc::new(Metrics::default());
    let mut run = Box::pin(controller::run(cluster.clients(), &config, Arc::clone(&metrics), async {
        drop(stopped.await);
    }));
    // Until the keeper is at work, and the second reconcile has begun.
    let busy = async {
        while asked(&cluster).0 < 3 || asked(&cluster).1 < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = &mut run => unreachable!("nobody has told it to stop"),
        () = busy => {}
    }
    assert!(metrics.encode().unwrap().contains("tandem_operator_leader 1"));
    if stops {
        stop.send(()).unwrap();
        let before = asked(&cluster).0;
        tokio::select! {
            () = &mut run => unreachable!("a reconcile has begun"),
            () = tokio::time::sleep(SOON) => {}
        }
        assert!(asked(&cluster).0 > before);
        run.await;
    } else {
        drop(run);
    }
    let before = asked(&cluster).0;
    tokio::time::sleep(SOON).await;
    assert_eq!(asked(&cluster).0, before);
    assert!(metrics.encode().unwrap().contains("tandem_operator_leader 0"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_everything_is_known_waits_for_nothing() {
    let cluster = cluster();
    cluster.api().broken.insert("/api/v1/pods".to_owned(), Fault::Hangs);
    let config = Config::read(&Environment::default()).unwrap();
    let stop = async {
        // The stack is known, and its reconcile waits.
        tokio::time::sleep(SOON).await;
    };
    let run = controller::run(cluster.clients(), &config, Arc::default(), stop);
    tokio::time::timeout(2 * SOON, run).await.unwrap();
    assert_eq!(cluster.api().asked.get("/api/v1/pods"), Some(&1), "the watch waits, too");
}

/// What was logged, as a writer of lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_keeper_logs_names_its_stack_at_every_level() {
    let log = Log::default();
    let lines = log.clone();
    let format = tracing_subscriber::fmt().json().with_max_level(tracing::Level::WARN);
    let _guard = tracing::subscriber::set_default(format.with_writer(move || lines.clone()).finish());
    let cluster = cluster();
    cluster.api().broken.insert(FIRST.to_owned(), Fault::Status(403));
    told(&cluster).await.unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(line["fields"]["refused"], "Pod shop-mysql-0: a fault");
    assert_eq!(line["span"], json!({"name": "keeper", "namespace": "default", "stack": "shop"}));
}
