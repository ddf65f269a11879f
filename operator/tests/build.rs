//! What is built from a spec, object by object, and what it depends on.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use std::collections::BTreeMap;
use std::sync::Arc;

use fixture::{admitted, built, object, observed, stack};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Resource, ResourceExt};
use rstest::rstest;
use serde::Serialize;
use serde_json::{Value, json};
use tandem_operator::controller::build::{generated_secret, migration};
use tandem_operator::controller::keeper::{Report, Told};
use tandem_operator::controller::objects::Objects;
use tandem_operator::controller::observe::Observed;
use tandem_operator::controller::references::{Content, Kind};
use tandem_operator::controller::storage::Usage;
use tandem_operator::crd::{MysqlStatus, WebStack, WebStackStatus};
use tandem_operator::group::{Condition, State};
use tandem_operator::names::CONFIG;

/// The WebStack of a file in `manifests/examples`, as a cluster would hold it.
fn example(file: &str) -> WebStack {
    let path = format!("{}/../manifests/examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let document = text.split("\n---\n").find(|document| document.contains("kind: WebStack")).unwrap();
    admitted(serde_saphyr::from_str(document).unwrap())
}

/// All objects as YAML, in the order in which they are applied.
fn yaml(objects: Objects) -> String {
    fn kind<K: Resource<DynamicType = ()> + Serialize>(objects: &[K], text: &mut String) {
        for object in objects {
            let body = serde_saphyr::to_string(object).unwrap();
            text.push_str(&format!("--- # {} {}\n{body}", K::kind(&()), object.name_any()));
        }
    }
    let Objects {
        service_accounts,
        config_maps,
        secrets,
        services,
        network_policies,
        disruption_budgets,
        claims,
        stateful_sets,
        jobs,
        deployments,
        autoscalers,
        ingresses,
    } = objects;
    let mut text = String::new();
    kind(&service_accounts, &mut text);
    kind(&config_maps, &mut text);
    kind(&secrets, &mut text);
    kind(&services, &mut text);
    kind(&network_policies, &mut text);
    kind(&disruption_budgets, &mut text);
    kind(&claims, &mut text);
    kind(&stateful_sets, &mut text);
    kind(&jobs, &mut text);
    kind(&deployments, &mut text);
    kind(&autoscalers, &mut text);
    kind(&ingresses, &mut text);
    text
}

#[rstest]
#[case("minimal", "employees-mysql")]
#[case("full", "full-mysql")]
#[case("autoscaling", "autoscaling-mysql")]
#[case("ingress", "ingress-mysql")]
#[case("external-database", "external-credentials")]
#[case("group", "group-mysql")]
fn each_example_becomes_these_objects(#[case] name: &str, #[case] secret: &str) {
    let observed = observed(example(&format!("{name}.yaml")), &[secret]);
    insta::assert_snapshot!(name, yaml(built(&observed).objects));
}

/// A cluster where the stack runs: its StatefulSet and Deployment as they would have been built, and ready.
fn running(spec: Value) -> Observed {
    let mut observed = observed(stack(spec), &["shop-mysql"]);
    let objects = built(&observed).objects;
    observed.live = objects;
    for set in &mut observed.live.stateful_sets {
        set.status = Some(object(json!({"replicas": 1, "readyReplicas": 1, "updateRevision": "shop-mysql-2"})));
    }
    observed
}

/// The same cluster after the spec has changed.
fn changed(mut observed: Observed, spec: Value) -> Observed {
    observed.stack = std::sync::Arc::new(stack(spec));
    observed
}

fn deployment(observed: &Observed) -> Deployment {
    built(observed).objects.deployments.remove(0)
}

fn stateful_set(observed: &Observed) -> StatefulSet {
    built(observed).objects.stateful_sets.remove(0)
}

fn image(deployment: &Deployment) -> &str {
    let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    pod.containers[0].image.as_deref().unwrap()
}

#[test]
fn without_its_secret_a_stack_gets_nothing_that_reads_it() {
    let observed = observed(stack(json!({"mysql": {}})), &[]);
    assert_eq!(generated_secret(&observed.stack).unwrap().name_any(), "shop-mysql");
    let built = built(&observed);
    assert_eq!(
        (built.objects.stateful_sets.len(), built.objects.deployments.len(), built.objects.jobs.len()),
        (0, 0, 0)
    );
    assert!(!built.objects.services.is_empty());
}

#[test]
fn a_secret_of_the_user_is_never_made() {
    let observed = observed(stack(json!({"mysql": {"credentialsSecret": "mine"}})), &[]);
    assert!(generated_secret(&observed.stack).is_none());
    let built = built(&observed);
    assert!(built.objects.secrets.is_empty());
    assert!(built.objects.stateful_sets.is_empty(), "it would wait for a Secret that is not there");
}

#[test]
fn a_new_version_waits_for_its_migration_and_scaling_does_not() {
    let observed = running(json!({"mysql": {}, "web": {"image": "tandem/web:1"}}));
    let observed = changed(observed, json!({"mysql": {}, "web": {"image": "tandem/web:2", "replicas": 5}}));
    let built = built(&observed);
    let waiting = &built.objects.deployments[0];
    assert_eq!((image(waiting), waiting.spec.as_ref().unwrap().replicas), ("tandem/web:1", Some(5)));
    assert_eq!(built.objects.jobs.len(), 1);

    let mut migrated = observed;
    migrated.live.jobs = built.objects.jobs;
    assert_eq!(image(&deployment(&migrated)), "tandem/web:1");
    migrated.live.jobs[0].status = Some(object(json!({"succeeded": 1})));
    assert_eq!(image(&deployment(&migrated)), "tandem/web:2");
}

#[test]
fn other_data_is_migrated_anew() {
    let mut observed = running(json!({"mysql": {"instances": 3}}));
    let mut name = |uuid: Option<&str>| {
        let status = uuid.map(|uuid| WebStackStatus {
            mysql: Some(MysqlStatus { uuid: Some(uuid.to_owned()), ..MysqlStatus::default() }),
            ..WebStackStatus::default()
        });
        let stack = WebStack { status, ..stack(json!({"mysql": {"instances": 3}})) };
        observed.stack = Arc::new(stack);
        migration::job_name(&observed).unwrap()
    };
    let first = tandem_operator::names::group_uuid(&stack(json!({})));
    assert_ne!(name(Some("other")), name(None));
    assert_eq!(name(Some(&first)), name(None), "that the group was formed is nothing new");
}

#[test]
fn a_migration_of_a_volume_that_was_lost_is_run_once_more() {
    let mut observed = running(json!({"mysql": {}}));
    let at = |minute: u32| format!("2026-01-31T12:{minute:02}:00Z");
    let mut volume_of = |minute| {
        let made = json!({"name": "data-shop-mysql-0", "creationTimestamp": at(minute)});
        observed.live.claims = vec![object(json!({"metadata": made}))];
        observed.clone()
    };
    let mut migrated = volume_of(1);
    migrated.live.jobs = built(&migrated).objects.jobs;
    migrated.live.jobs[0].metadata.creation_timestamp = Some(object(json!(at(2))));
    migrated.live.jobs[0].status = Some(object(json!({"succeeded": 1})));
    assert_eq!((migration::stage(&migrated), built(&migrated).objects.jobs.len()), (migration::Stage::Done, 1));
    let mut lost = Observed { live: volume_of(3).live, ..migrated.clone() };
    lost.live.jobs = migrated.live.jobs.clone();
    assert_eq!((migration::stage(&lost), built(&lost).objects.jobs.len()), (migration::Stage::Runs, 0), "it goes");
    lost.live.jobs.clear();
    assert_eq!((migration::stage(&lost), built(&lost).objects.jobs.len()), (migration::Stage::Runs, 1), "and comes");
}

/// A cluster where the migration of `web` has begun, and has not succeeded.
fn migrating(web: Value) -> Observed {
    let mut observed = running(json!({"mysql": {}, "web": web}));
    observed.live.jobs = built(&observed).objects.jobs;
    observed
}

#[rstest]
#[case::credentials_of_the_registry(json!({"mysql": {}, "imagePullSecrets": [{"name": "registry"}]}))]
#[case::memory(json!({"mysql": {}, "web": {"resources": {"limits": {"memory": "1Gi"}}}}))]
#[case::a_variable(json!({"mysql": {}, "web": {"env": [{"name": "LOG_LEVEL", "value": "warn"}]}}))]
#[case::nodes(json!({"mysql": {}, "web": {"tolerations": [{"operator": "Exists"}]}}))]
fn a_migration_that_has_not_succeeded_is_made_anew_as_the_spec_says_now(#[case] spec: Value) {
    let observed = changed(migrating(json!({})), spec.clone());
    let wanted = built(&observed).objects;
    assert_eq!((migration::stage(&observed), wanted.jobs.len()), (migration::Stage::Runs, 0), "it goes");
    let mut gone = observed.clone();
    gone.live.jobs.clear();
    let now = built(&gone).objects.jobs;
    assert_eq!(now[0].name_any(), observed.live.jobs[0].name_any());
    assert_ne!(now, observed.live.jobs);
    let mut succeeded = observed;
    succeeded.live.jobs[0].status = Some(object(json!({"succeeded": 1})));
    assert_eq!((migration::stage(&succeeded), built(&succeeded).objects.jobs.len()), (migration::Stage::Done, 1));
}

#[rstest]
#[case::the_same_spec(json!({"mysql": {}}))]
#[case::more_pods(json!({"mysql": {}, "web": {"replicas": 7}}))]
#[case::another_service(json!({"mysql": {}, "web": {"service": {"port": 8080}}}))]
fn a_migration_goes_on_whatever_does_not_concern_it(#[case] spec: Value) {
    let mut observed = changed(migrating(json!({})), spec);
    // As the API server has completed it.
    observed.live.jobs[0].spec = None;
    observed.live.jobs[0].labels_mut().insert("controller-uid".to_owned(), "1".to_owned());
    assert_eq!(built(&observed).objects.jobs.len(), 1);
}

#[test]
fn two_migrations_never_run_at_once() {
    let mut observed = changed(migrating(json!({"image": "b"})), json!({"mysql": {}, "web": {"image": "c"}}));
    let waits = |observed: &Observed| {
        assert_eq!(image(&deployment(observed)), "b", "the web tier stays on its version meanwhile");
        (migration::stage(observed), built(observed).objects.jobs.len())
    };
    assert_eq!(waits(&observed), (migration::Stage::WaitsForAnother, 0));
    let mut next = observed.clone();
    next.live.jobs[0].status = Some(object(json!({"succeeded": 1})));
    assert_eq!(waits(&next), (migration::Stage::Runs, 1), "one that has succeeded is in nobody's way");
    observed.live.jobs.clear();
    let pod = |phase: &str| {
        let labels =
            json!({"app.kubernetes.io/component": "migration", "batch.kubernetes.io/job-name": "shop-migrate-1"});
        object(json!({"metadata": {"name": "m", "labels": labels}, "status": {"phase": phase}}))
    };
    observed.pods = vec![pod("Failed"), pod("Running")];
    assert_eq!(waits(&observed), (migration::Stage::WaitsForAnother, 0));
    let mut guest: Pod = pod("Running");
    guest.labels_mut().remove("batch.kubernetes.io/job-name");
    observed.pods = vec![pod("Failed"), pod("Succeeded"), guest];
    assert_eq!(waits(&observed), (migration::Stage::Runs, 1), "who only has our labels is no migration");
}

#[test]
fn a_version_without_a_migration_does_not_wait() {
    let observed = running(json!({"mysql": {}, "web": {"image": "a", "migrateCommand": []}}));
    let observed = changed(observed, json!({"mysql": {}, "web": {"image": "b", "migrateCommand": []}}));
    assert_eq!(image(&deployment(&observed)), "b");
    assert!(built(&observed).objects.jobs.is_empty());
}

#[test]
fn a_migration_waits_for_the_database() {
    let mut observed = running(json!({"mysql": {}}));
    assert_eq!(built(&observed).objects.jobs.len(), 1);
    observed.live.stateful_sets[0].status = None;
    assert!(built(&observed).objects.jobs.is_empty());
}

#[rstest]
#[case::an_option(json!({"mysql": {"config": {"max_connections": "9"}}}), true, false)]
#[case::a_variable_of_the_web_tier(json!({"mysql": {}, "web": {"env": [{"name": "LOG_LEVEL", "value": "warn"}]}}), false, true)]
#[case::the_number_of_web_pods(json!({"mysql": {}, "web": {"replicas": 7}}), false, false)]
#[case::the_size_of_the_volume(json!({"mysql": {"storage": {"size": "20Gi"}}}), false, false)]
#[case::the_service(json!({"mysql": {}, "web": {"service": {"port": 8080}}}), false, false)]
fn a_change_rolls_the_tier_that_reads_it_and_no_other(#[case] spec: Value, #[case] mysql: bool, #[case] web: bool) {
    let before = running(json!({"mysql": {}}));
    let after = changed(before.clone(), spec);
    let set = |observed: &Observed| stateful_set(observed).spec.unwrap().template;
    let pods = |observed: &Observed| deployment(observed).spec.unwrap().template;
    assert_eq!((set(&before) != set(&after), pods(&before) != pods(&after)), (mysql, web));
}

#[rstest]
#[case::of_the_web_tier(Kind::ConfigMap, "theirs", false, true)]
#[case::of_the_database(Kind::Secret, "more", true, false)]
#[case::of_both(Kind::ConfigMap, "shared", true, true)]
#[case::of_nobody(Kind::ConfigMap, "more", false, false)]
fn changed_content_rolls_the_tier_that_reads_it_and_no_other(
    #[case] kind: Kind,
    #[case] name: &str,
    #[case] mysql: bool,
    #[case] web: bool,
) {
    let shared = json!({"configMapRef": {"name": "shared"}});
    let spec = json!({
        "mysql": {"envFrom": [{"secretRef": {"name": "more"}}, shared]},
        "web": {"envFrom": [{"configMapRef": {"name": "theirs"}}, shared]},
    });
    let mut before = observed(stack(spec), &["shop-mysql"]);
    let content = |checksum: &str| Some(Content { checksum: checksum.to_owned(), ..Content::default() });
    let all =
        [(Kind::ConfigMap, "theirs"), (Kind::Secret, "more"), (Kind::ConfigMap, "shared"), (Kind::ConfigMap, "more")];
    before.contents.extend(all.map(|(kind, name)| ((kind, name.to_owned()), content("before"))));
    let mut after = before.clone();
    after.contents.insert((kind, name.to_owned()), content("after"));
    let set = |observed: &Observed| stateful_set(observed).spec.unwrap().template;
    let pods = |observed: &Observed| deployment(observed).spec.unwrap().template;
    assert_eq!((set(&before) != set(&after), pods(&before) != pods(&after)), (mysql, web));
}

#[test]
fn a_changed_password_rolls_both_tiers() {
    let before = running(json!({"mysql": {}}));
    let mut after = before.clone();
    for content in after.contents.values_mut().flatten() {
        content.checksum = "of other passwords".to_owned();
    }
    assert_ne!(stateful_set(&before).spec.unwrap().template, stateful_set(&after).spec.unwrap().template);
    assert_ne!(deployment(&before).spec.unwrap().template, deployment(&after).spec.unwrap().template);
}

#[test]
fn a_volume_grows_by_its_claim_and_the_template_stays() {
    let claim = |size: &str| json!({"metadata": {"name": "data-shop-mysql-0"}, "spec": {"resources": {"requests": {"storage": size}}}});
    let mut observed = running(json!({"mysql": {}}));
    observed.live.claims = vec![object(claim("10Gi"))];
    let observed = changed(observed, json!({"mysql": {"storage": {"size": "20Gi"}}}));
    let size = |observed: &Observed| {
        let claim = built(observed).objects.claims.remove(0);
        claim.spec.unwrap().resources.unwrap().requests.unwrap()["storage"].0.clone()
    };
    assert_eq!(size(&observed), "20Gi");
    assert_eq!(
        stateful_set(&observed).spec.unwrap().volume_claim_templates,
        observed.stateful_set().unwrap().spec.clone().unwrap().volume_claim_templates
    );
    let mut larger = observed;
    larger.live.claims = vec![object(claim("30Gi"))];
    assert_eq!(size(&larger), "30Gi", "volumes never shrink");
    let exponent = |size: &str| changed(larger.clone(), json!({"mysql": {"storage": {"size": size}}}));
    assert_eq!((size(&exponent("20e9")), size(&exponent("40e9"))), ("30Gi".to_owned(), "40e9".to_owned()));
}

#[rstest]
#[case::room("20Gi", [79, 10], ["10Gi", "10Gi"], ["10Gi", "10Gi"])]
#[case::one_is_nearly_full("20Gi", [10, 80], ["10Gi", "10Gi"], ["15Gi", "15Gi"])]
#[case::while_it_grows("20Gi", [10, 80], ["15Gi", "15Gi"], ["15Gi", "15Gi"])]
#[case::a_new_member_gets_as_much("20Gi", [10, 10], ["10Gi", "15Gi"], ["15Gi", "15Gi"])]
#[case::at_most_the_limit("12Gi", [99, 10], ["10Gi", "10Gi"], ["12Gi", "12Gi"])]
#[case::no_further_than_the_limit("12Gi", [99, 10], ["12Gi", "12Gi"], ["12Gi", "12Gi"])]
#[case::never_smaller("12Gi", [99, 10], ["30Gi", "10Gi"], ["30Gi", "12Gi"])]
#[case::a_limit_with_an_exponent("20e9", [10, 80], ["10Gi", "10Gi"], ["15Gi", "15Gi"])]
fn volumes_of_a_group_grow_by_themselves_up_to_a_limit(
    #[case] limit: &str,
    #[case] used: [i32; 2],
    #[case] there: [&str; 2],
    #[case] wanted: [&str; 2],
) {
    let claim = |(member, size): (usize, &str)| {
        object(json!({
            "metadata": {"name": format!("data-shop-mysql-{member}")},
            "spec": {"resources": {"requests": {"storage": size}}},
        }))
    };
    let mut observed = running(json!({"mysql": {"instances": 3, "storage": {"autoGrow": {"limit": limit}}}}));
    observed.live.claims = there.into_iter().enumerate().map(claim).collect();
    let mut told = report(2);
    for (told, percent) in told.members.values_mut().zip(used) {
        told.used = Some(Usage { percent, capacity: 10_000 << 30 });
    }
    observed.group = Some(told);
    let sizes = |observed: &Observed| -> Vec<String> {
        let size = |claim: &PersistentVolumeClaim| {
            claim.spec.clone().unwrap().resources.unwrap().requests.unwrap()["storage"].0.clone()
        };
        built(observed).objects.claims.iter().map(size).collect()
    };
    assert_eq!(sizes(&observed), wanted);
    let without = changed(observed, json!({"mysql": {"instances": 3}}));
    assert_eq!(sizes(&without), there, "only where the spec says so");
}

#[rstest]
#[case("Retain", false)]
#[case("Delete", true)]
fn what_holds_data_belongs_to_the_stack_only_when_it_shall_go_with_it(#[case] policy: &str, #[case] owned: bool) {
    let mut observed = running(json!({"mysql": {}, "deletionPolicy": policy}));
    observed.live.claims = vec![object(json!({"metadata": {"name": "data-shop-mysql-0"}}))];
    let objects = built(&observed).objects;
    assert_eq!(objects.secrets[0].owner_references().len(), usize::from(owned));
    assert_eq!(objects.claims[0].owner_references().len(), usize::from(owned));
    assert_eq!(objects.services[0].owner_references().len(), 1);
}

#[test]
fn suspended_means_no_pods_and_nothing_that_makes_some() {
    let spec = json!({"mysql": {}, "suspend": true, "web": {"autoscaling": {"maxReplicas": 5}}});
    let objects = built(&running(spec)).objects;
    assert_eq!(objects.stateful_sets[0].spec.as_ref().unwrap().replicas, Some(0));
    assert_eq!(objects.deployments[0].spec.as_ref().unwrap().replicas, Some(0));
    assert!(objects.autoscalers.is_empty() && objects.jobs.is_empty());
}

/// A running stack, after the Secrets that its Pods read were deleted.
fn bereft(before: Value, after: Value) -> Observed {
    let missing = |mut spec: Value| {
        let from = json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}]);
        spec["web"]["env"] = from.clone();
        spec["mysql"]["env"] = from;
        spec
    };
    let mut observed = running(before);
    observed.live.jobs.clear();
    changed(observed, missing(after))
}

