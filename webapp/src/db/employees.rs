//! Employees: the challenge's answer, the searchable list, and one person's history.

use std::collections::HashMap;

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::{MySql, QueryBuilder};
use utoipa::ToSchema;

use super::overview::Counts;
use super::sets::{self, Narrowed, Set, Span};
use super::{Database, Error};
use crate::cursor::{Cursor, Direction, Key};
use crate::search::{Filter, Gender, Name, Order, Search, Sort, Status};

/// One employee.
#[cfg_attr(test, derive(serde::Deserialize))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Employee {
    /// The employee's number.
    #[schema(example = 10_001)]
    pub emp_no: i32,
    /// Birth date.
    pub birth_date: NaiveDate,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// `M` or `F`.
    #[schema(value_type = Gender)]
    pub gender: String,
    /// Hire date.
    pub hire_date: NaiveDate,
}

/// A salary and when it was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Salary {
    /// The salary.
    pub salary: i32,
    /// Since when.
    pub from_date: NaiveDate,
    /// Until when; nothing, null in JSON, is still.
    #[schema(required)]
    pub to_date: Option<NaiveDate>,
}

/// A title and when it was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Title {
    /// The title.
    pub title: String,
    /// Since when.
    pub from_date: NaiveDate,
    /// Until when; nothing, null in JSON, is still.
    #[schema(required)]
    pub to_date: Option<NaiveDate>,
}

/// A department and when the employee was in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Assignment {
    /// The department's number.
    pub dept_no: String,
    /// Its name.
    pub dept_name: String,
    /// Since when.
    pub from_date: NaiveDate,
    /// Until when; nothing, null in JSON, is still.
    #[schema(required)]
    pub to_date: Option<NaiveDate>,
    /// As its manager.
    pub manager: bool,
}

/// Somebody who managed a department while an employee was in it, and when both was so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Superior {
    /// The department's number.
    pub dept_no: String,
    /// Its name.
    pub dept_name: String,
    /// The manager's number.
    #[sqlx(rename = "manager")]
    pub emp_no: i32,
    /// The manager's first name.
    pub first_name: String,
    /// The manager's last name.
    pub last_name: String,
    /// Since when.
    pub from_date: NaiveDate,
    /// Until when; nothing, null in JSON, is still.
    #[schema(required)]
    pub to_date: Option<NaiveDate>,
}

/// What somebody has earned, been and done, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Career {
    /// Departments.
    pub departments: Vec<Assignment>,
    /// The managers of these departments at the time, without the employee.
    pub managers: Vec<Superior>,
    /// Titles.
    pub titles: Vec<Title>,
    /// Salaries.
    pub salaries: Vec<Salary>,
}

/// An employee and what they have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Person {
    /// The employee.
    pub employee: Employee,
    /// Departments, managers, titles and salaries, the newest first.
    pub career: Career,
}

/// A page of the list and the way to its neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows, in the list's order.
    pub employees: Vec<Employee>,
    /// The page in front, if there is one.
    pub previous: Option<Cursor>,
    /// The page behind, if there is one.
    pub next: Option<Cursor>,
}

/// The challenge: male employees born on 1965-02-01 and hired after 1990-01-01, ordered by full name.
///
/// # Errors
/// See [`Error`].
pub async fn show(db: &Database) -> Result<Vec<Employee>, Error> {
    db.read(|pool| {
        sqlx::query_as(
            "SELECT emp_no, birth_date, first_name, last_name, gender, hire_date FROM employees \
             WHERE gender = 'M' AND birth_date = DATE'1965-02-01' AND hire_date > DATE'1990-01-01' \
             ORDER BY first_name, last_name, emp_no",
        )
        .fetch_all(pool)
    })
    .await
}

/// The employee of that number and what they have done; `None` where there is nobody. Who asks at the same time shares
/// the queries.
///
/// # Errors
/// See [`Error`].
pub async fn person(db: &Database, emp_no: u32) -> Result<Option<Person>, Error> {
    db.people.get(emp_no, |numbers| people(db, numbers)).await
}

/// How many people are looked for at once.
pub(super) const MOST_PEOPLE: usize = 32;

/// Those of these numbers that there are. The parts are asked for side by side, each on a connection of its own.
async fn people(db: &Database, numbers: Vec<u32>) -> Result<HashMap<u32, Person>, Error> {
    let (employees, departments, managers, titles, salaries) = tokio::try_join!(
        basics(db, &numbers),
        departments(db, &numbers),
        managers(db, &numbers),
        titles(db, &numbers),
        salaries(db, &numbers),
    )?;
    let mut careers = HashMap::<u32, Career>::with_capacity(employees.len());
    for Of { emp_no, part } in departments {
        careers.entry(emp_no).or_default().departments.push(part);
    }
    for Of { emp_no, part } in titles {
        careers.entry(emp_no).or_default().titles.push(part);
    }
    for Of { emp_no, part } in salaries.into_iter().rev() {
        careers.entry(emp_no).or_default().salaries.push(part);
    }
    let person = |employee: Employee| {
        let number = employee.emp_no.unsigned_abs();
        let mut career = careers.remove(&number).unwrap_or_default();
        career.departments.sort_by(|one, other| {
            let key = |part: &Assignment| (part.from_date, part.manager);
            key(other).cmp(&key(one)).then_with(|| one.dept_no.cmp(&other.dept_no))
        });
        career.managers = superiors(number, &career.departments, &managers);
        (number, Person { employee, career })
    };
    Ok(employees.into_iter().map(person).collect())
}

