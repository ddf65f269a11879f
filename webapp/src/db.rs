//! The database: one pool of read-only connections, opened when they are first needed, and below it one module per
//! noun that holds all SQL about it.
//!
//! Handlers call `db::noun::function(&Database, …)`; the function hands its query to [`Database::read`], which adds
//! what every query needs: a time limit, an end at once when the database goes away, one retry where a pooled
//! connection turned out to be dead, another server's answer where one of several is silent, and an [`Error`] that
//! tells "the database is away" from "we made a mistake".

mod batch;
pub mod dataset;
pub mod departments;
pub mod employees;
pub mod exports;
mod moment;
mod monitor;
pub mod overview;
pub mod schema;
pub mod sets;
pub mod statistics;
mod timings;
pub mod totals;

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::time::{Instant, sleep, timeout, timeout_at};

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

/// For how long after a connection died those that are released are asked whether they still live.
const DOUBT: Duration = Duration::from_secs(5);

/// Between two servers of several, where the first one cannot be asked.
const NEXT: Duration = Duration::from_millis(50);

/// Statements that are kept prepared on each connection: enough for every fixed query and the common searches.
const PREPARED_STATEMENTS: usize = 50;

/// How many more statements than that a request may prepare on one connection.
const FIRST_USES: usize = 10;

/// The server's error while it answers nobody: the group is about to make another member the primary of this one.
const HOLDS: u16 = 4094;

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
                // resource limits of the user, killed, offline mode, interrupted, a group that changes its primary.
                1040 | 1044 | 1045 | 1049 | 1053 | 1129 | 1130 | 1203 | 1226 | 1317 | 1927 | 3032 | 3169 | HOLDS => {
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

/// How long a statement may take that there is another way for, in milliseconds: a page should take no more than 30.
const PATIENCE: u32 = 5;

/// MySQL's error for a statement that took longer than it may.
const QUERY_TIMEOUT: u16 = 3024;

/// The answer of a statement that the server gives up when it takes too long; `None` where it did.
fn in_time<T>(answer: sqlx::Result<T>) -> sqlx::Result<Option<T>> {
    match answer {
        Err(error) if server_code(&error) == QUERY_TIMEOUT => Ok(None),
        answer => answer.map(Some),
    }
}

/// What a failure says of the connection that a query was on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It died: an I/O error, a server that is shutting down or lets nobody in for now, a session that was killed.
    /// Trying once more on another one makes sense.
    Died,
    /// Its server answers nobody, for a moment.
    Held,
    /// Nothing: the query would fail on another one too.
    Query,
}

impl Cause {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => Self::Died,
            _ => match server_code(error) {
                1053 | 1927 | 3032 | 3169 => Self::Died,
                HOLDS => Self::Held,
                _ => Self::Query,
            },
        }
    }
}

/// Why one try of a query gave no answer.
struct Failure {
    cause: Cause,
    error: Error,
}

/// The answer of the first try that has one. Where the connection died, there is one more try, and where its server
/// answers nobody for a moment, there are as many as there is time for. Of several servers, as many are asked as there
/// is time for, and one that is silent for so long is given up, at most twice: it may be slow, and not dead.
async fn tries<T, Fut: Future<Output = Result<T, Failure>>>(
    silence: Option<Duration>,
    deadline: Instant,
    given_up: impl Fn(),
    try_once: impl Fn() -> Fut,
) -> Result<T, Failure> {
    let Some(silence) = silence else {
        let mut died = false;
        loop {
            match try_once().await {
                Err(Failure { cause: Cause::Died, .. }) if !died => died = true,
                Err(Failure { cause: Cause::Held, .. }) if Instant::now() < deadline => sleep(NEXT).await,
                result => return result,
            }
        }
    };
    let mut silent = 0;
    loop {
        let mut attempt = pin!(try_once());
        // Each ends at the deadline at the latest.
        let patience = if silent < 2 { silence } else { Duration::MAX };
        match timeout(patience, attempt.as_mut()).await {
            Ok(Err(Failure { cause: Cause::Died | Cause::Held, .. })) if Instant::now() < deadline => sleep(NEXT).await,
            Ok(result) => return result,
            Err(_) => {
                given_up();
                silent += 1;
            }
        }
    }
}

/// The pool that all pages are read through.
pub struct Database {
    pool: MySqlPool,
    address: String,
    pool_size: u32,
    query_timeout: Duration,
    /// How long one of several servers may be silent before another one is asked; `None` where there is only one.
    silence: Option<Duration>,
    /// When a connection last died under a query.
    last_death: Arc<Moment>,
    monitor: Monitor,
    turns: Turns,
    timings: Timings,
    tracer: Option<Tracer>,
    people: Batch<u32, employees::Person>,
}

