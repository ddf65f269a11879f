//! Metrics in Prometheus' text format: reconciles, and the stacks by condition.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::crd::WebStack;

/// Upper ends of the histogram's buckets, in seconds.
const BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    r#type: String,
    status: String,
    reason: String,
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    durations: Histogram,
    errors: Counter,
    stacks: Gauge<u64, AtomicU64>,
    conditions: Family<ConditionLabels, Gauge<u64, AtomicU64>>,
    leader: Gauge<u64, AtomicU64>,
    memory: Gauge<u64, AtomicU64>,
    store: Mutex<Option<Store<WebStack>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tandem_operator");
        let (durations, errors) = (Histogram::new(BUCKETS), Counter::default());
        let (stacks, conditions) = (Gauge::default(), Family::default());
        let (leader, memory) = (Gauge::default(), Gauge::default());
        registry.register_with_unit(
            "reconcile_duration",
            "Reconciles and how long they took",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("reconcile_errors", "Reconciles that failed", errors.clone());
        registry.register("stacks", "WebStacks that are watched", stacks.clone());
        registry.register("stack_conditions", "WebStacks by condition", conditions.clone());
        registry.register("leader", "1 while this process reconciles", leader.clone());
        registry.register_with_unit(
            "process_resident_memory",
            "Memory that this process holds",
            Unit::Bytes,
            memory.clone(),
        );
        Self { registry, durations, errors, stacks, conditions, leader, memory, store: Mutex::default() }
    }
}

impl Metrics {
    /// Counts one reconcile.
    pub fn reconciled(&self, took: Duration, succeeded: bool) {
        self.durations.observe(took.as_secs_f64());
        if !succeeded {
            self.errors.inc();
        }
    }

    /// From now on this process reconciles, and `store` holds the stacks.
    pub fn watch(&self, store: Store<WebStack>) {
        self.leader.set(1);
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// None that the format can produce.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stacks = store.map(|store| store.state()).unwrap_or_default();
        self.stacks.set(stacks.len() as u64);
        self.conditions.clear();
        for condition in stacks.iter().filter_map(|stack| stack.status.as_ref()).flat_map(|status| &status.conditions) {
            let labels = ConditionLabels {
                r#type: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone(),
            };
            self.conditions.get_or_create(&labels).inc();
        }
        self.memory.set(tandem_environment::limits::resident_memory().unwrap_or_default());
        let mut out = String::new();
        encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
