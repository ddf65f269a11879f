//! The database tier.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMap, ConfigMapEnvSource, ConfigMapVolumeSource, Container, ContainerPort, EnvFromSource,
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PodAffinityTerm,
    PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, Service, ServiceAccount, ServicePort, ServiceSpec, Volume,
    VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::pod::{self, SECRETS};
use crate::controller::objects::Objects;
use crate::controller::observe::{Observed, waits_for};
use crate::controller::references;
use crate::crd::{Initdb, Mysql, WebStack};
use crate::names::{self, Component};
use crate::quantity::quantity;

/// The volume of an instance: its claims are called `data-NAME-mysql-0` and so on.
const DATA: &str = "data";

/// MySQL's port.
pub(super) const PORT: i32 = 3306;

const HEALTH: [&str; 2] = ["tandem-mysql", "health"];

/// Adds the database's objects.
pub(super) fn build(observed: &Observed, mysql: &Mysql, objects: &mut Objects) {
    let stack = &*observed.stack;
    let metadata = || super::metadata(stack, Component::Mysql);
    let variables = variables(mysql);
    objects.stateful_sets.push(stateful_set(observed, mysql, &variables));
    objects.config_maps.push(ConfigMap { metadata: metadata(), data: Some(variables), ..ConfigMap::default() });
    objects.service_accounts.push(ServiceAccount {
        metadata: metadata(),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    });
    objects.services.push(service(stack, Component::Mysql.of(stack), ServiceSpec::default()));
    objects.services.push(service(stack, names::mysql_read(stack), ServiceSpec::default()));
    let headless = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        // Members of a group find each other before they are ready.
        publish_not_ready_addresses: Some(true),
        ..ServiceSpec::default()
    };
    objects.services.push(service(stack, names::mysql_nodes(stack), headless));
    objects.claims.extend(observed.live.claims.iter().map(|claim| kept_claim(stack, mysql, claim)));
}

/// Pods that crash or cannot start while a newer version of the StatefulSet waits for them to become ready: Kubernetes
/// leaves it to us to take them away.
pub(super) fn stuck_pods(observed: &Observed) -> Vec<String> {
    let revision = observed.stateful_set().and_then(|set| set.status.as_ref()?.update_revision.clone());
    let Some(revision) = revision else { return Vec::new() };
    let pods = observed.pods_of(Component::Mysql).filter(|pod| {
        let old = pod.labels().get("controller-revision-hash").is_some_and(|hash| *hash != revision);
        old && pod.metadata.deletion_timestamp.is_none() && waits_for(pod).is_some()
    });
    pods.map(ResourceExt::name_any).collect()
}

