//! What is built from a spec, object by object, and what it depends on.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

#[cfg(test)]
mod fixture;

use fixture::{admitted, built, object, observed, stack};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{Resource, ResourceExt};
use rstest::rstest;
use serde::Serialize;
use serde_json::{Value, json};
use tandem_operator::controller::build::generated_secret;
use tandem_operator::controller::objects::Objects;
use tandem_operator::controller::observe::Observed;
use tandem_operator::crd::WebStack;

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

#[test]
fn a_pod_that_waits_for_ever_makes_way_for_the_next_version() {
    let pod = |revision: &str, waiting: Value| {
        object(json!({
            "metadata": {"name": "shop-mysql-0", "labels": {
                "app.kubernetes.io/component": "mysql", "controller-revision-hash": revision,
            }},
            "status": {"containerStatuses": [{
                "name": "mysql", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": waiting},
            }]},
        }))
    };
    let stuck = |revision, waiting| {
        let mut observed = running(json!({"mysql": {}}));
        observed.pods = vec![pod(revision, waiting)];
        built(&observed).stuck_pods.len()
    };
    assert_eq!(stuck("shop-mysql-1", json!({"reason": "ImagePullBackOff"})), 1);
    assert_eq!(stuck("shop-mysql-2", json!({"reason": "ImagePullBackOff"})), 0, "it is of the new version");
    assert_eq!(stuck("shop-mysql-1", json!({"reason": "ContainerCreating"})), 0, "it starts");
}
