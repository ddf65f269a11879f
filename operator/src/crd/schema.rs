//! Schemas that say more than the Rust types do. Every text and list has a limit: the API server refuses rules whose
//! cost it cannot bound.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, ResourceRequirements};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The name of an object in the same namespace.
pub(super) fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    })
}

/// The same, or nothing.
pub(super) fn optional_name(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = name(generator);
    schema.insert("nullable".to_owned(), true.into());
    schema
}

/// Variables of a container.
pub(super) fn env(generator: &mut SchemaGenerator) -> Schema {
    let mut variable = EnvVar::json_schema(generator);
    if let Some(name) = variable.pointer_mut("/properties/name").and_then(|name| name.as_object_mut()) {
        name.insert("maxLength".to_owned(), 256.into());
        name.insert("minLength".to_owned(), 1.into());
        // Printable ASCII but for "=".
        name.insert("pattern".to_owned(), "^[ -<>-~]*$".into());
    }
    named(&mut variable, "/properties/valueFrom/properties", &["configMapKeyRef", "secretKeyRef"]);
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "items": variable,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    })
}

/// Variables of the database's container. The values of server options are looked at, so that they need a limit: Linux
/// takes 128 KiB, of which a character may need four bytes.
pub(super) fn server_env(generator: &mut SchemaGenerator) -> Schema {
    let mut variables = env(generator);
    if let Some(Value::Object(value)) = variables.pointer_mut("/items/properties/value") {
        value.insert("maxLength".to_owned(), 32_768.into());
    }
    variables
}

/// What a container may use. Kubernetes' own schema takes any text for a quantity; the pattern is the grammar that its
/// description gives, without the minus that no container may have.
pub(super) fn resources(generator: &mut SchemaGenerator) -> Schema {
    const QUANTITY: &str = r"^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";
    let mut resources = ResourceRequirements::json_schema(generator);
    for amounts in ["limits", "requests"] {
        if let Some(Value::Object(amounts)) = resources.pointer_mut(&format!("/properties/{amounts}")) {
            let quantity = json!({
                "x-kubernetes-int-or-string": true,
                "maxLength": 64,
                "minimum": 0,
                "pattern": QUANTITY,
                "description": "A quantity such as 2, 500m or 1Gi.",
            });
            amounts.insert("additionalProperties".to_owned(), quantity);
            amounts.insert("maxProperties".to_owned(), 16.into());
        }
    }
    resources.insert("nullable".to_owned(), true.into());
    resources
}

/// The options that the image sets itself, or by which the database is taken from its clients.
const OWN_OPTIONS: [&str; 14] = [
    "basedir",
    "bind_address",
    "daemonize",
    "datadir",
    "defaults_file",
    "init_file",
    "initialize",
    "initialize_insecure",
    "pid_file",
    "port",
    "skip_grant_tables",
    "skip_networking",
    "socket",
    "validate_config",
];

/// Whether a name means none of them: mysqld takes the beginning of a name as well, and `loose_` before it. `spelled`
/// is how one that is called `own` is written, without and with that.
fn means_none(name: &str, spelled: [&str; 2]) -> String {
    let own = OWN_OPTIONS.join("', '");
    let begins = spelled.map(|spelled| format!("{spelled}.startsWith({name})")).join(" || ");
    format!("!(['{own}'].exists(own, {begins}))")
}

/// A rule for `mysql.config`.
pub(super) fn no_own_option() -> String {
    format!("self.all(option, {})", means_none("option", ["own", "('loose_' + own)"]))
}

/// A rule for `mysql.env`.
pub(super) fn no_own_variable() -> String {
    let spelled = ["('mysql_conf_' + own)", "('mysql_conf_loose_' + own)"];
    format!("self.all(e, !e.name.startsWith('MYSQL_CONF_') || {})", means_none("e.name.lowerAscii()", spelled))
}

/// What is said where one of these rules is broken.
pub(super) fn naming_own_options(words: &str) -> String {
    format!("{words}, be it with loose_ or by the beginning of a name: {}", OWN_OPTIONS.join(", "))
}

