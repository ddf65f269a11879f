//! The challenge's page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{NoParameters, Page, html, site};
use crate::app::App;
use crate::db;
use crate::error::Error;
use crate::views;

/// `/show`.
pub(crate) async fn page(State(app): State<Arc<App>>, _: NoParameters) -> Page {
    let employees = db::employees::show(&app.db).await?;
    html(&views::Show { site: site(&app).await?, employees: &employees })
}

/// `/api/v1/show`.
pub(crate) async fn api(State(app): State<Arc<App>>, _: NoParameters) -> Result<Json<Value>, Error> {
    Ok(Json(json!({ "question": views::QUESTION, "employees": db::employees::show(&app.db).await? })))
}
