//! The custom resource `WebStack` (`tandem.dev/v1alpha1`): what a user may ask for, with the limits that the API server
//! itself enforces, and the status that the operator answers with.
//!
//! Descriptions of fields are written for users: `kubectl explain` and the generated reference show them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod amounts;
mod defaults;
mod schema;

/// The API group.
pub const GROUP: &str = "tandem.dev";

/// What one stack is: a MySQL database and the web tier in front of it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "tandem.dev",
    version = "v1alpha1",
    kind = "WebStack",
    namespaced,
    shortname = "ws",
    category = "all",
    status = "WebStackStatus",
    derive = "PartialEq",
    doc = "A MySQL database and a web tier that scales, kept together as one.",
    scale(
        spec_replicas_path = ".spec.web.replicas",
        status_replicas_path = ".status.web.replicas",
        label_selector_path = ".status.web.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Database",
        type_ = "string",
        json_path = ".status.mysql.ready",
        description = "MySQL instances that serve, of those wanted"
    ),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.mysql.primary"),
    printcolumn(
        name = "Web",
        type_ = "string",
        json_path = ".status.web.ready",
        description = "Web Pods that serve, of those wanted"
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "MySQL image", type_ = "string", priority = 1, json_path = ".spec.mysql.image"),
    printcolumn(name = "Web image", type_ = "string", priority = 1, json_path = ".spec.web.image"),
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("metadata.name may have at most 40 characters: the names of Pods and Services are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name may only have lower-case letters, digits and hyphens, and starts with a letter: it becomes part of host names")
)]
#[x_kube(
    validation = Rule::new("has(self.mysql) != has(self.externalDatabase)")
        .message("exactly one of spec.mysql and spec.externalDatabase must be set"),
    validation = Rule::new("has(self.mysql) == has(oldSelf.mysql)")
        .message("spec.mysql cannot be exchanged for spec.externalDatabase or the other way round: create another WebStack")
)]
#[serde(rename_all = "camelCase")]
pub struct WebStackSpec {
    /// Scales both tiers to zero. The data is kept.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to the volumes and the generated Secret when the WebStack is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// The database. Exactly one of this and `externalDatabase` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<Mysql>,
    /// An existing MySQL server, in place of `mysql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_database: Option<ExternalDatabase>,
    /// The web tier.
    #[serde(default)]
    pub web: Web,
    /// Secrets with the credentials of the images' registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}

/// What happens to data when its WebStack is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// Volumes and the generated Secret stay, and a WebStack of the same name takes them up again with all rows.
    #[default]
    Retain,
    /// Volumes and the generated Secret go too.
    Delete,
}

