//! What a user is told, for each state of a stack.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::sync::Arc;
use std::time::Duration;

use fixture::{built, object, observed, stack};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tandem_operator::controller::apply::{self, Change};
use tandem_operator::controller::keeper::{Behind, Failover, Report, Told};
use tandem_operator::controller::observe::Observed;
use tandem_operator::controller::references::Kind;
use tandem_operator::controller::report::{events, status};
use tandem_operator::controller::storage::Usage;
use tandem_operator::controller::validate::validate;
use tandem_operator::crd::WebStackStatus;
use tandem_operator::group::gtid::GtidSet;
use tandem_operator::group::{Condition, State, Word};

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

/// Every reason that comes of it must be explained to people.
fn told(observed: &Observed) -> WebStackStatus {
    let status = status(observed, &validate(observed), &[], None, at(NOW));
    let pages = ["kubernetes.md", "high-availability.md"]
        .map(|page| std::fs::read_to_string(format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap());
    let is_explained = |reason: &str| {
        let named = format!("`{reason}`");
        let in_table = |line: &str| line.starts_with("| `") && line.split('|').nth(1).unwrap().contains(&named);
        pages.iter().flat_map(|page| page.lines()).any(in_table)
    };
    for condition in &status.conditions {
        assert!(is_explained(&condition.reason), "no table in docs/ has {}: {}", condition.reason, condition.message);
    }
    status
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
    StorageLow=Unknown NotMeasured: how full the volumes are is not known yet
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
    StorageLow=Unknown NotMeasured: how full the volumes are is not known yet
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
    StorageLow=Unknown NotMeasured: how full the volumes are is not known yet
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

#[test]
fn a_migration_that_waits_for_the_end_of_another_one() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(1), web(2), false);
    observed.stack = Arc::new(stack(json!({"mysql": {}, "web": {"image": "tandem/web:2"}})));
    // The other one's trouble is not the new one's.
    observed.pods = vec![pod("migration", json!({"state": {"waiting": {"reason": "ErrImagePull"}}}))];
    let words = "an earlier migration has to stop before the next one runs";
    assert_eq!(told(&observed).conditions[3].message, format!("web: {words}"));
    observed.live.deployments[0].status = Some(object(web(1)));
    assert_eq!(told(&observed).conditions[0].message, format!("web: 1 of 2 Pods ready: {words}"));
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
    StorageLow=Unknown NotMeasured: how full the volumes are is not known yet
    ");
}

#[test]
fn a_password_that_was_emptied_leaves_the_database_as_it_is() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(1), web(2), true);
    for content in observed.contents.values_mut().flatten() {
        content.empty.insert("password".to_owned());
    }
    assert!(built(&observed).objects.stateful_sets.is_empty() && built(&observed).objects.deployments.is_empty());
    assert_eq!(told(&observed).conditions[0].message, "mysql: Secret shop-mysql has an empty password");
}

#[test]
fn a_suspended_stack() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(0), web(0), true);
    observed.stack = Arc::new(stack(json!({"mysql": {}, "suspend": true})));
    let said = told(&observed);
    assert_eq!((said.conditions[0].reason.as_str(), said.web.unwrap().ready.as_str()), ("Suspended", "0/0"));
}

#[test]
fn what_is_missing_is_told_until_a_suspended_stack_has_no_pods() {
    let env = json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}]);
    let mut observed = cluster(json!({"mysql": {}}), mysql(1), web(2), true);
    observed.stack = Arc::new(stack(json!({"mysql": {}, "web": {"env": env}, "suspend": true})));
    let told_of_web = |observed: &Observed| told(observed).conditions[2].message.clone();
    assert_eq!(told_of_web(&observed), "web: Secret token does not exist");
    observed.live.deployments[0].status = Some(object(web(0)));
    assert_eq!(told_of_web(&observed), "web: suspended");
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

