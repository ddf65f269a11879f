//! A group of three in each state that a person brings about or has to decide, by the commands of
//! docs/high-availability.md.
//!
//! They run after the others, two at a time (tests/run): they wait more than they work.

use serde_json::json;
use tandem_tests::docker::wait_for;

use crate::group::fault::Fault;
use crate::group::guide::{Guide, block, command};
use crate::group::writer::{ask, try_ask};
use crate::group::{Scene, formed, online, primary, three, whole};
use crate::kubectl::{Namespace, PATIENCE, Stack, cluster_or_skip};

/// A transaction that only this member has.
pub(crate) fn stray(namespace: &Namespace, pod: &str, table: &str) {
    let statement = format!(
        "STOP GROUP_REPLICATION; SET GLOBAL super_read_only = OFF;
         CREATE TABLE {table} (a INT PRIMARY KEY); INSERT INTO {table} VALUES (7)"
    );
    ask(namespace, pod, &statement);
}

/// Deletes all volumes of a group, and its Pods.
pub(crate) fn lose_everything(namespace: &Namespace, members: &[String]) {
    let claims: Vec<_> = members.iter().map(|member| format!("pvc/data-{member}")).collect();
    let claims = claims.iter().map(String::as_str);
    namespace.ok(&["delete", "--wait=false"].into_iter().chain(claims).collect::<Vec<_>>());
    namespace.ok(&["delete", "pod"].into_iter().chain(members.iter().map(String::as_str)).collect::<Vec<_>>());
}

/// Whether the member has a table; `None` where it does not answer.
fn has(namespace: &Namespace, pod: &str, table: &str) -> Option<bool> {
    let query = format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = '{table}'");
    try_ask(namespace, pod, &query).map(|number| number == "1")
}

/// Up to which number a set of transactions has those of a source, without a gap from the first one on.
fn last_of(gtids: &str, uuid: &str) -> u64 {
    let of_uuid = gtids.split(',').find_map(|part| part.trim().strip_prefix(uuid)?.strip_prefix(':'));
    let first = of_uuid.and_then(|intervals| intervals.split(':').next()).unwrap();
    first.rsplit('-').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "each of its groups takes three servers' memory"]
fn an_errant_member_is_kept_out_until_a_person_gives_up_what_only_it_has() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    let (stack, errant) = (&scene.stack, scene.members()[1].clone());
    let guide = Guide::of(&namespace, "shop");
    stray(&namespace, &errant, "stray");
    let message = stack.wait("Blocked", "True", "MembersErrant", PATIENCE);
    assert!(message.starts_with(&format!("{errant} has transactions that the group has not: ")), "{message}");
    assert!(message.contains("tandem.dev/reclone"), "{message}");
    let members = stack.get()["status"]["mysql"]["members"].clone();
    let status = members.as_array().unwrap().iter().find(|member| member["name"] == *errant).unwrap().clone();
    assert!(message.contains(status["errant"].as_str().unwrap()), "{message} {status}");
    let words = [("NAME-mysql-2", errant.as_str()), ("TRANSACTIONS", status["errant"].as_str().unwrap())];
    let did = guide.run(&command("mysqlbinlog"), &words);
    assert!(did.contains("INSERT INTO `employees`.`stray`") && did.contains("@1=7"), "{did}");
    let read = namespace.list("pods", "tandem.dev/reads=true");
    assert!(!read.iter().any(|pod| pod["metadata"]["name"] == *errant));
    assert_eq!(has(&namespace, &errant, "stray"), Some(true));

    guide.run(&command("tandem.dev/reclone="), &[("NAME-mysql-2", errant.as_str())]);
    whole(stack, "3/3");
    guide.run(&command("tandem.dev/reclone-"), &[]);
    stack.wait("Blocked", "False", "NothingToDecide", PATIENCE);
    assert_eq!(has(&namespace, &errant, "stray"), Some(false));
    // What it had is beside its data, and a server opens it: what a person types in a shell of the Pod's.
    let (shell, typed) = block("mysql-aside").split_once('\n').unwrap();
    assert_eq!(shell, "kubectl exec -it NAME-mysql-2 -- bash");
    let client = typed.lines().find(|line| line.starts_with("mysql -uroot")).unwrap();
    let kept = namespace.ok(&["exec", &errant, "--", "ls", "/var/lib/mysql-aside"]);
    let typed = typed.replace(client, &format!("{client} -Ne 'SELECT a FROM employees.stray'"));
    let typed = typed.replace("20260131T120000Z", &kept);
    let shown = namespace.ok(&["exec", &errant, "--", "bash", "-ec", &typed]);
    assert!(shown.lines().any(|line| line == "7"), "{shown}");
    assert!(namespace.ok(&["exec", &errant, "--", "ls", "/var/lib/mysql-aside"]).is_empty());

    // Once and for all.
    stack.patch(json!({"mysql": {"recloneErrant": true}}));
    stray(&namespace, &errant, "other");
    wait_for("its data to be replaced", PATIENCE, || has(&namespace, &errant, "other").filter(|has| !has));
    whole(stack, "3/3");
    assert_eq!(namespace.ok(&["exec", &errant, "--", "ls", "/var/lib/mysql-aside"]).lines().count(), 1);
    scene.writer.none_is_lost();
}

