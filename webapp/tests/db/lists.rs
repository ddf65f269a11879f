//! The list on a real MySQL against a model in memory: every order in both directions, random filters, totals.

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::{AssertSqlSafe, Executor};
use tandem_webapp::db;
use tandem_webapp::db::employees::Employee;
use tandem_webapp::db::sets::Narrowed;
use tandem_webapp::db::totals::{Total, total};
use tandem_webapp::migrations::{self, Recompute};
use tandem_webapp::search::{Filter, Gender, Limit, Name, Order, Search, Sort, Status};

use super::{Fixture, PATIENCE, SCHEMA, get, json, list};

/// How many searches are tried, each with all its pages in both directions.
const SEARCHES: usize = 150;

/// Few values each, so that there are many ties.
pub(super) const FIRST_NAMES: &[&str] = &["Ada", "Alma", "Bo", "Bob", "Mo"];
pub(super) const LAST_NAMES: &[&str] = &["Ant", "Antler", "Bobson", "Moor"];
pub(super) const DAYS: &[&str] = &["1952-02-29", "1965-02-01", "1965-02-02", "1999-12-31"];
const DEPARTMENTS: &[&str] = &["d001", "d002"];
const TITLES: &[&str] = &["Engineer", "Staff"];

/// An employee of the model: departments and titles, and whether each is held today.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) row: Employee,
    pub(super) departments: Vec<(&'static str, bool)>,
    pub(super) titles: Vec<(&'static str, bool)>,
}

impl Person {
    fn is_current(&self) -> bool {
        self.departments.iter().any(|(_, current)| *current)
    }

    /// What the list's filter means, said a second time.
    fn passes(&self, filter: &Filter) -> bool {
        let Filter { name, department, title, gender, born_from, born_to, hired_from, hired_to, status } = filter;
        let begins = |text: &str, word: &str| text.to_lowercase().starts_with(&word.to_lowercase());
        let first = |word: &str| begins(&self.row.first_name, word);
        let last = |word: &str| begins(&self.row.last_name, word);
        let held = |all: &[(&str, bool)], wanted: &String| {
            all.iter().any(|(one, current)| one == wanted && (*current || *status != Some(Status::Current)))
        };
        let named = name.as_ref().is_none_or(|name| match name {
            Name::Either(word) => first(word) || last(word),
            Name::Both(one, other) => first(one) && last(other) || first(other) && last(one),
        });
        named
            && department.as_ref().is_none_or(|wanted| held(&self.departments, wanted))
            && title.as_ref().is_none_or(|wanted| held(&self.titles, wanted))
            && gender.is_none_or(|gender| self.row.gender == gender.word())
            && born_from.is_none_or(|day| self.row.birth_date >= day)
            && born_to.is_none_or(|day| self.row.birth_date <= day)
            && hired_from.is_none_or(|day| self.row.hire_date >= day)
            && hired_to.is_none_or(|day| self.row.hire_date <= day)
            && status.is_none_or(|status| self.is_current() == (status == Status::Current))
    }
}

/// The numbers that `search` finds, all of them, in its order.
pub(super) fn expected(people: &[Person], search: &Search) -> Vec<i32> {
    let mut rows: Vec<_> =
        people.iter().filter(|person| person.passes(&search.filter)).map(|person| &person.row).collect();
    rows.sort_by_key(|row| {
        let (first, last) = (row.first_name.clone(), row.last_name.clone());
        // Every order as texts: dates sort as they are written, and F comes after M.
        let (one, other) = match search.sort {
            Sort::EmpNo => (String::new(), String::new()),
            Sort::BirthDate => (row.birth_date.to_string(), String::new()),
            Sort::Name => (first, last),
            Sort::LastName => (last, first),
            Sort::Gender => (if row.gender == "M" { "1" } else { "2" }.to_owned(), String::new()),
            Sort::HireDate => (row.hire_date.to_string(), String::new()),
        };
        (one, other, row.emp_no)
    });
    if search.order == Order::Descending {
        rows.reverse();
    }
    rows.into_iter().map(|row| row.emp_no).collect()
}

pub(super) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn people() -> impl Strategy<Value = Vec<Person>> {
    let pick = |all: &'static [&'static str]| proptest::sample::select(all);
    let held = |all: &'static [&'static str]| {
        proptest::sample::subsequence(all.to_vec(), 0..=all.len())
            .prop_flat_map(|some| some.into_iter().map(|one| (Just(one), any::<bool>())).collect::<Vec<_>>())
    };
    let person = (
        pick(FIRST_NAMES),
        pick(LAST_NAMES),
        pick(DAYS),
        pick(DAYS),
        pick(&["M", "F"]),
        held(DEPARTMENTS),
        held(TITLES),
        1..4_i32,
    );
    proptest::collection::vec(person, 120).prop_map(|all| {
        let mut emp_no = 10_000;
        let person =
            |(first, last, born, hired, gender, departments, titles, step): (&str, &str, &str, &str, &str, _, _, _)| {
                emp_no += step;
                let row = Employee {
                    emp_no,
                    birth_date: day(born),
                    first_name: first.to_owned(),
                    last_name: last.to_owned(),
                    gender: gender.to_owned(),
                    hire_date: day(hired),
                };
                Person { row, departments, titles }
            };
        all.into_iter().map(person).collect()
    })
}

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    // Beginnings of names, in any case.
    let word = "(a|A|AL|bo|BOB|mo|antl|x|%)";
    let name = prop_oneof![word.prop_map(Name::Either), (word, word).prop_map(|(one, other)| Name::Both(one, other))];
    let some_day = || proptest::option::weighted(0.2, proptest::sample::select(DAYS).prop_map(day));
    let some = |all: &'static [&'static str]| {
        proptest::option::weighted(0.3, proptest::sample::select(all).prop_map(str::to_owned))
    };
    (
        proptest::option::weighted(0.3, name),
        some(&["d001", "d002", "d009"]),
        some(&["Engineer", "Staff", "Boss"]),
        proptest::option::weighted(0.3, proptest::sample::select(Gender::ALL)),
        (some_day(), some_day(), some_day(), some_day()),
        proptest::option::weighted(0.4, proptest::sample::select(Status::ALL)),
    )
        .prop_map(|(name, department, title, gender, (born_from, born_to, hired_from, hired_to), status)| {
            let (born_from, born_to) = in_order(born_from, born_to);
            let (hired_from, hired_to) = in_order(hired_from, hired_to);
            Filter { name, department, title, gender, born_from, born_to, hired_from, hired_to, status }
        })
}