/// A group of three whose keeper has told this.
fn group(condition: Condition, primary: Option<u32>, change: impl FnOnce(&mut Report)) -> Observed {
    let mut observed = cluster(json!({"mysql": {"instances": 3}}), mysql(3), web(2), true);
    let missing = match &condition {
        Condition::Degraded(missing) => missing.clone(),
        _ => Default::default(),
    };
    let state = |member: &u32| (!missing.contains(member)).then_some(State::Online);
    let mut report = Report {
        wanted: 3,
        condition,
        primary,
        members: (0..3)
            .map(|member| {
                let state = state(&member);
                (member, Told { state, inside: state.is_some(), ..Told::default() })
            })
            .collect(),
        known: [0, 1, 2].into(),
        uuid: None,
        apart: Default::default(),
        unheard: None,
        outdated: Default::default(),
        leaving: None,
        followed: Default::default(),
        needless: Default::default(),
        candidates: Default::default(),
        failure: None,
        failover: None,
    };
    change(&mut report);
    observed.group = Some(report);
    let set = json!({"observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updateRevision": "b"});
    observed.live.stateful_sets[0].status = Some(object(set));
    observed.live.jobs = built(&observed).objects.jobs;
    for job in &mut observed.live.jobs {
        job.status = Some(object(json!({"succeeded": 1})));
    }
    observed
}

const GTIDS: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";

/// How long the UUID is in it, with its colon.
const UUID: usize = 37;

