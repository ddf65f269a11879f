//! The pages: pure functions from data to HTML. Templates are checked while compiling and escape what they print.

pub mod chart;

use askama::Template;
use chrono::{DateTime, Utc};

use crate::catalog::Catalog;
use crate::db::dataset::DataSet;
use crate::db::departments::{Department, Manager};
use crate::db::employees::{Career, Employee, Page};
use crate::db::overview::Headcount;
use crate::db::statistics::{History, Salaries};
use crate::db::totals::Total;
use crate::export::Format;
use crate::group::Group;
use crate::hash::fnv1a;
use crate::search::{Filter, Gender, Invalid, Limit, Order, Search, Sort, Status};
use chart::Chart;
use chart::lines::Series;
use chart::ranges::Range;

/// The challenge, in words.
pub const QUESTION: &str =
    "Male employees who were born on 1965-02-01 and hired after 1990-01-01, ordered by their full name";

/// A file that is part of the program.
pub(crate) struct Asset {
    stem: &'static str,
    extension: &'static str,
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// Its bytes.
    pub(crate) content: &'static str,
    hash: u64,
}

/// The style sheet.
pub(crate) const STYLE: Asset =
    Asset::new("style", "css", "text/css; charset=utf-8", include_str!("../assets/style.css"));
/// The icon.
pub(crate) const ICON: Asset = Asset::new("icon", "svg", "image/svg+xml", include_str!("../assets/icon.svg"));
/// The script of the list of employees.
pub(crate) const SCRIPT: Asset =
    Asset::new("app", "js", "text/javascript; charset=utf-8", include_str!("../assets/app.js"));

impl Asset {
    const fn new(
        stem: &'static str,
        extension: &'static str,
        content_type: &'static str,
        content: &'static str,
    ) -> Self {
        Self { stem, extension, content_type, content, hash: fnv1a(content.as_bytes()) }
    }

    /// Its file name, which changes with its content.
    pub(crate) fn name(&self) -> String {
        format!("{}-{:016x}.{}", self.stem, self.hash, self.extension)
    }

    /// Whether `name` means this file, in whatever version.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        name.strip_prefix(self.stem)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(self.extension))
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

/// What is known of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// The database has not answered since we started.
    Unknown,
    /// It carries no description.
    Undescribed,
    /// It carries this one.
    Described(DataSet),
}

/// The footer of every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Which replica made the page.
    pub served_by: String,
    /// From which database.
    pub database: String,
    /// What is in there.
    pub dataset: Knowledge,
}

impl Site {
    fn style(&self) -> String {
        STYLE.name()
    }

    fn script(&self) -> String {
        SCRIPT.name()
    }

    fn icon(&self) -> String {
        ICON.name()
    }
}

impl DataSet {
    /// The source where it can be linked to: the text comes from the database and may be anything.
    fn link(&self) -> Option<&str> {
        self.source.as_deref().filter(|source| source.starts_with("https://") || source.starts_with("http://"))
    }
}

/// Renders a page.
///
/// # Errors
/// A template that fails, which ours cannot.
pub fn render(page: &impl Template) -> askama::Result<String> {
    page.render()
}

/// The charts of a page.
#[derive(Default)]
struct Charts {
    charts: Vec<Chart>,
    /// Of when they are, or why there are none.
    note: String,
}

impl Charts {
    /// Charts of figures that were computed then. `changed`: it is known that the data is another one now.
    fn of(computed_at: Option<DateTime<Utc>>, changed: bool, charts: Vec<Chart>) -> Self {
        let mut note = match computed_at {
            Some(time) => format!("The charts show what was computed on {}.", time.format("%Y-%m-%d at %H:%M:%S UTC")),
            None => String::new(),
        };
        if changed {
            note.push_str(" The data has changed since: webapp migrate --recompute computes it again.");
        }
        Self { charts, note }
    }

    fn missing() -> Self {
        let note = "The charts have not been computed yet: webapp migrate does it.";
        Self { charts: Vec::new(), note: note.to_owned() }
    }
}

/// `/`.
#[derive(Template)]
#[template(path = "overview.html")]
pub struct Overview<'a> {
    site: Site,
    catalog: &'a Catalog,
    charts: Charts,
}

