//! Disks that are really full.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tandem_tests::docker::{ok, wait_for};

use crate::group::{Scene, primary, three, whole};
use crate::kubectl::{Cluster, Namespace, PATIENCE, cluster_or_skip};
use crate::volumes::fill;

/// For how long the disks stay full: several times as long as a failover takes.
const FULL: Duration = Duration::from_secs(60);

/// Volumes of the members that really end: file systems in memory, of this machine's.
struct Small {
    namespace: String,
    folders: Vec<PathBuf>,
    cluster: &'static Cluster,
}

impl Small {
    fn of(namespace: &Namespace, megabytes: u32) -> Self {
        let mut small = Self { namespace: namespace.name.clone(), folders: Vec::new(), cluster: namespace.cluster };
        let class = &namespace.name;
        namespace.apply(&json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class},
            "provisioner": "kubernetes.io/no-provisioner",
        }));
        let node = namespace.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        for member in 0..3 {
            let folder = PathBuf::from(format!("/var/tmp/{class}-{member}"));
            std::fs::create_dir(&folder).unwrap();
            let size = format!("size={megabytes}m");
            ok("mount", Command::new("mount").args(["-t", "tmpfs", "-o", &size, class]).arg(&folder).output().unwrap());
            namespace.apply(&json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("{class}-{member}")},
                "spec": {
                    "capacity": {"storage": format!("{megabytes}Mi")}, "accessModes": ["ReadWriteOnce"],
                    "storageClassName": class, "persistentVolumeReclaimPolicy": "Retain", "local": {"path": folder},
                    "claimRef": {"namespace": class, "name": format!("data-shop-mysql-{member}")},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
                },
            }));
            small.folders.push(folder);
        }
        small
    }

    fn resize(&self, megabytes: u32) {
        for folder in &self.folders {
            let size = format!("remount,size={megabytes}m");
            ok("mount", Command::new("mount").args(["-o", &size]).arg(folder).output().unwrap());
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The namespace has to be gone before: its Pods use them.
        self.cluster.run(&["delete", "namespace", &self.namespace, "--timeout=120s"]);
        for (member, folder) in self.folders.iter().enumerate() {
            self.cluster.run(&["delete", "pv", &format!("{}-{member}", self.namespace), "--wait=false"]);
            let gone = Command::new("umount").arg("--lazy").arg(folder).status().map(|_| std::fs::remove_dir(folder));
            println!("{}: {gone:?}", folder.display());
        }
        self.cluster.run(&["delete", "storageclass", &self.namespace]);
    }
}

#[test]
#[ignore = "mounts file systems"]
fn full_disks_lose_nothing() {
    let namespace = cluster_or_skip!().namespace();
    let small = Small::of(&namespace, 640);
    let mut spec = three();
    spec["mysql"]["storage"] = json!({"size": "640Mi", "className": namespace.name});
    let scene = Scene::with(&namespace, spec);
    let stack = &scene.stack;
    let leader = primary(stack);
    let moves = || (stack.get()["status"]["mysql"]["lastFailover"].clone(), stack.events("PrimaryChanged"));
    let before = moves();
    wait_for("a full disk", 2 * PATIENCE, || (!fill(&namespace, &leader)).then_some(()));
    let message = stack.wait("StorageLow", "True", "VolumesFill", PATIENCE);
    assert!(message.contains(" % of its volume"), "{message}");
    println!("while the disks are full: {}", stack.get()["status"]["mysql"]);
    // Nobody who took over could write either: there is nothing to be seen but that time passes.
    let since = Instant::now();
    wait_for("what follows from full disks", 2 * FULL.as_secs(), || {
        assert_eq!(moves(), before, "the primary was moved because of full disks");
        (since.elapsed() > FULL).then_some(())
    });
    small.resize(2000);
    let pause = scene.writer.during(|| whole(stack, "3/3"));
    println!("until there was room again, writes paused for {pause}; {}", stack.get()["status"]["mysql"]);
    assert_eq!(stack.condition("Blocked").0, "False");
    scene.writer.none_is_lost();
}
