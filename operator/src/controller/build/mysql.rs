//! The database tier.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMap, ConfigMapEnvSource, ConfigMapVolumeSource, Container, ContainerPort, EnvFromSource, EnvVar,
    Lifecycle, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Pod,
    PodAffinityTerm, PodAntiAffinity, PodReadinessGate, PodSpec, PodTemplateSpec, Probe, Service, ServiceAccount,
    ServicePort, ServiceSpec, Volume, VolumeMount, VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde_json::json;

use super::Surroundings;
use super::pod::{self, SECRETS};
use crate::controller::keeper::is_member;
use crate::controller::objects::Objects;
use crate::controller::observe::{CRASHED, Observed, waits_for};
use crate::controller::{references, storage};
use crate::crd::{Initdb, Mysql, WebStack};
use crate::mysql::{self, Names};
use crate::names::{self, Component};
use crate::quantity::quantity;

/// The volume of an instance: its claims are called `data-NAME-mysql-0` and so on.
const DATA: &str = "data";

/// The folder of a member's volume for what is kept aside, mounted on its own: MySQL makes no copy below its data
/// directory. A hidden one, since InnoDB looks for tables in all others.
const ASIDE_FOLDER: &str = ".aside";

/// MySQL's port.
pub(super) const PORT: i32 = 3306;

const HEALTH: [&str; 2] = ["tandem-mysql", "health"];

/// What a member does before it stops: the primary lets another one take over.
const HAND_OVER: [&str; 2] = ["tandem-mysql", "hand-over"];

/// Adds the database's objects.
pub(super) fn build(observed: &Observed, mysql: &Mysql, around: &Surroundings, objects: &mut Objects) {
    let stack = &*observed.stack;
    let names = names::group(stack, &around.cluster_domain);
    let grouped = observed.is_group();
    let metadata = || super::metadata(stack, Component::Mysql);
    let variables = variables(mysql, &names, grouped);
    objects.stateful_sets.push(stateful_set(observed, mysql, &names, &variables));
    objects.config_maps.push(ConfigMap { metadata: metadata(), data: Some(variables), ..ConfigMap::default() });
    objects.service_accounts.push(ServiceAccount {
        metadata: metadata(),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    });
    // The keeper of a group says who serves, sooner than readiness does. One that runs alone has none until its
    // keeper has looked at it, and goes on serving.
    let labelled = |pod: &Pod| pod.labels().contains_key(names::ROLE);
    let led =
        grouped && (is_led(observed) || observed.pods_of(Component::Mysql).all(|pod| is_member(pod) || labelled(pod)));
    let frame = || ServiceSpec { publish_not_ready_addresses: led.then_some(true), ..ServiceSpec::default() };
    let label = |name: &str, value: &str| led.then(|| (name.to_owned(), value.to_owned()));
    objects.services.push(service(
        stack,
        Component::Mysql.of(stack),
        label(names::POD_NAME, &takes_writes(observed)),
        frame(),
    ));
    // One server has nobody to share reads with, and the API server gives cluster IPs out one by one. Who reads by that
    // name goes on doing so.
    let read = names::mysql_read(stack);
    if grouped || observed.live.services.iter().any(|service| service.name_any() == read) {
        objects.services.push(service(stack, read, label(names::READS, "true"), frame()));
    }
    let headless = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        // Members of a group find each other before they are ready.
        publish_not_ready_addresses: Some(true),
        ..ServiceSpec::default()
    };
    objects.services.push(service(stack, names::mysql_nodes(stack), None, headless));
    let size = storage::size(observed, mysql);
    objects.claims.extend(observed.live.claims.iter().map(|claim| kept_claim(stack, &size, claim)));
}

/// By what the Service for writes selects Pods now.
fn selector(observed: &Observed) -> Option<&BTreeMap<String, String>> {
    let name = Component::Mysql.of(&observed.stack);
    let service = observed.live.services.iter().find(|service| service.name_any() == name)?;
    service.spec.as_ref()?.selector.as_ref()
}

