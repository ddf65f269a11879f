//! The departments, and one department.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{DeptNo, NoParameters, Page, html, site};
use crate::app::App;
use crate::db;
use crate::db::departments::{Department, Manager};
use crate::db::employees::Employee;
use crate::db::overview::Headcount;
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

/// The departments.
#[derive(Serialize, ToSchema)]
pub(crate) struct Departments {
    /// All of them, by number.
    departments: Vec<Headcount>,
}

/// The departments
///
/// With how many people work there today.
#[utoipa::path(
    get, path = "/api/v1/departments", tag = "departments",
    operation_id = "listDepartments", responses((status = OK, body = Departments)),
)]
pub(crate) async fn list_api(State(app): State<Arc<App>>, _: NoParameters) -> Result<Json<Departments>, Error> {
    let catalog = app.live_catalog().await?;
    Ok(Json(Departments { departments: catalog.departments.clone() }))
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

/// A department and its people.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneDepartment {
    /// The department.
    department: Department,
    /// How many work there today.
    headcount: i64,
    /// Everybody who manages or managed it, the newest first.
    managers: Vec<Manager>,
    /// Those of today who were hired last.
    recent_hires: Vec<Employee>,
    /// Where the list of everybody who works there today is.
    #[schema(format = "uri-reference", example = "/api/v1/employees?department=d005&status=current")]
    employees: String,
}

/// One department
///
/// With its managers, and those who were hired last.
#[utoipa::path(
    get, path = "/api/v1/departments/{dept_no}", tag = "departments", params(DeptNo),
    operation_id = "getDepartment", responses((status = OK, body = OneDepartment)),
)]
pub(crate) async fn one_api(
    State(app): State<Arc<App>>,
    DeptNo(dept_no): DeptNo,
    _: NoParameters,
) -> Result<Json<OneDepartment>, Error> {
    let One { department, headcount, managers, hires } = one(&app, &dept_no).await?;
    Ok(Json(OneDepartment {
        employees: format!("/api/v1/employees?department={}&status=current", department.dept_no),
        department,
        headcount,
        managers,
        recent_hires: hires,
    }))
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