#[test]
#[ignore = "each of its groups takes three servers' memory"]
fn the_last_member_takes_writes_again_when_a_person_says_so() {
    let namespace = cluster_or_skip!().namespace();
    let stack = formed(&namespace, three());
    let guide = Guide::of(&namespace, "shop");
    let before = primary(&stack);
    let survivor = if before == "shop-mysql-2" { "shop-mysql-1" } else { "shop-mysql-2" };
    ask(&namespace, &before, "CREATE TABLE kept (a INT PRIMARY KEY); INSERT INTO kept VALUES (7)");
    wait_for("the row", PATIENCE, || has(&namespace, survivor, "kept").filter(|has| *has));
    let lost = (0..3).map(|member| format!("shop-mysql-{member}")).filter(|member| member != survivor);
    let lost: Vec<_> = lost.collect();
    let harm: Vec<_> = lost.iter().map(|member| Fault::NetworkLoss.strike(&namespace, member)).collect();
    // It gives up after 20 s, and nothing is done without a word: the others might have more.
    let message = stack.wait("Degraded", "True", "WaitsForMembers", PATIENCE);
    let (silent, decide) = message.split_once("; if one never comes").expect(&message);
    assert!(lost.iter().all(|member| silent.contains(member)) && !silent.contains(survivor), "{message}");
    assert!(decide.ends_with(&format!("it may name {survivor}")), "{message}");
    assert_eq!(stack.condition("Ready").0, "False");

    let uuid = stack.get()["status"]["mysql"]["uuid"].as_str().unwrap().to_owned();
    let has_received = guide.run(&command("received_transaction_set"), &[("NAME-mysql-1", survivor)]);
    guide.run(&command("tandem.dev/force-quorum="), &[("NAME-mysql-1", survivor)]);
    // One that was left behind has taken writes, under the numbers that come next.
    let left = &lost[0];
    let number = last_of(&has_received, &uuid) + 1;
    let other = format!(
        "STOP GROUP_REPLICATION; SET GLOBAL super_read_only = OFF; SET gtid_next = '{uuid}:{number}';
         INSERT INTO kept VALUES (6)"
    );
    ask(&namespace, left, &other);
    wait_for("a primary", PATIENCE, || (primary(&stack) == survivor).then_some(()));
    for row in 8..12 {
        ask(&namespace, survivor, &format!("INSERT INTO kept VALUES ({row})"));
    }
    assert_ne!(stack.get()["status"]["mysql"]["uuid"], *uuid);
    drop(harm);
    let message = stack.wait("Blocked", "True", "MembersErrant", PATIENCE);
    assert!(message.contains(left) && message.contains(&format!("{uuid}:{number};")), "{message}");
    let others = || (stack.get()["status"]["mysql"]["ready"] == "2/3").then_some(());
    wait_for("the other one to be back", PATIENCE, others);
    guide.run(&command("tandem.dev/reclone="), &[("NAME-mysql-2", left.as_str())]);
    whole(&stack, "3/3");
    for member in 0..3 {
        let rows = "SELECT GROUP_CONCAT(a ORDER BY a) FROM kept";
        assert_eq!(ask(&namespace, &format!("shop-mysql-{member}"), rows), "7,8,9,10,11");
    }
    // What is decided already is not decided again.
    assert_eq!(primary(&stack), survivor);
    for word in ["tandem.dev/force-quorum-", "tandem.dev/reclone-"] {
        guide.run(&command(word), &[]);
    }
    stack.settled();

    // Once more, and each of them has taken writes by itself: nobody has everything, whoever answers first. Of two that
    // agree the group would be formed without the third, which has missed nothing that was acknowledged.
    let named = lost[1].as_str();
    let harm: Vec<_> = lost.iter().map(|member| Fault::NetworkLoss.strike(&namespace, member)).collect();
    let inside = "SELECT COUNT(*) FROM performance_schema.replication_group_members
                  WHERE MEMBER_STATE IN ('ONLINE', 'RECOVERING', 'UNREACHABLE')";
    let tables = [(survivor, "given_up"), (left.as_str(), "given_up_too"), (named, "taken")];
    for (member, table) in tables {
        wait_for("it to give up", PATIENCE, || try_ask(&namespace, member, inside).filter(|number| number == "0"));
        stray(&namespace, member, table);
    }
    drop(harm);
    stack.wait("Blocked", "True", "MembersDiverged", PATIENCE);
    let own = |member: &str| try_ask(&namespace, member, "SELECT @@server_uuid").map(|uuid| format!("{uuid}:"));
    let own = tables.map(|(member, _)| wait_for("its UUID", PATIENCE, || own(member)));
    wait_for("everybody to be named, with what only they have", PATIENCE, || {
        let message = stack.condition("Blocked").2;
        let is_told = |((member, _), own): (&(&str, &str), &String)| message.contains(member) && message.contains(own);
        tables.iter().zip(&own).all(is_told).then_some(())
    });
    assert_eq!(stack.condition("Ready").0, "False");

    let has_received = guide.run(&command("received_transaction_set"), &[("NAME-mysql-1", named)]);
    assert!(has_received.contains(&own[2]) && !has_received.contains(&own[0]), "{has_received}");
    guide.run(&command("tandem.dev/force-quorum="), &[("NAME-mysql-1", named)]);
    // What is left over is kept out until a person gives it up.
    let message = stack.wait("Blocked", "True", "MembersErrant", PATIENCE);
    assert!(own[..2].iter().any(|own| message.contains(own)), "{message}");
    for (member, ready) in [(survivor, "2/3"), (left.as_str(), "3/3")] {
        guide.run(&command("tandem.dev/reclone="), &[("NAME-mysql-2", member)]);
        wait_for("it to be filled anew", PATIENCE, || (stack.get()["status"]["mysql"]["ready"] == ready).then_some(()));
    }
    whole(&stack, "3/3");
    for member in 0..3 {
        let has = tables.map(|(_, table)| has(&namespace, &format!("shop-mysql-{member}"), table));
        assert_eq!(has, [Some(false), Some(false), Some(true)], "{member}");
    }
    assert_eq!(primary(&stack), named);
}

