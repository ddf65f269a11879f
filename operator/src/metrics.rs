//! Metrics in Prometheus' text format: reconciles, the stacks by condition, and the members of groups.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabels {
    namespace: String,
    pod: String,
    state: String,
    role: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PodLabels {
    namespace: String,
    pod: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StackLabels {
    namespace: String,
    stack: String,
}

/// What is told of groups, from the status of their stacks.
#[derive(Default)]
struct Groups {
    members: Family<MemberLabels, Gauge<u64, AtomicU64>>,
    lagging: Family<PodLabels, Gauge<u64, AtomicU64>>,
    lag: Family<PodLabels, Gauge<i64>>,
    gap: Family<PodLabels, Gauge<i64>>,
    used: Family<PodLabels, Gauge<f64, AtomicU64>>,
    failover: Family<StackLabels, Gauge<f64, AtomicU64>>,
    failover_time: Family<StackLabels, Gauge<f64, AtomicU64>>,
}

impl Groups {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "group_member",
            "1 for each member of a group, with its state and role",
            self.members.clone(),
        );
        registry.register(
            "group_member_lagging",
            "1 while a member is too far behind to be read from",
            self.lagging.clone(),
        );
        registry.register_with_unit(
            "group_member_lag",
            "How long ago the transaction was committed that a member applies",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register(
            "group_member_gtid_gap",
            "How many of the primary's transactions a member has not applied",
            self.gap.clone(),
        );
        registry.register_with_unit(
            "group_member_volume_used",
            "How much of its volume a member uses",
            Unit::Ratios,
            self.used.clone(),
        );
        registry.register_with_unit(
            "group_last_failover_duration",
            "From when one primary was last seen to when the next one was, the last time",
            Unit::Seconds,
            self.failover.clone(),
        );
        registry.register_with_unit(
            "group_last_failover_timestamp",
            "When another member became the primary last, since 1970",
            Unit::Seconds,
            self.failover_time.clone(),
        );
    }

    fn clear(&self) {
        self.members.clear();
        self.lagging.clear();
        self.lag.clear();
        self.gap.clear();
        self.used.clear();
        self.failover.clear();
        self.failover_time.clear();
    }

    fn tell(&self, stack: &WebStack) {
        let Some(mysql) = stack.status.as_ref().and_then(|status| status.mysql.as_ref()) else { return };
        let namespace = stack.namespace().unwrap_or_default();
        for member in &mysql.members {
            let role = member.role.clone().unwrap_or_default();
            let pod = PodLabels { namespace: namespace.clone(), pod: member.name.clone() };
            let state = MemberLabels {
                namespace: namespace.clone(),
                pod: member.name.clone(),
                state: member.state.clone(),
                role,
            };
            self.members.get_or_create(&state).set(1);
            self.lagging.get_or_create(&pod).set(u64::from(member.lags));
            if let Some(seconds) = member.lag_seconds {
                self.lag.get_or_create(&pod).set(seconds);
            }
            if let Some(transactions) = member.gtid_gap {
                self.gap.get_or_create(&pod).set(transactions);
            }
            if let Some(used) = member.used {
                self.used.get_or_create(&pod).set(f64::from(used) / 100.0);
            }
        }
        if let Some(failover) = &mysql.last_failover {
            let labels = StackLabels { namespace, stack: stack.name_any() };
            self.failover.get_or_create(&labels).set(failover.seconds());
            if let Ok(time) = failover.time.parse::<Timestamp>() {
                self.failover_time.get_or_create(&labels).set(time.as_duration().as_secs_f64());
            }
        }
    }
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    durations: Histogram,
    errors: Counter,
    stacks: Gauge<u64, AtomicU64>,
    conditions: Family<ConditionLabels, Gauge<u64, AtomicU64>>,
    groups: Groups,
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
        let groups = Groups::default();
        groups.register(&mut registry);
        registry.register("leader", "1 while this process reconciles", leader.clone());
        registry.register_with_unit(
            "process_resident_memory",
            "Memory that this process holds",
            Unit::Bytes,
            memory.clone(),
        );
        Self { registry, durations, errors, stacks, conditions, groups, leader, memory, store: Mutex::default() }
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

    /// From now on it does not.
    pub fn rest(&self) {
        self.leader.set(0);
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// None that the format can produce.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        // Until all is written: who asks at the same time would count the same stacks once more.
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let stacks = store.as_ref().map(Store::state).unwrap_or_default();
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
        self.groups.clear();
        stacks.iter().for_each(|stack| self.groups.tell(stack));
        self.memory.set(tandem_environment::limits::resident_memory().unwrap_or_default());
        let mut out = String::new();
        encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