/// A rule for `resources`: what Kubernetes knows of, and devices, whose names have a domain.
pub(super) fn known_resources() -> String {
    const DEVICE: &str = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?";
    let known = |amounts: &str| {
        format!(
            "(!has(self.{amounts}) || self.{amounts}.all(name, \
             name.matches('^(cpu|memory|ephemeral-storage|hugepages-[A-Za-z0-9]+|{DEVICE})$')))"
        )
    };
    format!("{} && {}", known("limits"), known("requests"))
}

/// What may be promised to more containers than there is of it.
const SHARED: &str = "['cpu', 'memory', 'ephemeral-storage']";

/// A rule for `resources`. Their amounts are texts or whole numbers: only a text equals itself as a text. Nothing else
/// is compared in this way, since API servers before 1.34 reckon with texts as long as a request may be.
pub(super) fn requests_within_limits() -> String {
    let quantity = |amounts: &str| {
        let amount = format!("self.{amounts}[name]");
        format!("({amount} in [string({amount})] ? quantity({amount}) : quantity('0').add({amount}))")
    };
    let (request, limit) = (quantity("requests"), quantity("limits"));
    format!(
        "!has(self.requests) || !has(self.limits) || {SHARED}.all(name, \
         !(name in self.requests) || !(name in self.limits) || {request}.compareTo({limit}) <= 0)"
    )
}

/// A rule for `resources`: of what is not shared, Kubernetes wants a limit, and the request to be the same.
pub(super) fn requests_that_are_limits() -> String {
    format!(
        "!has(self.requests) || self.requests.all(name, name in {SHARED} || \
         (has(self.limits) && name in self.limits && self.requests[name] == self.limits[name]))"
    )
}

/// A rule for a text: a host's name, as the images take it, or its address. What has only digits and dots is no name.
pub(super) fn host() -> String {
    const LABEL: &str = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
    const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    const GROUP: &str = "[0-9A-Fa-f]{1,4}";
    let matches = |pattern: String| format!("self.matches('{pattern}')");
    let name = matches(format!("^{LABEL}([.]{LABEL})*[.]?$"));
    let number = matches("^[0-9.]+$".to_owned());
    let v4 = matches(format!("^(::[Ff]{{4}}:)?({OCTET}[.]){{3}}{OCTET}$"));
    let v6 = matches(format!("^({GROUP}:){{7}}{GROUP}$"));
    // The gap stands for one group at least, of eight.
    let gap = matches(format!("^({GROUP}(:{GROUP})*)?::({GROUP}(:{GROUP})*)?$"));
    let eight = matches(format!("({GROUP}::?){{7}}{GROUP}"));
    format!("({name} && !{number}) || {v4} || {v6} || ({gap} && !{eight})")
}

/// ConfigMaps and Secrets that become variables.
pub(super) fn env_from(generator: &mut SchemaGenerator) -> Schema {
    let mut source = EnvFromSource::json_schema(generator);
    named(&mut source, "/properties", &["configMapRef", "secretRef"]);
    json_schema!({"type": "array", "maxItems": 16, "items": source})
}

/// Kubernetes takes references without a name, for history's sake; they can only fail.
fn named(schema: &mut Schema, below: &str, references: &[&str]) {
    for reference in references {
        if let Some(Value::Object(reference)) = schema.pointer_mut(&format!("{below}/{reference}")) {
            let required = reference.entry("required").or_insert_with(|| json!([]));
            if let Some(required) = required.as_array_mut().filter(|required| !required.contains(&json!("name"))) {
                required.push("name".into());
            }
        }
        let name = schema.pointer_mut(&format!("{below}/{reference}/properties/name"));
        if let Some(name) = name.and_then(Value::as_object_mut) {
            name.remove("default");
            name.insert("minLength".to_owned(), 1.into());
        }
    }
}

/// Server options: a map from an option to its value.
pub(super) fn server_options(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": {"type": "string", "maxLength": 1024},
    })
}

/// Conditions, which other controllers may add to.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let condition = generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>();
    json_schema!({
        "type": "array",
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

use schemars::JsonSchema as _;