impl Database {
    /// A pool that has no connection yet. Must be called inside of a Tokio runtime.
    pub fn new(config: &DatabaseConfig) -> Self {
        let opening = Opening {
            options: config.reads.clone().statement_cache_capacity(PREPARED_STATEMENTS + FIRST_USES),
            session: format!(
                "SET SESSION max_execution_time = {}, SESSION transaction_read_only = ON, \
                 SESSION eq_range_index_dive_limit = 2",
                config.query_timeout.as_millis()
            )
            .into(),
            patience: config.connect_timeout,
        };
        let last_death = Arc::new(Moment::new());
        let (before, after) = (Arc::clone(&last_death), Arc::clone(&last_death));
        let (acquired, released, connected) = (opening.clone(), opening.clone(), opening.clone());
        let pool = MySqlPoolOptions::new()
            .max_connections(config.pool_size)
            // Waiting for a turn is part of the query's time; an outage ends it earlier.
            .acquire_timeout(config.query_timeout)
            .max_lifetime(config.max_lifetime)
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                // Whoever was idle while another connection died may be dead as well, after a failover for one.
                let outlived = Instant::now().checked_sub(about.idle_for).is_some_and(|since| since > before.last());
                let trusted = outlived && about.idle_for < TRUSTED;
                let opening = acquired.clone();
                Box::pin(async move { if trusted { Ok(true) } else { opening.check(connection).await } })
            })
            .after_connect(move |connection, _| {
                let opening = connected.clone();
                Box::pin(async move { opening.set_up(connection).await })
            })
            .after_release(move |connection, _| {
                let doubted = after.last().elapsed() < DOUBT;
                let opening = released.clone();
                Box::pin(async move {
                    if connection.cached_statements_size() >= PREPARED_STATEMENTS {
                        forget_statements(connection).await?;
                    }
                    if doubted { opening.check(connection).await } else { Ok(true) }
                })
            })
            .connect_lazy_with(opening.options);
        let address = address(&config.reads);
        // A server that shuts down waits for its clients to go, and what is still open then is dead afterwards.
        let idle = pool.clone();
        let let_go = move || {
            while let Some(connection) = idle.try_acquire() {
                drop(connection.detach());
            }
        };
        // Behind a host for reads of its own there are several servers, of which one may be away.
        let replicas = config.reads.get_host() != config.primary.get_host();
        let monitor = Monitor::start(&config.reads, address.clone(), config.connect_timeout, replicas, let_go);
        Self {
            pool,
            address,
            pool_size: config.pool_size,
            query_timeout: config.query_timeout,
            silence: replicas.then_some(config.connect_timeout),
            last_death,
            monitor,
            turns: Turns::new(config.pool_size),
            timings: Timings::default(),
            tracer: None,
            people: Batch::new(employees::MOST_PEOPLE),
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

    /// How long it may take to make an answer of several queries: as long as two that take all of their time.
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
        let query = &query;
        let try_once = || async move {
            match timeout_at(deadline, query(&self.pool)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => {
                    let cause = Cause::of(&error);
                    if cause != Cause::Query {
                        self.last_death.note();
                    }
                    Err(Failure { cause, error: Error::from(error) })
                }
                Err(_) => {
                    let error = Error::TooSlow(format!("no answer within {:?}", self.query_timeout));
                    Err(Failure { cause: Cause::Query, error })
                }
            }
        };
        let answered = async {
            let _turn = self.turns.take(deadline).await?;
            let _asked = self.timings.begin(name);
            let answer = tries(self.silence, deadline, || self.last_death.note(), try_once).await;
            answer.map_err(|failure| failure.error)
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

/// How a connection of the pool is opened.
#[derive(Clone)]
struct Opening {
    options: MySqlConnectOptions,
    session: Arc<str>,
    /// How long it may take.
    patience: Duration,
}

impl Opening {
    async fn set_up(&self, connection: &mut MySqlConnection) -> sqlx::Result<()> {
        connection.execute(sqlx::AssertSqlSafe(&*self.session)).await.map(|_| ())
    }

    /// Whether the connection lives. A new one takes the place of one that is silent: the pool would close that one in
    /// an orderly way, and wait for it, and keep its place until then.
    async fn check(&self, connection: &mut MySqlConnection) -> sqlx::Result<bool> {
        match ping(connection).await {
            Err(sqlx::Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                let open = async {
                    let mut fresh = self.options.connect().await?;
                    self.set_up(&mut fresh).await?;
                    Ok(fresh)
                };
                *connection = timeout(self.patience, open).await.unwrap_or(Err(sqlx::Error::Io(error)))?;
                Ok(true)
            }
            lives => lives,
        }
    }
}

/// `Err` where the connection is dead, which makes the pool drop it and open another one. It asks by a statement: a
/// server that answers nobody for a moment answers a ping all the same.
async fn ping(connection: &mut MySqlConnection) -> sqlx::Result<bool> {
    match timeout(PING_TIMEOUT, connection.execute("DO 0")).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(sqlx::Error::Io(ErrorKind::TimedOut.into())),
    }
}

/// Closes all prepared statements, between requests. Left to itself, sqlx closes the oldest one in the middle of a
/// request that prepares a new one; it does not set `TCP_NODELAY` (0.9.0; its issue 4335), so that the packet after the
/// close waits for the server's delayed acknowledgement: 40 ms. Here the ping waits for it.
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
    use std::cell::Cell;

    #[rstest]
    #[case("mysql://a:b@db/x", "db:3306/x")]
    #[case("mysql://a:b@[::1]:3307/x", "[::1]:3307/x")]
    fn the_address_has_no_secret(#[case] url: &str, #[case] shown: &str) {
        assert_eq!(address(&url.parse().unwrap()), shown);
    }

    const LIMIT: Duration = Duration::from_secs(5);
    const SILENCE: Duration = Duration::from_secs(1);

    /// How tries end that do so after so many milliseconds. Returns what came of them, after how many, and when.
    async fn outcome(silence: Option<Duration>, each: &[(u64, Result<(), Cause>)]) -> (Result<(), Cause>, usize, u64) {
        let began = Instant::now();
        let count = Cell::new(0);
        let result = tries(
            silence,
            began + LIMIT,
            || {},
            || {
                let (after, result) = each[count.replace(count.get() + 1).min(each.len() - 1)];
                async move {
                    sleep(Duration::from_millis(after)).await;
                    result.map_err(|cause| Failure { cause, error: Error::Failed(String::new()) })
                }
            },
        );
        let result = result.await.map_err(|failure| failure.cause);
        (result, count.get(), u64::try_from(began.elapsed().as_millis()).unwrap())
    }

    #[rstest]
    #[case::answers(None, &[(9, Ok(()))], (Ok(()), 1, 9))]
    #[case::one_more(None, &[(9, Err(Cause::Died)), (9, Ok(()))], (Ok(()), 2, 18))]
    #[case::no_third(None, &[(9, Err(Cause::Died))], (Err(Cause::Died), 2, 18))]
    #[case::held_for_a_moment(None, &[(9, Err(Cause::Held)), (9, Err(Cause::Held)), (9, Ok(()))], (Ok(()), 3, 127))]
    #[case::held_for_long(None, &[(950, Err(Cause::Held))], (Err(Cause::Held), 6, 5950))]
    #[case::waits_for_the_only_one(None, &[(4000, Ok(()))], (Ok(()), 1, 4000))]
    #[case::of_several_the_third(Some(SILENCE), &[(9, Err(Cause::Died)), (9, Err(Cause::Died)), (9, Ok(()))], (Ok(()), 3, 127))]
    #[case::all_are_dead(Some(SILENCE), &[(950, Err(Cause::Died))], (Err(Cause::Died), 6, 5950))]
    #[case::one_is_silent(Some(SILENCE), &[(5000, Err(Cause::Query)), (9, Ok(()))], (Ok(()), 2, 1009))]
    #[case::one_is_held(Some(SILENCE), &[(9, Err(Cause::Held)), (9, Ok(()))], (Ok(()), 2, 68))]
    #[case::all_are_slow(Some(SILENCE), &[(1200, Ok(()))], (Ok(()), 3, 3200))]
    #[case::a_mistake(Some(SILENCE), &[(9, Err(Cause::Query))], (Err(Cause::Query), 1, 9))]
    #[tokio::test(start_paused = true)]
    async fn a_query_is_tried_again(
        #[case] silence: Option<Duration>,
        #[case] each: &[(u64, Result<(), Cause>)],
        #[case] expected: (Result<(), Cause>, usize, u64),
    ) {
        assert_eq!(outcome(silence, each).await, expected);
    }

    #[test]
    fn a_refused_connection_is_an_outage_and_a_wrong_row_is_not() {
        let refused = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(Cause::of(&refused), Cause::Died);
        assert!(matches!(Error::from(refused), Error::Unavailable(_)));
        assert!(matches!(Error::from(sqlx::Error::RowNotFound), Error::Failed(_)));
    }
}
