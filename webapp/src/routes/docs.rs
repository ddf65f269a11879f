//! What the program says about its API: the OpenAPI document, and the page on which it can be tried out. The page is
//! Swagger UI, whose files are part of the program.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use utoipa_swagger_ui::SwaggerFile;

use super::{NoParameters, html};
use crate::error::Error;
use crate::openapi;
use crate::views;

/// Swagger UI's style sheet has its icons inside, as `data:` addresses. Apart from that the policy is every page's.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; \
                      img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// `/api/openapi.json`: the OpenAPI document.
pub(crate) async fn openapi(_: NoParameters) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text()).into_response()
}

/// `/api/docs`: the page.
pub(crate) async fn page(_: NoParameters) -> Result<Response, Error> {
    Ok(([(header::CONTENT_SECURITY_POLICY, POLICY)], html(&views::ApiDocs)?).into_response())
}

/// `/api/docs/{file}`: what the page consists of.
pub(crate) async fn file(path: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Error> {
    match path.map(|Path(name)| name).unwrap_or_default().as_str() {
        "docs.css" => Ok(plain("text/css; charset=utf-8", include_str!("../../assets/docs.css"))),
        "docs.js" => Ok(plain("text/javascript; charset=utf-8", include_str!("../../assets/docs.js"))),
        name @ "swagger-ui.css" => swagger("text/css; charset=utf-8", name, &headers),
        name @ "swagger-ui-bundle.js" => swagger("text/javascript; charset=utf-8", name, &headers),
        _ => Err(Error::NotFound("There is no such file".to_owned())),
    }
}

fn plain(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], content).into_response()
}

/// A file of Swagger UI. The program holds it compressed, and sends it like that to everybody who takes gzip.
fn swagger(kind: &'static str, name: &str, request: &HeaderMap) -> Result<Response, Error> {
    let file = match utoipa_swagger_ui::serve(name, Arc::default()) {
        Ok(Some(SwaggerFile { bytes: Cow::Borrowed(bytes), gzpipped: true, .. })) => bytes,
        _ => {
            tracing::error!(name, "a file of Swagger UI is not there");
            return Err(Error::Internal);
        }
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::VARY, "accept-encoding")];
    if takes_gzip(request) {
        return Ok((headers, [(header::CONTENT_ENCODING, "gzip")], Bytes::from_static(file)).into_response());
    }
    let mut content = Vec::new();
    match GzDecoder::new(file).read_to_end(&mut content) {
        Ok(_) => Ok((headers, content).into_response()),
        Err(error) => {
            tracing::error!(name, %error, "a file of Swagger UI cannot be read");
            Err(Error::Internal)
        }
    }
}

/// Whether `Accept-Encoding` names gzip, and not to refuse it.
fn takes_gzip(request: &HeaderMap) -> bool {
    let named = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("gzip", true)]
    #[case("br, GZIP;q=0.5", true)]
    #[case("gzip;q=0", false)]
    #[case("gzip; q=0.0, br", false)]
    #[case("br, x-gzip-not", false)]
    #[case("", false)]
    fn gzip_is_sent_to_who_takes_it(#[case] accepted: &str, #[case] takes: bool) {
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, accepted.parse().unwrap())]);
        assert_eq!(takes_gzip(&headers), takes);
    }

    #[tokio::test]
    async fn the_page_names_only_files_that_are_there() {
        let page = views::render(&views::ApiDocs).unwrap();
        let named: Vec<_> = page.split('"').filter_map(|text| text.strip_prefix("/api/docs/")).collect();
        assert_eq!(named.len(), 4);
        for name in named {
            let path = Ok(Path(name.to_owned()));
            let response = file(path, HeaderMap::new()).await;
            assert!(response.is_ok(), "{name}");
        }
    }
}
