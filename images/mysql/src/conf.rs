//! The server's option file, written at every start: what the container's limits suggest, then the image's and the
//! user's files, then the `MYSQL_CONF_…` variables. Later lines win, so that is the order of precedence too.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tandem_environment::limits::Limits;

use crate::Error;
use crate::settings::{self, OPTION_PREFIX};

/// Where users put option files.
pub const CONF_D: &str = "/etc/mysql/conf.d";

/// The image's own option file; it includes `conf.d`.
const IMAGE_FILE: &str = "/etc/mysql/tandem.cnf";

const MIB: u64 = 1 << 20;

/// What mysqld itself takes beside the buffer pool, measured on 9.7 with an idle server: 390 MiB resident with the
/// performance schema on.
const OVERHEAD: u64 = 400 * MIB;

/// The option file's text.
pub fn render(limits: &Limits, options: &[(String, String, String)]) -> String {
    let mut text = String::from("[mysqld]\n");
    if let Some(memory) = limits.memory() {
        text.push_str(&format!("innodb_buffer_pool_size = {}M\n", buffer_pool(memory) / MIB));
    }
    text.push_str(&format!("!include {IMAGE_FILE}\n[mysqld]\n"));
    for (_, option, value) in options {
        text.push_str(&format!("{option} = {}\n", quoted(value)));
    }
    text
}

/// The buffer pool for a memory limit, in bytes: three quarters of what the server itself leaves, at least MySQL's own
/// default of 128 MiB where half of the limit allows that.
fn buffer_pool(memory: u64) -> u64 {
    let spare = memory.saturating_sub(OVERHEAD) / 4 * 3;
    spare.max((128 * MIB).min(memory / 4)).max(5 * MIB)
}

/// A value as an option file takes it to the letter: in quotes, so that `#` starts no comment.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The option files in `folder` that mysqld reads (`*.cnf`), with their texts. A folder that does not exist is empty.
///
/// # Errors
/// A file cannot be read.
pub fn user_files(folder: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let listed = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()),
    };
    let mut paths = listed.map_err(|e| Error::io(folder, e))?;
    paths.retain(|path| path.extension() == Some(OsStr::new("cnf")) && path.is_file());
    paths.sort();
    let read = |path: PathBuf| match fs::read(&path) {
        Ok(bytes) => Ok((path, String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) => Err(Error::io(&path, e)),
    };
    paths.into_iter().map(read).collect()
}

/// The option in the server's groups of an option file that the image sets itself, if there is one.
pub fn own_option(text: &str) -> Option<String> {
    let mut ours = false;
    text.lines().map(str::trim).find_map(|line| {
        if let Some(group) = line.strip_prefix('[') {
            let group = group.split(']').next().unwrap_or_default();
            ours = group == "mysqld" || group == "server" || group.starts_with("mysqld-");
        }
        let option = line.split(['=', ' ', '\t']).next().unwrap_or_default();
        let set = ours && option.starts_with(|c: char| c.is_ascii_alphabetic());
        (set && settings::is_own_option(&format!("--{option}"))).then(|| option.to_owned())
    })
}

/// What mysqld said of a configuration that it refuses, as one line that names the variable where one is to blame.
pub fn complaint(output: &str, options: &[(String, String, String)]) -> String {
    let words = |mark: &str| {
        let words = output.lines().filter(|line| line.contains(mark));
        let mut words = words.map(|line| line.rsplit_once("] ").map_or(line, |(_, words)| words).trim());
        words.find(|words| *words != "Aborting")
    };
    let said = ["[ERROR]", "error:", "mysqld: ", "[Warning]"].into_iter().find_map(words);
    let said =
        said.map(|said| said.trim_start_matches("mysqld: ")).unwrap_or("it refuses the configuration without a word");
    match culprit(said, options) {
        Some(variable) => format!("{variable} is not what mysqld allows: {said}"),
        None => {
            format!(
                "a command-line option, a file in {CONF_D} or an {OPTION_PREFIX} variable is wrong; mysqld says: {said}"
            )
        }
    }
}

