//! The SQL that makes accounts and passwords what the environment says: pure text, run by mysqld itself from its
//! `init_file` before it lets anyone in.
//!
//! The statements are run at every start, which is what makes a changed password take effect. One statement is one
//! line, as `init_file` wants it. Every value is quoted by [`literal`], [`identifier`] or `pattern`; the first
//! statement fixes the session's SQL mode, on which quoting depends.

use crate::settings::{HEALTH_USER, RootPassword, Settings};

/// The statements of every start. `root`: root's password where this start sets it.
pub fn statements(settings: &Settings, root: Option<&str>, health_password: &str) -> Vec<String> {
    // Not in the binary log, as each server has its own environment; not in the general log either.
    let mut sql = vec![
        "SET SESSION sql_mode = '', sql_log_bin = OFF, sql_log_off = ON".to_owned(),
        "SET NAMES utf8mb4".to_owned(),
    ];
    if let Some(password) = root {
        // An adopted data directory may have dropped root@localhost on purpose.
        sql.push(format!("ALTER USER IF EXISTS 'root'@'localhost' IDENTIFIED BY {}", literal(password)));
    }
    if let (Some(host), Some(password)) = (&settings.root_host, root) {
        let (account, password) = (format!("'root'@{}", literal(host)), literal(password));
        sql.push(format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password}"));
        sql.push(format!("ALTER USER {account} IDENTIFIED BY {password}"));
        sql.push(format!("GRANT ALL ON *.* TO {account} WITH GRANT OPTION"));
    }
    if let Some(database) = &settings.database {
        sql.push(format!("CREATE DATABASE IF NOT EXISTS {}", identifier(database)));
    }
    if let Some(account) = &settings.account {
        let name = format!("{}@'%'", literal(&account.name));
        sql.push(format!("CREATE USER IF NOT EXISTS {name} IDENTIFIED BY {}", literal(&account.password)));
        let changed = format!("ALTER USER {name} IDENTIFIED BY {}", literal(&account.password));
        if account.retain {
            sql.push(format!("{changed} RETAIN CURRENT PASSWORD"));
        } else {
            sql.extend([changed, format!("ALTER USER {name} DISCARD OLD PASSWORD")]);
        }
        if let Some(database) = &settings.database {
            sql.push(format!("GRANT ALL ON {}.* TO {name}", pattern(database)));
        }
    }
    let health = format!("{}@'localhost'", literal(HEALTH_USER));
    sql.push(format!("CREATE USER IF NOT EXISTS {health} IDENTIFIED BY {}", literal(health_password)));
    sql.push(format!("ALTER USER {health} IDENTIFIED BY {}", literal(health_password)));
    // To hand over in a group, before the container stops.
    sql.push(format!("GRANT GROUP_REPLICATION_ADMIN ON *.* TO {health}"));
    for table in ["replication_group_members", "replication_group_member_stats"] {
        sql.push(format!("GRANT SELECT ON performance_schema.{table} TO {health}"));
    }
    sql
}

/// What the first start does last, on top of [`statements`].
pub fn first_start(settings: &Settings) -> Vec<String> {
    let mut sql = Vec::new();
    if settings.onetime_password {
        sql.push("ALTER USER IF EXISTS 'root'@'localhost' PASSWORD EXPIRE".to_owned());
        if let Some(host) = &settings.root_host {
            sql.push(format!("ALTER USER 'root'@{} PASSWORD EXPIRE", literal(host)));
        }
    }
    sql
}

/// Root's password where a start has to set it. The first start always sets one (a random one is the caller's to make);
/// later, a password that was empty, random or had to be changed at the first login is root's own business.
pub fn root_password(settings: &Settings, first: bool) -> Option<String> {
    match &settings.root_password {
        RootPassword::Given(password) if first || !settings.onetime_password => Some(password.clone()),
        RootPassword::Empty if first => Some(String::new()),
        _ => None,
    }
}

/// The statements as the text of an `init_file`: one line each. mysqld's reader of these files takes some quotes for
/// others and cuts statements at the wrong semicolon: all but the plain ones go past it in hexadecimal digits.
pub fn init_file(statements: &[String]) -> String {
    let mut text = String::new();
    for statement in statements {
        if statement.starts_with("SET ") {
            text.push_str(&format!("{statement};\n"));
        } else {
            let digits: String = statement.bytes().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!("SET @statement = CONVERT(0x{digits} USING utf8mb4);\n"));
            text.push_str("PREPARE statement FROM @statement;\nEXECUTE statement;\n");
        }
    }
    text
}

