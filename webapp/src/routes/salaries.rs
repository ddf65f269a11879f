//! What is paid today: the distribution, and its percentiles by department, title and gender.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};

use super::{Page, html, not_computed};
use crate::app::App;
use crate::db;
use crate::db::statistics::Salaries;
use crate::error::Error;
use crate::group::Group;
use crate::views;

/// `/salaries`.
pub(crate) async fn page(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Page {
    let group = Group::parse(query.as_deref().unwrap_or_default())?;
    let salaries = db::statistics::salaries(&app.db, &group).await?;
    let catalog = app.catalog().await?;
    html(&views::SalariesPage::new(app.site(Some(&catalog)), &catalog, &group, salaries.as_ref()))
}

/// Today's salaries
///
/// Their distribution and percentiles, for everybody or for a group of people, and for the groups beside it. A group
/// that nobody belongs to has no percentiles and no distribution.
#[utoipa::path(
    get, path = "/api/v1/salaries", tag = "statistics", params(Group),
    operation_id = "getSalaries", responses((status = OK, body = Salaries)),
)]
pub(crate) async fn api(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Json<Salaries>, Error> {
    let group = Group::parse(query.as_deref().unwrap_or_default())?;
    let salaries = db::statistics::salaries(&app.db, &group).await?;
    salaries.map(Json).ok_or_else(not_computed)
}
