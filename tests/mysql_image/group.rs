//! Two servers that form a group, as an operator would have them do: who stops hands over before.

use tandem_tests::docker::{Container, Network, wait_for};

use crate::image::{Image, ROOT, START, image_or_skip, root};

const GROUP: &str = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";

/// A server with what a group needs, that can be reached as `host`.
fn server(image: &Image, network: &Network, host: &str, id: &str) -> Container {
    let address = format!("{host}:3306");
    let options = [
        ("GTID_MODE", "ON"),
        ("ENFORCE_GTID_CONSISTENCY", "ON"),
        ("SERVER_ID", id),
        ("REPORT_HOST", host),
        ("PLUGIN_LOAD_ADD", "group_replication.so"),
        ("LOOSE_GROUP_REPLICATION_START_ON_BOOT", "OFF"),
        ("LOOSE_GROUP_REPLICATION_GROUP_NAME", GROUP),
        ("LOOSE_GROUP_REPLICATION_COMMUNICATION_STACK", "MYSQL"),
        ("LOOSE_GROUP_REPLICATION_LOCAL_ADDRESS", &address),
        ("LOOSE_GROUP_REPLICATION_GROUP_SEEDS", "one:3306,two:3306"),
        ("LOOSE_GROUP_REPLICATION_SSL_MODE", "REQUIRED"),
        ("LOOSE_GROUP_REPLICATION_RECOVERY_USE_SSL", "ON"),
    ];
    let run = image.quick().network(network).option(format!("--network-alias={host}"));
    options
        .iter()
        .fold(run, |run, (option, value)| run.env(&format!("MYSQL_CONF_{option}"), value))
        .start()
        .healthy(START)
}

fn hand_over(container: &Container) -> String {
    container.sh_ok("tandem-mysql hand-over")
}

fn primary(container: &Container) -> String {
    root(container)
        .ok("SELECT MEMBER_HOST FROM performance_schema.replication_group_members WHERE MEMBER_ROLE = 'PRIMARY'")
}

#[test]
fn the_primary_of_a_group_hands_over_and_whoever_else_does_nothing() {
    let image = image_or_skip!();
    let network = Network::create();
    let (one, two) = (server(&image, &network, "one", "1"), server(&image, &network, "two", "2"));
    assert_eq!(hand_over(&one), "", "a server without a group");
    let account = "SET SESSION sql_log_bin = OFF; CREATE USER repl@'%' IDENTIFIED BY 'r' REQUIRE SSL;
        GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO repl@'%';
        RESET BINARY LOGS AND GTIDS;
        CHANGE REPLICATION SOURCE TO SOURCE_USER = 'repl', SOURCE_PASSWORD = 'r' FOR CHANNEL 'group_replication_recovery'";
    root(&one).ok(account);
    root(&two).ok(account);
    root(&one).ok("SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION;
        SET GLOBAL group_replication_bootstrap_group = OFF");
    assert_eq!(hand_over(&one), "", "the only member");
    root(&two).ok("START GROUP_REPLICATION");
    let online = "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'ONLINE'";
    wait_for("two members", START, || (root(&one).ok(online) == "2").then_some(()));
    assert_eq!(primary(&one), "one");
    assert_eq!(hand_over(&two), "", "not the primary");
    let uuid = root(&two).ok("SELECT @@server_uuid");
    assert_eq!(hand_over(&one), format!("the server {uuid} has taken over"));
    assert_eq!((primary(&one).as_str(), primary(&two).as_str()), ("two", "two"));
    root(&two).ok("CREATE DATABASE shop");
    // No password of the server's is needed for it, which may have changed meanwhile.
    root(&two).ok(&format!("ALTER USER root@localhost IDENTIFIED BY '{ROOT}2'"));
    assert!(hand_over(&two).ends_with("has taken over"));
}
