//! What a user is told, for each state of a stack.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::sync::Arc;

use fixture::{built, object, observed, stack};
use k8s_openapi::jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tandem_operator::controller::apply::{self, Change};
use tandem_operator::controller::observe::Observed;
use tandem_operator::controller::report::{events, status};
use tandem_operator::controller::validate::validate;
use tandem_operator::crd::WebStackStatus;

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A cluster that has all objects of the stack; its workloads have these statuses.
fn cluster(spec: Value, mysql: Value, web: Value, migrated: bool) -> Observed {
    let mut observed = observed(stack(spec), &["shop-mysql", "mine"]);
    observed.live = built(&observed).objects;
    for set in &mut observed.live.stateful_sets {
        set.status = Some(object(mysql.clone()));
        set.metadata.generation = Some(1);
    }
    for deployment in &mut observed.live.deployments {
        deployment.status = Some(object(web.clone()));
        deployment.metadata.generation = Some(1);
    }
    observed.live.jobs = built(&observed).objects.jobs;
    for job in &mut observed.live.jobs {
        job.status = Some(object(json!({"succeeded": i32::from(migrated)})));
    }
    observed
}

fn mysql(ready: i32) -> Value {
    json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": ready, "currentRevision": "a", "updateRevision": "a"})
}

fn web(ready: i32) -> Value {
    json!({"observedGeneration": 1, "replicas": ready, "readyReplicas": ready, "updatedReplicas": ready})
}

fn pod(component: &str, state: Value) -> k8s_openapi::api::core::v1::Pod {
    let container = json!({"name": "c", "image": "tandem/web:typo", "imageID": "", "ready": false, "restartCount": 0});
    let mut container = container;
    for (key, value) in state.as_object().unwrap() {
        container[key] = value.clone();
    }
    object(json!({
        "metadata": {"name": format!("shop-{component}-0"), "labels": {"app.kubernetes.io/component": component}},
        "status": {"containerStatuses": [container]},
    }))
}

fn told(observed: &Observed) -> WebStackStatus {
    status(observed, &validate(observed), &[], None, at(NOW))
}

fn lines(status: &WebStackStatus) -> String {
    let line = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message)
    };
    status.conditions.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_stack_that_serves() {
    let status = told(&cluster(json!({"mysql": {}}), mysql(1), web(2), true));
    insta::assert_snapshot!(lines(&status), @r"
    Ready=True Serves: both tiers serve
    DatabaseReady=True Serves: the database serves
    WebReady=True Serves: the web tier serves
    Progressing=False UpToDate: everything is as the spec says
    ");
    let (mysql, web) = (status.mysql.unwrap(), status.web.unwrap());
    assert_eq!((mysql.ready.as_str(), mysql.primary.as_deref()), ("1/1", Some("shop-mysql-0")));
    assert_eq!((web.ready.as_str(), web.replicas), ("2/2", 2));
    assert!(web.selector.contains("app.kubernetes.io/component=web,app.kubernetes.io/instance=shop"));
    assert_eq!(status.url.as_deref(), Some("http://shop-web.default.svc"));
}

#[test]
fn a_stack_that_starts() {
    let status = told(&cluster(json!({"mysql": {}}), mysql(0), web(0), false));
    insta::assert_snapshot!(lines(&status), @r"
    Ready=False DatabaseStarts: mysql: 0 of 1 Pods ready
    DatabaseReady=False DatabaseStarts: mysql: 0 of 1 Pods ready
    WebReady=False WaitsForDatabase: web: 0 of 2 Pods ready: they wait for the database
    Progressing=True DatabaseStarts: mysql: 0 of 1 Pods ready
    ");
}

#[test]
fn an_image_that_cannot_be_pulled_under_a_version_that_serves() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(1), web(2), true);
    observed.pods = vec![pod("web", json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "long"}}}))];
    insta::assert_snapshot!(lines(&told(&observed)), @r"
    Ready=False ImagePullBackOff: web: 2 of 2 Pods ready, but the new version does not come up: ImagePullBackOff tandem/web:typo
    DatabaseReady=True Serves: the database serves
    WebReady=False ImagePullBackOff: web: 2 of 2 Pods ready, but the new version does not come up: ImagePullBackOff tandem/web:typo
    Progressing=False ImagePullBackOff: web: 2 of 2 Pods ready, but the new version does not come up: ImagePullBackOff tandem/web:typo
    ");
}

