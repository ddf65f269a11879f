use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
};

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::dataset::{Chain, Table, dump::Rows};

/// The rows of all tables of a data set, read back from its files.
struct Loaded(HashMap<&'static str, Vec<Vec<String>>>);

impl Loaded {
    fn from(folder: &Path) -> Self {
        Self(TABLES.iter().map(|table| (table.name, read_table(folder, table))).collect())
    }

    fn rows<const N: usize>(&self, table: &str) -> Vec<[&str; N]> {
        self.0[table].iter().map(|row| std::array::from_fn(|at| row[at].as_str())).collect()
    }

    /// The (from, to) of each employee in a table whose second column is what the interval is about, by from.
    fn histories(&self, table: &str) -> BTreeMap<&str, Vec<[&str; 2]>> {
        let mut histories = BTreeMap::<_, Vec<_>>::new();
        for [emp_no, _, from, to] in self.rows(table) {
            histories.entry(emp_no).or_default().push([from, to]);
        }
        histories.values_mut().for_each(|history| history.sort_unstable());
        histories
    }
}

fn read_table(folder: &Path, table: &Table) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for file in table.files {
        let mut rows = Rows::new(File::open(folder.join(file)).unwrap());
        while let Some(row) = rows.read().unwrap() {
            all.push(row.values().map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()).collect());
        }
        assert_eq!(rows.table(), Some(table.name));
    }
    all
}

fn make(employees: u32, seed: u64) -> (tempfile::TempDir, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = write(&folder.path().join("sample"), &Options { employees, seed }).unwrap();
    (folder, manifest)
}

fn of_challenge(loaded: &Loaded) -> Vec<[&str; 6]> {
    let mut people = loaded.rows("employees");
    people.retain(|[_, birth, _, _, gender, hired]| *gender == "M" && *birth == "1965-02-01" && *hired > "1990-01-01");
    people.sort_by_key(|[_, _, first, last, ..]| (*first, *last));
    people
}

#[test]
fn a_seed_gives_the_same_rows_for_ever() {
    let (_folder, manifest) = make(1_000, 1);
    assert_eq!(manifest.description, "generated sample, seed 1: 1,000 employees, 9,479 salaries");
    let lines: Vec<_> =
        manifest.tables.iter().map(|table| format!("{} {} {}", table.name, table.rows, table.md5)).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    departments 9 d1af5e170d2d1591d776d5638d71fc5f
    employees 1000 bf5454d5815f6782d641704e5b33fd91
    dept_emp 1105 7921a63078f93c137a21f334202ae009
    dept_manager 24 dd3189347541adc5ede1e7c4bd01f8ee
    titles 1478 0890c15117d7ab3427043d552d93e354
    salaries 9479 a915c877dd4f2411cbab5425b7293ce0
    ");
}

