//! Departments and who manages them.

use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, Error};

/// One department.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Department {
    /// Its number, four characters.
    pub dept_no: String,
    /// Its name.
    pub dept_name: String,
}

/// Somebody who manages a department, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Manager {
    /// The employee's number.
    pub emp_no: i32,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Since when.
    pub from_date: NaiveDate,
    /// Until when; nothing, null in JSON, is still.
    #[schema(required)]
    pub to_date: Option<NaiveDate>,
}

/// The department of that number.
///
/// # Errors
/// See [`Error`].
pub async fn find(db: &Database, dept_no: &str) -> Result<Option<Department>, Error> {
    db.read(|pool| {
        sqlx::query_as("SELECT dept_no, dept_name FROM departments WHERE dept_no = ?")
            .bind(dept_no)
            .fetch_optional(pool)
    })
    .await
}

/// Everybody who manages or managed it, the newest first.
///
/// # Errors
/// See [`Error`].
pub async fn managers(db: &Database, dept_no: &str) -> Result<Vec<Manager>, Error> {
    db.read(|pool| {
        sqlx::query_as(
            "SELECT m.emp_no, e.first_name, e.last_name, m.from_date, NULLIF(m.to_date, DATE'9999-01-01') AS to_date \
             FROM dept_manager m JOIN employees e USING (emp_no) \
             WHERE m.dept_no = ? ORDER BY m.from_date DESC, m.emp_no",
        )
        .bind(dept_no)
        .fetch_all(pool)
    })
    .await
}
