//! How many employees a list has: counted where that is quick, else estimated from a sample.

use sqlx::{MySql, QueryBuilder};

use super::employees::{Page, push_filter, push_numbered};
use super::sets::{Candidates, Narrowed};
use super::{Database, Error, PATIENCE, in_time};
use crate::search::{Filter, Search};

/// How many are counted one by one. Where more match, the sample below knows their number well enough.
const MOST_COUNTED: u64 = 10_000;

/// An estimate above this is not worth a count: of the full data set, more than five standard errors lie between the
/// two.
const SURELY_TOO_MANY: u64 = 2 * MOST_COUNTED;

/// How many employees a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// Whether that is exact. An estimate is rounded to the digits that it deserves.
    pub exact: bool,
}

/// The size of the list of which `page` is shown. A page that shows all of it tells by itself, and so do the sets that
/// the list is cut from, where they say all that its filter says.
///
/// # Errors
/// See [`Error`].
pub async fn total(db: &Database, search: &Search, page: &Page, narrowed: &Narrowed<'_>) -> Result<Total, Error> {
    let everybody = narrowed.counts.employees.unsigned_abs();
    if let Some(total) = at_hand(search, page, everybody) {
        return Ok(total);
    }
    let filter = &search.filter;
    let candidates = narrowed.candidates().await?;
    let sample = match candidates {
        Some(candidates) => sample_candidates(db, filter, candidates).await?,
        None => sample_everybody(db, filter, everybody).await?,
    };
    let least = least(page);
    // Names and dates may have been changed since the sets were made: what is shown is there.
    if sample.is_whole() && sample.sure + sample.matching >= least {
        return Ok(Total { count: sample.sure + sample.matching, exact: true });
    }
    let estimate = sample.estimate();
    // Where there are sets, and more is asked for than one index says, whoever could be counted in time was looked at.
    let is_worth_it = estimate <= SURELY_TOO_MANY && (candidates.is_none() || is_of_one_index(filter));
    let counted = if is_worth_it { count(db, filter).await? } else { None };
    Ok(match counted {
        Some(count) if count <= MOST_COUNTED => Total { count, exact: true },
        Some(_) => Total { count: estimate.max(MOST_COUNTED), exact: false },
        None => Total { count: estimate.max(least), exact: false },
    })
}

/// What is known without another question: of a list that is shown as a whole, and of that of everybody.
fn at_hand(search: &Search, page: &Page, everybody: u64) -> Option<Total> {
    let least = least(page);
    if search.cursor.is_none() && page.next.is_none() {
        return Some(Total { count: least, exact: true });
    }
    // Everybody was counted a while ago: what is shown is there.
    (search.filter == Filter::default()).then_some(Total { count: everybody.max(least), exact: everybody >= least })
}

/// How many there are at least: who is shown, and somebody behind where there is a next page.
fn least(page: &Page) -> u64 {
    page.employees.len() as u64 + u64::from(page.next.is_some())
}

/// Whether an index alone tells who passes: by the dates of one kind.
fn is_of_one_index(filter: &Filter) -> bool {
    let born = Filter { born_from: None, born_to: None, ..filter.clone() };
    let hired = Filter { hired_from: None, hired_to: None, ..filter.clone() };
    [born, hired].contains(&Filter::default())
}

/// Counts them, up to [`MOST_COUNTED`] and one more; `None` where that takes too long.
pub(super) async fn count(db: &Database, filter: &Filter) -> Result<Option<u64>, Error> {
    let counted: Option<i64> =
        db.read(|pool| async move { in_time(count_query(filter).build_query_scalar().fetch_one(pool).await) }).await?;
    Ok(counted.map(i64::unsigned_abs))
}