/// The database tier.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(
    validation = Rule::new("self.instances == 1 || !has(self.config) || self.config.all(option, !option.matches('^(loose_)?(skip_|disable_|enable_)?(group_replication_[a-z0-9_]*|enforce_gtid_consistency|gtid_mode|innodb_flush_log_at_trx_commit|log_bin|log_replica_updates|log_slave_updates|plugin_load_add|read_only|relay_log|replica_start|report_host|server_id|slave_start|sql_generate_invisible_primary_key|super_read_only|sync_binlog)$'))")
        .message("spec.mysql.config must not set what a group (instances above 1) depends on: enforce_gtid_consistency, group_replication_*, gtid_mode, innodb_flush_log_at_trx_commit, log_bin, log_replica_updates, plugin_load_add, read_only, relay_log, report_host, server_id, skip_replica_start, sql_generate_invisible_primary_key, super_read_only, sync_binlog"),
    validation = Rule::new("self.instances == 1 || !has(self.env) || self.env.all(e, !e.name.matches('^((?i:MYSQL_CONF_(loose_)?(skip_|disable_|enable_)?(group_replication_[a-z0-9_]*|enforce_gtid_consistency|gtid_mode|innodb_flush_log_at_trx_commit|log_bin|log_replica_updates|log_slave_updates|plugin_load_add|read_only|relay_log|replica_start|report_host|server_id|slave_start|sql_generate_invisible_primary_key|super_read_only|sync_binlog))|MYSQL_ROOT_HOST|POD_NAME|POD_INDEX)$'))")
        .message("spec.mysql.env must not set what a group (instances above 1) depends on: MYSQL_ROOT_HOST, POD_NAME, POD_INDEX, and MYSQL_CONF_ before enforce_gtid_consistency, group_replication_*, gtid_mode, innodb_flush_log_at_trx_commit, log_bin, log_replica_updates, plugin_load_add, read_only, relay_log, report_host, server_id, skip_replica_start, sql_generate_invisible_primary_key, super_read_only, sync_binlog")
)]
#[serde(rename_all = "camelCase")]
pub struct Mysql {
    /// An image that follows the contract of `tandem/mysql` (docs/configuration.md).
    #[serde(default = "defaults::mysql_image")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9._:/@-]*$')")
        .message("spec.mysql.image must be an image's name, such as registry.example.com/mysql:1.2"))]
    pub image: String,
    /// When the image is pulled.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// How many MySQL instances there are: 1, or a group of 3 or 5, of which one or two may fail while the others go on
    /// (docs/high-availability.md).
    #[serde(default = "defaults::one")]
    #[x_kube(validation = Rule::new("self in [1, 3, 5]")
        .message("spec.mysql.instances must be 1, 3 or 5"))]
    pub instances: i32,
    /// The volume of each instance.
    #[serde(default)]
    pub storage: Storage,
    /// The database that is created for the application. Cannot be changed.
    #[serde(default = "defaults::database")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("spec.mysql.database cannot be changed"),
        validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9_$-]*$')")
            .message("spec.mysql.database may only have letters, digits and _, $ and -"),
        validation = Rule::new("!(self.lowerAscii() in ['mysql', 'sys', 'information_schema', 'performance_schema'])")
            .message("spec.mysql.database must not be one of MySQL's own: mysql, sys, information_schema, performance_schema")
    )]
    pub database: String,
    /// The application's account: everything in `database`, nothing elsewhere. Cannot be changed.
    #[serde(default = "defaults::user")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("spec.mysql.user cannot be changed"),
        validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9_.$-]*$')")
            .message("spec.mysql.user may only have letters, digits and _, ., $ and -"),
        validation = Rule::new("!(self.lowerAscii() in ['root', 'mysql.sys', 'mysql.session', 'mysql.infoschema', 'tandem-health', 'tandem-operator'])")
            .message("spec.mysql.user must not be an account that MySQL or the image needs itself: root, mysql.sys, mysql.session, mysql.infoschema, tandem-health, tandem-operator")
    )]
    pub user: String,
    /// A Secret with the keys `root-password` and `password` (the application's). Without it, the operator generates
    /// one, called NAME-mysql, and makes it anew if somebody deletes it. Changing the passwords in it restarts the
    /// database with the new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_name")]
    pub credentials_secret: Option<String>,
    /// What an empty volume is loaded with: the data set of the image, a sample of 10,000 employees, or nothing.
    #[serde(default)]
    pub dataset: Dataset,
    /// Server options, for example `max_connections: "300"`. mysqld checks them when it starts anew with them: a wrong
    /// one is told in the conditions, and the database is away until it is mended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::server_options")]
    #[x_kube(
        validation = Rule::new("self.all(option, option.matches('^[a-z][a-z0-9_]*$'))")
            .message("spec.mysql.config: options are written in lower case with underscores, as max_connections"),
        validation = Rule::new(schema::no_own_option())
            .message(schema::naming_own_options("spec.mysql.config must not set what the image sets itself, nor take the database from its clients").as_str()),
        validation = Rule::new(r"self.all(option, self[option] != '' && !self[option].matches('\\p{Cc}'))")
            .message("spec.mysql.config: values are one line of text, not empty and without control characters")
    )]
    pub config: BTreeMap<String, String>,
    /// What an empty volume's first start runs: scripts and SQL, or a data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initdb: Option<Initdb>,
    /// Variables for the container. They win over the ones of `config`; those that the operator owns are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::server_env")]
    #[x_kube(
        validation = Rule::new("self.all(e, !(e.name in ['MYSQL_DATABASE', 'MYSQL_DATABASE_FILE', 'MYSQL_USER', 'MYSQL_USER_FILE', 'MYSQL_PASSWORD', 'MYSQL_PASSWORD_FILE', 'MYSQL_ROOT_PASSWORD', 'MYSQL_ROOT_PASSWORD_FILE', 'MYSQL_ALLOW_EMPTY_PASSWORD', 'MYSQL_RANDOM_ROOT_PASSWORD', 'MYSQL_ONETIME_PASSWORD', 'MYSQL_DATASET', 'MYSQL_RETAIN_PASSWORD']))")
            .message("spec.mysql.env must not set what other fields say: database, user, credentialsSecret, dataset"),
        validation = Rule::new("self.all(e, !e.name.startsWith('MYSQL_CONF_') || e.name.matches('^MYSQL_CONF_[A-Za-z][A-Za-z0-9_]*$'))")
            .message("spec.mysql.env: after MYSQL_CONF_ comes an option of letters, digits and underscores, as MYSQL_CONF_MAX_CONNECTIONS"),
        validation = Rule::new(schema::no_own_variable())
            .message(schema::naming_own_options("spec.mysql.env must not set, after MYSQL_CONF_, what spec.mysql.config must not").as_str()),
        validation = Rule::new(r"self.all(e, !e.name.startsWith('MYSQL_CONF_') || (has(e.value) ? e.value != '' && !e.value.matches('\\p{Cc}') : has(e.valueFrom)))")
            .message("spec.mysql.env: the values of MYSQL_CONF_ variables are one line of text, not empty and without control characters")
    )]
    pub env: Vec<EnvVar>,
    /// ConfigMaps and Secrets whose keys become variables. They win over `config`, and lose against `env` and against
    /// the variables that the operator owns. What they hold cannot be checked: of a group, they must not set what
    /// `config` must not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env_from")]
    pub env_from: Vec<EnvFromSource>,
    /// Whether a member of a group that has transactions of its own is filled anew from another member without a
    /// person's word. What it had is kept aside in its volume (docs/high-availability.md).
    #[serde(default)]
    pub reclone_errant: bool,
    /// What the container may use. The buffer pool follows the memory limit.
    #[serde(default, deserialize_with = "amounts::resources", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    #[x_kube(
        validation = Rule::new(schema::known_resources())
            .message("spec.mysql.resources may only name cpu, memory, ephemeral-storage, hugepages-SIZE, and devices with a / as example.com/gpu"),
        validation = Rule::new(schema::requests_within_limits())
            .message("spec.mysql.resources.requests must not be above limits"),
        validation = Rule::new(schema::requests_that_are_limits())
            .message("spec.mysql.resources: what is not shared, hugepages-SIZE and devices, must be the same in requests and limits")
    )]
    pub resources: Option<ResourceRequirements>,
    /// Where Pods may run. By default instances avoid each other's nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the Pods put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// How Pods spread over nodes and zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
}

