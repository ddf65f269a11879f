//! Migrations: what our queries need beyond the data set's own schema, which is indexes, and summaries: small tables
//! that hold what would take seconds to compute for a page. Neither holds anything that cannot be made again.
//!
//! The first run, and each that finds something new to do, also lets MySQL look at its tables, for the plans of all
//! queries.
//!
//! A summary is as old as its column `computed_at` says. One that is older than the data set is computed again by the
//! next run; after any other change of the data somebody has to ask for it. The table is filled under another name and
//! takes its own in one step, so that pages always find the old one or the new one, and none that waits to be filled.
//!
//! Written here and not left to `sqlx::migrate!`, for three reasons. MySQL commits every DDL statement at once, so a
//! run that is killed half-way leaves sqlx's record "dirty", which stops all later runs until a person repairs it;
//! here each step looks whether its index or table exists already, and a killed run is simply run again. sqlx waits for
//! its lock without end; here a replica gives up after a while and says so. And it locks per server and database
//! without a limit on metadata locks, so that one long query would make the migration block every other query behind
//! it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::task::JoinSet;

use crate::config::DatabaseConfig;

/// One index or table, made by one statement, which MySQL carries out whole or not at all.
struct Migration {
    version: u32,
    object: Object,
    sql: &'static str,
}

/// What a migration makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// An index.
    Index {
        /// On that table of the data set.
        table: &'static str,
        /// Its name.
        index: &'static str,
    },
    /// A table that is computed from the data set.
    Summary {
        /// Its name.
        table: &'static str,
    },
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { table, index } => write!(f, "index {index} on {table}"),
            Self::Summary { table } => write!(f, "summary {table}"),
        }
    }
}

/// Which summaries that exist are computed again. One that another process began to compute after this one had asked is
/// not: it has every change that was there when this one asked. What it began in the same second may lack one, and is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// Those that are older than the data set.
    Outdated,
    /// All of them.
    All,
}

/// The data set's tables: nothing can be done before they are there.
const TABLES: [&str; 6] = ["employees", "departments", "dept_emp", "dept_manager", "titles", "salaries"];

/// Counts anew what MySQL chooses its plans by. Where the data was loaded in one go, it may believe that a table has as
/// many rows as it had in the middle of that, and then starts a query at its wrong end. Here and for the summaries the
/// statement goes into the binary log: replicas answer the pages' reads, count for themselves, and can be told in no
/// other way, since nobody may write there.
const ANALYZE: &str = "ANALYZE TABLE employees, departments, dept_emp, dept_manager, titles, salaries";

/// MySQL's error for a statement that it rolled back so that another one could go on.
const DEADLOCK: u16 = 1213;

/// All migrations, oldest first. Published ones are never changed or removed.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        object: Object::Index { table: "employees", index: "tandem_name" },
        sql: include_str!("../migrations/0001_employees_by_name.sql"),
    },
    Migration {
        version: 2,
        object: Object::Index { table: "employees", index: "tandem_last_name" },
        sql: include_str!("../migrations/0002_employees_by_last_name.sql"),
    },
    Migration {
        version: 3,
        object: Object::Index { table: "employees", index: "tandem_birth_date" },
        sql: include_str!("../migrations/0003_employees_by_birth_date.sql"),
    },
    Migration {
        version: 4,
        object: Object::Index { table: "employees", index: "tandem_hire_date" },
        sql: include_str!("../migrations/0004_employees_by_hire_date.sql"),
    },
    Migration {
        version: 5,
        object: Object::Index { table: "dept_emp", index: "tandem_members" },
        sql: include_str!("../migrations/0005_departments_by_members.sql"),
    },
    Migration {
        version: 6,
        object: Object::Index { table: "titles", index: "tandem_title" },
        sql: include_str!("../migrations/0006_titles_by_title.sql"),
    },
    Migration {
        version: 7,
        object: Object::Summary { table: "tandem_department_years" },
        sql: include_str!("../migrations/0007_department_years.sql"),
    },
    Migration {
        version: 8,
        object: Object::Summary { table: "tandem_company_years" },
        sql: include_str!("../migrations/0008_company_years.sql"),
    },
    Migration {
        version: 9,
        object: Object::Summary { table: "tandem_salary_percentiles" },
        sql: include_str!("../migrations/0009_salary_percentiles.sql"),
    },
    Migration {
        version: 10,
        object: Object::Summary { table: "tandem_salary_bands" },
        sql: include_str!("../migrations/0010_salary_bands.sql"),
    },
    Migration {
        version: 20,
        object: Object::Index { table: "employees", index: "tandem_gender" },
        sql: include_str!("../migrations/0020_employees_by_gender.sql"),
    },
    Migration {
        version: 21,
        object: Object::Summary { table: "tandem_sets" },
        sql: include_str!("../migrations/0021_employee_sets.sql"),
    },
];

