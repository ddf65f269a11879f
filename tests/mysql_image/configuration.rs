//! The environment: what it sets, and what is wrong with it.

use std::time::Duration;

use tandem_tests::docker::Volume;

use crate::image::{DATA, READY, ROOT, START, image_or_skip, root, says};

/// Environments that are wrong, with the beginning of the line that says so.
const WRONG: &[(&[(&str, &str)], &str)] = &[
    (&[], "MYSQL_ROOT_PASSWORD (or MYSQL_ROOT_PASSWORD_FILE) is not set"),
    (&[("MYSQL_ROOT_PASSWORD", "")], "MYSQL_ROOT_PASSWORD is set but empty"),
    (
        &[R, ("MYSQL_ROOT_PASSWORD_FILE", "/secrets/good")],
        "MYSQL_ROOT_PASSWORD and MYSQL_ROOT_PASSWORD_FILE are both set",
    ),
    (
        &[("MYSQL_ROOT_PASSWORD_FILE", "/nonexistent")],
        "MYSQL_ROOT_PASSWORD_FILE names /nonexistent, which cannot be read",
    ),
    (&[("MYSQL_ROOT_PASSWORD_FILE", "/secrets")], "MYSQL_ROOT_PASSWORD_FILE names /secrets, which cannot be read"),
    (
        &[("MYSQL_ROOT_PASSWORD_FILE", "/secrets/private")],
        "MYSQL_ROOT_PASSWORD_FILE names /secrets/private, which cannot be read",
    ),
    (
        &[("MYSQL_ROOT_PASSWORD_FILE", "/secrets/empty")],
        "MYSQL_ROOT_PASSWORD_FILE names /secrets/empty, which is empty",
    ),
    (&[("MYSQL_ROOT_PASSWORD_FILE", "/secrets/binary")], "MYSQL_ROOT_PASSWORD_FILE is not UTF-8 text"),
    (&[("MYSQL_ROOT_PASSWORD", LONG)], "MYSQL_ROOT_PASSWORD is not allowed"),
    (&[R, ("MYSQL_RANDOM_ROOT_PASSWORD", "1")], "MYSQL_ROOT_PASSWORD, MYSQL_RANDOM_ROOT_PASSWORD and"),
    (&[R, ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes")], "MYSQL_ROOT_PASSWORD, MYSQL_RANDOM_ROOT_PASSWORD and"),
    (&[("MYSQL_RANDOM_ROOT_PASSWORD", "maybe")], "MYSQL_RANDOM_ROOT_PASSWORD is \"maybe\": give true or false"),
    (&[("MYSQL_RANDOM_ROOT_PASSWORD", "")], "MYSQL_RANDOM_ROOT_PASSWORD is set but empty"),
    (&[("MYSQL_ALLOW_EMPTY_PASSWORD", "2")], "MYSQL_ALLOW_EMPTY_PASSWORD is \"2\""),
    (
        &[("MYSQL_ALLOW_EMPTY_PASSWORD", "1"), ("MYSQL_ONETIME_PASSWORD", "1")],
        "MYSQL_ONETIME_PASSWORD needs a password",
    ),
    (&[R, ("MYSQL_ONETIME_PASSWORD", "-1")], "MYSQL_ONETIME_PASSWORD is \"-1\""),
    (&[R, ("MYSQL_ROOT_HOST", "a' OR 1")], "MYSQL_ROOT_HOST is \"a' OR 1\""),
    (&[R, ("MYSQL_ROOT_HOST", LONG)], "MYSQL_ROOT_HOST is \"aaaa"),
    (&[R, ("MYSQL_ROOT_HOST", "")], "MYSQL_ROOT_HOST is set but empty"),
    (&[R, ("MYSQL_USER", "app")], "MYSQL_PASSWORD (or MYSQL_PASSWORD_FILE) is not set"),
    (&[R, ("MYSQL_PASSWORD", "p")], "MYSQL_USER is not set"),
    (&[R, ("MYSQL_USER", "app"), ("MYSQL_PASSWORD", "")], "MYSQL_PASSWORD is set but empty"),
    (&[R, ("MYSQL_USER", "app"), ("MYSQL_PASSWORD", LONG)], "MYSQL_PASSWORD is not allowed"),
    (&[R, ("MYSQL_USER", "root"), ("MYSQL_PASSWORD", "p")], "MYSQL_USER is \"root\""),
    (&[R, ("MYSQL_USER", "mysql.session"), ("MYSQL_PASSWORD", "p")], "MYSQL_USER is \"mysql.session\""),
    (&[R, ("MYSQL_USER", "tandem-health"), ("MYSQL_PASSWORD", "p")], "MYSQL_USER is \"tandem-health\""),
    (&[R, ("MYSQL_USER", LONG), ("MYSQL_PASSWORD", "p")], "MYSQL_USER is \"aaaa"),
    (&[R, ("MYSQL_USER", "two\nlines"), ("MYSQL_PASSWORD", "p")], "MYSQL_USER is \"two\\nlines\""),
    (&[R, ("MYSQL_USER", "😀"), ("MYSQL_PASSWORD", "p")], "MYSQL_USER is \"😀\""),
    (&[R, ("MYSQL_DATABASE", "")], "MYSQL_DATABASE is set but empty"),
    (&[R, ("MYSQL_DATABASE", SIXTY_FIVE)], "MYSQL_DATABASE is \"aaaa"),
    (&[R, ("MYSQL_DATABASE", "mysql")], "MYSQL_DATABASE is \"mysql\""),
    (&[R, ("MYSQL_DATABASE", "a\tb")], "MYSQL_DATABASE is \"a\\tb\""),
    (&[R, ("MYSQL_DATABASE", "😀")], "MYSQL_DATABASE is \"😀\""),
    (&[R, ("MYSQL_DATASET", "huge")], "MYSQL_DATASET is \"huge\": give full, small or none"),
    (&[R, ("MYSQL_INITDB_SKIP_TZINFO", "perhaps")], "MYSQL_INITDB_SKIP_TZINFO is \"perhaps\""),
    (&[R, ("MYSQL_CONF_MAX_CONECTIONS", "5")], "MYSQL_CONF_MAX_CONECTIONS is not what mysqld allows: unknown variable"),
    (&[R, ("MYSQL_CONF_MAX_CONNECTIONS", "")], "MYSQL_CONF_MAX_CONNECTIONS is set but empty"),
    (&[R, ("MYSQL_CONF_MAX_CONNECTIONS", "many")], "MYSQL_CONF_MAX_CONNECTIONS is not what mysqld allows: "),
    (&[R, ("MYSQL_CONF_MAX_CONNECTIONS", "0")], "MYSQL_CONF_MAX_CONNECTIONS is not what mysqld allows: "),
    (&[R, ("MYSQL_CONF_MAX_CONNECTIONS", "-5")], "MYSQL_CONF_MAX_CONNECTIONS is not what mysqld allows: "),
    (&[R, ("MYSQL_CONF_MAX_CONNECTIONS", "99999999")], "MYSQL_CONF_MAX_CONNECTIONS is not what mysqld allows: "),
    (&[R, ("MYSQL_CONF_TMPDIR", "/nonexistent")], "MYSQL_CONF_TMPDIR is not what mysqld allows: Can't get stat"),
    (&[R, ("MYSQL_CONF_SQL_MODE", "NONSENSE")], "MYSQL_CONF_SQL_MODE is not what mysqld allows: "),
    (
        &[R, ("MYSQL_CONF_INNODB_BUFFER_POOL_SIZE", "100T")],
        "MYSQL_CONF_INNODB_BUFFER_POOL_SIZE is 104857600 MiB: there are ",
    ),
    (&[R, ("MYSQL_CONF_DATADIR", "/tmp")], "MYSQL_CONF_DATADIR sets an option that the image sets itself"),
    (
        &[R, ("MYSQL_CONF_LOOSE_INIT_FILE", "/tmp/x")],
        "MYSQL_CONF_LOOSE_INIT_FILE sets an option that the image sets itself",
    ),
    (&[R, ("MYSQL_CONF_INIT-CONNECT", "x")], "MYSQL_CONF_INIT-CONNECT names no server option"),
    (&[R, ("MYSQL_CONF_INIT_CONNECT", "a\n[mysqld]\nport=1")], "MYSQL_CONF_INIT_CONNECT holds a control character"),
];

const R: (&str, &str) = ("MYSQL_ROOT_PASSWORD", ROOT);
const SIXTY_FIVE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn a_wrong_environment_ends_at_once_with_one_line_and_leaves_the_volume_alone() {
    let image = image_or_skip!(alone);
    let (volume, secrets) = (Volume::create(), Volume::create());
    secrets.write(&image.name, &[("good", "644", "good"), ("private", "600", "private"), ("empty", "644", "\n")]);
    secrets.sh(&image.name, "/secrets", "printf '\\377' > binary; chmod 644 binary");
    let mut wrong = Vec::new();
    for (pairs, line) in WRONG {
        let ended = image.bare().volume(&volume, DATA).volume(&secrets, "/secrets:ro").envs(pairs).finish();
        let expected = format!("tandem-mysql: {line}");
        let one_line = ended.stderr.starts_with(&expected) && ended.stderr.lines().count() == 1;
        if ended.code != 1 || !one_line || !ended.stdout.is_empty() || ended.lifetime >= Duration::from_secs(2) {
            wrong.push(format!("{line}: {ended:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(volume.sh(&image.name, DATA, "find . -mindepth 1; stat -c '%u:%g %a' ."), "999:0 770");
}

#[test]
fn a_wrong_setting_leaves_a_database_alone_and_works_again_when_repaired() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let container = image.quick().volume(&volume, DATA).start().healthy(START);
    container.stop();
    let checksums = || volume.sh(&image.name, DATA, "find . -type f -exec md5sum {} + | sort -k 2");
    let before = checksums();
    for (name, value) in [("MYSQL_CONF_NO_SUCH_OPTION", "1"), ("MYSQL_USER", "root"), ("MYSQL_ROOT_HOST", "'")] {
        let ended = image.quick().volume(&volume, DATA).env(name, value).finish();
        assert_eq!(ended.code, 1);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.starts_with(&format!("tandem-mysql: {name} ")), "{}", ended.stderr);
    }
    assert_eq!(checksums(), before);
    container.start();
    container.wait_until_healthy(START);
}

#[test]
fn what_only_the_server_itself_finds_wrong_ends_every_start_with_its_words() {
    let image = image_or_skip!();
    let volume = Volume::create();
    // --validate-config does not look at these.
    for (name, value, words) in [
        ("MYSQL_CONF_BIND_ADDRESS", "300.1.1.1", "cannot resolve hostname"),
        ("MYSQL_CONF_LOG_BIN", "/nonexistent/log", "/nonexistent/log"),
    ] {
        let container = image.quick().volume(&volume, DATA).env(name, value).start();
        for _ in 0..2 {
            if container.exit_code(START) == 0 || container.log().contains(READY) {
                panic!("it serves with {name}={value}");
            }
            says(&container.stderr(), &[words]);
            container.start();
        }
    }
    let container = image.quick().volume(&volume, DATA).start().healthy(START);
    assert_eq!(root(&container).ok("SELECT 1"), "1");
}

#[test]
fn settings_come_from_files_variables_and_options_in_this_order() {
    let image = image_or_skip!();
    let snippets = Volume::create();
    let file = "[mysqld]\nmax_connections = 11\nback_log = 21\nsort_buffer_size = 1M\n";
    snippets.write(&image.name, &[("my.cnf", "644", file)]);
    let run = image.quick().volume(&snippets, "/etc/mysql/conf.d:ro").option("--memory=1g").envs(&[
        ("MYSQL_CONF_MAX_CONNECTIONS", "12"),
        ("MYSQL_CONF_BACK_LOG", "22"),
        ("MYSQL_CONF_INIT_CONNECT", "SET @a = 'it''s # \"q\" \\\\ ü'"),
        ("MYSQL_CONF_LOOSE_NO_SUCH_PLUGIN_OPTION", "1"),
        ("MYSQL_CONF_AUTO_GENERATE_CERTS", "OFF"),
    ]);
    let container = run.command(&["mysqld", "--max-connections=13"]).start().healthy(START);
    let settings =
        root(&container).ok("SELECT @@max_connections, @@back_log, @@global.sort_buffer_size, @@init_connect");
    assert_eq!(settings, "13\t22\t1048576\tSET @a = 'it''s # \"q\" \\\\ ü'");
    // Three quarters of what the server itself leaves of the limit, in steps of 128 MiB as InnoDB wants it.
    assert_eq!(root(&container).ok("SELECT @@innodb_buffer_pool_size DIV 1048576"), "512");
    drop(container);

    snippets.write(&image.name, &[("my.cnf", "644", "[mysqld]\nno_such_option = 1\n")]);
    let ended = image.quick().volume(&snippets, "/etc/mysql/conf.d:ro").finish();
    assert_eq!((ended.code, ended.stderr.lines().count()), (1, 1), "{}", ended.stderr);
    says(
        &ended.stderr,
        &["tandem-mysql: a command-line option, a file in /etc/mysql/conf.d", "unknown variable 'no_such_option=1'"],
    );
}

#[test]
fn the_buffer_pool_follows_the_memory_limit_unless_it_is_set() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let pool = |memory: &str, set: Option<&str>| -> u64 {
        let mut run = image.quick().volume(&volume, DATA);
        if !memory.is_empty() {
            run = run.option(format!("--memory={memory}"));
        }
        if let Some(set) = set {
            run = run.env("MYSQL_CONF_INNODB_BUFFER_POOL_SIZE", set);
        }
        let container = run.start().healthy(START);
        let size = root(&container).ok("SELECT @@innodb_buffer_pool_size DIV 1048576").parse().unwrap();
        assert_eq!(container.inspect("{{.State.OOMKilled}}"), "false");
        container.stop();
        size
    };
    assert_eq!(pool("512m", None), 128);
    assert_eq!(pool("2g", None), 1280);
    assert_eq!(pool("2g", Some("192M")), 256);
    assert_eq!(pool("", None), 128);
}

#[test]
fn an_option_that_the_image_sets_itself_is_refused_on_the_command_line() {
    let image = image_or_skip!();
    for option in ["--datadir=/tmp", "--init-file=/tmp/x", "--loose-socket=/tmp/s", "-h/tmp", "--initialize"] {
        let ended = image.quick().command(&[option]).finish();
        assert_eq!((ended.code, ended.stderr.lines().count()), (1, 1), "{}", ended.stderr);
        says(&ended.stderr, &[format!("tandem-mysql: {option} is an option that the image sets itself")]);
    }
}

#[test]
fn an_option_that_the_image_sets_itself_is_refused_in_an_option_file() {
    let image = image_or_skip!();
    let snippets = Volume::create();
    snippets
        .write(&image.name, &[("mine.cnf", "644", "[client]\nsocket=/s\n[mysqld]\nport = 3306\ndatadir = /data\n")]);
    let ended = image.quick().volume(&snippets, "/etc/mysql/conf.d:ro").finish();
    assert_eq!((ended.code, ended.stderr.lines().count()), (1, 1), "{}", ended.stderr);
    says(&ended.stderr, &["tandem-mysql: /etc/mysql/conf.d/mine.cnf: datadir is an option that the image sets itself"]);
}

#[test]
fn any_other_command_is_run_as_it_is() {
    let image = image_or_skip!();
    let run = |command: &[&str]| image.bare().command(command).finish();
    assert_eq!(run(&["sh", "-c", "echo \"$0 $1\"; id -u", "a b", "$c"]).ok(), "a b $c\n999");
    assert_eq!(run(&["sh", "-c", "exit 5"]).code, 5);
    says(&run(&["mysqld", "--version"]).ok(), &["mysqld  Ver "]);
    says(&run(&["--version"]).ok(), &["mysqld  Ver "]);
    says(&run(&["--verbose", "--help"]).ok(), &["innodb-buffer-pool-size", "Variables (--variable-name=value)"]);
    let ended = run(&["nonexistent"]);
    assert_eq!(ended.code, 1);
    assert_eq!(ended.stderr, "tandem-mysql: nonexistent failed: No such file or directory (os error 2)\n");
}