/// What mysqld said of a variable's value that it would quietly replace by another: letters where it wants a number, or
/// a number out of range.
pub fn adjustment(output: &str, options: &[(String, String, String)]) -> Option<String> {
    let adjusted = output.lines().filter_map(|line| line.rsplit_once("] ")).map(|(_, words)| words.trim());
    let mut adjusted = adjusted.filter(|words| words.starts_with("option '") && words.contains(" adjusted to "));
    adjusted.find_map(|words| {
        let variable = culprit(words, options)?;
        Some(format!("{variable} is not what mysqld allows: {words}"))
    })
}

/// What is wrong with a buffer pool that is larger than `memory` bytes, by mysqld's list of its effective variables.
/// mysqld itself would begin to fill it, and take the machine or the container down.
pub fn oversized(variables: &str, memory: u64, options: &[(String, String, String)]) -> Option<String> {
    let mut lines = variables.lines().filter_map(|line| line.strip_prefix("innodb-buffer-pool-size "));
    let pool = lines.find_map(|value| value.trim().parse::<u64>().ok()).filter(|&pool| pool > memory)?;
    let variable = options.iter().find(|(_, option, _)| option == "innodb_buffer_pool_size");
    let name = variable.map_or("innodb_buffer_pool_size", |(variable, ..)| variable);
    let (pool, memory) = (pool / MIB, memory / MIB);
    Some(format!("{name} is {pool} MiB: there are {memory} MiB of memory, give at most that, less 400 for the rest"))
}

