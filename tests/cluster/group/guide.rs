//! The commands of docs/high-availability.md, run as they stand there.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tandem_tests::docker::{ok, unique};

use crate::kubectl::Namespace;

const TEXT: &str = include_str!("../../../docs/high-availability.md");

/// From where the guide's commands are run.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn blocks() -> impl Iterator<Item = &'static str> {
    TEXT.split("\n```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap())
}

/// The block of commands that contains `phrase`.
pub(crate) fn block(phrase: &str) -> &'static str {
    only(blocks().filter(|block| block.contains(phrase)), phrase)
}

/// The one command that contains `phrase`, with the lines in which it goes on.
pub(crate) fn command(phrase: &str) -> String {
    let mut commands: Vec<String> = Vec::new();
    for block in blocks() {
        let mut goes_on = false;
        for line in block.lines() {
            if goes_on {
                let command = commands.last_mut().unwrap();
                command.push('\n');
                command.push_str(line);
            } else {
                commands.push(line.to_owned());
            }
            goes_on = line.ends_with('\\');
        }
    }
    only(commands.into_iter().filter(|command| command.contains(phrase)), phrase)
}

fn only<T>(mut found: impl Iterator<Item = T>, phrase: &str) -> T {
    let first = found.next().unwrap_or_else(|| panic!("the guide does not have {phrase:?}"));
    assert!(found.next().is_none(), "the guide has {phrase:?} more than once");
    first
}

/// A person who follows the guide with one stack, whose namespace is the default one of their kubectl.
pub(crate) struct Guide {
    stack: String,
    /// Of their own, with the credentials.
    folder: PathBuf,
}

impl Guide {
    pub(crate) fn of(namespace: &Namespace, stack: &str) -> Self {
        let folder = std::env::temp_dir().join(unique("guide"));
        DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let guide = Self { stack: stack.to_owned(), folder };
        let cluster = namespace.cluster;
        let kubeconfig = guide.file("kubeconfig", &cluster.ok(&["config", "view", "--raw", "--flatten"]));
        let default = ["--kubeconfig", &kubeconfig, "config", "set-context", "--current", "--namespace"];
        cluster.ok(&[&default[..], &[namespace.name.as_str()]].concat());
        guide
    }

    /// Writes a file that commands may name; returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs commands of the guide, with the second of each of these words in place of the first; NAME is the stack.
    /// Returns what they print; all of them must succeed.
    pub(crate) fn run(&self, commands: &str, words: &[(&str, &str)]) -> String {
        let mut script = commands.to_owned();
        for &(its, ours) in words {
            assert!(script.contains(its), "no {its:?} in {script:?}");
            script = script.replace(its, ours);
        }
        let script = script.replace("NAME", &self.stack);
        let mut shell = Command::new("sh");
        let shell = shell.args(["-ec", &script]).env("KUBECONFIG", self.folder.join("kubeconfig"));
        ok(&script, shell.current_dir(ROOT).stdin(Stdio::null()).output().unwrap())
    }
}

impl Drop for Guide {
    fn drop(&mut self) {
        // A test that fails already must not fail because of this too.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