impl<'a> Overview<'a> {
    /// The page, with charts where the history has been computed.
    pub fn new(site: Site, catalog: &'a Catalog, history: Option<&History>) -> Self {
        let charts = history.map_or_else(Charts::missing, |history| {
            let years: Vec<i32> = history.company.iter().map(|year| year.year).collect();
            let departments = history.departments.iter().map(|department| Series {
                name: department.dept_name.clone(),
                values: department.years.iter().map(|year| year.headcount).collect(),
            });
            let departments: Vec<_> = departments.collect();
            let title = "Headcount by department, at each year's end".to_owned();
            let lines = chart::lines::lines("headcounts-by-year", title, &years, &departments);
            let title = "Hired and left, year by year".to_owned();
            let bars = chart::bars::hires_and_leavers("hires-and-leavers", title, ["Hired", "Left"], &history.company);
            let today = history.company.last().map_or(0, |year| year.headcount);
            Charts::of(history.computed_at, today != catalog.counts.current_employees, vec![lines, bars])
        });
        Self { site, catalog, charts }
    }
}

/// `/show`.
#[derive(Template)]
#[template(path = "show.html")]
pub struct Show<'a> {
    /// The footer.
    pub site: Site,
    /// The answer.
    pub employees: &'a [Employee],
}

/// `/departments`.
#[derive(Template)]
#[template(path = "departments.html")]
pub struct Departments<'a> {
    /// The footer.
    pub site: Site,
    /// The departments.
    pub departments: &'a [Headcount],
}

/// `/departments/{dept_no}`.
#[derive(Template)]
#[template(path = "department.html")]
pub struct OneDepartment<'a> {
    site: Site,
    department: &'a Department,
    headcount: i64,
    managers: &'a [Manager],
    hires: &'a [Employee],
    charts: Charts,
}

impl<'a> OneDepartment<'a> {
    /// The page of a department with `headcount` people today, its managers, the newest first, and `hires`, those who
    /// were hired last; with charts where the statistics have been computed.
    pub fn new(
        site: Site,
        department: &'a Department,
        headcount: i64,
        (managers, hires): (&'a [Manager], &'a [Employee]),
        statistics: Option<(&History, &Salaries)>,
    ) -> Self {
        let charts = statistics.map_or_else(Charts::missing, |(history, salaries)| {
            let years = history.departments.first().map(|department| department.years.as_slice()).unwrap_or_default();
            let title = "Headcount at each year's end".to_owned();
            let lines = chart::lines::headcounts("headcount", title, &department.dept_name, years);
            let title = "Who came and who went, year by year".to_owned();
            let mut charts =
                vec![lines, chart::bars::hires_and_leavers("hires-and-leavers", title, ["Came", "Went"], years)];
            charts.extend(salary_charts(salaries, &Group::department(&department.dept_no), false));
            let today = years.last().map_or(0, |year| year.headcount);
            Charts::of(history.computed_at, today != headcount, charts)
        });
        Self { site, department, headcount, managers, hires, charts }
    }
}

/// The charts of a group's salaries; `by_department`: the departments beside each other as well.
fn salary_charts(salaries: &Salaries, group: &Group, by_department: bool) -> Vec<Chart> {
    let Some(everybody) = &salaries.salaries else { return Vec::new() };
    let link = |group: Group| Some(format!("/salaries?{}", group.query()));
    let title = "Today's salaries".to_owned();
    let mut charts = vec![chart::histogram::distribution("distribution", title, &salaries.histogram, everybody)];
    if by_department {
        let departments = salaries.by_department.iter().map(|one| Range {
            name: one.dept_name.clone(),
            link: link(Group { department: Some(one.dept_no.clone()), ..group.clone() }),
            salaries: one.salaries,
        });
        let title = "Salaries by department".to_owned();
        charts.push(chart::ranges::ranges("by-department", title, "Department", &departments.collect::<Vec<_>>()));
    }
    let titles = salaries.by_title.iter().map(|one| Range {
        name: one.title.clone(),
        link: link(Group { title: Some(one.title.clone()), ..group.clone() }),
        salaries: one.salaries,
    });
    charts.push(chart::ranges::ranges(
        "by-title",
        "Salaries by title".to_owned(),
        "Title",
        &titles.collect::<Vec<_>>(),
    ));
    let genders = salaries.by_gender.iter().map(|one| Range {
        name: one.gender.clone(),
        link: link(Group { gender: one.gender.parse().ok(), ..group.clone() }),
        salaries: one.salaries,
    });
    let title = "Salaries by gender".to_owned();
    charts.push(chart::ranges::ranges("by-gender", title, "Gender", &genders.collect::<Vec<_>>()));
    charts
}