/// The variable that mysqld's words are about: they hold its option, or else its value in quotes.
fn culprit<'a>(words: &str, options: &'a [(String, String, String)]) -> Option<&'a str> {
    let spelled = words.replace('-', "_");
    let mut names = spelled.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = names.find_map(|name| options.iter().find(|(_, option, _)| option == name));
    let quoted = || options.iter().find(|(_, _, value)| words.contains(&format!("'{value}'")));
    named.or_else(quoted).map(|(variable, ..)| variable.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(256, 64)]
    #[case(512, 128)]
    #[case(1024, 468)]
    #[case(4096, 2772)]
    fn the_buffer_pool_follows_the_memory_limit(#[case] limit_mib: u64, #[case] pool_mib: u64) {
        assert_eq!(buffer_pool(limit_mib * MIB) / MIB, pool_mib);
    }

    #[test]
    fn variables_come_after_the_files_and_limits_before_them() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("memory.max"), "1073741824").unwrap();
        let options = [("MYSQL_CONF_INIT_CONNECT".to_owned(), "init_connect".to_owned(), "SET @a='#\"'".to_owned())];
        insta::assert_snapshot!(render(&Limits::below(root.path()), &options), @r#"
        [mysqld]
        innodb_buffer_pool_size = 468M
        !include /etc/mysql/tandem.cnf
        [mysqld]
        init_connect = "SET @a='#\"'"
        "#);
    }

    #[test]
    fn the_users_files_are_those_that_mysqld_reads() {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in [("b.cnf", "b=2"), ("a.cnf", "a=1"), ("notes.txt", "c=3")] {
            fs::write(root.path().join(name), text).unwrap();
        }
        let texts: Vec<_> = user_files(root.path()).unwrap().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a=1", "b=2"]);
        assert_eq!(user_files(&root.path().join("none")).unwrap(), []);
    }

    #[rstest]
    #[case("[mysqld]\nmax_connections = 5\n", None)]
    #[case("[mysqld]\ndatadir = /x\n", Some("datadir"))]
    #[case("[mysqld-9.7]\n  init-file=/x\n", Some("init-file"))]
    #[case("[client]\nsocket=/x\n[server]\n# datadir\nsocket /y\n", Some("socket"))]
    #[case("[client]\nsocket=/x\n[mysqldump]\nsocket=/x\n", None)]
    fn what_the_image_sets_itself_is_found_in_the_servers_groups(#[case] text: &str, #[case] option: Option<&str>) {
        assert_eq!(own_option(text).as_deref(), option);
    }

    #[test]
    fn a_complaint_names_the_variable() {
        let options = [("MYSQL_CONF_MAX_CONECTIONS".to_owned(), "max_conections".to_owned(), "3".to_owned())];
        let output = "2026-01-01T00:00:00Z 0 [ERROR] [MY-000067] [Server] unknown variable 'max_conections=3'.\n\
                      2026-01-01T00:00:00Z 0 [ERROR] [MY-010119] [Server] Aborting\n";
        assert_eq!(
            complaint(output, &options),
            "MYSQL_CONF_MAX_CONECTIONS is not what mysqld allows: unknown variable 'max_conections=3'."
        );
        let other = [("MYSQL_CONF_CONECTIONS".to_owned(), "conections".to_owned(), "3".to_owned())];
        assert!(!complaint(output, &other).contains("MYSQL_CONF_CONECTIONS"));
        let tmpdir = [("MYSQL_CONF_TMPDIR".to_owned(), "tmpdir".to_owned(), "/x".to_owned())];
        let bare = "mysqld: Can't get stat of '/x' (OS errno 2)\n2026-01-01T00:00:00Z 0 [ERROR] [MY-010119] [Server] Aborting\n";
        assert_eq!(
            complaint(bare, &tmpdir),
            "MYSQL_CONF_TMPDIR is not what mysqld allows: Can't get stat of '/x' (OS errno 2)"
        );
        let warned = format!("2026-01-01T00:00:00Z 0 [Warning] [MY-1] [Server] 'x' is deprecated.\n{output}");
        assert_eq!(complaint(&warned, &options), complaint(output, &options));
        assert!(
            complaint(output, &[])
                .starts_with("a command-line option, a file in /etc/mysql/conf.d or an MYSQL_CONF_ variable is")
        );
    }

    #[test]
    fn a_value_that_mysqld_would_replace_is_refused_where_a_variable_gave_it() {
        let options = [("MYSQL_CONF_BACK_LOG".to_owned(), "back_log".to_owned(), "many".to_owned())];
        let output = "2026-01-01T00:00:00Z 0 [Warning] [MY-000081] [Server] option 'table_cache': unsigned value 0 \
                      adjusted to 1.\n2026-01-01T00:00:00Z 0 [Warning] [MY-000081] [Server] option 'back_log': \
                      unsigned value 0 adjusted to 1.\n";
        let line = "MYSQL_CONF_BACK_LOG is not what mysqld allows: option 'back_log': unsigned value 0 adjusted to 1.";
        assert_eq!(adjustment(output, &options).as_deref(), Some(line));
        assert_eq!(adjustment(output, &[]), None);
    }

    #[rstest]
    #[case("innodb-buffer-pool-size                     134217728\n", None)]
    #[case("innodb-buffer-pool-size-in-mebibytes        9999999999999\n", None)]
    #[case(
        "a  1\ninnodb-buffer-pool-size                     1099511627776\n",
        Some(
            "innodb_buffer_pool_size is 1048576 MiB: there are 1024 MiB of memory, give at most that, less 400 for the rest"
        )
    )]
    fn a_pool_that_no_memory_can_hold_is_refused(#[case] variables: &str, #[case] said: Option<&str>) {
        assert_eq!(oversized(variables, 1024 * MIB, &[]).as_deref(), said);
        let name = "MYSQL_CONF_INNODB_BUFFER_POOL_SIZE";
        let options = [(name.to_owned(), "innodb_buffer_pool_size".to_owned(), "1T".to_owned())];
        assert_eq!(
            oversized(variables, 1024 * MIB, &options),
            said.map(|said| said.replace("innodb_buffer_pool_size", name))
        );
    }

    proptest! {
        #[test]
        fn no_value_starts_a_line_or_a_section_of_its_own(value in "\\PC{1,40}") {
            let options = [("MYSQL_CONF_X".to_owned(), "x".to_owned(), value)];
            let root = tempfile::tempdir().unwrap();
            prop_assert_eq!(render(&Limits::below(root.path()), &options).lines().count(), 4);
        }
    }
}