fn count_query(filter: &Filter) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("SELECT /*+ MAX_EXECUTION_TIME(");
    // A hint takes no bound value; this one is a constant of this file.
    query.push(PATIENCE).push(") */ COUNT(*) FROM (SELECT 1 FROM employees e WHERE TRUE");
    push_filter(&mut query, filter);
    query.push(" LIMIT ").push_bind(MOST_COUNTED + 1).push(") counted");
    query
}

/// What a few say about all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// How many match for sure.
    sure: u64,
    /// How many others there are.
    others: u64,
    /// How many of these were looked at.
    seen: u64,
    /// How many of those match.
    matching: u64,
}

impl Sample {
    /// Whether everybody was looked at.
    fn is_whole(&self) -> bool {
        self.seen == self.others
    }

    /// How many match, rounded to the digits that the sample deserves: two where the standard error is 10 % at most, as
    /// with a hundred matches and nobody else. Nobody in the sample does not mean nobody at all.
    fn estimate(&self) -> u64 {
        let scaled = self.others.saturating_mul(self.matching.max(1)) / self.seen.max(1);
        let all = self.sure + scaled;
        let error = scaled as f64 / all.max(1) as f64 / (self.matching.max(1) as f64).sqrt();
        let digits = if error > 0.1 { 1 } else { 2 };
        let unit = 10_u64.pow(all.max(1).ilog10().saturating_sub(digits - 1));
        (all + unit / 2) / unit * unit
    }
}

/// How many candidates are looked at: two or three milliseconds.
pub(super) const SAMPLE: u64 = 500;

/// Looks at those who do not match for sure: all of them, or as many as a sample has, spread evenly, the same ones each
/// time.
async fn sample_candidates(db: &Database, filter: &Filter, candidates: &Candidates) -> Result<Sample, Error> {
    let Candidates { all, sure } = candidates;
    let set = all.without(sure);
    let others = set.len();
    // Those at whose place the share of the sample that should have been taken by now passes a whole number.
    let taken = |place: u64| place * SAMPLE.min(others) / others;
    let numbers: Vec<_> = (0..)
        .zip(set.numbers())
        .filter(|&(place, _)| taken(place + 1) > taken(place))
        .map(|(_, number)| number)
        .collect();
    let matching = if numbers.is_empty() { 0 } else { among(db, filter, &numbers).await? };
    Ok(Sample { sure: sure.len(), others, seen: numbers.len() as u64, matching })
}

/// How many of these numbers pass.
async fn among(db: &Database, filter: &Filter, numbers: &[i32]) -> Result<u64, Error> {
    let matching: i64 =
        db.read(|pool| async move { among_query(filter, numbers).build_query_scalar().fetch_one(pool).await }).await?;
    Ok(matching.unsigned_abs())
}

fn among_query(filter: &Filter, numbers: &[i32]) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("SELECT /*+ JOIN_PREFIX(n) */ COUNT(*) FROM ");
    push_numbered(&mut query, numbers);
    push_filter(&mut query, filter);
    query
}

/// Looks at about 2,000 numbers, spread over all that are in use: where there are no sets.
async fn sample_everybody(db: &Database, filter: &Filter, everybody: u64) -> Result<Sample, Error> {
    let (seen, matching): (i64, i64) =
        db.read(|pool| async move { sample_query(filter).build_query_as().fetch_one(pool).await }).await?;
    let (seen, matching) = (seen.unsigned_abs(), matching.unsigned_abs());
    // Whoever came since everybody was counted is not more than everybody.
    Ok(Sample { sure: 0, others: everybody.max(seen + 1), seen, matching })
}

/// Looks at 64 runs of 32 numbers, spread evenly over all numbers that are in use: every employee is as likely to be in
/// it as any other, and it is the same sample every time.
fn sample_query(filter: &Filter) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new(
        "WITH RECURSIVE bounds AS (SELECT MIN(emp_no) AS low, MAX(emp_no) AS high FROM employees), \
         runs (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM runs WHERE number < 63) \
         SELECT COUNT(*), CAST(COALESCE(SUM(TRUE",
    );
    push_filter(&mut query, filter);
    query.push(
        "), 0) AS SIGNED) FROM bounds JOIN runs JOIN employees e \
         ON e.emp_no BETWEEN low + number * ((high - low) DIV 64) AND low + number * ((high - low) DIV 64) + 31",
    );
    query
}

