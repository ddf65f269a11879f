//! What a first start makes, and that nobody takes it for a server before its end.

use std::time::Instant;

use rstest::rstest;
use tandem_tests::docker::{Network, Volume, wait_for};

use crate::image::{DATA, INIT, LOAD, READY, ROOT, START, image_or_skip, never_ready, over_tcp, root, root_with, says};

#[test]
fn nothing_is_healthy_or_answers_before_the_end_of_the_first_start() {
    let image = image_or_skip!();
    let (init, network) = (Volume::create(), Network::create());
    init.write(&image.name, &[("10.sh", "644", "echo the script waits\nuntil [ -e /tmp/go ]; do sleep 0.1; done\n")]);
    // No snapshot has a server without time zones: there is more to be asked during.
    let run = image.quick().env("MYSQL_INITDB_SKIP_TZINFO", "1").volume(&init, INIT).network(&network);
    let container = run.start();
    let answers = || {
        let health = container.exec(&["tandem-mysql", "health"]);
        let port = container.exec(&["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/3306"]);
        (health.status.success() || container.health() == "healthy", port.status.success())
    };
    // Without a pause: on a busy machine each question takes long enough.
    let (began, mut asked) = (Instant::now(), 0);
    while !container.stdout().contains("the script waits") {
        asked += 1;
        assert_eq!(answers(), (false, false));
        assert!(began.elapsed().as_secs() < START, "the script does not wait");
    }
    // The temporary server is up now, and answers those who know its socket.
    assert!(container.sh("test -S /run/mysqld/first-start/mysqld.sock").status.success());
    for _ in 0..10 {
        assert_eq!(answers(), (false, false));
    }
    assert!(asked > 2, "asked only {asked} times before");
    let early = container.exec(&["tandem-mysql", "health"]);
    says(&String::from_utf8(early.stderr).unwrap(), &["tandem-mysql: not ready: the first start is not over"]);

    container.sh_ok("touch /tmp/go");
    wait_for("the server answers", START, || {
        let (healthy, _) = answers();
        assert!(!healthy || container.log().contains(READY), "healthy before the server serves");
        healthy.then_some(())
    });
    over_tcp(&container, "root", ROOT).refused();
    assert_eq!(root(&container).ok("SELECT 1"), "1");
}

#[test]
fn the_full_data_set_is_the_default_and_time_zones_are_loaded() {
    let image = image_or_skip!();
    let container = image.bare().env("MYSQL_ROOT_PASSWORD", ROOT).start().healthy(LOAD);
    assert_eq!(root(&container).ok("SELECT COUNT(*) FROM employees.employees"), "300024");
    assert_eq!(root(&container).ok("SELECT employees FROM employees.tandem_dataset"), "300024");
    let zone = "SELECT CONVERT_TZ('2026-07-01 12:00:00', 'UTC', 'Europe/Vienna')";
    assert_eq!(root(&container).ok(zone), "2026-07-01 14:00:00");
    // The front page's answer: exactly these nine, in this order.
    let challenge = "SELECT emp_no FROM employees.employees WHERE gender = 'M' AND birth_date = '1965-02-01' \
                     AND hire_date > '1990-01-01' ORDER BY CONCAT(first_name, ' ', last_name)";
    let nine = ["223595", "270794", "284045", "235729", "74344", "424584", "80850", "433260", "248758"];
    assert_eq!(root(&container).ok(challenge).lines().collect::<Vec<_>>(), nine);
}

