//! The figures of the overview. They cost whole index scans: only the catalogue asks for them, and keeps them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, Error};

/// How many rows the data set has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    /// Employees, current and former.
    pub employees: i64,
    /// Employees who are in a department today.
    pub current_employees: i64,
    /// Departments.
    pub departments: i64,
    /// Titles held, now or before.
    pub titles: i64,
    /// Salaries paid, now or before.
    pub salaries: i64,
}

/// One department and how many work there today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Headcount {
    /// The department's number.
    pub dept_no: String,
    /// Its name.
    pub dept_name: String,
    /// How many work there today.
    pub headcount: i64,
}

/// Counts every table.
///
/// # Errors
/// See [`Error`].
pub async fn counts(db: &Database) -> Result<Counts, Error> {
    // One statement each: InnoDB counts a whole table with several threads only where that is the whole statement.
    Ok(Counts {
        employees: db.read(|pool| sqlx::query_scalar("SELECT COUNT(*) FROM employees").fetch_one(pool)).await?,
        current_employees: db
            .read(|pool| {
                sqlx::query_scalar("SELECT COUNT(DISTINCT emp_no) FROM dept_emp WHERE to_date = '9999-01-01'")
                    .fetch_one(pool)
            })
            .await?,
        departments: db.read(|pool| sqlx::query_scalar("SELECT COUNT(*) FROM departments").fetch_one(pool)).await?,
        titles: db.read(|pool| sqlx::query_scalar("SELECT COUNT(*) FROM titles").fetch_one(pool)).await?,
        salaries: db.read(|pool| sqlx::query_scalar("SELECT COUNT(*) FROM salaries").fetch_one(pool)).await?,
    })
}

/// Every department with its headcount, by number.
///
/// # Errors
/// See [`Error`].
pub async fn headcounts(db: &Database) -> Result<Vec<Headcount>, Error> {
    db.read(|pool| {
        sqlx::query_as(
            "SELECT d.dept_no, d.dept_name, COALESCE(c.headcount, 0) AS headcount \
             FROM departments d \
             LEFT JOIN (SELECT dept_no, COUNT(*) AS headcount FROM dept_emp WHERE to_date = '9999-01-01' GROUP BY dept_no) c \
             USING (dept_no) \
             ORDER BY d.dept_no",
        )
        .fetch_all(pool)
    })
    .await
}

/// The titles that exist, for the search form. A data set of a different kind may have one per employee: the form
/// offers a hundred at most.
///
/// # Errors
/// See [`Error`].
pub async fn titles(db: &Database) -> Result<Vec<String>, Error> {
    db.read(|pool| sqlx::query_scalar("SELECT DISTINCT title FROM titles ORDER BY title LIMIT 100").fetch_all(pool))
        .await
}
