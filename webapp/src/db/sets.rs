//! Who can be in a list at all: for each value that can be filtered by, migration 21 has written down who has it. A few of
//! these sets, cut with each other here, say in a millisecond or two what the data set's own tables say after they have been
//! read from end to end.
//!
//! The rows of a page are looked up in the data set's tables in any case, with all filters: what has changed since the sets
//! were made can hide somebody, but never show anybody wrongly. Sets of another number of rows than there are now are not used.

use chrono::NaiveDate;
use sqlx::{MySql, QueryBuilder};
use tokio::sync::OnceCell;

use super::overview::Counts;
use super::{Database, Error};
use crate::search::{Filter, Name, Status};

/// Employees, by their numbers: words of 64 bits, in their order, without those that are 0. Number n is bit n mod 64, counted
/// from the lowest, of word (n + 2³¹) div 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(Vec<(u32, u64)>);

/// What is added to a number so that none is negative.
const OFFSET: i64 = 1 << 31;

impl Set {
    /// From what the migration wrote. Bytes that are too few for a word are left out.
    fn read(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<12>();
        let read =
            |&[a, b, c, d, ref bits @ ..]: &[u8; 12]| (u32::from_be_bytes([a, b, c, d]), u64::from_be_bytes(*bits));
        Self(words.iter().map(read).collect())
    }

    /// Who is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut others = other.0.iter().peekable();
        let both = self.0.iter().filter_map(|&(word, bits)| {
            while others.next_if(|(other, _)| *other < word).is_some() {}
            let (_, other) = others.next_if(|(other, _)| *other == word)?;
            Some((word, bits & other)).filter(|(_, bits)| *bits != 0)
        });
        Self(both.collect())
    }

    /// Who is in one of the two or in both.
    fn or(&self, other: &Self) -> Self {
        let mut all = Vec::with_capacity(self.0.len().max(other.0.len()));
        let (mut ones, mut others) = (self.0.iter().copied().peekable(), other.0.iter().copied().peekable());
        while let Some(word) = ones.peek().into_iter().chain(others.peek()).map(|&(word, _)| word).min() {
            let mut bits = 0;
            for words in [&mut ones, &mut others] {
                bits |= words.next_if(|(next, _)| *next == word).map_or(0, |(_, bits)| bits);
            }
            all.push((word, bits));
        }
        Self(all)
    }

    /// Who is not in the other.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut others = other.0.iter().peekable();
        let rest = self.0.iter().filter_map(|&(word, bits)| {
            while others.next_if(|(other, _)| *other < word).is_some() {}
            let taken = others.next_if(|(other, _)| *other == word).map_or(0, |(_, bits)| *bits);
            Some((word, bits & !taken)).filter(|(_, bits)| *bits != 0)
        });
        Self(rest.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|(_, bits)| u64::from(bits.count_ones())).sum()
    }

    /// Their numbers, the lowest first.
    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = i32> {
        self.0.iter().flat_map(|&(word, bits)| {
            let first = i64::from(word) * 64 - OFFSET;
            (0..64).filter(move |bit| bits >> bit & 1 == 1).filter_map(move |bit| i32::try_from(first + bit).ok())
        })
    }
}

/// Whom a filter can let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Nobody else.
    pub(super) all: Set,
    /// These surely. The others are to be looked at: they are born in the same weeks as somebody who passes, or their name
    /// begins with the same two letters.
    pub(super) sure: Set,
}

/// A filter and whom it may let through, which is looked up when it is first needed.
pub struct Narrowed<'a> {
    db: &'a Database,
    pub(super) filter: &'a Filter,
    pub(super) counts: &'a Counts,
    candidates: OnceCell<Option<Candidates>>,
}

impl<'a> Narrowed<'a> {
    /// Nothing is looked up yet. `counts`: how many rows there are.
    pub fn new(db: &'a Database, filter: &'a Filter, counts: &'a Counts) -> Self {
        Self { db, filter, counts, candidates: OnceCell::new() }
    }

    /// Whom the filter may let through; `None` where nobody has migrated, or the data has changed since.
    pub(super) async fn candidates(&self) -> Result<Option<&Candidates>, Error> {
        let find = || find(self.db, self.filter, self.counts);
        self.candidates.get_or_try_init(find).await.map(Option::as_ref)
    }
}