#[test]
fn the_first_lives_of_a_seed_never_change() {
    let (folder, _) = make(1_000, 1);
    let first = |file: &str| {
        let text = fs::read_to_string(folder.path().join("sample").join(file)).unwrap();
        text.lines().take(5).collect::<Vec<_>>().join("\n")
    };
    let files = ["load_employees.dump", "load_dept_emp.dump", "load_titles.dump", "load_salaries1.dump"];
    insta::assert_snapshot!(files.map(first).join("\n\n"), @"
    INSERT INTO `employees` VALUES
    (10001,'1961-08-23','Amelie','Haddad','F','1993-01-03'),
    (10002,'1958-11-06','Elke','Kristoffersen','F','1997-11-30'),
    (10003,'1954-07-18','Willem','Gerhardt','M','1990-07-19'),
    (10004,'1954-08-02','Guillermo','Kruger','M','1994-09-21'),

    INSERT INTO `dept_emp` VALUES
    (10001,'d007','1993-01-03','9999-01-01'),
    (10002,'d004','1997-11-30','9999-01-01'),
    (10003,'d002','1993-07-15','9999-01-01'),
    (10003,'d007','1990-07-19','1993-07-15'),

    INSERT INTO `titles` VALUES
    (10001,'Staff','1993-01-03','9999-01-01'),
    (10002,'Engineer','1997-11-30','1998-11-30'),
    (10002,'Senior Engineer','1998-11-30','9999-01-01'),
    (10003,'Senior Staff','2002-07-16','9999-01-01'),

    INSERT INTO `salaries` VALUES
    (10001,56457,'1993-01-03','1994-01-03'),
    (10001,60070,'1994-01-03','1995-01-03'),
    (10001,61091,'1995-01-03','1996-01-03'),
    (10001,62007,'1996-01-03','1997-01-02'),
    ");
}

#[test]
fn the_challenge_finds_exactly_its_nine_people() {
    let (folder, _) = make(2_000, 3);
    let loaded = Loaded::from(&folder.path().join("sample"));
    assert_eq!(
        of_challenge(&loaded),
        [
            ["223595", "1965-02-01", "Chiranjit", "Dredge", "M", "1994-11-10"],
            ["270794", "1965-02-01", "Dannz", "Zhang", "M", "1990-10-24"],
            ["284045", "1965-02-01", "Fun", "Seiwald", "M", "1994-06-24"],
            ["235729", "1965-02-01", "Henk", "Anger", "M", "1993-01-19"],
            ["74344", "1965-02-01", "Hiroyasu", "Provine", "M", "1994-11-25"],
            ["424584", "1965-02-01", "Kagan", "Dredge", "M", "1994-02-26"],
            ["80850", "1965-02-01", "Koldo", "Luit", "M", "1993-11-19"],
            ["433260", "1965-02-01", "Make", "Olivero", "M", "1991-06-01"],
            ["248758", "1965-02-01", "Snehasis", "Muhlberg", "M", "1991-07-16"],
        ]
    );
}

#[test]
fn an_employee_is_the_same_person_in_a_sample_of_any_size() {
    let (small, _) = make(100, 7);
    let (large, _) = make(1_000, 7);
    let person = |folder: &tempfile::TempDir| read_table(&folder.path().join("sample"), &TABLES[1])[..30].to_vec();
    assert_eq!(person(&small), person(&large));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_sample_is_a_sound_company(employees in 100u32..700, seed: u64) {
        let (folder, manifest) = make(employees, seed);
        let folder = folder.path().join("sample");
        let loaded = Loaded::from(&folder);
        prop_assert_eq!(&Manifest::of_folder(&folder).unwrap(), &manifest);
        for (table, check) in TABLES.iter().zip(&manifest.tables) {
            prop_assert_eq!(&check_of(table, &loaded), check);
        }
        prop_assert_eq!(loaded.0["employees"].len(), employees as usize);
        prop_assert_eq!(of_challenge(&loaded).len(), 9);
        for (table, key) in [
            ("departments", &[0][..]),
            ("employees", &[0]),
            ("dept_emp", &[0, 1]),
            ("dept_manager", &[0, 1]),
            ("titles", &[0, 1, 2]),
            ("salaries", &[0, 2]),
        ] {
            let keys: Vec<Vec<_>> = loaded.0[table].iter().map(|row| key.iter().map(|at| &row[*at]).collect()).collect();
            prop_assert!(keys.is_sorted_by(|one, next| numeric(one) < numeric(next)), "{} is not in key order", table);
        }
        let hired: BTreeMap<_, _> = loaded.rows("employees").into_iter().map(|[emp_no, _, _, _, _, hired]| (emp_no, hired)).collect();
        for [_, birth, first, last, gender, hired] in loaded.rows("employees") {
            prop_assert!(("1952-02-01"..="1965-02-01").contains(&birth));
            prop_assert!(("1985-01-01"..="2000-01-28").contains(&hired));
            prop_assert!(first.len() <= 14 && last.len() <= 16 && ["M", "F"].contains(&gender));
        }

        let ends: Vec<_> = loaded.histories("salaries").into_values().map(|history| history[history.len() - 1][1]).collect();
        for table in ["dept_emp", "titles", "salaries"] {
            let histories = loaded.histories(table);
            prop_assert!(histories.keys().eq(hired.keys()), "{} has others than the employees", table);
            for ((emp_no, history), end) in histories.iter().zip(&ends) {
                prop_assert_eq!(history[0][0], hired[emp_no], "{} of {} begins on another day", table, emp_no);
                prop_assert_eq!(history[history.len() - 1][1], *end, "{} of {} ends on another day", table, emp_no);
                prop_assert!(*end < "2002-08-01" || *end == "9999-01-01");
                prop_assert!(history.iter().all(|[from, to]| from < to));
                prop_assert!(history.windows(2).all(|pair| pair[0][1] == pair[1][0] && pair[0][1] < "2002-08-01"));
            }
        }

        let departments: HashSet<_> = DEPARTMENTS.iter().map(|(number, _)| *number).collect();
        prop_assert!(loaded.rows("dept_emp").iter().all(|[_, number]| departments.contains(number)));
        let members: HashSet<_> = loaded.rows("dept_emp").iter().map(|[emp_no, number, _, _]| (*emp_no, *number)).collect();
        let titles: HashSet<_> = loaded.rows::<4>("titles").into_iter().collect();
        let mut managed = BTreeMap::<_, Vec<_>>::new();
        for [emp_no, number, from, to] in loaded.rows("dept_manager") {
            prop_assert!(members.contains(&(emp_no, number)));
            prop_assert!(titles.contains(&[emp_no, "Manager", from, to]));
            managed.entry(number).or_default().push([from, to]);
        }
        prop_assert_eq!(managed.len(), 9);
        prop_assert_eq!(loaded.0["dept_manager"].len(), 24);
        for posts in managed.values() {
            prop_assert_eq!(posts[0][0], "1985-01-01");
            prop_assert_eq!(posts[posts.len() - 1][1], "9999-01-01");
            prop_assert!(posts.windows(2).all(|pair| pair[0][1] == pair[1][0]));
        }
        for [_, salary] in loaded.rows("salaries") {
            prop_assert!((38_000..250_000).contains(&salary.parse::<u32>().unwrap()));
        }
    }
}

/// A key such that numbers compare as numbers: shorter ones come first.
fn numeric<'a>(key: &[&'a String]) -> Vec<(usize, &'a str)> {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    key.iter().map(|text| (if is_number(text) { text.len() } else { 0 }, text.as_str())).collect()
}

