//! The database: one pool of read-only connections, opened when they are first needed, and below it one module per
//! noun that holds all SQL about it.
//!
//! Handlers call `db::noun::function(&Database, …)`; the function hands its query to [`Database::read`], which adds
//! what every query needs: a time limit, an end at once when the database goes away, one retry where a pooled connection
//! turned out to be dead, and an [`Error`] that tells "the database is away" from "we made a mistake".

mod batch;
pub mod dataset;
pub mod departments;
pub mod employees;
pub mod exports;
mod moment;
mod monitor;
pub mod overview;
pub mod schema;
pub mod statistics;
mod timings;
pub mod totals;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::{Connection, Executor};
use tokio::time::Instant;

use crate::config::DatabaseConfig;
use crate::traces::{QuerySpan, Tracer};
use batch::Batch;
use moment::Moment;
use monitor::Monitor;
use timings::{Name, Timings, Turns};

/// How long a pooled connection may have been idle before it is asked whether it still lives. Under load none is, and
/// no query pays for a second round trip.
const TRUSTED: Duration = Duration::from_secs(1);

/// How long it may take to answer that before it counts as dead.
const PING_TIMEOUT: Duration = Duration::from_millis(300);

/// Statements that are kept prepared on each connection: enough for every fixed query and the common searches.
const PREPARED_STATEMENTS: usize = 50;

/// How many more statements than that a request may prepare on one connection.
const FIRST_USES: usize = 10;

/// Why a query gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or the server refuses to serve.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The server answers, but a table of the data set is not there (yet).
    #[error("the data set is not loaded: {0}")]
    NotLoaded(String),
    /// The query ran into its time limit.
    #[error("the query took longer than it may: {0}")]
    TooSlow(String),
    /// Anything else: a mistake of ours, or data of a different shape.
    #[error("the query failed: {0}")]
    Failed(String),
}

impl Error {
    /// The kind of the error, as the metrics call it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "away",
            Self::NotLoaded(_) => "not_loaded",
            Self::TooSlow(_) => "too_slow",
            Self::Failed(_) => "failed",
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(text),
            // The pool is busy. Were the database away, the monitor would have ended the wait.
            sqlx::Error::PoolTimedOut => Self::TooSlow(text),
            sqlx::Error::Database(_) => match server_code(&error) {
                // Too many connections, access denied, no such database, shutting down, host blocked or not allowed,
                // resource limits of the user, killed, offline mode, interrupted.
                1040 | 1044 | 1045 | 1049 | 1053 | 1129 | 1130 | 1203 | 1226 | 1317 | 1927 | 3032 | 3169 => {
                    Self::Unavailable(text)
                }
                1146 => Self::NotLoaded(text),
                1205 | 3024 => Self::TooSlow(text),
                _ => Self::Failed(text),
            },
            _ => Self::Failed(text),
        }
    }
}

/// The server's number of the error; 0 where it did not come from the server.
pub(crate) fn server_code(error: &sqlx::Error) -> u16 {
    error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>())
        .map_or(0, sqlx::mysql::MySqlDatabaseError::number)
}

/// Whether the connection died under the query, so that trying once more on another one makes sense: an I/O error,
/// a server that is shutting down, a session that was killed.
fn connection_died(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) || matches!(server_code(error), 1053 | 1927 | 3169)
}

/// The pool that all pages are read through.
pub struct Database {
    pool: MySqlPool,
    address: String,
    pool_size: u32,
    query_timeout: Duration,
    /// When a connection last died under a query.
    last_death: Arc<Moment>,
    monitor: Monitor,
    turns: Turns,
    timings: Timings,
    tracer: Option<Tracer>,
    people: Batch<u32, employees::Person>,
    shows: Batch<(), Vec<employees::Employee>>,
}

