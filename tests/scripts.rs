//! What `make` and its scripts decide, without a Docker engine.

#![expect(clippy::unwrap_used, reason = "a test fails where its tools do")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use rstest::rstest;
use tandem_tests::docker::unique;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What `make down` would do, with a word on its command line and this in its environment. Not as a part of the
/// `make` that may run this test, which would give it its flags and the lines that tell one make from another.
fn down(word: &str, exported: &str) -> Output {
    let words = ["-n", "down", word];
    let words = words.iter().filter(|word| !word.is_empty());
    let mut make = Command::new("make");
    for outer in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        make.env_remove(outer);
    }
    make.args(words).current_dir(ROOT).env("VOLUMES", exported).output().unwrap()
}

#[rstest]
#[case::not_asked_for("", "", false)]
#[case::asked_for("VOLUMES=1", "", true)]
#[case::of_another_program("", "1", false)]
#[case::asked_for_beside_another_program("VOLUMES=1", "0", true)]
fn the_data_is_forgotten_where_make_is_told_to(#[case] word: &str, #[case] exported: &str, #[case] forgets: bool) {
    let output = down(word, exported);
    let commands = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && commands.contains(" down --remove-orphans"), "{commands}");
    assert_eq!(commands.contains("down --volumes") && commands.contains("rm setup"), forgets, "{commands}");
}

#[rstest]
#[case("VOLUMES=0")]
#[case("VOLUMES=no")]
fn another_word_for_the_volumes_is_refused_before_anything_is_done(#[case] word: &str) {
    let output = down(word, "1");
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(complaint.contains("give VOLUMES=1 to forget") && complaint.lines().count() == 1, "{complaint}");
}

/// A folder with images/mysql/data alone, and a git and a tandem-mysql that leave notes.
struct Data(PathBuf);

impl Data {
    fn new() -> Self {
        let data = Self(std::env::temp_dir().join(unique("data")));
        fs::create_dir_all(data.0.join("images/mysql")).unwrap();
        fs::copy(format!("{ROOT}/images/mysql/data"), data.0.join("images/mysql/data")).unwrap();
        data.program("bin/git", "echo git >>notes; exit 1");
        let program =
            "case $1 in pack) echo \"$2\" >>notes ;; sample) mkdir -p \"$6\" && touch \"$6/dataset.json\" ;; esac";
        data.program("target/image/bin/tandem-mysql", program);
        data
    }

    fn program(&self, path: &str, script: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What it says, and which programs it has called: git, and tandem-mysql for this folder.
    fn run(&self, employees: &str) -> (String, String) {
        let path = format!("{}:{}", self.0.join("bin").display(), std::env::var("PATH").unwrap());
        let mut script = Command::new("bash");
        script.arg(self.0.join("images/mysql/data"));
        let output = script
            .env("PATH", path)
            .env("EMPLOYEES", employees)
            .env_remove("SEED")
            .current_dir(&self.0)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let notes = self.0.join("notes");
        let called = fs::read_to_string(&notes).unwrap();
        fs::remove_file(notes).unwrap();
        (said, called.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_sample_takes_the_place_of_what_cannot_be_fetched_and_says_what_is_so() {
    let data = Data::new();
    let (said, called) = data.run("");
    assert!(said.contains("test_db cannot be fetched"), "{said}");
    assert_eq!(called, "git git data/sample-300024-1");
    // The next time nobody waits for the network, so nothing is known of it.
    let (said, called) = data.run("");
    assert!(said.contains("GENERATED SAMPLE that is there") && !said.contains("cannot"), "{said}");
    assert_eq!(called, "data/sample-300024-1");
    let (said, called) = data.run("500");
    assert!(!said.contains("GENERATED"), "{said}");
    assert_eq!(called, "data/sample-500-1");
    fs::create_dir_all(data.path("data/test_db")).unwrap();
    let (said, called) = data.run("");
    assert!(said.contains("taking test_db from data/test_db"), "{said}");
    assert_eq!(called, "data/test_db");
}
