//! The two files that are generated from the resource's definition: its YAML, and its reference for people.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

/// The definition as YAML, for `manifests/crd/`.
///
/// # Errors
/// None that a definition can produce.
pub fn yaml(crd: &CustomResourceDefinition) -> anyhow::Result<String> {
    let body = serde_saphyr::to_string(crd)?;
    Ok(format!("# Generated from operator/src/crd.rs by `make generate`.\n{body}"))
}

/// Every field of the spec and the status, one line each, down to Kubernetes' own types.
pub fn markdown(crd: &CustomResourceDefinition) -> String {
    let mut text = String::from(
        "# The WebStack resource\n\nGenerated from `operator/src/crd.rs` by `make generate`: every field, with what the \
         API server enforces. `kubectl explain webstack.spec --recursive` shows the same.\n",
    );
    let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
    let Some(whole) = schema.and_then(|schema| schema.open_api_v3_schema.as_ref()) else { return text };
    for part in ["spec", "status"] {
        let Some(schema) = whole.properties.as_ref().and_then(|properties| properties.get(part)) else { continue };
        let _ = write!(text, "\n## `{part}`\n\n| field | type | default | what it is |\n| --- | --- | --- | --- |\n");
        fields(part, schema, &mut text);
        let mut rules = Vec::new();
        if part == "spec" {
            own_rules(whole, &mut rules);
        }
        collect_rules(schema, &mut rules);
        if !rules.is_empty() {
            text.push_str("\nThe API server refuses, with these words:\n\n");
            for rule in rules {
                let _ = writeln!(text, "- {rule}");
            }
        }
    }
    text
}

fn fields(path: &str, schema: &JSONSchemaProps, text: &mut String) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let default = field.default.as_ref().map(|value| format!("`{}`", value.0)).unwrap_or_default();
        // An object's default is made of its fields'.
        let default = if field.properties.is_some() { String::new() } else { default };
        let about = field.description.as_deref().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let required = schema.required.iter().flatten().any(|required| required == name);
        let required = if required && path.starts_with("spec") { " **Required.**" } else { "" };
        let _ = writeln!(text, "| `{path}` | {} | {default} | {about}{required} |", type_of(field));
        if !is_foreign(name) {
            fields(&path, field, text);
        }
    }
}

/// Kubernetes' own types are described elsewhere, and long.
fn is_foreign(name: &str) -> bool {
    ["affinity", "conditions", "env", "envFrom", "resources", "tolerations", "topologySpreadConstraints"]
        .contains(&name)
}

fn type_of(field: &JSONSchemaProps) -> String {
    let base = field.type_.clone().unwrap_or_else(|| "any".to_owned());
    let values = field.enum_.iter().flatten().filter_map(|value| value.0.as_str());
    let values: Vec<_> = values.map(|value| format!("`{value}`")).collect();
    if !values.is_empty() {
        return values.join(", ");
    }
    let bounds = match (field.minimum, field.maximum) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        _ => String::new(),
    };
    let items = match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => format!(" of {}", type_of(items)),
        _ => String::new(),
    };
    format!("{base}{items}{bounds}")
}

fn own_rules(schema: &JSONSchemaProps, rules: &mut Vec<String>) {
    let own = schema.x_kubernetes_validations.iter().flatten();
    rules.extend(own.filter_map(|rule| rule.message.clone()));
}

fn collect_rules(schema: &JSONSchemaProps, rules: &mut Vec<String>) {
    own_rules(schema, rules);
    for field in schema.properties.iter().flatten().map(|(_, field)| field) {
        collect_rules(field, rules);
    }
}