/// One of the sets into which everybody is divided along an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The beginning of a name, or the first of some dates.
    pub(super) value: String,
    /// The last of the dates.
    pub(super) ends: Option<NaiveDate>,
    /// Who is in it.
    pub(super) set: Set,
}

#[derive(sqlx::FromRow)]
struct SpanRow {
    value: String,
    ends: Option<NaiveDate>,
    words: Vec<u8>,
}

/// At most so many spans of a kind, upwards or downwards: the first one is that in which `from` lies, or what lies behind
/// it where it is `passed`.
pub(super) async fn spans(
    db: &Database,
    kind: &'static str,
    (from, passed): (Option<&str>, bool),
    ascending: bool,
    most: usize,
) -> Result<Vec<Span>, Error> {
    let query = || {
        let mut query = QueryBuilder::<MySql>::new("SELECT value, ends, words FROM tandem_sets WHERE kind = ");
        query.push_bind(kind);
        match (from, passed, ascending) {
            (None, ..) => {}
            (Some(from), false, true) => push_begun(&mut query, kind, from),
            (Some(from), passed, ascending) => {
                query.push(match (passed, ascending) {
                    (_, true) => " AND value > ",
                    (true, false) => " AND value < ",
                    (false, false) => " AND value <= ",
                });
                query.push_bind(from.to_owned());
            }
        }
        query.push(if ascending { " ORDER BY value LIMIT " } else { " ORDER BY value DESC LIMIT " });
        query.push_bind(most as u64);
        query
    };
    let rows: Vec<SpanRow> = db.read(|pool| async move { query().build_query_as().fetch_all(pool).await }).await?;
    Ok(rows.into_iter().map(|SpanRow { value, ends, words }| Span { value, ends, set: Set::read(&words) }).collect())
}

/// From the span on in which `from` lies. Spans are called like what they begin with.
fn push_begun(query: &mut QueryBuilder<MySql>, kind: &'static str, from: &str) {
    query.push(" AND value >= COALESCE((SELECT MAX(value) FROM tandem_sets WHERE kind = ");
    query.push_bind(kind).push(" AND value <= ").push_bind(from.to_owned()).push("), '')");
}

/// A set that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// Who has that value.
    Value(&'static str, String),
    /// Who has a date from a day to a day: of the spans that are needed for it, which may hold more.
    Dates(&'static str, Option<NaiveDate>, Option<NaiveDate>),
}

/// What a filter means in sets: it lets through nobody who is in none of a group's sets. Each item says whether it lets
/// through all whom it names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted(Vec<Vec<(Item, bool)>>);

/// A row of `tandem_sets`, and the place of the item that asked for it; none asks for the numbers of rows.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    item: Option<i64>,
    value: String,
    ends: Option<NaiveDate>,
    employees: i64,
    words: Vec<u8>,
}

async fn find(db: &Database, filter: &Filter, counts: &Counts) -> Result<Option<Candidates>, Error> {
    let wanted = &Wanted::of(filter);
    let rows = match db.read(|pool| async move { wanted.query().build_query_as::<Row>().fetch_all(pool).await }).await {
        Err(Error::NotLoaded(_)) => return Ok(None),
        rows => rows?,
    };
    let counted = |name| rows.iter().find(|row| row.item.is_none() && row.value == name).map(|row| row.employees);
    let now = [("employees", counts.employees), ("current", counts.current_employees), ("titles", counts.titles)];
    let unchanged = now.into_iter().all(|(name, count)| counted(name) == Some(count));
    Ok(unchanged.then(|| wanted.cut(&rows)))
}