/// A row about somebody.
#[derive(sqlx::FromRow)]
struct Of<T> {
    #[sqlx(try_from = "i32")]
    emp_no: u32,
    #[sqlx(flatten)]
    part: T,
}

async fn basics(db: &Database, numbers: &[u32]) -> Result<Vec<Employee>, Error> {
    db.read(|pool| async move {
        let mut query = QueryBuilder::new(
            "SELECT emp_no, birth_date, first_name, last_name, gender, hire_date FROM employees WHERE emp_no IN ",
        );
        push_numbers(&mut query, numbers);
        query.build_query_as().fetch_all(pool).await
    })
    .await
}

/// In no order.
async fn departments(db: &Database, numbers: &[u32]) -> Result<Vec<Of<Assignment>>, Error> {
    db.read(|pool| async move {
        let mut query = QueryBuilder::new(
            "SELECT w.emp_no, d.dept_no, d.dept_name, w.from_date, NULLIF(w.to_date, DATE'9999-01-01') AS to_date, \
                    FALSE AS manager \
             FROM dept_emp w JOIN departments d USING (dept_no) WHERE w.emp_no IN ",
        );
        push_numbers(&mut query, numbers);
        query.push(
            " UNION ALL \
             SELECT w.emp_no, d.dept_no, d.dept_name, w.from_date, NULLIF(w.to_date, DATE'9999-01-01'), TRUE \
             FROM dept_manager w JOIN departments d USING (dept_no) WHERE w.emp_no IN ",
        );
        push_numbers(&mut query, numbers);
        query.build_query_as().fetch_all(pool).await
    })
    .await
}

/// All managers of the departments in which these people have been, by department and number: there are a few for each
/// department, whom many of them share.
async fn managers(db: &Database, numbers: &[u32]) -> Result<Vec<Superior>, Error> {
    db.read(|pool| async move {
        let mut query = QueryBuilder::new(
            "SELECT d.dept_no, d.dept_name, e.emp_no AS manager, e.first_name, e.last_name, \
                    m.from_date, NULLIF(m.to_date, DATE'9999-01-01') AS to_date \
             FROM (SELECT DISTINCT dept_no FROM dept_emp WHERE emp_no IN ",
        );
        push_numbers(&mut query, numbers);
        query.push(
            ") w JOIN dept_manager m USING (dept_no) JOIN departments d USING (dept_no) JOIN employees e USING (emp_no) \
             ORDER BY d.dept_no, e.emp_no",
        );
        query.build_query_as().fetch_all(pool).await
    })
    .await
}

/// Those managers whom somebody had in a department, each for as long as both were there, the latest first.
fn superiors(emp_no: u32, departments: &[Assignment], managers: &[Superior]) -> Vec<Superior> {
    let mut superiors = Vec::new();
    for member in departments.iter().filter(|department| !department.manager) {
        let theirs = managers.iter().filter(|manager| manager.dept_no == member.dept_no);
        for manager in theirs.filter(|manager| manager.emp_no.unsigned_abs() != emp_no) {
            let from_date = member.from_date.max(manager.from_date);
            let to_date = member.to_date.into_iter().chain(manager.to_date).min();
            let met = member.to_date.is_none_or(|to| manager.from_date < to)
                && manager.to_date.is_none_or(|to| to > member.from_date);
            if met {
                superiors.push(Superior { from_date, to_date, ..manager.clone() });
            }
        }
    }
    superiors.sort_by(|one, other| {
        let key = |superior: &Superior| (superior.dept_no.clone(), superior.emp_no);
        other.from_date.cmp(&one.from_date).then_with(|| key(one).cmp(&key(other)))
    });
    superiors
}

async fn titles(db: &Database, numbers: &[u32]) -> Result<Vec<Of<Title>>, Error> {
    db.read(|pool| async move {
        let mut query = QueryBuilder::new(
            "SELECT emp_no, title, from_date, NULLIF(to_date, DATE'9999-01-01') AS to_date FROM titles WHERE emp_no IN ",
        );
        push_numbers(&mut query, numbers);
        query.push(" ORDER BY from_date DESC, title");
        query.build_query_as().fetch_all(pool).await
    })
    .await
}