#[test]
#[ignore = "each of its groups takes three servers' memory"]
fn a_second_group_is_reported_and_nothing_is_destroyed() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    let (stack, members) = (&scene.stack, scene.members());
    let second = "STOP GROUP_REPLICATION; SET GLOBAL group_replication_bootstrap_group = ON;
                  START GROUP_REPLICATION; SET GLOBAL group_replication_bootstrap_group = OFF";
    ask(&namespace, &members[2], second);
    let message = stack.wait("Blocked", "True", "TwoGroups", PATIENCE);
    assert!(message.contains(&members[0]) && message.contains(&members[2]), "{message}");
    // Who was in the first group still is.
    assert_eq!(online(&namespace, &members[0]), 2);
    assert!(stack.events("TwoGroups") >= 1);
    // While the first group is away, the second one still is not the one that counts.
    for member in &members[..2] {
        ask(&namespace, member, "STOP GROUP_REPLICATION");
    }
    let message = stack.wait("Blocked", "True", "GroupGivenUp", PATIENCE);
    assert!(message.contains(&members[2]), "{message}");
    // It takes a row, whose number the other group has given to one of its own.
    ask(&namespace, &members[2], "CREATE TABLE stray (a INT PRIMARY KEY)");
    let guide = Guide::of(&namespace, "shop");
    guide.run(&command("STOP GROUP_REPLICATION"), &[("NAME-mysql-2", members[2].as_str())]);
    stack.wait("Blocked", "True", "MembersErrant", PATIENCE);
    assert!(stack.events("MembersErrant") >= 1);
    assert_eq!(has(&namespace, &members[2], "stray"), Some(true));
    guide.run(&command("tandem.dev/reclone="), &[("NAME-mysql-2", members[2].as_str())]);
    whole(stack, "3/3");
    assert_eq!(has(&namespace, &members[2], "stray"), Some(false));

    // One whose copy was cut off lacks what was taken away first: it is filled again, and nobody is asked.
    ask(&namespace, &primary(stack), "CREATE TABLE cut (a INT PRIMARY KEY)");
    wait_for("the table", PATIENCE, || has(&namespace, &members[2], "cut").filter(|has| *has));
    let cut_off = "SET GLOBAL super_read_only = OFF; SET SESSION sql_log_bin = OFF;
                   ALTER USER 'tandem-operator'@'%' ATTRIBUTE '{\\\"fills\\\": true}'; DROP TABLE cut; STOP GROUP_REPLICATION";
    ask(&namespace, &members[2], cut_off);
    wait_for("the table again", PATIENCE, || has(&namespace, &members[2], "cut").filter(|has| *has));
    whole(stack, "3/3");
    scene.writer.none_is_lost();
}

