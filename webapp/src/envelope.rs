//! What every request passes on its way in and every answer on its way out: the request's id, the log's span, the
//! metrics, the errors' bodies and the headers that every answer has.

use std::any::Any;
use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use opentelemetry::trace::FutureExt;
use tokio::time::timeout;
use tracing::Instrument;

use crate::app::App;
use crate::error::Error;
use crate::traces::{self, RequestSpan, TRACERESPONSE};

/// The request's id: taken from the request, made where there is none, and sent back.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Which replica answered.
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
/// What a browser may do with any answer, whatever gets into it, unless its handler says something else.
const SECURITY: [(HeaderName, HeaderValue); 6] = [
    // Nothing but our own files, and nothing that stands in the page itself. No other site may show it in a frame.
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    // The content is what its type says.
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // What somebody looked for here is nobody else's business.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    // No page of ours asks for any of it.
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=(), fullscreen=()",
        ),
    ),
    // Windows of other sites get no hold of ours, and their pages cannot embed what we send.
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// The middleware around the whole router.
pub(crate) async fn envelope(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let in_flight = app.metrics.begin();
    let id = request.headers().get(REQUEST_ID).filter(|id| sane(id)).cloned().unwrap_or_else(new_id);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let api = is_api(request.uri());

    let request_id = id.to_str().unwrap_or_default();
    let uri = app.access_log.then(|| request.uri().clone());
    let traced =
        app.tracer.as_ref().and_then(|tracer| RequestSpan::begin(tracer, &request, route.as_ref(), request_id));
    let trace_id = match &traced {
        Some(span) => Some(Cow::Owned(span.trace_id())),
        None => traces::callers_trace(request.headers()),
    };
    let span = tracing::error_span!(
        "request",
        request_id,
        trace_id = trace_id.as_deref(),
        route = route.as_ref().map(MatchedPath::as_str)
    );
    // HEAD is answered as GET, so that its header is the same, down to the tag and the length.
    let head = method == Method::HEAD;
    if head {
        *request.method_mut() = Method::GET;
    }
    let answer = next.run(request).instrument(span.clone());
    let mut response = match &traced {
        Some(traced) => answer.with_context(traced.context()).await,
        None => answer.await,
    };
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        let written =
            if api { error.problem(request_id) } else { error.page(app.site(app.cache.last_known().as_deref())) };
        let (parts, body) = written.into_parts();
        *response.body_mut() = body;
        response.headers_mut().extend(parts.headers);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let headers = response.headers_mut();
    // Pages may be kept, but are asked for again each time.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(value);
    }
    headers.insert(REQUEST_ID, id);
    // The configuration allows printable ASCII only, which a header can hold.
    if let Ok(name) = HeaderValue::from_str(&app.served_by) {
        headers.insert(SERVED_BY, name);
    }
    if head {
        response = without_body(response);
    }
    if let Some(traced) = traced {
        traced.answered(response.status());
        if let Some(value) = traced.response() {
            response.headers_mut().insert(TRACERESPONSE, value);
        }
    }
    let (status, took) = (response.status().as_u16(), started.elapsed());
    if let Some(uri) = uri {
        span.in_scope(
            || tracing::info!(target: "access", %method, %uri, status, seconds = took.as_secs_f64(), "request"),
        );
    }
    app.metrics.request(route, &method, status, took);
    response.map(|body| in_flight.until_sent(body))
}

/// Whether an address is one of the API's.
pub(crate) fn is_api(address: &Uri) -> bool {
    let path = address.path();
    path == "/api" || path.starts_with("/api/")
}

/// The middleware that lets nobody wait for ever, and says what the layers inside of it do not say in words.
pub(crate) async fn bounded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    // Each query has its limit, but a visitor waits for all of them, and so does who else wants a connection.
    let Ok(response) = timeout(app.db.answer_timeout(), next.run(request)).await else {
        tracing::warn!("answer given up");
        return Error::Unavailable("The answer took too long to make. Please try again in a moment.").into_response();
    };
    // The compression says this in the status alone: all the rest is of the answer that was not acceptable.
    if response.status() == StatusCode::NOT_ACCEPTABLE { Error::NotAcceptable.into_response() } else { response }
}

/// What a panic in a handler becomes. The standard error has its place in the code, the log its request.
pub(crate) fn caught(panic: Box<dyn Any + Send>) -> Response {
    let said =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(panic = said.unwrap_or_default(), "a handler panicked");
    Error::Internal.into_response()
}

/// The answer to HEAD, made of the one to GET. A stream stays, for axum to drop: it would say of an empty body that the
/// content has no bytes, and nobody knows how many a stream has.
fn without_body(mut response: Response) -> Response {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        *response.body_mut() = Body::empty();
    }
    response
}

/// Whether an id from outside can stand in a log line and in a header: the same rule as nginx's in the web image, so
/// that one request has one id in all logs.
fn sane(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(b))
}

/// 32 hexadecimal digits that nobody else has: the standard library's hash of a counter, with keys that are random in
/// each process. An id needs to be unique, not secret.
fn new_id() -> HeaderValue {
    static KEYS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let half = |keys: &RandomState| {
        let mut hasher = keys.build_hasher();
        hasher.write_u64(count);
        hasher.finish()
    };
    let id = format!("{:016x}{:016x}", half(&KEYS.0), half(&KEYS.1));
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0a1b-2c.d_E:f", true)]
    #[case(&"a".repeat(128), true)]
    #[case(&"a".repeat(129), false)]
    #[case("", false)]
    #[case("a b", false)]
    #[case("<script>", false)]
    #[case("a\"b", false)]
    fn ids_from_outside_are_taken_if_they_are_plain(#[case] id: &str, #[case] good: bool) {
        assert_eq!(sane(&HeaderValue::from_str(id).unwrap()), good);
    }

    #[test]
    fn new_ids_are_sane_and_differ() {
        let (one, other) = (new_id(), new_id());
        assert!(sane(&one) && sane(&other) && one != other);
    }
}
