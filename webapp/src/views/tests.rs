//! Each page, rendered from fixed data and compared with its snapshot.

use chrono::{DateTime, NaiveDate};

use super::*;
use crate::cursor::{Cursor, Direction, Key};
use crate::db::employees::{Assignment, Salary, Title};
use crate::db::overview::Counts;

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
    let html = render(page).unwrap().replace(&STYLE.name(), "style.css").replace(&ICON.name(), "icon.svg");
    assert!(!html.contains("style=") && !html.contains("<script") && !html.contains("<b>"));
    html
}

#[test]
fn the_overview_shows_counts_and_headcounts() {
    let html = rendered(&Overview { site: site(), catalog: &catalog() });
    insta::assert_snapshot!(html);
    assert_eq!(html.matches("300,024").count(), 1, "said once, with the separators of the descriptions");
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
    insta::assert_snapshot!(rendered(&OneDepartment {
        site: site(),
        department: &Department { dept_no: "d001".to_owned(), dept_name: "Marketing".to_owned() },
        headcount: 14_842,
        managers: &[manager],
        hires: &[employee()],
    }));
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
        rendered(&Overview { site: site(), catalog: &catalog }),
        rendered(&Show { site: site(), employees: &[employee()] }),
        rendered(&Employees::new(site(), &catalog, &search, &Page::default(), Total { count: 0, exact: true })),
        rendered(&One { site: site(), employee: &employee(), career: &Career::default() }),
        rendered(&Departments { site: site(), departments: &catalog.departments }),
    ] {
        for (before, table) in html.split("<table").collect::<Vec<_>>().windows(2).map(|two| (two[0], two[1])) {
            let name = table.strip_prefix(" aria-labelledby=\"").and_then(|rest| rest.split('"').next()).unwrap();
            assert!(before.ends_with("<div class=\"table\">\n") && before.contains(&format!(" id=\"{name}\">")));
            assert!(!table.contains("<caption"));
        }
    }
}

#[test]
fn an_asset_is_known_by_its_name_in_every_version() {
    assert!(STYLE.is_named(&STYLE.name()) && STYLE.is_named("style-0123456789abcdef.css"));
    assert!(!STYLE.is_named("style.css") && !STYLE.is_named("style-.css") && !STYLE.is_named(&ICON.name()));
}