/// The oldest first.
async fn salaries(db: &Database, numbers: &[u32]) -> Result<Vec<Of<Salary>>, Error> {
    db.read(|pool| async move {
        let mut query = QueryBuilder::new(
            "SELECT emp_no, salary, from_date, NULLIF(to_date, DATE'9999-01-01') AS to_date FROM salaries WHERE emp_no IN ",
        );
        push_numbers(&mut query, numbers);
        // As the primary key has them: nothing is sorted, and nothing read backwards, which costs half as much again.
        query.push(" ORDER BY emp_no, from_date");
        query.build_query_as().fetch_all(pool).await
    })
    .await
}

/// The numbers in brackets. The last one is repeated up to a power of two, which gives few different statements, so
/// that each stays prepared.
fn push_numbers(query: &mut QueryBuilder<MySql>, numbers: &[u32]) {
    query.push("(");
    let mut list = query.separated(", ");
    let last = numbers.last().copied().unwrap_or_default();
    for number in numbers.iter().copied().chain(std::iter::repeat(last)).take(numbers.len().next_power_of_two()) {
        list.push_bind(number);
    }
    query.push(")");
}

/// One page of the list that `search` describes.
///
/// MySQL's own choice of a plan goes wrong with filters: it counts on reading all employees of a title and sorting
/// them, where walking along the order and looking each one up finds a page after a few dozen; or it walks along all of
/// the order for eleven people of one name. So the sets of [`super::sets`] tell who can be in the list at all, and with
/// that how the page is found. Those who have two names that are looked for are few, and an index knows where: they are
/// collected and sorted.
///
/// # Errors
/// See [`Error`].
pub async fn list(db: &Database, search: &Search, narrowed: &Narrowed<'_>) -> Result<Page, Error> {
    if search.filter == Filter::default() {
        return Ok(page(search, rows(db, search, Plan::Any).await?));
    }
    let found = if has_two_names(search) {
        rows(db, search, Plan::Collect).await?
    } else {
        match narrowed.candidates().await? {
            Some(candidates) => filtered(db, search, &candidates.all, narrowed.counts).await?,
            None => without_sets(db, search).await?,
        }
    };
    Ok(page(search, found))
}

/// Whether two names are looked for of which an index leads to a few people. Of letters alone there are too many.
fn has_two_names(search: &Search) -> bool {
    matches!(&search.filter.name, Some(Name::Both(one, other)) if letters(one) > 1 && letters(other) > 1)
}

/// How long the beginning of a name is that somebody looks for.
fn letters(word: &str) -> usize {
    word.chars().count()
}

/// How many candidates are looked up at once without another thought: some milliseconds.
const FEW: u64 = 500;

/// The same where a name is looked for and orders the list: most of the order would be walked in vain.
const FEW_OF_A_NAME: u64 = 2000;

/// How many rows are looked for: one more than the page shows.
fn wanted(search: &Search) -> u64 {
    u64::from(search.limit.0) + 1
}

/// How many rows of the order are walked at most where nothing is known of how the candidates are spread along it: one
/// or two milliseconds.
const WINDOW: u64 = 500;

/// The rows of a page where nothing is known of who can be in it: most often many are.
async fn without_sets(db: &Database, search: &Search) -> Result<Vec<Employee>, Error> {
    let found = rows(db, search, Plan::Window(WINDOW)).await?;
    if found.len() as u64 >= wanted(search) {
        return Ok(found);
    }
    rows(db, search, Plan::Collect).await
}

/// The rows of a page of candidates.
async fn filtered(db: &Database, search: &Search, all: &Set, counts: &Counts) -> Result<Vec<Employee>, Error> {
    let by_name = matches!(search.sort, Sort::Name | Sort::LastName) && search.filter.name.is_some();
    if all.len() <= if by_name { FEW_OF_A_NAME } else { FEW } {
        let numbers: Vec<_> = all.numbers().collect();
        return rows(db, search, Plan::Among(&numbers)).await;
    }
    // Twice as far as it takes if they are spread evenly.
    let walk = (2 * wanted(search) * counts.employees.unsigned_abs()).div_ceil(all.len());
    if walk <= WINDOW {
        let found = rows(db, search, Plan::Window(walk)).await?;
        if found.len() as u64 >= wanted(search) {
            return Ok(found);
        }
    }
    let (kind, from) = match (search.sort, search.cursor.as_ref().map(|cursor| &cursor.key)) {
        (Sort::EmpNo, _) => return in_a_row(db, search, &[(0, all.clone())]).await,
        (Sort::Gender, _) => {
            // MySQL orders an ENUM as it is defined, M before F.
            let spans = sets::spans(db, "gender", (None, false), !ascending(search), 2).await?;
            let cut: Vec<_> = spans.iter().map(|span| (u8::from(span.value == "F"), all.and(&span.set))).collect();
            return in_a_row(db, search, &cut).await;
        }
        (Sort::BirthDate, Some(Key::BirthDate(date, _))) => (sets::BORN, Some(date.to_string())),
        (Sort::HireDate, Some(Key::HireDate(date, _))) => (sets::HIRED, Some(date.to_string())),
        // What the filter leaves out is passed over.
        (Sort::BirthDate, _) => (sets::BORN, first(search, search.filter.born_from, search.filter.born_to)),
        (Sort::HireDate, _) => (sets::HIRED, first(search, search.filter.hired_from, search.filter.hired_to)),
        (Sort::Name, Some(Key::Name(first, ..))) => (sets::FIRST[1], Some(first.clone())),
        (Sort::Name, _) => (sets::FIRST[1], None),
        (Sort::LastName, Some(Key::LastName(last, ..))) => (sets::LAST[1], Some(last.clone())),
        (Sort::LastName, _) => (sets::LAST[1], None),
    };
    span_by_span(db, search, all, kind, from).await
}