#[rstest]
#[case::nothing_changes(json!({"mysql": {}}), None, None)]
#[case::suspended(json!({"mysql": {}, "suspend": true}), Some(0), Some(0))]
#[case::more_web_pods(json!({"mysql": {}, "web": {"replicas": 5}}), None, Some(5))]
#[case::a_group(json!({"mysql": {"instances": 3}}), None, None)]
fn a_tier_with_a_problem_keeps_its_pods_but_for_their_number(
    #[case] spec: Value,
    #[case] mysql: Option<i32>,
    #[case] web: Option<i32>,
) {
    let observed = bereft(json!({"mysql": {}}), spec);
    let objects = built(&observed).objects;
    let sets: Vec<_> = objects.stateful_sets.into_iter().map(|set| set.spec.unwrap()).collect();
    let deployments: Vec<_> = objects.deployments.into_iter().map(|deployment| deployment.spec.unwrap()).collect();
    assert_eq!(sets.first().and_then(|set| set.replicas), mysql);
    assert_eq!(deployments.first().and_then(|deployment| deployment.replicas), web);
    let live = |observed: &Observed| observed.stateful_set().unwrap().spec.clone().unwrap().template;
    assert!(sets.iter().all(|set| set.template == live(&observed)));
    let live = observed.deployment().unwrap().spec.clone().unwrap().template;
    assert!(deployments.iter().all(|deployment| deployment.template == live));
}

