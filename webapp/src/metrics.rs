//! Metrics in Prometheus' text format: requests with their times, queries and the pool, the kept figures, the process.
//! docs/observability.md lists them; a test compares.

mod process;

use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::MatchedPath;
use axum::http::Method;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::catalog::Cache;
use crate::db::Database;
use process::ProcessCollector;

/// Upper ends of the histogram's buckets, in seconds: fine where pages should be, coarse up to the time limits.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The labels of a request: its route's template, never its path, so that there are few of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: Route,
    method: &'static str,
    status: u16,
}

/// A route's template, without a copy of it.
#[derive(Clone, Debug)]
struct Route(Option<MatchedPath>);

impl Route {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("unmatched", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Histogram>,
    in_flight: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// The metrics of an application that has this database and keeps these figures.
    pub fn new(db: Arc<Database>, cache: Arc<Cache>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let in_flight = Gauge::default();
        registry.register("webapp_build", "The program's version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_with_unit(
            "http_request_duration",
            "Requests by `route`, `method` and `status`, and how long their answers took to begin",
            Unit::Seconds,
            requests.clone(),
        );
        registry.register("http_requests_in_flight", "Requests whose answers are not complete", in_flight.clone());
        db.register(&mut registry);
        registry.register_collector(Box::new(Known { db, cache }));
        registry.register_collector(Box::new(ProcessCollector));
        Self { registry, requests, in_flight }
    }

    /// A request has come.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts one answered request. The histogram's own count is the number of requests.
    pub(crate) fn request(&self, route: Option<MatchedPath>, method: &Method, status: u16, took: Duration) {
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
        let labels = Labels { route: Route(route), method, status };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// None that the format can produce.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// A request, until its answer is complete, or its client gone.
pub(crate) struct InFlight(Gauge<u64, AtomicU64>);

impl InFlight {
    /// Stays with an answer that is still being made. A body of known size is complete already.
    pub(crate) fn until_sent(self, body: Body) -> Body {
        if body.size_hint().exact().is_some() { body } else { Body::new(Counted { body, _in_flight: self }) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Counted {
    body: Body,
    _in_flight: InFlight,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// What others know, read at each scrape.
struct Known {
    db: Arc<Database>,
    cache: Arc<Cache>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Collector for Known {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        let (open, idle) = self.db.connections();
        let open = f64::from(open);
        // The two are read one after the other, and a connection may have come back in between.
        let idle = (idle as f64).min(open);
        gauge("database_connections", "Connections in the pool", None, open)?;
        gauge("database_connections_idle", "Connections in the pool that nobody uses", None, idle)?;
        gauge("database_connections_in_use", "Connections in the pool that a query uses", None, open - idle)?;
        gauge("database_connections_max", "The most connections at once", None, f64::from(self.db.pool_size()))?;
        gauge("database_up", "Whether the database answers", None, f64::from(u8::from(self.db.answers())))?;
        let counted =
            self.cache.last_known().map_or(f64::NAN, |catalog| catalog.counted_at.timestamp_millis() as f64 / 1e3);
        gauge(
            "catalog_counted_timestamp",
            "When the kept figures were counted, since 1970",
            Some(&Unit::Seconds),
            counted,
        )
    }
}
