//! A database of three members: what fails, while somebody writes rows and counts those that were acknowledged, and
//! others read pages. The longest pause between two acknowledged rows is printed for each fault, and must not be beyond
//! what other work on the machine explains.
//!
//! They run after the others, one at a time (tests/run).

use serde_json::{Value, json};
use tandem_tests::docker::wait_for;
use tandem_tests::http::{Met, under_load};

use self::fault::{Fault, HAND_OVER};
use self::guide::{Guide, command};
use self::writer::{Pause, Writer, ask, try_ask};
use crate::kubectl::{Namespace, PATIENCE, Stack, cluster_or_skip, small};

pub(crate) mod fault;
pub(crate) mod guide;
pub(crate) mod writer;

/// Keep-alive connections that read pages.
pub(crate) const READERS: usize = 4;

/// How many are in a member's group.
pub(crate) const ONLINE: &str =
    "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'ONLINE'";

pub(crate) fn three() -> Value {
    let mut spec = small();
    spec["mysql"]["instances"] = json!(3);
    spec
}

/// A stack called `shop` with a group of three that serves.
pub(crate) fn formed(namespace: &Namespace, spec: Value) -> Stack<'_> {
    let stack = namespace.stack("shop", spec);
    stack.settled();
    whole(&stack, "3/3");
    stack
}

/// Waits until all members are in the group.
pub(crate) fn whole(stack: &Stack<'_>, members: &str) {
    wait_for(&format!("{members} members"), 2 * PATIENCE, || {
        let status = stack.get()["status"].clone();
        let degraded = stack.condition("Degraded").0;
        (status["mysql"]["ready"] == members && degraded == "False").then_some(())
    });
}

pub(crate) fn primary(stack: &Stack<'_>) -> String {
    wait_for("a primary", PATIENCE, || stack.get()["status"]["mysql"]["primary"].as_str().map(str::to_owned))
}

/// A group of three called `shop`, and somebody who writes to it all the time.
pub(crate) struct Scene<'a> {
    namespace: &'a Namespace,
    pub(crate) stack: Stack<'a>,
    pub(crate) writer: Writer<'a>,
}

impl<'a> Scene<'a> {
    pub(crate) fn set(namespace: &'a Namespace) -> Self {
        Self::with(namespace, three())
    }

    /// One of this spec.
    pub(crate) fn with(namespace: &'a Namespace, spec: Value) -> Self {
        let stack = formed(namespace, spec);
        Self { namespace, stack, writer: Writer::start(namespace) }
    }

    /// The members' Pods, the primary's first.
    pub(crate) fn members(&self) -> Vec<String> {
        let primary = primary(&self.stack);
        let mut members: Vec<_> = (0..3).map(|member| format!("shop-mysql-{member}")).collect();
        members.sort_by_key(|member| *member != primary);
        members
    }

    /// Lets something happen to these members, waits until clients are led past them, heals what has to be healed, and
    /// waits until all are back. Returns for how long no row was acknowledged, and what readers met.
    pub(crate) fn suffer(&self, fault: Fault, victims: &[String]) -> (Pause, Met) {
        let before = primary(&self.stack);
        let elects = victims.contains(&before) && victims.len() == 1;
        let uid = |victim: &String| self.pod(victim).expect("a Pod to harm")["metadata"]["uid"].clone();
        let pods: Vec<_> = victims.iter().map(uid).collect();
        let run = || {
            let harm: Vec<_> = victims.iter().map(|victim| fault.strike(self.namespace, victim)).collect();
            wait_for(&format!("what follows {fault:?} of {victims:?}"), PATIENCE, || {
                // By chance, another member may still be on its way back: then there is no majority until this one is.
                let now = self.stack.get()["status"]["mysql"]["primary"].clone();
                let follows = if elects { now != *before } else { self.is_degraded() };
                follows.then_some(())
            });
            drop(harm);
            // A primary that hands over is followed before it goes: what is whole then is not yet what is whole again.
            for (victim, before) in victims.iter().zip(&pods).filter(|_| fault.replaces_pods()) {
                wait_for(&format!("another Pod {victim}"), 2 * PATIENCE, || {
                    let pod = self.pod(victim)?;
                    let conditions = pod["status"]["conditions"].as_array()?;
                    let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
                    (ready && pod["metadata"]["uid"] != *before).then_some(())
                });
            }
            whole(&self.stack, "3/3");
        };
        let (pause, met) = under_load(self.stack.address(), READERS, true, "GET", || self.writer.during(run));
        let (answered, failed) = (met.served_by.values().sum::<u32>(), met.lost.len());
        println!(
            "{fault:?} of {victims:?}, led by {before}: writes paused for {pause}, {failed} of {answered} reads failed"
        );
        (pause, met)
    }

    /// A change that is asked for, which costs no reader anything either.
    fn follow(&self, what: &str, run: impl FnOnce()) {
        let (pause, met) = under_load(self.stack.address(), READERS, true, "GET", || self.writer.during(run));
        println!("{what}: writes paused for {pause}");
        all_are_served(&met);
        assert!(pause.milliseconds < HAND_OVER, "{what}: writes paused for {pause}");
    }

