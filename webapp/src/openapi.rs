//! The description of the API as an OpenAPI 3.1 document: what the handlers below `/api/v1` say about themselves
//! (`#[utoipa::path]`), and here what holds for all of them, so that no handler has to repeat it.
//!
//! `webapp openapi` prints it, `/api/openapi.json` serves it, and `docs/openapi.json` is the copy to look at.

mod parameters;

use std::sync::LazyLock;

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response,
};
use utoipa::{PartialSchema, ToSchema};

use crate::error::Problem;
use crate::router;

/// What the reader has to know before the first request.
const DESCRIPTION: &str = "\
The employees data set as JSON: who worked where, when, as what and for how much. Everything can be read, and nothing be \
written.

A parameter that is not known, is given twice or has a value that cannot mean anything is refused with 400, in a sentence \
that names it. Errors are problem details (RFC 9457). Every answer has an `X-Request-Id`, which is also in the logs.

The server in front of the API has problem details of its own, for any operation: 413, 414 and 431 for a body, an address \
or a header that is too large, and 502 and 504, with `Retry-After`, where the API does not answer it.

Answers have an `ETag`, except for files: send it back in `If-None-Match`, and an answer that is still the same comes without its body, with \
304. They are compressed with zstd, brotli or gzip where `Accept-Encoding` allows it.";

/// What operations are about, in the order in which a reader meets them.
const TAGS: [(&str, &str); 4] = [
    ("overview", "The data set as a whole"),
    ("employees", "People, and what they have done"),
    ("departments", "Where they work"),
    ("statistics", "What becomes of them all, over the years and today"),
];

/// The document without any route.
pub(crate) fn introduction() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Tandem employees")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()));
    let tags = TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    OpenApiBuilder::new().info(info.build()).tags(Some(tags)).build()
}

/// The whole document.
pub fn document() -> OpenApi {
    complete(router::api().into_openapi())
}

/// The whole document as text, made once.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| document().to_pretty_json().map(|text| text + "\n").unwrap_or_default());
    &TEXT
}

/// Adds what all operations share to those that are described in `api`.
fn complete(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_with(Components::new);
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    for shared in HEADERS {
        components.headers.insert(shared.name.to_owned(), shared.header().into());
    }
    for shared in RESPONSES {
        components.responses.insert(shared.name.to_owned(), shared.response().into());
    }
    components.parameters.insert("IfNoneMatch".to_owned(), if_none_match().into());
    for (path, item) in &mut api.paths.paths {
        let PathItem { get: Some(operation), .. } = item else { continue };
        // A file is written while it is read: nobody knows its version beforehand.
        let file = path.contains('.');
        if !file {
            operation.parameters.get_or_insert_default().push(RefOr::Ref(reference("parameters", "IfNoneMatch")));
        }
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response {
                if response.description.is_empty() {
                    response.description = "What was asked for.".to_owned();
                }
                add_headers(response, HEADERS.iter().filter(|header| header.on_errors || !file));
            }
        }
        let fits = |shared: &&SharedResponse| match shared.status {
            "304" => !file,
            "404" => path.contains('{'),
            _ => true,
        };
        for shared in RESPONSES.iter().filter(fits) {
            let response = reference("responses", shared.name).into();
            operation.responses.responses.insert(shared.status.to_owned(), response);
        }
    }
    api
}

/// A header that answers have.
struct SharedHeader {
    name: &'static str,
    description: &'static str,
    pattern: Option<&'static str>,
    on_errors: bool,
}

const HEADERS: &[SharedHeader] = &[
    SharedHeader {
        name: "X-Request-Id",
        description: "The request's id: the one that was sent with it where that is 1 to 128 letters, digits, `.`, `_`, \
                      `:` or `-`, else a new one.",
        pattern: Some("^[A-Za-z0-9._:-]{1,128}$"),
        on_errors: true,
    },
    SharedHeader { name: "X-Served-By", description: "The replica that answered.", pattern: None, on_errors: true },
    SharedHeader {
        name: "Cache-Control",
        description: "How long the answer may be kept.",
        pattern: None,
        on_errors: true,
    },
    SharedHeader {
        name: "ETag",
        description: "The answer's version, for `If-None-Match`. Who made it (`served_by`) and when it was counted \
                      (`counted_at`) make no other version.",
        pattern: Some("^(W/)?\"[!-~]*\"$"),
        on_errors: false,
    },
];

