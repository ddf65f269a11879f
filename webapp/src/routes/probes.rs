//! For whoever watches this process: does it live, is it ready, how does it do?

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::db::schema;
use crate::error::Error;
use crate::migrations;

/// `/healthz`: the process answers. Says nothing about the database: restarting us would not bring it back.
pub(crate) async fn healthz() -> Response {
    plain("alive\n")
}

/// `/readyz`: the database answers and holds what the pages need.
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    match unready(&app).await {
        Ok(None) => plain("ready\n"),
        Ok(Some(reason)) => refuse(&reason),
        Err(error) => refuse(&error.to_string()),
    }
}

/// `/metrics`: everything counted, for Prometheus.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Error> {
    let text = app.metrics.encode()?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response())
}

/// What is missing, in plain words.
async fn unready(app: &App) -> Result<Option<String>, Error> {
    let tables = schema::tables(&app.db).await?;
    if tables < schema::TABLES {
        return Ok(Some(format!("{tables} of the data set's {} tables are there.", schema::TABLES)));
    }
    // Pages work without our indexes, slowly: nobody has to migrate. Who has begun wants it finished.
    let applied = match (schema::applied_migrations(&app.db).await?, app.migrates) {
        (Some(applied), _) => applied,
        (None, true) => Vec::new(),
        (None, false) => return Ok(None),
    };
    let missing = migrations::missing(&applied);
    Ok((!missing.is_empty()).then(|| format!("Migrations {missing:?} have not been applied yet.")))
}

fn plain(text: &'static str) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// 503 in one plain line: probes show it to people as it is.
fn refuse(reason: &str) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::RETRY_AFTER, "2")];
    (axum::http::StatusCode::SERVICE_UNAVAILABLE, headers, format!("not ready: {reason}\n")).into_response()
}
