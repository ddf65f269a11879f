//! First starts that are killed or stopped, and starts that are stopped at once.

use rstest::rstest;
use tandem_tests::docker::{Container, Run, Volume, docker_ok, wait_for};

use crate::image::{DATA, INIT, LOAD, READY, ROOT, START, image_or_skip, never_ready, root, says};

const INITIALISING: &str = "initializing of server in progress";
const INITIALISED: &str = "MySQL Server Initialization - end";
const CHECKING: &str = "first start: checking what was loaded";
const DONE: &str = "first start: done";

/// A script that waits, in the first start of a container.
const WAITS: &str = "touch /tmp/waiting; echo the script waits; sleep 1000";

/// Without time zones there is no snapshot to begin with.
fn initialising(run: Run) -> Run {
    run.env("MYSQL_INITDB_SKIP_TZINFO", "1")
}

/// Waits until a table's file, where the first start works, has this size in MiB.
fn wait_for_file(container: &Container, table: &str, mebibytes: u64) {
    wait_for(&format!("{table} has {mebibytes} MiB"), LOAD, || {
        assert!(container.running(), "the container ended");
        let file = format!("{DATA}/tandem-first-start/employees/{table}.ibd");
        let size: u64 =
            String::from_utf8_lossy(&container.sh(&format!("stat -c %s {file}")).stdout).trim().parse().ok()?;
        (size >= mebibytes << 20).then_some(())
    });
}

#[test]
fn a_first_start_that_is_killed_at_any_moment_is_finished_by_the_next() {
    let image = image_or_skip!();
    let (volume, init) = (Volume::create(), Volume::create());
    // Where the look at the log comes late, what follows the check waits for it.
    init.write(&image.name, &[("10.sh", "644", "[ \"$(id -u)\" != 20004 ] || sleep 1000\n")]);
    let run = initialising(image.small()).volume(&volume, DATA).volume(&init, &format!("{INIT}:ro"));
    // Another uid each time: what one leaves, the next has to remove.
    let start = |uid: u32| run.clone().user(&format!("{uid}:0")).start();
    for (uid, moment, begins_again) in [
        (999, "first start: initialising", false),
        (20_001, INITIALISING, true),
        (20_002, INITIALISED, true),
        (20_003, "first start: /run/mysqld/first-start/small", true),
        (20_004, CHECKING, true),
        (20_005, DONE, true),
        (20_006, READY, false),
    ] {
        let container = start(uid);
        container.wait_for_log(moment, 1, START);
        container.kill();
        assert_eq!(container.log().contains("starting over"), begins_again, "killed at {moment:?}");
    }
    let container = start(20_007).healthy(START);
    assert!(!container.log().contains("initialising"), "what was complete has been made again");
    says(&container.sh_ok("tandem-mysql verify"), &["employees: 10,000 rows", "data set complete"]);
    assert_eq!(container.sh_ok(&format!("ls {DATA} | grep -c first-start || true")), "0");
}

#[test]
fn the_full_data_set_is_whole_after_kills_at_five_moments_and_was_loaded_in_bulk() {
    let image = image_or_skip!();
    let container = initialising(image.bare().env("MYSQL_ROOT_PASSWORD", ROOT)).create();
    let moments: [(&str, &dyn Fn()); 5] = [
        ("initialising", &|| container.wait_for_log(INITIALISING, 1, START)),
        ("some rows are there", &|| wait_for_file(&container, "salaries", 12)),
        ("most rows are there", &|| wait_for_file(&container, "salaries", 64)),
        ("checking", &|| container.wait_for_log(CHECKING, 1, LOAD)),
        ("ready", &|| container.wait_for_log(READY, 1, LOAD)),
    ];
    for (number, (moment, reached)) in moments.iter().enumerate() {
        container.start();
        reached();
        if number == 1 {
            loads_in_bulk(&container);
        }
        container.kill();
        assert!(container.log().matches("starting over").count() == number, "killed when {moment}");
    }
    container.start();
    container.wait_until_healthy(START);
    let verified = container.sh_ok("tandem-mysql verify");
    says(&verified, &["employees: 300,024 rows", "salaries: 2,844,047 rows", "data set complete"]);
    assert_eq!(redo_log(&root(&container).ok("SHOW GLOBAL STATUS LIKE 'Innodb_redo_log_enabled'")), "ON");
}

/// Looks at the temporary server while it loads: redo log off, several connections at once.
fn loads_in_bulk(container: &Container) {
    let ask = |sql: &str| {
        let client = "mysql --defaults-extra-file=/run/mysqld/first-start/login.cnf -N -B -e";
        container.sh_ok(&format!("{client} \"{sql}\""))
    };
    assert_eq!(redo_log(&ask("SHOW GLOBAL STATUS LIKE 'Innodb_redo_log_enabled'")), "OFF");
    // The other table of connections is empty: nothing is instrumented during a first start.
    let loading = ask("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'LOAD DATA%'");
    assert!(loading.parse::<u32>().unwrap() > 1, "{loading} connections load");
}

fn redo_log(status: &str) -> &str {
    status.split_whitespace().last().unwrap_or_default()
}