/// `/salaries`.
#[derive(Template)]
#[template(path = "salaries.html")]
pub struct SalariesPage<'a> {
    site: Site,
    departments: &'a [Headcount],
    titles: &'a [String],
    group: &'a Group,
    salaries: Option<&'a Salaries>,
    charts: Charts,
}

impl<'a> SalariesPage<'a> {
    /// The page of `group`; without `salaries` nothing has been computed yet.
    pub fn new(site: Site, catalog: &'a Catalog, group: &'a Group, salaries: Option<&'a Salaries>) -> Self {
        let charts = salaries.map_or_else(Charts::missing, |salaries| {
            Charts::of(salaries.computed_at, false, salary_charts(salaries, group, true))
        });
        Self { site, departments: &catalog.departments, titles: &catalog.titles, group, salaries, charts }
    }

    /// Whether that field of the form is what is wrong: a group that makes no sense has a page of its own.
    fn is_wrong(&self, _: &str) -> bool {
        false
    }

    /// Titles for the form, with one that is asked for but not known.
    fn offered_titles(&self) -> impl Iterator<Item = &str> {
        offered_titles(self.titles, self.group.title.as_deref())
    }

    /// A department number that is asked for but not known.
    fn unknown_department(&self) -> Option<&str> {
        unknown_department(self.departments, self.group.department.as_deref())
    }
}

/// The titles that exist, and the one that is asked for where it is none of them.
fn offered_titles<'a>(titles: &'a [String], asked: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let unknown = asked.filter(|asked| !titles.iter().any(|known| known == asked));
    titles.iter().map(String::as_str).chain(unknown)
}

/// The department that is asked for, where there is none of that number.
fn unknown_department<'a>(departments: &[Headcount], asked: Option<&'a str>) -> Option<&'a str> {
    asked.filter(|asked| !departments.iter().any(|department| department.dept_no == *asked))
}

/// `/employees/{emp_no}`.
#[derive(Template)]
#[template(path = "employee.html")]
pub struct One<'a> {
    /// The footer.
    pub site: Site,
    /// The employee.
    pub employee: &'a Employee,
    /// What they have done.
    pub career: &'a Career,
}

impl One<'_> {
    /// The career as a chart, unless there is none.
    fn timeline(&self) -> Option<Chart> {
        let Career { departments, managers: _, titles, salaries } = self.career;
        let nothing = departments.is_empty() && titles.is_empty() && salaries.is_empty();
        let draw = || chart::timeline::timeline("career", "Career".to_owned(), self.employee.hire_date, self.career);
        (!nothing).then(draw)
    }

    fn highest_salary(&self) -> i64 {
        self.career.salaries.iter().map(|salary| i64::from(salary.salary)).max().unwrap_or_default()
    }
}