/// Which of the days between two is the first in the list's order, where there is one.
fn first(search: &Search, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Option<String> {
    if ascending(search) { from } else { to }.map(|day| day.to_string())
}

/// The rows of a page, from those spans of the order on in which there are candidates.
async fn span_by_span(
    db: &Database,
    search: &Search,
    candidates: &Set,
    kind: &'static str,
    mut from: Option<String>,
) -> Result<Vec<Employee>, Error> {
    let (mut found, mut some, mut passed, mut most) = (Vec::new(), Vec::new(), false, 4);
    loop {
        let spans = sets::spans(db, kind, (from.as_deref(), passed), ascending(search), most).await?;
        for span in &spans {
            let both = candidates.and(&span.set);
            let many = both.len() > FEW;
            if !many {
                some.extend(both.numbers());
            }
            if !some.is_empty() && (many || some.len() as u64 >= 2 * wanted(search)) {
                found.extend(rows(db, search, Plan::Among(&some)).await?);
                some.clear();
            }
            if many && (found.len() as u64) < wanted(search) {
                found.extend(along(db, search, span, &both, wanted(search) - found.len() as u64).await?);
            }
            if found.len() as u64 >= wanted(search) {
                return Ok(found);
            }
        }
        if spans.len() < most {
            found.extend(rows(db, search, Plan::Among(&some)).await?);
            return Ok(found);
        }
        from = spans.into_iter().next_back().map(|span| span.value);
        (passed, most) = (true, most * 4);
    }
}

/// The rows of a span in which there are many candidates, so many at least if there are: from a stretch of it that is
/// twice as long as it takes if they are spread evenly, else from all of it.
async fn along(
    db: &Database,
    search: &Search,
    span: &Span,
    candidates: &Set,
    enough: u64,
) -> Result<Vec<Employee>, Error> {
    let stretch = (2 * enough * span.set.len()).div_ceil(candidates.len().max(1));
    if stretch < span.set.len() {
        let found = rows(db, search, Plan::Along(span, stretch)).await?;
        if found.len() as u64 >= enough {
            return Ok(found);
        }
    }
    rows(db, search, Plan::Along(span, span.set.len())).await
}

/// The rows of a page by number: the candidates have that order already, in each of the groups that follow each other.
/// Each has its place among the groups.
async fn in_a_row(db: &Database, search: &Search, groups: &[(u8, Set)]) -> Result<Vec<Employee>, Error> {
    let from = match search.cursor.as_ref().map(|cursor| &cursor.key) {
        Some(Key::EmpNo(number)) => Some((0, *number)),
        Some(Key::Gender(gender, number)) => Some((u8::from(*gender == Gender::Female), *number)),
        _ => None,
    };
    let ascending = ascending(search);
    let mut numbers: Vec<i32> = Vec::new();
    for (place, group) in groups {
        let behind = |number: &i32| {
            from.is_none_or(|from| if ascending { (*place, *number) > from } else { (*place, *number) < from })
        };
        let all = group.numbers().filter(behind);
        if ascending { numbers.extend(all) } else { numbers.extend(all.rev()) }
    }
    let mut found = Vec::new();
    // Most often the first candidates are it; only where a filter says more than the sets is it worth to look up more
    // at once.
    let mut rest = numbers.as_slice();
    let mut most = search.limit.0 as usize + 1;
    while !rest.is_empty() && (found.len() as u64) < wanted(search) {
        let (some, others) = rest.split_at(most.min(rest.len()));
        found.extend(rows(db, search, Plan::Among(some)).await?);
        (rest, most) = (others, most * 4);
    }
    Ok(found)
}

/// How the rows of a page are found. All plans give the same rows, except that [`Plan::Window`],
/// [`Plan::Among`] and [`Plan::Along`] look no further than they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan<'a> {
    /// As MySQL thinks best.
    Any,
    /// Along the order, no further than so many rows.
    Window(u64),
    /// Those of these numbers that pass.
    Among(&'a [i32]),
    /// Along the order, in one span of it, no further than so many rows.
    Along(&'a Span, u64),
    /// Filter first, then sort.
    Collect,
}

pub(super) async fn rows(db: &Database, search: &Search, plan: Plan<'_>) -> Result<Vec<Employee>, Error> {
    db.read(|pool| async move { page_query(search, plan).build_query_as::<Employee>().fetch_all(pool).await }).await
}

/// Cuts the one row too many that [`page_query`] asks for, and finds the neighbours.
fn page(search: &Search, mut employees: Vec<Employee>) -> Page {
    let limit = search.limit.0 as usize;
    let more = employees.len() > limit;
    employees.truncate(limit);
    let direction = search.cursor.as_ref().map(|cursor| cursor.direction);
    // Where a cursor led here, the row that it was made from lies on the other side.
    let (before, after) = match direction {
        None => (false, more),
        Some(Direction::Next) => (true, more),
        Some(Direction::Previous) => {
            employees.reverse();
            (more, true)
        }
    };
    let cursor = |row: Option<&Employee>, direction| row.map(|row| Cursor { direction, key: key(row, search.sort) });
    Page {
        previous: if before { cursor(employees.first(), Direction::Previous) } else { None },
        next: if after { cursor(employees.last(), Direction::Next) } else { None },
        employees,
    }
}

pub(super) fn key(row: &Employee, sort: Sort) -> Key {
    match sort {
        Sort::EmpNo => Key::EmpNo(row.emp_no),
        Sort::Name => Key::Name(row.first_name.clone(), row.last_name.clone(), row.emp_no),
        Sort::LastName => Key::LastName(row.last_name.clone(), row.first_name.clone(), row.emp_no),
        Sort::Gender => Key::Gender(if row.gender == "F" { Gender::Female } else { Gender::Male }, row.emp_no),
        Sort::BirthDate => Key::BirthDate(row.birth_date, row.emp_no),
        Sort::HireDate => Key::HireDate(row.hire_date, row.emp_no),
    }
}

/// The statement for one page and one row more. Values are bound; what is put together are constants of this file.
pub(super) fn page_query(search: &Search, plan: Plan<'_>) -> QueryBuilder<MySql> {
    let ascending = ascending(search);
    let order = |table| order_by(table, search.sort, ascending);
    let hints = match plan {
        Plan::Any => "",
        Plan::Window(_) | Plan::Along(..) => "JOIN_PREFIX(w)",
        Plan::Among(_) => "JOIN_PREFIX(n)",
        Plan::Collect => match &search.filter.name {
            Some(Name::Both(..)) => "JOIN_PREFIX(n)",
            // A long beginning of either name is found through the indexes of each.
            Some(Name::Either(word)) if letters(word) > 2 => {
                "NO_ORDER_INDEX(e) INDEX_MERGE(e tandem_name, tandem_last_name)"
            }
            // Half of all employees are not found faster through an index.
            _ => "NO_ORDER_INDEX(e) NO_INDEX(e tandem_gender)",
        },
    };
    let mut query = QueryBuilder::new("SELECT /*+ ");
    query.push(hints);
    query.push(" */ ").push(COLUMNS).push(" FROM ");
    let within = match plan {
        Plan::Window(window) => Some((window, None)),
        Plan::Along(span, most) => Some((most, Some(span))),
        Plan::Any | Plan::Among(_) | Plan::Collect => None,
    };
    let order = if let Some((window, span)) = within {
        // The window is read from the index alone; its employees are looked up one by one, until the page is full.
        query.push("(").push(select_along(search.sort)).push(columns("e", search.sort, ""));
        query.push(" FROM employees e WHERE TRUE");
        push_range(&mut query, search);
        if let Some(span) = span {
            push_span(&mut query, search.sort, span);
        }
        push_position(&mut query, search.cursor.as_ref(), ascending);
        query.push(order("e")).push(" LIMIT ").push_bind(window);
        query.push(") w JOIN employees e ON e.emp_no = w.emp_no WHERE TRUE");
        push_filter(&mut query, &search.filter);
        order("w")
    } else {
        match (plan, &search.filter.name) {
            (Plan::Among(numbers), _) => push_numbered(&mut query, numbers),
            (Plan::Collect, Some(Name::Both(one, other))) => push_named(&mut query, one, other),
            _ => {
                query.push("employees e WHERE TRUE");
            }
        }
        push_filter(&mut query, &search.filter);
        push_position(&mut query, search.cursor.as_ref(), ascending);
        order("e")
    };
    query.push(order).push(" LIMIT ").push_bind(search.limit.0 + 1);
    query
}

/// Whether the rows of a page are read upwards: those in front of a cursor are read the other way round.
fn ascending(search: &Search) -> bool {
    let backwards = search.cursor.as_ref().is_some_and(|cursor| cursor.direction == Direction::Previous);
    (search.order == Order::Ascending) != backwards
}

/// The employees of these numbers. All numbers are one value, so that the statement is the same for any of them.
pub(super) fn push_numbered(query: &mut QueryBuilder<MySql>, numbers: &[i32]) {
    let list = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    query.push("JSON_TABLE(").push_bind(format!("[{list}]"));
    query.push(", '$[*]' COLUMNS (emp_no INT PATH '$')) n JOIN employees e ON e.emp_no = n.emp_no WHERE TRUE");
}

/// The employees with two names that begin so, in either order. Both indexes have both names, and each is read where
/// the longer beginning leads: a short one, such as two letters, would lead to thousands of others.
fn push_named(query: &mut QueryBuilder<MySql>, one: &str, other: &str) {
    let (long, short) = if letters(one) < letters(other) { (other, one) } else { (one, other) };
    query.push("(SELECT /*+ INDEX(a tandem_name) */ a.emp_no FROM employees a WHERE a.first_name LIKE ");
    query.push_bind(prefix(long)).push(" AND a.last_name LIKE ").push_bind(prefix(short));
    query.push(" UNION SELECT /*+ INDEX(a tandem_last_name) */ a.emp_no FROM employees a WHERE a.last_name LIKE ");
    query.push_bind(prefix(long)).push(" AND a.first_name LIKE ").push_bind(prefix(short));
    query.push(") n JOIN employees e ON e.emp_no = n.emp_no WHERE TRUE");
}

/// What an [`Employee`] is made of.
pub(super) const COLUMNS: &str = "e.emp_no, e.birth_date, e.first_name, e.last_name, e.gender, e.hire_date";

/// The beginning of a statement that walks along the order. The index is named by a hint, which MySQL ignores where the
/// migrations have not made it. With the narrower `ORDER_INDEX`, MySQL walks from the index's end even where a filter
/// or a cursor says where to begin (tried with 9.7).
pub(super) fn select_along(sort: Sort) -> &'static str {
    match sort {
        Sort::EmpNo => "SELECT /*+ INDEX(e PRIMARY) */ ",
        Sort::Name => "SELECT /*+ INDEX(e tandem_name) */ ",
        Sort::LastName => "SELECT /*+ INDEX(e tandem_last_name) */ ",
        Sort::Gender => "SELECT /*+ INDEX(e tandem_gender) */ ",
        Sort::BirthDate => "SELECT /*+ INDEX(e tandem_birth_date) */ ",
        Sort::HireDate => "SELECT /*+ INDEX(e tandem_hire_date) */ ",
    }
}

/// The columns that the list is ordered by, each with `suffix`.
fn columns(table: &str, sort: Sort, suffix: &str) -> String {
    let names: &[&str] = match sort {
        Sort::EmpNo => &["emp_no"],
        Sort::Name => &["first_name", "last_name", "emp_no"],
        Sort::LastName => &["last_name", "first_name", "emp_no"],
        // An ENUM: its order is that of its definition, M before F.
        Sort::Gender => &["gender", "emp_no"],
        Sort::BirthDate => &["birth_date", "emp_no"],
        Sort::HireDate => &["hire_date", "emp_no"],
    };
    names.iter().map(|name| format!("{table}.{name}{suffix}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn order_by(table: &str, sort: Sort, ascending: bool) -> String {
    format!(" ORDER BY {}", columns(table, sort, if ascending { "" } else { " DESC" }))
}

/// The filters on the column that the list is ordered by: they bound a walk along the order.
pub(super) fn push_range(query: &mut QueryBuilder<MySql>, search: &Search) {
    match search.sort {
        Sort::EmpNo | Sort::Name | Sort::LastName => {}
        Sort::Gender => push_gender(query, &search.filter),
        Sort::BirthDate => push_births(query, &search.filter),
        Sort::HireDate => push_hires(query, &search.filter),
    }
}

/// The rows of a span of the order.
fn push_span(query: &mut QueryBuilder<MySql>, sort: Sort, span: &Span) {
    let Span { value, ends, set: _ } = span;
    match sort {
        // These have no spans.
        Sort::EmpNo | Sort::Gender => {}
        Sort::Name | Sort::LastName => {
            query.push(if sort == Sort::Name { " AND e.first_name LIKE " } else { " AND e.last_name LIKE " });
            // A name that is shorter than what others begin with has a span of its own.
            query.push_bind(if letters(value) < 2 { literal(value) } else { prefix(value) });
        }
        Sort::BirthDate => {
            query.push(" AND e.birth_date BETWEEN ").push_bind(value.clone()).push(" AND ").push_bind(*ends);
        }
        Sort::HireDate => {
            query.push(" AND e.hire_date BETWEEN ").push_bind(value.clone()).push(" AND ").push_bind(*ends);
        }
    }
}

/// Rows behind the cursor's key. Written out, since MySQL finds no index range in `(a, b) > (?, ?)`.
pub(super) fn push_position(query: &mut QueryBuilder<MySql>, cursor: Option<&Cursor>, ascending: bool) {
    let Some(Cursor { key, .. }) = cursor else { return };
    let than = if ascending { " > " } else { " < " };
    match key {
        Key::EmpNo(emp_no) => {
            query.push(" AND e.emp_no").push(than).push_bind(*emp_no);
        }
        Key::Name(first, last, emp_no) => {
            query.push(" AND (e.first_name").push(than).push_bind(first.clone());
            query.push(" OR (e.first_name = ").push_bind(first.clone());
            query.push(" AND (e.last_name").push(than).push_bind(last.clone());
            query.push(" OR (e.last_name = ").push_bind(last.clone());
            query.push(" AND e.emp_no").push(than).push_bind(*emp_no).push("))))");
        }
        Key::LastName(last, first, emp_no) => {
            query.push(" AND (e.last_name").push(than).push_bind(last.clone());
            query.push(" OR (e.last_name = ").push_bind(last.clone());
            query.push(" AND (e.first_name").push(than).push_bind(first.clone());
            query.push(" OR (e.first_name = ").push_bind(first.clone());
            query.push(" AND e.emp_no").push(than).push_bind(*emp_no).push("))))");
        }
        // Written out, since MySQL compares an ENUM as a text with `<`, in another order than it sorts by.
        Key::Gender(gender, emp_no) => {
            query.push(match (gender, ascending) {
                (Gender::Male, true) => " AND (e.gender = 'F' OR e.gender = 'M' AND e.emp_no",
                (Gender::Female, false) => " AND (e.gender = 'M' OR e.gender = 'F' AND e.emp_no",
                (Gender::Female, true) => " AND (e.gender = 'F' AND e.emp_no",
                (Gender::Male, false) => " AND (e.gender = 'M' AND e.emp_no",
            });
            query.push(than).push_bind(*emp_no).push(")");
        }
        Key::BirthDate(date, emp_no) => {
            query.push(" AND (e.birth_date").push(than).push_bind(*date);
            query.push(" OR (e.birth_date = ").push_bind(*date);
            query.push(" AND e.emp_no").push(than).push_bind(*emp_no).push("))");
        }
        Key::HireDate(date, emp_no) => {
            query.push(" AND (e.hire_date").push(than).push_bind(*date);
            query.push(" OR (e.hire_date = ").push_bind(*date);
            query.push(" AND e.emp_no").push(than).push_bind(*emp_no).push("))");
        }
    }
}

fn push_gender(query: &mut QueryBuilder<MySql>, filter: &Filter) {
    match filter.gender {
        None => {}
        Some(Gender::Male) => {
            query.push(" AND e.gender = 'M'");
        }
        Some(Gender::Female) => {
            query.push(" AND e.gender = 'F'");
        }
    }
}

fn push_births(query: &mut QueryBuilder<MySql>, filter: &Filter) {
    if let Some(date) = filter.born_from {
        query.push(" AND e.birth_date >= ").push_bind(date);
    }
    if let Some(date) = filter.born_to {
        query.push(" AND e.birth_date <= ").push_bind(date);
    }
}

fn push_hires(query: &mut QueryBuilder<MySql>, filter: &Filter) {
    if let Some(date) = filter.hired_from {
        query.push(" AND e.hire_date >= ").push_bind(date);
    }
    if let Some(date) = filter.hired_to {
        query.push(" AND e.hire_date <= ").push_bind(date);
    }
}

pub(super) fn push_filter(query: &mut QueryBuilder<MySql>, filter: &Filter) {
    // Destructured in full: a new filter cannot be forgotten here.
    let Filter { name, department, title, gender: _, born_from: _, born_to: _, hired_from: _, hired_to: _, status } =
        filter;
    match name {
        None => {}
        Some(Name::Either(word)) => {
            query.push(" AND (e.first_name LIKE ").push_bind(prefix(word));
            query.push(" OR e.last_name LIKE ").push_bind(prefix(word)).push(")");
        }
        Some(Name::Both(one, other)) => {
            query.push(" AND (e.first_name LIKE ").push_bind(prefix(one));
            query.push(" AND e.last_name LIKE ").push_bind(prefix(other));
            query.push(" OR e.first_name LIKE ").push_bind(prefix(other));
            query.push(" AND e.last_name LIKE ").push_bind(prefix(one)).push(")");
        }
    }
    push_gender(query, filter);
    push_births(query, filter);
    push_hires(query, filter);
    let current = *status == Some(Status::Current);
    if let Some(department) = department {
        query.push(" AND EXISTS (SELECT 1 FROM dept_emp d WHERE d.emp_no = e.emp_no AND d.dept_no = ");
        query.push_bind(department.clone());
        query.push(if current { " AND d.to_date = DATE'9999-01-01')" } else { ")" });
    }
    if let Some(title) = title {
        query.push(" AND EXISTS (SELECT 1 FROM titles t WHERE t.emp_no = e.emp_no AND t.title = ");
        query.push_bind(title.clone());
        query.push(if current { " AND (t.to_date = DATE'9999-01-01' OR t.to_date IS NULL))" } else { ")" });
    }
    const IS_CURRENT: &str =
        "EXISTS (SELECT 1 FROM dept_emp c WHERE c.emp_no = e.emp_no AND c.to_date = DATE'9999-01-01')";
    match status {
        None => {}
        // Somebody who is in the department today is a current employee already.
        Some(Status::Current) if department.is_some() => {}
        Some(Status::Current) => {
            query.push(" AND ").push(IS_CURRENT);
        }
        Some(Status::Former) => {
            query.push(" AND NOT ").push(IS_CURRENT);
        }
    }
}

/// The `LIKE` pattern of texts that begin with `word`, whatever characters it has.
pub(super) fn prefix(word: &str) -> String {
    literal(word) + "%"
}

/// The `LIKE` pattern of `word` alone.
fn literal(word: &str) -> String {
    let mut pattern = String::with_capacity(word.len() + 1);
    for character in word.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Limit;
    use rstest::rstest;

    fn rows(numbers: &[i32]) -> Vec<Employee> {
        let day = NaiveDate::from_ymd_opt(1990, 1, 1).unwrap();
        let row = |&emp_no: &i32| Employee {
            emp_no,
            birth_date: day,
            first_name: "A".to_owned(),
            last_name: "B".to_owned(),
            gender: "M".to_owned(),
            hire_date: day,
        };
        numbers.iter().map(row).collect()
    }

    fn at(direction: Direction, emp_no: i32) -> Option<Cursor> {
        Some(Cursor { direction, key: Key::EmpNo(emp_no) })
    }

    #[rstest]
    #[case("first page, the only one", None, &[1, 2], &[1, 2], None, None)]
    #[case("first page of several", None, &[1, 2, 3], &[1, 2], None, Some(2))]
    #[case("in the middle, forwards", at(Direction::Next, 2), &[3, 4, 5], &[3, 4], Some(3), Some(4))]
    #[case("last page", at(Direction::Next, 2), &[3], &[3], Some(3), None)]
    #[case("in the middle, backwards", at(Direction::Previous, 5), &[4, 3, 2], &[3, 4], Some(3), Some(4))]
    #[case("back on the first page", at(Direction::Previous, 3), &[2, 1], &[1, 2], None, Some(2))]
    #[case("behind the end", at(Direction::Next, 9), &[], &[], None, None)]
    fn a_page_knows_its_neighbours(
        #[case] _name: &str,
        #[case] cursor: Option<Cursor>,
        #[case] found: &[i32],
        #[case] shown: &[i32],
        #[case] previous: Option<i32>,
        #[case] next: Option<i32>,
    ) {
        let search = Search { limit: Limit(2), cursor, ..Search::default() };
        let page = page(&search, rows(found));
        assert_eq!(page.employees, rows(shown));
        assert_eq!(page.previous, previous.and_then(|n| at(Direction::Previous, n)));
        assert_eq!(page.next, next.and_then(|n| at(Direction::Next, n)));
    }

    #[rstest]
    #[case("Ka", "Ka%")]
    #[case("100%_\\", "100\\%\\_\\\\%")]
    fn wildcards_in_a_name_stand_for_themselves(#[case] word: &str, #[case] pattern: &str) {
        assert_eq!(prefix(word), pattern);
    }

    #[rstest]
    #[case("q=ab+cd", true)]
    #[case("q=é+é", false)]
    #[case("q=éa+b", false)]
    #[case("q=éa+çb", true)]
    #[case("q=ab", false)]
    fn of_letters_alone_there_are_too_many_in_any_alphabet(#[case] query: &str, #[case] two_names: bool) {
        assert_eq!(has_two_names(&Search::parse(query).unwrap()), two_names);
    }

    #[rstest]
    #[case("q=abc", true)]
    #[case("q=ab", false)]
    #[case("q=éa", false)]
    #[case("q=éaç", true)]
    fn a_long_beginning_is_looked_for_in_two_indexes(#[case] query: &str, #[case] long: bool) {
        let statement = page_query(&Search::parse(query).unwrap(), Plan::Collect).sql().as_str().to_owned();
        assert_eq!(statement.contains("INDEX_MERGE"), long, "{statement}");
    }

    #[test]
    fn no_value_of_a_search_gets_into_the_statement() {
        let marked = "q=zzz1+zzz2&department=zzz3&title=zzz4&born_from=1999-12-31&hired_to=1999-12-31&sort=name";
        let search = Search {
            cursor: Some(Cursor {
                direction: Direction::Next,
                key: Key::Name("zzz5".to_owned(), "zzz6".to_owned(), 77_777),
            }),
            ..Search::parse(marked).unwrap()
        };
        let span = Span { value: "zzz7".to_owned(), ends: None, set: Set::default() };
        for plan in [Plan::Any, Plan::Window(1000), Plan::Among(&[77_777]), Plan::Along(&span, 1000), Plan::Collect] {
            let statement = page_query(&search, plan).sql().as_str().to_owned();
            assert!(!["zzz", "1999", "77777"].iter().any(|value| statement.contains(value)), "{statement}");
        }
    }
}