#[rstest]
#[case::without_data("none", "empty", START)]
#[case::with_the_full_data_set("full", "full", LOAD)]
fn two_servers_of_one_image_share_neither_keys_nor_identifier_nor_password(
    #[case] dataset: &str,
    #[case] snapshot: &str,
    #[case] patience: u64,
) {
    let image = image_or_skip!();
    let identity = || {
        let run = image.bare().envs(&[("MYSQL_DATASET", dataset), ("MYSQL_RANDOM_ROOT_PASSWORD", "yes")]);
        let container = run.start().healthy(patience);
        // Both come from the same files.
        says(&container.log(), &[format!("unpacking /usr/share/tandem/snapshot/{snapshot}.tar.zst")]);
        let keys = container.sh_ok(&format!("cd {DATA} && md5sum ca-key.pem server-key.pem private_key.pem ca.pem"));
        let password = printed_passwords(&container.stdout()).remove(0);
        let root = root_with(&container, &password);
        let identifier = root.ok("SELECT @@server_uuid");
        let hash = "SELECT HEX(authentication_string) FROM mysql.user WHERE user = 'root' AND host = 'localhost'";
        let hash = root.ok(hash);
        assert!(hash.len() > 100, "{hash:?} is no salted hash");
        root_with(&container, "").refused();
        keys.lines().map(|line| line[..32].to_owned()).chain([identifier, hash, password]).collect::<Vec<_>>()
    };
    let (one, other) = (identity(), identity());
    assert_eq!(one.len(), 7);
    assert!(one.iter().all(|part| !other.contains(part)), "{one:?} {other:?}");
}

/// The random passwords of root that a log says.
fn printed_passwords(log: &str) -> Vec<String> {
    log.lines().filter_map(|line| line.strip_prefix("GENERATED ROOT PASSWORD: ")).map(str::to_owned).collect()
}

#[test]
fn time_zones_and_data_are_left_out_when_told_so() {
    let image = image_or_skip!();
    let container = image.quick().env("MYSQL_INITDB_SKIP_TZINFO", "1").start().healthy(START);
    assert_eq!(root(&container).ok("SELECT CONVERT_TZ('2026-07-01 12:00:00', 'UTC', 'Europe/Vienna')"), "NULL");
    let databases = "information_schema\nmysql\nperformance_schema\nsys";
    assert_eq!(root(&container).ok("SHOW DATABASES"), databases);
    let verified = container.exec(&["tandem-mysql", "verify"]);
    assert!(!verified.status.success());
    says(&String::from_utf8(verified.stderr).unwrap(), &["database employees holds no data set of this image"]);
}

#[test]
fn a_random_root_password_is_printed_once_and_kept() {
    let image = image_or_skip!();
    let run = image.bare().envs(&[("MYSQL_DATASET", "none"), ("MYSQL_RANDOM_ROOT_PASSWORD", "yes")]);
    let container = run.start().healthy(START);
    let passwords = printed_passwords(&container.stdout());
    assert_eq!(passwords.len(), 1);
    assert_eq!(root_with(&container, &passwords[0]).ok("SELECT 1"), "1");
    root_with(&container, "").refused();
    container.stop();
    container.start();
    container.wait_until_healthy(START);
    assert_eq!(printed_passwords(&container.log()), passwords);
    assert_eq!(root_with(&container, &passwords[0]).ok("SELECT 1"), "1");
}

#[test]
fn a_onetime_password_has_to_be_changed_and_the_new_one_is_kept() {
    let image = image_or_skip!();
    let container = image.quick().env("MYSQL_ONETIME_PASSWORD", "true").start().healthy(START);
    let expired = root(&container).query("SELECT 1").unwrap_err();
    says(&expired, &["You must reset your password"]);
    root(&container).ok("ALTER USER USER() IDENTIFIED BY 'changed'");
    assert_eq!(root_with(&container, "changed").ok("SELECT 1"), "1");
    container.stop();
    container.start();
    container.wait_until_healthy(START);
    assert_eq!(root_with(&container, "changed").ok("SELECT 1"), "1");
    root(&container).refused();
}

#[test]
fn an_empty_root_password_is_possible_when_asked_for() {
    let image = image_or_skip!();
    let run = image.bare().envs(&[("MYSQL_DATASET", "small"), ("MYSQL_ALLOW_EMPTY_PASSWORD", "1")]);
    let container = run.start().healthy(START);
    assert_eq!(root_with(&container, "").ok("SELECT COUNT(*) FROM employees.employees"), "10000");
    says(&container.sh_ok("tandem-mysql dataset"), &["generated sample", "10,000 employees"]);
    // Permission to go without a password takes none away.
    root_with(&container, "").ok("ALTER USER USER() IDENTIFIED BY 'since then'");
    container.stop();
    container.start();
    container.wait_until_healthy(START);
    root_with(&container, "since then").ok("SELECT 1");
    root_with(&container, "").refused();
}

