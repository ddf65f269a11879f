//! Conditional requests (RFC 9110, section 13): an answer gets an `ETag`, and a client that names the tag of the answer
//! that it has kept gets 304 instead of the same answer again.
//!
//! The tag is a hash of the content before it is compressed, and weak, as one that stands for the compressed forms too
//! has to be. What it saves is the way to the client, not the work: only the answer tells whether it is another one.
//! Which replica made it does not make it another one, or a client of several would seldom be told so (decision 0039).

use std::borrow::Cow;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;

/// What stands between these in a page does not make it another one: who made it, and when it was counted. What is read
/// from the database never looks like them.
pub(crate) const IN_PAGES: [(&str, &str); 2] =
    [("<dt>Served by</dt><dd>", "</dd>"), ("<p class=\"note\">Counted on ", "</p>")];

/// The same for JSON.
pub(crate) const IN_JSON: [(&str, &str); 2] = [("\"served_by\":\"", "\""), ("\"counted_at\":\"", "\"")];

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
    let tag = tag(&parts.headers, &content);
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

/// The opaque tag of a content, with its quotation marks.
fn tag(headers: &HeaderMap, content: &[u8]) -> String {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let passing: &[_] = if kind.starts_with(b"text/html") {
        &IN_PAGES
    } else if kind == b"application/json" {
        &IN_JSON
    } else {
        &[]
    };
    format!("\"{:016x}\"", xxh3_64(&without(content, passing)))
}

/// A text without what stands between these, each of which it has once or not at all.
pub(crate) fn without<'a>(content: &'a [u8], passing: &[(&str, &str)]) -> Cow<'a, [u8]> {
    let mut content = Cow::Borrowed(content);
    for (before, after) in passing {
        let Ok(text) = str::from_utf8(&content) else { break };
        // Most of them are at its end.
        let Some((head, tail)) = text.rsplit_once(before) else { continue };
        let Some(end) = tail.find(after) else { continue };
        let from = head.len() + before.len();
        content.to_mut().drain(from..from + end);
    }
    content
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

    fn tagged(kind: &str, content: &str) -> String {
        tag(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]), content.as_bytes())
    }

    #[rstest]
    #[case("text/html; charset=utf-8", "<dt>Served by</dt><dd>a</dd>b", "<dt>Served by</dt><dd>other</dd>b", true)]
    #[case("text/html; charset=utf-8", "<dt>Served by</dt><dd>a</dd>b", "<dt>Served by</dt><dd>a</dd>c", false)]
    #[case(
        "text/html; charset=utf-8",
        "<p class=\"note\">Counted on 1</p>",
        "<p class=\"note\">Counted on 2</p>",
        true
    )]
    #[case("text/html; charset=utf-8", r#""served_by":"a""#, r#""served_by":"b""#, false)]
    #[case("application/json", r#"{"counted_at":"1","served_by":"a"}"#, r#"{"counted_at":"23","served_by":""}"#, true)]
    #[case("application/json", r#"{"counted_at":"1","served_by":"a"}"#, r#"{"counted_at":"1","served_by":"a""#, false)]
    #[case("application/json", r#"["\"served_by\":\"a\""]"#, r#"["\"served_by\":\"b\""]"#, false)]
    #[case("text/csv", r#""served_by":"a""#, r#""served_by":"b""#, false)]
    fn who_made_it_makes_no_other_content(
        #[case] kind: &str,
        #[case] one: &str,
        #[case] other: &str,
        #[case] same: bool,
    ) {
        assert_eq!(tagged(kind, one) == tagged(kind, other), same);
    }

    #[test]
    fn what_is_no_text_has_a_tag_too() {
        assert_eq!(without(b"\xff<dt>", &IN_PAGES), b"\xff<dt>".as_slice());
    }

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
