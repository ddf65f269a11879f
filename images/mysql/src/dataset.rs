//! What a data set of the employees database is: its six tables, the files that hold them, and the row counts and
//! checksums that say whether a copy is whole.
//!
//! In: the folder of a data set (the stock test_db checkout, or what [`crate::sample`] made), and what was found in a
//! database. Out: the [`Manifest`] with the figures to expect, and every [`Mismatch`] between the two.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

mod chain;
pub mod dump;
pub mod tsv;

pub use chain::Chain;

/// The file of a data set's folder that holds its [`Manifest`]. The stock test_db checkout has none.
pub const MANIFEST_FILE: &str = "dataset.json";

/// The file of a data set's folder that a `mysql` client runs to load all of it.
pub const ENTRY_FILE: &str = "employees.sql";

/// The commit of test_db whose figures [`Manifest::test_db`] holds.
pub const TEST_DB_COMMIT: &str = "3c7fa05e04b4c339d91a43b7029a210212d48e6c";

/// One table of the employees database.
#[derive(Debug)]
pub struct Table {
    /// The table's name.
    pub name: &'static str,
    /// Its columns in the order of the schema, and so of the values in its dump files.
    pub columns: &'static [&'static str],
    /// The columns that the checksum chain covers, in the chain's order.
    pub checked: &'static [&'static str],
    /// The columns that put the rows into the chain's order.
    pub key: &'static [&'static str],
    /// The dump files that hold the rows, in the order in which they are loaded.
    pub files: &'static [&'static str],
}

/// The six tables, in an order in which they can be loaded with their foreign keys on.
pub static TABLES: [Table; 6] = [
    Table {
        name: "departments",
        columns: &["dept_no", "dept_name"],
        checked: &["dept_no", "dept_name"],
        key: &["dept_no"],
        files: &["load_departments.dump"],
    },
    Table {
        name: "employees",
        columns: &["emp_no", "birth_date", "first_name", "last_name", "gender", "hire_date"],
        checked: &["emp_no", "birth_date", "first_name", "last_name", "gender", "hire_date"],
        key: &["emp_no"],
        files: &["load_employees.dump"],
    },
    Table {
        name: "dept_emp",
        columns: &["emp_no", "dept_no", "from_date", "to_date"],
        checked: &["dept_no", "emp_no", "from_date", "to_date"],
        key: &["dept_no", "emp_no"],
        files: &["load_dept_emp.dump"],
    },
    Table {
        name: "dept_manager",
        columns: &["emp_no", "dept_no", "from_date", "to_date"],
        checked: &["dept_no", "emp_no", "from_date", "to_date"],
        key: &["dept_no", "emp_no"],
        files: &["load_dept_manager.dump"],
    },
    Table {
        name: "titles",
        columns: &["emp_no", "title", "from_date", "to_date"],
        checked: &["emp_no", "title", "from_date", "to_date"],
        key: &["emp_no", "title", "from_date"],
        files: &["load_titles.dump"],
    },
    Table {
        name: "salaries",
        columns: &["emp_no", "salary", "from_date", "to_date"],
        checked: &["emp_no", "salary", "from_date", "to_date"],
        key: &["emp_no", "from_date", "to_date"],
        files: &["load_salaries1.dump", "load_salaries2.dump", "load_salaries3.dump"],
    },
];

/// What a data set says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `test_db` or `sample`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Where the data comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The licence that the data is under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// What each table must hold, in the order of [`TABLES`].
    pub tables: Vec<TableCheck>,
}

/// The size and the checksum of one table, either as expected or as found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCheck {
    /// The table's name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// The end of its [`Chain`], in hexadecimal digits.
    pub md5: String,
}