#[test]
fn a_group_that_is_whole() {
    let behind = |report: &mut Report| {
        report.members.get_mut(&2).unwrap().behind = Some(Behind { seconds: 4, transactions: 70 });
    };
    let told = told(&group(Condition::Healthy, Some(1), behind));
    insta::assert_snapshot!(lines(&told), @r"
    Ready=True Serves: both tiers serve
    DatabaseReady=True Serves: the database serves
    WebReady=True Serves: the web tier serves
    Progressing=False UpToDate: everything is as the spec says
    Degraded=False AllMembersOnline: every member is in the group
    Blocked=False NothingToDecide: nobody has to decide anything
    StorageLow=Unknown NotMeasured: how full the volumes are is not known yet
    ");
    let mysql = told.mysql.unwrap();
    assert_eq!((mysql.ready.as_str(), mysql.primary.as_deref()), ("3/3", Some("shop-mysql-1")));
    let roles: Vec<_> = mysql.members.iter().filter_map(|member| member.role.as_deref()).collect();
    assert_eq!(roles, ["replica", "primary", "replica"]);
    let behind: Vec<_> = mysql.members.iter().map(|member| member.lag_seconds.zip(member.gtid_gap)).collect();
    assert_eq!(behind, [None, None, Some((4, 70))]);
    assert_eq!(mysql.known, ["shop-mysql-0", "shop-mysql-1", "shop-mysql-2"]);
}

#[test]
fn a_group_that_lacks_a_member_serves_and_says_so() {
    let failing = |report: &mut Report| report.failure = Some("letting shop-mysql-2 join: no such host".to_owned());
    let told = told(&group(Condition::Degraded([2].into()), Some(1), failing));
    insta::assert_snapshot!(lines(&told), @r"
    Ready=True Serves: both tiers serve
    DatabaseReady=True Serves: the database serves
    WebReady=True Serves: the web tier serves
    Progressing=True RollingUpdate: mysql: on the way into the group: shop-mysql-2
    Degraded=True MembersMissing: not in the group: shop-mysql-2; letting shop-mysql-2 join: no such host
    Blocked=False NothingToDecide: nobody has to decide anything
    StorageLow=Unknown NotMeasured: how full the volumes are is not known yet
    ");
    assert_eq!(told.mysql.unwrap().ready, "2/3");
}

#[test]
fn members_that_are_wanted_since_a_moment_ago_are_missing() {
    let before = |report: &mut Report| report.wanted = 1;
    let told = told(&group(Condition::Healthy, Some(0), before));
    assert_eq!(told.mysql.as_ref().unwrap().ready, "1/3");
    let lines = lines(&told);
    assert!(lines.contains("Degraded=True MembersMissing: not in the group: shop-mysql-1, shop-mysql-2"), "{lines}");
    assert!(lines.contains("Progressing=True RollingUpdate: mysql: on the way into the group"), "{lines}");
}

#[test]
fn a_pod_of_an_older_version_is_still_to_be_replaced() {
    let mut observed = group(Condition::Healthy, Some(0), |_| {});
    let labels = json!({"app.kubernetes.io/component": "mysql", "controller-revision-hash": "a"});
    let mut pod: Pod = object(json!({}));
    pod.metadata = object(json!({"name": "shop-mysql-2", "labels": labels}));
    observed.pods.push(pod);
    let lines = lines(&told(&observed));
    assert!(lines.contains("Progressing=True RollingUpdate: mysql: StatefulSet shop-mysql is rolling"), "{lines}");
}

#[test]
fn the_last_change_of_the_primary_is_told_and_stays() {
    let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let took = Duration::from_millis(6800);
    let changed = |report: &mut Report| report.failover = Some(Failover { from: 0, to: 1, at, took });
    let mut observed = group(Condition::Healthy, Some(1), changed);
    let status = told(&observed);
    let last = status.mysql.clone().unwrap().last_failover.unwrap();
    assert_eq!((last.from.as_str(), last.to.as_str()), ("shop-mysql-0", "shop-mysql-1"));
    assert_eq!((last.time.as_str(), last.milliseconds), ("2026-01-31T12:00:00Z", 6800));
    // Another operator, which has not seen it.
    observed.group.as_mut().unwrap().failover = None;
    let mut stack = (*observed.stack).clone();
    stack.status = Some(status);
    observed.stack = stack.into();
    assert_eq!(told(&observed).mysql.unwrap().last_failover, Some(last));
}

#[test]
fn a_member_with_transactions_of_its_own_is_told_with_the_way_out() {
    let errant = |report: &mut Report| {
        report.members.get_mut(&2).unwrap().errant = Some(GTIDS.parse().unwrap());
    };
    let told = told(&group(Condition::Degraded([2].into()), Some(1), errant));
    insta::assert_snapshot!(lines(&told), @r"
    Ready=True Serves: both tiers serve
    DatabaseReady=True Serves: the database serves
    WebReady=True Serves: the web tier serves
    Progressing=True RollingUpdate: mysql: waits for a decision about shop-mysql-2
    Degraded=True MembersMissing: not in the group: shop-mysql-2
    Blocked=True MembersErrant: shop-mysql-2 has transactions that the group has not: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5; it stays out until the annotation tandem.dev/reclone gives them up
    StorageLow=Unknown NotMeasured: how full the volumes are is not known yet
    ");
    assert_eq!(told.mysql.unwrap().members[2].errant.as_deref(), Some(GTIDS));
}

/// The same, with what was told of it before as its status.
fn after(mut observed: Observed, before: WebStackStatus) -> Observed {
    let mut stack = (*observed.stack).clone();
    stack.status = Some(before);
    observed.stack = Arc::new(stack);
    observed
}

fn reasons(observed: &Observed) -> Vec<String> {
    events(observed, &told(observed), &[]).into_iter().map(|event| event.reason).collect()
}

#[test]
fn what_a_person_has_to_know_of_a_group_that_serves_is_an_event_once() {
    let well = || told(&group(Condition::Healthy, Some(1), |_| {}));
    let errant = |observed: &mut Report| observed.members.get_mut(&2).unwrap().errant = Some(GTIDS.parse().unwrap());
    let is_errant = || group(Condition::Degraded([2].into()), Some(1), errant);
    assert_eq!(reasons(&after(is_errant(), well())), ["MembersErrant"]);
    assert!(reasons(&after(is_errant(), told(&is_errant()))).is_empty());
    let followed = |needless: &[Word]| {
        group(Condition::Healthy, Some(1), |report| {
            (report.followed, report.needless) = ([Word::Reclone(2)].into(), needless.iter().copied().collect());
        })
    };
    assert_eq!(reasons(&after(followed(&[]), well())), ["DecisionFollowed"]);
    assert_eq!(reasons(&after(followed(&[Word::Reclone(2)]), well())), ["DecisionNotNeeded"]);
    assert!(reasons(&after(followed(&[]), told(&followed(&[])))).is_empty());
    let refused = || group(Condition::Lost([0, 1].into()), None, |report| report.unheard = Some(Word::Survivor(0)));
    let lost = || told(&group(Condition::Lost([0, 1].into()), None, |_| {}));
    assert_eq!(reasons(&after(refused(), lost())), ["DecisionRefused"]);
    assert!(reasons(&after(refused(), told(&refused()))).is_empty());
    let known =
        |known: &[u32]| group(Condition::Healthy, Some(1), |report| report.known = known.iter().copied().collect());
    let now = after(known(&[0, 2]), told(&known(&[1, 2])));
    let notes: Vec<_> =
        events(&now, &told(&now), &[]).into_iter().map(|event| (event.reason, event.note.unwrap())).collect();
    let event = |reason: &str, note: &str| (reason.to_owned(), note.to_owned());
    let joined = event("MembersJoined", "in the group now: shop-mysql-0");
    assert_eq!(notes, [joined, event("MembersLeft", "not in the group any more: shop-mysql-1")]);
    let split = || group(Condition::Split([1, 2].into()), Some(1), |_| {});
    assert_eq!(reasons(&after(split(), well())), ["TwoGroups"]);
    assert!(reasons(&after(split(), told(&split()))).is_empty());
}

#[test]
fn who_was_in_another_group_is_told_and_remembered() {
    let observed = group(Condition::Degraded([2].into()), Some(1), |report| {
        report.apart = [2].into();
        report.members.get_mut(&2).unwrap().errant = Some(Default::default());
    });
    let words = "Blocked=True MembersErrant: shop-mysql-2 was in another group, and may have other rows under \
        the numbers of this one; it stays out until";
    assert!(lines(&told(&observed)).contains(words), "{}", lines(&told(&observed)));
    assert_eq!(told(&observed).mysql.unwrap().apart, ["shop-mysql-2"]);
    let split = lines(&told(&group(Condition::Split([1, 2].into()), Some(1), |_| {})));
    let words = "TwoGroups: mysql: there are several groups: clients are led to that of shop-mysql-1; stop that of shop-mysql-2, or";
    assert!(split.contains(words), "{split}");
    let split = lines(&told(&group(Condition::Split([1, 2].into()), None, |_| {})));
    assert!(split.contains("clients are led to none of them; stop that of shop-mysql-1, shop-mysql-2, or"), "{split}");
}

#[test]
fn a_new_primary_after_a_time_without_one_is_an_event() {
    let out = || told(&group(Condition::NoQuorum, None, |_| {}));
    let back = |from: u32, to: u32| {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let failover = (from != to).then(|| Failover { from, to, at, took: Duration::from_secs(60) });
        after(group(Condition::Healthy, Some(to), |report| report.failover = failover), out())
    };
    assert_eq!(reasons(&back(0, 1)), ["PrimaryChanged", "Serves"]);
    assert_eq!(reasons(&back(1, 1)), ["Serves"]);
}

#[test]
fn an_annotation_that_names_no_member_is_told_with_the_names_that_there_are() {
    let mut observed = group(Condition::Healthy, Some(1), |_| {});
    let mut stack = (*observed.stack).clone();
    stack.metadata.annotations = Some([("tandem.dev/primary".to_owned(), "1".to_owned())].into());
    observed.stack = Arc::new(stack);
    let said = lines(&told(&observed));
    let words = "Blocked=True AnnotationInvalid: annotation tandem.dev/primary is \"1\", and must be one of: \
        shop-mysql-0, shop-mysql-1, shop-mysql-2";
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_word_that_cannot_be_followed_is_told_with_its_reason() {
    let waits = |silent: bool| {
        let said = lines(&told(&group(Condition::Lost([0, 1].into()), None, |report| {
            report.unheard = Some(Word::Survivor(0));
            report.candidates = if silent { Default::default() } else { [1, 2].into() };
            report.members.get_mut(&0).unwrap().state = (!silent).then_some(State::Offline);
        })));
        said.lines().next().unwrap().to_owned()
    };
    let silent =
        "tandem.dev/force-quorum=shop-mysql-0 is not followed: it does not answer; nobody who may be named answers yet";
    assert!(waits(true).ends_with(silent), "{}", waits(true));
    let bereft = "is about to end, or has no data where others may have some; it may name shop-mysql-1, shop-mysql-2";
    assert!(waits(false).ends_with(bereft), "{}", waits(false));
    let lost = "shop-mysql-0, shop-mysql-1 have lost their data: ";
    assert!(
        waits(true).contains(&format!("{lost}bring back shop-mysql-0, which may have more, or ")),
        "{}",
        waits(true)
    );
    assert!(!waits(false).contains("bring back"), "{}", waits(false));
}

#[test]
fn nobody_decides_where_the_spec_does() {
    let mut observed = group(Condition::Degraded([2].into()), Some(1), |report| {
        report.members.get_mut(&2).unwrap().errant = Some(GTIDS.parse().unwrap());
        report.failure = Some("keeping aside what shop-mysql-2 has: no room".to_owned());
    });
    observed.stack = Arc::new(stack(json!({"mysql": {"instances": 3, "recloneErrant": true}})));
    let said = lines(&told(&observed));
    assert!(said.contains("Degraded=True MembersMissing: not in the group: shop-mysql-2; keeping aside"), "{said}");
    assert!(said.contains("Blocked=False NothingToDecide"), "{said}");
}

/// Three members on volumes of 10Gi, of which these percentages are used; the status is what was told before.
fn storage(spec: Value, used: [i32; 3], before: Option<WebStackStatus>) -> Observed {
    let capacity = 10_000 << 30;
    let mut observed = group(Condition::Healthy, Some(0), |report| {
        for (told, percent) in report.members.values_mut().zip(used) {
            told.used = Some(Usage { percent, capacity });
        }
    });
    let mut stack = stack(json!({"mysql": {"instances": 3, "storage": spec}}));
    stack.status = before;
    observed.stack = Arc::new(stack);
    observed
}

#[rstest]
#[case::room(json!({}), [79, 10, 0], "False StorageSuffices: every volume has room")]
#[case::little(json!({}), [79, 80, 91], "True VolumesFill: shop-mysql-1 uses 80 % of its volume, shop-mysql-2 uses 91 % of \
    its volume; raise spec.mysql.storage.size, or set autoGrow there")]
#[case::it_grows(json!({"autoGrow": {"limit": "20Gi"}}), [85, 79, 79],
    "True VolumesGrow: shop-mysql-0 uses 85 % of its volume; all volumes grow to 15Gi")]
#[case::it_has_grown(json!({"autoGrow": {"limit": "10Gi"}}), [85, 79, 79],
    "True LimitReached: shop-mysql-0 uses 85 % of its volume; the volumes have grown to spec.mysql.storage.autoGrow.limit")]
