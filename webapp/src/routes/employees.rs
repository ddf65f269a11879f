//! The searchable list of employees, and one employee.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{EmpNo, NoParameters, Page, html, site};
use crate::app::App;
use crate::db;
use crate::db::employees::{Career, Employee};
use crate::error::Error;
use crate::search::Search;
use crate::views;

/// `/employees`.
pub(crate) async fn list_page(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Page {
    let search = Search::parse(query.as_deref().unwrap_or_default())?;
    let page = db::employees::list(&app.db, &search).await?;
    let catalog = app.catalog().await?;
    html(&views::Employees::new(app.site(Some(&catalog)), &catalog, &search, &page))
}

/// A page of a list of employees.
#[derive(Serialize, ToSchema)]
pub(crate) struct List {
    /// The employees, in the list's order.
    employees: Vec<Employee>,
    /// Where the page in front is; null on the first one.
    #[schema(required, format = "uri-reference")]
    previous: Option<String>,
    /// Where the page behind is; null on the last one.
    #[schema(required, format = "uri-reference")]
    next: Option<String>,
}

/// Search for employees
///
/// Every filter narrows the result, and all can be combined. A parameter without a value counts as not given; one that
/// is not listed here is refused.
#[utoipa::path(
    get, path = "/api/v1/employees", tag = "employees", params(Search),
    operation_id = "listEmployees", responses((status = OK, body = List)),
)]
pub(crate) async fn list_api(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Json<List>, Error> {
    let search = Search::parse(query.as_deref().unwrap_or_default())?;
    let page = db::employees::list(&app.db, &search).await?;
    let link = |cursor| format!("/api/v1/employees?{}", search.page_query(cursor));
    Ok(Json(List {
        previous: page.previous.as_ref().map(link),
        next: page.next.as_ref().map(link),
        employees: page.employees,
    }))
}

/// `/employees/{emp_no}`.
pub(crate) async fn one_page(State(app): State<Arc<App>>, EmpNo(emp_no): EmpNo, _: NoParameters) -> Page {
    let (employee, career) = one(&app, emp_no).await?;
    html(&views::One { site: site(&app).await?, employee: &employee, career: &career })
}

/// An employee and what they have done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Person {
    /// The employee.
    employee: Employee,
    /// Departments, titles and salaries, the newest first.
    career: Career,
}

/// One employee
///
/// With every department, title and salary that they have had.
#[utoipa::path(
    get, path = "/api/v1/employees/{emp_no}", tag = "employees", params(EmpNo),
    operation_id = "getEmployee", responses((status = OK, body = Person)),
)]
pub(crate) async fn one_api(
    State(app): State<Arc<App>>,
    EmpNo(emp_no): EmpNo,
    _: NoParameters,
) -> Result<Json<Person>, Error> {
    let (employee, career) = one(&app, emp_no).await?;
    Ok(Json(Person { employee, career }))
}

async fn one(app: &App, emp_no: u32) -> Result<(Employee, Career), Error> {
    let employee = db::employees::find(&app.db, emp_no)
        .await?
        .ok_or_else(|| Error::NotFound(format!("There is no employee {emp_no}")))?;
    Ok((employee, db::employees::career(&app.db, emp_no).await?))
}