#[test]
fn members_come_back_whatever_is_missing() {
    let mut observed = bereft(json!({"mysql": {"instances": 3}}), json!({"mysql": {"instances": 3}}));
    assert!(built(&observed).objects.stateful_sets.is_empty());
    observed.live.stateful_sets[0].spec.as_mut().unwrap().replicas = Some(0);
    assert_eq!(stateful_set(&observed).spec.unwrap().replicas, Some(3));
}

#[test]
fn a_suspended_stack_has_no_migration_whatever_is_missing() {
    let mut observed = bereft(json!({"mysql": {}}), json!({"mysql": {}}));
    observed.live.jobs = built(&running(json!({"mysql": {}}))).objects.jobs;
    assert!(built(&observed).keeps_migration);
    let mut suspended = (*observed.stack).clone();
    suspended.spec.suspend = true;
    observed.stack = Arc::new(suspended);
    let built = built(&observed);
    assert!(built.objects.jobs.is_empty() && !built.keeps_migration, "it goes");
}

#[test]
fn a_database_that_was_a_group_stays_one() {
    let mut observed = running(json!({"mysql": {}}));
    let claim = |member: u32| object(json!({"metadata": {"name": format!("data-shop-mysql-{member}")}}));
    observed.live.claims = vec![claim(0)];
    assert!(!observed.is_group());
    let alone = stateful_set(&observed).spec.unwrap();
    observed.live.claims.push(claim(1));
    assert!(observed.is_group());
    let member = stateful_set(&observed).spec.unwrap();
    let gates = |set: StatefulSetSpec| set.template.spec.unwrap().readiness_gates.unwrap_or_default();
    assert_eq!(gates(alone).len(), 0);
    assert_eq!(gates(member)[0].condition_type, "tandem.dev/in-group");
}

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