fn a_volume_that_is_nearly_full(#[case] spec: Value, #[case] used: [i32; 3], #[case] expected: &str) {
    let told = told(&storage(spec, used, None));
    let lines = lines(&told);
    assert!(lines.ends_with(&format!("StorageLow={expected}")), "{lines}");
    assert_eq!(told.mysql.unwrap().members[0].used, Some(used[0]));
    let reason = expected.split(&[' ', ':']).nth(1).unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/high-availability.md");
    assert!(std::fs::read_to_string(page).unwrap().contains(&format!("| `{reason}` |")), "{reason}");
}

#[test]
fn that_a_volume_is_nearly_full_is_told_once_and_until_there_is_room() {
    let mut before = None;
    let mut seen = Vec::new();
    for used in [79, 80, 79, 75, 81, 74, 79] {
        let observed = storage(json!({}), [used, 0, 0], before);
        let now = told(&observed);
        let low = now.conditions.iter().any(|condition| condition.type_ == "StorageLow" && condition.status == "True");
        let events = events(&observed, &now, &[]).iter().filter(|event| event.reason == "StorageLow").count();
        seen.push((low, events));
        before = Some(now);
    }
    let is = |low, events| (low, events);
    assert_eq!(seen, [is(false, 0), is(true, 1), is(true, 0), is(true, 0), is(true, 0), is(false, 0), is(false, 0)]);
}

