//! The summaries, compared with what the data set's own tables say, on a company that has all there can be: people in
//! two departments at once, two titles, none, no salary, spans that end before they begin.

use super::*;
use chrono::NaiveDate;
use tandem_webapp::db::statistics::{Band, Percentiles, Year};
use tandem_webapp::group::Group;
use tandem_webapp::migrations::Object;
use tandem_webapp::search::Gender;

/// Four hundred more people. Everything follows from their number, in steps that share no divisor.
const COMPANY: &str = "\
    INSERT INTO employees \
      WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 400) \
      SELECT 500000 + i, '1960-01-01', 'A', 'B', IF(i % 3, 'M', 'F'), DATE'1985-03-01' + INTERVAL (i * 37 % 4000) DAY FROM n; \
    INSERT INTO dept_emp SELECT emp_no, ELT(1 + emp_no % 3, 'd001', 'd002', 'd003'), hire_date, \
        IF(emp_no % 4, '9999-01-01', hire_date + INTERVAL (emp_no * 53 % 3000) DAY) \
      FROM employees WHERE emp_no > 500000 AND emp_no % 11; \
    INSERT INTO dept_emp SELECT emp_no, ELT(1 + emp_no % 3, 'd002', 'd003', 'd001'), hire_date + INTERVAL 400 DAY, \
        IF(emp_no % 2, '9999-01-01', hire_date + INTERVAL (emp_no * 71 % 2500) DAY) \
      FROM employees WHERE emp_no > 500000 AND emp_no % 5 = 0; \
    INSERT INTO titles SELECT emp_no, ELT(1 + emp_no % 2, 'Staff', 'Engineer'), hire_date, IF(emp_no % 7, '9999-01-01', NULL) \
      FROM employees WHERE emp_no > 500000 AND emp_no % 13; \
    INSERT INTO titles SELECT emp_no, ELT(1 + emp_no % 2, 'Engineer', 'Staff'), hire_date + INTERVAL 1 DAY, '9999-01-01' \
      FROM employees WHERE emp_no > 500000 AND emp_no % 6 = 0; \
    INSERT INTO titles SELECT emp_no, 'Staff', hire_date + INTERVAL 2 DAY, '9999-01-01' \
      FROM employees WHERE emp_no > 500000 AND emp_no % 10 = 0; \
    INSERT INTO salaries SELECT emp_no, 40000 + emp_no * 7919 % 60000, hire_date, '9999-01-01' \
      FROM employees WHERE emp_no > 500000 AND emp_no % 17";

impl Fixture {
    async fn summarized() -> Option<Self> {
        let fixture = Self::loaded().await?;
        fixture.run(COMPANY).await;
        migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
        Some(fixture)
    }
}

