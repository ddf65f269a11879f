//! Everything that may happen to a group, again and again, and at random: `make chaos`.
//!
//! CHAOS_ROUNDS says how often each fault happens (3), CHAOS_MINUTES how long the random ones go on (10), and
//! CHAOS_SEED which they are (the time; it is printed).

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tandem_tests::docker::wait_for;
use tandem_tests::http::under_load;

use crate::decisions::{lose_everything, stray};
use crate::group::fault::{Fault, crash_the_operator};
use crate::group::writer::try_ask;
use crate::group::{ONLINE, READERS, Scene, all_are_served, primary, whole};
use crate::kubectl::{Namespace, PATIENCE, cluster_or_skip};
use crate::operator::{Away, holder};

mod full;

pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// The median of what is in order: of an even number, the mean of the two in the middle.
pub(crate) fn median(sorted: &[u64]) -> u64 {
    let count = sorted.len();
    (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
}

/// A line of the table in docs/high-availability.md.
fn tell(what: &str, mut pauses: Vec<u64>) {
    pauses.sort_unstable();
    let (first, last) = (pauses[0], pauses[pauses.len() - 1]);
    println!("| {what} | {} | {first} | {} | {last} |", pauses.len(), median(&pauses));
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
    // The primary, another member, two of three and the primary is one of them, all.
    let sets: [Range<usize>; 4] = [0..1, 1..2, 0..2, 0..3];
    for victims in sets {
        for fault in Fault::ALL {
            // Who loses the volumes of a majority has lost data, and asks a person.
            if fault != Fault::LostVolume || victims.len() == 1 {
                suffer_without_an_operator(&namespace, &scene, fault, victims.clone());
            }
        }
    }
    scene.writer.none_is_lost();
}

/// Who is the primary in a member's eyes.
const PRIMARY: &str = "SELECT SUBSTRING_INDEX(MEMBER_HOST, '.', 1) FROM performance_schema.replication_group_members
                       WHERE MEMBER_ROLE = 'PRIMARY' AND MEMBER_STATE = 'ONLINE'";

/// Lets something happen to these members, counted from the primary, while no operator is there, until the group has
/// noticed; then the operator comes back, and all members with it.
fn suffer_without_an_operator(namespace: &Namespace, scene: &Scene<'_>, fault: Fault, victims: Range<usize>) {
    let (cluster, members) = (namespace.cluster, scene.members());
    let struck = &members[victims];
    let run = || {
        let away = Away::take(cluster);
        let harm: Vec<_> = struck.iter().map(|victim| fault.strike(namespace, victim)).collect();
        let witness = members.iter().rfind(|member| struck.len() == 3 || !struck.contains(member)).unwrap();
        wait_for(&format!("the group to notice {fault:?} of {struck:?}"), PATIENCE, || {
            let online = try_ask(namespace, witness, ONLINE);
            let noticed = match struck {
                // A majority gives it up, and has a primary.
                [victim] => {
                    let primary = try_ask(namespace, witness, PRIMARY)?;
                    online? == "2" && !primary.is_empty() && primary != *victim
                }
                // Nobody is in a majority any more; where all were struck, there may be nobody to say so.
                _ => online.is_none_or(|number| number == "0" || number == "1"),
            };
            noticed.then_some(())
        });
        drop(harm);
        drop(away);
        cluster.ok(&["-n", "tandem-system", "rollout", "status", "deployment/tandem-operator", "--timeout=120s"]);
        // The status may still be of before the operator went.
        wait_for("all to be in the group again", 2 * PATIENCE, || {
            let all = members.iter().all(|member| try_ask(namespace, member, ONLINE).is_some_and(|one| one == "3"));
            all.then_some(())
        });
        wait_for("clients to be led to the primary", PATIENCE, || {
            let elected = try_ask(namespace, &members[0], PRIMARY)?;
            (scene.stack.get()["status"]["mysql"]["primary"] == *elected).then_some(())
        });
        whole(&scene.stack, "3/3");
    };
    let pause = if struck.len() == 1 {
        let load = || scene.writer.during(run);
        let (pause, met) = under_load(scene.stack.address(), READERS, true, "GET", load);
        all_are_served(&met);
        pause
    } else {
        scene.writer.during(run)
    };
    println!("{fault:?} of {struck:?}, led by {}, without an operator until then: {pause}", members[0]);
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

/// All that the operator does with a group, as its log tells that it begins, without the members' names.
const ACTIONS: [&str; 9] = [
    "forming the group from",
    "marking the group through",
    "filling from",
    "letting join",
    "making the primary",
    "letting leave",
    "replacing",
    "keeping aside what has",
    "forming the group anew from",
];

#[test]
#[ignore = "takes minutes, and the operator away"]
fn an_operator_that_is_killed_in_the_middle_of_each_action_goes_on_afterwards() {
    let namespace = cluster_or_skip!().namespace();
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
        let errant = scene.members()[1].clone();
        stray(&namespace, &errant, "stray");
        stack.wait("Blocked", "True", "MembersErrant", PATIENCE);
        namespace.ok(&["annotate", "webstack", "shop", &format!("tandem.dev/reclone={errant}")]);
        whole(stack, "3/3");
        scene.writer.none_is_lost();
        // Only now, since it gives up what there was.
        lose_everything(&namespace, &scene.members());
        stack.wait("Blocked", "True", "DataLost", 2 * PATIENCE);
        namespace.ok(&["annotate", "webstack", "shop", "tandem.dev/force-quorum=shop-mysql-0"]);
        whole(stack, "3/3");
    });
    println!("killed: {killed:?}");
    let spared: Vec<_> = ACTIONS.into_iter().filter(|action| !killed.iter().any(|one| one == action)).collect();
    assert!(spared.is_empty(), "it was never killed while {spared:?}, but while {killed:?}");
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
        let is_killed = random.u8(0..4) == 0;
        if is_killed {
            println!("the operator is killed");
            crash_the_operator(cluster, &holder(cluster));
        }
        let (pause, met) = scene.suffer(fault, &members);
        if members.len() == 1 {
            all_are_served(&met);
            // Without an operator, clients are led to another primary when one is back.
            assert!(is_killed || pause.milliseconds < fault.longest_pause(), "writes paused for {pause}");
        }
    }
    scene.writer.none_is_lost();
}