#[test]
fn writes_are_led_to_whom_the_keeper_has_named() {
    let mut observed = running(json!({"mysql": {"instances": 3}}));
    let named = |observed: &Observed| {
        let mut services = built(observed).objects.services;
        let writes = services.iter_mut().find(|service| service.name_any() == "shop-mysql").unwrap();
        writes.spec.as_mut().unwrap().selector.as_mut().unwrap().remove(POD_NAME)
    };
    let is = |pod: &str| Some(pod.to_owned());
    // An operator that has just begun has the status alone.
    observed.live.services.clear();
    let mut stack = (*observed.stack).clone();
    stack.status = Some(object(
        json!({"mysql": {"instances": 3, "readyInstances": 3, "ready": "3/3", "primary": "shop-mysql-2"}}),
    ));
    observed.stack = Arc::new(stack);
    assert_eq!(named(&observed), is("shop-mysql-2"));
    observed.group = Some(Report { primary: Some(1), ..report(3) });
    assert_eq!(named(&observed), is("shop-mysql-1"));
    let mut live = built(&observed).objects.services;
    assert!(
        live.iter().all(|service| !service
            .spec
            .as_ref()
            .unwrap()
            .selector
            .as_ref()
            .unwrap()
            .contains_key("tandem.dev/role"))
    );
    let writes = live.iter_mut().find(|service| service.name_any() == "shop-mysql").unwrap();
    let selector = writes.spec.as_mut().unwrap().selector.as_mut().unwrap();
    selector.insert(POD_NAME.to_owned(), "shop-mysql-0".to_owned());
    observed.live.services = live;
    assert_eq!(named(&observed), is("shop-mysql-0"), "the keeper's word is newer than what it has told");
}

