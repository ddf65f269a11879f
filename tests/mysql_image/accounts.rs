//! Passwords, accounts and their rights, and where secrets are not.

use tandem_tests::docker::{Container, Volume};

use crate::image::{DATA, INIT, Image, ROOT, START, image_or_skip, over_tcp, root, root_with, says};

/// Passwords that have broken entrypoints.
const PASSWORDS: [&str; 12] = [
    "it's \"quoted\" `twice`",
    "back\\slash\\",
    "\\' OR 1=1; DROP DATABASE shop; --",
    "$HOME ${HOME} $(id) `id` !! %s {0}",
    "  spaces at both ends  ",
    "größer ☃ 密码 😀",
    "# no comment; -- none /* either */",
    "two\nlines\r\nand\ttabs",
    "\"",
    "'",
    "-p --help",
    "end of file\n\n",
];

#[test]
fn every_password_works_by_variable_and_by_file_for_root_and_for_the_user() {
    let image = image_or_skip!();
    let (volume, init) = (Volume::create(), Volume::create());
    // The first start logs in by itself: with a script's client, and with its own.
    init.write(
        &image.name,
        &[("10.sql", "644", "CREATE TABLE IF NOT EXISTS t (a INT PRIMARY KEY); INSERT INTO t VALUES (7);")],
    );
    for (round, pair) in PASSWORDS.chunks(2).enumerate() {
        let [by_variable, by_file] = [pair[0], pair[1]];
        let secrets = Volume::create();
        secrets.write(&image.name, &[("secret", "644", &format!("{by_file}\n"))]);
        let run = image.bare().envs(&[("MYSQL_DATASET", "none"), ("MYSQL_DATABASE", "shop"), ("MYSQL_USER", "app")]);
        let run = run.volume(&volume, DATA).volume(&init, INIT).volume(&secrets, "/secrets:ro");
        let (run, root_password, password) = if round % 2 == 0 {
            let run = run.env("MYSQL_ROOT_PASSWORD", by_variable).env("MYSQL_PASSWORD_FILE", "/secrets/secret");
            (run, by_variable, by_file)
        } else {
            let run = run.env("MYSQL_ROOT_PASSWORD_FILE", "/secrets/secret").env("MYSQL_PASSWORD", by_variable);
            (run, by_file, by_variable)
        };
        let container = run.start().healthy(START);
        assert_eq!(root_with(&container, root_password).ok("SELECT a FROM shop.t"), "7");
        assert_eq!(over_tcp(&container, "app", password).ok("SELECT a FROM shop.t"), "7");
        over_tcp(&container, "app", root_password).refused();
        assert!(!container.log().contains(root_password) || root_password.len() < 3, "the log holds {root_password:?}");
        container.stop();
    }
}

#[test]
fn the_first_start_logs_in_with_any_password() {
    let image = image_or_skip!();
    let init = Volume::create();
    init.write(&image.name, &[("10.sql", "644", "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (7);")]);
    let password = " '\"\\`$(id)$HOME#;--größer ☃ 😀\n\\n\\s\t\"' ";
    let run = image.bare().env("MYSQL_DATASET", "none").env("MYSQL_ROOT_PASSWORD", password).volume(&init, INIT);
    let container = run.env("MYSQL_DATABASE", "shop").start().healthy(START);
    assert_eq!(root_with(&container, password).ok("SELECT a FROM shop.t"), "7");
    root_with(&container, password.trim()).refused();
}

