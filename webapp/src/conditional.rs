//! Conditional requests (RFC 9110, section 13): an answer gets an `ETag`, and a client that names the tag of the answer
//! that it has kept gets 304 instead of the same answer again.
//!
//! The tag is a hash of the content before it is compressed, and weak, as one that stands for the compressed forms too
//! has to be. What it saves is the way to the client, not the work: only the answer tells whether it is another one.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;

/// The middleware around everything that is read: 200 gets a tag, unless it is a stream, which has no end to wait for,
/// or nothing that a client may keep.
pub(crate) async fn conditional(request: Request, next: Next) -> Result<Response, Error> {
    let reads = request.method() == Method::GET;
    let mut known = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect::<Vec<_>>();
    let response = next.run(request).await;
    let streams = response.body().size_hint().exact().is_none();
    if !reads || streams || response.status() != StatusCode::OK || is_not_kept(response.headers()) {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let content = to_bytes(body, usize::MAX).await.map_err(|error| {
        tracing::error!(%error, "an answer could not be read");
        Error::Internal
    })?;
    let tag = format!("\"{:016x}\"", xxh3_64(&content));
    known.retain(|list| names(list, &tag));
    if let Ok(value) = HeaderValue::try_from(format!("W/{tag}")) {
        parts.headers.insert(header::ETAG, value);
    }
    if known.is_empty() {
        return Ok(Response::from_parts(parts, content.into()));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    // They describe a content that is not sent.
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::empty()))
}

fn is_not_kept(headers: &HeaderMap) -> bool {
    headers.get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store")
}

/// Whether an `If-None-Match` names `tag`, an opaque tag with its quotation marks; weak and strong ones count alike.
fn names(list: &HeaderValue, tag: &str) -> bool {
    list.as_bytes().trim_ascii() == b"*"
        || list.as_bytes().split(|&byte| byte == b',').any(|named| {
            let named = named.trim_ascii();
            named.strip_prefix(b"W/").unwrap_or(named) == tag.as_bytes()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(r#""a1""#, true)]
    #[case(r#"W/"a1""#, true)]
    #[case(r#""b2", W/"a1" ,"c3""#, true)]
    #[case(" * ", true)]
    #[case(r#""a11""#, false)]
    #[case("a1", false)]
    #[case(r#"w/"a1""#, false)]
    #[case(r#""*""#, false)]
    #[case("", false)]
    fn tags_are_compared_weakly(#[case] list: &str, #[case] named: bool) {
        assert_eq!(names(&HeaderValue::from_str(list).unwrap(), r#""a1""#), named);
    }
}
