//! Each page, rendered from fixed data and compared with its snapshot.

use chrono::{DateTime, NaiveDate};

use super::*;
use crate::conditional::{IN_PAGES, without};
use crate::cursor::{Cursor, Direction, Key};
use crate::db::employees::{Assignment, Salary, Superior, Title};
use crate::db::overview::Counts;
use crate::db::statistics::{
    Band, DepartmentHistory, DepartmentSalaries, GenderSalaries, Percentiles, TitleSalaries, Year,
};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn dataset() -> DataSet {
    DataSet {
        name: "sample".to_owned(),
        description: "Made for <tests> & nothing else".to_owned(),
        source: Some("https://example.org/data".to_owned()),
        licence: Some("CC BY-SA 3.0".to_owned()),
        employees: 300_024,
        loaded_at: DateTime::UNIX_EPOCH,
    }
}

fn site() -> Site {
    Site {
        served_by: "replica-1".to_owned(),
        database: "db:3306/employees".to_owned(),
        dataset: Knowledge::Described(dataset()),
    }
}

fn catalog() -> Catalog {
    let department = |dept_no: &str, dept_name: &str, headcount| Headcount {
        dept_no: dept_no.to_owned(),
        dept_name: dept_name.to_owned(),
        headcount,
    };
    Catalog {
        dataset: Some(dataset()),
        counts: Counts {
            employees: 300_024,
            current_employees: 240_124,
            departments: 2,
            titles: 443_308,
            salaries: 2_844_047,
        },
        departments: vec![department("d001", "Marketing & <Sales>", 14_842), department("d002", "Development", 61_386)],
        titles: vec!["Engineer".to_owned(), "Staff".to_owned()],
        counted_at: DateTime::UNIX_EPOCH,
    }
}

fn history() -> History {
    let years = |headcounts: [i64; 2]| {
        let years = (2001..).zip(headcounts);
        years.map(|(year, headcount)| Year { year, headcount, hires: 20, leavers: 10 }).collect::<Vec<_>>()
    };
    let department = |dept_no: &str, dept_name: &str, headcounts| DepartmentHistory {
        dept_no: dept_no.to_owned(),
        dept_name: dept_name.to_owned(),
        years: years(headcounts),
    };
    History {
        computed_at: Some(DateTime::UNIX_EPOCH),
        company: years([200_000, 240_124]),
        departments: vec![
            department("d001", "Marketing & <Sales>", [10_000, 14_842]),
            department("d002", "Development", [60_000, 61_386]),
        ],
    }
}

fn salaries() -> Salaries {
    let percentiles = |median: i64| Percentiles {
        employees: 30,
        min: median - 3_000,
        p10: median - 2_000,
        p25: median - 1_000,
        median,
        p75: median + 1_000,
        p90: median + 2_000,
        max: median + 4_000,
        mean: median as f64 + 0.5,
    };
    Salaries {
        computed_at: Some(DateTime::UNIX_EPOCH),
        salaries: Some(percentiles(60_000)),
        histogram: vec![
            Band { from: 57_000, below: 60_000, employees: 10 },
            Band { from: 60_000, below: 63_000, employees: 20 },
        ],
        by_department: vec![DepartmentSalaries {
            dept_no: "d001".to_owned(),
            dept_name: "Marketing & <Sales>".to_owned(),
            salaries: percentiles(60_000),
        }],
        by_title: vec![TitleSalaries { title: "Staff".to_owned(), salaries: percentiles(50_000) }],
        by_gender: vec![GenderSalaries { gender: "F".to_owned(), salaries: percentiles(61_000) }],
    }
}

fn employee() -> Employee {
    Employee {
        emp_no: 424_584,
        birth_date: day("1965-02-01"),
        first_name: "Kagan".to_owned(),
        last_name: "<b>Dredge</b>".to_owned(),
        gender: "M".to_owned(),
        hire_date: day("1994-02-26"),
    }
}

/// Renders a page without the name of the style sheet, which changes with each of its lines.
fn rendered(page: &impl Template) -> String {
    let html = render(page)
        .unwrap()
        .replace(&STYLE.name(), "style.css")
        .replace(&ICON.name(), "icon.svg")
        .replace(&SCRIPT.name(), "app.js");
    assert!(!html.contains("style=") && !html.contains("<script>") && !html.contains("<b>"));
    html
}

#[test]
fn the_overview_shows_counts_and_headcounts() {
    let html = rendered(&Overview::new(site(), &catalog(), Some(&history())));
    insta::assert_snapshot!(html);
    assert_eq!(html.matches("300,024").count(), 1, "said once, with the separators of the descriptions");
}