/// A span of time that is not refused.
fn in_order(from: Option<NaiveDate>, to: Option<NaiveDate>) -> (Option<NaiveDate>, Option<NaiveDate>) {
    if to.is_some() && from > to { (to, from) } else { (from, to) }
}

/// A database with the people of the model and our indexes.
pub(super) async fn filled(people: &[Person]) -> Option<Fixture> {
    let fixture = Fixture::empty().await?;
    fixture.run(SCHEMA).await;
    let (mut employees, mut members, mut titled) = (Vec::new(), Vec::new(), Vec::new());
    for Person { row, departments, titles } in people {
        let Employee { emp_no, birth_date, first_name, last_name, gender, hire_date } = row;
        employees.push(format!("({emp_no},'{birth_date}','{first_name}','{last_name}','{gender}','{hire_date}')"));
        let until = |current: &bool| if *current { "9999-01-01" } else { "2000-01-01" };
        let held = |name: &str, current| format!("({emp_no},'{name}','1999-01-01','{}')", until(current));
        members.extend(departments.iter().map(|(number, current)| held(number, current)));
        titled.extend(titles.iter().map(|(title, current)| held(title, current)));
    }
    let sql = format!(
        "INSERT INTO departments VALUES ('d001', 'One'), ('d002', 'Two'); INSERT INTO employees VALUES {}; \
         INSERT INTO dept_emp VALUES {}; INSERT INTO titles VALUES {}",
        employees.join(","),
        members.join(","),
        titled.join(",")
    );
    fixture.connection().await.execute(AssertSqlSafe(sql)).await.unwrap();
    migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
    Some(fixture)
}

pub(super) fn generate<T>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

fn emp_nos(rows: &[Employee]) -> Vec<i32> {
    rows.iter().map(|row| row.emp_no).collect()
}

/// The exact total: where the server is too busy to count a handful in time, it is asked again.
async fn counted(ask: impl AsyncFn() -> Total) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let total = ask().await;
        if total.exact {
            return total.count;
        }
        assert!(Instant::now() < deadline, "never counted: {total:?}");
    }
}

