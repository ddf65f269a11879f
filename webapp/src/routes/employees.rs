//! The searchable list of employees, and one employee.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{EmpNo, NoParameters, html, site};
use crate::app::App;
use crate::catalog::Catalog;
use crate::db;
use crate::db::employees::{Employee, Page, Person};
use crate::db::sets::Narrowed;
use crate::db::totals::Total;
use crate::error::Error;
use crate::search::{self, Invalid, Search};
use crate::views;

/// `/employees`.
pub(crate) async fn list_page(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Response, Error> {
    let query = query.unwrap_or_default();
    let (search, mistake) = Search::read(&query);
    if let Some(mistake) = mistake {
        return refused(&app, &query, &search, mistake).await;
    }
    let catalog = app.catalog().await?;
    let (page, total) = list(&app, &catalog, &search).await?;
    let page = html(&views::Employees::new(app.site(Some(&catalog)), &catalog, &search, &page, total))?;
    Ok(page.into_response())
}

/// The form as it was filled in, with what is wrong; that alone where the database, which knows what the form offers,
/// does not answer.
async fn refused(app: &App, query: &str, search: &Search, mistake: Invalid) -> Result<Response, Error> {
    let Ok(catalog) = app.catalog().await else { return Err(mistake.into()) };
    let name = search::typed(query, "q");
    let page = html(&views::Employees::refused(app.site(Some(&catalog)), &catalog, search, name, &mistake))?;
    Ok((StatusCode::BAD_REQUEST, [(header::CACHE_CONTROL, "no-store")], page).into_response())
}

/// A page of a list of employees.
#[derive(Serialize, ToSchema)]
pub(crate) struct List {
    /// The employees, in the list's order.
    employees: Vec<Employee>,
    /// How many employees the whole list has.
    total: u64,
    /// Whether `total` is exact: a large one may be an estimate, rounded to the digits that it deserves.
    total_is_exact: bool,
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
    let (page, total) = list(&app, &*app.catalog().await?, &search).await?;
    let link = |cursor| format!("/api/v1/employees?{}", search.page_query(cursor));
    Ok(Json(List {
        previous: page.previous.as_ref().map(link),
        next: page.next.as_ref().map(link),
        employees: page.employees,
        total: total.count,
        total_is_exact: total.exact,
    }))
}

/// A page of the list, and the size of the whole list.
async fn list(app: &App, catalog: &Catalog, search: &Search) -> Result<(Page, Total), Error> {
    let narrowed = Narrowed::new(&app.db, &search.filter, &catalog.counts);
    let page = db::employees::list(&app.db, search, &narrowed).await?;
    let total = db::totals::total(&app.db, search, &page, &narrowed).await?;
    Ok((page, total))
}

/// `/employees/{emp_no}`.
pub(crate) async fn one_page(State(app): State<Arc<App>>, EmpNo(emp_no): EmpNo, _: NoParameters) -> super::Page {
    let Person { employee, career } = one(&app, emp_no).await?;
    html(&views::One { site: site(&app).await?, employee: &employee, career: &career })
}

/// One employee
///
/// With every department, title and salary that they have had, and the managers of the time.
#[utoipa::path(
    get, path = "/api/v1/employees/{emp_no}", tag = "employees", params(EmpNo),
    operation_id = "getEmployee", responses((status = OK, body = Person)),
)]
pub(crate) async fn one_api(
    State(app): State<Arc<App>>,
    EmpNo(emp_no): EmpNo,
    _: NoParameters,
) -> Result<Json<Person>, Error> {
    one(&app, emp_no).await.map(Json)
}

async fn one(app: &App, emp_no: u32) -> Result<Person, Error> {
    let found = db::employees::person(&app.db, emp_no).await?;
    found.ok_or_else(|| Error::NotFound(format!("There is no employee {emp_no}")))
}
