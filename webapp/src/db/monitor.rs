//! Whether the database answers: one connection outside of the pool asks it all the time.
//!
//! A pool alone cannot tell a database that is away from one that is busy: both look like "no connection within a
//! second". With the answer known beforehand, a request gives up at once while the database is away, and waits its turn
//! while it is not.
//!
//! Away means: no answer to anybody, neither to a question of the monitor's nor to a query, for as long as the database
//! may stay silent; or, without any patience, a connection that breaks and that no other one can replace. A server that
//! lets nobody new in (a changed password, too many connections) is not away for those who are in. Of several servers
//! behind one address, one that answers in time is enough.

use std::fmt;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::moment::Moment;
use super::{NEXT, PING_TIMEOUT};
use crate::vital::vital;

/// Between two questions, while the database answers and nobody doubts it, and otherwise.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_WHILE_AWAY: Duration = Duration::from_millis(200);

/// What is known of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Unknown,
    /// It answers.
    Answers,
    /// It does not, and why.
    Away(Arc<str>),
}

/// Asks until it is dropped.
pub(super) struct Monitor {
    state: watch::Receiver<State>,
    answers: Arc<Moment>,
    doubts: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Monitor {
    /// Starts to ask. `patience`: how long an answer may take; `replicas`: whether several servers are behind the
    /// address; `while_away` is called again and again while the database is away. Must be called inside of a Tokio
    /// runtime.
    pub(super) fn start(
        options: &MySqlConnectOptions,
        address: String,
        patience: Duration,
        replicas: bool,
        while_away: impl Fn() + Send + 'static,
    ) -> Self {
        let (sender, state) = watch::channel(State::Unknown);
        let answers = Arc::new(Moment::new());
        let doubts = Arc::<Notify>::default();
        let inquiry = Inquiry {
            options: options.clone().disable_statement_logging(),
            address,
            // Time for some of them to be silent one after the other, until nobody is led to those any more.
            patience: if replicas { 3 * patience } else { patience },
            replicas,
            answers: Arc::clone(&answers),
            doubts: Arc::clone(&doubts),
        };
        Self { state, answers, doubts, task: tokio::spawn(vital(inquiry.run(sender, while_away))) }
    }

    /// Why the database is away, if it is.
    pub(super) fn is_away(&self) -> Option<Arc<str>> {
        match &*self.state.borrow() {
            State::Away(reason) => Some(Arc::clone(reason)),
            State::Unknown | State::Answers => None,
        }
    }

    /// Whether the database answered when it was asked last.
    pub(super) fn has_answer(&self) -> bool {
        *self.state.borrow() == State::Answers
    }

    /// Waits until the database is away, which may be now, and says why.
    pub(super) async fn away(&self) -> Arc<str> {
        let mut state = self.state.clone();
        match state.wait_for(|state| matches!(state, State::Away(_))).await.map(|state| state.clone()) {
            Ok(State::Away(reason)) => reason,
            // The monitor ends with the runtime: whoever waits ends too.
            _ => std::future::pending().await,
        }
    }

    /// Notes that a query was answered: while others are, a slow answer to the monitor is no outage.
    pub(super) fn answered(&self) {
        self.answers.note();
    }

    /// Notes that a query was not answered: the monitor looks at once, on a new connection, since its own may be the
    /// only one that still works.
    pub(super) fn doubted(&self) {
        self.doubts.notify_one();
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a question got no answer.
enum Silence {
    /// None came in time, and no other query was answered either.
    Late,
    /// The server lets us not in.
    Refused(String),
    /// There is no connection, or it broke.
    Broken(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("it does not answer"),
            Self::Refused(reason) | Self::Broken(reason) => f.write_str(reason),
        }
    }
}

struct Inquiry {
    options: MySqlConnectOptions,
    address: String,
    patience: Duration,
    replicas: bool,
    /// When the database last answered anything.
    answers: Arc<Moment>,
    doubts: Arc<Notify>,
}

impl Inquiry {
    async fn run(self, state: watch::Sender<State>, while_away: impl Fn()) {
        let mut connection = None;
        let mut refused = false;
        loop {
            let silence = self.ask(&mut connection).await.err();
            let answers = silence.is_none();
            match silence {
                None => {
                    self.answers.note();
                    self.tell(&state, State::Answers);
                    refused = false;
                }
                Some(Silence::Refused(reason)) if self.answers.last().elapsed() < self.patience => {
                    if !refused {
                        tracing::error!(database = self.address, reason, "the database refuses new connections");
                    }
                    refused = true;
                }
                Some(silence) => {
                    self.tell(&state, State::Away(silence.to_string().into()));
                    while_away();
                }
            }
            sleep(PAUSE_WHILE_AWAY).await;
            if answers && timeout(PAUSE - PAUSE_WHILE_AWAY, self.doubts.notified()).await.is_ok() {
                connection = None;
            }
        }
    }

    /// One question, on the connection of the last one where that still works.
    async fn ask(&self, connection: &mut Option<MySqlConnection>) -> Result<(), Silence> {
        let began = Instant::now();
        let mut question = pin!(async {
            if let Some(mut open) = connection.take()
                && self.in_time(open.ping()).await.is_ok()
            {
                *connection = Some(open);
                return Ok(());
            }
            // A connection that broke says nothing yet: the server may be back already. Neither does a new one that
            // was killed as soon as it was there; but who has gone refuses the next one at once.
            let mut again = true;
            let fresh = loop {
                match self.connect().await {
                    Err(_) if self.replicas => sleep(NEXT).await,
                    Err(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) if again => again = false,
                    connected => break connected?,
                }
            };
            *connection = Some(fresh);
            Ok::<_, sqlx::Error>(())
        });
        loop {
            let deadline = began.max(self.answers.last()) + self.patience;
            match timeout_at(deadline, question.as_mut()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error @ sqlx::Error::Database(_))) => return Err(Silence::Refused(error.to_string())),
                Ok(Err(error)) => return Err(Silence::Broken(error.to_string())),
                // Busy with others, and answering them.
                Err(_) if self.answers.last() + self.patience > deadline => {}
                Err(_) => return Err(Silence::Late),
            }
        }
    }

