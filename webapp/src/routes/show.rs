//! The challenge's page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{NoParameters, Page, html, site};
use crate::app::App;
use crate::db;
use crate::db::employees::Employee;
use crate::error::Error;
use crate::views;

/// `/show`.
pub(crate) async fn page(State(app): State<Arc<App>>, _: NoParameters) -> Page {
    let employees = db::employees::show(&app.db).await?;
    html(&views::Show { site: site(&app).await?, employees: &employees })
}

/// The challenge and its answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Challenge {
    /// The question.
    question: &'static str,
    /// Whom it asks for, ordered by full name.
    employees: Vec<Employee>,
}

/// The challenge
///
/// Male employees who were born on 1965-02-01 and hired after 1990-01-01, ordered by their full name.
#[utoipa::path(
    get, path = "/api/v1/show", tag = "employees",
    operation_id = "getChallenge", responses((status = OK, body = Challenge)),
)]
pub(crate) async fn api(State(app): State<Arc<App>>, _: NoParameters) -> Result<Json<Challenge>, Error> {
    Ok(Json(Challenge { question: views::QUESTION, employees: db::employees::show(&app.db).await? }))
}