impl SharedHeader {
    fn header(&self) -> Header {
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(self.pattern);
        HeaderBuilder::new().schema(Some(schema)).description(Some(self.description)).build()
    }
}

/// An answer that any operation may give.
struct SharedResponse {
    status: &'static str,
    name: &'static str,
    description: &'static str,
}

const RESPONSES: &[SharedResponse] = &[
    SharedResponse {
        status: "304",
        name: "NotModified",
        description: "The answer is still the one that `If-None-Match` names.",
    },
    SharedResponse {
        status: "400",
        name: "BadRequest",
        description: "A parameter is not known, is given twice, or has a value that is not allowed.",
    },
    SharedResponse { status: "404", name: "NotFound", description: "There is nothing of that number." },
    SharedResponse {
        status: "406",
        name: "NotAcceptable",
        description: "`Accept-Encoding` refuses every encoding that there is, and the plain content as well.",
    },
    SharedResponse {
        status: "429",
        name: "TooManyRequests",
        description: "These are more requests than one client may make, where the server in front of the API has a limit \
                      for that. `Retry-After` says when to try again.",
    },
    SharedResponse {
        status: "500",
        name: "InternalError",
        description: "A mistake of the server. It has been logged under the request's id.",
    },
    SharedResponse {
        status: "503",
        name: "Unavailable",
        description: "The database does not answer, or not in time, or as many exports as may be are under way. \
                      `Retry-After` says when to try again.",
    },
];

impl SharedResponse {
    fn response(&self) -> Response {
        let mut response = Response::new(self.description);
        if self.status == "304" {
            add_headers(&mut response, HEADERS.iter());
            return response;
        }
        let problem = ContentBuilder::new().schema(Some(reference("schemas", "Problem"))).build();
        response.content.insert("application/problem+json".to_owned(), problem.into());
        add_headers(&mut response, HEADERS.iter().filter(|header| header.on_errors));
        if ["429", "503"].contains(&self.status) {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
            let header = HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds to wait.")).build();
            response.headers.insert("Retry-After".to_owned(), header.into());
        }
        response
    }
}

fn add_headers<'a>(response: &mut Response, headers: impl Iterator<Item = &'a SharedHeader>) {
    for SharedHeader { name, .. } in headers {
        response.headers.insert((*name).to_owned(), RefOr::Ref(reference("headers", name)));
    }
}

fn if_none_match() -> Parameter {
    ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The `ETag` of an answer that the client has kept: where it is still the same, 304 is sent."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn reference(kind: &str, name: &str) -> Ref {
    Ref::new(format!("#/components/{kind}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Answers;
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;
    use utoipa::openapi::path::Operation;

    fn operations(api: &OpenApi) -> impl Iterator<Item = (&String, &Operation)> {
        api.paths.paths.iter().map(|(path, item)| (path, item.get.as_ref().unwrap()))
    }

    #[test]
    fn the_copy_in_the_documentation_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let copy = std::fs::read_to_string(path).unwrap();
        assert!(copy == text(), "docs/openapi.json differs: run `make generate`");
    }

    /// axum does not list its routes, but prints them.
    #[test]
    fn every_route_below_api_v1_is_described() {
        let answers = Arc::new(Answers::new(Duration::ZERO));
        let printed = format!("{:?}", router::all(&answers));
        let routed: BTreeSet<_> = printed.split('"').filter(|text| text.starts_with("/api/v1")).collect();
        let document = document();
        let described: BTreeSet<_> = document.paths.paths.keys().map(String::as_str).collect();
        assert_eq!(routed, described);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_a_summary_and_a_tag() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, operation) in operations(&document) {
            assert!(names.insert(operation.operation_id.clone().unwrap()), "{path}");
            assert!(operation.summary.is_some(), "{path}");
            let tags = operation.tags.as_deref().unwrap_or_default();
            assert!(!tags.is_empty() && tags.iter().all(|tag| TAGS.iter().any(|(known, _)| known == tag)), "{path}");
        }
    }

    #[test]
    fn every_parameter_has_a_description_and_a_schema() {
        let document = document();
        for (path, operation) in operations(&document) {
            for parameter in operation.parameters.iter().flatten() {
                let RefOr::T(parameter) = parameter else { continue };
                assert!(parameter.description.is_some() && parameter.schema.is_some(), "{path}: {}", parameter.name);
            }
        }
    }
}