/// Whether clients are led by the group's keeper already. From then on they stay so: who is not named has nobody's
/// writes.
fn is_led(observed: &Observed) -> bool {
    // The second is what earlier versions led by.
    let leads = |selector: &BTreeMap<String, String>| {
        [names::POD_NAME, names::ROLE].iter().any(|key| selector.contains_key(*key))
    };
    selector(observed).is_some_and(leads)
}

/// The Pod that the Service for writes leads to. Who is named stays so here: the group's keeper names another one.
fn takes_writes(observed: &Observed) -> String {
    let named = || selector(observed)?.get(names::POD_NAME).cloned();
    let told = || Some(names::member(&observed.stack, observed.group.as_ref()?.primary?));
    let before = || observed.stack.status.as_ref()?.mysql.as_ref()?.primary.clone();
    named().or_else(told).or_else(before).unwrap_or_else(|| names::NOBODY.to_owned())
}

/// Pods that make room for ones of a newer version: of a server that runs alone, and all that crash or cannot start. Of
/// a group's members, the keeper says when.
pub(super) fn outdated_pods(observed: &Observed) -> Vec<Pod> {
    let Some(template) = observed.template() else { return Vec::new() };
    let pods = observed.pods_of(Component::Mysql).filter(|pod| {
        // One that has crashed may be about to recover: what only the operator makes otherwise is no reason to stop it.
        let waits = |(reason, _): (String, String)| reason != CRASHED || template.replaces(pod);
        let stuck = template.differs(pod) && waits_for(pod).is_some_and(waits);
        let alone = !observed.is_group() && template.replaces(pod);
        (stuck || alone) && pod.metadata.deletion_timestamp.is_none()
    });
    pods.cloned().collect()
}

/// What a group's members need that could not be changed while they run, or would come too late, as for tables that
/// were made without a primary key. A server that runs alone has it too, so that it can become the first member as it
/// is. Nobody joins a group by himself: the operator tells when.
const GROUP: [(&str, &str); 15] = [
    ("GTID_MODE", "ON"),
    ("ENFORCE_GTID_CONSISTENCY", "ON"),
    ("RELAY_LOG", "relay-bin"),
    ("SQL_GENERATE_INVISIBLE_PRIMARY_KEY", "ON"),
    ("PLUGIN_LOAD_ADD", "group_replication.so;mysql_clone.so"),
    ("LOOSE_GROUP_REPLICATION_START_ON_BOOT", "OFF"),
    ("LOOSE_GROUP_REPLICATION_AUTOREJOIN_TRIES", "0"),
    ("LOOSE_GROUP_REPLICATION_COMMUNICATION_STACK", "MYSQL"),
    ("LOOSE_GROUP_REPLICATION_SSL_MODE", "REQUIRED"),
    ("LOOSE_GROUP_REPLICATION_RECOVERY_USE_SSL", "ON"),
    ("LOOSE_GROUP_REPLICATION_EXIT_STATE_ACTION", "OFFLINE_MODE"),
    ("LOOSE_GROUP_REPLICATION_UNREACHABLE_MAJORITY_TIMEOUT", "20"),
    ("LOOSE_GROUP_REPLICATION_MEMBER_EXPEL_TIMEOUT", "0"),
    ("LOOSE_GROUP_REPLICATION_CONSISTENCY", "BEFORE_ON_PRIMARY_FAILOVER"),
    ("LOOSE_GROUP_REPLICATION_MESSAGE_CACHE_SIZE", "134217728"),
];

/// From where root may log in over the network: the operator does so once, to make its own account.
const ROOT_HOST: &str = "MYSQL_ROOT_HOST";

/// What only members are started with: they lose nothing that was acknowledged, and take no writes by themselves.
const MEMBER: [(&str, &str); 5] = [
    ("LOG_BIN", "binlog"),
    ("SYNC_BINLOG", "1"),
    ("INNODB_FLUSH_LOG_AT_TRX_COMMIT", "1"),
    ("SUPER_READ_ONLY", "ON"),
    ("SKIP_REPLICA_START", "ON"),
];