/// Why the migrations did not run to their end. What was done stays done: run them again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// `host:port/name`.
        address: String,
        /// Why.
        source: sqlx::Error,
    },
    /// Somebody else is at it.
    #[error("another process has been migrating the database for {0:?}: try again later")]
    Locked(Duration),
    /// The data set is not there.
    #[error("table {0} does not exist: load the data set first")]
    NotLoaded(&'static str),
    /// A statement failed.
    #[error("migration {version} failed: {source}")]
    Statement {
        /// Which.
        version: u32,
        /// Why.
        source: sqlx::Error,
    },
    /// MySQL's statistics of the tables cannot be computed.
    #[error("the tables cannot be analyzed: {0}")]
    Analyze(#[source] sqlx::Error),
    /// The record of migrations cannot be read or written.
    #[error("the record of migrations (table tandem_migrations) cannot be used: {0}")]
    Record(#[source] sqlx::Error),
}

/// What a run did with one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub version: u32,
    /// What it makes.
    pub object: Object,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done with one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The index or table was made, in that time.
    Created(Duration),
    /// It existed, but no record of it: an earlier run was killed, or it came with the data.
    Found,
    /// The table was computed again, in that time.
    Recomputed(Duration),
    /// Another process computed the table again, and began with that after this one had asked for it.
    Elsewhere,
    /// The record says that it was done before.
    Recorded,
}

/// The versions that `applied` lacks.
pub fn missing(applied: &[u32]) -> Vec<u32> {
    MIGRATIONS.iter().map(|migration| migration.version).filter(|version| !applied.contains(version)).collect()
}

/// Applies what has not been applied yet. Safe to run from several processes at once: one works, the others wait up to
/// `patience` for it and then find nothing to do. `recompute`: which summaries are not left as they are.
///
/// # Errors
/// See [`Error`].
pub async fn run(config: &DatabaseConfig, patience: Duration, recompute: Recompute) -> Result<Vec<Step>, Error> {
    let mut connection = prepared(&config.primary, config.connect_timeout).await?;
    let result = run_locked(&mut connection, config, patience, recompute).await;
    // The lock goes with the connection, whatever happened.
    let _ = connection.close().await;
    result
}

async fn connect(options: &MySqlConnectOptions, limit: Duration) -> Result<MySqlConnection, Error> {
    let connected = match tokio::time::timeout(limit, options.connect()).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    };
    connected.map_err(|source| Error::Connect { address: crate::db::address(options), source })
}