    /// What happens to one member costs no reader anything, and writers no more than an election.
    pub(crate) fn suffer_one(&self, fault: Fault, victim: &str) -> u64 {
        let before = primary(&self.stack);
        let (pause, met) = self.suffer(fault, &[victim.to_owned()]);
        // Nobody waited for it to come back.
        assert!(victim != before || primary(&self.stack) != before, "{fault:?} of {victim}: nobody took over");
        all_are_served(&met);
        assert!(pause.milliseconds < fault.longest_pause(), "{fault:?} of {victim}: writes paused for {pause}");
        pause.milliseconds
    }

    fn pod(&self, name: &str) -> Option<Value> {
        self.namespace.get("pod", name)
    }

    fn is_degraded(&self) -> bool {
        self.stack.condition("Degraded").0 == "True"
    }
}

/// No reader met anything but answers.
pub(crate) fn all_are_served(met: &Met) {
    assert_eq!((met.refused, met.lost.len()), (0, 0), "{:?}", met.lost);
}

/// How many are in this member's group.
pub(crate) fn online(namespace: &Namespace, pod: &str) -> usize {
    ask(namespace, pod, ONLINE).parse().unwrap()
}

/// A member that applies nothing for a while is not read from until it has caught up.
fn who_is_behind_is_not_read_from(scene: &Scene<'_>) {
    let (namespace, late) = (scene.namespace, scene.members()[1].clone());
    let is_read = || {
        let pods = namespace.list("pods", "tandem.dev/reads=true");
        pods.iter().any(|pod| pod["metadata"]["name"] == *late)
    };
    assert!(is_read());
    scene.follow("another member applies nothing", || {
        std::thread::scope(|threads| {
            // The lock lasts as long as its connection, which this client ends after 20 s in any case.
            threads.spawn(|| try_ask(namespace, &late, "FLUSH TABLES WITH READ LOCK; DO SLEEP(60)"));
            wait_for("nobody to read from who is behind", PATIENCE, || (!is_read()).then_some(()));
            let who =
                "SELECT PROCESSLIST_ID FROM performance_schema.threads WHERE PROCESSLIST_INFO LIKE '%DO SLEEP(60)'";
            if let Some(id) = try_ask(namespace, &late, who) {
                try_ask(namespace, &late, &format!("KILL {id}"));
            }
        });
        wait_for("it to be read from again", PATIENCE, || is_read().then_some(()));
    });
}

#[test]
#[ignore = "measures pauses, and each of its groups takes three servers' memory"]
fn a_group_forms_serves_and_says_so() {
    let namespace = cluster_or_skip!().namespace();
    let stack = formed(&namespace, three());
    assert_eq!(primary(&stack), "shop-mysql-0");
    assert_eq!(stack.page("/").unwrap().status, 200);
    for member in 0..3 {
        let pod = format!("shop-mysql-{member}");
        assert_eq!(online(&namespace, &pod), 3);
        assert_eq!(ask(&namespace, &pod, "SELECT COUNT(*) FROM employees"), "10000");
    }
    let labelled = |label: &str| namespace.list("pods", label).len();
    assert_eq!((labelled("tandem.dev/role=primary"), labelled("tandem.dev/role=replica")), (1, 2));
    assert_eq!(labelled("tandem.dev/reads=true"), 2);
}

#[test]
#[ignore = "measures pauses, and each of its groups takes three servers' memory"]
fn whoever_fails_no_acknowledged_row_is_lost() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    who_is_behind_is_not_read_from(&scene);
    for fault in [Fault::Crash, Fault::Deletion, Fault::Freeze, Fault::NetworkLoss] {
        scene.suffer_one(fault, &scene.members()[0]);
    }
    for fault in [Fault::Crash, Fault::Freeze, Fault::NetworkLoss, Fault::LostVolume] {
        scene.suffer_one(fault, &scene.members()[1]);
    }
    scene.suffer(Fault::Crash, &scene.members());
    scene.writer.none_is_lost();
}

#[test]
#[ignore = "measures pauses, and each of its groups takes three servers' memory"]
fn new_settings_reach_the_primary_last_and_a_person_moves_it() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    let (stack, members) = (&scene.stack, scene.members());
    let uid = |member: &String| scene.pod(member).map(|pod| pod["metadata"]["uid"].clone());
    let first: Vec<_> = members.iter().map(uid).collect();
    scene.follow("an option changes", || {
        stack.patch(json!({"mysql": {"config": {"max_connections": "77"}}}));
        let mut replaced: Vec<&String> = Vec::new();
        wait_for("another Pod of each member", 6 * PATIENCE, || {
            for (member, first) in members.iter().zip(&first) {
                let is_another = uid(member).is_some_and(|now| Some(now) != *first);
                if is_another && !replaced.contains(&member) {
                    replaced.push(member);
                }
            }
            (replaced.len() == members.len()).then_some(())
        });
        // In any other order, the primary would have moved more than once.
        assert_eq!(*replaced[2], members[0], "{replaced:?}");
        for member in 0..3 {
            wait_for("the option", 3 * PATIENCE, || {
                let pod = format!("shop-mysql-{member}");
                try_ask(&namespace, &pod, "SELECT @@max_connections").filter(|number| number == "77")
            });
        }
        whole(stack, "3/3");
    });
    let before = primary(stack);
    let wish = (0..3).map(|member| format!("shop-mysql-{member}")).find(|pod| *pod != before).unwrap();
    scene.follow("a person moves the primary", || {
        Guide::of(&namespace, "shop").run(&command("tandem.dev/primary="), &[("NAME-mysql-1", wish.as_str())]);
        wait_for("the wish", PATIENCE, || (primary(stack) == wish).then_some(()));
    });
    scene.writer.none_is_lost();
}