/// The figures of a table as MySQL would compute them.
fn check_of(table: &Table, loaded: &Loaded) -> TableCheck {
    let place = |column: &&str| table.columns.iter().position(|other| other == column).unwrap();
    let pick =
        |row: &[String], columns: &[&str]| columns.iter().map(|column| row[place(column)].clone()).collect::<Vec<_>>();
    let mut rows = loaded.0[table.name].clone();
    rows.sort_by_key(|row| {
        pick(row, table.key)
            .iter()
            .map(|text| (text.parse::<u32>().unwrap_or_default(), text.clone()))
            .collect::<Vec<_>>()
    });
    let mut chain = Chain::default();
    for row in &rows {
        let columns = pick(row, table.checked);
        chain.link(columns.iter().map(|column| Some(column.as_bytes())));
    }
    chain.check(table.name)
}

#[rstest]
fn a_size_out_of_range_is_refused_in_one_line(#[values(0, 99, 10_000_001)] employees: u32) {
    let folder = tempfile::tempdir().unwrap();
    let error = write(&folder.path().join("sample"), &Options { employees, seed: 1 }).unwrap_err();
    assert!(error.to_string().starts_with("a sample has from 100 to 10,000,000 employees, not "), "{error}");
    assert_eq!(entries(folder.path()), [""; 0]);
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_folder_holds_the_files_of_the_stock_layout_and_nothing_is_left_beside_it() {
    let (folder, _) = make(100, 1);
    assert_eq!(entries(folder.path()), ["sample"]);
    assert_eq!(
        entries(&folder.path().join("sample")),
        [
            "dataset.json",
            "employees.sql",
            "load_departments.dump",
            "load_dept_emp.dump",
            "load_dept_manager.dump",
            "load_employees.dump",
            "load_salaries1.dump",
            "load_salaries2.dump",
            "load_salaries3.dump",
            "load_titles.dump",
        ]
    );
}

#[test]
fn the_entry_file_loads_every_dump() {
    let entry = include_str!("employees.sql");
    for file in TABLES.iter().flat_map(|table| table.files) {
        assert!(entry.contains(&format!("\nsource {file};\n")), "{file} is not loaded");
    }
}

#[test]
fn an_older_sample_is_replaced_as_a_whole() {
    let (folder, first) = make(100, 1);
    let sample = folder.path().join("sample");
    fs::write(sample.join("stale"), "").unwrap();
    let second = write(&sample, &Options { employees: 100, seed: 2 }).unwrap();
    assert_ne!(first, second);
    assert_eq!(Manifest::of_folder(&sample).unwrap(), second);
    assert!(!sample.join("stale").exists());
    assert_eq!(entries(folder.path()), ["sample"]);
}

#[test]
fn an_empty_folder_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("a/b").as_path(), &Options { employees: 100, seed: 1 }).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    write(&folder.path().join("empty"), &Options { employees: 100, seed: 1 }).unwrap();
    assert_eq!(entries(folder.path()), ["a", "empty"]);
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter.txt"), "Dear").unwrap();
    let result = write(folder.path(), &Options { employees: 100, seed: 1 });
    assert!(matches!(result, Err(Error::Occupied { .. })));
    assert_eq!(entries(folder.path()), ["letter.txt"]);
}

#[test]
fn a_run_that_fails_leaves_the_older_sample_and_nothing_else() {
    let (folder, first) = make(100, 1);
    let sample = folder.path().join("sample");
    // A file cannot be the parent of a folder.
    assert!(write(&sample.join(ENTRY_FILE).join("sample"), &Options { employees: 100, seed: 2 }).is_err());
    assert_eq!(Manifest::of_folder(&sample).unwrap(), first);
    assert_eq!(entries(folder.path()), ["sample"]);
}