#[test]
fn who_runs_alone_serves_until_the_keeper_says_who_does() {
    let mut observed = running(json!({"mysql": {"instances": 3}}));
    let led = |observed: &Observed| {
        let services = built(observed).objects.services;
        let writes = services.into_iter().find(|service| service.name_any() == "shop-mysql").unwrap();
        writes.spec.unwrap().selector.unwrap().contains_key(POD_NAME)
    };
    assert!(led(&observed), "a new group");
    observed.live.services = built(&running(json!({"mysql": {}}))).objects.services;
    let mut alone: Pod = object(json!({}));
    alone.metadata = object(json!({"name": "shop-mysql-0", "labels": {"app.kubernetes.io/component": "mysql"}}));
    observed.pods = vec![alone.clone()];
    assert!(!led(&observed));
    let mut primary = alone.clone();
    primary.labels_mut().insert("tandem.dev/role".to_owned(), "primary".to_owned());
    observed.pods = vec![primary];
    assert!(led(&observed));
    // It fails, and nobody says any more that it serves.
    observed.live.services = built(&observed).objects.services;
    observed.pods = vec![alone];
    assert!(led(&observed));
}

#[test]
fn who_runs_alone_can_become_a_member_unless_the_user_does_not_want_it() {
    let options = |spec| {
        let maps = built(&running(spec)).objects.config_maps;
        maps.into_iter().find(|map| map.name_any() == "shop-mysql").unwrap().data.unwrap()
    };
    let alone = options(json!({"mysql": {}}));
    assert_eq!(alone["MYSQL_CONF_GTID_MODE"], "ON");
    assert!(!alone.contains_key("MYSQL_CONF_SUPER_READ_ONLY"));
    assert_eq!(options(json!({"mysql": {"config": {"gtid_mode": "OFF"}}}))["MYSQL_CONF_GTID_MODE"], "OFF");
    assert_eq!(alone["MYSQL_CONF_SERVER_ID"], "10");
    assert_eq!(options(json!({"mysql": {"config": {"server_id": "7"}}}))["MYSQL_CONF_SERVER_ID"], "7");
    let member = options(json!({"mysql": {"instances": 3}}));
    assert_eq!(member["MYSQL_CONF_SUPER_READ_ONLY"], "ON");
    // What is not in both comes to a member by its Pod's own variables.
    let own = ["MYSQL_CONF_SERVER_ID", "MYSQL_CONF_REPORT_HOST", "MYSQL_CONF_LOOSE_GROUP_REPLICATION_LOCAL_ADDRESS"];
    for (option, value) in alone.iter().filter(|(option, _)| option.starts_with("MYSQL_CONF_")) {
        assert!(own.contains(&option.as_str()) || member.get(option) == Some(value), "{option}");
    }
}