#[test]
#[ignore = "measures pauses, and each of its groups takes three servers' memory"]
fn a_single_server_becomes_a_group_and_keeps_its_rows() {
    let namespace = cluster_or_skip!().namespace();
    let stack = namespace.serving();
    let writer = Writer::start_at(&namespace, "shop-mysql-0");
    let pause = writer.during(|| {
        stack.patch(json!({"mysql": {"instances": 3}}));
        wait_for("another member to take over", 2 * PATIENCE, || {
            // One that had to restart first would still be the primary.
            (stack.get()["status"]["mysql"]["lastFailover"]["from"] == "shop-mysql-0").then_some(())
        });
        whole(&stack, "3/3");
        stack.settled();
    });
    println!("from 1 to 3 instances: writes paused for {pause}");
    assert!(pause.milliseconds < HAND_OVER, "from 1 to 3 instances: writes paused for {pause}");
    assert_ne!(primary(&stack), "shop-mysql-0");
    let pause = writer.during(|| {
        stack.patch(json!({"mysql": {"instances": 1}}));
        whole(&stack, "1/1");
        stack.settled();
    });
    println!("from 3 to 1 instances: writes paused for {pause}");
    assert!(pause.milliseconds < HAND_OVER, "from 3 to 1 instances: writes paused for {pause}");
    // There is nobody who could take over meanwhile.
    stack.patch(json!({"mysql": {"config": {"max_connections": "77"}}}));
    let asked = || try_ask(&namespace, "shop-mysql-0", "SELECT @@max_connections").filter(|number| number == "77");
    wait_for("the changed option", PATIENCE, asked);
    stack.settled();
    writer.none_is_lost_of(&["shop-mysql-0"]);
}

#[test]
#[ignore = "each of its groups takes three servers' memory"]
fn fewer_members_and_an_emptied_node_leave_the_others_their_majority() {
    let namespace = cluster_or_skip!().namespace();
    let scene = Scene::set(&namespace);
    let (stack, members) = (&scene.stack, scene.members());
    let harm = Fault::Freeze.strike(&namespace, &members[1]);
    stack.wait("Degraded", "True", "MembersMissing", PATIENCE);
    // Kubernetes takes no other one away on purpose.
    let nodes = namespace.ok(&["get", "nodes", "-o", "name"]);
    let selector = "--pod-selector=app.kubernetes.io/component=mysql";
    for node in nodes.lines() {
        let drained = namespace.run(&["drain", node, selector, "--delete-emptydir-data", "--force", "--timeout=10s"]);
        namespace.ok(&["uncordon", node]);
        let words = String::from_utf8_lossy(&drained.stderr);
        assert!(words.contains("disruption budget"), "{words}");
    }
    assert_eq!(online(&namespace, &members[0]), 2);
    drop(harm);
    whole(stack, "3/3");

    // Were the third to leave before the group has given the second one up, the first would be one of two.
    let members = scene.members();
    let pause = scene.writer.during(|| {
        let harm = Fault::Freeze.strike(&namespace, &members[1]);
        stack.patch(json!({"mysql": {"instances": 1}}));
        whole(stack, "1/1");
        drop(harm);
        stack.settled();
    });
    println!("from three members to one, while one is frozen: writes paused for {pause}");
    assert!(pause.milliseconds < Fault::Freeze.longest_pause(), "writes paused for {pause}");
    stack.patch(json!({"mysql": {"instances": 3}}));
    whole(stack, "3/3");
    stack.settled();
    scene.writer.none_is_lost();

    // Not wanted for now, and wanted again with fewer members: whoever was in the group at last comes back first.
    stack.patch(json!({"suspend": true}));
    let pods = || namespace.list("pods", "app.kubernetes.io/component=mysql").len();
    wait_for("nobody to be left", PATIENCE, || (pods() == 0).then_some(()));
    stack.patch(json!({"suspend": false, "mysql": {"instances": 1}}));
    whole(stack, "1/1");
    stack.settled();
    wait_for("one of them", PATIENCE, || (pods() == 1).then_some(()));
    let rows = ask(&namespace, &primary(stack), "SELECT COUNT(*) FROM acknowledged");
    assert!(rows.parse::<u32>().unwrap() > 10, "{rows}");
}