#[test]
fn the_built_in_data_set_comes_with_the_applications_indexes_and_summaries() {
    let image = image_or_skip!();
    let container = image.bare().env("MYSQL_ROOT_PASSWORD", ROOT).start().healthy(START);
    says(&container.log(), &["unpacking /usr/share/tandem/snapshot/full.tar.zst"]);
    let found = root(&container).ok("SELECT (SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics \
                 WHERE table_schema = 'employees' AND index_name LIKE 'tandem\\_%') \
              + (SELECT COUNT(*) FROM information_schema.columns \
                 WHERE table_schema = 'employees' AND table_name LIKE 'tandem\\_%' AND column_name = 'computed_at')");
    let wanted = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../webapp/migrations")).unwrap().count();
    assert_eq!(found, wanted.to_string());
}

#[test]
fn a_data_directory_that_somebody_else_initialised_is_adopted() {
    let image = image_or_skip!();
    let (volume, files) = (Volume::create(), Volume::create());
    let sql = "CREATE DATABASE kept;\nCREATE TABLE kept.t (a INT PRIMARY KEY);\nINSERT INTO kept.t VALUES (7);\n\
               CREATE USER 'older'@'%' IDENTIFIED BY 'older';\n";
    files.write(&image.name, &[("init.sql", "644", sql), ("go.sh", "755", "exec mysqld --no-defaults \"$@\"")]);
    let plain = image.bare().entrypoint("bash").volume(&volume, DATA).volume(&files, "/files");
    let options = ["--initialize-insecure", "--datadir=/var/lib/mysql", "--init-file=/files/init.sql"];
    plain.command(&[&["/files/go.sh"], &options[..]].concat()).finish().ok();

    let run = image.small().volume(&volume, DATA).volume(&files, INIT);
    let run = run.envs(&[("MYSQL_DATABASE", "kept"), ("MYSQL_USER", "app"), ("MYSQL_PASSWORD", "app")]);
    let container = run.start().healthy(START);
    assert!(!container.log().contains("initialising"), "it was initialised again");
    assert_eq!(root(&container).ok("SELECT a FROM kept.t"), "7");
    assert_eq!(over_tcp(&container, "app", "app").ok("SELECT a FROM kept.t"), "7");
    over_tcp(&container, "older", "older").ok("SELECT 1");
    root_with(&container, "").refused();
    // No data set and no scripts: they are for an empty directory.
    assert_eq!(root(&container).ok("SHOW TABLES FROM kept"), "t");
}

#[test]
fn an_adopted_server_that_checks_passwords_lets_the_health_check_in() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let strong = "Str0ng-enough";
    let run = image.bare().envs(&[("MYSQL_ROOT_PASSWORD", strong), ("MYSQL_DATASET", "none")]).volume(&volume, DATA);
    let container = run.start().healthy(START);
    root_with(&container, strong).ok("INSTALL COMPONENT 'file://component_validate_password'");
    for _ in 0..3 {
        container.stop();
        container.start();
        container.wait_until_healthy(START);
    }
    root_with(&container, strong).query("CREATE USER a@b IDENTIFIED BY 'weak'").unwrap_err();
}

#[test]
fn a_first_start_that_fails_is_never_ready_and_fails_again() {
    let image = image_or_skip!();
    let init = Volume::create();
    init.write(
        &image.name,
        &[("10-works.sql", "644", "SELECT 'it begins';"), ("20-fails.sql", "644", "SELECT nonsense")],
    );
    let run = image.quick().env("MYSQL_INITDB_SKIP_TZINFO", "1").env("MYSQL_DATABASE", "shop");
    let container = run.volume(&init, INIT).start();
    // The official image serves half a database at its second start.
    for round in 1..=2 {
        assert_eq!(container.exit_code(START), 1);
        let line = "tandem-mysql: /docker-entrypoint-initdb.d/20-fails.sql failed";
        assert_eq!(container.stderr().matches(line).count(), round);
        assert_eq!(container.stdout().matches("it begins").count(), 2 * round, "column and value, in each round");
        never_ready(&container);
        if round == 1 {
            container.start();
        }
    }
    init.write(&image.name, &[("20-fails.sql", "644", "SELECT 'repaired'")]);
    container.start();
    container.wait_until_healthy(START);
}