impl Wanted {
    fn of(filter: &Filter) -> Self {
        // Destructured in full: a new filter cannot be forgotten here.
        let Filter { name, department, title, gender, born_from, born_to, hired_from, hired_to, status } = filter;
        let mut groups: Vec<Vec<(Item, bool)>> = Vec::new();
        match name {
            None => {}
            Some(Name::Either(word)) => groups.push(vec![beginning(FIRST, word), beginning(LAST, word)]),
            // One is the first name and the other the last, or the other way round: the same said as "and" of "or".
            Some(Name::Both(one, other)) => groups.extend([
                vec![beginning(FIRST, one), beginning(FIRST, other)],
                vec![beginning(FIRST, one), beginning(LAST, one)],
                vec![beginning(LAST, other), beginning(FIRST, other)],
                vec![beginning(LAST, other), beginning(LAST, one)],
            ]),
        }
        let today = *status == Some(Status::Current);
        let mut only = |item| groups.push(vec![(item, true)]);
        if let Some(department) = department {
            only(Item::Value(if today { "department today" } else { "department" }, department.clone()));
        }
        if let Some(title) = title {
            only(Item::Value(if today { "title today" } else { "title" }, title.clone()));
        }
        if let Some(gender) = gender {
            only(Item::Value("gender", gender.to_string()));
        }
        // Somebody who is in the department today is a current employee already.
        if let Some(status) = status.filter(|_| !today || department.is_none()) {
            only(Item::Value("status", status.to_string()));
        }
        for (kind, from, to) in [(BORN, *born_from, *born_to), (HIRED, *hired_from, *hired_to)] {
            if from.is_some() || to.is_some() {
                only(Item::Dates(kind, from, to));
            }
        }
        Self(groups)
    }

    /// The statement that asks for all items. Values are bound; what is put together are constants of this file.
    fn query(&self) -> QueryBuilder<MySql> {
        let mut query = QueryBuilder::new(
            "SELECT NULL AS item, value, ends, employees, words FROM tandem_sets WHERE kind = 'rows'",
        );
        for (place, (item, _)) in self.0.iter().flatten().enumerate() {
            query.push(format!(
                " UNION ALL SELECT {place}, value, ends, employees, words FROM tandem_sets WHERE kind = "
            ));
            match item {
                Item::Value(kind, value) => {
                    query.push_bind(*kind).push(" AND value = ").push_bind(value.clone());
                }
                Item::Dates(kind, from, to) => {
                    query.push_bind(*kind);
                    if let Some(from) = from {
                        push_begun(&mut query, kind, &from.to_string());
                    }
                    if let Some(to) = to {
                        query.push(" AND value <= ").push_bind(to.to_string());
                    }
                }
            }
        }
        query
    }

    /// Cuts the sets that were found.
    fn cut(&self, rows: &[Row]) -> Candidates {
        let mut places = 0..;
        let cut = self.0.iter().map(|group| {
            let mut one_of = Candidates::default();
            for ((item, whole), place) in group.iter().zip(&mut places) {
                for row in rows.iter().filter(|row| row.item == Some(place)) {
                    let Some(inside) = item.holds(row) else { continue };
                    let set = Set::read(&row.words);
                    one_of.all = one_of.all.or(&set);
                    if *whole && inside {
                        one_of.sure = one_of.sure.or(&set);
                    }
                }
            }
            one_of
        });
        let both = |one: Candidates, other: Candidates| Candidates {
            all: one.all.and(&other.all),
            sure: one.sure.and(&other.sure),
        };
        cut.reduce(both).unwrap_or_default()
    }
}

impl Item {
    /// Whether a row that was found is inside of what was asked for; `None` where it is outside.
    fn holds(&self, row: &Row) -> Option<bool> {
        let Self::Dates(_, from, to) = self else { return Some(true) };
        let (begins, ends) = (row.value.parse().ok()?, row.ends?);
        let begins_inside = from.is_none_or(|from| from <= begins);
        let ends_inside = to.is_none_or(|to| ends <= to);
        from.is_none_or(|from| from <= ends).then_some(begins_inside && ends_inside)
    }
}

/// The kinds that hold who has which date.
pub(super) const BORN: &str = "born";
pub(super) const HIRED: &str = "hired";

/// The kinds that hold who has a first name that begins with one or two letters, and the same for last names.
pub(super) const FIRST: [&str; 2] = ["first name 1", "first name 2"];
pub(super) const LAST: [&str; 2] = ["last name 1", "last name 2"];