/// Why a folder's manifest could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is neither one of ours nor a test_db checkout.
    #[error("{} is not a data set: it has neither {MANIFEST_FILE} nor {missing}", folder.display())]
    NotADataSet {
        /// The folder.
        folder: PathBuf,
        /// The first of test_db's files that is missing.
        missing: &'static str,
    },
    /// The manifest cannot be read or written.
    #[error("cannot access {}", path.display())]
    Access {
        /// The manifest's path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The manifest is not what this version writes.
    #[error("{} is not a manifest", path.display())]
    Malformed {
        /// The manifest's path.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Manifest {
    /// The stock test_db at its pinned commit.
    #[must_use]
    pub fn test_db() -> Self {
        let figures = [
            ("departments", 9, "d1af5e170d2d1591d776d5638d71fc5f"),
            ("employees", 300_024, "4ec56ab5ba37218d187cf6ab09ce1aa1"),
            ("dept_emp", 331_603, "ccf6fe516f990bdaa49713fc478701b7"),
            ("dept_manager", 24, "8720e2f0853ac9096b689c14664f847e"),
            ("titles", 443_308, "bfa016c472df68e70a03facafa1bc0a8"),
            ("salaries", 2_844_047, "fd220654e95aea1b169624ffe3fca934"),
        ];
        Self {
            name: "test_db".into(),
            description: "test_db: 300,024 employees, 2,844,047 salaries".into(),
            source: Some(format!("https://github.com/datacharmer/test_db/tree/{TEST_DB_COMMIT}")),
            licence: Some("CC BY-SA 3.0".into()),
            tables: figures.map(|(name, rows, md5)| TableCheck { name: name.into(), rows, md5: md5.into() }).into(),
        }
    }

    /// The manifest in a folder. One without a manifest but with all of the stock files is taken as test_db.
    ///
    /// # Errors
    /// If the manifest cannot be read, or if there is none and a stock file is missing.
    pub fn of_folder(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST_FILE);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|source| Error::Malformed { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match stock_files().find(|file| !folder.join(file).is_file()) {
                    None => Ok(Self::test_db()),
                    Some(missing) => Err(Error::NotADataSet { folder: folder.into(), missing }),
                }
            }
            Err(source) => Err(Error::Access { path, source }),
        }
    }

    /// Writes the manifest into a folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(MANIFEST_FILE);
        let json = match serde_json::to_string_pretty(self) {
            Ok(json) => json + "\n",
            Err(source) => return Err(Error::Malformed { path, source }),
        };
        fs::write(&path, json).map_err(|source| Error::Access { path, source })
    }

    /// Everything in which the tables that were found differ from the manifest; nothing if the copy is whole.
    /// Tables that the manifest does not name are no concern of it.
    #[must_use]
    pub fn mismatches(&self, found: &[TableCheck]) -> Vec<Mismatch> {
        self.tables
            .iter()
            .filter_map(|expected| match found.iter().find(|table| table.name == expected.name) {
                None => Some(Mismatch::Missing { table: expected.name.clone() }),
                Some(found) if found.rows != expected.rows => {
                    Some(Mismatch::Rows { table: expected.name.clone(), expected: expected.rows, found: found.rows })
                }
                Some(found) if found.md5 != expected.md5 => Some(Mismatch::Content { table: expected.name.clone() }),
                Some(_) => None,
            })
            .collect()
    }
}

/// One table that is not as its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The table was not found at all.
    #[error("table {table} is missing")]
    Missing {
        /// The table's name.
        table: String,
    },
    /// The number of rows differs.
    #[error("table {table} has {} rows instead of {}", Thousands(*found), Thousands(*expected))]
    Rows {
        /// The table's name.
        table: String,
        /// The rows that it should have.
        expected: u64,
        /// The rows that it has.
        found: u64,
    },
    /// The number of rows is right, but at least one has another content.
    #[error("table {table} has a row with wrong content: its checksum differs")]
    Content {
        /// The table's name.
        table: String,
    },
}

/// Displays a number for people: `2,844,047`.
#[derive(Debug, Clone, Copy)]
pub struct Thousands(pub u64);

impl fmt::Display for Thousands {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            write!(formatter, "{}", self.0)
        } else {
            write!(formatter, "{},{:03}", Thousands(self.0 / 1000), self.0 % 1000)
        }
    }
}

