//! A whole list, in pieces: each is one short query, and no connection is held between two of them.
//!
//! So a reader who is slow or goes away holds nothing of the database's, no query comes near its time limit, whatever
//! is filtered, and memory holds one piece. The price is that the pieces are not one snapshot: somebody who is moved in
//! the order while the list is read can be in it twice or not at all. The data set does not change while it is served.

use sqlx::{MySql, QueryBuilder};

use super::employees::{
    COLUMNS, Employee, Plan, key, order_by, push_filter, push_position, push_range, rows, select_along,
};
use super::{Database, Error, totals};
use crate::cursor::{Cursor, Direction};
use crate::search::{Filter, Limit, Order, Search};

/// How many rows of the order one query walks along: some ten milliseconds.
pub const STRETCH: u32 = 1000;

/// A piece of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Its rows, in the list's order; perhaps none.
    pub employees: Vec<Employee>,
    /// Where the next piece begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// A row of the order, and whether it belongs to the list.
#[derive(sqlx::FromRow)]
struct Walked {
    #[sqlx(flatten)]
    employee: Employee,
    passes: bool,
}

/// The piece at `search`'s cursor. Its limit does not matter.
///
/// Pieces are walked along the order, and each row is looked at once. Only where very few match, which would mean to
/// walk along everything for nothing, are they collected and sorted, all in one piece.
///
/// # Errors
/// See [`Error`].
pub async fn piece(db: &Database, search: &Search) -> Result<Piece, Error> {
    if search.cursor.is_none() && is_small(db, &search.filter).await? {
        let whole = Search { limit: Limit(STRETCH), ..search.clone() };
        return Ok(Piece { employees: rows(db, &whole, Plan::Collect).await?, next: None });
    }
    let walked: Vec<Walked> =
        db.read(|pool| async move { walk_query(search).build_query_as().fetch_all(pool).await }).await?;
    let next = match walked.last() {
        Some(Walked { employee, .. }) if walked.len() == STRETCH as usize => {
            Some(Cursor { direction: Direction::Next, key: key(employee, search.sort) })
        }
        _ => None,
    };
    Ok(Piece { employees: walked.into_iter().filter(|row| row.passes).map(|row| row.employee).collect(), next })
}

/// Whether one piece is enough, as far as that can be told quickly.
async fn is_small(db: &Database, filter: &Filter) -> Result<bool, Error> {
    if *filter == Filter::default() {
        return Ok(false);
    }
    Ok(totals::count(db, filter).await?.is_some_and(|count| count <= u64::from(STRETCH)))
}

fn walk_query(search: &Search) -> QueryBuilder<MySql> {
    let ascending = search.order == Order::Ascending;
    let mut query = QueryBuilder::new(select_along(search.sort));
    query.push(COLUMNS).push(", (TRUE");
    push_filter(&mut query, &search.filter);
    query.push(") AS passes FROM employees e WHERE TRUE");
    push_range(&mut query, search);
    push_position(&mut query, search.cursor.as_ref(), ascending);
    query.push(order_by("e", search.sort, ascending)).push(" LIMIT ").push_bind(STRETCH);
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Key;

    #[test]
    fn no_value_of_a_search_gets_into_the_statement() {
        let search = Search {
            cursor: Some(Cursor {
                direction: Direction::Next,
                key: Key::Name("zzz5".to_owned(), "zzz6".to_owned(), 77_777),
            }),
            ..Search::parse("q=zzz1&department=zzz3&title=zzz4&born_from=1999-12-31&sort=name").unwrap()
        };
        let statement = walk_query(&search).sql().as_str().to_owned();
        assert!(!["zzz", "1999", "77777"].iter().any(|value| statement.contains(value)), "{statement}");
    }
}
