//! What the program says about its API.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::NoParameters;
use crate::openapi;

/// `/api/openapi.json`: the OpenAPI document.
pub(crate) async fn openapi(_: NoParameters) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text()).into_response()
}
