//! The init folder's scripts.

use tandem_tests::docker::Volume;

use crate::image::{INIT, START, image_or_skip, never_ready, over_tcp, root, says};

#[test]
fn scripts_of_every_kind_run_once_in_name_order_in_the_users_database() {
    let image = image_or_skip!();
    let init = Volume::create();
    let insert = |text: &str| format!("INSERT INTO ran (what) VALUES ('{text}');\n");
    let files = [
        ("00.sql", "644", "CREATE TABLE ran (n INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(80));\n"),
        (
            "10-executed.sh",
            "755",
            "#!/bin/bash\nmysql -uroot -p\"$MYSQL_ROOT_PASSWORD\" \"$MYSQL_DATABASE\" -e \"INSERT INTO ran (what) VALUES ('executed as $0')\"\n",
        ),
        (
            "20-no-shebang.sh",
            "755",
            "mysql -uroot -p\"$MYSQL_ROOT_PASSWORD\" \"$MYSQL_DATABASE\" -e \"INSERT INTO ran (what) VALUES ('no shebang')\"\n",
        ),
        (
            "30-sourced.sh",
            "644",
            "sourced=yes\n[[ $sourced ]] && mysql -uroot -p\"$MYSQL_ROOT_PASSWORD\" \"$MYSQL_DATABASE\" -e \"INSERT INTO ran (what) VALUES ('sourced for $MYSQL_USER')\"\n",
        ),
        ("40.sql", "644", &insert("sql, größer ☃")),
        ("50.sql", "644", &insert("gz")),
        ("51.sql", "644", &insert("bz2")),
        ("52.sql", "644", &insert("xz")),
        ("53.sql", "644", &insert("zst")),
        (
            "60-source.sql",
            "644",
            "source part/more.sql;\nDELIMITER //\nCREATE FUNCTION two() RETURNS INT DETERMINISTIC BEGIN RETURN 2; END//\nDELIMITER ;\nINSERT INTO ran (what) VALUES (CONCAT('two is ', two()));\n",
        ),
        ("part/more.sql", "644", &insert("from source")),
        ("._40.sql", "644", "this is no SQL"),
        ("notes.txt", "644", "this is no SQL"),
        ("with space.sql", "644", &insert("with space")),
    ];
    init.write(&image.name, &files);
    init.sh(&image.name, INIT, "gzip 50.sql; bzip2 51.sql; xz 52.sql; zstd -q --rm 53.sql");
    let run = image.quick().volume(&init, &format!("{INIT}:ro"));
    let run = run.envs(&[("MYSQL_DATABASE", "shop"), ("MYSQL_USER", "app"), ("MYSQL_PASSWORD", "app")]);
    let container = run.start().healthy(START);
    let ran = || over_tcp(&container, "app", "app").ok("SELECT what FROM shop.ran ORDER BY n");
    let expected = "executed as /docker-entrypoint-initdb.d/10-executed.sh\nno shebang\nsourced for app\n\
                    sql, größer ☃\ngz\nbz2\nxz\nzst\nfrom source\ntwo is 2\nwith space";
    assert_eq!(ran(), expected);
    says(&container.log(), &["notes.txt: ignored, neither .sh nor .sql nor a data set"]);
    container.stop();
    container.start();
    container.wait_until_healthy(START);
    assert_eq!(ran(), expected, "the scripts ran again");
}

#[test]
fn a_script_that_fails_ends_the_start_by_its_name() {
    let image = image_or_skip!();
    let init = Volume::create();
    for (name, mode, content) in [
        ("10-code.sh", "755", "#!/bin/sh\nexit 7\n"),
        ("10-middle.sh", "644", "false\ntrue\n"),
        ("10-pipe.sh", "644", "false | cat\ntrue\n"),
        ("10-interpreter.sh", "755", "#!/nonexistent\n"),
        ("10-packed.sql.gz", "644", "SELECT 1; -- not packed"),
        ("10-cut.sql.zst", "644", ""),
        ("10-secret.sql", "600", "SELECT 1;"),
    ] {
        init.sh(&image.name, INIT, "rm -f *");
        init.write(&image.name, &[(name, mode, content)]);
        if name == "10-cut.sql.zst" {
            init.sh(&image.name, INIT, "yes 'DO 1;' | head -n 100000 | zstd -q | head -c 20 > 10-cut.sql.zst");
        }
        let container = image.quick().volume(&init, INIT).start();
        assert_ne!(container.exit_code(START), 0, "{name}");
        says(&container.stderr(), &[format!("tandem-mysql: {INIT}/{name}")]);
        never_ready(&container);
    }
}

#[test]
fn server_settings_do_not_get_into_the_way_of_the_first_start() {
    let image = image_or_skip!();
    let init = Volume::create();
    init.write(&image.name, &[("10.sql", "644", "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (7);")]);
    let run = image.small().volume(&init, INIT).env("MYSQL_DATABASE", "shop").envs(&[
        ("MYSQL_CONF_MAX_CONNECTIONS", "1"),
        ("MYSQL_CONF_MAX_EXECUTION_TIME", "1"),
        ("MYSQL_CONF_WAIT_TIMEOUT", "1"),
        ("MYSQL_CONF_INIT_CONNECT", "SELECT 1 # \"nonsense\" 'here'"),
        ("MYSQL_CONF_SQL_MODE", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"),
        ("MYSQL_CONF_CHARACTER_SET_SERVER", "latin1"),
        ("MYSQL_CONF_LOWER_CASE_TABLE_NAMES", "1"),
        ("MYSQL_CONF_REQUIRE_SECURE_TRANSPORT", "ON"),
        ("MYSQL_CONF_SUPER_READ_ONLY", "ON"),
        ("MYSQL_CONF_LOG_ERROR", "/var/lib/mysql/error.log"),
    ]);
    let container = run.start().healthy(START);
    let patiently = |query: &str| root(&container).ok(&format!("SET SESSION max_execution_time = 0; {query}"));
    assert_eq!(patiently("SELECT a FROM shop.t"), "7");
    assert_eq!(patiently("SELECT COUNT(*) FROM shop.employees"), "10000");
    let settings = "SELECT @@max_connections, @@global.wait_timeout, @@lower_case_table_names, @@super_read_only";
    assert_eq!(patiently(settings), "1\t1\t1\t1");
    assert_eq!(patiently("SELECT @@init_connect"), "SELECT 1 # \"nonsense\" 'here'");
}