#[test]
fn an_operator_that_has_just_begun_keeps_what_was_said_of_the_volumes() {
    let before = told(&storage(json!({}), [90, 0, 0], None));
    let mut observed = storage(json!({}), [0, 0, 0], Some(before.clone()));
    observed.group = None;
    assert_eq!(told(&observed).conditions.last(), before.conditions.last());
}

#[test]
fn a_server_that_runs_alone_has_a_volume_too() {
    let mut observed = cluster(json!({"mysql": {}}), mysql(1), web(2), true);
    observed.used_alone = Some(Usage { percent: 85, capacity: 10_000 << 30 });
    let mut said = told(&observed);
    let low = "StorageLow=True VolumesFill: shop-mysql-0 uses 85 % of its volume; raise spec.mysql.storage.size";
    assert!(lines(&said).contains(low), "{}", lines(&said));
    // An operator that has just begun keeps what was said.
    let mut stack = (*observed.stack).clone();
    stack.status = Some(said.clone());
    (observed.stack, observed.used_alone) = (Arc::new(stack), None);
    for now in [said.clone(), told(&observed)] {
        let member = now.mysql.unwrap().members.remove(0);
        assert_eq!((member.name.as_str(), member.state.as_str()), ("shop-mysql-0", "ALONE"));
        assert_eq!((member.role.as_deref(), member.used), (Some("primary"), Some(85)));
    }
    assert_eq!(told(&observed).conditions.pop(), said.conditions.pop());
}

