//! Loading a data set in bulk: the entry file's SQL goes through the `mysql` client as it is; the dumps that it
//! `source`s are turned into `LOAD DATA` streams on the way and loaded over several connections at once.
//!
//! The same rows come out as with `mysql < employees.sql`, several times faster: no SQL to parse, no redo log, no
//! foreign key to look up row by row. What that gives up is checked afterwards, by row counts and checksums.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::stat::Mode;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;
use tokio::task::JoinSet;

use crate::Error;
use crate::accounts::{identifier, literal};
use crate::dataset::{ENTRY_FILE, Manifest, TABLES, dump};
use crate::scripts::Runner;
use crate::server::Temporary;

/// Connections that load at the same time. One stream keeps a core of the server and a part of another busy.
const CONNECTIONS: usize = 3;

/// One part of an entry file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// SQL for the `mysql` client.
    Sql(String),
    /// Dumps that may be loaded in any order, as (table, file).
    Dumps(Vec<(&'static str, String)>),
}

/// Splits an entry file at its `source load_….dump` lines. The lines that drop, create and choose a database are left
/// out: the database is the one that the environment names.
fn steps(script: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in script.lines() {
        let words: Vec<String> =
            line.trim_end_matches([';', ' ', '\t', '\r']).split_whitespace().map(str::to_ascii_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let dump = match words.as_slice() {
            ["drop" | "create", "database", ..] | ["use", _] => continue,
            ["source", file] => TABLES.iter().find(|table| table.files.contains(file)).map(|t| (t.name, *file)),
            _ => None,
        };
        match (dump, steps.last_mut()) {
            (Some((table, file)), Some(Step::Dumps(dumps))) => dumps.push((table, file.to_owned())),
            (Some((table, file)), _) => steps.push(Step::Dumps(vec![(table, file.to_owned())])),
            (None, Some(Step::Sql(sql))) => {
                sql.push_str(line);
                sql.push('\n');
            }
            (None, _) => steps.push(Step::Sql(format!("{line}\n"))),
        }
    }
    steps
}

/// Loads the data set in `folder` into `database`, which exists and has none of its tables, and returns what it should
/// be now.
///
/// # Errors
/// A file is missing or damaged, or a statement fails; the file or table is named.
pub async fn load(
    server: &Temporary,
    runner: &Runner<'_>,
    folder: &Path,
    database: &str,
    run: &Path,
) -> Result<Manifest, Error> {
    let in_folder = |source| Error::Dataset { folder: folder.to_owned(), source };
    let manifest = Manifest::of_folder(folder).map_err(in_folder)?;
    let entry = folder.join(ENTRY_FILE);
    let script = fs::read_to_string(&entry).map_err(|e| Error::io(&entry, e))?;
    for step in steps(&script) {
        match step {
            Step::Sql(sql) => {
                let part = run.join("part.sql");
                fs::write(&part, sql).map_err(|e| Error::io(&part, e))?;
                let part = File::open(&part).map_err(|e| Error::io(&part, e))?;
                runner.client(&entry, Some(database), part.into()).await?;
            }
            Step::Dumps(dumps) => load_dumps(server, folder, dumps, database, run).await?,
        }
    }
    Ok(manifest)
}

async fn load_dumps(
    server: &Temporary,
    folder: &Path,
    dumps: Vec<(&'static str, String)>,
    database: &str,
    run: &Path,
) -> Result<(), Error> {
    let mut jobs = Vec::new();
    for (table, file) in dumps {
        let path = plain_or_packed(folder, &file)?;
        let size = fs::metadata(&path).map_err(|e| Error::io(&path, e))?.len();
        jobs.push((size, table, path));
    }
    // The largest first, so that no connection is left with a large one at the end.
    jobs.sort_by_key(|&(size, ..)| std::cmp::Reverse(size));
    let jobs: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(jobs.into()));
    let mut connections: JoinSet<Result<(), Error>> = JoinSet::new();
    for number in 0..CONNECTIONS {
        let mut connection = server.connect().await?;
        let (jobs, fifo) = (Arc::clone(&jobs), run.join(format!("load-{number}")));
        let preparation = format!(
            "USE {}; SET unique_checks = OFF, foreign_key_checks = OFF, sql_mode = 'STRICT_ALL_TABLES'",
            identifier(database)
        );
        connections.spawn(async move {
            let prepared = sqlx::raw_sql(AssertSqlSafe(preparation)).execute(&mut connection).await;
            prepared.map_err(Error::sql("preparing a connection"))?;
            loop {
                let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((_, table, path)) = job else { return Ok(()) };
                load_dump(&mut connection, table, &path, &fifo).await?;
            }
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended.map_err(|e| Error::Program { program: "loading".to_owned(), how: e.to_string() })??;
    }
    Ok(())
}

/// The file itself, or the same compressed with zstd, as the image holds it.
fn plain_or_packed(folder: &Path, file: &str) -> Result<PathBuf, Error> {
    let plain = folder.join(file);
    let packed = folder.join(format!("{file}.zst"));
    if plain.exists() || !packed.exists() { Ok(plain) } else { Ok(packed) }
}

/// Loads one dump through a named pipe, which the server reads as a file.
async fn load_dump(connection: &mut MySqlConnection, table: &str, path: &Path, fifo: &Path) -> Result<(), Error> {
    nix::unistd::mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH)
        .map_err(|e| Error::io(fifo, e.into()))?;
    let converting = tokio::task::spawn_blocking({
        let (path, fifo) = (path.to_owned(), fifo.to_owned());
        move || convert(&path, &fifo)
    });
    let statement = format!(
        "LOAD DATA INFILE {} INTO TABLE {} CHARACTER SET utf8mb4",
        literal(&fifo.to_string_lossy()),
        identifier(table)
    );
    let loaded = sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await;
    if loaded.is_err() {
        // The server may never have opened the pipe: opening it here lets the writer go on, to its own end.
        OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open(fifo)
            .map_err(|e| Error::io(fifo, e))?;
    }
    let converted =
        converting.await.map_err(|e| Error::Program { program: "converting".to_owned(), how: e.to_string() })?;
    fs::remove_file(fifo).map_err(|e| Error::io(fifo, e))?;
    // A damaged file is the cause, a statement that fails for want of rows its effect; a broken pipe is the reverse.
    match (converted, loaded) {
        (Err(error), Ok(_)) => Err(error),
        (_, Err(error)) => Err(Error::sql(format!("loading {}", path.display()))(error)),
        (Ok(_), Ok(_)) => Ok(()),
    }
}

fn convert(path: &Path, fifo: &Path) -> Result<dump::Converted, Error> {
    let input = File::open(path).map_err(|e| Error::io(path, e));
    let output = OpenOptions::new().write(true).open(fifo).map_err(|e| Error::io(fifo, e))?;
    let input = input?;
    let output = BufWriter::with_capacity(1 << 16, output);
    let damaged = |e: dump::Error| Error::Script { path: path.to_owned(), how: e.to_string() };
    if path.extension().is_none_or(|extension| extension != "zst") {
        return dump::to_tsv(BufReader::with_capacity(1 << 18, input), output).map_err(damaged);
    }
    let unpacking = std::process::Command::new("zstd").args(["-dcq"]).stdin(input).stdout(Stdio::piped()).spawn();
    let mut unpacking = unpacking.map_err(|e| Error::Program { program: "zstd".to_owned(), how: e.to_string() })?;
    let converted = match unpacking.stdout.take() {
        Some(plain) => dump::to_tsv(BufReader::with_capacity(1 << 18, plain), output).map_err(damaged),
        None => Err(Error::Program { program: "zstd".to_owned(), how: "no output".to_owned() }),
    };
    let status = unpacking.wait().map_err(|e| Error::io(path, e))?;
    match converted {
        Ok(_) if !status.success() => Err(Error::Script { path: path.to_owned(), how: format!("zstd: {status}") }),
        converted => converted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_file_is_split_at_its_dumps() {
        let script = "DROP DATABASE IF EXISTS employees;\nCREATE DATABASE IF NOT EXISTS employees;\nUSE employees;\n\
                      CREATE TABLE a (\n  b INT\n);\n\nsource load_departments.dump ;\nSource load_salaries1.dump;\n\
                      SELECT 1;\nsource show_elapsed.sql ;\n";
        let expected = [
            Step::Sql("CREATE TABLE a (\n  b INT\n);\n\n".to_owned()),
            Step::Dumps(vec![
                ("departments", "load_departments.dump".to_owned()),
                ("salaries", "load_salaries1.dump".to_owned()),
            ]),
            Step::Sql("SELECT 1;\nsource show_elapsed.sql ;\n".to_owned()),
        ];
        assert_eq!(steps(script), expected);
    }

    #[test]
    fn a_comment_between_dumps_does_not_stop_them_from_being_loaded() {
        let script = "source load_employees.dump;\nSELECT 'next' AS info;\nsource load_titles.dump;\n";
        let loaded: Vec<_> = steps(script)
            .into_iter()
            .filter_map(|step| if let Step::Dumps(dumps) = step { Some(dumps) } else { None })
            .flatten()
            .map(|(table, _)| table)
            .collect();
        assert_eq!(loaded, ["employees", "titles"]);
    }
}
