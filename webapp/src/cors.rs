//! Which pages of other origins may read the API in a browser (CORS). By default none: browsers refuse by themselves
//! what no answer allows.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use tandem_environment::variable::host;
use tower::{Layer, ServiceExt};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::App;
use crate::envelope::{REQUEST_ID, SERVED_BY, is_api};

/// How long a browser may remember what it was allowed.
const REMEMBER: Duration = Duration::from_secs(3600);

/// The origins that may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every page of the world.
    Any,
    /// These, as browsers spell them.
    Listed(Vec<HeaderValue>),
}

impl Origins {
    /// Reads `*` or a list of origins with commas between them.
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        text.split(',').map(|origin| self::origin(origin.trim())).collect::<Option<_>>().map(Self::Listed)
    }

    /// What lets them read. Nothing here knows who asks, so no credentials are allowed.
    pub(crate) fn layer(&self) -> CorsLayer {
        let origins = match self {
            Self::Any => AllowOrigin::any(),
            Self::Listed(origins) => AllowOrigin::list(origins.iter().cloned()),
        };
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::HEAD])
            .allow_headers([header::IF_NONE_MATCH, REQUEST_ID])
            .expose_headers([header::ETAG, header::RETRY_AFTER, REQUEST_ID, SERVED_BY])
            .max_age(REMEMBER)
    }
}

/// The middleware around everything that makes an answer, or gives it up: below `/api` the origins may read whatever
/// comes of it, since a script has to see why it gets nothing. It answers what browsers ask before a request, an
/// OPTIONS.
pub(crate) async fn readable(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match &app.cors_origins {
        Some(origins) if is_api(request.uri()) => {
            let Ok(response) = origins.layer().layer(next).oneshot(request).await;
            response
        }
        _ => next.run(request).await,
    }
}

/// `scheme://host` or `scheme://host:port` in the one spelling that browsers send, since it is compared as text: no
/// path, nothing in capitals, no port that the scheme has anyway.
fn origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let spelled = format!("{scheme}://{authority}") == text && text == text.to_ascii_lowercase();
    let plain = !authority.as_str().contains('@') && !authority.as_str().ends_with(':');
    let named = host(authority.host().trim_start_matches('[').trim_end_matches(']')).is_some();
    let good = spelled && plain && named && authority.port_u16() != Some(usual);
    if good { HeaderValue::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://example.org")]
    #[case("http://localhost:3000")]
    #[case("https://a.example, https://b.example:8443")]
    #[case("http://[::1]:3000")]
    fn origins_are_listed_with_commas(#[case] text: &str) {
        let listed = text.split(", ").map(|origin| HeaderValue::from_str(origin).unwrap()).collect();
        assert_eq!(Origins::parse(text), Some(Origins::Listed(listed)));
    }

    #[rstest]
    #[case("example.org")]
    #[case("https://example.org/")]
    #[case("https://Example.org")]
    #[case("https://example.org:443")]
    #[case("https://example.org:")]
    #[case("https://me@example.org")]
    #[case("ftp://example.org")]
    #[case("https://example.org,")]
    #[case("https://example.org https://example.com")]
    #[case("https://*.example.org")]
    #[case("*, https://example.org")]
    #[case("null")]
    fn what_no_browser_sends_as_an_origin_is_refused(#[case] text: &str) {
        assert_eq!(Origins::parse(text), None);
    }

    #[test]
    fn a_star_is_everybody() {
        assert_eq!(Origins::parse("*"), Some(Origins::Any));
    }
}
