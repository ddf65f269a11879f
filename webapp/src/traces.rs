//! Traces: one span for each request and one for each of its queries, sent by OTLP. Without
//! `OTEL_EXPORTER_OTLP_ENDPOINT` nothing of this is started; then a request's trace is only named in the log.
//!
//! Spans are made on the thread that serves, which takes some microseconds, and are sent by a thread of their own. A
//! collector that is away costs the spans and a line in the log, never a request.

use std::borrow::Cow;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{ExporterBuildError, Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::TraceConfig;

/// The caller's trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The trace that an answer belongs to, for whoever logs it (W3C trace context, level 2).
pub(crate) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// How long the collector may take for a batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last spans may hold up the end of the process.
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);
/// How often it is said that the collector is away.
const REMIND: Duration = Duration::from_secs(600);
/// Asked for every few seconds by machines: nobody looks at their traces.
const UNTRACED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Makes spans.
pub type Tracer = SdkTracer;

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authorities' certificates cannot be used.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE names a file that holds no usable certificate: {0}")]
    Certificate(String),
    /// The library refuses its configuration: a variable that it reads by itself.
    #[error("traces cannot be sent: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// Encryption, or the thread that sends, cannot be had.
    #[error("traces cannot be sent: {0}")]
    System(String),
}

/// What makes and sends traces, until it is told to finish.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts the thread that sends. `instance` is this replica's name.
    ///
    /// # Errors
    /// See [`Error`]. A collector that is away is none.
    pub fn start(config: &TraceConfig, instance: &str) -> Result<Self, Error> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(HyperClient::new(connector(config.authorities.as_deref())?, EXPORT_TIMEOUT, None))
            .with_endpoint(&config.endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_headers(config.headers.iter().cloned().collect())
            // The next batch is the next try: nothing piles up behind a collector that is away.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let mut resource = vec![
            KeyValue::new("service.name", config.service.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_owned()),
        ];
        resource.extend(config.attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone())));
        let exporter = Exporter::new(exporter).map_err(|error| Error::System(error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .with_sampler(config.sampler.clone())
            .with_resource(Resource::builder_empty().with_attributes(resource).build())
            .build();
        Ok(Self { provider })
    }

    /// What makes the spans.
    pub fn tracer(&self) -> Tracer {
        self.provider.tracer("webapp")
    }

    /// Sends what is left, for half a second at most.
    pub fn finish(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FINISH_TIMEOUT) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

fn connector(authorities: Option<&[u8]>) -> Result<HttpsConnector<HttpConnector>, Error> {
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| Error::Certificate(error.to_string()))?;
                roots.add(certificate).map_err(|error| Error::Certificate(error.to_string()))?;
            }
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::System(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build())
}

/// Sends batches on the processor's own thread, and says now and then when that fails.
#[derive(Debug)]
struct Exporter {
    inner: opentelemetry_otlp::SpanExporter,
    runtime: tokio::runtime::Runtime,
    /// When it was said last that batches are lost; `None` while they are not.
    complained: Mutex<Option<Instant>>,
}

impl Exporter {
    fn new(inner: opentelemetry_otlp::SpanExporter) -> io::Result<Self> {
        // The one blocking thread looks names up.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        Ok(Self { inner, runtime, complained: Mutex::default() })
    }

    fn note(&self, result: &OTelSdkResult) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                if complained.take().is_some() {
                    tracing::info!("traces are sent again");
                }
            }
            Err(error) => {
                if complained.is_none_or(|last| last.elapsed() > REMIND) {
                    tracing::warn!(%error, "traces cannot be sent, they are lost");
                    *complained = Some(Instant::now());
                }
            }
        }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        // Nothing else runs on the processor's thread.
        let result = self.runtime.block_on(self.inner.export(batch));
        self.note(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> Result<(), OTelSdkError> {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The span of one request; it ends when it is dropped.
pub(crate) struct RequestSpan(Context);

impl RequestSpan {
    /// Continues the caller's trace, or begins one. `None` for what nobody wants to see.
    pub(crate) fn begin(tracer: &Tracer, request: &Request, route: Option<&MatchedPath>, id: &str) -> Option<Self> {
        let route = route.map(MatchedPath::as_str);
        if route.is_some_and(|route| UNTRACED.contains(&route)) {
            return None;
        }
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(request.headers()));
        let method = request.method().as_str();
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("url.path", request.uri().path().to_owned()),
            KeyValue::new("http.request.header.x-request-id", id.to_owned()),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        attributes.extend(request.uri().query().map(|query| KeyValue::new("url.query", query.to_owned())));
        let span = tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
        Some(Self(parent.with_span(span.start_with_context(tracer, &parent))))
    }

    /// For the work that is done for this request.
    pub(crate) fn context(&self) -> Context {
        self.0.clone()
    }

    /// The trace's id, 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> String {
        self.0.span().span_context().trace_id().to_string()
    }

    /// The value of [`TRACERESPONSE`].
    pub(crate) fn response(&self) -> Option<HeaderValue> {
        let span = self.0.span();
        let context = span.span_context();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
        HeaderValue::try_from(format!("00-{trace}-{span}-{:02x}", flags.to_u8())).ok()
    }

    /// Notes the answer. What the client did wrong is no error of the server's.
    pub(crate) fn answered(&self, status: StatusCode) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
    }
}

/// The span of one query; it ends when it is dropped.
pub(crate) struct QuerySpan(opentelemetry_sdk::trace::Span);

impl QuerySpan {
    /// Begins one, where the query is asked for a request that is traced.
    pub(crate) fn begin(tracer: &Tracer, name: impl ToString, database: &str) -> Option<Self> {
        let parent = Context::current();
        if !parent.span().is_recording() {
            return None;
        }
        let name = name.to_string();
        let attributes = [
            KeyValue::new("db.system.name", "mysql"),
            KeyValue::new("db.namespace", database.to_owned()),
            KeyValue::new("db.query.summary", name.clone()),
        ];
        let span = tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes);
        Some(Self(span.start_with_context(tracer, &parent)))
    }

    /// Notes that there was no answer, and the kind of reason.
    pub(crate) fn failed(&mut self, kind: &'static str) {
        self.0.set_attribute(KeyValue::new("error.type", kind));
        self.0.set_status(Status::error(kind));
    }
}

/// The id of the caller's trace, for the log of a program that makes no traces: 32 lower-case hexadecimal digits that
/// are not all zero (W3C trace context).
pub(crate) fn callers_trace(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let id = headers.get(TRACEPARENT)?.to_str().ok()?.split('-').nth(1)?;
    let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let good = id.len() == 32 && id.bytes().all(hexadecimal) && id.bytes().any(|byte| byte != b'0');
    good.then_some(Cow::Borrowed(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("0af7651916cd43dd8448eb211c80319c"))]
    #[case("00-00000000000000000000000000000000-b7ad6b7169203331-01", None)]
    #[case("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None)]
    #[case("00-0af7-b7ad6b7169203331-01", None)]
    #[case("<script>", None)]
    fn the_callers_trace_is_named_if_it_is_one(#[case] traceparent: &str, #[case] id: Option<&str>) {
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(traceparent).unwrap())]);
        assert_eq!(callers_trace(&headers).as_deref(), id);
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        let error = connector(Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).err().unwrap();
        assert!(error.to_string().starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE names a file"), "{error}");
    }
}