#[tokio::test]
async fn pages_of_random_searches_give_each_row_once_in_order_forwards_and_backwards() {
    let mut runner = TestRunner::deterministic();
    let people = generate(&mut runner, &people());
    let fixture = fixture!(filled(&people));
    let db = fixture.database();
    let orders: Vec<_> =
        Sort::ALL.iter().flat_map(|&sort| Order::ALL.iter().map(move |&order| (sort, order))).collect();
    let counts = db::overview::counts(&db).await.unwrap();
    for number in 0..SEARCHES {
        let (sort, order) = orders[number % orders.len()];
        let (filter, limit) = generate(&mut runner, &(filter(), 3..40_u32));
        let mut search = Search { filter, sort, order, limit: Limit(limit), cursor: None };
        let expected = expected(&people, &search);
        let about = search.list_query();

        let mut pages: Vec<Vec<i32>> = Vec::new();
        let first = loop {
            let page = list(&db, &search).await;
            assert_eq!(page.previous.is_none(), pages.is_empty(), "{about}");
            pages.push(emp_nos(&page.employees));
            match page.next {
                Some(next) => search.cursor = Some(next),
                None => break page.previous,
            }
        };
        assert_eq!(pages.concat(), expected, "{about}");
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit as usize), "{about}");

        pages.pop();
        search.cursor = first;
        while search.cursor.is_some() {
            let page = list(&db, &search).await;
            assert_eq!(Some(emp_nos(&page.employees)), pages.pop(), "{about}, backwards");
            assert!(page.next.is_some(), "{about}, backwards");
            search.cursor = page.previous;
        }
        assert!(pages.is_empty(), "{about}, backwards");

        search.cursor = None;
        let page = list(&db, &search).await;
        let narrowed = Narrowed::new(&db, &search.filter, &counts);
        let total = total(&db, &search, &page, &narrowed).await.unwrap();
        assert_eq!(total, Total { count: expected.len() as u64, exact: true }, "{about}");

        // As where somebody has come since the sets were made, which are not used then.
        let more = db::overview::Counts { employees: counts.employees + 1, ..counts };
        let without = Narrowed::new(&db, &search.filter, &more);
        assert_eq!(db::employees::list(&db, &search, &without).await.unwrap(), page, "{about}, without sets");
    }
}

/// Inserts 40,000 employees: every second a woman, every hundredth a "Rare", numbers with a gap in the middle.
pub(super) const MANY: &str = "SET SESSION cte_max_recursion_depth = 40000; \
    INSERT INTO employees \
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 39999) \
    SELECT IF(i < 20000, i, i + 100000), '1960-01-01', IF(i % 100 = 0, 'Rare', 'Common'), 'Name', IF(i % 2, 'F', 'M'), '1990-01-01' \
    FROM n; ANALYZE TABLE employees";

#[tokio::test]
async fn totals_are_exact_where_that_is_quick_and_said_to_be_estimates_where_not() {
    let fixture = fixture!(Fixture::empty());
    fixture.run(SCHEMA).await;
    fixture.run(MANY).await;
    migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
    let pages = fixture.pages();
    let of = async |query: &str| {
        let found = json(&pages, &format!("/api/v1/employees?{query}")).await;
        Total { count: found["total"].as_u64().unwrap(), exact: found["total_is_exact"].as_bool().unwrap() }
    };
    assert_eq!(of("").await, Total { count: 40_000, exact: true });
    assert_eq!(counted(async || of("q=rare").await).await, 400);
    assert_eq!(counted(async || of("q=rare&gender=M").await).await, 400);
    assert_eq!(counted(async || of("q=nobody").await).await, 0);
    // The sets say how many, as far as they go: a name of two letters, but not of three.
    for query in ["gender=F", "gender=F&q=co", "gender=F&sort=name&order=desc&limit=5"] {
        assert_eq!(of(query).await, Total { count: 20_000, exact: true }, "{query}");
    }
    assert_eq!(of("gender=F&q=com").await, Total { count: 20_000, exact: false });
    // Without them there are estimates.
    fixture.run("DROP TABLE tandem_sets").await;
    for query in ["gender=F", "gender=M&q=c", "gender=F&sort=name&order=desc&limit=5"] {
        let Total { count, exact } = of(query).await;
        assert!(!exact && (18_000..=22_000).contains(&count), "{query}: {count}");
    }
    let (_, page) = get(&pages, "/employees?gender=F").await;
    assert!(page.contains(&format!(">About {},000 employees found</h2>", of("gender=F").await.count / 1000)), "{page}");
}

#[tokio::test]
async fn who_came_since_everybody_was_counted_is_not_nobody() {
    let fixture = fixture!(Fixture::empty());
    fixture.run(SCHEMA).await;
    let pages = fixture.pages();
    assert_eq!(json(&pages, "/api/v1/employees").await["total"], 0);
    fixture
        .run(
            "INSERT INTO employees WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) \
             SELECT i, '1960-01-01', 'A', 'B', 'F', '1990-01-01' FROM n",
        )
        .await;
    let found = json(&pages, "/api/v1/employees").await;
    assert!(!found["next"].is_null());
    assert_eq!((found["total"].as_u64(), found["total_is_exact"].as_bool()), (Some(26), Some(false)), "{found}");
    let found = json(&pages, "/api/v1/employees?limit=100").await;
    assert_eq!((found["total"].as_u64(), found["total_is_exact"].as_bool()), (Some(30), Some(true)), "{found}");
}