#[test]
fn a_snapshot_that_is_being_unpacked_is_unpacked_again_after_a_kill() {
    let image = image_or_skip!();
    // A quarter of a core: a second would be all that there is of it to interrupt.
    let container = image.bare().env("MYSQL_ROOT_PASSWORD", ROOT).option("--cpus=0.25").create();
    let moments: [&dyn Fn(); 4] = [
        &|| container.wait_for_log("first start: unpacking", 1, START),
        &|| wait_for_file(&container, "salaries", 16),
        &|| container.wait_for_log(DONE, 1, START),
        &|| container.wait_for_log(READY, 1, START),
    ];
    for reached in moments {
        container.start();
        reached();
        container.kill();
    }
    docker_ok(&["update", "--cpus=2", container.name()]);
    container.start();
    container.wait_until_healthy(START);
    assert!(container.log().matches("starting over").count() >= 2, "nothing was interrupted");
    says(&container.sh_ok("tandem-mysql verify"), &["salaries: 2,844,047 rows", "data set complete"]);
}

#[test]
fn a_final_move_that_was_killed_anywhere_goes_on() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let container = image.quick().volume(&volume, DATA).start().healthy(START);
    root(&container).ok("CREATE DATABASE kept; CREATE TABLE kept.t (a INT PRIMARY KEY); INSERT INTO kept.t VALUES (7)");
    container.stop();
    let back = "mkdir tandem-first-start; touch tandem-first-start/.complete; chown -R 999:0 tandem-first-start; mv";
    for left in [
        format!("{back} $(ls | grep -v first-start) tandem-first-start/"),
        format!("{back} $(ls | grep -v first-start | head -n 8) tandem-first-start/"),
        format!("{back} $(ls | grep -v first-start | tail -n 8) tandem-first-start/"),
        format!("{back} mysql.ibd tandem-first-start/"),
        "mkdir tandem-first-start; touch tandem-first-start/.complete; chown -R 999:0 tandem-first-start".to_owned(),
        "mkdir tandem-first-start; chown 999:0 tandem-first-start".to_owned(),
    ] {
        volume.sh(&image.name, DATA, &left);
        container.start();
        container.wait_until_healthy(START);
        assert_eq!(root(&container).ok("SELECT a FROM kept.t"), "7", "after {left}");
        assert_eq!(container.sh_ok(&format!("ls {DATA} | grep -c first-start || true")), "0", "after {left}");
        container.stop();
    }
}

#[rstest]
#[case::it_initialises("", INITIALISING)]
#[case::it_loads("", "first start: /run/mysqld/first-start/small")]
#[case::it_checks(WAITS, CHECKING)]
#[case::a_script_waits(WAITS, "the script waits")]
fn a_stop_ends_a_first_start_promptly_and_the_next_one_finishes_it(#[case] script: &str, #[case] moment: &str) {
    let image = image_or_skip!();
    let init = Volume::create();
    init.write(&image.name, &[("10.sh", "644", &format!("[ -e /tmp/waiting ] && exit\n{script}\n:"))]);
    let container = initialising(image.small()).volume(&init, &format!("{INIT}:ro")).start();
    container.wait_for_log(moment, 1, START);
    let took = container.stop();
    // Docker's own default is ten seconds before it kills.
    assert!(took.as_secs() < 8, "{took:?}");
    assert_eq!(container.exit_code(1), 1);
    says(&container.stderr(), &["tandem-mysql: stopped by SIGTERM during the first start"]);
    never_ready(&container);

    container.start();
    container.wait_until_healthy(START);
    says(&container.sh_ok("tandem-mysql verify"), &["data set complete"]);
}

#[test]
fn a_stop_is_clean_at_any_moment_of_a_later_start() {
    let image = image_or_skip!();
    let container = image.quick().start().healthy(START);
    container.stop();
    assert_eq!(container.exit_code(1), 0);
    // The first start's temporary server may have said the same.
    let shutdowns = || container.log().matches("Shutdown complete").count();
    let first = shutdowns();
    assert!(first > 0);

    // Before the server, while it starts, and when it has just begun to serve.
    let moments = [None, Some("MySQL Server - start"), Some("InnoDB initialization has started"), Some(READY)];
    for (stops, moment) in (1..).zip(moments) {
        let before = moment.map(|moment| container.log().matches(moment).count());
        container.start();
        if let (Some(moment), Some(before)) = (moment, before) {
            container.wait_for_log(moment, before + 1, START);
        }
        let took = container.stop();
        assert_eq!(container.exit_code(1), 0, "after {took:?}, at {moment:?}");
        assert_eq!(shutdowns(), first + stops, "at {moment:?}");
    }
    for _ in 0..3 {
        docker_ok(&["restart", "-t", "60", container.name()]);
    }
    container.wait_until_healthy(START);
    says(&container.log(), &["Shutdown complete"]);
    assert!(!container.log().contains("crash recovery"), "a shutdown was not clean");
}

#[test]
fn two_containers_never_share_a_first_start() {
    let image = image_or_skip!();
    let (volume, init) = (Volume::create(), Volume::create());
    init.write(&image.name, &[("10.sh", "644", "echo the script waits\nuntil [ -e /tmp/go ]; do sleep 0.1; done\n")]);
    let one = image.quick().volume(&volume, DATA).volume(&init, INIT).start();
    one.wait_for_log("the script waits", 1, START);
    let other = image.quick().volume(&volume, DATA).finish();
    assert_eq!(other.code, 1);
    says(&other.stderr, &["tandem-mysql: /var/lib/mysql is in use by another container"]);
    one.sh_ok("touch /tmp/go");
    one.wait_until_healthy(START);
}
