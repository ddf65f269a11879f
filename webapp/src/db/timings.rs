//! How long queries wait for a connection and for their answer, and what became of those without one.
//!
//! A query is called like the function that asks it (`employees.show`): see [`Name`].

use std::any::type_name;
use std::fmt::Write;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::Error;

/// Upper ends of the buckets, in seconds: a look-up by key takes a quarter of a millisecond, a count of everything one.
const BUCKETS: [f64; 13] = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// A query's name: the path below `db` of the function that asks it, taken from the type of its closure. So every query
/// has a name, nobody has to give it one, and it cannot be a wrong one (decision 0021).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(&'static str);

impl Name {
    /// The name of the query that the closure `F` asks.
    pub(super) fn of<F>() -> Self {
        Self(type_name::<F>())
    }

    /// `noun.function`.
    pub(crate) fn parts(self) -> impl Iterator<Item = &'static str> {
        let (_, path) = self.0.split_once("::db::").unwrap_or(("", self.0));
        path.split("::").take_while(|part| !part.starts_with('{'))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, part) in self.parts().enumerate() {
            write!(f, "{}{part}", if number == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        write!(encoder, "{self}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Query {
    query: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    query: Name,
    kind: &'static str,
}

/// What is counted of all queries.
pub(super) struct Timings {
    durations: Family<Query, Histogram>,
    failures: Family<Failure, Counter>,
}

impl Default for Timings {
    fn default() -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        Self { durations, failures: Family::default() }
    }
}

impl Timings {
    /// Times one query until the guard is dropped: answered, failed, or given up.
    pub(super) fn begin(&self, query: Name) -> Asked<'_> {
        Asked { timings: self, query, began: Instant::now() }
    }

    /// Counts one that got no answer, whether it was asked at all or not.
    pub(super) fn failed(&self, query: Name, error: &Error) {
        self.failures.get_or_create(&Failure { query, kind: error.kind() }).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "database_query_duration",
            "Queries by `query` and how long they took until they were answered, or given up; without the wait for a \
             connection",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "database_query_errors",
            "Queries without an answer by `query` and `kind` (`away`, `not_loaded`, `too_slow`, `failed`)",
            self.failures.clone(),
        );
    }
}

/// A query that is being asked.
pub(super) struct Asked<'a> {
    timings: &'a Timings,
    query: Name,
    began: Instant,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let durations = self.timings.durations.get_or_create(&Query { query: self.query });
        durations.observe(self.began.elapsed().as_secs_f64());
    }
}

/// One turn for each connection that there may be: who has one finds a connection in the pool without waiting. So the
/// wait can be seen, and all who wait stand in one queue.
pub(super) struct Turns {
    free: Semaphore,
    waits: Histogram,
    waiting: Gauge<u64, AtomicU64>,
}

impl Turns {
    pub(super) fn new(connections: u32) -> Self {
        let free = Semaphore::new(usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS));
        Self { free, waits: Histogram::new(BUCKETS), waiting: Gauge::default() }
    }

    /// Waits for a turn, until the deadline; it is given back when the permit is dropped.
    pub(super) async fn take(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(turn) = self.free.try_acquire() {
            self.waits.observe(0.0);
            return Ok(turn);
        }
        let began = Instant::now();
        let _waits = Waits::start(&self.waiting);
        let turn = tokio::time::timeout_at(deadline, self.free.acquire()).await;
        self.waits.observe(began.elapsed().as_secs_f64());
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(closed)) => Err(Error::Unavailable(closed.to_string())),
            Err(_) => Err(Error::TooSlow("no connection was free in time".to_owned())),
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "database_connection_wait",
            "How long queries waited until a connection was free",
            Unit::Seconds,
            self.waits.clone(),
        );
        registry.register(
            "database_connections_waiting",
            "Queries that wait until a connection is free",
            self.waiting.clone(),
        );
    }
}

/// Counts somebody who waits, until it is dropped: who gave up does not wait any more.
struct Waits<'a>(&'a Gauge<u64, AtomicU64>);

impl<'a> Waits<'a> {
    fn start(waiting: &'a Gauge<u64, AtomicU64>) -> Self {
        waiting.inc();
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Adds both to the metrics.
pub(super) fn register(timings: &Timings, turns: &Turns, registry: &mut Registry) {
    timings.register(registry);
    turns.register(registry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::time::Duration;

    fn name_of<F>(_: F) -> Name {
        Name::of::<F>()
    }

    #[tokio::test]
    async fn a_query_is_called_like_the_function_that_asks_it() {
        async fn find() -> Name {
            name_of(|| async { 1 })
        }
        // Between the noun and the function stand this test and its module.
        let name = find().await.to_string();
        assert!(name.starts_with("timings.tests.") && !name.contains(['{', ':', ' ']), "{name}");
    }

    #[tokio::test]
    async fn who_waits_for_a_turn_is_counted_and_gets_it_or_an_error() {
        let turns = Turns::new(1);
        let deadline = Instant::now() + Duration::from_millis(50);
        let first = turns.take(deadline).await.unwrap();
        {
            let mut second = pin!(turns.take(deadline));
            assert!(at_once(second.as_mut()).await.is_none());
            assert_eq!(turns.waiting.get(), 1);
            drop(first);
            drop(second.await.unwrap());
        }
        let _held = turns.take(deadline).await.unwrap();
        assert!(matches!(turns.take(deadline).await, Err(Error::TooSlow(_))));
        assert_eq!(turns.waiting.get(), 0);
    }

    /// The future's output, if it has it already.
    async fn at_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::select! { biased; output = future => Some(output), () = std::future::ready(()) => None }
    }
}