/// A string literal, right for a session without `NO_BACKSLASH_ESCAPES`; never contains a line break.
pub fn literal(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for c in value.chars() {
        match c {
            '\'' => quoted.push_str("\\'"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\0' => quoted.push_str("\\0"),
            '\u{1a}' => quoted.push_str("\\Z"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// A quoted identifier.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A database's name in a `GRANT`, where `_` and `%` would otherwise match other databases too.
fn pattern(name: &str) -> String {
    identifier(&name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use proptest::prelude::*;
    use rstest::rstest;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(&pairs.iter().copied().collect(), false).unwrap()
    }

    #[test]
    fn the_application_gets_its_database_and_nothing_else() {
        let settings = settings(&[
            ("MYSQL_ROOT_PASSWORD", "r"),
            ("MYSQL_DATABASE", "my_shop"),
            ("MYSQL_USER", "app"),
            ("MYSQL_PASSWORD", "it's"),
        ]);
        insta::assert_snapshot!(statements(&settings, Some("r"), "h").join("\n"), @r"
        SET SESSION sql_mode = '', sql_log_bin = OFF, sql_log_off = ON
        SET NAMES utf8mb4
        ALTER USER IF EXISTS 'root'@'localhost' IDENTIFIED BY 'r'
        CREATE DATABASE IF NOT EXISTS `my_shop`
        CREATE USER IF NOT EXISTS 'app'@'%' IDENTIFIED BY 'it\'s'
        ALTER USER 'app'@'%' IDENTIFIED BY 'it\'s'
        ALTER USER 'app'@'%' DISCARD OLD PASSWORD
        GRANT ALL ON `my\_shop`.* TO 'app'@'%'
        CREATE USER IF NOT EXISTS 'tandem-health'@'localhost' IDENTIFIED BY 'h'
        ALTER USER 'tandem-health'@'localhost' IDENTIFIED BY 'h'
        GRANT GROUP_REPLICATION_ADMIN ON *.* TO 'tandem-health'@'localhost'
        GRANT SELECT ON performance_schema.replication_group_members TO 'tandem-health'@'localhost'
        GRANT SELECT ON performance_schema.replication_group_member_stats TO 'tandem-health'@'localhost'
        ");
    }

    #[test]
    fn a_password_that_is_replaced_stays_valid_only_when_asked_for() {
        let retain = ("MYSQL_RETAIN_PASSWORD", "true");
        let given = [("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_USER", "app"), ("MYSQL_PASSWORD", "p"), retain];
        let sql = statements(&settings(&given), Some("r"), "h").join("\n");
        assert!(sql.contains("ALTER USER 'app'@'%' IDENTIFIED BY 'p' RETAIN CURRENT PASSWORD"), "{sql}");
        assert!(!sql.contains("DISCARD"), "{sql}");
    }

    #[test]
    fn root_from_the_network_exists_only_when_asked_for() {
        let settings = settings(&[("MYSQL_ROOT_PASSWORD", "r"), ("MYSQL_ROOT_HOST", "10.%")]);
        let sql = statements(&settings, Some("r"), "h").join("\n");
        assert!(sql.contains("ALTER USER 'root'@'10.%' IDENTIFIED BY 'r'"));
    }

    #[rstest]
    #[case(&[("MYSQL_ROOT_PASSWORD", "p")], true, Some("p"))]
    #[case(&[("MYSQL_ROOT_PASSWORD", "p")], false, Some("p"))]
    #[case(&[("MYSQL_ROOT_PASSWORD", "p"), ("MYSQL_ONETIME_PASSWORD", "1")], true, Some("p"))]
    #[case(&[("MYSQL_ROOT_PASSWORD", "p"), ("MYSQL_ONETIME_PASSWORD", "1")], false, None)]
    #[case(&[("MYSQL_RANDOM_ROOT_PASSWORD", "1")], true, None)]
    #[case(&[("MYSQL_RANDOM_ROOT_PASSWORD", "1")], false, None)]
    #[case(&[("MYSQL_ALLOW_EMPTY_PASSWORD", "1")], true, Some(""))]
    #[case(&[("MYSQL_ALLOW_EMPTY_PASSWORD", "1")], false, None)]
    fn a_root_password_is_set_where_the_environment_owns_it(
        #[case] pairs: &[(&str, &str)],
        #[case] first: bool,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(root_password(&settings(pairs), first).as_deref(), expected);
    }

    /// Reads a literal as MySQL's lexer does and returns the value and what follows the closing quote.
    fn lex(literal: &str) -> (String, String) {
        let mut chars = literal.strip_prefix('\'').unwrap().chars();
        let mut value = String::new();
        loop {
            match chars.next().unwrap() {
                '\'' => return (value, chars.collect()),
                '\\' => value.push(match chars.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    '0' => '\0',
                    'Z' => '\u{1a}',
                    c => c,
                }),
                c => value.push(c),
            }
        }
    }

    #[test]
    fn nothing_that_is_quoted_is_in_the_readers_sight() {
        assert_eq!(
            init_file(&["SET a".to_owned(), "A `'`".to_owned()]),
            "SET a;\nSET @statement = CONVERT(0x4120602760 USING utf8mb4);\nPREPARE statement FROM @statement;\n\
             EXECUTE statement;\n"
        );
    }

    proptest! {
        #[test]
        fn no_text_escapes_its_literal_or_its_line(value in any::<String>()) {
            let quoted = literal(&value);
            prop_assert_eq!(lex(&quoted), (value, String::new()));
            prop_assert!(!quoted.contains(['\n', '\r']));
        }

        #[test]
        fn no_name_escapes_its_identifier(name in any::<String>()) {
            let quoted = identifier(&name);
            let inner = quoted.strip_prefix('`').unwrap().strip_suffix('`').unwrap();
            prop_assert_eq!(inner.replace("``", ""), name.replace('`', ""));
            prop_assert_eq!(inner.matches('`').count(), 2 * name.matches('`').count());
        }
    }
}
