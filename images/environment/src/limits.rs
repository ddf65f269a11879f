//! The limits that the container's control group puts on a process: memory in bytes, processor time in cores.
//!
//! Both versions of the kernel's interface are read (v1 and v2, docs.kernel.org/admin-guide/cgroup-v1 and
//! …/cgroup-v2). Inside a container the group's own files are at the root of the mounted hierarchy.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel mounts control groups.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// A memory limit above this is the kernel's way to say "none" (v1 writes the largest page-aligned number).
const UNLIMITED: u64 = 1 << 60;

/// Reads the limits below one control-group mount.
#[derive(Clone, Debug)]
pub struct Limits {
    root: PathBuf,
}

impl Default for Limits {
    fn default() -> Self {
        Self::below(CGROUP_ROOT)
    }
}

impl Limits {
    /// Limits read from another mount point, for tests.
    pub fn below(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_owned() }
    }

    /// The memory limit in bytes; `None` where the container has none.
    pub fn memory(&self) -> Option<u64> {
        self.number("memory.max").or_else(|| self.number("memory/memory.limit_in_bytes")).filter(|&n| n < UNLIMITED)
    }

    /// All memory that a process can have, in bytes: the limit, or what the machine has where that is less; `None`
    /// where the kernel tells neither.
    pub fn all_memory(&self) -> Option<u64> {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kibibytes(&text, "MemTotal:"));
        self.memory().into_iter().chain(machine).min()
    }

    /// The processor quota in cores (1.5 is one core and a half); `None` where the container has none.
    pub fn cores(&self) -> Option<f64> {
        let (quota, period) = match self.text("cpu.max") {
            Some(text) => {
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
            }
            None => (
                self.text("cpu/cpu.cfs_quota_us")?.trim().parse::<f64>().ok()?,
                self.text("cpu/cpu.cfs_period_us")?.trim().parse::<f64>().ok()?,
            ),
        };
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    }

    /// How many threads of work make sense: the quota, rounded up, or the processors that the process may run on,
    /// whichever is less; at least 1.
    pub fn workers(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        match self.cores() {
            // A quota is positive and small; the cast of its ceiling cannot lose anything that matters.
            Some(cores) => processors.min(cores.ceil() as usize).max(1),
            None => processors,
        }
    }

    fn text(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.root.join(file)).ok()
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim().parse().ok()
    }
}

/// Bytes of memory that this process holds, as the kernel counts them.
pub fn resident_memory() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The bytes of a line such as `VmRSS:  1234 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory() {
        assert!(resident_memory().unwrap() > 100_000);
    }
    use rstest::rstest;

    fn limits(files: &[(&str, &str)]) -> (tempfile::TempDir, Limits) {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let limits = Limits::below(root.path());
        (root, limits)
    }

    #[rstest]
    #[case(&[], None)]
    #[case(&[("memory.max", "max\n")], None)]
    #[case(&[("memory.max", "536870912\n")], Some(536_870_912))]
    #[case(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")], None)]
    #[case(&[("memory/memory.limit_in_bytes", "1073741824\n")], Some(1_073_741_824))]
    fn memory_is_read_from_either_version(#[case] files: &[(&str, &str)], #[case] expected: Option<u64>) {
        assert_eq!(limits(files).1.memory(), expected);
    }

    #[test]
    fn all_memory_is_the_limit_or_the_machines() {
        let machine = limits(&[]).1.all_memory().unwrap();
        assert!(machine > 100_000_000);
        assert_eq!(limits(&[("memory.max", "1000\n")]).1.all_memory(), Some(1000));
        assert_eq!(limits(&[("memory.max", "1152921504606846975\n")]).1.all_memory(), Some(machine));
    }

    #[rstest]
    #[case(&[], None)]
    #[case(&[("cpu.max", "max 100000\n")], None)]
    #[case(&[("cpu.max", "150000 100000\n")], Some(1.5))]
    #[case(&[("cpu/cpu.cfs_quota_us", "-1\n"), ("cpu/cpu.cfs_period_us", "100000\n")], None)]
    #[case(&[("cpu/cpu.cfs_quota_us", "50000\n"), ("cpu/cpu.cfs_period_us", "100000\n")], Some(0.5))]
    fn cores_are_read_from_either_version(#[case] files: &[(&str, &str)], #[case] expected: Option<f64>) {
        assert_eq!(limits(files).1.cores(), expected);
    }

    #[test]
    fn a_small_quota_still_gives_one_worker() {
        assert_eq!(limits(&[("cpu.max", "10000 100000\n")]).1.workers(), 1);
    }
}
