//! The departments, and one department.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{DeptNo, NoParameters, Page, html, site};
use crate::app::App;
use crate::db;
use crate::db::departments::{Department, Manager};
use crate::db::employees::Employee;
use crate::error::Error;
use crate::search::{Filter, Limit, Order, Search, Sort, Status};
use crate::views;

/// How many of those who were hired last are shown.
const RECENT_HIRES: u32 = 10;

/// `/departments`.
pub(crate) async fn list_page(State(app): State<Arc<App>>, _: NoParameters) -> Page {
    let catalog = app.live_catalog().await?;
    html(&views::Departments { site: app.site(Some(&catalog)), departments: &catalog.departments })
}

/// `/api/v1/departments`.
pub(crate) async fn list_api(State(app): State<Arc<App>>, _: NoParameters) -> Result<Json<Value>, Error> {
    let catalog = app.live_catalog().await?;
    Ok(Json(json!({ "departments": catalog.departments })))
}

/// `/departments/{dept_no}`.
pub(crate) async fn one_page(State(app): State<Arc<App>>, DeptNo(dept_no): DeptNo, _: NoParameters) -> Page {
    let one = one(&app, &dept_no).await?;
    html(&views::OneDepartment {
        site: site(&app).await?,
        department: &one.department,
        headcount: one.headcount,
        managers: &one.managers,
        hires: &one.hires,
    })
}

/// `/api/v1/departments/{dept_no}`.
pub(crate) async fn one_api(
    State(app): State<Arc<App>>,
    DeptNo(dept_no): DeptNo,
    _: NoParameters,
) -> Result<Json<Value>, Error> {
    let One { department, headcount, managers, hires } = one(&app, &dept_no).await?;
    Ok(Json(json!({
        "department": department,
        "headcount": headcount,
        "managers": managers,
        "recent_hires": hires,
        "employees": format!("/api/v1/employees?department={}&status=current", department.dept_no),
    })))
}

struct One {
    department: Department,
    headcount: i64,
    managers: Vec<Manager>,
    hires: Vec<Employee>,
}

async fn one(app: &App, dept_no: &str) -> Result<One, Error> {
    let department = db::departments::find(&app.db, dept_no)
        .await?
        .ok_or_else(|| Error::NotFound(format!("There is no department {dept_no}")))?;
    let catalog = app.catalog().await?;
    let counted = catalog.departments.iter().find(|counted| counted.dept_no == department.dept_no);
    let search = Search {
        filter: Filter {
            department: Some(department.dept_no.clone()),
            status: Some(Status::Current),
            ..Filter::default()
        },
        sort: Sort::HireDate,
        order: Order::Descending,
        limit: Limit(RECENT_HIRES),
        cursor: None,
    };
    Ok(One {
        headcount: counted.map_or(0, |counted| counted.headcount),
        managers: db::departments::managers(&app.db, dept_no).await?,
        hires: db::employees::list(&app.db, &search).await?.employees,
        department,
    })
}
