//! Data sets of the init folder: a checkout of test_db mounted as it is, and damaged ones.

use rstest::rstest;
use tandem_tests::docker::{Container, Volume};

use crate::image::{INIT, Image, START, image_or_skip, never_ready, over_tcp, root, says};

/// A checkout with 1,000 employees in `folder` of a volume, with all that a checkout of test_db has beside the data;
/// `change` is a script that is run in it.
fn checkout(image: &Image, folder: &str, change: &str) -> Volume {
    let volume = Volume::create();
    let script = format!(
        "tandem-mysql sample --employees 1000 /tmp/sample >&2
         mkdir -p {folder} && cp -a /tmp/sample/. {folder}/ && cd {folder}
         mkdir -p images sakila .git && touch images/employees.gif README.md Changelog .git/config
         echo 'DROP DATABASE IF EXISTS employees; CREATE DATABASE wrong_entry;' > employees_partitioned.sql
         cp employees_partitioned.sql employees_partitioned_5.1.sql
         for name in objects test_employees_md5 test_employees_sha sakila/sakila-mv-data; do
           echo 'CREATE DATABASE wrong_entry;' > $name.sql
         done
         printf '#!/bin/sh\\nexit 3\\n' > sql_test.sh && chmod 755 sql_test.sh
         {change}
         chmod -R a+rX ."
    );
    volume.sh(&image.name, "/volume", &script);
    volume
}

fn start(image: &Image, init: &Volume) -> Container {
    image.small().volume(init, &format!("{INIT}:ro")).start()
}

#[rstest]
#[case::in_a_folder_of_the_init_directory("test_db")]
#[case::as_the_init_directory_itself(".")]
fn a_checkout_is_loaded_as_it_is(#[case] folder: &str) {
    let image = image_or_skip!();
    let init = checkout(&image, folder, "");
    let container = start(&image, &init).healthy(START);
    assert_eq!(root(&container).ok("SELECT COUNT(*) FROM employees.employees"), "1000");
    assert_eq!(root(&container).ok("SHOW DATABASES LIKE 'wrong%'"), "", "another file than the entry was run");
    assert_eq!(root(&container).ok("SELECT COUNT(*) > 900 FROM employees.current_dept_emp"), "1");
    says(&container.sh_ok("tandem-mysql verify"), &["employees: 1,000 rows", "data set complete"]);
    says(&container.log(), &["takes the place of the built-in data set"]);
}

#[test]
fn a_checkout_without_a_manifest_is_held_against_the_figures_of_test_db() {
    let image = image_or_skip!();
    let init = checkout(&image, "test_db", "rm dataset.json");
    let container = start(&image, &init);
    assert_eq!(container.exit_code(START), 1);
    says(
        &container.stderr(),
        &["tandem-mysql: the data check failed: table employees has 1,000 rows instead of 300,024"],
    );
    never_ready(&container);
    // The official image serves at the second start.
    container.start();
    assert_eq!(container.exit_code(START), 1);
    assert_eq!(container.stderr().matches("tandem-mysql: the data check failed").count(), 2);
    never_ready(&container);
}

#[test]
fn of_two_data_sets_none_is_taken() {
    let image = image_or_skip!();
    let init = checkout(&image, "test_db", "cp -a ../test_db ../other");
    let container = start(&image, &init);
    assert_eq!(container.exit_code(START), 1);
    says(&container.stderr(), &["tandem-mysql: /docker-entrypoint-initdb.d/other and", "test_db are both data sets"]);
    never_ready(&container);
}

#[rstest]
#[case::one_value_changed("sed -i \"0,/'1986-[0-9-]*'/s//'1986-02-29'/\" load_titles.dump", "load_titles.dump")]
#[case::one_salary_changed(
    "sed -i '0,/,\\([0-9]*\\)1,/s//,\\12,/' load_salaries2.dump",
    "table salaries has a row with wrong content"
)]
#[case::one_row_lost("sed -i '0,/^(.*),$/s///' load_dept_emp.dump", "table dept_emp has ")]
#[case::a_file_cut_off("truncate -s 20000 load_salaries3.dump", "load_salaries3.dump")]
#[case::a_file_missing("rm load_titles.dump", "load_titles.dump")]
#[case::a_manifest_cut_off("truncate -s 100 dataset.json", "dataset.json is not a manifest")]
#[case::a_manifest_of_less("sed -i 's/\"salaries\"/\"wages\"/' dataset.json", "wages")]
fn a_damaged_data_set_is_never_served(#[case] damage: &str, #[case] named: &str) {
    let image = image_or_skip!();
    let sum = "cat *.dump dataset.json 2>&1 | md5sum";
    let damage = format!("before=$({sum}); {damage}; test \"$before\" != \"$({sum})\"");
    let init = checkout(&image, "test_db", &damage);
    let container = start(&image, &init);
    assert_eq!(container.exit_code(START), 1);
    let stderr = container.stderr();
    let line = stderr.lines().last().unwrap_or_default();
    assert!(line.starts_with("tandem-mysql: ") && line.contains(named), "{line}");
    never_ready(&container);
}

#[test]
fn the_check_of_a_running_server_finds_one_wrong_value_wherever_the_data_is() {
    let image = image_or_skip!();
    let database = "my-shop.v2`x";
    let run = image.small().envs(&[("MYSQL_DATABASE", database), ("MYSQL_USER", "app"), ("MYSQL_PASSWORD", "p#'\\")]);
    let container = run.start().healthy(START);
    says(&container.sh_ok("tandem-mysql verify"), &["data set complete"]);
    let app = over_tcp(&container, "app", "p#'\\");
    let name = "`my-shop.v2``x`";
    assert_eq!(app.ok(&format!("SELECT COUNT(*) FROM {name}.employees")), "10000");
    for (change, back, line) in [
        (
            "UPDATE {}.titles SET title = CONCAT(title, '!') LIMIT 1",
            "UPDATE {}.titles SET title = REPLACE(title, '!', '')",
            "table titles has a row with wrong content: its checksum differs",
        ),
        (
            "INSERT INTO {}.departments VALUES ('x001', 'X')",
            "DELETE FROM {}.departments WHERE dept_no = 'x001'",
            "table departments has 10 rows instead of 9",
        ),
    ] {
        app.ok(&change.replace("{}", name));
        let checked = container.exec(&["tandem-mysql", "verify"]);
        assert_eq!(checked.status.code(), Some(1));
        let expected = format!("tandem-mysql: the data check failed: {line}\n");
        assert_eq!(String::from_utf8(checked.stderr).unwrap(), expected);
        app.ok(&back.replace("{}", name));
    }
    says(&container.sh_ok("tandem-mysql verify"), &["data set complete"]);
}
