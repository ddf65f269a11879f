//! The figures of a group, each from several runs: `bench/group`.
//!
//! BENCH_ROUNDS says how many (5). They measure; what must hold is tested elsewhere.

use std::process::Command;
use std::time::Instant;

use serde_json::json;
use tandem_tests::docker::wait_for;

use crate::chaos::{median, number};
use crate::group::fault::Fault;
use crate::group::writer::ask;
use crate::group::{Scene, primary, three, whole};
use crate::kubectl::{Namespace, PATIENCE, cluster_or_skip};

/// A line of the table.
fn tell(what: &str, mut milliseconds: Vec<u64>, target: &str) {
    milliseconds.sort_unstable();
    let seconds = |milliseconds: u64| format!("{:.1} s", milliseconds as f64 / 1000.0);
    let (count, middle) = (milliseconds.len(), seconds(median(&milliseconds)));
    let (first, last) = (seconds(milliseconds[0]), seconds(milliseconds[count - 1]));
    println!("| {what} | {count} | {first} | {middle} | {last} | {target} |");
}

fn rounds() -> std::ops::Range<u64> {
    0..number("BENCH_ROUNDS", 5).max(1)
}

#[test]
#[ignore = "measures"]
fn pauses_of_writes() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    let of_primary = [
        (Fault::Crash, "SIGKILL of the primary", "8 s"),
        (Fault::Freeze, "the primary is frozen (SIGSTOP)", "8 s"),
        (Fault::NetworkLoss, "the primary loses its network", "8 s"),
        (Fault::Deletion, "the primary's Pod is deleted", "2 s"),
    ];
    for (fault, what, target) in of_primary {
        tell(what, rounds().map(|_| scene.suffer_one(fault, &scene.members()[0])).collect(), target);
    }
    let of_another = [
        (Fault::Crash, "SIGKILL of another member"),
        (Fault::Freeze, "another member is frozen"),
        (Fault::NetworkLoss, "another member loses its network"),
        (Fault::Deletion, "another member's Pod is deleted"),
    ];
    for (fault, what) in of_another {
        tell(what, rounds().map(|_| scene.suffer_one(fault, &scene.members()[1])).collect(), "");
    }
    let moves = rounds().map(|_| {
        let members = scene.members();
        let moved = scene.writer.during(|| {
            let wish = format!("tandem.dev/primary={}", members[1]);
            namespace.ok(&["annotate", "webstack", "shop", "--overwrite", &wish]);
            wait_for("the wish", PATIENCE, || (primary(&scene.stack) == members[1]).then_some(()));
            namespace.ok(&["annotate", "webstack", "shop", "tandem.dev/primary-"]);
        });
        moved.milliseconds
    });
    tell("a person moves the primary", moves.collect(), "1 s");
    scene.writer.none_is_lost();
}

/// When the last of the Pods' containers was started, in milliseconds since 1970, to the second.
fn last_start(namespace: &Namespace) -> u64 {
    let pods = namespace.list("pods", "app.kubernetes.io/component=mysql");
    let started = pods.iter().map(|pod| {
        let started = &pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"];
        let seconds = Command::new("date").args(["-d", started.as_str().unwrap(), "+%s000"]).output().unwrap();
        String::from_utf8_lossy(&seconds.stdout).trim().parse().unwrap()
    });
    started.max().unwrap()
}

#[test]
#[ignore = "measures"]
fn more_and_fewer_members() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    let become_so_many = |instances: u32| {
        let pause = scene.writer.during(|| {
            scene.stack.patch(json!({"mysql": {"instances": instances}}));
            whole(&scene.stack, &format!("{instances}/{instances}"));
            scene.stack.settled();
        });
        pause.milliseconds
    };
    let (mut more, mut fewer) = (Vec::new(), Vec::new());
    for _ in rounds() {
        more.push(become_so_many(5));
        fewer.push(become_so_many(3));
        // Their volumes stay; with new ones, they are filled the next time as well.
        namespace.ok(&["delete", "pvc", "data-shop-mysql-3", "data-shop-mysql-4"]);
    }
    tell("3 become 5 instances", more, "1 s");
    tell("5 become 3 instances", fewer, "1 s");
    scene.writer.none_is_lost();
}

#[test]
#[ignore = "measures"]
fn outages_of_all() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    for (fault, what) in [(Fault::Crash, "SIGKILL of all three"), (Fault::Deletion, "all three Pods are deleted")] {
        let (mut pauses, mut after) = (Vec::new(), Vec::new());
        for _ in rounds() {
            let (pause, _) = scene.suffer(fault, &scene.members());
            pauses.push(pause.milliseconds);
            after.push(pause.until.saturating_sub(last_start(&namespace)));
        }
        tell(&format!("{what}: writes paused for"), pauses, "");
        tell(&format!("{what}: from when the last Pod runs to the first row"), after, "30 s");
    }
    scene.writer.none_is_lost();
}

#[test]
#[ignore = "measures"]
fn new_members_of_a_gibibyte() {
    let namespace = cluster_or_skip!().namespace();
    let mut spec = three();
    spec["mysql"]["storage"] = json!({"size": "8Gi"});
    let scene = Scene::with(&namespace, spec);
    let leader = primary(&scene.stack);
    ask(&namespace, &leader, "CREATE TABLE big (id INT AUTO_INCREMENT PRIMARY KEY, data LONGBLOB)");
    for _ in 0..32 {
        // 32 MiB.
        let rows = "INSERT INTO big (data) SELECT REPEAT(HEX(RANDOM_BYTES(512)), 1024) FROM employees LIMIT 32";
        ask(&namespace, &leader, rows);
    }
    let filled = rounds().map(|_| {
        let members = scene.members();
        let began = Instant::now();
        scene.suffer_one(Fault::LostVolume, &members[1]);
        u64::try_from(began.elapsed().as_millis()).unwrap()
    });
    tell("a new member of a database of 1 GiB, from the loss of its volume", filled.collect(), "60 s");
    let used = scene.stack.get()["status"]["mysql"]["members"].clone();
    println!("volumes of 8Gi: {used}");
    whole(&scene.stack, "3/3");
    scene.writer.none_is_lost();
}
