//! What the API server refuses: the schema's rules, evaluated without a cluster.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]
#[cfg(test)]
mod fixture;

use kube::ResourceExt;
use rstest::rstest;
use serde_json::{Value, json};
use tandem_operator::crd::WebStack;

/// A stack with this name and spec, with the defaults that the API server would fill in.
fn stack(name: &str, spec: Value) -> WebStack {
    let document = json!({
        "apiVersion": "tandem.dev/v1alpha1", "kind": "WebStack", "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(document).unwrap()
}

fn refusals(stack: &WebStack, old: Option<&WebStack>) -> String {
    let result = match old {
        Some(old) => kube::core::cel::validate_cel_update(stack, old),
        None => kube::core::cel::validate_cel(stack),
    };
    result.err().map(|errors| errors.to_string()).unwrap_or_default()
}

fn external() -> Value {
    json!({"host": "db.example.com", "database": "shop", "user": "shop", "credentialsSecret": "shop"})
}

/// The same with another value in one field.
fn external_with(field: &str, value: &str) -> Value {
    let mut external = external();
    external[field] = json!(value);
    json!({"externalDatabase": external})
}

#[rstest]
#[case("employees", json!({"mysql": {}}))]
#[case("a", json!({"externalDatabase": external()}))]
#[case("a-1", json!({"mysql": {"database": "my-shop_1", "user": "shop.app", "config": {"max_connections": "300"}}}))]
#[case("a", external_with("database", "the shop's `data`"))]
#[case("a", external_with("user", "o'neill@home"))]
#[case("a", json!({"mysql": {"config": {"port_open_timeout": "0", "init_connect": "SET @a = 'ü'", "loose_x": "1"}}}))]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_INIT_CONNECT", "value": "SET @a = 1"}, {"name": "TZ"}, {"name": "M", "value": ""}]}}))]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_SQL_MODE", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}]}}))]
#[case("a", json!({"mysql": {"initdb": {"claim": "dumps"}, "storage": {"size": "1.5Ti"}}}))]
#[case("a", json!({"mysql": {}, "web": {"autoscaling": {"maxReplicas": 5}, "env": [{"name": "LOG_LEVEL", "value": "warn"}]}}))]
#[case("a", json!({"mysql": {}, "web": {"ingress": {"host": "*.example.com"}, "service": {"type": "NodePort", "nodePort": 30080}}}))]
#[case("a", json!({"mysql": {"instances": 3, "recloneErrant": true, "storage": {"size": "10Gi", "autoGrow": {"limit": "10Gi"}}}}))]
#[case("a", json!({"mysql": {"resources": {}}, "web": {"resources": {"limits": {"memory": "256Mi"}}}}))]
#[case("a", json!({"mysql": {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "0.5", "memory": "1024Mi"}}}}))]
#[case("a", json!({"mysql": {}, "web": {"resources": {"requests": {"cpu": 1, "ephemeral-storage": "1Gi"}, "limits": {"cpu": 2}}}}))]
#[case("a", json!({"mysql": {}, "web": {"resources": {"requests": {"example.com/gpu": 1}, "limits": {"example.com/gpu": 1, "hugepages-2Mi": "4Mi"}}}}))]
fn what_is_right_is_taken(#[case] name: &str, #[case] spec: Value) {
    assert_eq!(refusals(&stack(name, spec), None), "");
}

#[rstest]
#[case("1a", json!({"mysql": {}}), "metadata.name may only have")]
#[case("a.b", json!({"mysql": {}}), "metadata.name may only have")]
#[case("a123456789012345678901234567890123456789012", json!({"mysql": {}}), "metadata.name may have at most 40")]
#[case("a", json!({}), "exactly one of spec.mysql and spec.externalDatabase")]
#[case("a", json!({"mysql": {}, "externalDatabase": external()}), "exactly one of spec.mysql and spec.externalDatabase")]
#[case("a", json!({"mysql": {"instances": 2}}), "spec.mysql.instances must be 1, 3 or 5")]
#[case("a", json!({"mysql": {"instances": 0}}), "spec.mysql.instances must be 1, 3 or 5")]
#[case("a", json!({"mysql": {"instances": 7}}), "spec.mysql.instances must be 1, 3 or 5")]
#[case("a", json!({"mysql": {"user": "tandem-operator"}}), "spec.mysql.user must not be")]
#[case("a", json!({"mysql": {"database": "mysql"}}), "spec.mysql.database must not be one of MySQL's own")]
#[case("a", json!({"mysql": {"database": "Performance_Schema"}}), "spec.mysql.database must not be")]
#[case("a", json!({"mysql": {"database": "it's"}}), "spec.mysql.database may only have")]
#[case("a", json!({"mysql": {"database": "a`b"}}), "spec.mysql.database may only have")]
#[case("a", json!({"mysql": {"user": "root"}}), "spec.mysql.user must not be")]
#[case("a", json!({"mysql": {"user": "a\"b"}}), "spec.mysql.user may only have")]
#[case("a", json!({"mysql": {"config": {"max-connections": "3"}}}), "spec.mysql.config: options are written")]
#[case("a", json!({"mysql": {"config": {"datadir": "/x"}}}), "spec.mysql.config must not set")]
#[case("a", json!({"mysql": {"config": {"loose_datadir": "/x"}}}), "spec.mysql.config must not set")]
#[case("a", json!({"mysql": {"config": {"sock": "/x"}}}), "spec.mysql.config must not set")]
#[case("a", json!({"mysql": {"config": {"loose_bind": "::"}}}), "spec.mysql.config must not set")]
#[case("a", json!({"mysql": {"config": {"sql_mode": ""}}}), "spec.mysql.config: values are")]
#[case("a", json!({"mysql": {"config": {"sql_mode": "a\n[mysqld]"}}}), "spec.mysql.config: values are")]
#[case("a", json!({"mysql": {"config": {"sql_mode": "\u{85}"}}}), "spec.mysql.config: values are")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_DATADIR", "value": "/x"}]}}), "spec.mysql.env must not set, after")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_PORT", "value": "1"}]}}), "spec.mysql.env must not set, after")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_loose_Sock", "value": "/x"}]}}), "spec.mysql.env must not set, after")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_MAX-CONNECTIONS", "value": "1"}]}}), "spec.mysql.env: after MYSQL_CONF_ comes")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_", "value": "1"}]}}), "spec.mysql.env: after MYSQL_CONF_ comes")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_SQL_MODE", "value": ""}]}}), "spec.mysql.env: the values of")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_SQL_MODE"}]}}), "spec.mysql.env: the values of")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_CONF_SQL_MODE", "value": "a\rb"}]}}), "spec.mysql.env: the values of")]
#[case("a", json!({"mysql": {"resources": {"limits": {"cpus": 1}}}}), "spec.mysql.resources may only name")]
#[case("a", json!({"mysql": {"resources": {"requests": {"/gpu": 1}}}}), "spec.mysql.resources may only name")]
#[case("a", json!({"mysql": {"resources": {"requests": {"cpu": "501m"}, "limits": {"cpu": "0.5"}}}}), "spec.mysql.resources.requests must not")]
#[case("a", json!({"mysql": {}, "web": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}}}), "spec.web.resources.requests must not")]
#[case("a", json!({"mysql": {}, "web": {"resources": {"requests": {"hugepages-2Mi": "2Mi"}}}}), "spec.web.resources: what is not shared")]
#[case("a", json!({"mysql": {}, "web": {"resources": {"requests": {"a.b/c": 1}, "limits": {"a.b/c": 2}}}}), "spec.web.resources: what is not shared")]
#[case("a", external_with("database", "a\u{7}b"), "spec.externalDatabase.database must not")]
#[case("a", external_with("user", "a\nb"), "spec.externalDatabase.user must not")]
#[case("a", json!({"mysql": {"env": [{"name": "MYSQL_ROOT_PASSWORD", "value": "x"}]}}), "spec.mysql.env must not set")]
#[case("a", json!({"mysql": {"storage": {"size": "ten"}}}), "spec.mysql.storage.size must be a quantity")]
#[case("a", json!({"mysql": {"storage": {"size": "0"}}}), "spec.mysql.storage.size must be a quantity")]
#[case("a", json!({"mysql": {"storage": {"autoGrow": {"limit": "much"}}}}), "spec.mysql.storage.autoGrow.limit must be a quantity")]
#[case("a", json!({"mysql": {"storage": {"size": "10Gi", "autoGrow": {"limit": "10239Mi"}}}}), "autoGrow.limit must not be smaller than")]
#[case("a", json!({"mysql": {"initdb": {}}}), "exactly one of configMap and claim")]
#[case("a", json!({"mysql": {}, "web": {"env": [{"name": "DATABASE_HOST", "value": "x"}]}}), "spec.web.env must not set")]
#[case("a", json!({"mysql": {}, "web": {"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}}), "minReplicas must not be larger")]
#[case("a", json!({"mysql": {}, "web": {"service": {"nodePort": 30080}}}), "nodePort needs type")]
#[case("a", json!({"mysql": {}, "web": {"ingress": {"host": "Shop.example.com"}}}), "spec.web.ingress.host must be")]
#[case("a", json!({"mysql": {}, "web": {"ingress": {"host": "10.0.0.1"}}}), "spec.web.ingress.host must be")]
#[case("a", json!({"mysql": {}, "web": {"image": "tandem/web: typo"}}), "spec.web.image must be an image's name")]
#[case("a", json!({"mysql": {"image": ":latest"}}), "spec.mysql.image must be an image's name")]
#[case("a", json!({"externalDatabase": {"host": "a", "database": "s", "user": "s", "credentialsSecret": "s", "tls": {"caSecret": "ca"}}}), "caSecret needs mode")]
fn what_is_wrong_is_refused_by_the_fields_name(#[case] name: &str, #[case] spec: Value, #[case] words: &str) {
    let said = refusals(&stack(name, spec), None);
    assert!(said.contains(words), "{said:?}");
}

#[rstest]
#[case::name("mysql", true)]
#[case::name_with_underscores("my_db._tcp.example.com", true)]
#[case::full_name("db-0.db.ns.svc.cluster.local.", true)]
#[case::label_of_63("a12345678901234567890123456789012345678901234567890123456789012.de", true)]
#[case::v4("10.0.0.255", true)]
#[case::v6("2001:db8:0:1:2:3:4:5", true)]
#[case::v6_with_a_gap("2001:db8::5", true)]
#[case::v6_with_seven_groups("1:2:3:4:5:6:7::", true)]
#[case::v6_loopback("::1", true)]
#[case::v6_of_v4("::ffff:10.0.0.1", true)]
#[case::blank("a b", false)]
#[case::empty_label("a..b", false)]
#[case::label_that_ends_with_a_hyphen("db-.example.com", false)]
#[case::label_that_starts_with_a_hyphen("-db.example.com", false)]
#[case::label_of_64("a123456789012345678901234567890123456789012345678901234567890123.de", false)]
#[case::dots("...", false)]
#[case::two_dots_at_the_end("a..", false)]
#[case::colons(":::", false)]
#[case::port("db:3306", false)]
#[case::url("mysql://db", false)]
#[case::octet_of_256("10.0.0.256", false)]
#[case::octet_with_a_zero("10.0.0.01", false)]
#[case::three_octets("10.0.1", false)]
#[case::two_gaps("1::2::3", false)]
#[case::nine_groups("1:2:3:4:5:6:7:8:9", false)]
#[case::gap_of_nothing("1:2:3:4::5:6:7:8", false)]
#[case::group_of_five("12345::", false)]
#[case::brackets("[::1]", false)]
fn hosts_are_names_or_addresses(#[case] host: &str, #[case] good: bool) {
    let said = refusals(&stack("a", external_with("host", host)), None);
    assert_eq!(said.is_empty(), good, "{said:?}");
    assert!(good || said.contains("spec.externalDatabase.host must be"), "{said:?}");
    // The web image is less strict with what looks like an address, and never stricter.
    assert!(!good || tandem_environment::variable::host(host).is_some());
}

#[test]
fn what_a_group_depends_on_is_refused_in_every_spelling_and_of_one_instance_it_is_free() {
    let built = fixture::built(&fixture::observed(
        fixture::stack(json!({"mysql": {"instances": 3, "config": {}}})),
        &["shop-mysql"],
    ));
    let map = built.objects.config_maps.iter().find(|map| map.name_any() == "shop-mysql").unwrap();
    let pod = built.objects.stateful_sets[0].spec.clone().unwrap().template.spec.unwrap();
    let own = pod.containers[0].env.iter().flatten().map(|variable| variable.name.clone());
    let own = own.filter(|name| name == "MYSQL_ROOT_HOST" || name.starts_with("POD_"));
    let all = map.data.iter().flatten().map(|(name, _)| name.clone());
    let member = pod.containers[0].env.iter().flatten().map(|variable| variable.name.clone());
    let options: Vec<_> = all.chain(member).filter(|name| name.starts_with("MYSQL_CONF_")).collect();
    assert!(options.len() > 20, "{options:?}");
    let more = [
        "MYSQL_CONF_LOOSE_GTID_MODE",
        "MYSQL_CONF_gtid_mode",
        "MYSQL_CONF_SKIP_LOG_BIN",
        "MYSQL_CONF_GROUP_REPLICATION_X",
    ];
    for name in options.iter().cloned().chain(own).chain(more.map(str::to_owned)) {
        let spec = |instances: u32| json!({"mysql": {"instances": instances, "env": [{"name": name, "value": "x"}]}});
        let said = refusals(&stack("a", spec(3)), None);
        assert!(said.contains("spec.mysql.env must not set what a group"), "{name}: {said:?}");
        assert_eq!(refusals(&stack("a", spec(1)), None), "", "{name}");
    }
    for name in options.iter().map(String::as_str).chain(more) {
        let option = name.trim_start_matches("MYSQL_CONF_").to_ascii_lowercase();
        let spec = |instances: u32| json!({"mysql": {"instances": instances, "config": {option.as_str(): "x"}}});
        let said = refusals(&stack("a", spec(5)), None);
        assert!(said.contains("spec.mysql.config must not set what a group"), "{option}: {said:?}");
        assert_eq!(refusals(&stack("a", spec(1)), None), "", "{option}");
    }
    let free = json!({"max_connections": "9", "binlog_expire_logs_seconds": "9", "innodb_redo_log_capacity": "9"});
    assert_eq!(refusals(&stack("a", json!({"mysql": {"instances": 3, "config": free}})), None), "");
}

#[rstest]
#[case(json!({"mysql": {"database": "a"}}), json!({"mysql": {"database": "b"}}), "spec.mysql.database cannot be changed")]
#[case(json!({"mysql": {"user": "a"}}), json!({"mysql": {"user": "b"}}), "spec.mysql.user cannot be changed")]
#[case(json!({"mysql": {"storage": {"className": "a"}}}), json!({"mysql": {}}), "spec.mysql.storage.className cannot be changed")]
#[case(json!({"mysql": {"storage": {"size": "2Gi"}}}), json!({"mysql": {"storage": {"size": "2047Mi"}}}), "cannot shrink")]
#[case(json!({"mysql": {}}), json!({"externalDatabase": external()}), "cannot be exchanged")]
fn what_cannot_be_changed_stays(#[case] before: Value, #[case] after: Value, #[case] words: &str) {
    let said = refusals(&stack("a", after), Some(&stack("a", before)));
    assert!(said.contains(words), "{said:?}");
}
