//! The statistics: who was where over the years, and what is paid today. They are read from the summaries that
//! [`crate::migrations`] computes: none of these queries looks at more than a few hundred rows, whatever the data set's
//! size. A database on which nobody has migrated has none of them.

use std::cmp::max;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, Error};
use crate::group::Group;
use crate::search::Gender;

/// The most years of a history, the latest ones.
const MAX_YEARS: i32 = 100;

/// The most groups that a group is compared with in one direction: a data set of another kind may have any number of
/// titles.
const MAX_COMPARED: usize = 100;

/// What a year did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Year {
    /// The year.
    #[schema(example = 1999)]
    pub year: i32,
    /// How many were in a department at the year's end.
    pub headcount: i64,
    /// How many were hired. Of a department: how many came, from outside or from another department.
    pub hires: i64,
    /// How many left. Of a department: how many went, for good or to another department.
    pub leavers: i64,
}

/// A department over the years.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DepartmentHistory {
    /// The department's number.
    pub dept_no: String,
    /// Its name.
    pub dept_name: String,
    /// Every year, the earliest first.
    pub years: Vec<Year>,
}

/// The company and its departments over the years; all have the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct History {
    /// When this was computed; null where there is nothing to compute it from.
    #[schema(required)]
    pub computed_at: Option<DateTime<Utc>>,
    /// The whole company, where somebody in two departments counts once.
    pub company: Vec<Year>,
    /// The departments, by number.
    pub departments: Vec<DepartmentHistory>,
}

/// What a group of people is paid today.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Percentiles {
    /// How many they are.
    pub employees: i64,
    /// The lowest salary.
    pub min: i64,
    /// The lowest salary that at least 10 % of them do not exceed.
    pub p10: i64,
    /// The same for 25 %.
    pub p25: i64,
    /// The same for 50 %.
    pub median: i64,
    /// The same for 75 %.
    pub p75: i64,
    /// The same for 90 %.
    pub p90: i64,
    /// The highest salary.
    pub max: i64,
    /// The average, to the cent.
    pub mean: f64,
}

/// How many are paid that much today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Band {
    /// This salary or more.
    pub from: i64,
    /// Less than this salary.
    pub below: i64,
    /// How many they are.
    pub employees: i64,
}

/// The salaries of a department.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DepartmentSalaries {
    /// The department's number.
    pub dept_no: String,
    /// Its name.
    pub dept_name: String,
    /// What is paid there.
    pub salaries: Percentiles,
}

/// The salaries of everybody with one title.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TitleSalaries {
    /// The title.
    pub title: String,
    /// What they are paid.
    pub salaries: Percentiles,
}

/// The salaries of one gender.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GenderSalaries {
    /// `M` or `F`.
    #[schema(value_type = Gender)]
    pub gender: String,
    /// What they are paid.
    pub salaries: Percentiles,
}

/// What a group is paid today, and others beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Salaries {
    /// When this was computed; null where nobody is paid anything.
    #[schema(required)]
    pub computed_at: Option<DateTime<Utc>>,
    /// The group's percentiles; null where there is nobody in it.
    #[schema(required)]
    pub salaries: Option<Percentiles>,
    /// The group's distribution: bands of one width from the lowest salary to the highest.
    pub histogram: Vec<Band>,
    /// The group in each department: the same title and gender, where those are given.
    pub by_department: Vec<DepartmentSalaries>,
    /// The group by title: the same department and gender, where those are given.
    pub by_title: Vec<TitleSalaries>,
    /// The group by gender: the same department and title, where those are given.
    pub by_gender: Vec<GenderSalaries>,
}

/// A row of either summary of years; `None` where a department has none.
#[derive(sqlx::FromRow)]
struct Change {
    dept_no: String,
    dept_name: String,
    year: Option<i32>,
    headcount: i64,
    hires: i64,
    leavers: i64,
    computed_at: Option<DateTime<Utc>>,
}

