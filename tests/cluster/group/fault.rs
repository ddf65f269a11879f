//! What may happen to a member. Some of it is done from the machine on which the Pod runs, which has to be this one.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tandem_tests::docker::ok;

use crate::kubectl::{Cluster, Namespace};

/// For how long writes may pause where one member hands over to another, in milliseconds.
pub(crate) const HAND_OVER: u64 = 5_000;

/// The same where the others have to notice first that a member is gone.
const ELECTION: u64 = 20_000;

/// One thing that may happen to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its process ends at once.
    Crash,
    /// Its Pod is deleted.
    Deletion,
    /// Its Pod is deleted without time to end.
    ForcedDeletion,
    /// Its process is stopped, and goes on when that is healed.
    Freeze,
    /// Nothing comes in to its Pod or goes out, until that is healed.
    NetworkLoss,
    /// Its volume is deleted, and its Pod.
    LostVolume,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Crash, Self::Deletion, Self::ForcedDeletion, Self::Freeze, Self::NetworkLoss, Self::LostVolume];

    /// Whether another Pod takes its place.
    pub(crate) fn replaces_pods(self) -> bool {
        matches!(self, Self::Deletion | Self::ForcedDeletion | Self::LostVolume)
    }

    /// For how long writes may pause where it happens to one member, in milliseconds. On a machine that does nothing
    /// else it is less than half of it (docs/high-availability.md); more would be an election that is not held, or
    /// clients that nobody leads.
    pub(crate) fn longest_pause(self) -> u64 {
        match self {
            Self::Deletion => HAND_OVER,
            Self::Crash | Self::ForcedDeletion | Self::Freeze | Self::NetworkLoss | Self::LostVolume => ELECTION,
        }
    }

    /// Lets it happen to a Pod.
    pub(crate) fn strike(self, namespace: &Namespace, pod: &str) -> Harm {
        match self {
            Self::Crash => signal("KILL", namespace, pod),
            Self::Freeze => {
                signal("STOP", namespace, pod);
                return Harm(vec!["kill".into(), "-CONT".into(), mysqld(namespace, pod)]);
            }
            Self::Deletion => drop(namespace.ok(&["delete", "pod", pod, "--wait=false"])),
            Self::ForcedDeletion => drop(namespace.ok(&["delete", "pod", pod, "--grace-period=0", "--force"])),
            Self::NetworkLoss => {
                let network = format!("--net=/proc/{}/ns/net", process(&uid(namespace, pod), "pause"));
                let nft = |script: &str| {
                    let mut child = Command::new("nsenter")
                        .args([&network, "nft", "-f", "-"])
                        .stdin(Stdio::piped())
                        .spawn()
                        .unwrap();
                    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
                    assert!(child.wait().unwrap().success(), "nft in {network}");
                };
                nft(&["in input iif", "out output oif"]
                    .map(|chain| {
                        let [name, hook, interface] = chain.split(' ').collect::<Vec<_>>()[..] else { unreachable!() };
                        format!(
                            "add table inet lost\n\
                         add chain inet lost {name} {{ type filter hook {hook} priority 0; policy drop; }}\n\
                         add rule inet lost {name} {interface} lo accept\n"
                        )
                    })
                    .concat());
                return Harm(["nsenter", &network, "nft", "delete table inet lost"].map(str::to_owned).to_vec());
            }
            Self::LostVolume => {
                namespace.ok(&["delete", "pvc", &format!("data-{pod}"), "--wait=false"]);
                namespace.ok(&["delete", "pod", pod, "--wait=false"]);
            }
        }
        Harm(Vec::new())
    }
}

/// What a fault leaves behind. It is healed at the latest when this goes.
pub(crate) struct Harm(Vec<String>);

impl Drop for Harm {
    fn drop(&mut self) {
        if let Some((program, arguments)) = self.0.split_first() {
            let healed = Command::new(program).args(arguments).output();
            // The Pod may have gone meanwhile, and its fault with it.
            println!("healed by {:?}: {:?}", self.0, healed.map(|output| output.status));
        }
    }
}

fn signal(name: &str, namespace: &Namespace, pod: &str) {
    let process = mysqld(namespace, pod);
    ok("kill", Command::new("kill").args([&format!("-{name}"), &process]).output().unwrap());
}

fn mysqld(namespace: &Namespace, pod: &str) -> String {
    process(&uid(namespace, pod), "mysqld")
}

fn uid(namespace: &Namespace, pod: &str) -> String {
    namespace.ok(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
}

/// Ends the process of the operator that leads, without a word.
pub(crate) fn crash_the_operator(cluster: &Cluster, leader: &str) {
    let uid = cluster.ok(&["-n", "tandem-system", "get", "pod", leader, "-o", "jsonpath={.metadata.uid}"]);
    let process = process(&uid, "tandem-operator");
    ok("kill", Command::new("kill").args(["-KILL", &process]).output().unwrap());
}

/// The number of a Pod's process, found by the control group that the kubelet has put it into.
fn process(uid: &str, program: &str) -> String {
    let escaped = uid.replace('-', "_");
    let is_it = |folder: &Path| {
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
        // The kernel keeps fifteen characters of a name.
        read("comm").trim() == program.get(..15).unwrap_or(program) && {
            let group = read("cgroup");
            group.contains(uid) || group.contains(&escaped)
        }
    };
    let mut folders = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let found = folders.find(|folder| is_it(folder));
    let found = found.unwrap_or_else(|| panic!("no {program} of the Pod {uid} here: its node has to be this machine"));
    found.file_name().unwrap().to_string_lossy().into_owned()
}