/// What a keeper tells of a group of `size` members that all are well.
fn report(size: u32) -> Report {
    let told = Told { state: Some(State::Online), ..Told::default() };
    Report {
        wanted: size,
        condition: Condition::Healthy,
        primary: Some(0),
        members: (0..size).map(|member| (member, told.clone())).collect(),
        known: (0..size).collect(),
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
    }
}

#[test]
fn a_group_grows_at_once_and_shrinks_by_members_that_have_left() {
    let mut observed = running(json!({"mysql": {"instances": 5}}));
    let pods = |observed: &Observed| stateful_set(observed).spec.unwrap().replicas.unwrap();
    assert_eq!(pods(&observed), 5);
    observed.group = Some(report(5));
    let mut observed = changed(observed, json!({"mysql": {"instances": 3}}));
    assert_eq!(pods(&observed), 5);
    observed.group.as_mut().unwrap().leaving = Some(4);
    assert_eq!(pods(&observed), 4);
    observed.group.as_mut().unwrap().leaving = Some(2);
    assert_eq!(pods(&observed), 3, "never fewer than wanted");
    observed.stack = std::sync::Arc::new(stack(json!({"mysql": {"instances": 3}, "suspend": true})));
    assert_eq!(pods(&observed), 0);
}

#[test]
fn whoever_was_in_the_group_comes_back_after_a_suspension_before_fewer_are_wanted() {
    let pods = |instances: i32, known: &[&str]| {
        let mut observed = running(json!({"mysql": {"instances": 3}, "suspend": true}));
        let mut stack = stack(json!({"mysql": {"instances": instances}}));
        let known = known.iter().map(|pod| (*pod).to_owned()).collect();
        let mysql = Some(MysqlStatus { known, ..Default::default() });
        stack.status = Some(WebStackStatus { mysql, ..Default::default() });
        observed.stack = Arc::new(stack);
        // By these it is known as a group.
        let claims = (0..3).map(|member| object(json!({"metadata": {"name": format!("data-shop-mysql-{member}")}})));
        observed.live.claims = claims.collect();
        stateful_set(&observed).spec.unwrap().replicas.unwrap()
    };
    assert_eq!(pods(1, &["shop-mysql-0", "shop-mysql-1", "shop-mysql-2"]), 3);
    assert_eq!(pods(1, &["shop-mysql-1"]), 2);
    assert_eq!(pods(1, &[]), 3, "nobody knows who was in the group: whoever has a volume may have been");
    let mut going = running(json!({"mysql": {}}));
    let goes = json!({"name": "data-shop-mysql-2", "deletionTimestamp": "2026-01-31T12:00:00Z"});
    going.live.claims = vec![object(json!({"metadata": goes}))];
    assert!(!going.is_group(), "that one is about to be deleted");
    assert_eq!(pods(5, &["shop-mysql-0"]), 5);
}