async fn count(connection: &mut MySqlConnection, sql: &'static str, department: &str, year: i32) -> i64 {
    // Every query names the department twice and then the year twice.
    sqlx::query_scalar(sql).bind(department).bind(department).bind(year).bind(year).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn the_history_is_what_the_direct_queries_count() {
    let fixture = fixture!(Fixture::summarized());
    let mut connection = fixture.connection().await;
    let history = db::statistics::history(&fixture.database(), None).await.unwrap().unwrap();
    assert!(history.company[0].year == 1985 && history.company.len() > 10);
    assert_eq!(history.departments.len(), 3);
    let everybody = [("", &history.company)];
    let departments = history.departments.iter().map(|department| (department.dept_no.as_str(), &department.years));
    for (department, years) in everybody.into_iter().chain(departments) {
        for &year in years {
            let headcount = count(
                &mut connection,
                "SELECT COUNT(DISTINCT emp_no) FROM dept_emp WHERE (? = '' OR dept_no = ?) \
                 AND from_date <= MAKEDATE(?, 1) + INTERVAL 1 YEAR - INTERVAL 1 DAY AND YEAR(to_date) > ?",
                department,
                year.year,
            );
            let headcount = headcount.await;
            let (hires, leavers) = if department.is_empty() {
                (
                    "SELECT COUNT(*) FROM employees WHERE ? = ? AND YEAR(hire_date) = ? AND ? > 0",
                    "SELECT COUNT(*) FROM (SELECT YEAR(MAX(to_date)) AS went FROM dept_emp GROUP BY emp_no) l \
                     WHERE ? = ? AND went = ? AND ? < 9999",
                )
            } else {
                (
                    "SELECT COUNT(*) FROM dept_emp WHERE dept_no = ? AND dept_no = ? AND YEAR(from_date) = ? \
                     AND from_date <= to_date AND ? > 0",
                    "SELECT COUNT(*) FROM dept_emp WHERE dept_no = ? AND dept_no = ? AND YEAR(to_date) = ? \
                     AND from_date <= to_date AND ? < 9999",
                )
            };
            let hires = count(&mut connection, hires, department, year.year).await;
            let leavers = count(&mut connection, leavers, department, year.year).await;
            assert_eq!(year, Year { year: year.year, headcount, hires, leavers }, "{department}");
        }
    }
    let one = db::statistics::history(&fixture.database(), Some("d002")).await.unwrap().unwrap();
    assert_eq!((one.company, one.departments), (history.company, vec![history.departments[1].clone()]));
}

/// The salaries of a group in their order, as the data set's tables have them.
async fn paid(connection: &mut MySqlConnection, group: &Group) -> Vec<i64> {
    let (department, title) = (group.department.as_deref(), group.title.as_deref());
    let gender = group.gender.map(Gender::word);
    sqlx::query_scalar(
        "SELECT CAST(salary AS SIGNED) FROM salaries s JOIN employees e USING (emp_no) WHERE s.to_date = '9999-01-01' \
         AND (? IS NULL OR gender = ?) \
         AND (? IS NULL OR EXISTS (SELECT 1 FROM dept_emp d WHERE d.emp_no = s.emp_no AND d.dept_no = ? \
                                   AND d.to_date = '9999-01-01')) \
         AND (? IS NULL OR EXISTS (SELECT 1 FROM titles t WHERE t.emp_no = s.emp_no AND t.title = ? \
                                   AND (t.to_date = '9999-01-01' OR t.to_date IS NULL))) \
         ORDER BY salary",
    )
    .bind(gender)
    .bind(gender)
    .bind(department)
    .bind(department)
    .bind(title)
    .bind(title)
    .fetch_all(connection)
    .await
    .unwrap()
}

fn percentiles(sorted: &[i64]) -> Option<Percentiles> {
    let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
    let (&min, &max) = (sorted.first()?, sorted.last()?);
    let employees = i64::try_from(sorted.len()).unwrap();
    let mean = (sorted.iter().sum::<i64>() as f64 * 100.0 / employees as f64).round() / 100.0;
    Some(Percentiles { employees, min, p10: at(10), p25: at(25), median: at(50), p75: at(75), p90: at(90), max, mean })
}

#[tokio::test]
async fn the_salaries_of_every_group_are_what_the_direct_query_finds() {
    let fixture = fixture!(Fixture::summarized());
    let (db, mut connection) = (fixture.database(), fixture.connection().await);
    let departments = [None, Some("d001"), Some("d002"), Some("d003")];
    let titles = [None, Some("Staff"), Some("Engineer"), Some("Manager")];
    let genders = [None, Some(Gender::Male), Some(Gender::Female)];
    let mut empty = 0;
    for (department, title, gender) in departments
        .iter()
        .flat_map(|&department| titles.iter().map(move |&title| (department, title)))
        .flat_map(|(department, title)| genders.iter().map(move |&gender| (department, title, gender)))
    {
        let group = Group { department: department.map(str::to_owned), title: title.map(str::to_owned), gender };
        let sorted = paid(&mut connection, &group).await;
        let salaries = db::statistics::salaries(&db, &group).await.unwrap().unwrap();
        assert_eq!(salaries.salaries, percentiles(&sorted), "{group:?}");
        let within = |band: &Band| sorted.iter().filter(|&&paid| (band.from..band.below).contains(&paid)).count();
        for band in &salaries.histogram {
            assert_eq!(band.employees, i64::try_from(within(band)).unwrap(), "{group:?}: {band:?}");
        }
        assert_eq!(salaries.histogram.iter().map(within).sum::<usize>(), sorted.len(), "{group:?}");
        assert!(salaries.histogram.windows(2).all(|two| two[0].below == two[1].from), "{group:?}");
        for other in &salaries.by_title {
            let group = Group { title: Some(other.title.clone()), ..group.clone() };
            assert_eq!(Some(other.salaries), percentiles(&paid(&mut connection, &group).await), "{group:?}");
        }
        for other in &salaries.by_department {
            let group = Group { department: Some(other.dept_no.clone()), ..group.clone() };
            assert_eq!(Some(other.salaries), percentiles(&paid(&mut connection, &group).await), "{group:?}");
        }
        assert!(salaries.by_gender.len() <= 2 && salaries.by_department.len() <= 3 && salaries.by_title.len() <= 4);
        empty += usize::from(sorted.is_empty());
    }
    assert!(empty > 0, "a group without anybody was looked at too");
}

/// What each set holds by its name, as the data set's own tables say.
const DIRECT: &[(&str, &str)] = &[
    ("everybody", "SELECT emp_no FROM employees WHERE ? = ''"),
    ("gender", "SELECT emp_no FROM employees WHERE gender = ?"),
    (
        "status",
        "SELECT emp_no FROM employees WHERE ? = IF(emp_no IN (SELECT emp_no FROM dept_emp WHERE to_date = '9999-01-01'), 'current', 'former')",
    ),
    ("first name 1", "SELECT emp_no FROM employees WHERE LEFT(first_name, 1) = ?"),
    ("first name 2", "SELECT emp_no FROM employees WHERE LEFT(first_name, 2) = ?"),
    ("last name 1", "SELECT emp_no FROM employees WHERE LEFT(last_name, 1) = ?"),
    ("last name 2", "SELECT emp_no FROM employees WHERE LEFT(last_name, 2) = ?"),
    ("department", "SELECT emp_no FROM dept_emp WHERE dept_no = ?"),
    ("department today", "SELECT emp_no FROM dept_emp WHERE dept_no = ? AND to_date = '9999-01-01'"),
    ("title", "SELECT DISTINCT emp_no FROM titles WHERE title = ?"),
    (
        "title today",
        "SELECT DISTINCT emp_no FROM titles WHERE title = ? AND (to_date = '9999-01-01' OR to_date IS NULL)",
    ),
    ("born", "SELECT emp_no FROM employees WHERE birth_date BETWEEN ? AND ?"),
    ("hired", "SELECT emp_no FROM employees WHERE hire_date BETWEEN ? AND ?"),
];

/// Kind, value, last date, number of employees, words.
type SetRow = (String, String, Option<NaiveDate>, i32, Vec<u8>);

#[tokio::test]
async fn each_set_holds_whom_the_direct_query_finds() {
    let fixture = fixture!(Fixture::summarized());
    let mut connection = fixture.connection().await;
    let rows = "SELECT kind, value, ends, employees, words FROM tandem_sets WHERE kind <> 'rows'";
    let sets: Vec<SetRow> = sqlx::query_as(rows).fetch_all(&mut connection).await.unwrap();
    for &(kind, _) in DIRECT {
        assert!(sets.iter().any(|(found, ..)| found == kind), "there is none of {kind}");
    }
    for (kind, value, ends, employees, words) in sets {
        let &(_, direct) = DIRECT.iter().find(|(known, _)| *known == kind).unwrap();
        let mut query = sqlx::query_scalar(direct).bind(&value);
        if ends.is_some() {
            query = query.bind(ends);
        }
        let mut expected: Vec<i32> = query.fetch_all(&mut connection).await.unwrap();
        expected.sort_unstable();
        assert_eq!(employees as usize, expected.len(), "{kind} {value}");
        let held = words.chunks_exact(12).flat_map(|word| {
            let first = i64::from(u32::from_be_bytes(word[..4].try_into().unwrap())) * 64 - (1 << 31);
            let bits = u64::from_be_bytes(word[4..].try_into().unwrap());
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| i32::try_from(first + bit).unwrap())
        });
        assert_eq!(held.collect::<Vec<_>>(), expected, "{kind} {value}");
    }
}