/// `/employees`.
#[derive(Template)]
#[template(path = "employees.html")]
pub struct Employees<'a> {
    site: Site,
    departments: &'a [Headcount],
    titles: &'a [String],
    search: &'a Search,
    filter: &'a Filter,
    employees: &'a [Employee],
    mistake: Option<&'a Invalid>,
    name: String,
    found: String,
    files: [(&'static str, String); 3],
    first: Option<String>,
    previous: Option<String>,
    next: Option<String>,
}

impl<'a> Employees<'a> {
    /// The page that `search` found, of a list of `total` employees.
    pub fn new(site: Site, catalog: &'a Catalog, search: &'a Search, page: &'a Page, total: Total) -> Self {
        let link = |query: String| format!("/employees?{query}");
        Self {
            site,
            departments: &catalog.departments,
            titles: &catalog.titles,
            search,
            filter: &search.filter,
            employees: &page.employees,
            mistake: None,
            name: search.filter.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            found: found(total),
            files: [Format::Csv, Format::Json, Format::NdJson].map(|format| (format.name(), file_link(search, format))),
            first: search.cursor.is_some().then(|| link(search.list_query())),
            previous: page.previous.as_ref().map(|cursor| link(search.page_query(cursor))),
            next: page.next.as_ref().map(|cursor| link(search.page_query(cursor))),
        }
    }

    /// The page of a search that cannot be made: the form, with the name as it was typed and everything else that could
    /// be read.
    pub fn refused(site: Site, catalog: &'a Catalog, search: &'a Search, name: String, mistake: &'a Invalid) -> Self {
        static NOBODY: Page = Page { employees: Vec::new(), previous: None, next: None };
        Self {
            mistake: Some(mistake),
            name,
            found: "This search cannot be made".to_owned(),
            ..Self::new(site, catalog, search, &NOBODY, Total { count: 0, exact: true })
        }
    }

    /// Whether that field of the form is what is wrong.
    fn is_wrong(&self, field: &str) -> bool {
        self.mistake.is_some_and(|mistake| mistake.parameter == field)
    }

    /// Titles for the form, with one that is looked for but not known.
    fn offered_titles(&self) -> impl Iterator<Item = &str> {
        offered_titles(self.titles, self.filter.title.as_deref())
    }

    /// A department number that is looked for but not known.
    fn unknown_department(&self) -> Option<&str> {
        unknown_department(self.departments, self.filter.department.as_deref())
    }

    fn column(&self, sort: Sort, label: &'static str) -> Column {
        let sorted = self.search.sort == sort;
        let order = if sorted && self.search.order == Order::Ascending { Order::Descending } else { Order::Ascending };
        let list = Search { sort, order, cursor: None, ..self.search.clone() };
        Column {
            label,
            link: format!("/employees?{}", list.list_query()),
            sorted: match (sorted, self.search.order) {
                (false, _) => None,
                (true, Order::Ascending) => Some("ascending"),
                (true, Order::Descending) => Some("descending"),
            },
        }
    }
}

/// The whole list as a file.
fn file_link(search: &Search, format: Format) -> String {
    let list = Search { limit: Limit::default(), cursor: None, ..search.clone() };
    format!("/api/v1/employees.{}?{}", format.extension(), list.list_query())
}

/// How many were found, in words.
fn found(total: Total) -> String {
    let number = grouped(&total.count.to_string());
    match total {
        Total { count: 0, .. } => "Nobody found".to_owned(),
        Total { count: 1, exact: true } => "1 employee found".to_owned(),
        Total { exact: true, .. } => format!("{number} employees found"),
        Total { exact: false, .. } => format!("About {number} employees found"),
    }
}

/// Digits in groups of three: 2,844,047.
fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The heading of a column that the list can be sorted by.
struct Column {
    label: &'static str,
    link: String,
    sorted: Option<&'static str>,
}

/// `/api/docs`: it needs no database, and has no footer that tells of one.
#[derive(Template)]
#[template(path = "docs.html")]
pub struct ApiDocs;

impl ApiDocs {
    fn icon(&self) -> String {
        ICON.name()
    }
}

/// Any page's error.
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// The footer.
    pub site: Site,
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub title: &'static str,
    /// What happened.
    pub detail: String,
}

/// The filters of our templates. They take values and references alike, since templates hand over either.
mod filters {
    #![expect(unreachable_pub, reason = "askama generates public types for filters, wherever they are")]

    use std::borrow::Borrow;

    use askama::{Result, Values};
    use chrono::NaiveDate;

    /// A number in groups of three digits: 2,844,047.
    #[askama::filter_fn]
    pub(super) fn grouped<N: Borrow<i64>>(number: N, _: &dyn Values) -> Result<String> {
        Ok(super::grouped(&number.borrow().to_string()))
    }

    /// A place in a drawing, to a tenth of its unit.
    #[askama::filter_fn]
    pub(super) fn coordinate<N: Borrow<f64>>(place: N, _: &dyn Values) -> Result<f64> {
        Ok((place.borrow() * 10.0).round() / 10.0)
    }

    /// The end of a span of time.
    #[askama::filter_fn]
    pub(super) fn until<D: Borrow<Option<NaiveDate>>>(date: D, _: &dyn Values) -> Result<String> {
        Ok(date.borrow().map_or_else(|| "today".to_owned(), |date| date.to_string()))
    }

    /// How long a bar is, in hundredths of the longest.
    #[askama::filter_fn]
    pub(super) fn bar<N: Borrow<i64>, L: Borrow<i64>>(value: N, _: &dyn Values, longest: L) -> Result<i64> {
        let (value, longest) = (*value.borrow(), *longest.borrow());
        Ok(if longest > 0 { value.clamp(0, longest) * 100 / longest } else { 0 })
    }
}

/// The largest headcount.
fn largest(departments: &[Headcount]) -> i64 {
    departments.iter().map(|department| department.headcount).max().unwrap_or_default()
}

#[cfg(test)]
mod tests;