fn variables(mysql: &Mysql) -> BTreeMap<String, String> {
    let own = [
        ("MYSQL_DATABASE", mysql.database.as_str()),
        ("MYSQL_USER", &mysql.user),
        ("MYSQL_DATASET", mysql.dataset.name()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = mysql
        .config
        .iter()
        .map(|(option, value)| (format!("MYSQL_CONF_{}", option.to_ascii_uppercase()), value.clone()));
    own.chain(options).collect()
}

fn service(stack: &WebStack, name: String, frame: ServiceSpec) -> Service {
    Service {
        metadata: super::named(stack, Component::Mysql, name),
        spec: Some(ServiceSpec {
            selector: Some(names::component_labels(stack, Component::Mysql)),
            ports: Some(vec![ServicePort {
                name: Some("mysql".to_owned()),
                port: PORT,
                target_port: Some(IntOrString::String("mysql".to_owned())),
                ..ServicePort::default()
            }]),
            ..frame
        }),
        ..Service::default()
    }
}

fn stateful_set(observed: &Observed, mysql: &Mysql, variables: &BTreeMap<String, String>) -> StatefulSet {
    let stack = &*observed.stack;
    let labels = names::component_labels(stack, Component::Mysql);
    let checksum = references::checksum(&references::of(stack, Component::Mysql), &observed.contents, variables);
    // A StatefulSet's claim templates cannot be changed: those that are there stay, and the claims themselves grow.
    let live = observed.stateful_set().and_then(|set| set.spec.as_ref()?.volume_claim_templates.as_ref()?.first());
    let size = live.and_then(claimed).unwrap_or_else(|| Quantity(mysql.storage.size.clone()));
    StatefulSet {
        metadata: super::metadata(stack, Component::Mysql),
        spec: Some(StatefulSetSpec {
            service_name: Some(names::mysql_nodes(stack)),
            replicas: Some(if stack.spec.suspend { 0 } else { mysql.instances }),
            selector: LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() },
            pod_management_policy: Some("Parallel".to_owned()),
            revision_history_limit: Some(3),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            // Not even a StatefulSet that is deleted by mistake takes data with it.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels.clone()),
                    annotations: Some([(names::CONFIG.to_owned(), checksum)].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(stack, mysql, variables, &labels)),
            },
            volume_claim_templates: Some(vec![PersistentVolumeClaim {
                metadata: ObjectMeta { name: Some(DATA.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
                spec: Some(PersistentVolumeClaimSpec {
                    access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                    resources: Some(storage(size)),
                    storage_class_name: mysql.storage.class_name.clone(),
                    ..PersistentVolumeClaimSpec::default()
                }),
                ..PersistentVolumeClaim::default()
            }]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn storage(size: Quantity) -> VolumeResourceRequirements {
    VolumeResourceRequirements { requests: Some([("storage".to_owned(), size)].into()), limits: None }
}

fn claimed(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage").cloned()
}

/// A claim as it should be: its size, and whose it is. One that is larger already stays so.
fn kept_claim(stack: &WebStack, mysql: &Mysql, live: &PersistentVolumeClaim) -> PersistentVolumeClaim {
    let wanted = Quantity(mysql.storage.size.clone());
    let size = claimed(live).filter(|live| quantity(&live.0) > quantity(&wanted.0)).unwrap_or(wanted);
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            owner_references: super::data_owner(stack),
            ..super::named(stack, Component::Mysql, live.name_any())
        },
        spec: Some(PersistentVolumeClaimSpec {
            resources: Some(storage(size)),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn pod_spec(
    stack: &WebStack,
    mysql: &Mysql,
    variables: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> PodSpec {
    let mut volumes = pod::temporary();
    volumes.push(pod::secret_files(
        "credentials",
        &names::credentials(stack),
        &[names::ROOT_PASSWORD, names::PASSWORD],
    ));
    volumes.extend(mysql.initdb.as_ref().map(initdb));
    PodSpec {
        containers: vec![container(stack, mysql, variables)],
        volumes: Some(volumes),
        // A clean shutdown writes back what is in memory.
        termination_grace_period_seconds: Some(120),
        affinity: Some(mysql.affinity.clone().unwrap_or_else(|| apart(labels))),
        node_selector: super::optional(mysql.node_selector.clone()),
        tolerations: super::list(mysql.tolerations.clone()),
        topology_spread_constraints: super::list(mysql.topology_spread_constraints.clone()),
        ..pod::spec(stack, Component::Mysql)
    }
}

fn container(stack: &WebStack, mysql: &Mysql, variables: &BTreeMap<String, String>) -> Container {
    let config_map = Component::Mysql.of(stack);
    // The operator's own as `env`, which no `envFrom` replaces; the options as `envFrom`, before the user's.
    let own = variables.iter().filter(|(name, _)| !name.starts_with("MYSQL_CONF_"));
    let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut env = pod::variables_of(&config_map, &own);
    env.push(pod::variable("MYSQL_ROOT_PASSWORD_FILE", format!("{SECRETS}/{}", names::ROOT_PASSWORD)));
    env.push(pod::variable("MYSQL_PASSWORD_FILE", format!("{SECRETS}/{}", names::PASSWORD)));
    // The web tier keeps its connections while it learns a new password.
    env.push(pod::variable("MYSQL_RETAIN_PASSWORD", "true"));
    let mut env_from = vec![EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource { name: config_map, optional: None }),
        ..EnvFromSource::default()
    }];
    env_from.extend_from_slice(&mysql.env_from);
    let mut frame = pod::container("mysql", &mysql.image, mysql.image_pull_policy.name());
    let mounts = frame.volume_mounts.get_or_insert_default();
    mounts.push(pod::mount(DATA, "/var/lib/mysql"));
    mounts.push(pod::mount_read_only("credentials", SECRETS));
    if mysql.initdb.is_some() {
        mounts.push(pod::mount_read_only("initdb", "/docker-entrypoint-initdb.d"));
    }
    Container {
        env: Some(pod::overridden(env, &mysql.env)),
        env_from: Some(env_from),
        resources: mysql.resources.clone(),
        ports: Some(vec![ContainerPort {
            name: Some("mysql".to_owned()),
            container_port: PORT,
            ..ContainerPort::default()
        }]),
        // Two hours for a first start with a large import, or for a long recovery after a crash.
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            timeout_seconds: Some(6),
            failure_threshold: Some(7200),
            ..pod::command(&HEALTH)
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(5),
            timeout_seconds: Some(6),
            failure_threshold: Some(2),
            ..pod::command(&HEALTH)
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            timeout_seconds: Some(10),
            failure_threshold: Some(6),
            ..pod::command(&HEALTH)
        }),
        ..frame
    }
}

fn initdb(initdb: &Initdb) -> Volume {
    Volume {
        name: "initdb".to_owned(),
        config_map: initdb.config_map.as_ref().map(|name| ConfigMapVolumeSource {
            name: name.clone(),
            default_mode: Some(0o555),
            ..ConfigMapVolumeSource::default()
        }),
        persistent_volume_claim: initdb
            .claim
            .as_ref()
            .map(|name| PersistentVolumeClaimVolumeSource { claim_name: name.clone(), read_only: Some(true) }),
        ..Volume::default()
    }
}

/// Instances on different nodes, where there are enough.
fn apart(labels: &BTreeMap<String, String>) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    topology_key: "kubernetes.io/hostname".to_owned(),
                    label_selector: Some(LabelSelector {
                        match_labels: Some(labels.clone()),
                        ..LabelSelector::default()
                    }),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}
