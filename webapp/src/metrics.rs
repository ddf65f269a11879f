//! Metrics in Prometheus' text format: requests with their times, the pool, the process's memory.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::db::Database;

/// Upper ends of the histogram's buckets, in seconds: fine where pages should be, coarse up to the time limits.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The labels of a request: its route's template, never its path, so that there are few of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: String,
    method: &'static str,
    status: u16,
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Histogram>,
    open: Gauge<u64, AtomicU64>,
    idle: Gauge<u64, AtomicU64>,
    in_use: Gauge<u64, AtomicU64>,
    memory: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let (open, idle, in_use, memory) = (Gauge::default(), Gauge::default(), Gauge::default(), Gauge::default());
        registry.register_with_unit(
            "http_request_duration",
            "Requests answered, by route, method and status, and how long they took",
            Unit::Seconds,
            requests.clone(),
        );
        registry.register("database_connections", "Connections in the pool", open.clone());
        registry.register("database_connections_idle", "Connections in the pool that nobody uses", idle.clone());
        registry.register("database_connections_in_use", "Connections in the pool that a query uses", in_use.clone());
        registry.register_with_unit(
            "process_resident_memory",
            "Memory that this process holds",
            Unit::Bytes,
            memory.clone(),
        );
        Self { registry, requests, open, idle, in_use, memory }
    }
}

impl Metrics {
    /// Counts one answered request. The histogram's own count is the number of requests.
    pub fn request(&self, route: Option<&str>, method: &axum::http::Method, status: u16, took: Duration) {
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            "PATCH" => "PATCH",
            "OPTIONS" => "OPTIONS",
            // Methods are free text: one label for all others.
            _ => "other",
        };
        let labels = Labels { route: route.unwrap_or("unmatched").to_owned(), method, status };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Everything in Prometheus' text format.
    pub fn encode(&self, db: &Database) -> Result<String, std::fmt::Error> {
        let (open, idle) = db.connections();
        // The two are read one after the other, and a connection may have come back in between.
        let idle = (idle as u64).min(u64::from(open));
        self.open.set(u64::from(open));
        self.idle.set(idle);
        self.in_use.set(u64::from(open) - idle);
        self.memory.set(tandem_environment::limits::resident_memory().unwrap_or_default());
        let mut out = String::new();
        encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
