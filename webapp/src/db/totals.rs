//! How many employees a list has: counted where that is quick, else estimated from a sample.

use sqlx::{MySql, QueryBuilder};

use super::employees::{Page, push_filter};
use super::{Database, Error, server_code};
use crate::search::{Filter, Search};

/// How many are counted one by one. Where more match, the sample below knows their number well enough.
const MOST_COUNTED: u64 = 10_000;

/// An estimate above this is not worth a count: of the full data set, more than five standard errors lie between the two.
const SURELY_TOO_MANY: u64 = 2 * MOST_COUNTED;

/// How long counting may take, in milliseconds: a page should take no more than 30.
const PATIENCE: u32 = 10;

/// MySQL's error for a statement that took longer than it may.
const QUERY_TIMEOUT: u16 = 3024;

/// How many employees a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// Whether that is exact. An estimate is rounded to the digits that it deserves.
    pub exact: bool,
}

/// The size of the list of which `page` is shown, of a data set of `everybody`. A page that shows all of it tells by itself.
///
/// # Errors
/// See [`Error`].
pub async fn total(db: &Database, search: &Search, page: &Page, everybody: u64) -> Result<Total, Error> {
    let shown = page.employees.len() as u64;
    if search.filter == Filter::default() {
        return Ok(Total { count: everybody, exact: true });
    }
    if search.cursor.is_none() && page.next.is_none() {
        return Ok(Total { count: shown, exact: true });
    }
    let estimate = estimate(db, &search.filter, everybody).await?;
    let counted = if estimate > SURELY_TOO_MANY { None } else { count(db, &search.filter).await? };
    Ok(match counted {
        Some(count) if count <= MOST_COUNTED => Total { count, exact: true },
        Some(_) => Total { count: estimate.max(MOST_COUNTED), exact: false },
        None => Total { count: estimate.max(shown + u64::from(page.next.is_some())), exact: false },
    })
}

/// Counts them, up to [`MOST_COUNTED`] and one more; `None` where that takes too long.
pub(super) async fn count(db: &Database, filter: &Filter) -> Result<Option<u64>, Error> {
    db.read(|pool| async move {
        match count_query(filter).build_query_scalar::<i64>().fetch_one(pool).await {
            Ok(count) => Ok(Some(count.unsigned_abs())),
            Err(error) if server_code(&error) == QUERY_TIMEOUT => Ok(None),
            Err(error) => Err(error),
        }
    })
    .await
}

fn count_query(filter: &Filter) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("SELECT /*+ MAX_EXECUTION_TIME(");
    // A hint takes no bound value; this one is a constant of this file.
    query.push(PATIENCE).push(") */ COUNT(*) FROM (SELECT 1 FROM employees e WHERE TRUE");
    push_filter(&mut query, filter);
    query.push(" LIMIT ").push_bind(MOST_COUNTED + 1).push(") counted");
    query
}

/// Scales up from a sample of about 2,000 numbers.
async fn estimate(db: &Database, filter: &Filter, everybody: u64) -> Result<u64, Error> {
    let (seen, matching): (i64, i64) =
        db.read(|pool| async move { sample_query(filter).build_query_as().fetch_one(pool).await }).await?;
    Ok(scale_up(matching.unsigned_abs(), seen.unsigned_abs(), everybody))
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

/// The estimate from `matching` out of `seen` employees, rounded to the digits that so many matches deserve: two from a
/// hundred on, where the standard error is 10 % at most. Nobody in the sample does not mean nobody at all.
fn scale_up(matching: u64, seen: u64, everybody: u64) -> u64 {
    let digits = if matching < 100 { 1 } else { 2 };
    let estimate = everybody.saturating_mul(matching.max(1)) / seen.max(1);
    let unit = 10_u64.pow(estimate.max(1).ilog10().saturating_sub(digits - 1));
    (estimate + unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("half of them", 640, 1280, 300_024, 150_000)]
    #[case("many: two digits", 123, 1280, 300_024, 29_000)]
    #[case("few: one digit", 40, 1280, 300_024, 9_000)]
    #[case("none in the sample", 0, 1280, 300_024, 200)]
    #[case("rounded up", 99, 1000, 1000, 100)]
    #[case("an empty table", 0, 0, 0, 0)]
    fn an_estimate_has_the_digits_that_it_deserves(
        #[case] _name: &str,
        #[case] matching: u64,
        #[case] seen: u64,
        #[case] everybody: u64,
        #[case] expected: u64,
    ) {
        assert_eq!(scale_up(matching, seen, everybody), expected);
    }

    proptest! {
        #[test]
        fn rounding_moves_an_estimate_by_less_than_half(matching in 1..2000_u64, more in 0..2000_u64, everybody in 1..u64::MAX / 4000) {
            let seen = matching + more;
            let (rounded, raw) = (scale_up(matching, seen, everybody), everybody * matching / seen);
            prop_assert!(rounded.abs_diff(raw) * 2 <= raw, "{raw} became {rounded}");
        }
    }

    #[test]
    fn no_value_of_a_filter_gets_into_the_statements() {
        let filter = Search::parse("q=zzz1&department=zzz3&title=zzz4&born_from=1999-12-31").unwrap().filter;
        for statement in [count_query(&filter), sample_query(&filter)] {
            let statement = statement.sql().as_str().to_owned();
            assert!(!["zzz", "1999"].iter().any(|value| statement.contains(value)), "{statement}");
        }
    }
}
