//! The overview: how much there is, and who works where.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{NoParameters, Page, html};
use crate::app::App;
use crate::error::Error;
use crate::views;

/// `/`.
pub(crate) async fn page(State(app): State<Arc<App>>, _: NoParameters) -> Page {
    let catalog = app.live_catalog().await?;
    html(&views::Overview { site: app.site(Some(&catalog)), catalog: &catalog })
}

/// `/api/v1/overview`.
pub(crate) async fn api(State(app): State<Arc<App>>, _: NoParameters) -> Result<Json<Value>, Error> {
    let catalog = app.live_catalog().await?;
    Ok(Json(json!({
        "dataset": catalog.dataset,
        "counts": catalog.counts,
        "departments": catalog.departments,
        "counted_at": catalog.counted_at,
        "database": app.db.address(),
        "served_by": app.served_by,
    })))
}