#[test]
fn no_sql_gets_in_through_a_name_or_a_password() {
    let image = image_or_skip!();
    let volume = Volume::create();
    let evil = "x'; CREATE DATABASE smuggled; -- ";
    for (database, user, password, host) in [
        ("a` ; CREATE DATABASE smuggled; -- x", "u'@'%'; CREATE DATABASE s; #", evil, "%"),
        (
            "a\\`; CREATE DATABASE smuggled",
            "u\\'; CREATE DATABASE smuggled;",
            "\\'; CREATE DATABASE smuggled; -- ",
            "::1",
        ),
        ("a'b\"c.d-e%f_g", "`u`@\"%\" IDENTIFIED BY ''", "'||(SELECT 1)||'", "10.0.0.0/255.0.0.0"),
        ("größe☃", "Ü ser", "' OR ''='", "192.168.%"),
    ] {
        let run = image.quick().volume(&volume, DATA).env("MYSQL_ROOT_HOST", host);
        let run = run.envs(&[("MYSQL_DATABASE", database), ("MYSQL_USER", user), ("MYSQL_PASSWORD", password)]);
        let container = run.start().healthy(START);
        let app = over_tcp(&container, user, password);
        let name = format!("`{}`", database.replace('`', "``"));
        app.ok(&format!(
            "CREATE TABLE {name}.t (a INT PRIMARY KEY); INSERT INTO {name}.t VALUES (7); DROP TABLE {name}.t"
        ));
        assert_eq!(app.ok("SELECT USER()"), format!("{user}@127.0.0.1"));
        assert_eq!(root(&container).ok("SHOW DATABASES LIKE 's%'"), "sys", "SQL was smuggled in");
        container.stop();
    }
}

#[test]
fn the_longest_names_and_passwords_work() {
    let image = image_or_skip!();
    let (database, user, password) = ("ü".repeat(64), "ö".repeat(32), "\\".repeat(256));
    let host = format!("{}.example.org", "a.".repeat(121) + "b");
    assert_eq!(host.len(), 255);
    let run = image.bare().env("MYSQL_DATASET", "none").env("MYSQL_ROOT_PASSWORD", &password);
    let run = run.envs(&[("MYSQL_ROOT_HOST", &host), ("MYSQL_DATABASE", &database)]);
    let container = run.envs(&[("MYSQL_USER", &user), ("MYSQL_PASSWORD", &password)]).start().healthy(START);
    root_with(&container, &password).ok(&format!("SHOW GRANTS FOR root@'{host}'"));
    over_tcp(&container, &user, &password).ok(&format!("CREATE TABLE `{database}`.t (a INT)"));
}