#[test]
fn a_drain_takes_one_member_at_a_time_as_long_as_there_are_several() {
    let mut observed = running(json!({"mysql": {"instances": 3}}));
    let guarded = |observed: &Observed| {
        built(observed).objects.disruption_budgets.iter().any(|budget| budget.name_any() == "shop-mysql")
    };
    observed.group = Some(report(3));
    let claims = (0..3).map(|member| object(json!({"metadata": {"name": format!("data-shop-mysql-{member}")}})));
    observed.live.claims = claims.collect();
    // One is wanted, and nobody has left yet.
    let mut observed = changed(observed, json!({"mysql": {"instances": 1}}));
    assert!(guarded(&observed));
    observed.group.as_mut().unwrap().leaving = Some(2);
    assert!(guarded(&observed));
    observed.group.as_mut().unwrap().leaving = Some(1);
    assert!(!guarded(&observed), "a single Pod may always be moved");
}

#[test]
fn clients_of_a_group_are_led_and_members_reach_each_other() {
    let objects = built(&running(json!({"mysql": {"instances": 3}}))).objects;
    let selector = |name: &str| {
        let service = objects.services.iter().find(|service| service.name_any() == name).unwrap();
        service.spec.clone().unwrap().selector.unwrap()
    };
    assert_eq!(selector("shop-mysql")[POD_NAME], "none", "nobody is the primary yet");
    assert_eq!(selector("shop-mysql-read")["tandem.dev/reads"], "true");
    assert_eq!(selector("shop-mysql-nodes").len(), 4);
    let policy = objects.network_policies.iter().find(|policy| policy.name_any() == "shop-mysql").unwrap();
    let from = policy.spec.as_ref().unwrap().ingress.as_ref().unwrap()[0].from.as_ref().unwrap();
    assert!(from.iter().any(|peer| serde_json::to_string(peer).unwrap().contains("/component\":\"mysql\"")));
    let web = objects.config_maps.iter().find(|map| map.name_any() == "shop-web").unwrap().data.clone().unwrap();
    assert_eq!(web["DATABASE_READ_HOST"], "shop-mysql-read.default.svc.cluster.local.");
    assert_eq!(web["DATABASE_HOST"], "shop-mysql.default.svc.cluster.local.");
}