/// The history of the company, and of the department of that number or of all; `None` where it has not been computed.
///
/// # Errors
/// See [`Error`].
pub async fn history(db: &Database, department: Option<&str>) -> Result<Option<History>, Error> {
    let changes = db
        .read(|pool| {
            sqlx::query_as(
                "SELECT '' AS dept_no, '' AS dept_name, CAST(year AS SIGNED) AS year, headcount, hires, leavers, \
                        computed_at \
                 FROM tandem_company_years \
                 UNION ALL \
                 SELECT d.dept_no, d.dept_name, CAST(y.year AS SIGNED), COALESCE(y.headcount, 0), \
                        COALESCE(y.hires, 0), COALESCE(y.leavers, 0), y.computed_at \
                 FROM departments d LEFT JOIN tandem_department_years y USING (dept_no) \
                 WHERE ? IS NULL OR d.dept_no = ? \
                 ORDER BY dept_no, year",
            )
            .bind(department)
            .bind(department)
            .fetch_all(pool)
        })
        .await;
    computed(changes).map(|changes| changes.map(|changes: Vec<Change>| assemble(&changes)))
}

/// `None` for a table that is not there.
fn computed<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotLoaded(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fills the years in which nothing changed. `changes` are in order; the company's have an empty number.
fn assemble(changes: &[Change]) -> History {
    let years: Vec<i32> = changes.iter().filter_map(|change| change.year).collect();
    let last = years.iter().max().copied().unwrap_or_default();
    let first = years.iter().min().map_or(last + 1, |&first| max(first, last - (MAX_YEARS - 1)));
    let mut history = History {
        computed_at: changes.iter().filter_map(|change| change.computed_at).min(),
        company: Vec::new(),
        departments: Vec::new(),
    };
    for one in changes.chunk_by(|one, other| one.dept_no == other.dept_no) {
        let years = fill(one, first..=last);
        match one {
            [Change { dept_no, dept_name, .. }, ..] if !dept_no.is_empty() => history
                .departments
                .push(DepartmentHistory { dept_no: dept_no.clone(), dept_name: dept_name.clone(), years }),
            _ => history.company = years,
        }
    }
    history
}

fn fill(changes: &[Change], years: impl Iterator<Item = i32>) -> Vec<Year> {
    let mut changes = changes.iter().filter_map(|change| change.year.map(|year| (year, change))).peekable();
    let mut headcount = 0;
    years
        .map(|year| {
            let (mut hires, mut leavers) = (0, 0);
            while let Some((changed, change)) = changes.next_if(|(changed, _)| *changed <= year) {
                headcount = change.headcount;
                if changed == year {
                    (hires, leavers) = (change.hires, change.leavers);
                }
            }
            Year { year, headcount, hires, leavers }
        })
        .collect()
}

/// A row of the summary of percentiles, and in what it is like the group that is looked for.
#[derive(sqlx::FromRow)]
struct Row {
    dept_no: String,
    dept_name: String,
    title: String,
    gender: String,
    same_department: bool,
    same_title: bool,
    same_gender: bool,
    employees: i64,
    total: i64,
    min: i64,
    p10: i64,
    p25: i64,
    median: i64,
    p75: i64,
    p90: i64,
    max: i64,
    computed_at: DateTime<Utc>,
}

impl Row {
    fn percentiles(&self) -> Percentiles {
        let &Self { employees, total, min, p10, p25, median, p75, p90, max, .. } = self;
        // Exact below 2^53, which is more than all the salaries of the world.
        let mean = (total as f64 * 100.0 / employees as f64).round() / 100.0;
        Percentiles { employees, min, p10, p25, median, p75, p90, max, mean }
    }
}

/// What `group` is paid today; `None` where it has not been computed.
///
/// # Errors
/// See [`Error`].
pub async fn salaries(db: &Database, group: &Group) -> Result<Option<Salaries>, Error> {
    let department = group.department.as_deref().unwrap_or_default();
    let title = group.title.as_deref().unwrap_or_default();
    let gender = group.gender.map_or("", Gender::word);
    let rows = db
        .read(|pool| {
            sqlx::query_as(
                "SELECT p.*, COALESCE(d.dept_name, '') AS dept_name, p.dept_no = g.dept_no AS same_department, \
                        p.title = g.title AS same_title, p.gender = g.gender AS same_gender \
                 FROM (SELECT ? AS dept_no, ? AS title, ? AS gender) g \
                 JOIN tandem_salary_percentiles p \
                   ON (p.title = g.title AND p.gender = g.gender) OR (p.dept_no = g.dept_no AND p.gender = g.gender) \
                   OR (p.dept_no = g.dept_no AND p.title = g.title) \
                 LEFT JOIN departments d ON d.dept_no = p.dept_no \
                 ORDER BY p.dept_no, p.title, p.gender",
            )
            .bind(department)
            .bind(title)
            .bind(gender)
            .fetch_all(pool)
        })
        .await;
    let Some(rows): Option<Vec<Row>> = computed(rows)? else { return Ok(None) };
    let bands = db
        .read(|pool| {
            sqlx::query_as(
                "SELECT CAST(begins AS SIGNED), CAST(width AS SIGNED), CAST(employees AS SIGNED) \
                 FROM tandem_salary_bands WHERE dept_no = ? AND title = ? AND gender = ? ORDER BY begins",
            )
            .bind(department)
            .bind(title)
            .bind(gender)
            .fetch_all(pool)
        })
        .await;
    let Some(bands): Option<Vec<(i64, i64, i64)>> = computed(bands)? else { return Ok(None) };
    let mut salaries = Salaries {
        computed_at: rows.iter().map(|row| row.computed_at).min(),
        histogram: contiguous(&bands),
        ..Salaries::default()
    };
    for row in rows {
        let found = row.percentiles();
        let Row { dept_no, dept_name, title, gender, same_department, same_title, same_gender, .. } = row;
        if same_department && same_title && same_gender {
            salaries.salaries = Some(found);
        }
        if same_title && same_gender && !dept_no.is_empty() && salaries.by_department.len() < MAX_COMPARED {
            salaries.by_department.push(DepartmentSalaries { dept_no, dept_name, salaries: found });
        }
        if same_department && same_gender && !title.is_empty() && salaries.by_title.len() < MAX_COMPARED {
            salaries.by_title.push(TitleSalaries { title, salaries: found });
        }
        if same_department && same_title && !gender.is_empty() {
            salaries.by_gender.push(GenderSalaries { gender, salaries: found });
        }
    }
    Ok(Some(salaries))
}

/// Bands (beginning, width, how many) with the empty ones between them.
fn contiguous(found: &[(i64, i64, i64)]) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for &(from, width, employees) in found {
        while let Some(before) = bands.last().filter(|before| before.below < from && width > 0) {
            bands.push(Band { from: before.below, below: before.below + width, employees: 0 });
        }
        bands.push(Band { from, below: from + width, employees });
    }
    bands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(dept_no: &str, year: Option<i32>, headcount: i64) -> Change {
        Change {
            dept_no: dept_no.to_owned(),
            dept_name: dept_no.to_uppercase(),
            year,
            headcount,
            hires: 1,
            leavers: 2,
            computed_at: None,
        }
    }

    fn headcounts(years: &[Year]) -> Vec<(i32, i64, i64)> {
        years.iter().map(|year| (year.year, year.headcount, year.hires)).collect()
    }

    #[test]
    fn a_year_without_a_change_keeps_the_headcount_of_the_one_before() {
        let history = assemble(&[
            change("", Some(1990), 5),
            change("", Some(1992), 7),
            change("d1", None, 0),
            change("d2", Some(1991), 3),
        ]);
        assert_eq!(headcounts(&history.company), [(1990, 5, 1), (1991, 5, 0), (1992, 7, 1)]);
        assert_eq!(headcounts(&history.departments[0].years), [(1990, 0, 0), (1991, 0, 0), (1992, 0, 0)]);
        assert_eq!(headcounts(&history.departments[1].years), [(1990, 0, 0), (1991, 3, 1), (1992, 3, 0)]);
    }

    #[test]
    fn of_a_very_long_history_the_last_hundred_years_are_told() {
        let history = assemble(&[change("", Some(1), 5), change("", Some(2000), 7)]);
        assert_eq!(history.company.len(), 100);
        assert_eq!(headcounts(&history.company[..1]), [(1901, 5, 0)]);
    }

    #[test]
    fn without_any_row_there_is_no_year() {
        assert_eq!(assemble(&[]).company, []);
        assert_eq!(assemble(&[change("d1", None, 0)]).departments[0].years, []);
    }

    #[test]
    fn bands_in_which_nobody_is_paid_are_there_too() {
        let bands = contiguous(&[(10, 5, 1), (25, 5, 2)]);
        let all: Vec<_> = bands.iter().map(|band| (band.from, band.below, band.employees)).collect();
        assert_eq!(all, [(10, 15, 1), (15, 20, 0), (20, 25, 0), (25, 30, 2)]);
    }
}
