//! The searchable list of employees, and one employee.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

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

/// `/api/v1/employees`.
pub(crate) async fn list_api(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Json<Value>, Error> {
    let search = Search::parse(query.as_deref().unwrap_or_default())?;
    let page = db::employees::list(&app.db, &search).await?;
    let link = |cursor| format!("/api/v1/employees?{}", search.page_query(cursor));
    Ok(Json(json!({
        "employees": page.employees,
        "previous": page.previous.as_ref().map(link),
        "next": page.next.as_ref().map(link),
    })))
}

/// `/employees/{emp_no}`.
pub(crate) async fn one_page(State(app): State<Arc<App>>, EmpNo(emp_no): EmpNo, _: NoParameters) -> Page {
    let (employee, career) = one(&app, emp_no).await?;
    html(&views::One { site: site(&app).await?, employee: &employee, career: &career })
}

/// `/api/v1/employees/{emp_no}`.
pub(crate) async fn one_api(
    State(app): State<Arc<App>>,
    EmpNo(emp_no): EmpNo,
    _: NoParameters,
) -> Result<Json<Value>, Error> {
    let (employee, career) = one(&app, emp_no).await?;
    Ok(Json(json!({ "employee": employee, "career": career })))
}

async fn one(app: &App, emp_no: u32) -> Result<(Employee, Career), Error> {
    let employee = db::employees::find(&app.db, emp_no)
        .await?
        .ok_or_else(|| Error::NotFound(format!("There is no employee {emp_no}")))?;
    Ok((employee, db::employees::career(&app.db, emp_no).await?))
}