    async fn connect(&self) -> sqlx::Result<MySqlConnection> {
        self.in_time(async {
            let mut fresh = self.options.connect().await?;
            fresh.ping().await?;
            Ok(fresh)
        })
        .await
    }

    /// Of several servers, the next one is asked soon.
    async fn in_time<T>(&self, asked: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        if !self.replicas {
            return asked.await;
        }
        timeout(PING_TIMEOUT, asked).await.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
    }

    /// Tells everyone who waits, and the log once.
    fn tell(&self, state: &watch::Sender<State>, now: State) {
        state.send_if_modified(|before| {
            if *before == now {
                return false;
            }
            match &now {
                State::Answers | State::Unknown => tracing::info!(database = self.address, "the database answers"),
                State::Away(reason) => {
                    tracing::error!(database = self.address, reason = &**reason, "the database is away")
                }
            }
            *before = now;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    fn monitor(port: u16) -> Monitor {
        Monitor::start(&MySqlConnectOptions::new().host("127.0.0.1").port(port), String::new(), PATIENCE, false, || {})
    }

    #[tokio::test]
    async fn a_slow_answer_is_no_outage_while_others_are_answered_and_one_as_soon_as_they_are_not() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let monitor = monitor(silent.local_addr().unwrap().port());
        for _ in 0..25 {
            monitor.answered();
            assert!(timeout(PATIENCE / 6, monitor.away()).await.is_err());
        }
        let last = Instant::now();
        assert_eq!(&*monitor.away().await, "it does not answer");
        assert!(last.elapsed() < PATIENCE * 3 / 2, "{:?}", last.elapsed());
        assert!(monitor.is_away().is_some());
    }

    #[tokio::test]
    async fn a_server_that_refuses_connections_is_away_at_once() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let monitor = monitor(closed);
        monitor.answered();
        let began = Instant::now();
        monitor.away().await;
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    }

    /// What a server says in its first packet when it has too many connections.
    const FULL: &[u8; 4 + 0x17] = b"\x17\0\0\0\xff\x10\x04Too many connections";

    #[tokio::test]
    async fn a_new_connection_that_is_killed_is_no_outage_and_neither_is_the_next_ones_refusal() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let monitor = monitor(server.local_addr().unwrap().port());
        for _ in 0..3 {
            drop(server.accept().await.unwrap());
            let (stream, _) = server.accept().await.unwrap();
            monitor.answered();
            stream.writable().await.unwrap();
            stream.try_write(FULL).unwrap();
            assert!(timeout(PATIENCE / 6, monitor.away()).await.is_err());
        }
        drop(server.accept().await.unwrap());
        drop(server.accept().await.unwrap());
        monitor.answered();
        assert!(timeout(PATIENCE / 2, monitor.away()).await.is_ok(), "twice in a row it is one");
    }

    #[tokio::test]
    async fn a_server_that_lets_nobody_new_in_is_away_only_when_nobody_is_answered() {
        let full = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let monitor = monitor(full.local_addr().unwrap().port());
        tokio::spawn(async move {
            loop {
                let (stream, _) = full.accept().await.unwrap();
                stream.writable().await.unwrap();
                stream.try_write(FULL).unwrap();
            }
        });
        for _ in 0..25 {
            monitor.answered();
            assert!(timeout(PATIENCE / 6, monitor.away()).await.is_err());
        }
        assert!(monitor.away().await.contains("Too many connections"));
    }
}