impl Database {
    /// A pool that has no connection yet. Must be called inside of a Tokio runtime.
    pub fn new(config: &DatabaseConfig) -> Self {
        let session: Cow<'static, str> = format!(
            "SET SESSION max_execution_time = {}, SESSION transaction_read_only = ON",
            config.query_timeout.as_millis()
        )
        .into();
        let last_death = Arc::new(Moment::new());
        let died = Arc::clone(&last_death);
        let pool = MySqlPoolOptions::new()
            .max_connections(config.pool_size)
            // Waiting for a turn is part of the query's time; an outage ends it earlier.
            .acquire_timeout(config.query_timeout)
            .max_lifetime(config.max_lifetime)
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                // Whoever was idle while another connection died may be dead as well, after a failover for one.
                let outlived = Instant::now().checked_sub(about.idle_for).is_some_and(|since| since > died.last());
                let trusted = outlived && about.idle_for < TRUSTED;
                Box::pin(async move { if trusted { Ok(true) } else { ping(connection).await } })
            })
            .after_connect(move |connection, _| {
                let session = session.clone();
                Box::pin(async move {
                    connection.execute(sqlx::AssertSqlSafe(session.as_ref())).await?;
                    Ok(())
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    if connection.cached_statements_size() >= PREPARED_STATEMENTS {
                        forget_statements(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(config.reads.clone().statement_cache_capacity(PREPARED_STATEMENTS + FIRST_USES));
        let address = address(&config.reads);
        // A server that shuts down waits for its clients to go, and what is still open then is dead afterwards.
        let idle = pool.clone();
        let let_go = move || {
            while let Some(connection) = idle.try_acquire() {
                drop(connection.detach());
            }
        };
        let monitor = Monitor::start(&config.reads, address.clone(), config.connect_timeout, let_go);
        Self {
            pool,
            address,
            pool_size: config.pool_size,
            query_timeout: config.query_timeout,
            last_death,
            monitor,
            turns: Turns::new(config.pool_size),
            timings: Timings::default(),
            tracer: None,
            people: Batch::new(employees::MOST_PEOPLE),
            shows: Batch::new(1),
        }
    }

    /// The same, with a span for each query of a request that is traced.
    #[must_use]
    pub fn traced(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// What makes the spans.
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
    }

    /// `host:port/name`, as the footer shows it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The database's name.
    fn name(&self) -> &str {
        self.address.split_once('/').map_or("", |(_, name)| name)
    }

    /// How many connections are open, and how many of them are idle.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// The most connections at once.
    pub fn pool_size(&self) -> u32 {
        self.pool_size
    }

    /// How long an answer that is made of several queries may take: as long as two that take all of their time.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.query_timeout * 2
    }

    /// Whether the database answered when it was asked last.
    pub fn answers(&self) -> bool {
        self.monitor.has_answer()
    }

    /// Adds what is counted of the queries to the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        timings::register(&self.timings, &self.turns, registry);
    }

    /// Closes every connection, after the queries that still run on them.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs one read-only query. It may be called twice: every query here is idempotent.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn read<'a, T, F, Fut>(&'a self, query: F) -> Result<T, Error>
    where
        F: Fn(&'a MySqlPool) -> Fut,
        Fut: Future<Output = sqlx::Result<T>>,
    {
        let name = Name::of::<F>();
        let mut span = self.tracer.as_ref().and_then(|tracer| QuerySpan::begin(tracer, name, self.name()));
        let result = self.ask(name, query).await;
        if let Err(error) = &result {
            self.timings.failed(name, error);
            if let Some(span) = &mut span {
                span.failed(error.kind());
            }
        }
        result
    }

    async fn ask<'a, T, F, Fut>(&'a self, name: Name, query: F) -> Result<T, Error>
    where
        F: Fn(&'a MySqlPool) -> Fut,
        Fut: Future<Output = sqlx::Result<T>>,
    {
        // Not even tried while the database is away: each try would look up its name and connect, for nothing, and what
        // thousands of visitors have set off by then would have to be worked off before anybody is answered again.
        if let Some(reason) = self.monitor.is_away() {
            return Err(Error::Unavailable(reason.to_string()));
        }
        let deadline = Instant::now() + self.query_timeout;
        let limited = async || match tokio::time::timeout_at(deadline, query(&self.pool)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let died = connection_died(&error);
                if died {
                    self.last_death.note();
                }
                Err((died, Error::from(error)))
            }
            Err(_) => Err((false, Error::TooSlow(format!("no answer within {:?}", self.query_timeout)))),
        };
        let answered = async {
            let _turn = self.turns.take(deadline).await?;
            let _asked = self.timings.begin(name);
            let result = match limited().await {
                Err((true, _)) => limited().await,
                result => result,
            };
            result.map_err(|(_, error)| error)
        };
        tokio::select! {
            // The query first: one that has its answer keeps it.
            biased;
            result = answered => {
                match result {
                    Ok(_) => self.monitor.answered(),
                    Err(Error::Unavailable(_)) => self.monitor.doubted(),
                    Err(_) => {}
                }
                result.map_err(|error| match error {
                    // Right after the start, before the monitor knows anything: that is no slow answer.
                    Error::TooSlow(text) if !self.monitor.has_answer() => Error::Unavailable(text),
                    error => error,
                })
            }
            reason = self.monitor.away() => Err(Error::Unavailable(reason.to_string())),
        }
    }
}

/// `Err` where the connection is dead, which makes the pool drop it without ceremony and open another one.
async fn ping(connection: &mut MySqlConnection) -> sqlx::Result<bool> {
    match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Closes all prepared statements, between requests. Left to itself, sqlx closes the oldest one in the middle of a request
/// that prepares a new one; it does not set `TCP_NODELAY` (0.9.0; its issue 4335), so that the packet after the close waits
/// for the server's delayed acknowledgement: 40 ms. Here the ping waits for it.
async fn forget_statements(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    connection.clear_cached_statements().await?;
    ping(connection).await?;
    Ok(())
}

/// `host:port/name` of connection options: nothing secret.
pub(crate) fn address(options: &MySqlConnectOptions) -> String {
    let host = options.get_host();
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    format!("{host}:{}/{}", options.get_port(), options.get_database().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("mysql://a:b@db/x", "db:3306/x")]
    #[case("mysql://a:b@[::1]:3307/x", "[::1]:3307/x")]
    fn the_address_has_no_secret(#[case] url: &str, #[case] shown: &str) {
        assert_eq!(address(&url.parse().unwrap()), shown);
    }

    #[test]
    fn a_refused_connection_is_an_outage_and_a_wrong_row_is_not() {
        let refused = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(connection_died(&refused));
        assert!(matches!(Error::from(refused), Error::Unavailable(_)));
        assert!(matches!(Error::from(sqlx::Error::RowNotFound), Error::Failed(_)));
    }
}