/// The volume of a MySQL instance.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
    .message("spec.mysql.storage.className cannot be changed"))]
#[x_kube(validation = Rule::new("!has(self.autoGrow) || !isQuantity(self.autoGrow.limit) || !isQuantity(self.size) || quantity(self.autoGrow.limit).compareTo(quantity(self.size)) >= 0")
    .message("spec.mysql.storage.autoGrow.limit must not be smaller than spec.mysql.storage.size"))]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// How large the volume is. It may grow where the StorageClass allows that, never shrink, so mind the unit.
    #[serde(default = "defaults::storage_size")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
            .message("spec.mysql.storage.size must be a quantity such as 10Gi"),
        validation = Rule::new("!isQuantity(self) || quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("spec.mysql.storage.size cannot shrink")
    )]
    pub size: String,
    /// The StorageClass; without it the cluster's default. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_name")]
    pub class_name: Option<String>,
    /// Lets the volumes grow by themselves: when one of them is used to 80 %, all of them get half as much again. This
    /// needs a StorageClass that lets volumes grow. `size` stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_grow: Option<AutoGrow>,
}

/// How far volumes grow by themselves.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoGrow {
    /// The largest size that they get without a person's word.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
        .message("spec.mysql.storage.autoGrow.limit must be a quantity such as 100Gi"))]
    pub limit: String,
}

/// What an empty volume's first start runs.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.configMap) != has(self.claim)")
    .message("exactly one of configMap and claim must be set in spec.mysql.initdb"))]
#[serde(rename_all = "camelCase")]
pub struct Initdb {
    /// A ConfigMap whose keys are the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_name")]
    pub config_map: Option<String>,
    /// A PersistentVolumeClaim that holds the files, for what is too large for a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_name")]
    pub claim: Option<String>,
}

/// What an empty volume is loaded with.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    /// The data set that was built into the image.
    #[default]
    Full,
    /// A generated sample of 10,000 employees.
    Small,
    /// Nothing.
    None,
}

impl Dataset {
    /// Its name, as in the resource and in `MYSQL_DATASET`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Small => "small",
            Self::None => "none",
        }
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PullPolicy {
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Before every start.
    Always,
    /// Never: the node must have it.
    Never,
}

impl PullPolicy {
    /// Its name in a Pod.
    pub fn name(self) -> &'static str {
        match self {
            Self::IfNotPresent => "IfNotPresent",
            Self::Always => "Always",
            Self::Never => "Never",
        }
    }
}

