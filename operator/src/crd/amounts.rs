//! Quantities as people write them: `cpu: 2` means the same as `cpu: "2"`, as in Kubernetes' own objects.

use k8s_openapi::api::core::v1::ResourceRequirements;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What a container may use, whole numbers included.
///
/// # Errors
/// It is none.
pub(super) fn resources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ResourceRequirements>, D::Error> {
    let mut resources = Value::deserialize(deserializer)?;
    for amounts in ["limits", "requests"] {
        let amounts = resources.get_mut(amounts).and_then(Value::as_object_mut);
        for amount in amounts.into_iter().flat_map(serde_json::Map::values_mut).filter(|amount| amount.is_number()) {
            *amount = Value::String(amount.to_string());
        }
    }
    serde_json::from_value(resources).map_err(Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::crd::Web;

    #[test]
    fn a_whole_number_is_a_quantity() {
        let limits = |limits: serde_json::Value| {
            let web: Web = serde_json::from_value(json!({"resources": {"limits": limits}})).unwrap();
            serde_json::to_value(web.resources.unwrap().limits).unwrap()
        };
        assert_eq!(limits(json!({"cpu": 2, "memory": "1Gi"})), json!({"cpu": "2", "memory": "1Gi"}));
        let none: Web = serde_json::from_value(json!({"resources": null})).unwrap();
        assert_eq!(none.resources, None);
        assert!(serde_json::from_value::<Web>(json!({"resources": {"limits": {"cpu": true}}})).is_err());
    }
}