fn stock_files() -> impl Iterator<Item = &'static str> {
    std::iter::once(ENTRY_FILE).chain(TABLES.iter().flat_map(|table| table.files.iter().copied()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn folder_with(files: impl IntoIterator<Item = &'static str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_with_the_stock_files_is_taken_as_test_db() {
        let folder = folder_with(stock_files());
        assert_eq!(Manifest::of_folder(folder.path()).unwrap(), Manifest::test_db());
    }

    #[test]
    fn a_folder_without_one_of_the_stock_files_is_refused_by_its_name() {
        let folder = folder_with(stock_files().filter(|file| *file != "load_titles.dump"));
        let error = Manifest::of_folder(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("is not a data set: it has neither dataset.json nor load_titles.dump"), "{error}");
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_counts_more_than_the_stock_files() {
        let folder = folder_with(stock_files());
        let manifest = Manifest { name: "sample".into(), source: None, ..Manifest::test_db() };
        manifest.write(folder.path()).unwrap();
        assert_eq!(Manifest::of_folder(folder.path()).unwrap(), manifest);
    }

    #[test]
    fn a_manifest_that_is_cut_off_is_an_error_and_not_test_db() {
        let folder = folder_with(stock_files());
        fs::write(folder.path().join(MANIFEST_FILE), "{\"name\": ").unwrap();
        assert!(matches!(Manifest::of_folder(folder.path()), Err(Error::Malformed { .. })));
    }

    #[test]
    fn test_db_has_figures_for_every_table_in_load_order() {
        let names: Vec<_> = Manifest::test_db().tables.into_iter().map(|table| table.name).collect();
        assert_eq!(names, TABLES.each_ref().map(|table| table.name));
    }

    #[test]
    fn the_nine_departments_have_the_checksum_of_test_db() {
        let mut chain = Chain::default();
        for (number, name) in crate::sample::DEPARTMENTS {
            chain.link([Some(number.as_bytes()), Some(name.as_bytes())]);
        }
        assert_eq!(chain.check("departments"), Manifest::test_db().tables[0]);
    }

    #[test]
    fn every_checked_and_key_column_is_a_column() {
        for table in &TABLES {
            assert!(table.checked.iter().chain(table.key).all(|column| table.columns.contains(column)));
            assert_eq!(table.checked.len(), table.columns.len());
        }
    }

    #[test]
    fn a_whole_copy_has_no_mismatch_even_beside_tables_of_others() {
        let mut found = Manifest::test_db().tables;
        found.push(TableCheck { name: "_migrations".into(), rows: 3, md5: String::new() });
        assert_eq!(Manifest::test_db().mismatches(&found), []);
    }

    #[rstest]
    #[case::a_missing_table(|tables: &mut Vec<TableCheck>| drop(tables.remove(4)), "table titles is missing")]
    #[case::a_missing_row(
        |tables: &mut Vec<TableCheck>| tables[5].rows -= 1,
        "table salaries has 2,844,046 rows instead of 2,844,047"
    )]
    #[case::a_changed_row(
        |tables: &mut Vec<TableCheck>| tables[1].md5.replace_range(..1, "0"),
        "table employees has a row with wrong content: its checksum differs"
    )]
    fn a_mismatch_names_its_table(#[case] damage: fn(&mut Vec<TableCheck>), #[case] message: &str) {
        let mut found = Manifest::test_db().tables;
        damage(&mut found);
        let mismatches = Manifest::test_db().mismatches(&found);
        assert_eq!(mismatches.iter().map(ToString::to_string).collect::<Vec<_>>(), [message]);
    }

    #[rstest]
    #[case(0, "0")]
    #[case(999, "999")]
    #[case(1_000, "1,000")]
    #[case(2_844_047, "2,844,047")]
    fn numbers_are_grouped_by_thousands(#[case] number: u64, #[case] text: &str) {
        assert_eq!(Thousands(number).to_string(), text);
    }
}
