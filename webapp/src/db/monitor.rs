//! Whether the database answers: one connection outside of the pool asks it all the time.
//!
//! A pool alone cannot tell a database that is away from one that is busy: both look like "no connection within a
//! second". With the answer known beforehand, a request gives up at once while the database is away, and waits its turn
//! while it is not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Between two questions, while the database answers and while it does not.
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
    answers: Arc<Answers>,
    task: JoinHandle<()>,
}

impl Monitor {
    /// Starts to ask. `patience`: how long an answer may take. Must be called inside of a Tokio runtime.
    pub(super) fn start(options: &MySqlConnectOptions, address: String, patience: Duration) -> Self {
        let (sender, state) = watch::channel(State::Unknown);
        let answers = Arc::new(Answers { epoch: Instant::now(), last: AtomicU64::new(0) });
        let inquiry = Inquiry {
            options: options.clone().disable_statement_logging(),
            address,
            patience,
            answers: Arc::clone(&answers),
        };
        Self { state, answers, task: tokio::spawn(inquiry.run(sender)) }
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
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// When the database last answered anything, in milliseconds since `epoch`.
struct Answers {
    epoch: Instant,
    last: AtomicU64,
}

impl Answers {
    fn note(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn within(&self, time: Duration) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        !last.is_zero() && self.epoch.elapsed().saturating_sub(last) < time
    }
}

/// Why a question got no answer.
enum Silence {
    /// None came in time.
    Late,
    /// Another one came, or the connection broke.
    Refused(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("it does not answer"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

struct Inquiry {
    options: MySqlConnectOptions,
    address: String,
    patience: Duration,
    answers: Arc<Answers>,
}

impl Inquiry {
    async fn run(self, state: watch::Sender<State>) {
        let mut connection = None;
        loop {
            let pause = match self.ask(&mut connection).await {
                Ok(()) => {
                    self.answers.note();
                    self.tell(&state, State::Answers);
                    PAUSE
                }
                // Busy with others, and answering them: a new connection would only add to it.
                Err(Silence::Late) if self.answers.within(self.patience) => PAUSE,
                Err(silence) => {
                    connection = None;
                    self.tell(&state, State::Away(silence.to_string().into()));
                    PAUSE_WHILE_AWAY
                }
            };
            sleep(pause).await;
        }
    }

    /// One question, on the connection of the last one where that still works.
    async fn ask(&self, connection: &mut Option<MySqlConnection>) -> Result<(), Silence> {
        let question = async {
            if let Some(mut open) = connection.take()
                && open.ping().await.is_ok()
            {
                *connection = Some(open);
                return Ok(());
            }
            // A connection that broke says nothing yet: the server may be back already.
            let mut fresh = self.options.connect().await?;
            fresh.ping().await?;
            *connection = Some(fresh);
            Ok::<_, sqlx::Error>(())
        };
        match timeout(self.patience, question).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Silence::Refused(error.to_string())),
            Err(_) => Err(Silence::Late),
        }
    }

    /// Tells everyone who waits, and the log once.
    fn tell(&self, state: &watch::Sender<State>, now: State) {
        state.send_if_modified(|before| {
            if *before == now {
                return false;
            }
            match &now {
                State::Answers | State::Unknown => tracing::info!(database = self.address, "the database answers"),
                State::Away(reason) => tracing::error!(database = self.address, reason = &**reason, "the database is away"),
            }
            *before = now;
            true
        });
    }
}
