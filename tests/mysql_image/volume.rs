//! What may be found in the volume, and who may own it.

use rstest::rstest;
use tandem_tests::docker::{Run, Volume};

use crate::image::{DATA, Image, START, image_or_skip, never_ready, root, says};

/// Checksums of all files in the volume.
fn checksums(image: &Image, volume: &Volume) -> String {
    volume.sh(&image.name, DATA, "find . -type f -exec md5sum {} + | sort -k 2; find . ! -type f | sort")
}

#[test]
fn lost_and_found_and_hidden_files_count_as_empty() {
    let image = image_or_skip!();
    let volume = Volume::create();
    volume.sh(&image.name, DATA, "mkdir -m 700 lost+found; touch lost+found/x .hidden");
    let container = image.quick().volume(&volume, DATA).start().healthy(START);
    let kept = format!("ls -A {DATA} | grep -cxE 'lost.found|.hidden'");
    assert_eq!(container.sh_ok(&kept), "2");
    container.stop();
    container.start();
    container.wait_until_healthy(START);
    assert_eq!(root(&container).ok("SHOW DATABASES LIKE '%lost%'"), "");
}

#[test]
fn files_that_are_no_database_are_refused_and_kept() {
    let image = image_or_skip!();
    let volume = Volume::create();
    volume.sh(&image.name, DATA, "mkdir photos; echo mine > photos/1.txt");
    let before = checksums(&image, &volume);
    let ended = image.quick().volume(&volume, DATA).finish();
    assert_eq!(ended.code, 1);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    says(&ended.stderr, &["tandem-mysql: /var/lib/mysql holds photos, which is no MySQL data"]);
    assert_eq!(checksums(&image, &volume), before);
}

#[test]
fn a_log_in_the_volume_does_not_stop_an_interrupted_first_start_from_beginning_again() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let run = image.quick().volume(&volume, DATA).env("MYSQL_CONF_GENERAL_LOG", "ON");
    let container = run.env("MYSQL_CONF_GENERAL_LOG_FILE", "/var/lib/mysql/queries.log").create();
    volume.sh(&image.name, DATA, "mkdir -m 770 tandem-first-start; chown 999:0 tandem-first-start; touch queries.log");
    volume.sh(&image.name, DATA, "chown 999:0 . queries.log; chmod 770 .");
    container.start();
    container.wait_until_healthy(START);
}

#[test]
fn locked_down_it_serves_as_any_uid_of_group_0() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let run = || image.small().volume(&volume, DATA).strict();
    let container = run().user("12345:0").start().healthy(START);
    root(&container).ok("CREATE DATABASE kept; CREATE TABLE kept.t (a INT PRIMARY KEY); INSERT INTO kept.t VALUES (7)");
    says(
        &container.sh_ok("tandem-mysql verify; id -u; cat /proc/1/status"),
        &["data set complete", "12345", "CapEff:\t0000000000000000"],
    );
    container.stop();
    assert_eq!(container.exit_code(1), 0);
    // Another uid on the same volume, after a clean end and after a kill.
    for uid in ["23456:0", "34567:0", "999:0"] {
        let container = run().user(uid).start().healthy(START);
        assert_eq!(root(&container).ok("SELECT a FROM kept.t"), "7");
        root(&container).ok("CREATE TABLE IF NOT EXISTS kept.u (a INT PRIMARY KEY); INSERT INTO kept.t SELECT MAX(a) + 1 FROM kept.t; DELETE FROM kept.t WHERE a > 7");
        container.kill();
    }
}

#[test]
fn as_root_it_takes_the_volume_over_and_serves_as_mysql() {
    let image = image_or_skip!();
    let volume = Volume::create();
    volume.sh(&image.name, DATA, "ln -s /etc/shadow .link; touch .file; chown -h 4321:4321 . .link .file; chmod 700 .");
    let container = image.quick().root().volume(&volume, DATA).start().healthy(START);
    assert_eq!(container.sh_ok("stat -c %u:%g /proc/1"), "999:0");
    assert_eq!(container.sh_ok("grep Groups: /proc/1/status | tr -d '[:space:]'"), "Groups:0");
    assert_eq!(container.sh_ok(&format!("find {DATA} ! -uid 999 ! -name .link")), "");
    assert_eq!(container.sh_ok("stat -c %u /etc/shadow"), "0", "a link was followed");
    assert_eq!(root(&container).ok("SELECT 1"), "1");
    container.stop();
    assert_eq!(container.exit_code(1), 0);
}

#[test]
fn as_root_without_capabilities_it_says_what_to_do() {
    let image = image_or_skip!();
    let ended = image.quick().root().option("--cap-drop=ALL").finish();
    assert_eq!(ended.code, 1);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    says(&ended.stderr, &["tandem-mysql: running as root without the capabilities", "--user mysql"]);
}