#[rstest]
#[case::while_it_waits(json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3, "message": "first\nthe schema is odd\n"}}}))]
#[case::while_it_runs_again(json!({"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 3, "message": "the schema is odd"}}}))]
#[case::when_it_has_just_ended(json!({"state": {"terminated": {"exitCode": 3, "message": "the schema is odd"}}}))]
fn a_migration_that_fails(#[case] state: Value) {
    let mut observed = cluster(json!({"mysql": {}}), mysql(1), web(2), false);
    observed.pods = vec![pod("migration", state)];
    let said = told(&observed);
    assert_eq!(said.conditions[0].reason, "MigrationFails");
    let words = &said.conditions[0].message;
    assert!(
        words.starts_with("web: 2 of 2 Pods ready, but the new version does not come up: Job shop-migrate-"),
        "{words}"
    );
    assert!(words.ends_with(" fails: the schema is odd"), "{words}");
}

#[rstest]
#[case(json!({"exitCode": 1, "message": "first\n  the reason \n\n"}), "the reason")]
#[case(json!({"exitCode": 1}), "exit code 1")]
#[case(json!({"exitCode": 137, "message": "all was well"}), "ended by signal 9, after: all was well")]
#[case(json!({"exitCode": 139}), "ended by signal 11")]
#[case(json!({"exitCode": 255}), "exit code 255")]
#[case(json!({"exitCode": 137, "reason": "OOMKilled"}), "OOMKilled: it needed more than its memory limit")]
fn a_container_that_ended(#[case] ended: Value, #[case] cause: &str) {
    let mut observed = cluster(json!({"mysql": {}}), mysql(0), web(2), true);
    observed.pods = vec![pod("mysql", json!({"state": {"terminated": ended}}))];
    let status = told(&observed);
    assert_eq!(status.conditions[1].message, format!("mysql: 0 of 1 Pods ready: ContainerCrashed {cause}"));
}

#[test]
fn a_volume_that_cannot_be_made() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(0), web(2), true);
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"});
    observed.pods = vec![object(json!({
        "metadata": {"name": "shop-mysql-0", "labels": {"app.kubernetes.io/component": "mysql"}},
        "status": {"conditions": [condition]},
    }))];
    assert_eq!(told(&observed).conditions[0].reason, "Unschedulable");
    observed.live.claims = vec![object(json!({"metadata": {"name": "data-shop-mysql-0"}}))];
    observed.refusals = vec![("data-shop-mysql-0".to_owned(), "no such class".to_owned())];
    let ready = told(&observed).conditions[0].clone();
    assert_eq!(ready.reason, "VolumeMissing");
    assert_eq!(
        ready.message,
        "mysql: 0 of 1 Pods ready: VolumeMissing PersistentVolumeClaim data-shop-mysql-0: no such class"
    );
}

#[test]
fn a_secret_that_is_missing() {
    let observed = observed(stack(json!({"mysql": {"credentialsSecret": "other"}})), &[]);
    insta::assert_snapshot!(lines(&told(&observed)), @r"
    Ready=False ReferenceMissing: mysql: Secret other does not exist
    DatabaseReady=False ReferenceMissing: mysql: Secret other does not exist
    WebReady=False ReferenceMissing: web: Secret other does not exist
    Progressing=False ReferenceMissing: mysql: Secret other does not exist
    ");
}

#[test]
fn a_suspended_stack() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(0), web(0), true);
    observed.stack = Arc::new(stack(json!({"mysql": {}, "suspend": true})));
    let said = told(&observed);
    assert_eq!((said.conditions[0].reason.as_str(), said.web.unwrap().ready.as_str()), ("Suspended", "0/0"));
}