async fn run_locked(
    connection: &mut MySqlConnection,
    config: &DatabaseConfig,
    patience: Duration,
    recompute: Recompute,
) -> Result<Vec<Step>, Error> {
    // Names of locks hold for the whole server, and at most 64 characters. The time is that of the question, not of the
    // answer.
    let (asked, locked): (i64, Option<i64>) = sqlx::query_as(
        "SELECT UNIX_TIMESTAMP(), GET_LOCK(CONCAT('tandem_migrations_', LEFT(SHA2(DATABASE(), 256), 40)), ?)",
    )
    .bind(patience.as_secs())
    .fetch_one(&mut *connection)
    .await
    .map_err(Error::Record)?;
    if locked != Some(1) {
        return Err(Error::Locked(patience));
    }
    for table in TABLES {
        if !table_exists(connection, table).await.map_err(Error::Record)? {
            return Err(Error::NotLoaded(table));
        }
    }
    connection
        .execute(
            "CREATE TABLE IF NOT EXISTS tandem_migrations ( \
             version INT UNSIGNED NOT NULL PRIMARY KEY, \
             description VARCHAR(255) NOT NULL, \
             applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        )
        .await
        .map_err(Error::Record)?;
    let applied: Vec<u32> = sqlx::query_scalar("SELECT version FROM tandem_migrations")
        .fetch_all(&mut *connection)
        .await
        .map_err(Error::Record)?;
    // Each table has a connection of its own: adding an index keeps one core busy, and servers have more.
    let mut tables: BTreeMap<&str, Vec<&'static Migration>> = BTreeMap::new();
    let mut summaries = Vec::new();
    for migration in MIGRATIONS {
        let recorded = applied.contains(&migration.version);
        match migration.object {
            Object::Index { table, .. } if !recorded => tables.entry(table).or_default().push(migration),
            Object::Index { .. } => {}
            Object::Summary { table } => summaries.push((migration, table, recorded)),
        }
    }
    let mut working = JoinSet::new();
    for migrations in tables.into_values() {
        let (options, limit) = (config.primary.clone(), config.connect_timeout);
        working.spawn(async move { apply_to_table(&options, limit, migrations).await });
    }
    // All of them are waited for, so that nothing goes on behind the lock's back; the first error counts.
    let ended = working.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut outcomes: BTreeMap<u32, Outcome> = ended.into_iter().flatten().collect();
    if MIGRATIONS.iter().any(|migration| !applied.contains(&migration.version)) {
        connection.execute(ANALYZE).await.map_err(Error::Analyze)?;
    }
    // Summaries last, one after the other: an index cannot be added to a table that a long query reads. They are filled
    // on the connection that holds the lock: where this process is killed, the server goes on with the statement, and
    // lets nobody else begin until that has ended.
    for (migration, table, recorded) in summaries {
        let version = migration.version;
        let wanted = Wanted { recorded, recompute, asked };
        let outcome = summarize(connection, migration, table, wanted).await;
        outcomes.insert(version, outcome.map_err(|source| Error::Statement { version, source })?);
    }
    Ok(MIGRATIONS
        .iter()
        .map(|&Migration { version, object, .. }| {
            let outcome = outcomes.remove(&version).unwrap_or(Outcome::Recorded);
            Step { version, object, outcome }
        })
        .collect())
}

/// A connection for statements that change tables.
async fn prepared(options: &MySqlConnectOptions, limit: Duration) -> Result<MySqlConnection, Error> {
    let mut connection = connect(options, limit).await?;
    // They wait for queries that are under way, and everybody who comes later waits behind them: not for long. What a
    // summary reads is not locked against writers.
    connection
        .execute("SET SESSION lock_wait_timeout = 10, SESSION transaction_isolation = 'READ-COMMITTED'")
        .await
        .map_err(Error::Record)?;
    Ok(connection)
}

/// Applies the migrations of one table, in their order.
async fn apply_to_table(
    options: &MySqlConnectOptions,
    limit: Duration,
    migrations: Vec<&Migration>,
) -> Result<Vec<(u32, Outcome)>, Error> {
    let mut connection = prepared(options, limit).await?;
    let mut outcomes = Vec::new();
    for migration in migrations {
        let version = migration.version;
        // Two tables that are changed at once can meet in the server's dictionary; it then gives up one of them.
        let outcome = loop {
            match apply(&mut connection, migration).await {
                Err(error) if crate::db::server_code(&error) == DEADLOCK => {}
                done => break done.map_err(|source| Error::Statement { version, source })?,
            }
        };
        outcomes.push((version, outcome));
    }
    Ok(outcomes)
}

async fn apply(connection: &mut MySqlConnection, migration: &Migration) -> sqlx::Result<Outcome> {
    let started = Instant::now();
    let exists = match migration.object {
        Object::Index { table, index } => index_exists(connection, table, index).await?,
        Object::Summary { table } => table_exists(connection, table).await?,
    };
    let outcome = if exists {
        Outcome::Found
    } else {
        match migration.object {
            Object::Index { .. } => {
                connection.execute(migration.sql).await?;
            }
            Object::Summary { table } => compute(connection, migration, table).await?,
        }
        Outcome::Created(started.elapsed())
    };
    sqlx::query("INSERT INTO tandem_migrations (version, description) VALUES (?, ?)")
        .bind(migration.version)
        .bind(migration.object.to_string())
        .execute(connection)
        .await?;
    Ok(outcome)
}

/// What is to be done with a summary.
struct Wanted {
    /// Whether it was made before.
    recorded: bool,
    recompute: Recompute,
    /// When this run was asked for, in seconds of the server's clock.
    asked: i64,
}

/// Makes a summary that is not there, and makes one anew that is not what it should be.
async fn summarize(
    connection: &mut MySqlConnection,
    migration: &Migration,
    table: &'static str,
    wanted: Wanted,
) -> sqlx::Result<Outcome> {
    let started = Instant::now();
    let outcome = if !wanted.recorded {
        apply(connection, migration).await?
    } else if table_exists(connection, table).await? {
        Outcome::Recorded
    } else {
        // Somebody dropped it, perhaps with the tables of another data set.
        compute(connection, migration, table).await?;
        Outcome::Created(started.elapsed())
    };
    let outcome = match (&outcome, wanted.recompute) {
        (Outcome::Created(_), _) => outcome,
        (_, Recompute::Outdated) if !outdated(connection, table).await? => outcome,
        (_, Recompute::All) if computed_since(connection, table, wanted.asked).await? => Outcome::Elsewhere,
        _ => {
            compute(connection, migration, table).await?;
            Outcome::Recomputed(started.elapsed())
        }
    };
    if !matches!(outcome, Outcome::Recorded | Outcome::Elsewhere) {
        // The server takes a table that was filled as it was made for an empty one, and reads all of it, until it has
        // counted the rows by itself: that is ten seconds later, or never where it is shut down before.
        // `table` is a constant of this file.
        connection.execute(AssertSqlSafe(format!("ANALYZE TABLE {table}"))).await?;
    }
    Ok(outcome)
}

/// Whether the data set was loaded after the summary was computed. One without rows is computed in no time.
async fn outdated(connection: &mut MySqlConnection, table: &str) -> sqlx::Result<bool> {
    let described = table_exists(connection, "tandem_dataset").await?;
    let since = if described { "(SELECT MAX(loaded_at) FROM tandem_dataset)" } else { "NULL" };
    // `table` is a constant of this file.
    let sql = format!("SELECT COALESCE(MAX(computed_at) < {since}, MAX(computed_at) IS NULL) FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await
}

/// Whether the summary's computation began after the second `asked`.
async fn computed_since(connection: &mut MySqlConnection, table: &str, asked: i64) -> sqlx::Result<bool> {
    // `table` is a constant of this file.
    let sql = format!("SELECT COALESCE(MAX(UNIX_TIMESTAMP(computed_at)) > ?, FALSE) FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(asked).fetch_one(connection).await
}

/// Computes a summary beside the one that is there, if there is one, and puts it in its place. Who asks for a table
/// while it is being filled waits until it is full, perhaps for longer than a query may take; for one that is not
/// there, nobody waits.
async fn compute(connection: &mut MySqlConnection, migration: &Migration, table: &str) -> sqlx::Result<()> {
    // `table` is a constant of this file. What a killed run left behind goes first.
    let clear = format!("DROP TABLE IF EXISTS {table}_new, {table}_old");
    let aside =
        if table_exists(connection, table).await? { format!("{table} TO {table}_old, ") } else { String::new() };
    let rename = format!("RENAME TABLE {aside}{table}_new TO {table}");
    connection.execute(AssertSqlSafe(clear.clone())).await?;
    connection.execute(AssertSqlSafe(migration.sql.replacen(table, &format!("{table}_new"), 1))).await?;
    connection.execute(AssertSqlSafe(rename)).await?;
    connection.execute(AssertSqlSafe(clear)).await?;
    Ok(())
}

async fn table_exists(connection: &mut MySqlConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT COUNT(*) > 0 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
    )
    .bind(table)
    .fetch_one(connection)
    .await
}

async fn index_exists(connection: &mut MySqlConnection, table: &str, index: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT COUNT(*) > 0 FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?",
    )
    .bind(table)
    .bind(index)
    .fetch_one(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_and_each_statement_makes_what_it_is_checked_by() {
        assert!(MIGRATIONS.is_sorted_by(|one, next| one.version < next.version));
        for Migration { object, sql, .. } in MIGRATIONS {
            match object {
                Object::Index { table, index } => {
                    assert!(sql.starts_with(&format!("ALTER TABLE {table} ADD INDEX {index} (")), "{sql}");
                    assert!(sql.trim_end().ends_with("ALGORITHM=INPLACE, LOCK=NONE"), "{sql}");
                }
                // Group Replication wants a primary key, and a recomputation the time of the one before.
                Object::Summary { table } => {
                    assert!(sql.starts_with(&format!("CREATE TABLE {table} (\n")), "{sql}");
                    assert!(sql.contains("PRIMARY KEY (") && sql.contains("computed_at TIMESTAMP NOT NULL"), "{sql}");
                }
            }
            // The MySQL image's build runs the files through the `mysql` client.
            assert!(!sql.contains(';'), "{sql}");
        }
    }

    #[test]
    fn missing_versions_are_those_that_are_not_recorded() {
        assert_eq!(missing(&[1, 2, 3, 5, 6, 7, 8, 9, 10, 20, 21, 99]), [4]);
    }
}