/// An existing MySQL server.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalDatabase {
    /// Its host name or address.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(schema::host())
        .message("spec.externalDatabase.host must be a host name or an IP address"))]
    pub host: String,
    /// Its port.
    #[serde(default = "defaults::mysql_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The database. Unlike the one of `mysql` it may have any name that MySQL takes: it is there already, and is only
    /// quoted.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(r"!self.matches('\\p{Cc}')")
        .message("spec.externalDatabase.database must not have control characters"))]
    pub database: String,
    /// The account to connect as. Unlike the one of `mysql` it may have any name that MySQL takes: it is there already.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new(r"!self.matches('\\p{Cc}')")
        .message("spec.externalDatabase.user must not have control characters"))]
    pub user: String,
    /// A Secret whose key `password` holds the account's password.
    #[schemars(schema_with = "schema::name")]
    pub credentials_secret: String,
    /// Whether connections are encrypted.
    #[serde(default)]
    pub tls: Tls,
}

/// Encryption on the way to an external database.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.caSecret) || self.mode in ['verify-ca', 'verify-identity']")
    .message("spec.externalDatabase.tls.caSecret needs mode verify-ca or verify-identity"))]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Whether connections are encrypted, and what is checked of the server's certificate.
    #[serde(default)]
    pub mode: TlsMode,
    /// A Secret whose key `ca.crt` holds the authorities to trust, in place of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_name")]
    pub ca_secret: Option<String>,
}

/// As `DATABASE_TLS` of the web application.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Where the server can.
    #[default]
    Preferred,
    /// Never.
    Disabled,
    /// Always, with any certificate.
    Required,
    /// Always, with a certificate of a trusted authority.
    VerifyCa,
    /// Always, with a trusted certificate for the host's name.
    VerifyIdentity,
}

impl TlsMode {
    /// Its name, as in the resource and in `DATABASE_TLS`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::Disabled => "disabled",
            Self::Required => "required",
            Self::VerifyCa => "verify-ca",
            Self::VerifyIdentity => "verify-identity",
        }
    }
}

/// The web tier.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Web {
    /// An image that follows the contract of `tandem/web` (docs/configuration.md).
    #[serde(default = "defaults::web_image")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9._:/@-]*$')")
        .message("spec.web.image must be an image's name, such as registry.example.com/web:1.2"))]
    pub image: String,
    /// When the image is pulled.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// How many Pods serve. With `autoscaling`, the autoscaler changes this number.
    #[serde(default = "defaults::replicas")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Lets a HorizontalPodAutoscaler choose `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The command that brings the database's schema to the image's version. It runs once, before the web tier's image
    /// changes; an empty list leaves it out.
    #[serde(default = "defaults::migrate_command")]
    #[schemars(length(max = 32))]
    pub migrate_command: Vec<String>,
    /// Variables for the container. They win over the operator's, but those that say which database it is are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env")]
    #[x_kube(validation = Rule::new("self.all(e, !(e.name in ['PORT', 'WEB_ROLE', 'DATABASE_URL', 'DATABASE_URL_FILE', 'DATABASE_HOST', 'DATABASE_PORT', 'DATABASE_NAME', 'DATABASE_USER', 'DATABASE_PASSWORD', 'DATABASE_PASSWORD_FILE', 'DATABASE_TLS', 'DATABASE_TLS_CA']))")
        .message("spec.web.env must not set PORT, WEB_ROLE or which database it is: spec.mysql or spec.externalDatabase says that"))]
    pub env: Vec<EnvVar>,
    /// ConfigMaps and Secrets whose keys become variables. They lose against `env` and against the variables that the
    /// operator owns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::env_from")]
    pub env_from: Vec<EnvFromSource>,
    /// What the container may use.
    #[serde(default, deserialize_with = "amounts::resources", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    #[x_kube(
        validation = Rule::new(schema::known_resources())
            .message("spec.web.resources may only name cpu, memory, ephemeral-storage, hugepages-SIZE, and devices with a / as example.com/gpu"),
        validation = Rule::new(schema::requests_within_limits())
            .message("spec.web.resources.requests must not be above limits"),
        validation = Rule::new(schema::requests_that_are_limits())
            .message("spec.web.resources: what is not shared, hugepages-SIZE and devices, must be the same in requests and limits")
    )]
    pub resources: Option<ResourceRequirements>,
    /// Where Pods may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the Pods put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// How Pods spread over nodes and zones. By default they spread over nodes where they can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// How the web tier is reached.
    #[serde(default)]
    pub service: WebService,
    /// A name for the web tier, by an ingress controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
}