#[test]
fn what_cannot_be_done_is_told_also_while_every_member_is_well() {
    let failing = |report: &mut Report| report.failure = Some("making shop-mysql-2 the primary: no".to_owned());
    let lines = lines(&told(&group(Condition::Healthy, Some(1), failing)));
    let told = "Progressing=True RollingUpdate: mysql: making shop-mysql-2 the primary: no";
    assert!(lines.contains(told), "{lines}");
}

#[test]
fn a_group_to_which_writes_cannot_be_led_does_not_serve_and_says_why() {
    let refused = |report: &mut Report| report.failure = Some("Service shop-mysql: denied by a policy".to_owned());
    let lines = lines(&told(&group(Condition::Healthy, None, refused)));
    let told =
        "DatabaseReady=False ClientsNotLed: mysql: writes are not led to the primary; Service shop-mysql: denied";
    assert!(lines.contains(told), "{lines}");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/high-availability.md");
    assert!(std::fs::read_to_string(page).unwrap().contains("| `ClientsNotLed` |"));
}

#[test]
fn a_keeper_that_cannot_ask_the_members_says_why() {
    let mut observed = group(Condition::Healthy, Some(1), |_| {});
    (observed.group, observed.unasked) = (None, Some("Secret shop-mysql-group: forbidden".to_owned()));
    let lines = lines(&told(&observed));
    let why = "the members have not been asked yet: Secret shop-mysql-group: forbidden";
    assert!(lines.contains(&format!("DatabaseReady=False DatabaseStarts: mysql: {why}")), "{lines}");
    assert!(lines.contains(&format!("Degraded=Unknown NotAsked: {why}")), "{lines}");
}

#[test]
fn what_cannot_be_read_leaves_its_readers_as_they_are_and_is_told() {
    let theirs = json!({"configMapRef": {"name": "theirs", "optional": true}});
    let spec = |env_from: &Value| json!({"mysql": {}, "web": {"envFrom": [env_from]}});
    let mut observed = cluster(spec(&theirs), mysql(1), web(2), true);
    observed.unread.insert((Kind::ConfigMap, "theirs".to_owned()), "no answer".to_owned());
    let lines_of = |observed: &Observed| lines(&told(observed));
    let told = lines_of(&observed);
    assert!(
        told.contains("WebReady=False ReferenceUnreadable: web: ConfigMap theirs cannot be read: no answer"),
        "{told}"
    );
    assert!(told.contains("DatabaseReady=True"), "{told}");
    let objects = built(&observed).objects;
    assert_eq!((objects.stateful_sets.len(), objects.deployments.len(), objects.jobs.len()), (1, 0, 0));
    // Passwords that may be there are not made anew.
    observed.contents.clear();
    assert!(observed.lacks("shop-mysql"));
    observed.unread.insert((Kind::Secret, "shop-mysql".to_owned()), "no answer".to_owned());
    assert!(!observed.lacks("shop-mysql") && !observed.exists("shop-mysql"));
    let told = lines_of(&observed);
    assert!(told.contains("DatabaseReady=False ReferenceUnreadable: mysql: Secret shop-mysql"), "{told}");
    let objects = built(&observed).objects;
    assert_eq!((objects.secrets.len(), objects.stateful_sets.len(), objects.deployments.len()), (0, 0, 0));
}

#[rstest]
#[case::new(Condition::New, "GroupForms")]
#[case::unclear(Condition::Unclear, "PrimaryUnclear")]
#[case::no_quorum(Condition::NoQuorum, "QuorumLost")]
#[case::outage(Condition::Outage([2].into()), "WaitsForMembers")]
#[case::outage_that_ends(Condition::Outage([].into()), "GroupForms")]
#[case::diverged(Condition::Diverged([(0, GTIDS.parse().unwrap())].into()), "MembersDiverged")]
#[case::lost(Condition::Lost([0, 2].into()), "DataLost")]
#[case::split(Condition::Split([0, 2].into()), "TwoGroups")]
#[case::given_up(Condition::GivenUp(2), "GroupGivenUp")]
fn a_group_that_does_not_serve(#[case] condition: Condition, #[case] reason: &str) {
    let status = told(&group(condition, None, |_| {}));
    let of = |type_: &str| {
        let found = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        (found.status.clone(), found.reason.clone())
    };
    assert_eq!(of("DatabaseReady"), ("False".to_owned(), reason.to_owned()));
    assert_eq!(of("Degraded"), ("True".to_owned(), reason.to_owned()));
    let decide = ["QuorumLost", "MembersDiverged", "DataLost", "TwoGroups", "GroupGivenUp"].contains(&reason);
    assert_eq!(of("Blocked").0 == "True", decide);
    // The table of all states names it.
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/high-availability.md");
    assert!(std::fs::read_to_string(page).unwrap().contains(&format!("| `{reason}` |")), "{reason}");
}