#[tokio::test]
async fn what_the_sets_do_not_know_is_known_all_the_same() {
    let fixture = fixture!(Fixture::empty());
    fixture.run(SCHEMA).await;
    // Spread over four thousand days, of which each span has a hundred and twenty-five.
    fixture
        .run(
            "SET SESSION cte_max_recursion_depth = 40000; INSERT INTO employees \
             WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 39999) \
             SELECT i, '1950-01-01' + INTERVAL (i MOD 4000) DAY, IF(i % 19, 'Andy', 'Amara'), IF(i % 7, 'Brown', 'Box'), \
                    IF(i % 3, 'F', 'M'), '1980-01-01' + INTERVAL (i DIV 10) DAY FROM n; ANALYZE TABLE employees",
        )
        .await;
    migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
    let pages = fixture.pages();
    for (query, condition) in [
        ("born_from=1950-01-20", "birth_date >= '1950-01-20'"),
        ("born_from=1950-04-20", "birth_date >= '1950-04-20'"),
        ("hired_to=1985-06-07", "hire_date <= '1985-06-07'"),
        ("hired_from=1985-06-07&hired_to=1985-06-20", "hire_date BETWEEN '1985-06-07' AND '1985-06-20'"),
        ("hired_from=1980-01-05&hired_to=1980-05-01", "hire_date BETWEEN '1980-01-05' AND '1980-05-01'"),
        (
            "gender=F&born_to=1955-05-05&hired_from=1981-02-03&hired_to=1989-10-11",
            "gender = 'F' AND birth_date <= '1955-05-05' AND hire_date BETWEEN '1981-02-03' AND '1989-10-11'",
        ),
        ("q=amara", "first_name = 'Amara'"),
        ("q=amara&gender=F", "first_name = 'Amara' AND gender = 'F'"),
        ("q=b+amara", "first_name = 'Amara'"),
        ("q=box+am&hired_from=1985-06-07", "first_name = 'Amara' AND last_name = 'Box' AND hire_date >= '1985-06-07'"),
    ] {
        let sql = format!("SELECT COUNT(*) FROM employees WHERE {condition}");
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut fixture.connection().await).await.unwrap();
        for sort in Sort::ALL {
            let total = async || {
                let found = json(&pages, &format!("/api/v1/employees?{query}&sort={sort}&order=desc")).await;
                Total { count: found["total"].as_u64().unwrap(), exact: found["total_is_exact"].as_bool().unwrap() }
            };
            assert_eq!(counted(total).await, count.unsigned_abs(), "{query}");
        }
    }

    // Names that nobody had when the sets were made: they count nobody, and the page shows some.
    fixture.run("UPDATE employees SET first_name = 'Zed', last_name = 'Yak' WHERE last_name = 'Box' AND first_name = 'Andy'").await;
    let found = json(&pages, "/api/v1/employees?q=ze+ya").await;
    assert_eq!((found["total"].as_u64(), found["total_is_exact"].as_bool()), (Some(26), Some(false)), "{found}");

    // Somebody has come since the sets were made; then there are none.
    let someone = "INSERT INTO employees VALUES (99999, '2001-01-01', 'Amara', 'Last', 'M', '2020-01-01')";
    for change in [someone, "DROP TABLE tandem_sets"] {
        fixture.run(change).await;
        let db = fixture.database();
        for (sort, order) in Sort::ALL.iter().flat_map(|&sort| Order::ALL.iter().map(move |&order| (sort, order))) {
            let search = Search { sort, order, ..Search::parse("q=amara").unwrap() };
            let found = emp_nos(&list(&db, &search).await.employees);
            let direction = if order == Order::Descending { " DESC" } else { "" };
            let columns = match sort {
                Sort::EmpNo => vec!["emp_no"],
                Sort::Name => vec!["first_name", "last_name", "emp_no"],
                Sort::LastName => vec!["last_name", "first_name", "emp_no"],
                Sort::Gender => vec!["gender", "emp_no"],
                Sort::BirthDate => vec!["birth_date", "emp_no"],
                Sort::HireDate => vec!["hire_date", "emp_no"],
            };
            let columns: Vec<_> = columns.iter().map(|column| format!("{column}{direction}")).collect();
            let sql = format!(
                "SELECT emp_no FROM employees WHERE first_name = 'Amara' ORDER BY {} LIMIT 25",
                columns.join(", ")
            );
            let expected: Vec<i32> =
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut fixture.connection().await).await.unwrap();
            assert_eq!(found, expected, "{sort} {order}, {change}");
        }
    }
}
