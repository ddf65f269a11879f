//! Everything that may happen to a group, again and again, and at random: `make chaos`.
//!
//! CHAOS_ROUNDS says how often each fault happens (3), CHAOS_MINUTES how long the random ones go on (10), and
//! CHAOS_SEED which they are (the time; it is printed).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tandem_tests::docker::wait_for;

use crate::group::fault::{Fault, crash_the_operator};
use crate::group::writer::{Writer, ask};
use crate::group::{Scene, primary, whole};
use crate::kubectl::{PATIENCE, cluster_or_skip};
use crate::operator::{Away, holder};

mod full;

pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// A line of the table in docs/high-availability.md.
fn tell(what: &str, mut pauses: Vec<u64>) {
    pauses.sort_unstable();
    let (first, last) = (pauses[0], pauses[pauses.len() - 1]);
    println!("| {what} | {} | {first} | {} | {last} |", pauses.len(), pauses[pauses.len() / 2]);
}

#[test]
#[ignore = "takes half an hour"]
fn each_fault_again_and_again() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    let rounds = || 0..number("CHAOS_ROUNDS", 3);
    println!("| what | times | minimum | median | maximum |\n| --- | --- | --- | --- | --- |");
    for (role, member) in [("the primary", 0), ("another member", 1)] {
        for fault in Fault::ALL {
            let once = |_| scene.suffer_one(fault, &scene.members()[member]);
            tell(&format!("{fault:?} of {role}"), rounds().map(once).collect());
        }
    }
    for (what, members) in [("two of three, the primary too", 0..2), ("both others", 1..3), ("all three", 0..3)] {
        for fault in [Fault::Crash, Fault::Deletion, Fault::NetworkLoss] {
            let once = |_| scene.suffer(fault, &scene.members()[members.clone()]).0.milliseconds;
            tell(&format!("{fault:?} of {what}"), rounds().map(once).collect());
        }
    }
    scene.writer.none_is_lost();
}

#[test]
#[ignore = "takes minutes, and the operator away"]
fn while_the_operator_is_away_the_group_elects_and_clients_follow_later() {
    let cluster = cluster_or_skip!();
    let namespace = cluster.namespace();
    let scene = Scene::set(&namespace);
    for fault in Fault::ALL {
        let pause = scene.writer.during(|| {
            let members = scene.members();
            let away = Away::take(cluster);
            let harm = fault.strike(&namespace, &members[0]);
            wait_for("an election", PATIENCE, || {
                let elected = ask(&namespace, &members[1], "SELECT MEMBER_HOST FROM performance_schema.replication_group_members WHERE MEMBER_ROLE = 'PRIMARY' AND MEMBER_STATE = 'ONLINE'");
                (!elected.is_empty() && !elected.starts_with(&members[0])).then_some(())
            });
            drop(harm);
            drop(away);
            wait_for("the new primary", PATIENCE, || (primary(&scene.stack) != members[0]).then_some(()));
            whole(&scene.stack, "3/3");
        });
        println!("{fault:?} of the primary without an operator, until it is back: {pause}");
    }
    scene.writer.none_is_lost();
}

/// Ends the operator whenever it begins something that it had not begun before, until `run` ends. Returns what that
/// was.
fn with_an_assassin(run: impl FnOnce()) -> Vec<String> {
    let cluster = crate::kubectl::cluster().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let assassin = scope.spawn(|| {
            let mut known: Vec<String> = Vec::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let leader = holder(cluster);
                // Only what it says from now on, or what was begun long ago would count.
                let log = cluster.run(&["-n", "tandem-system", "logs", &leader, "--since=2s"]);
                let log = String::from_utf8_lossy(&log.stdout).into_owned();
                let begun = log.lines().filter(|line| line.contains("\"begins\"")).filter_map(|line| {
                    let words: serde_json::Value = serde_json::from_str(line).ok()?;
                    let what = words["what"].as_str().or(words["fields"]["what"].as_str())?;
                    // The members' names apart.
                    Some(what.split(' ').filter(|word| !word.contains("mysql-")).collect::<Vec<_>>().join(" "))
                });
                if let Some(new) = begun.into_iter().find(|what| !known.contains(what)) {
                    crash_the_operator(cluster, &leader);
                    println!("the operator was killed while {new}");
                    known.push(new);
                }
            }
            known
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        ended.unwrap();
        assassin.join().unwrap()
    })
}

#[test]
#[ignore = "takes minutes, and the operator away"]
fn an_operator_that_is_killed_in_the_middle_of_each_action_goes_on_afterwards() {
    let namespace = cluster_or_skip!().namespace();
    let mut writer = None;
    let killed = with_an_assassin(|| {
        let scene = Scene::set(&namespace);
        let (stack, members) = (&scene.stack, scene.members());
        namespace.ok(&["annotate", "webstack", "shop", &format!("tandem.dev/primary={}", members[1])]);
        wait_for("the wish", PATIENCE, || (primary(stack) == members[1]).then_some(()));
        namespace.ok(&["annotate", "webstack", "shop", "tandem.dev/primary-"]);
        stack.patch(json!({"mysql": {"instances": 5}}));
        whole(stack, "5/5");
        stack.patch(json!({"mysql": {"instances": 3}}));
        whole(stack, "3/3");
        stack.patch(json!({"mysql": {"config": {"max_connections": "77"}}}));
        stack.settled();
        whole(stack, "3/3");
        scene.suffer(Fault::Crash, &scene.members());
        writer = Some(scene.writer);
    });
    println!("killed: {killed:?}");
    assert!(killed.len() >= 6, "{killed:?}");
    writer.as_ref().map(Writer::none_is_lost).unwrap();
}

#[test]
#[ignore = "takes ten minutes"]
fn random_faults_lose_nothing() {
    let cluster = cluster_or_skip!();
    let seed = number("CHAOS_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    println!("CHAOS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let end = Instant::now() + Duration::from_secs(60 * number("CHAOS_MINUTES", 10));
    let namespace = cluster.namespace();
    let scene = Scene::set(&namespace);
    while Instant::now() < end {
        let fault = random.choice(Fault::ALL).unwrap();
        let mut members = scene.members();
        random.shuffle(&mut members);
        // Mostly one. Who loses the volumes of a majority has lost data, and asks a person.
        let several = fault != Fault::LostVolume && random.u8(0..4) == 0;
        members.truncate(if several { random.usize(2..=3) } else { 1 });
        if random.u8(0..4) == 0 {
            println!("the operator is killed");
            crash_the_operator(cluster, &holder(cluster));
        }
        scene.suffer(fault, &members);
    }
    scene.writer.none_is_lost();
}