#[test]
fn a_pod_that_waits_for_ever_makes_way_for_the_next_version() {
    let stuck = |revision, waiting| {
        let mut observed = running(json!({"mysql": {}}));
        let mut pod = pod_of(&observed, revision);
        pod.status = Some(object(json!({"containerStatuses": [{
            "name": "mysql", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": waiting},
        }]})));
        observed.pods = vec![pod];
        built(&observed).outdated_pods.len()
    };
    assert_eq!(stuck("shop-mysql-1", json!({"reason": "ImagePullBackOff"})), 1);
    assert_eq!(stuck("shop-mysql-2", json!({"reason": "ImagePullBackOff"})), 0, "it is of the new version");
    assert_eq!(stuck("shop-mysql-1", json!({"reason": "ContainerCreating"})), 0, "it starts");
    let crashed = |config: &str| {
        let mut observed = running(json!({"mysql": {"instances": 3}}));
        let mut pod = pod_of(&observed, "shop-mysql-1");
        pod.annotations_mut().insert(CONFIG.to_owned(), config.to_owned());
        pod.status = Some(object(json!({"containerStatuses": [{
            "name": "mysql", "image": "x", "imageID": "", "ready": false, "restartCount": 1,
            "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 137}},
        }]})));
        observed.pods = vec![pod];
        built(&observed).outdated_pods.len()
    };
    let asked = running(json!({"mysql": {"instances": 3}})).live.stateful_sets.remove(0).spec.unwrap().template;
    assert_eq!(crashed(&asked.metadata.unwrap().annotations.unwrap()[CONFIG]), 0, "a newer operator lets it recover");
    assert_eq!(crashed("of an earlier spec"), 1);
}

/// The Pod that was made from the live StatefulSet when that had this revision.
fn pod_of(observed: &Observed, revision: &str) -> Pod {
    let template = observed.live.stateful_sets[0].spec.clone().unwrap().template;
    let mut metadata = template.metadata.unwrap();
    metadata.name = Some("shop-mysql-0".to_owned());
    metadata.labels.as_mut().unwrap().insert("controller-revision-hash".to_owned(), revision.to_owned());
    Pod { metadata, ..Pod::default() }
}

#[test]
fn a_server_is_restarted_by_what_people_change_and_by_nothing_that_a_newer_operator_does() {
    let mut observed = running(json!({"mysql": {}}));
    observed.pods = vec![pod_of(&observed, "shop-mysql-1")];
    let outdated =
        |observed: &Observed| built(observed).outdated_pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>();
    // The newer one: whatever it adds, the revision is another one.
    assert!(observed.template().unwrap().differs(&observed.pods[0]));
    assert_eq!(outdated(&observed), [""; 0]);
    let mut asked = changed(observed.clone(), json!({"mysql": {"config": {"max_connections": "9"}}}));
    assert_eq!(outdated(&asked), [""; 0], "Kubernetes has not got it yet");
    asked.live.stateful_sets[0].spec = stateful_set(&asked).spec;
    assert_eq!(outdated(&asked), ["shop-mysql-0"]);
    asked.live.stateful_sets[0].metadata.generation = Some(2);
    assert_eq!(outdated(&asked), [""; 0], "nor has it made a revision of it");
    asked.live.stateful_sets[0].metadata.generation = None;
    asked.pods[0].metadata.deletion_timestamp = Some(object(json!("2026-01-31T12:00:00Z")));
    assert_eq!(outdated(&asked), [""; 0], "it goes already");
    // By kubectl rollout restart.
    let by_hand = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-31T12:00:00Z"});
    let mut restarted = observed.clone();
    let template = &mut restarted.live.stateful_sets[0].spec.as_mut().unwrap().template;
    template
        .metadata
        .as_mut()
        .unwrap()
        .annotations
        .as_mut()
        .unwrap()
        .extend::<BTreeMap<String, String>>(object(by_hand));
    assert_eq!(outdated(&restarted), ["shop-mysql-0"]);
    // Members are replaced by their group's keeper.
    let mut grouped = changed(asked, json!({"mysql": {"instances": 3}}));
    grouped.pods = observed.pods.clone();
    assert_eq!(outdated(&grouped), [""; 0]);
}

#[test]
fn what_people_have_asked_for_has_the_same_checksum_in_all_versions() {
    let checksum = |spec: Value| {
        let observed = observed(stack(spec), &["shop-mysql"]);
        stateful_set(&observed).spec.unwrap().template.metadata.unwrap().annotations.unwrap()[CONFIG].clone()
    };
    // Another value would restart every database when the operator is upgraded.
    assert_eq!(checksum(json!({"mysql": {}})), "cb7064902a296fba0f1151d0a42590a9");
    assert_ne!(checksum(json!({"mysql": {"config": {"max_connections": "9"}}})), checksum(json!({"mysql": {}})));
    assert_eq!(
        checksum(json!({"mysql": {"instances": 3, "storage": {"size": "7Gi"}}})),
        checksum(json!({"mysql": {}}))
    );
}

#[test]
fn the_service_for_reads_comes_with_the_group_and_stays() {
    let reads = |observed: &Observed| {
        let services = built(observed).objects.services;
        services.iter().any(|service| service.name_any() == "shop-mysql-read")
    };
    let mut observed = running(json!({"mysql": {}}));
    assert!(!reads(&observed));
    observed = changed(observed, json!({"mysql": {"instances": 3}}));
    assert!(reads(&observed));
    observed.live = built(&observed).objects;
    // Its other volumes were deleted: it is no group any more.
    observed = changed(observed, json!({"mysql": {}}));
    observed.live.claims.clear();
    assert!(!observed.is_group() && reads(&observed));
}