/// Bounds for the autoscaler.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas")
    .message("spec.web.autoscaling.minReplicas must not be larger than maxReplicas"))]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// The fewest Pods.
    #[serde(default = "defaults::replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The most Pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The average share of the requested processor time that Pods should use, in percent. Needs
    /// `spec.web.resources.requests.cpu` and the cluster's metrics server.
    #[serde(default = "defaults::target_cpu", rename = "targetCPUUtilizationPercentage")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization_percentage: i32,
}

/// How the web tier is reached.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("!has(self.nodePort) || self.type != 'ClusterIP'")
    .message("spec.web.service.nodePort needs type NodePort or LoadBalancer"))]
#[serde(rename_all = "camelCase")]
pub struct WebService {
    /// The Service's type.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// The Service's port.
    #[serde(default = "defaults::http_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The port on every node, of the cluster's range (30000 to 32767 by default); without it the cluster chooses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
    /// Annotations for the Service, as cloud load balancers want them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A Service's type.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ServiceType {
    /// Inside the cluster only.
    #[default]
    ClusterIP,
    /// A port on every node.
    NodePort,
    /// A load balancer of the cloud.
    LoadBalancer,
}

impl ServiceType {
    /// Its name in a Service.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// A name for the web tier.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The ingress controller; without it the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_name")]
    pub class_name: Option<String>,
    /// The host name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$') && !self.matches('^[0-9.]+$')")
        .message("spec.web.ingress.host must be a host name in lower case, not an address"))]
    pub host: String,
    /// A Secret of type `kubernetes.io/tls` for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::optional_name")]
    pub tls_secret: Option<String>,
    /// Annotations for the Ingress.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What the operator found.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebStackStatus {
    /// The generation of the spec that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the web tier answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Ready, DatabaseReady, WebReady and Progressing; of a database of its own also StorageLow (a volume is nearly
    /// full), and of a group Degraded (members are missing) and Blocked (a person has to decide).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The database; absent with an external one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<MysqlStatus>,
    /// The web tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<WebStatus>,
}

/// The database tier's state.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MysqlStatus {
    /// How many instances are wanted.
    pub instances: i32,
    /// How many serve.
    pub ready_instances: i32,
    /// Both as `1/1`, for people.
    pub ready: String,
    /// The Pod that takes writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The members of a group, or the one server that runs alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
    /// The Pods that were in the group when it was last seen to work. After an outage of all of them, it is formed anew
    /// when these, or enough of them, are back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
    /// The Pods that were in another group than the one that serves, and have not been filled anew since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<String>,
    /// The UUID of the group that worked last. A person who has it formed anew gives it another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The words of a person that were followed, or were not needed, as `ANNOTATION=POD`, for as long as the
    /// annotations stand: none is followed twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub followed: Vec<String>,
    /// The last time that another member became the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<FailoverStatus>,
}

/// A change of the primary, wanted or not.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailoverStatus {
    /// The Pod that was the primary before.
    pub from: String,
    /// The Pod that is it since.
    pub to: String,
    /// When writes were led to it, as RFC 3339.
    pub time: String,
    /// How long after the operator had last seen the other one as the primary, in milliseconds.
    pub milliseconds: i32,
}

impl FailoverStatus {
    /// How long it took, in seconds.
    pub fn seconds(&self) -> f64 {
        f64::from(self.milliseconds) / 1000.0
    }
}

/// One member of a group, or the one server that runs alone.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its Pod.
    pub name: String,
    /// How it stands, in Group Replication's words; `SILENT` where it does not answer, `ALONE` where there is no group.
    pub state: String,
    /// `primary` or `replica`, where it is in the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Whether it is too far behind the primary to be read from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lags: bool,
    /// How long ago, in seconds, the transaction was committed that it applies, as it said within the last ten seconds.
    /// Not for the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
    /// How many of the primary's transactions it has not applied, as of within the last ten seconds. Not for the
    /// primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid_gap: Option<i64>,
    /// How much of its volume it uses, in percent, as it said within the last half a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<i32>,
    /// The transactions that only it has, or in words that it was in another group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errant: Option<String>,
}

/// The web tier's state.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebStatus {
    /// How many Pods there are.
    pub replicas: i32,
    /// How many serve.
    pub ready_replicas: i32,
    /// Those that serve of those wanted as `3/3`, for people.
    pub ready: String,
    /// Which Pods they are, as a label selector.
    pub selector: String,
}
