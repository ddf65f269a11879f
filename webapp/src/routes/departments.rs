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
use crate::db::sets::Narrowed;
use crate::db::statistics::{History, Salaries, Year};
use crate::error::Error;
use crate::group::Group;
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
    html(&views::OneDepartment::new(
        site(&app).await?,
        &one.department,
        one.headcount,
        (&one.managers, &one.hires),
        one.history.as_ref().zip(one.salaries.as_ref()),
    ))
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
    /// Its headcounts, hires and leavers over the years; null where that has not been computed yet.
    #[schema(required)]
    years: Option<Vec<Year>>,
    /// What is paid there today; null where that has not been computed yet.
    #[schema(required)]
    salaries: Option<Salaries>,
    /// Where the list of everybody who works there today is.
    #[schema(format = "uri-reference", example = "/api/v1/employees?department=d005&status=current")]
    employees: String,
}

/// One department
///
/// With its managers, those who were hired last, and its headcounts and salaries.
#[utoipa::path(
    get, path = "/api/v1/departments/{dept_no}", tag = "departments", params(DeptNo),
    operation_id = "getDepartment", responses((status = OK, body = OneDepartment)),
)]
pub(crate) async fn one_api(
    State(app): State<Arc<App>>,
    DeptNo(dept_no): DeptNo,
    _: NoParameters,
) -> Result<Json<OneDepartment>, Error> {
    let One { department, headcount, managers, hires, history, salaries } = one(&app, &dept_no).await?;
    Ok(Json(OneDepartment {
        employees: format!("/api/v1/employees?department={}&status=current", department.dept_no),
        department,
        headcount,
        managers,
        recent_hires: hires,
        years: history.and_then(|history| history.departments.into_iter().next()).map(|department| department.years),
        salaries,
    }))
}

struct One {
    department: Department,
    headcount: i64,
    managers: Vec<Manager>,
    hires: Vec<Employee>,
    history: Option<History>,
    salaries: Option<Salaries>,
}

async fn one(app: &App, dept_no: &str) -> Result<One, Error> {
    let department = db::departments::find(&app.db, dept_no)
        .await?
        .ok_or_else(|| Error::NotFound(format!("There is no department {dept_no}")))?;
    let catalog = app.catalog().await?;
    let counted = catalog.departments.iter().find(|counted| counted.dept_no == department.dept_no);
    let group = Group::department(&department.dept_no);
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
    let narrowed = Narrowed::new(&app.db, &search.filter, &catalog.counts);
    let (managers, list, history, salaries) = tokio::try_join!(
        db::departments::managers(&app.db, dept_no),
        db::employees::list(&app.db, &search, &narrowed),
        db::statistics::history(&app.db, Some(dept_no)),
        db::statistics::salaries(&app.db, &group),
    )?;
    Ok(One {
        headcount: counted.map_or(0, |counted| counted.headcount),
        managers,
        hires: list.employees,
        history,
        salaries,
        department,
    })
}