#[test]
fn secrets_are_nowhere_that_others_could_read() {
    let image = image_or_skip!();
    let (init, secrets) = (Volume::create(), Volume::create());
    init.write(&image.name, &[("10.sql", "644", "SELECT 'a script';"), ("20.sh", "644", "true")]);
    secrets.write(&image.name, &[("user", "644", "the-users-S3cret")]);
    let run = image.bare().volume(&init, INIT).volume(&secrets, "/secrets:ro").envs(&[
        ("MYSQL_ROOT_PASSWORD", "the-roots-S3cret"),
        ("MYSQL_DATASET", "small"),
        ("MYSQL_DATABASE", "shop"),
        ("MYSQL_USER", "app"),
        ("MYSQL_PASSWORD_FILE", "/secrets/user"),
    ]);
    let container = run.start().healthy(START);
    over_tcp(&container, "app", "the-users-S3cret").ok("SELECT 1");
    let nowhere = |container: &Container| {
        assert!(!container.log().contains("S3cret"), "the log holds a secret");
        // Process 1's own, and those of all threads and children; not of this script, which has the container's.
        let processes = "for pid in $(ls /proc | grep -xE '[0-9]+'); do
            [ \"$(readlink /proc/$pid/exe)\" = /usr/sbin/mysqld ] || continue
            echo \"seen $pid\"; cat /proc/$pid/environ /proc/$pid/cmdline | tr '\\0' '\\n'; done";
        let seen = container.sh_ok(processes);
        says(&seen, &["seen 1", "/usr/sbin/mysqld".trim_start_matches("/usr/sbin/")]);
        assert!(!seen.contains("S3cret") && !seen.contains("PASSWORD"), "{seen}");
        // As the server's own user, who can read most: not in the files of the server, the option file, /tmp.
        let files = "grep -rlaE 'the-(users|roots)-S3cret' /var/lib/mysql /run /tmp /etc /home /root /usr/share/tandem 2>/dev/null; true";
        assert_eq!(container.sh_ok(files), "");
        let health =
            container.sh_ok("stat -c '%a %u' /run/mysqld/health; find /run/mysqld -perm /007 ! -type s ! -type l");
        assert_eq!(health, "600 999");
    };
    nowhere(&container);
    container.stop();
    container.start();
    container.wait_until_healthy(START);
    nowhere(&container);
}

#[test]
fn a_changed_secret_takes_effect_at_the_next_start_and_the_data_stays() {
    let image = image_or_skip!();
    let (volume, secrets) = (Volume::create(), Volume::create());
    let write = |root: &str, user: &str| secrets.write(&image.name, &[("root", "644", root), ("user", "644", user)]);
    write("root one", "user one");
    let run = image.bare().volume(&volume, DATA).volume(&secrets, "/secrets:ro").envs(&[
        ("MYSQL_ROOT_PASSWORD_FILE", "/secrets/root"),
        ("MYSQL_ROOT_HOST", "%"),
        ("MYSQL_DATASET", "none"),
        ("MYSQL_DATABASE", "shop"),
        ("MYSQL_USER", "app"),
        ("MYSQL_PASSWORD_FILE", "/secrets/user"),
    ]);
    let container = run.start().healthy(START);
    over_tcp(&container, "app", "user one")
        .ok("CREATE TABLE shop.t (a INT PRIMARY KEY); INSERT INTO shop.t VALUES (7)");
    container.stop();

    write("root two", "user two\n");
    container.start();
    container.wait_until_healthy(START);
    assert_eq!(over_tcp(&container, "app", "user two").ok("SELECT a FROM shop.t"), "7");
    root_with(&container, "root two").ok("SELECT 1");
    over_tcp(&container, "root", "root two").ok("SELECT 1");
    over_tcp(&container, "app", "user one").refused();
    root_with(&container, "root one").refused();
    over_tcp(&container, "root", "root one").refused();
    drop(container);

    // Without any password variable, what is there stays.
    let container = image.bare().volume(&volume, DATA).start().healthy(START);
    over_tcp(&container, "app", "user two").ok("SELECT a FROM shop.t");
    root_with(&container, "root two").ok("SELECT 1");
}

#[test]
fn everybody_has_the_least_rights() {
    let image = image_or_skip!();
    let run = |image: &Image| {
        let run = image.quick().env("MYSQL_DATABASE", "my_db");
        run.envs(&[("MYSQL_USER", "app"), ("MYSQL_PASSWORD", "app")])
    };
    let container = run(&image).start().healthy(START);
    let (admin, app) = (root(&container), over_tcp(&container, "app", "app"));
    over_tcp(&container, "root", ROOT).refused();
    assert_eq!(
        admin.ok("SELECT CONCAT(user, '@', host) FROM mysql.user WHERE user NOT LIKE 'mysql.%' ORDER BY 1"),
        "app@%\nroot@localhost\ntandem-health@localhost"
    );

    admin
        .ok("CREATE DATABASE myxdb; CREATE TABLE myxdb.t (a INT); CREATE DATABASE other; CREATE TABLE other.t (a INT)");
    app.ok("CREATE TABLE my_db.t (a INT PRIMARY KEY); DROP TABLE my_db.t");
    assert_eq!(app.ok("SHOW DATABASES"), "information_schema\nmy_db\nperformance_schema");
    for statement in [
        "SELECT * FROM myxdb.t",
        "SELECT * FROM other.t",
        "SELECT * FROM mysql.user",
        "CREATE DATABASE mine",
        "CREATE USER mine",
        "GRANT SELECT ON my_db.* TO root@localhost",
        "SET GLOBAL max_connections = 5",
        "SHUTDOWN",
        "KILL 1",
        "SELECT 1 INTO OUTFILE '/tmp/out'",
    ] {
        let error = app.query(statement).expect_err(statement);
        assert!(
            ["1044", "1045", "1142", "1227", "1095", "1094"]
                .iter()
                .any(|code| error.contains(&format!("ERROR {code}"))),
            "{statement}: {error}"
        );
    }
    // Nobody reads or writes the container's files with SQL, root included.
    says(&admin.query("SELECT 1 INTO OUTFILE '/tmp/out'").unwrap_err(), &["ERROR 1290"]);

    let grants = admin.ok("SHOW GRANTS FOR 'tandem-health'@'localhost'");
    let rights = [
        "USAGE ON *.*",
        "GROUP_REPLICATION_ADMIN ON *.*",
        "SELECT ON `performance_schema`.`replication_group_member_stats`",
        "SELECT ON `performance_schema`.`replication_group_members`",
    ];
    assert_eq!(grants, rights.map(|right| format!("GRANT {right} TO `tandem-health`@`localhost`")).join("\n"));
}