#[test]
#[ignore = "each of its groups takes three servers' memory"]
fn a_group_that_has_lost_everything_begins_anew_on_a_persons_word() {
    let namespace = cluster_or_skip!().namespace();
    let guide = Guide::of(&namespace, "group");
    // The guide's example, with less data, and with its pages on a port of the node.
    let example = include_str!("../../manifests/examples/group.yaml");
    assert!(example.ends_with("\n  mysql:\n    instances: 3\n"), "{example}");
    let example = format!("{example}    dataset: small\n  web: {{service: {{type: NodePort}}}}\n");
    let file = guide.file("group.yaml", &example);
    let applied = "manifests/examples/group.yaml";
    let shown = guide.run(block(applied), &[(applied, file.as_str())]);
    assert!(shown.contains("3/3") && shown.contains("group-mysql-0"), "{shown}");
    let stack = Stack::of(&namespace, "group");
    let members: Vec<_> = (0..3).map(|member| format!("group-mysql-{member}")).collect();
    lose_everything(&namespace, &members);
    stack.wait("Blocked", "True", "DataLost", 2 * PATIENCE);
    assert_eq!(stack.condition("Ready").0, "False");
    guide.run(&command("tandem.dev/force-quorum="), &[("NAME-mysql-1", members[0].as_str())]);
    whole(&stack, "3/3");
    // The new data is migrated as well: without that, the web tier would not serve.
    stack.settled();
    assert_eq!(stack.page("/").unwrap().status, 200);
}