#[test]
fn a_search_that_cannot_be_made_keeps_its_form() {
    let (search, mistake) = Search::read("q=a+%22b%22+c&department=d002&born_to=1965-02-01&sort=name");
    let mistake = mistake.unwrap();
    let html = rendered(&Employees::refused(site(), &catalog(), &search, "a \"b\" c".to_owned(), &mistake));
    for part in [
        "value=\"a &#34;b&#34; c\" placeholder=\"first, last or both\" aria-invalid=\"true\" aria-describedby=\"mistake\"",
        "<option value=\"d002\" selected>",
        "name=\"born_to\" type=\"date\" value=\"1965-02-01\">",
        "<input type=\"hidden\" name=\"sort\" value=\"name\">",
        "<p id=\"mistake\">q is &#34;a \\&#34;b\\&#34; c&#34;: give the beginning of a first name, a last name or both.</p>",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
    assert!(!html.contains("<table") && html.matches("aria-invalid").count() == 1);
}

#[test]
fn whatever_field_is_wrong_is_marked() {
    let long = "x".repeat(101);
    for (field, value) in [
        ("q", "a+b+c"),
        ("department", "d0055"),
        ("title", long.as_str()),
        ("gender", "x"),
        ("status", "dead"),
        ("born_from", "x"),
        ("born_to", "x"),
        ("hired_from", "x"),
        ("hired_to", "x"),
    ] {
        let (search, mistake) = Search::read(&format!("{field}={value}"));
        let html = rendered(&Employees::refused(site(), &catalog(), &search, String::new(), &mistake.unwrap()));
        let (_, element) = html.split_once(&format!(" id=\"{field}\" ")).unwrap();
        let (element, _) = element.split_once('>').unwrap();
        assert!(element.ends_with(" aria-invalid=\"true\" aria-describedby=\"mistake\" autofocus"), "{element}");
        assert_eq!(html.matches("aria-invalid").count(), 1, "{field}");
    }
}

#[test]
fn a_list_of_one_page_has_no_way_to_others() {
    let search = Search::default();
    let page = Page { employees: vec![employee()], previous: None, next: None };
    let total = Total { count: 1, exact: true };
    let html = rendered(&Employees::new(site(), &catalog(), &search, &page, total));
    assert!(!html.contains("aria-label=\"Pages\"") && html.contains("The whole list as a file"), "{html}");
}

#[test]
fn the_challenge_is_a_table() {
    insta::assert_snapshot!(rendered(&Show { site: site(), employees: &[employee()] }));
}

#[test]
fn the_list_shows_the_form_as_it_was_sent_and_the_way_on() {
    let query = "q=Kagan+%22D%22&department=d002&title=Boss&gender=M&born_from=1965-02-01&status=current&sort=name&order=desc&limit=50";
    let search = Search::parse(query).unwrap();
    let cursor = |direction| Cursor { direction, key: Key::Name("Kagan".to_owned(), "Dredge".to_owned(), 424_584) };
    let page = Page {
        employees: vec![employee()],
        previous: Some(cursor(Direction::Previous)),
        next: Some(cursor(Direction::Next)),
    };
    insta::assert_snapshot!(rendered(&Employees::new(
        site(),
        &catalog(),
        &search,
        &page,
        Total { count: 12_000, exact: false }
    )));
}

#[test]
fn an_empty_list_says_so() {
    let (catalog, search, page) = (catalog(), Search::parse("department=zz").unwrap(), Page::default());
    let html = rendered(&Employees::new(site(), &catalog, &search, &page, Total { count: 0, exact: true }));
    assert!(html.contains(">Nobody found</h2>"));
    assert!(html.contains("<option selected>zz</option>"));
}

#[test]
fn an_employee_has_a_history() {
    let career = Career {
        departments: vec![Assignment {
            dept_no: "d002".to_owned(),
            dept_name: "Development".to_owned(),
            from_date: day("1994-02-26"),
            to_date: None,
            manager: true,
        }],
        managers: vec![Superior {
            dept_no: "d002".to_owned(),
            dept_name: "Development".to_owned(),
            emp_no: 110_022,
            first_name: "Margareta".to_owned(),
            last_name: "Markovitch".to_owned(),
            from_date: day("1994-02-26"),
            to_date: Some(day("1996-01-01")),
        }],
        titles: vec![Title {
            title: "Staff".to_owned(),
            from_date: day("1994-02-26"),
            to_date: Some(day("1999-02-26")),
        }],
        salaries: vec![
            Salary { salary: 80_000, from_date: day("1995-02-26"), to_date: None },
            Salary { salary: 40_000, from_date: day("1994-02-26"), to_date: Some(day("1995-02-26")) },
        ],
    };
    insta::assert_snapshot!(rendered(&One { site: site(), employee: &employee(), career: &career }));
}

#[test]
fn an_employee_without_a_history_is_a_page_too() {
    let html = rendered(&One { site: site(), employee: &employee(), career: &Career::default() });
    assert!(html.contains("Never in a department.") && html.contains("Never paid."));
}

#[test]
fn departments_are_listed_with_bars() {
    insta::assert_snapshot!(rendered(&Departments { site: site(), departments: &catalog().departments }));
}

#[test]
fn a_department_has_managers_and_new_people() {
    let manager = Manager {
        emp_no: 110_022,
        first_name: "Margareta".to_owned(),
        last_name: "Markovitch".to_owned(),
        from_date: day("1985-01-01"),
        to_date: Some(day("1991-10-01")),
    };
    let department = Department { dept_no: "d001".to_owned(), dept_name: "Marketing".to_owned() };
    let (history, salaries) = (history(), salaries());
    let people = (&[manager][..], &[employee()][..]);
    let statistics = Some((&history, &salaries));
    insta::assert_snapshot!(rendered(&OneDepartment::new(site(), &department, 14_842, people, statistics)));
    let html = rendered(&OneDepartment::new(site(), &department, 14_842, people, None));
    assert!(!html.contains("<svg class=\"broad\"") && html.contains("The charts have not been computed yet"));
}

#[test]
fn the_salaries_of_a_group_are_a_distribution_and_ranges_beside_each_other() {
    let (catalog, salaries) = (catalog(), salaries());
    let group = Group::parse("department=d001&title=Boss&gender=F").unwrap();
    insta::assert_snapshot!(rendered(&SalariesPage::new(site(), &catalog, &group, Some(&salaries))));
    let nobody = rendered(&SalariesPage::new(site(), &catalog, &group, Some(&Salaries::default())));
    assert!(nobody.contains("Nobody in this group") && !nobody.contains("<svg"));
    let missing = rendered(&SalariesPage::new(site(), &catalog, &group, None));
    assert!(missing.contains("The charts have not been computed yet"));
}

#[test]
fn charts_of_other_data_than_today_s_say_so() {
    let history = History { company: vec![Year { year: 2002, headcount: 1, hires: 0, leavers: 0 }], ..history() };
    let html = rendered(&Overview::new(site(), &catalog(), Some(&history)));
    assert!(html.contains("The data has changed since: webapp migrate --recompute computes it again."));
}

#[test]
fn an_error_page_works_without_any_knowledge_of_the_data() {
    let page = ErrorPage {
        site: Site { dataset: Knowledge::Unknown, ..site() },
        status: 503,
        title: "The data is not available at the moment",
        detail: "The database does not answer.".to_owned(),
    };
    insta::assert_snapshot!(rendered(&page));
}

#[test]
fn a_source_that_is_no_web_address_is_not_linked_to() {
    let dataset = DataSet { source: Some("javascript:alert(1)".to_owned()), ..dataset() };
    let page = Show { site: Site { dataset: Knowledge::Described(dataset), ..site() }, employees: &[] };
    let html = rendered(&page);
    assert!(html.contains("source: javascript:alert(1)") && !html.contains("href=\"javascript"));
}

#[test]
fn what_names_a_table_does_not_scroll_away_with_it() {
    let (catalog, search) = (catalog(), Search::parse("").unwrap());
    for html in [
        rendered(&Overview::new(site(), &catalog, Some(&history()))),
        rendered(&Show { site: site(), employees: &[employee()] }),
        rendered(&Employees::new(site(), &catalog, &search, &Page::default(), Total { count: 0, exact: true })),
        rendered(&One { site: site(), employee: &employee(), career: &Career::default() }),
        rendered(&Departments { site: site(), departments: &catalog.departments }),
    ] {
        for (before, table) in html.split("<table").collect::<Vec<_>>().windows(2).map(|two| (two[0], two[1])) {
            let name = table.strip_prefix(" aria-labelledby=\"").and_then(|rest| rest.split('"').next()).unwrap();
            let wrapped = before.lines().last().is_some_and(|line| line.starts_with("<div class=\"table\""));
            assert!(wrapped && before.contains(&format!(" id=\"{name}\">")));
            assert!(!table.contains("<caption"));
        }
    }
}

#[test]
fn an_asset_is_known_by_its_name_in_every_version() {
    assert!(STYLE.is_named(&STYLE.name()) && STYLE.is_named("style-0123456789abcdef.css"));
    assert!(!STYLE.is_named("style.css") && !STYLE.is_named("style-.css") && !STYLE.is_named(&ICON.name()));
}

/// The pieces of these pages in which they may differ stand in the templates as conditional.rs looks for them.
#[test]
fn pages_of_two_replicas_differ_in_nothing_but_who_made_them_and_when_it_was_counted() {
    let page = |site: Site, catalog: &Catalog| {
        let html = render(&Overview::new(site, catalog, None)).unwrap();
        without(html.as_bytes(), &IN_PAGES).into_owned()
    };
    let (other_site, mut other_catalog) = (Site { served_by: "replica-2".to_owned(), ..site() }, catalog());
    other_catalog.counted_at += chrono::TimeDelta::seconds(60);
    assert_eq!(page(site(), &catalog()), page(other_site, &other_catalog));
    other_catalog.counts.employees += 1;
    assert_ne!(page(site(), &catalog()), page(site(), &other_catalog));
}