#[cfg(test)]
mod tests {
    use super::super::employees::Employee;
    use super::*;
    use crate::cursor::{Cursor, Direction, Key};
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("as counted", "", 25, true, 300, Some((300, true)))]
    #[case("more than were counted", "", 25, true, 0, Some((26, false)))]
    #[case("as many as were counted, and one more", "", 25, true, 25, Some((26, false)))]
    #[case("all that there are, and more than were counted", "", 20, false, 0, Some((20, true)))]
    #[case("all that there are, and fewer than were counted", "", 20, false, 30, Some((20, true)))]
    #[case("all of a name", "q=a", 20, false, 300, Some((20, true)))]
    #[case("some of a name", "q=a", 25, true, 300, None)]
    fn a_total_is_never_less_than_what_the_page_shows(
        #[case] _name: &str,
        #[case] query: &str,
        #[case] shown: usize,
        #[case] goes_on: bool,
        #[case] counted: u64,
        #[case] expected: Option<(u64, bool)>,
    ) {
        let somebody = Employee {
            emp_no: 1,
            birth_date: chrono::NaiveDate::MIN,
            first_name: String::new(),
            last_name: String::new(),
            gender: "F".to_owned(),
            hire_date: chrono::NaiveDate::MIN,
        };
        let next = goes_on.then_some(Cursor { direction: Direction::Next, key: Key::EmpNo(1) });
        let page = Page { employees: vec![somebody; shown], previous: None, next };
        let expected = expected.map(|(count, exact)| Total { count, exact });
        assert_eq!(at_hand(&Search::parse(query).unwrap(), &page, counted), expected);
    }

    #[rstest]
    #[case("half of them", [0, 300_024, 1280, 640], 150_000)]
    #[case("many: two digits", [0, 300_024, 1280, 123], 29_000)]
    #[case("few: one digit", [0, 300_024, 1280, 40], 9_000)]
    #[case("none in the sample", [0, 300_024, 1280, 0], 200)]
    #[case("rounded up", [0, 1000, 1000, 99], 100)]
    #[case("an empty table", [0, 0, 0, 0], 0)]
    #[case("few, beside many who are sure", [41_300, 9000, 500, 25], 42_000)]
    #[case("few, beside some who are sure", [400, 9000, 500, 25], 900)]
    fn an_estimate_has_the_digits_that_it_deserves(
        #[case] _name: &str,
        #[case] sample: [u64; 4],
        #[case] expected: u64,
    ) {
        let [sure, others, seen, matching] = sample;
        assert_eq!(Sample { sure, others, seen, matching }.estimate(), expected);
    }

    proptest! {
        #[test]
        fn rounding_moves_an_estimate_by_less_than_half(
            sure in 0..1_000_000_u64, matching in 1..2000_u64, more in 0..2000_u64, others in 1..u64::MAX / 4000,
        ) {
            let seen = matching + more;
            let rounded = Sample { sure, others, seen, matching }.estimate();
            let raw = sure + others * matching / seen;
            prop_assert!(rounded.abs_diff(raw) * 2 <= raw, "{raw} became {rounded}");
        }
    }

    #[test]
    fn no_value_of_a_filter_gets_into_the_statements() {
        let filter = Search::parse("q=zzz1&department=zzz3&title=zzz4&born_from=1999-12-31").unwrap().filter;
        for statement in [count_query(&filter), sample_query(&filter), among_query(&filter, &[77_777])] {
            let statement = statement.sql().as_str().to_owned();
            assert!(!["zzz", "1999", "77777"].iter().any(|value| statement.contains(value)), "{statement}");
        }
    }
}
