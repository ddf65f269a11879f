//! The company over the years.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};

use super::not_computed;
use crate::app::App;
use crate::db;
use crate::db::statistics::History;
use crate::error::Error;
use crate::search::{self, Invalid};

/// The company over the years
///
/// Headcounts at each year's end, hires and leavers, of the whole company and of each department.
#[utoipa::path(
    get, path = "/api/v1/history", tag = "statistics", params(Of),
    operation_id = "getHistory", responses((status = OK, body = History)),
)]
pub(crate) async fn api(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Json<History>, Error> {
    let Of { department } = Of::parse(query.as_deref().unwrap_or_default())?;
    let history = db::statistics::history(&app.db, department.as_deref()).await?;
    history.map(Json).ok_or_else(not_computed)
}

/// Whose history is asked for.
#[derive(Default)]
pub(crate) struct Of {
    department: Option<String>,
}

impl Of {
    /// Reads a query string.
    pub(crate) fn parse(query: &str) -> Result<Self, Invalid> {
        let mut of = Self::default();
        for (name, value) in search::pairs(query)? {
            match name.as_ref() {
                "department" => search::set(&name, &value, &mut of.department, search::department)?,
                _ => return Err(search::unknown(&name)),
            }
        }
        Ok(of)
    }
}