fn variables(mysql: &Mysql, names: &Names, grouped: bool) -> BTreeMap<String, String> {
    let own = [
        ("MYSQL_DATABASE", mysql.database.as_str()),
        ("MYSQL_USER", &mysql.user),
        ("MYSQL_DATASET", mysql.dataset.name()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variable =
        |option: &str, value: &str| (format!("MYSQL_CONF_{}", option.to_ascii_uppercase()), value.to_owned());
    let options = mysql.config.iter().map(|(option, value)| variable(option, value));
    let name = ("LOOSE_GROUP_REPLICATION_GROUP_NAME", names.group.as_str());
    let capable = GROUP.into_iter().chain([name]).map(|(option, value)| variable(option, value));
    let member = MEMBER.into_iter().map(|(option, value)| variable(option, value));
    // What a member has as `env`, since it differs from Pod to Pod: the user's own wins over it here.
    let first = [
        (ROOT_HOST.to_owned(), "%".to_owned()),
        variable("server_id", &names.server_id(0).to_string()),
        variable("report_host", &names.host(0)),
        variable("loose_group_replication_local_address", &format!("{}:{PORT}", names.host(0))),
    ];
    let pool = "MYSQL_CONF_INNODB_BUFFER_POOL_SIZE";
    let limit = mysql.resources.as_ref().and_then(|resources| resources.limits.as_ref()?.get("memory"));
    let pool = grouped.then(|| Some((pool.to_owned(), buffer_pool(quantity(&limit?.0)?).to_string()))).flatten();
    // The user's own options win over what is suggested, and a group's over the user's.
    match grouped {
        true => pool.into_iter().chain(own).chain(options).chain(capable).chain(member).collect(),
        false => capable.chain(first).chain(own).chain(options).collect(),
    }
}

/// The buffer pool for a memory limit in thousandths of bytes, in bytes. The image knows what a server takes, and not
/// that a member takes 260 MiB more: messages for members that are slow, 128 MiB of them, and the group's own threads.
fn buffer_pool(limit: u128) -> u128 {
    const MIB: u128 = 1 << 20;
    let limit = limit / 1000;
    let spare = limit.saturating_sub(660 * MIB) / 4 * 3;
    spare.max((128 * MIB).min(limit / 4)).max(5 * MIB)
}

fn service(stack: &WebStack, name: String, label: Option<(String, String)>, frame: ServiceSpec) -> Service {
    let mut selector = names::component_labels(stack, Component::Mysql);
    selector.extend(label);
    Service {
        metadata: super::named(stack, Component::Mysql, name),
        spec: Some(ServiceSpec {
            selector: Some(selector),
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

/// How many Pods there should be. A group gets more at once, and fewer one after the other, when a member has left it.
pub(super) fn pods(observed: &Observed, mysql: &Mysql) -> i32 {
    if observed.stack.spec.suspend {
        return 0;
    }
    let live = observed.stateful_set().and_then(|set| set.spec.as_ref()?.replicas).filter(|live| *live > 0);
    // After a time without any Pod, all who were in the group come back first: what counts may be with one that is not
    // wanted any more.
    let live = live.unwrap_or_else(|| before(observed));
    let leaving = observed.group.as_ref().and_then(|group| group.leaving).and_then(|last| i32::try_from(last).ok());
    mysql.instances.max(if observed.is_group() { leaving.unwrap_or(live) } else { 0 })
}

/// How many Pods the members need that were in the group when it was last seen to work. Where nobody knows who was, as
/// after a stack that was deleted, whoever has a volume may have been.
fn before(observed: &Observed) -> i32 {
    let stack = &*observed.stack;
    let known = stack.status.iter().filter_map(|status| status.mysql.as_ref()).flat_map(|mysql| &mysql.known);
    let names = names::group(stack, "");
    let last = known.filter_map(|pod| names.member(pod)).max();
    let last = last.or_else(|| storage::claims(observed).into_keys().max());
    last.and_then(|last| i32::try_from(last).ok()).map_or(0, |last| last.saturating_add(1))
}

fn stateful_set(
    observed: &Observed,
    mysql: &Mysql,
    group: &Names,
    variables: &BTreeMap<String, String>,
) -> StatefulSet {
    let stack = &*observed.stack;
    let labels = names::component_labels(stack, Component::Mysql);
    let grouped = observed.is_group();
    let mut annotations = BTreeMap::from([(names::CONFIG.to_owned(), asked(observed, mysql, group))]);
    let marked = if grouped { names::GROUP } else { names::FUTURE_GROUP };
    annotations.insert(marked.to_owned(), group.group.clone());
    // A StatefulSet's claim templates cannot be changed: those that are there stay, and the claims themselves grow.
    let live = observed.stateful_set().and_then(|set| set.spec.as_ref()?.volume_claim_templates.as_ref()?.first());
    let size = Quantity(live.and_then(storage::claimed).unwrap_or_else(|| mysql.storage.size.clone()));
    StatefulSet {
        metadata: super::metadata(stack, Component::Mysql),
        spec: Some(StatefulSetSpec {
            service_name: Some(names::mysql_nodes(stack)),
            replicas: Some(pods(observed, mysql)),
            selector: LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() },
            pod_management_policy: Some("Parallel".to_owned()),
            revision_history_limit: Some(3),
            update_strategy: Some(StatefulSetUpdateStrategy {
                // Members of a group are replaced in an order that Kubernetes does not know, and nobody is because of a
                // newer operator.
                type_: Some("OnDelete".to_owned()),
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
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(stack, mysql, (group, grouped), variables, &labels)),
            },
            volume_claim_templates: Some(vec![PersistentVolumeClaim {
                metadata: ObjectMeta { name: Some(DATA.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
                spec: Some(PersistentVolumeClaimSpec {
                    access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                    resources: Some(request(size)),
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

/// For a tier with a problem: leaves its Pods as they are, but for their number. Whether there is one to be changed. Of
/// the Pod of a server that runs alone, no members are made.
pub(super) fn only_counts(set: &mut StatefulSet, live: &StatefulSetSpec) -> bool {
    let Some(spec) = &mut set.spec else { return false };
    let is_member = |template: &PodTemplateSpec| {
        let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
        annotations.is_some_and(|annotations| annotations.contains_key(names::GROUP))
    };
    let alike = is_member(&spec.template) == is_member(&live.template);
    spec.template = live.template.clone();
    spec.replicas < live.replicas || (alike && spec.replicas > live.replicas)
}

/// A checksum of all that people have asked for and that a server is started with: Pods are replaced when it changes.
/// What the operator adds is not in it, and must not get into it: a field of later versions counts only where it is not
/// at its default.
fn asked(observed: &Observed, mysql: &Mysql, group: &Names) -> String {
    let Mysql {
        image,
        credentials_secret,
        database,
        user,
        dataset,
        config,
        initdb,
        env,
        env_from,
        resources,
        affinity,
        node_selector,
        tolerations,
        topology_spread_constraints,
        image_pull_policy: _,
        instances: _,
        storage: _,
        reclone_errant: _,
    } = mysql;
    let fields = json!({
        "image": image, "credentialsSecret": credentials_secret, "database": database, "user": user, "dataset": dataset,
        "config": config, "initdb": initdb, "env": env, "envFrom": env_from, "resources": resources,
        "affinity": affinity, "nodeSelector": node_selector, "tolerations": tolerations,
        "topologySpreadConstraints": topology_spread_constraints, "domain": group.domain,
    });
    let fields = BTreeMap::from([("spec".to_owned(), fields.to_string())]);
    references::checksum(&references::of(&observed.stack, Component::Mysql), &observed.contents, &fields)
}

fn request(size: Quantity) -> VolumeResourceRequirements {
    VolumeResourceRequirements { requests: Some([("storage".to_owned(), size)].into()), limits: None }
}

/// A claim as it should be: its size, and whose it is. One that is larger already stays so.
fn kept_claim(stack: &WebStack, wanted: &str, live: &PersistentVolumeClaim) -> PersistentVolumeClaim {
    let larger = |live: &String| quantity(wanted).is_some_and(|wanted| quantity(live) > Some(wanted));
    let size = storage::claimed(live).filter(larger);
    let size = Quantity(size.unwrap_or_else(|| wanted.to_owned()));
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            owner_references: super::data_owner(stack),
            ..super::named(stack, Component::Mysql, live.name_any())
        },
        spec: Some(PersistentVolumeClaimSpec {
            resources: Some(request(size)),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn pod_spec(
    stack: &WebStack,
    mysql: &Mysql,
    (group, grouped): (&Names, bool),
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
        containers: vec![container(stack, mysql, (group, grouped), variables)],
        volumes: Some(volumes),
        readiness_gates: grouped.then(|| vec![PodReadinessGate { condition_type: names::IN_GROUP.to_owned() }]),
        // A clean shutdown writes back what is in memory.
        termination_grace_period_seconds: Some(120),
        affinity: Some(mysql.affinity.clone().unwrap_or_else(|| apart(labels))),
        node_selector: super::optional(mysql.node_selector.clone()),
        tolerations: super::list(mysql.tolerations.clone()),
        topology_spread_constraints: super::list(mysql.topology_spread_constraints.clone()),
        ..pod::spec(stack, Component::Mysql)
    }
}

/// What differs from member to member, and root's way in from the network.
fn member(names: &Names) -> Vec<EnvVar> {
    let host = format!("$(POD_NAME).{}", names.domain);
    vec![
        pod::field("POD_NAME", "metadata.name"),
        pod::field("POD_INDEX", "metadata.labels['apps.kubernetes.io/pod-index']"),
        // `Names::server_id`.
        pod::variable("MYSQL_CONF_SERVER_ID", "1$(POD_INDEX)"),
        pod::variable("MYSQL_CONF_REPORT_HOST", host.clone()),
        pod::variable("MYSQL_CONF_LOOSE_GROUP_REPLICATION_LOCAL_ADDRESS", format!("{host}:{PORT}")),
        pod::variable(ROOT_HOST, "%"),
    ]
}

fn container(
    stack: &WebStack,
    mysql: &Mysql,
    (group, grouped): (&Names, bool),
    variables: &BTreeMap<String, String>,
) -> Container {
    let config_map = Component::Mysql.of(stack);
    // The operator's own as `env`, which no `envFrom` replaces; the options as `envFrom`, before the user's.
    let own = variables.iter().filter(|(name, _)| !name.starts_with("MYSQL_CONF_") && *name != ROOT_HOST);
    let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut env = pod::variables_of(&config_map, &own);
    env.push(pod::variable("MYSQL_ROOT_PASSWORD_FILE", format!("{SECRETS}/{}", names::ROOT_PASSWORD)));
    env.push(pod::variable("MYSQL_PASSWORD_FILE", format!("{SECRETS}/{}", names::PASSWORD)));
    // The web tier keeps its connections while it learns a new password.
    env.push(pod::variable("MYSQL_RETAIN_PASSWORD", "true"));
    env.extend(grouped.then(|| member(group)).into_iter().flatten());
    let mut env_from = vec![EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource { name: config_map, optional: None }),
        ..EnvFromSource::default()
    }];
    env_from.extend_from_slice(&mysql.env_from);
    let mut frame = pod::container("mysql", &mysql.image, mysql.image_pull_policy.name());
    let mounts = frame.volume_mounts.get_or_insert_default();
    mounts.push(pod::mount(DATA, "/var/lib/mysql"));
    if grouped {
        mounts.push(VolumeMount { sub_path: Some(ASIDE_FOLDER.to_owned()), ..pod::mount(DATA, mysql::ASIDE) });
    }
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
        lifecycle: grouped.then(|| Lifecycle { pre_stop: Some(pod::hook(&HAND_OVER)), ..Lifecycle::default() }),
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
