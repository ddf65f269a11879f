//! Migrations: what our queries need beyond the data set's own schema, which is indexes and nothing else.
//!
//! Written here and not left to `sqlx::migrate!`, for three reasons. MySQL commits every DDL statement at once, so a
//! run that is killed half-way leaves sqlx's record "dirty", which stops all later runs until a person repairs it;
//! here each step looks whether its index exists already, and a killed run is simply run again. sqlx waits for its
//! lock without end; here a replica gives up after a while and says so. And it locks per server and database without
//! a limit on metadata locks, so that one long query would make the migration block every other query behind it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::task::JoinSet;

use crate::config::DatabaseConfig;

/// One index, added by one statement.
struct Migration {
    version: u32,
    table: &'static str,
    index: &'static str,
    sql: &'static str,
}

/// MySQL's error for a statement that it rolled back so that another one could go on.
const DEADLOCK: u16 = 1213;

/// All migrations, oldest first. Published ones are never changed or removed.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        table: "employees",
        index: "tandem_name",
        sql: include_str!("../migrations/0001_employees_by_name.sql"),
    },
    Migration {
        version: 2,
        table: "employees",
        index: "tandem_last_name",
        sql: include_str!("../migrations/0002_employees_by_last_name.sql"),
    },
    Migration {
        version: 3,
        table: "employees",
        index: "tandem_birth_date",
        sql: include_str!("../migrations/0003_employees_by_birth_date.sql"),
    },
    Migration {
        version: 4,
        table: "employees",
        index: "tandem_hire_date",
        sql: include_str!("../migrations/0004_employees_by_hire_date.sql"),
    },
    Migration {
        version: 5,
        table: "dept_emp",
        index: "tandem_members",
        sql: include_str!("../migrations/0005_departments_by_members.sql"),
    },
    Migration {
        version: 6,
        table: "titles",
        index: "tandem_title",
        sql: include_str!("../migrations/0006_titles_by_title.sql"),
    },
    Migration {
        version: 20,
        table: "employees",
        index: "tandem_gender",
        sql: include_str!("../migrations/0020_employees_by_gender.sql"),
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
    /// The record of migrations cannot be read or written.
    #[error("the record of migrations (table tandem_migrations) cannot be used: {0}")]
    Record(#[source] sqlx::Error),
}

/// What a run did with one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub version: u32,
    /// On which table.
    pub table: &'static str,
    /// Which index.
    pub index: &'static str,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done with one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The index was created, in that time.
    Created(Duration),
    /// The index existed, but no record of it: an earlier run was killed, or somebody made it by hand.
    Found,
    /// The record says that it was done before.
    Recorded,
}

/// The versions that `applied` lacks.
pub fn missing(applied: &[u32]) -> Vec<u32> {
    MIGRATIONS.iter().map(|migration| migration.version).filter(|version| !applied.contains(version)).collect()
}

/// Applies what has not been applied yet. Safe to run from several processes at once: one works, the others wait up to
/// `patience` for it and then find nothing to do.
///
/// # Errors
/// See [`Error`].
pub async fn run(config: &DatabaseConfig, patience: Duration) -> Result<Vec<Step>, Error> {
    let mut connection = connect(&config.primary, config.connect_timeout).await?;
    let result = run_locked(&mut connection, config, patience).await;
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
) -> Result<Vec<Step>, Error> {
    // Names of locks hold for the whole server, and at most 64 characters.
    let locked: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(CONCAT('tandem_migrations_', LEFT(SHA2(DATABASE(), 256), 40)), ?)")
            .bind(patience.as_secs())
            .fetch_one(&mut *connection)
            .await
            .map_err(Error::Record)?;
    if locked != Some(1) {
        return Err(Error::Locked(patience));
    }
    for migration in MIGRATIONS {
        if !table_exists(connection, migration.table).await.map_err(Error::Record)? {
            return Err(Error::NotLoaded(migration.table));
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
    for migration in MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version)) {
        tables.entry(migration.table).or_default().push(migration);
    }
    let mut working = JoinSet::new();
    for migrations in tables.into_values() {
        let (options, limit) = (config.primary.clone(), config.connect_timeout);
        working.spawn(async move { apply_to_table(&options, limit, migrations).await });
    }
    // All of them are waited for, so that nothing goes on behind the lock's back; the first error counts.
    let ended = working.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut outcomes: BTreeMap<u32, Outcome> = ended.into_iter().flatten().collect();
    Ok(MIGRATIONS
        .iter()
        .map(|&Migration { version, table, index, .. }| {
            let outcome = outcomes.remove(&version).unwrap_or(Outcome::Recorded);
            Step { version, table, index, outcome }
        })
        .collect())
}

/// Applies the migrations of one table, in their order.
async fn apply_to_table(
    options: &MySqlConnectOptions,
    limit: Duration,
    migrations: Vec<&Migration>,
) -> Result<Vec<(u32, Outcome)>, Error> {
    let mut connection = connect(options, limit).await?;
    // Adding an index waits for queries that are under way, and everybody who comes later waits behind it: not for long.
    connection.execute("SET SESSION lock_wait_timeout = 10").await.map_err(Error::Record)?;
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
    let outcome = if index_exists(connection, migration).await? {
        Outcome::Found
    } else {
        connection.execute(migration.sql).await?;
        Outcome::Created(started.elapsed())
    };
    sqlx::query("INSERT INTO tandem_migrations (version, description) VALUES (?, CONCAT('index ', ?, ' on ', ?))")
        .bind(migration.version)
        .bind(migration.index)
        .bind(migration.table)
        .execute(connection)
        .await?;
    Ok(outcome)
}

async fn table_exists(connection: &mut MySqlConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT COUNT(*) > 0 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
    )
    .bind(table)
    .fetch_one(connection)
    .await
}

async fn index_exists(connection: &mut MySqlConnection, migration: &Migration) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT COUNT(*) > 0 FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?",
    )
    .bind(migration.table)
    .bind(migration.index)
    .fetch_one(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_and_each_statement_adds_the_index_that_it_is_checked_by() {
        assert!(MIGRATIONS.is_sorted_by(|one, next| one.version < next.version));
        for migration in MIGRATIONS {
            let begin = format!("ALTER TABLE {} ADD INDEX {} (", migration.table, migration.index);
            assert!(migration.sql.starts_with(&begin), "{}", migration.sql);
            assert!(migration.sql.trim_end().ends_with("ALGORITHM=INPLACE, LOCK=NONE"), "{}", migration.sql);
        }
    }

    #[test]
    fn missing_versions_are_those_that_are_not_recorded() {
        assert_eq!(missing(&[1, 2, 3, 5, 6, 20, 99]), [4]);
    }
}