/// Who has a name that begins as the word does, and whether all of these begin with the whole word. It is everybody where the
/// sets cannot tell: what counts as the same letter is not the same to MySQL in `LIKE` and in `=` beyond ASCII.
fn beginning(kinds: [&'static str; 2], word: &str) -> (Item, bool) {
    let letters =
        word.get(..word.len().min(2)).filter(|letters| letters.bytes().all(|byte| byte.is_ascii_alphabetic()));
    match (letters, letters.map(str::len)) {
        (Some(letters), Some(length @ 1..=2)) => {
            (Item::Value(kinds[length - 1], letters.to_owned()), length == word.len())
        }
        _ => (Item::Value("everybody", String::new()), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Search;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::collections::BTreeSet;

    /// As the migration writes them.
    fn bytes(numbers: &BTreeSet<i32>) -> Vec<u8> {
        let mut words: Vec<(u32, u64)> = Vec::new();
        for &number in numbers {
            let place = i64::from(number) + OFFSET;
            let (word, bit) = (u32::try_from(place / 64).unwrap(), 1 << (place % 64));
            match words.last_mut() {
                Some((last, bits)) if *last == word => *bits |= bit,
                _ => words.push((word, bit)),
            }
        }
        words.iter().flat_map(|(word, bits)| [&word.to_be_bytes()[..], &bits.to_be_bytes()].concat()).collect()
    }

    fn numbers() -> impl Strategy<Value = BTreeSet<i32>> {
        // Near each other, so that many share a word, and at both ends of what a number can be.
        proptest::collection::btree_set(prop_oneof![10_000..10_300_i32, any::<i32>()], 0..80)
    }

    proptest! {
        #[test]
        fn sets_are_cut_and_joined_as_sets_are(one in numbers(), other in numbers()) {
            let (a, b) = (Set::read(&bytes(&one)), Set::read(&bytes(&other)));
            let same = |set: Set, expected: BTreeSet<i32>| {
                prop_assert_eq!(set.len(), expected.len() as u64);
                prop_assert_eq!(set.is_empty(), expected.is_empty());
                prop_assert!(set.numbers().rev().eq(expected.iter().rev().copied()));
                prop_assert_eq!(set, Set::read(&bytes(&expected)));
                Ok(())
            };
            same(a.and(&b), one.intersection(&other).copied().collect())?;
            same(a.or(&b), one.union(&other).copied().collect())?;
            same(a.without(&b), one.difference(&other).copied().collect())?;
            same(a, one)?;
        }
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("all of it", Some("1960-01-01"), Some("1960-01-31"), Some(true))]
    #[case("no bounds", None, None, Some(true))]
    #[case("its end", Some("1960-01-31"), None, Some(false))]
    #[case("its beginning", None, Some("1960-01-01"), Some(false))]
    #[case("behind it", Some("1960-02-01"), None, None)]
    fn a_span_is_inside_of_some_dates_or_touches_them_or_not(
        #[case] _name: &str,
        #[case] from: Option<&str>,
        #[case] to: Option<&str>,
        #[case] expected: Option<bool>,
    ) {
        let row = Row {
            item: Some(0),
            value: "1960-01-01".to_owned(),
            ends: Some(day("1960-01-31")),
            employees: 0,
            words: Vec::new(),
        };
        assert_eq!(Item::Dates(BORN, from.map(day), to.map(day)).holds(&row), expected);
    }

    #[rstest]
    #[case("M", "first name 1", true)]
    #[case("Ma", "first name 2", true)]
    #[case("Mary", "first name 2", false)]
    #[case("Mé", "everybody", false)]
    #[case("é", "everybody", false)]
    #[case("%", "everybody", false)]
    fn a_name_is_looked_for_by_what_it_begins_with(#[case] word: &str, #[case] expected: &str, #[case] all: bool) {
        let (item, whole) = beginning(FIRST, word);
        let Item::Value(kind, _) = item else { panic!("{item:?}") };
        assert_eq!((kind, whole), (expected, all));
    }

    #[test]
    fn no_value_of_a_filter_gets_into_the_statement() {
        let filter = Search::parse("q=zz1+zz2&department=zzz3&title=zzz4&born_from=1999-12-31").unwrap().filter;
        let statement = Wanted::of(&filter).query().sql().as_str().to_owned();
        assert!(!["zz", "1999"].iter().any(|value| statement.contains(value)), "{statement}");
    }
}
