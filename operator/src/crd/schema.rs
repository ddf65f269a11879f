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

/// What a container may use. Kubernetes' own schema takes any text for a quantity; the pattern is the grammar that its
/// description gives.
pub(super) fn resources(generator: &mut SchemaGenerator) -> Schema {
    const QUANTITY: &str = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";
    let mut resources = ResourceRequirements::json_schema(generator);
    for amounts in ["limits", "requests"] {
        if let Some(quantity) = resources.pointer_mut(&format!("/properties/{amounts}/additionalProperties")) {
            *quantity = json!({
                "x-kubernetes-int-or-string": true,
                "maxLength": 64,
                "pattern": QUANTITY,
                "description": "A quantity such as 2, 500m or 1Gi.",
            });
        }
    }
    resources.insert("nullable".to_owned(), true.into());
    resources
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
