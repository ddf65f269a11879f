//! The overview: how much there is, and who works where.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{NoParameters, Page, html};
use crate::app::App;
use crate::db;
use crate::db::dataset::DataSet;
use crate::db::overview::{Counts, Headcount};
use crate::error::Error;
use crate::views;

/// `/`.
pub(crate) async fn page(State(app): State<Arc<App>>, _: NoParameters) -> Page {
    let catalog = app.live_catalog().await?;
    let history = db::statistics::history(&app.db, None).await?;
    html(&views::Overview::new(app.site(Some(&catalog)), &catalog, history.as_ref()))
}

/// The data set at a glance.
#[derive(Serialize, ToSchema)]
pub(crate) struct Overview {
    /// What the data set says about itself; null where it says nothing.
    #[schema(required)]
    dataset: Option<DataSet>,
    /// How many rows there are.
    counts: Counts,
    /// The departments, by number.
    departments: Vec<Headcount>,
    /// When this was counted.
    counted_at: DateTime<Utc>,
    /// The database that was asked, as `host:port/name`.
    #[schema(example = "mysql:3306/employees")]
    database: String,
    /// The replica that answers.
    served_by: String,
}

/// The data set at a glance
///
/// What it is, how many rows it has, and how many people work in each department today. Counted at most ten minutes
/// ago.
#[utoipa::path(
    get, path = "/api/v1/overview", tag = "overview",
    operation_id = "getOverview", responses((status = OK, body = Overview)),
)]
pub(crate) async fn api(State(app): State<Arc<App>>, _: NoParameters) -> Result<Json<Overview>, Error> {
    let catalog = app.live_catalog().await?;
    Ok(Json(Overview {
        dataset: catalog.dataset.clone(),
        counts: catalog.counts,
        departments: catalog.departments.clone(),
        counted_at: catalog.counted_at,
        database: app.db.address().to_owned(),
        served_by: app.served_by.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditional::{IN_JSON, without};

    #[test]
    fn the_answers_of_two_replicas_differ_in_nothing_but_who_made_them_and_when_it_was_counted() {
        let answer = |served_by: &str, seconds, employees| {
            let overview = Overview {
                dataset: None,
                counts: Counts { employees, ..Counts::default() },
                departments: vec![],
                counted_at: DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds),
                database: "mysql:3306/employees".to_owned(),
                served_by: served_by.to_owned(),
            };
            without(&serde_json::to_vec(&overview).unwrap(), &IN_JSON).into_owned()
        };
        assert_eq!(answer("replica-1", 0, 5), answer("replica-2", 60, 5));
        assert_ne!(answer("replica-1", 0, 5), answer("replica-1", 0, 6));
    }
}
