//! What an object lacks or has too much of, and the patch that mends it.

#[cfg(test)]
mod fixture;

use fixture::api::merge;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use tandem_operator::controller::difference::{correction, holds};

#[rstest]
#[case(json!({"a": 1, "b": 2}), json!({"a": 1}), true)]
#[case(json!({"a": 1}), json!({"a": 2}), false)]
#[case(json!({}), json!({"a": {}, "b": []}), true)]
#[case(json!({}), json!({"a": {"b": 1}}), false)]
#[case(json!([{"a": 1, "b": 2}]), json!([{"a": 1}]), true)]
#[case(json!([{"a": 1}, {"a": 2}]), json!([{"a": 1}]), false)]
#[case(json!({"cpu": "1"}), json!({"cpu": "1000m"}), true)]
#[case(json!({"memory": "1Gi"}), json!({"memory": "1024Mi"}), true)]
#[case(json!({"memory": "1Gi"}), json!({"memory": "1G"}), false)]
#[case(json!({"cpu": "1500m"}), json!({"cpu": "1.5"}), true)]
#[case(json!({"value": "tandem/web:1"}), json!({"value": "tandem/web:2"}), false)]
#[case(json!({"labels": {"a": "1", "b": "2"}}), json!({"labels": {"a": "1"}}), true)]
#[case(json!({"selector": {"a": "1", "b": "2"}}), json!({"selector": {"a": "1"}}), false)]
#[case(json!({"data": {"A": "1", "B": "2"}}), json!({"data": {"A": "1"}}), false)]
fn an_object_holds_what_is_asked_for_whatever_else_it_has(
    #[case] there: Value,
    #[case] wanted: Value,
    #[case] expected: bool,
) {
    assert_eq!(holds(&there, &wanted), expected);
}

#[test]
fn a_correction_leaves_what_the_api_server_added() {
    let there = json!({"spec": {
        "clusterIP": "10.0.0.1",
        "selector": {"app": "shop", "foo": "bar"},
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "more", "port": 81}],
    }});
    let wanted = json!({"spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80}]}});
    assert_eq!(
        correction(&there, &wanted),
        json!({"spec": {
            "selector": {"app": "shop", "foo": null},
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
        }})
    );
}

/// Objects with few names, some of them of complete maps, so that two of them have much in common.
fn object() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![any::<bool>().prop_map(Value::from), "[a-c]".prop_map(Value::from), (1..4).prop_map(Value::from)];
    let inner = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[ab]|selector|data", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    prop::collection::hash_map("[ab]|selector|data", inner, 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #[test]
    fn what_was_corrected_holds(there in object(), wanted in object()) {
        let mut now = there.clone();
        merge(&mut now, correction(&there, &wanted));
        prop_assert!(holds(&now, &wanted), "{} is not {}", now, wanted);
    }
}
