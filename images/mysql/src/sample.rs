//! A data set of our own for where test_db cannot be fetched: the same schema, the same files, and people who do not
//! exist.
//!
//! In: the number of employees and a seed. Out: a folder that the stock `mysql < employees.sql` loads, with its
//! [`Manifest`]. The same options give the same bytes on every machine and in every version: [`Options`] names them.
//!
//! The way: `plan` decides how many rows each life has, so that the tables have test_db's sizes; `career` draws the
//! lives one after the other; `output` writes them. `company`, `names`, `day` and `dice` are what these need.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::dataset::{
    self, ENTRY_FILE, MANIFEST_FILE, Manifest, TABLES, TableCheck, Thousands,
    dump::Value::{Number, Text},
};

mod career;
mod company;
mod day;
mod dice;
mod names;
mod output;
mod plan;

use career::Career;
pub use company::DEPARTMENTS;
use output::{Digits, Output};
use plan::Plan;

/// The size of test_db.
pub const FULL_SIZE: u32 = 300_024;

/// Below this, there are hardly people beside the managers and those whom the challenge asks for.
pub const SMALLEST: u32 = 100;

/// Beyond this, nobody has tried.
pub const LARGEST: u32 = 10_000_000;

/// Which sample to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many employees, from [`SMALLEST`] to [`LARGEST`]. The other tables have their share of test_db's rows.
    pub employees: u32,
    /// Which of all possible companies.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { employees: FULL_SIZE, seed: 1 }
    }
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The size is out of range.
    #[error(
        "a sample has from {} to {} employees, not {}",
        Thousands(SMALLEST.into()), Thousands(LARGEST.into()), Thousands((*employees).into())
    )]
    Size {
        /// The size.
        employees: u32,
    },
    /// The folder holds something that is no data set of ours, and that we had better not replace.
    #[error("{} exists and was not made by the generator: remove it, or choose another folder", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] dataset::Error),
}

/// Makes a sample. The folder appears when it is complete: all files are written into a temporary folder beside it.
/// A sample that was there before is replaced then; anything else is left alone.
///
/// # Errors
/// If the size is out of range, if the folder is not ours to replace, or if writing fails. The folder is as before
/// then.
pub fn write(folder: &Path, options: &Options) -> Result<Manifest, Error> {
    if !(SMALLEST..=LARGEST).contains(&options.employees) {
        return Err(Error::Size { employees: options.employees });
    }
    let old = old_sample(folder)?;
    // A bare name has the empty path as its parent.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = scratch_folder(parent).map_err(|source| Error::Write { path: parent.into(), source })?;
    let new = scratch.path().join("new");
    let fail = |source| Error::Write { path: folder.into(), source };
    fs::create_dir(&new).map_err(fail)?;

    let manifest = fill(&new, options)?;

    let replaced = scratch.path().join("old");
    if old {
        fs::rename(folder, &replaced).map_err(fail)?;
    }
    if let Err(source) = fs::rename(&new, folder) {
        if old {
            fs::rename(&replaced, folder).map_err(fail)?;
        }
        return Err(fail(source));
    }
    Ok(manifest)
}

/// Whether there is a sample to replace; an error if there is something else.
fn old_sample(folder: &Path) -> Result<bool, Error> {
    let fail = |source| Error::Write { path: folder.into(), source };
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(fail(source)),
        // An empty folder gives way to a rename.
        Ok(true) => Ok(false),
        Ok(false) if folder.join(MANIFEST_FILE).is_file() => Ok(true),
        Ok(false) => Err(Error::Occupied { folder: folder.into() }),
    }
}

/// A folder that is removed with all that is left in it, also after an error. A killed run leaves it behind, where
/// nobody takes it for a data set.
fn scratch_folder(parent: &Path) -> io::Result<tempfile::TempDir> {
    fs::create_dir_all(parent)?;
    tempfile::Builder::new().prefix(".sample-").tempdir_in(parent)
}