/// Three members of which nobody has everything: the numbers of the transactions that each one lacks.
fn diverged(lacking: [&str; 3]) -> Observed {
    let gtids = |numbers: &str| format!("{}{numbers}", &GTIDS[..UUID]).parse::<GtidSet>().unwrap();
    let lacks = (0..).zip(lacking.map(gtids)).collect();
    group(Condition::Diverged(lacks), None, |report| {
        report.candidates = [0, 1, 2].into();
        for told in report.members.values_mut() {
            (told.state, told.inside) = (Some(State::Offline), false);
        }
    })
}

#[test]
fn where_nobody_has_everything_it_is_told_who_alone_has_what() {
    let observed = diverged(["60-61", "50", "50:60-61"]);
    let status = told(&observed);
    let message = |status: &WebStackStatus| {
        let blocked = status.conditions.iter().find(|condition| condition.type_ == "Blocked").unwrap();
        blocked.message.replace(&GTIDS[..UUID], ":")
    };
    let expected = "mysql: no member has all transactions: only shop-mysql-0 has :50, and it lacks :60-61; \
        only shop-mysql-1 has :60-61, and it lacks :50; shop-mysql-2 lacks :50:60-61; decide by the annotation \
        tandem.dev/force-quorum with the name of the Pod whose data counts; it may name shop-mysql-0, shop-mysql-1, \
        shop-mysql-2";
    assert_eq!(message(&status), expected);
    let own = |status: &WebStackStatus| -> Vec<Option<String>> {
        let members = status.mysql.iter().flat_map(|mysql| &mysql.members);
        members.map(|member| member.errant.as_ref().map(|own| own.replace(&GTIDS[..UUID], ":"))).collect()
    };
    assert_eq!(own(&status), [Some(":50".to_owned()), Some(":60-61".to_owned()), None]);
    // What two of three have, none has alone.
    let in_turn = told(&diverged(["1", "2", "3"]));
    let expected = "shop-mysql-0 lacks :1; shop-mysql-1 lacks :2; shop-mysql-2 lacks :3; decide by";
    assert!(message(&in_turn).contains(expected), "{}", message(&in_turn));
    assert_eq!(own(&in_turn), [None, None, None]);
    // While there is no group, nobody is kept out of it; who is later is told then.
    let well = told(&group(Condition::Healthy, Some(1), |_| {}));
    assert_eq!(reasons(&after(observed, well)), ["MembersDiverged"]);
    let errant = |report: &mut Report| report.members.get_mut(&1).unwrap().errant = Some(GTIDS.parse().unwrap());
    let formed = reasons(&after(group(Condition::Degraded([1].into()), Some(0), errant), status));
    assert!(formed.contains(&"MembersErrant".to_owned()), "{formed:?}");
}

#[test]
fn an_event_says_no_more_than_the_api_server_takes() {
    let well = told(&group(Condition::Healthy, Some(1), |_| {}));
    let observed = after(diverged(["60-61", "50", "50:60-61"]), well);
    let mut long = told(&observed);
    for condition in &mut long.conditions {
        condition.message = "é".repeat(600);
    }
    let notes: Vec<_> = events(&observed, &long, &[]).into_iter().filter_map(|event| event.note).collect();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].len() <= 1024 && notes[0].ends_with("é…"), "{}", notes[0]);
}

#[test]
fn whoever_waits_for_members_is_told_what_to_do_if_they_never_come() {
    let message = |candidates: &[u32]| {
        let outage = group(Condition::Outage([2].into()), None, |report| {
            report.candidates = candidates.iter().copied().collect()
        });
        told(&outage).conditions.into_iter().find(|condition| condition.type_ == "Degraded").unwrap().message
    };
    assert_eq!(message(&[]), "mysql: waits for an answer of shop-mysql-2");
    let told = "mysql: waits for an answer of shop-mysql-2; if one never comes, decide by the annotation tandem.dev/force-quorum with \
                the name of the Pod whose data counts; it may name shop-mysql-0, shop-mysql-1";
    assert_eq!(message(&[0, 1]), told);
}

