//! The one error of all handlers. It becomes a response without a body that carries the error along; the envelope
//! around the router knows the path, and writes the page or the problem+json (RFC 9457) for it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db;
use crate::search::Invalid;
use crate::views::{self, Site};

/// Seconds after which it makes sense to try again: a pool reconnects at once when the database is back.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// Why a request gets no answer. Each displays as a plain sentence for its reader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request makes no sense: 400.
    #[error("{0}.")]
    BadRequest(String),
    /// There is no such thing: 404.
    #[error("{0}.")]
    NotFound(String),
    /// The page exists, but not for this method: 405.
    #[error("This address can only be read: use GET.")]
    MethodNotAllowed,
    /// None of the encodings that the client takes, not even none: 406.
    #[error("Accept-Encoding refuses every encoding that there is: allow identity, gzip, br or zstd.")]
    NotAcceptable,
    /// Not now: 503.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Our mistake: 500. What happened is in the log, not in the answer.
    #[error("Something went wrong here. It has been logged under this request's id.")]
    Internal,
}

/// What the API sends instead of an answer: problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem<'a> {
    /// The kind of problem. There are no others than the status tells apart.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// What the status means.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened, and where it is the client's mistake, what is allowed.
    detail: String,
    /// The request's id, by which the server's logs can be searched.
    request_id: &'a str,
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the status means, as a heading.
    fn title(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "This request cannot be understood",
            Self::NotFound(_) => "There is nothing here",
            Self::MethodNotAllowed => "This method is not allowed",
            Self::NotAcceptable => "This encoding is not there",
            Self::Unavailable(_) => "The data is not available at the moment",
            Self::Internal => "Something went wrong",
        }
    }

    /// The error as a page.
    pub fn page(&self, site: Site) -> Response {
        let page =
            views::ErrorPage { site, status: self.status().as_u16(), title: self.title(), detail: self.to_string() };
        match views::render(&page) {
            Ok(html) => Html(html).into_response(),
            Err(_) => self.title().into_response(),
        }
    }

    /// The error as problem+json, for the request of that id.
    pub fn problem(&self, request_id: &str) -> Response {
        let body = Problem {
            kind: "about:blank",
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.to_string(),
            request_id,
        };
        ([(header::CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if matches!(self, Self::Unavailable(_)) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::BadRequest(invalid.message)
    }
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        match error {
            // Logged where it begins and ends, in `db`.
            db::Error::Unavailable(_) => {
                Self::Unavailable("The database does not answer. Please try again in a moment.")
            }
            db::Error::NotLoaded(_) => {
                Self::Unavailable("The data set is not loaded yet. Please try again in a moment.")
            }
            db::Error::TooSlow(_) => {
                tracing::warn!(%error, "query given up");
                Self::Unavailable("The database took too long to answer. Please try again in a moment.")
            }
            db::Error::Failed(_) => {
                tracing::error!(%error, "query failed");
                Self::Internal
            }
        }
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        tracing::error!(%error, "template failed");
        Self::Internal
    }
}

impl From<std::fmt::Error> for Error {
    fn from(error: std::fmt::Error) -> Self {
        tracing::error!(%error, "metrics could not be written");
        Self::Internal
    }
}
