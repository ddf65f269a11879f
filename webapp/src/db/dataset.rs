//! Which data set the database holds: the row that the MySQL image writes when it has loaded one.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, Error};

/// The description that a data set carries with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct DataSet {
    /// `test_db`, `sample`, or a name of the operator's own.
    pub name: String,
    /// What it is, in one line.
    pub description: String,
    /// Where it comes from, an address.
    #[schema(required)]
    pub source: Option<String>,
    /// The licence that it is given under.
    #[schema(required)]
    pub licence: Option<String>,
    /// How many employees were loaded.
    pub employees: u32,
    /// When.
    pub loaded_at: DateTime<Utc>,
}

/// The description of the data set; `None` where the database carries none.
///
/// # Errors
/// See [`Error`].
pub async fn describe(db: &Database) -> Result<Option<DataSet>, Error> {
    let found = db
        .read(|pool| {
            sqlx::query_as(
                "SELECT name, description, source, licence, employees, loaded_at FROM tandem_dataset LIMIT 1",
            )
            .fetch_optional(pool)
        })
        .await;
    match found {
        Err(Error::NotLoaded(_)) => Ok(None),
        found => found,
    }
}
