//! What an object lacks of what is asked for, or has beyond it. Pure.
//!
//! The API server adds to objects, so more than what was asked for is usual. Lists are complete, though, and so are
//! these maps: one more key in a selector takes a Service from its Pods.

use serde_json::{Map, Value};

use crate::quantity::quantity;

/// Maps that nobody but us adds to.
const COMPLETE: [&str; 6] = ["data", "matchLabels", "namespaceSelector", "nodeSelector", "podSelector", "selector"];

/// Whether `there` is as `wanted` says. The API server writes quantities in its own way.
pub fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| match there.get(key) {
            Some(there) => holds(there, wanted) && beyond(key, there, wanted).next().is_none(),
            None => is_nothing(wanted),
        }),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| holds(there, wanted))
        }
        // The checksum has told that the wish is the same: two spellings of one quantity are.
        (Value::String(there), Value::String(wanted)) => {
            there == wanted || quantity(there).is_some_and(|there| quantity(wanted) == Some(there))
        }
        (there, wanted) => there == wanted,
    }
}

/// The merge patch (RFC 7386) after which `there` holds `wanted`.
pub fn correction(there: &Value, wanted: &Value) -> Value {
    let (Value::Object(there), Value::Object(wanted)) = (there, wanted) else { return wanted.clone() };
    let mut patch = Map::new();
    for (key, wanted) in wanted {
        let Some(there) = there.get(key) else {
            patch.insert(key.clone(), wanted.clone());
            continue;
        };
        let corrected = match (there, wanted) {
            (Value::Object(_), Value::Object(_)) => {
                let mut inner = correction(there, wanted);
                for extra in beyond(key, there, wanted) {
                    inner[extra] = Value::Null;
                }
                inner
            }
            // An item that is right keeps what the API server added to it.
            (Value::Array(there), Value::Array(wanted)) => wanted
                .iter()
                .map(|wanted| there.iter().find(|there| holds(there, wanted)).unwrap_or(wanted).clone())
                .collect(),
            _ => wanted.clone(),
        };
        patch.insert(key.clone(), corrected);
    }
    Value::Object(patch)
}

/// The keys that the map called `name` should not have.
fn beyond<'a>(name: &str, there: &'a Value, wanted: &'a Value) -> impl Iterator<Item = &'a String> {
    let complete = COMPLETE.contains(&name);
    let keys = there.as_object().filter(|_| complete).into_iter().flat_map(Map::keys);
    keys.filter(|key| wanted.get(key.as_str()).is_none())
}

/// Empty objects and lists are left out by the API server.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(set) => !set,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
    }
}