#[test]
fn a_volume_that_cannot_be_written_is_refused_with_the_remedy() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let start = |run: Run| {
        let ended = run.finish();
        assert_ne!(ended.code, 0);
        assert_eq!(ended.stderr.matches("tandem-mysql: ").count(), 1, "{}", ended.stderr);
        ended.stderr
    };
    // Empty and somebody else's, then read-only.
    // The hidden file keeps Docker from giving the volume the image's owner again.
    volume.sh(&image.name, DATA, "touch .keep; chown 4321:4321 .; chmod 755 .");
    says(&start(image.quick().volume(&volume, DATA)), &["/var/lib/mysql is not writable for uid 999", "g+rwX"]);
    volume.sh(&image.name, DATA, "chmod 700 .");
    says(&start(image.quick().volume(&volume, DATA)), &["/var/lib/mysql is not writable for uid 999", "g+rwX"]);
    volume.sh(&image.name, DATA, "chown 999:0 .; chmod 770 .");
    let read_only = image.quick().volume(&volume, &format!("{DATA}:ro"));
    says(&start(read_only.clone()), &["/var/lib/mysql is not writable", "Read-only file system"]);

    // The same for a database.
    let container = image.quick().volume(&volume, DATA).start().healthy(START);
    container.stop();
    says(&start(read_only), &["/var/lib/mysql is not writable", "Read-only file system"]);
    volume.sh(&image.name, DATA, "chown -R 4321:4321 .; chmod -R g=,o= .");
    says(&start(image.quick().volume(&volume, DATA)), &["/var/lib/mysql is not writable for uid 999", "g+rwX"]);
    volume.sh(&image.name, DATA, "chown 999:0 .; chmod 770 .");
    says(&start(image.quick().volume(&volume, DATA)), &["/var/lib/mysql is not writable for uid 999", "g+rwX"]);
    // The remedy that it names.
    let rooted = image.quick().root().volume(&volume, DATA).start().healthy(START);
    assert_eq!(root(&rooted).ok("SELECT 1"), "1");
}

#[rstest]
#[case::of_a_newer_series("9.99.0")]
#[case::of_a_newer_release("10.0.1")]
fn a_newer_servers_data_directory_is_refused_unchanged(#[case] version: &str) {
    let image = image_or_skip!();
    let volume = Volume::create();
    let history = format!(r#"{{"upgrade_history":[{{"version":"9.0.0"}},{{"version":"{version}"}}]}}"#);
    let files = "echo data > mysql.ibd; echo more > ibdata1; mkdir sys; chown -R 999:0 .";
    volume.sh(&image.name, DATA, &format!("echo '{history}' > mysql_upgrade_history; {files}"));
    let before = checksums(&image, &volume);
    let container = image.quick().volume(&volume, DATA).start();
    assert_eq!(container.exit_code(START), 1);
    let line = container.stderr();
    assert_eq!(line.lines().count(), 1, "{line}");
    let expected = format!("tandem-mysql: /var/lib/mysql was written by MySQL {version}, newer than this image's");
    says(&line, &[&expected, "nothing was changed"]);
    never_ready(&container);
    assert_eq!(checksums(&image, &volume), before);
}

#[test]
fn a_data_directory_of_a_later_patch_of_the_same_series_is_served() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let container = image.quick().volume(&volume, DATA).start().healthy(START);
    let series = root(&container).ok("SELECT SUBSTRING_INDEX(VERSION(), '.', 2)");
    container.stop();
    let script = format!(r#"sed -i 's/"version":[ ]*"[0-9.]*/"version":"{series}.99/' mysql_upgrade_history"#);
    volume.sh(&image.name, DATA, &format!("{script}; grep -F '{series}.99' mysql_upgrade_history"));
    container.start();
    container.wait_for_log("MySQL Server - start", 2, START);
    assert!(!container.log().contains("newer than this image"));
}

#[test]
fn a_full_disk_is_reported_and_forgotten_when_there_is_space() {
    let image = image_or_skip!();
    let volume = Volume::in_memory("400m");
    // As long as a container has the volume, what is in memory stays there. Hidden files count as empty.
    let holder = image.bare().entrypoint("sleep").volume(&volume, DATA).command(&["1000"]).start();
    holder.sh_ok(&format!("head -c 330M /dev/zero > {DATA}/.filler"));
    let container = image.small().volume(&volume, DATA).start();
    assert_ne!(container.exit_code(START), 0);
    let last = container.stderr().lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("tandem-mysql: "), "{last}");
    assert!(container.stderr().lines().count() < 50, "{}", container.stderr());
    let reasons = ["No space left", "disk full", "Disk is full", "enough disk space"];
    assert!(reasons.iter().any(|reason| container.stderr().contains(reason)), "{}", container.stderr());
    never_ready(&container);
    holder.sh_ok(&format!("rm {DATA}/.filler"));
    container.start();
    container.wait_until_healthy(START);
    says(&container.sh_ok("tandem-mysql verify"), &["data set complete"]);
}