#[test]
fn another_primary_is_an_event() {
    let mut observed = group(Condition::Healthy, Some(1), |_| {});
    let before = told(&group(Condition::Healthy, Some(0), |_| {}));
    let mut known = (*observed.stack).clone();
    known.status = Some(before);
    observed.stack = Arc::new(known);
    let told = events(&observed, &told(&observed), &[]);
    let told: Vec<_> = told.into_iter().map(|event| (event.reason, event.note.unwrap())).collect();
    let note = "shop-mysql-1 takes writes, in the place of shop-mysql-0";
    assert_eq!(told, [("PrimaryChanged".to_owned(), note.to_owned())]);
}

#[test]
fn until_there_are_news_the_last_ones_count() {
    let mut observed = group(Condition::Healthy, Some(1), |_| {});
    let before = told(&observed);
    let mut known = (*observed.stack).clone();
    known.status = Some(before.clone());
    observed.stack = Arc::new(known);
    observed.group = None;
    let now = told(&observed);
    assert_eq!(now.mysql, before.mysql);
    assert_eq!(now.conditions[..4], before.conditions[..4]);
}

#[test]
fn whoever_is_not_wanted_any_more_is_on_the_way_out() {
    let mut observed = group(Condition::Healthy, Some(0), |report| report.wanted = 1);
    observed.stack = Arc::new(stack(json!({"mysql": {"instances": 1}})));
    // By the volume it is known that it was a group.
    observed.live.claims.push(object(json!({"metadata": {"name": "data-shop-mysql-1"}})));
    let lines = lines(&told(&observed));
    let words = "RollingUpdate: mysql: on the way out of the group: shop-mysql-1, shop-mysql-2";
    assert!(lines.contains(words), "{lines}");
}

#[test]
fn fewer_instances_wait_for_a_member_that_is_missing_and_it_is_said_for_whom() {
    let fewer = |change: &dyn Fn(&mut Report)| {
        let mut observed = group(Condition::Degraded([0].into()), Some(1), |report| {
            report.wanted = 1;
            change(report);
        });
        observed.stack = Arc::new(stack(json!({"mysql": {"instances": 1}})));
        // By the volume it is known that it was a group.
        observed.live.claims.push(object(json!({"metadata": {"name": "data-shop-mysql-1"}})));
        lines(&told(&observed))
    };
    let failing = fewer(&|report: &mut Report| report.failure = Some("letting shop-mysql-0 join: no".to_owned()));
    let waits = "shop-mysql-0; fewer instances wait until shop-mysql-0 is back";
    let degraded = format!("Degraded=True MembersMissing: not in the group: {waits}; letting shop-mysql-0 join: no");
    assert!(failing.contains(&degraded), "{failing}");
    assert!(failing.contains(&format!("RollingUpdate: mysql: on the way into the group: {waits}")), "{failing}");
    let errant =
        fewer(&|report: &mut Report| report.members.get_mut(&0).unwrap().errant = Some(GTIDS.parse().unwrap()));
    assert!(errant.contains(&format!("RollingUpdate: mysql: waits for a decision about {waits}")), "{errant}");
    // Who is missing is not wanted any more either: the keeper has not looked since.
    let nobody = fewer(&|report: &mut Report| report.condition = Condition::Degraded([2].into()));
    assert!(!nobody.contains("fewer instances wait"), "{nobody}");
}

#[test]
fn of_two_groups_the_members_of_the_one_that_clients_are_led_to_are_counted() {
    let split = |inside: &[u32]| {
        let observed = group(Condition::Split([0, 2].into()), Some(0), |report| {
            report.members.iter_mut().for_each(|(member, told)| told.inside = inside.contains(member));
        });
        told(&observed).mysql.unwrap().ready
    };
    assert_eq!([split(&[0, 1]), split(&[])], ["2/3", "1/3"]);
}

#[test]
fn another_group_waits_for_a_person_and_is_not_being_formed() {
    let lines = lines(&told(&group(Condition::Split([0, 2].into()), Some(0), |_| {})));
    assert!(lines.contains("RollingUpdate: mysql: there is another group: a person has to decide"), "{lines}");
}