#[test]
fn what_the_api_server_refuses_is_told_in_its_words() {
    let observed = cluster(json!({"mysql": {}}), mysql(1), web(2), true);
    let refusal = kube::core::Status::failure("exceeded quota: small", "Forbidden").with_code(403);
    let error = apply::Error::Api {
        kind: "Deployment".to_owned(),
        name: "shop-web".to_owned(),
        source: Box::new(kube::Error::Api(Box::new(refusal))),
    };
    let said = status(&observed, &validate(&observed), &[], Some(&error), at(NOW));
    assert_eq!(said.conditions[0].reason, "QuotaExceeded");
    assert!(said.conditions[0].message.starts_with("Deployment shop-web: "), "{}", said.conditions[0].message);
    assert_eq!((said.conditions[1].status.as_str(), said.conditions[2].status.as_str()), ("True", "False"));
}

#[test]
fn a_condition_keeps_the_time_when_it_became_so() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(1), web(2), true);
    let before = told(&observed);
    let mut known = (*observed.stack).clone();
    known.status = Some(before.clone());
    observed.stack = Arc::new(known);
    let later = status(&observed, &validate(&observed), &[], None, at(NOW + 60));
    assert_eq!(later, before, "nothing is written while nothing changes");
    observed.live.deployments[0].status = Some(object(web(1)));
    let worse = status(&observed, &validate(&observed), &[], None, at(NOW + 90));
    assert_eq!(worse.conditions[0].last_transition_time.0, at(NOW + 90));
    assert_eq!(worse.conditions[1].last_transition_time.0, at(NOW), "the database is as it was");
}

#[test]
fn a_new_stack_that_takes_its_time_is_told_of_once() {
    let observed = cluster(json!({"mysql": {}}), mysql(0), web(0), true);
    let changes = [Change { action: "Created", kind: "Deployment".to_owned(), name: "shop-web".to_owned() }];
    let told = events(&observed, &told(&observed), &changes);
    assert_eq!(told.into_iter().map(|event| event.reason).collect::<Vec<_>>(), ["Created"]);
}

#[test]
fn events_tell_changes_and_a_new_reason_once() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(1), web(2), true);
    let changes = [Change { action: "Updated", kind: "Deployment".to_owned(), name: "shop-web".to_owned() }];
    let mut known = (*observed.stack).clone();
    known.status = Some(told(&observed));
    observed.stack = Arc::new(known);
    observed.pods = vec![pod("web", json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}}))];
    let now = told(&observed);
    let reasons = |observed: &Observed, changes: &[Change]| -> Vec<String> {
        events(observed, &now, changes).into_iter().map(|event| event.reason).collect()
    };
    assert_eq!(reasons(&observed, &changes), ["Updated", "ImagePullBackOff"]);
    let mut known = (*observed.stack).clone();
    known.status = Some(now.clone());
    observed.stack = Arc::new(known);
    assert!(reasons(&observed, &[]).is_empty());
}

#[rstest]
#[case(json!({"ingress": {"host": "shop.example.com"}}), "http://shop.example.com")]
#[case(json!({"ingress": {"host": "shop.example.com", "tlsSecret": "tls"}}), "https://shop.example.com")]
#[case(json!({"service": {"port": 8080}}), "http://shop-web.default.svc:8080")]
fn the_url_is_where_the_pages_are(#[case] web_spec: Value, #[case] url: &str) {
    let observed = cluster(json!({"mysql": {}, "web": web_spec}), mysql(1), web(2), true);
    assert_eq!(told(&observed).url.as_deref(), Some(url));
}
