//! Volumes that fill up. Those of a group are filled after the other tests, one at a time (tests/run).

use serde_json::{Value, json};
use tandem_tests::docker::wait_for;

use crate::group::guide::{Guide, command};
use crate::group::writer::{ask, try_ask};
use crate::group::{formed, primary, three, whole};
use crate::kubectl::{Namespace, PATIENCE, cluster_or_skip, small};

/// 20 MiB more, and as much in the binary log. Returns whether the member has taken them within 20 s.
pub(crate) fn fill(namespace: &Namespace, pod: &str) -> bool {
    let statement = "CREATE TABLE IF NOT EXISTS big (data LONGBLOB);
                     INSERT INTO big SELECT REPEAT('x', 1048576) FROM employees LIMIT 20";
    try_ask(namespace, pod, statement).is_some()
}

fn claims(namespace: &Namespace) -> Vec<String> {
    let size = |claim: Value| claim["status"]["capacity"]["storage"].as_str().unwrap_or_default().to_owned();
    namespace.list("pvc", "app.kubernetes.io/component=mysql").into_iter().map(size).collect()
}

#[test]
fn the_volume_of_a_single_server_grows_as_well() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = small();
    spec["mysql"]["storage"] = json!({"size": "512Mi", "autoGrow": {"limit": "1Gi"}});
    let stack = namespace.stack("shop", spec);
    stack.settled();
    stack.wait("StorageLow", "False", "StorageSuffices", PATIENCE);
    for _ in 0..6 {
        assert!(fill(&namespace, "shop-mysql-0"));
    }
    wait_for("a larger volume", PATIENCE, || (claims(&namespace) == ["1Gi"]).then_some(()));
    wait_for("an event", PATIENCE, || (stack.events("StorageLow") >= 1).then_some(()));
    wait_for("room", PATIENCE, || {
        let member = stack.get()["status"]["mysql"]["members"][0].clone();
        assert_eq!(member["state"], "ALONE");
        (member["used"].as_u64()? < 75).then_some(())
    });
    stack.wait("StorageLow", "False", "StorageSuffices", PATIENCE);
}

#[test]
fn a_single_server_that_has_lost_its_volume_is_migrated_anew() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    ask(&namespace, "shop-mysql-0", "CREATE TABLE lost (a INT PRIMARY KEY)");
    let words = [("NAME-mysql-2", "shop-mysql-0")];
    Guide::of(&namespace, "shop").run(&command("kubectl delete pvc"), &words);
    wait_for("a new volume", 2 * PATIENCE, || {
        let query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'lost'";
        try_ask(&namespace, "shop-mysql-0", query).filter(|number| number == "0")
    });
    stack.settled();
    assert_eq!(stack.page("/").unwrap().status, 200);
}

/// By the commands of docs/kubernetes.md.
#[test]
fn a_backup_brings_back_what_was_lost() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let sh = |script: &str| namespace.ok(&["exec", "shop-mysql-0", "--", "bash", "-o", "pipefail", "-c", script]);
    sh(r#"mysqldump -uroot -p"$(cat $MYSQL_ROOT_PASSWORD_FILE)" --single-transaction \
        --set-gtid-purged=OFF --routines --triggers --events employees | gzip >/tmp/employees.sql.gz"#);
    ask(&namespace, "shop-mysql-0", "DELETE FROM salaries; DROP TABLE titles");
    sh(r#"gunzip </tmp/employees.sql.gz | mysql -uroot -p"$(cat $MYSQL_ROOT_PASSWORD_FILE)" employees"#);
    let rows =
        "SELECT (SELECT COUNT(*) FROM salaries) > 0 AND (SELECT COUNT(*) FROM titles) >= COUNT(*) FROM employees";
    assert_eq!(ask(&namespace, "shop-mysql-0", rows), "1");
    stack.settled();
    assert_eq!(stack.page("/employees/10001").unwrap().status, 200);
}

#[test]
#[ignore = "each of its groups takes three servers' memory"]
fn volumes_grow_before_they_are_full_and_not_beyond_their_limit() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = three();
    spec["mysql"]["storage"] = json!({"size": "640Mi", "autoGrow": {"limit": "900Mi"}});
    let stack = formed(&namespace, spec);
    stack.wait("StorageLow", "False", "StorageSuffices", PATIENCE);
    let leader = primary(&stack);
    // The figures are half a minute old at most: what is written by then, on top of them, fits in as well.
    for _ in 0..9 {
        assert!(fill(&namespace, &leader));
    }
    let grown = || claims(&namespace).iter().all(|size| size == "900Mi");
    wait_for("larger volumes", PATIENCE, || grown().then_some(()));
    assert_eq!(claims(&namespace).len(), 3);
    assert_eq!(stack.get()["spec"]["mysql"]["storage"]["size"], "640Mi");
    for _ in 0..9 {
        assert!(fill(&namespace, &leader));
    }
    let message = stack.wait("StorageLow", "True", "LimitReached", PATIENCE);
    assert!(message.ends_with("the volumes have grown to spec.mysql.storage.autoGrow.limit"), "{message}");
    assert!(stack.events("StorageLow") >= 1);
    ask(&namespace, &leader, "DROP TABLE big");
    for member in 0..3 {
        let pod = format!("shop-mysql-{member}");
        ask(&namespace, &pod, "FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY");
    }
    stack.wait("StorageLow", "False", "StorageSuffices", PATIENCE);
    assert!(grown(), "volumes never shrink");
    assert_eq!(primary(&stack), leader);
    whole(&stack, "3/3");
}