/// The time at which a summary was computed is moved back, which a later computation would not do.
const AGE: &str = "UPDATE tandem_company_years SET computed_at = '2001-01-01'; \
    UPDATE tandem_salary_percentiles SET computed_at = '2001-01-01'";

#[tokio::test]
async fn a_summary_that_is_older_than_the_data_set_is_computed_again_by_the_next_run() {
    let fixture = fixture!(Fixture::summarized());
    let config = fixture.config();
    let outcomes = async |recompute| {
        let steps = migrations::run(&config, PATIENCE, recompute).await.unwrap();
        let summaries = steps.into_iter().filter(|step| matches!(step.object, Object::Summary { .. }));
        summaries.map(|step| step.outcome).collect::<Vec<_>>()
    };
    fixture.run(AGE).await;
    assert_eq!(outcomes(Recompute::Outdated).await, vec![Outcome::Recorded; 5]);
    fixture.run(DATASET).await;
    fixture
        .run("DELETE FROM dept_emp WHERE dept_no = 'd001'; UPDATE tandem_dataset SET loaded_at = '2002-01-01'")
        .await;
    // What a run leaves behind that was killed on its way.
    fixture.run("CREATE TABLE tandem_company_years_new (a INT); CREATE TABLE tandem_company_years_old (a INT)").await;
    let found = outcomes(Recompute::Outdated).await;
    assert!(matches!(
        found[..],
        [Outcome::Recorded, Outcome::Recomputed(_), Outcome::Recomputed(_), Outcome::Recorded, Outcome::Recorded]
    ));
    let history = db::statistics::history(&fixture.database(), None).await.unwrap().unwrap();
    let counts = db::overview::counts(&fixture.database()).await.unwrap();
    assert_eq!(history.company.last().unwrap().headcount, counts.current_employees);
    assert!(
        history.computed_at.unwrap()
            > NaiveDate::from_ymd_opt(2020, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc()
    );

    // By hand, for rows that were changed: nothing of the data set says that they were.
    fixture.run("DELETE FROM salaries").await;
    assert!(outcomes(Recompute::All).await.iter().all(|outcome| matches!(outcome, Outcome::Recomputed(_))));
    let salaries = db::statistics::salaries(&fixture.database(), &Group::default()).await.unwrap().unwrap();
    assert_eq!(salaries, db::statistics::Salaries::default());
    // Dropped with the tables of another data set, and computed as if for the first time.
    fixture.run("DROP TABLE tandem_salary_bands").await;
    assert!(matches!(outcomes(Recompute::Outdated).await[..], [_, _, _, Outcome::Created(_), _]));
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name REGEXP '_(new|old)$'";
    let left: i64 = sqlx::query_scalar(tables).fetch_one(&mut fixture.connection().await).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn nobody_waits_for_a_summary_that_is_not_there_yet() {
    let fixture = fixture!(Fixture::summarized());
    fixture.run("DROP TABLE tandem_sets").await;
    // The statement that fills it waits for one of its tables.
    let mut holder = fixture.connection().await;
    holder.execute("LOCK TABLES titles WRITE").await.unwrap();
    let config = fixture.config();
    let migrating = tokio::spawn(async move { migrations::run(&config, PATIENCE, Recompute::Outdated).await.unwrap() });
    let mut reader = fixture.server.connect().await.unwrap();
    let fills = "SELECT COUNT(*) FROM performance_schema.processlist \
         WHERE db = ? AND state = 'Waiting for table metadata lock' AND info LIKE 'CREATE TABLE tandem_sets%'";
    let deadline = Instant::now() + PATIENCE;
    while sqlx::query_scalar::<_, i64>(fills).bind(&fixture.name).fetch_one(&mut reader).await.unwrap() == 0 {
        assert!(Instant::now() < deadline && !migrating.is_finished(), "nothing is filled");
    }
    let mut connection = fixture.connection().await;
    connection.execute("SET SESSION lock_wait_timeout = 1").await.unwrap();
    let error = connection.execute("SELECT 1 FROM tandem_sets").await.unwrap_err().to_string();
    assert!(error.contains("doesn't exist"), "{error}");
    holder.execute("UNLOCK TABLES").await.unwrap();
    let steps = migrating.await.unwrap();
    assert!(matches!(steps.last().unwrap().outcome, Outcome::Created(_)), "{steps:?}");
    connection.execute("SELECT 1 FROM tandem_sets").await.unwrap();
}

#[tokio::test]
async fn of_two_who_ask_at_once_for_all_to_be_computed_again_one_computes_and_the_other_waits() {
    let fixture = fixture!(Fixture::summarized());
    let config = fixture.config();
    let mut holder = fixture.connection().await;
    holder.execute("DO GET_LOCK(CONCAT('tandem_migrations_', LEFT(SHA2(DATABASE(), 256), 40)), 0)").await.unwrap();
    let ask = || {
        let config = config.clone();
        tokio::spawn(async move { migrations::run(&config, PATIENCE, Recompute::All).await.unwrap() })
    };
    let both = [ask(), ask()];
    // Both have asked, and a later second has begun.
    let ready = "SELECT COUNT(*) = 2 AND MIN(time) > 0 FROM performance_schema.processlist WHERE db = ? AND state = 'User lock'";
    let deadline = Instant::now() + PATIENCE;
    while !sqlx::query_scalar(ready).bind(&fixture.name).fetch_one(&mut holder).await.unwrap_or(false) {
        assert!(Instant::now() < deadline, "nobody waits");
    }
    holder.close().await.unwrap();
    let mut computed = 0;
    for asked in both {
        let steps = asked.await.unwrap();
        let outcomes =
            || steps.iter().filter(|step| matches!(step.object, Object::Summary { .. })).map(|step| &step.outcome);
        let here = outcomes().all(|outcome| matches!(outcome, Outcome::Recomputed(_)));
        assert!(here || outcomes().all(|outcome| *outcome == Outcome::Elsewhere), "{steps:?}");
        computed += usize::from(here);
    }
    assert_eq!(computed, 1);
    // Whoever asks later may have changed something in between.
    let later = migrations::run(&config, PATIENCE, Recompute::All).await.unwrap();
    assert!(later.iter().any(|step| matches!(step.outcome, Outcome::Recomputed(_))), "{later:?}");
}

#[tokio::test]
async fn the_server_knows_at_once_how_many_rows_a_summary_has() {
    let fixture = fixture!(Fixture::summarized());
    let rows: u64 = sqlx::query_scalar(
        "SELECT n_rows FROM mysql.innodb_table_stats WHERE database_name = ? AND table_name = 'tandem_salary_percentiles'",
    )
    .bind(&fixture.name)
    .fetch_one(&mut fixture.connection().await)
    .await
    .unwrap();
    assert!(rows > 20, "{rows} rows");
}

#[tokio::test]
async fn statistics_that_nobody_has_computed_are_said_to_be_missing() {
    let fixture = fixture!(Fixture::loaded());
    let pages = fixture.pages();
    for path in ["/api/v1/history", "/api/v1/salaries"] {
        let (status, body) = get(&pages, path).await;
        assert_eq!(status, 503, "{path}");
        assert!(body.contains("The statistics have not been computed yet"), "{path}: {body}");
    }
}

#[tokio::test]
async fn pages_have_charts_where_the_statistics_have_been_computed_and_say_it_where_not() {
    let fixture = fixture!(Fixture::loaded());
    let pages = fixture.pages();
    for path in ["/", "/departments/d001", "/salaries"] {
        let (status, body) = get(&pages, path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(body.contains("The charts have not been computed yet") && !body.contains("role=\"img\""), "{path}");
    }
    assert_eq!(json(&pages, "/api/v1/departments/d001").await["salaries"], Value::Null);
    migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
    for path in ["/", "/departments/d001", "/departments/d003", "/salaries?department=d001"] {
        let (status, body) = get(&pages, path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(body.contains("The charts show what was computed on") && body.contains("role=\"img\""), "{path}");
        assert!(!body.contains("The data has changed since"), "{path}");
    }
    let department = json(&pages, "/api/v1/departments/d001").await;
    assert_eq!(department["years"][0]["year"], 1989);
    assert_eq!(department["salaries"]["salaries"]["max"], 62_000);
    fixture.run("DELETE FROM dept_emp WHERE emp_no = 20001").await;
    let (_, body) = get(&fixture.pages(), "/departments/d001").await;
    assert!(body.contains("The data has changed since"), "{body}");
}

#[tokio::test]
async fn a_data_set_without_rows_has_empty_statistics() {
    let fixture = fixture!(Fixture::empty());
    fixture.run(SCHEMA).await;
    migrations::run(&fixture.config(), PATIENCE, Recompute::Outdated).await.unwrap();
    let pages = fixture.pages();
    let history = json(&pages, "/api/v1/history").await;
    assert_eq!((history["company"].as_array().unwrap().len(), &history["computed_at"]), (0, &Value::Null));
    let salaries = json(&pages, "/api/v1/salaries?department=d005&gender=F").await;
    assert_eq!((&salaries["salaries"], salaries["histogram"].as_array().unwrap().len()), (&Value::Null, 0));
}