/// Writes all files of the sample.
fn fill(folder: &Path, options: &Options) -> Result<Manifest, Error> {
    let entry = folder.join(ENTRY_FILE);
    fs::write(&entry, include_str!("sample/employees.sql")).map_err(|source| Error::Write { path: entry, source })?;

    let tables = write_tables(folder, &Plan::new(options.employees, options.seed))?;

    let rows = |name: &str| Thousands(tables.iter().find(|table| table.name == name).map_or(0, |table| table.rows));
    let description = format!(
        "generated sample, seed {}: {} employees, {} salaries",
        options.seed,
        rows("employees"),
        rows("salaries")
    );
    let manifest =
        Manifest { name: "sample".into(), description, source: None, licence: Some("CC0-1.0".into()), tables };
    manifest.write(folder)?;
    Ok(manifest)
}

fn write_tables(folder: &Path, plan: &Plan) -> Result<Vec<TableCheck>, Error> {
    let [departments, employees, dept_emp, dept_manager, titles, salaries] = &TABLES;
    let mut departments = Output::create(folder, departments)?;
    let mut employees = Output::create(folder, employees)?;
    let mut dept_emp = Output::create(folder, dept_emp)?;
    let mut dept_manager = Output::create(folder, dept_manager)?;
    let mut titles = Output::create(folder, titles)?;
    let mut salaries = Output::create(folder, salaries)?;

    for (number, name) in DEPARTMENTS {
        departments.checked_row(&[Text(number.as_bytes()), Text(name.as_bytes())])?;
    }
    for post in &plan.posts {
        let number = Digits::of(post.emp_no);
        let department = dept_no(post.department);
        let (from, to) = (post.from.text(), post.to.text());
        dept_manager.row(&[Number(number.bytes()), Text(department), Text(&from), Text(&to)])?;
        dept_manager.chain.link([department, number.bytes(), &from, &to].map(Some));
    }

    // The chain of dept_emp goes by department, the file by employee: the stays wait here for the chain.
    let mut stays: [Vec<_>; DEPARTMENTS.len()] = Default::default();
    for (index, outline) in plan.outlines.iter().enumerate() {
        let (person, mut dice) = plan.draw_person(outline.emp_no);
        let career = Career::draw(&person, outline.counts, &mut dice);
        let number = Digits::of(person.emp_no);
        let emp_no = Number(number.bytes());
        employees.checked_row(&[
            emp_no,
            Text(&person.birth.text()),
            Text(person.first_name.as_bytes()),
            Text(person.last_name.as_bytes()),
            Text(&[person.gender]),
            Text(&person.hired.text()),
        ])?;
        for stay in career.departments {
            dept_emp.row(&[emp_no, Text(dept_no(stay.what)), Text(&stay.from.text()), Text(&stay.to.text())])?;
            stays[usize::from(stay.what)].push((person.emp_no, stay.from, stay.to));
        }
        for title in career.titles {
            titles.checked_row(&[
                emp_no,
                Text(title.what.as_bytes()),
                Text(&title.from.text()),
                Text(&title.to.text()),
            ])?;
        }
        salaries.move_to(index * 3 / plan.outlines.len())?;
        for salary in career.salaries {
            salaries.checked_row(&[
                emp_no,
                Number(Digits::of(salary.what).bytes()),
                Text(&salary.from.text()),
                Text(&salary.to.text()),
            ])?;
        }
    }
    for (department, stays) in (0..).zip(stays) {
        for (number, from, to) in stays {
            let number = Digits::of(number);
            dept_emp.chain.link([dept_no(department), number.bytes(), &from.text(), &to.text()].map(Some));
        }
    }

    [departments, employees, dept_emp, dept_manager, titles, salaries]
        .into_iter()
        .map(|output| output.finish().map(|(table, chain)| chain.check(table.name)))
        .collect()
}

fn dept_no(department: u8) -> &'static [u8] {
    DEPARTMENTS[usize::from(department)].0.as_bytes()
}

#[cfg(test)]
mod tests;
