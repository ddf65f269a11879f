//! Who can be in a list at all: for each value that can be filtered by, migration 21 has written down who has it. A few
//! of these sets, cut with each other here, say in a millisecond or two what the data set's own tables say after they
//! have been read from end to end.
//!
//! The rows of a page are looked up in the data set's tables in any case, with all filters: what has changed since the
//! sets were made can hide somebody, but never show anybody wrongly. Sets of another number of rows than there are now
//! are not used.

use chrono::NaiveDate;
use sqlx::{MySql, QueryBuilder};
use tokio::sync::OnceCell;

use super::employees::prefix;
use super::overview::Counts;
use super::totals::SAMPLE;
use super::{Database, Error, PATIENCE, in_time};
use crate::search::{Filter, Name, Status};

/// Employees, by their numbers: words of 64 bits, in their order, without those that are 0. Number n is bit n mod 64,
/// counted from the lowest, of word (n + 2³¹) div 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(Vec<(u32, u64)>);

/// What is added to a number so that none is negative.
const OFFSET: i64 = 1 << 31;

impl FromIterator<i32> for Set {
    fn from_iter<T: IntoIterator<Item = i32>>(numbers: T) -> Self {
        let mut numbers: Vec<_> =
            numbers.into_iter().map(|number| (i64::from(number) + OFFSET).unsigned_abs()).collect();
        numbers.sort_unstable();
        let of_word = |numbers: &[u64]| {
            let word = u32::try_from(numbers.first()? / 64).ok()?;
            Some((word, numbers.iter().fold(0, |bits, number| bits | 1 << (number % 64))))
        };
        Self(numbers.chunk_by(|one, other| one / 64 == other / 64).filter_map(of_word).collect())
    }
}

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
    /// These surely. The others are to be looked at: they are born in the same weeks as somebody who passes, or their
    /// name begins with the same two letters.
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

/// At most so many spans of a kind, upwards or downwards: the first one is that in which `from` lies, or what lies
/// behind it where it is `passed`.
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
    let named = match &filter.name {
        Some(name) if !says_all(name) => named(db, name).await?,
        _ => None,
    };
    let Some(named) = named else { return cut(db, filter, counts).await };
    let rest = Filter { name: None, ..filter.clone() };
    // Also where nothing else is asked for: who goes on from here walks along the sets, which may be of another time.
    let found = cut(db, &rest, counts).await?;
    let exactly = Candidates::exactly(named);
    Ok(found.map(|found| if rest == Filter::default() { exactly } else { found.and(&exactly) }))
}

/// What the migration's sets say.
async fn cut(db: &Database, filter: &Filter, counts: &Counts) -> Result<Option<Candidates>, Error> {
    let wanted = &Wanted::of(filter);
    let rows = match db.read(|pool| async move { wanted.query().build_query_as::<Row>().fetch_all(pool).await }).await {
        Err(Error::NotLoaded(_)) => return Ok(None),
        rows => rows?,
    };
    let counted = |name| rows.iter().find(|row| row.item.is_none() && row.value == name).map(|row| row.employees);
    let now = [("employees", counts.employees), ("current", counts.current_employees), ("titles", counts.titles)];
    if !now.into_iter().all(|(name, count)| counted(name) == Some(count)) {
        return Ok(None);
    }
    let mut groups = wanted.groups(&rows);
    let found = whole(&groups);
    // Where few are left to be looked at, that is as good.
    if found.all.without(&found.sure).len() <= SAMPLE {
        return Ok(Some(found));
    }
    let edges: Vec<_> =
        groups.iter_mut().flat_map(|group| &mut group.edges).filter(|edge| edge.is_worth_it()).collect();
    if edges.is_empty() {
        return Ok(Some(found));
    }
    read_edges(db, edges).await?;
    Ok(Some(whole(&groups)))
}

/// Whom all filters let through.
fn whole(groups: &[Group]) -> Candidates {
    groups.iter().map(Group::whole).reduce(|one, other| one.and(&other)).unwrap_or_default()
}

/// How many who have a name, or a date, are asked for: more of them take longer than the sets.
const MOST_READ: u64 = 5000;

/// How many are taken where more have a date than was to be expected: all of a span of the full data set.
const MOST_OF_AN_EDGE: u64 = 10_000;

/// Who has a name, as the indexes of names tell; `None` where that takes longer than [`PATIENCE`], as where nobody has
/// migrated, or where more than [`MOST_READ`] have it.
async fn named(db: &Database, name: &Name) -> Result<Option<Set>, Error> {
    let numbers: Option<Vec<i32>> =
        db.read(|pool| async move { in_time(named_query(name).build_query_scalar().fetch_all(pool).await) }).await?;
    Ok(numbers.filter(|numbers| numbers.len() as u64 <= MOST_READ).map(Set::from_iter))
}

/// Who has a first or a last name that begins with the word, or both names in either order. Somebody may be there
/// twice.
fn named_query(name: &Name) -> QueryBuilder<MySql> {
    let (one, other) = match name {
        Name::Either(word) => (word, None),
        // The longer one leads to fewer.
        Name::Both(one, other) if one.chars().count() < other.chars().count() => (other, Some(one)),
        Name::Both(one, other) => (one, Some(other)),
    };
    let push = |query: &mut QueryBuilder<MySql>, leading: &str, second: &str| {
        query.push(format!(" a.emp_no FROM employees a WHERE a.{leading} LIKE ")).push_bind(prefix(one));
        if let Some(other) = other {
            query.push(format!(" AND a.{second} LIKE ")).push_bind(prefix(other));
        }
        query.push(" LIMIT ").push_bind(MOST_READ + 1).push(")");
    };
    // A hint takes no bound value; this one is a constant.
    let mut query = QueryBuilder::new("(SELECT /*+ MAX_EXECUTION_TIME(");
    query.push(PATIENCE).push(") INDEX(a tandem_name) */");
    push(&mut query, "first_name", "last_name");
    query.push(" UNION ALL (SELECT /*+ INDEX(a tandem_last_name) */");
    push(&mut query, "last_name", "first_name");
    query
}

/// What the sets say of those whom one filter lets through.
#[derive(Debug, Default)]
struct Group {
    sets: Candidates,
    edges: Vec<Edge>,
}

impl Group {
    /// With what is known of the edges.
    fn whole(&self) -> Candidates {
        let Candidates { mut all, mut sure } = self.sets.clone();
        for edge in &self.edges {
            match &edge.passes {
                Some(set) => (all, sure) = (all.or(set), sure.or(set)),
                None => all = all.or(&edge.set),
            }
        }
        Candidates { all, sure }
    }
}

/// A span that a filter by dates cuts: a part of it passes.
#[derive(Debug)]
struct Edge {
    kind: &'static str,
    /// Everybody in the span.
    set: Set,
    /// The days that are looked at, the fewer ones: those that pass, or the others.
    days: Vec<(NaiveDate, NaiveDate)>,
    /// Whether those pass who have one of these days.
    pass: bool,
    /// How many they are, if people are spread evenly over the span.
    expected: u64,
    /// Who passes, once that is known.
    passes: Option<Set>,
}

impl Edge {
    /// Of the span from one day to another: those pass who have a day from `first` to `last`.
    fn new(
        kind: &'static str,
        set: Set,
        (begins, ends): (NaiveDate, NaiveDate),
        (first, last): (NaiveDate, NaiveDate),
    ) -> Self {
        let length = |from: NaiveDate, to: NaiveDate| (to - from).num_days().unsigned_abs() + 1;
        let (passing, whole) = (length(first, last), length(begins, ends));
        let pass = 2 * passing <= whole;
        let before = first.pred_opt().filter(|day| begins <= *day).map(|day| (begins, day));
        let behind = last.succ_opt().filter(|day| *day <= ends).map(|day| (day, ends));
        let days = if pass { vec![(first, last)] } else { before.into_iter().chain(behind).collect() };
        let looked_at = if pass { passing } else { whole - passing };
        let expected = set.len() * looked_at / whole;
        Self { kind, set, days, pass, expected, passes: None }
    }

    /// Whether it takes no longer to ask for these people than to look at some of them.
    fn is_worth_it(&self) -> bool {
        self.expected <= MOST_READ
    }
}

/// Asks the indexes who passes. An edge stays unknown where it is more than [`MOST_OF_AN_EDGE`], and all do where it
/// takes too long.
async fn read_edges(db: &Database, edges: Vec<&mut Edge>) -> Result<(), Error> {
    let asked = &edges;
    let rows: Option<Vec<(i64, i32)>> =
        db.read(|pool| async move { in_time(edges_query(asked).build_query_as().fetch_all(pool).await) }).await?;
    let Some(rows) = rows else { return Ok(()) };
    for (place, edge) in (0..).zip(edges) {
        let found = rows.iter().filter(|(of, _)| *of == place).map(|(_, number)| *number);
        if found.clone().count() as u64 <= MOST_OF_AN_EDGE {
            let found: Set = found.collect();
            edge.passes = Some(if edge.pass { found } else { edge.set.without(&found) });
        }
    }
    Ok(())
}

/// Who has one of the days of each edge, with the edge's place.
fn edges_query(edges: &[&mut Edge]) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("");
    let days =
        (0_i64..).zip(edges).flat_map(|(place, edge)| edge.days.iter().map(move |days| (place, edge.kind, *days)));
    for (count, (place, kind, (first, last))) in days.enumerate() {
        let column = if kind == BORN { "birth_date" } else { "hire_date" };
        query.push(match count {
            // A hint takes no bound value; this one is a constant. It is of the whole statement, of up to four edges.
            0 => format!("(SELECT /*+ MAX_EXECUTION_TIME({})", 4 * PATIENCE),
            _ => " UNION ALL (SELECT /*+".to_owned(),
        });
        query.push(format!(
            " INDEX(a tandem_{column}) */ {place} AS edge, a.emp_no FROM employees a WHERE a.{column} BETWEEN "
        ));
        query.push_bind(first).push(" AND ").push_bind(last).push(" LIMIT ").push_bind(MOST_OF_AN_EDGE + 1).push(")");
    }
    query
}

impl Candidates {
    /// These, and no others.
    fn exactly(set: Set) -> Self {
        Self { sure: set.clone(), all: set }
    }

    /// Whom both let through.
    fn and(&self, other: &Self) -> Self {
        Self { all: self.all.and(&other.all), sure: self.sure.and(&other.sure) }
    }
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

    /// What the sets that were found say of each group.
    fn groups(&self, rows: &[Row]) -> Vec<Group> {
        let mut places = 0..;
        let found = self.0.iter().map(|items| {
            let Group { sets: mut one_of, mut edges } = Group::default();
            for ((item, whole), place) in items.iter().zip(&mut places) {
                for row in rows.iter().filter(|row| row.item == Some(place)) {
                    let set = Set::read(&row.words);
                    match item.holds(row) {
                        Holds::Nobody => {}
                        Holds::Some(span, days) => edges.push(Edge::new(item.kind(), set, span, days)),
                        Holds::All => {
                            one_of.all = one_of.all.or(&set);
                            if *whole {
                                one_of.sure = one_of.sure.or(&set);
                            }
                        }
                    }
                }
            }
            Group { sets: one_of, edges }
        });
        found.collect()
    }
}

/// Whom of a row an item names.
#[derive(Debug, PartialEq, Eq)]
enum Holds {
    All,
    /// Those of the span of these days who have one of those.
    Some((NaiveDate, NaiveDate), (NaiveDate, NaiveDate)),
    Nobody,
}

impl Item {
    fn kind(&self) -> &'static str {
        match self {
            Self::Value(kind, _) | Self::Dates(kind, ..) => kind,
        }
    }

    /// Whom of a row that was found it names.
    fn holds(&self, row: &Row) -> Holds {
        let Self::Dates(_, from, to) = self else { return Holds::All };
        let (Ok(begins), Some(ends)) = (row.value.parse::<NaiveDate>(), row.ends) else { return Holds::Nobody };
        let first = from.map_or(begins, |from| from.max(begins));
        let last = to.map_or(ends, |to| to.min(ends));
        match (first, last) {
            _ if (first, last) == (begins, ends) => Holds::All,
            _ if first > last => Holds::Nobody,
            days => Holds::Some((begins, ends), days),
        }
    }
}

/// The kinds that hold who has which date.
pub(super) const BORN: &str = "born";
pub(super) const HIRED: &str = "hired";

/// The kinds that hold who has a first name that begins with one or two letters, and the same for last names.
pub(super) const FIRST: [&str; 2] = ["first name 1", "first name 2"];
pub(super) const LAST: [&str; 2] = ["last name 1", "last name 2"];

/// Whether the sets say who has the name.
fn says_all(name: &Name) -> bool {
    let whole = |word: &str| beginning(FIRST, word).1;
    match name {
        Name::Either(word) => whole(word),
        Name::Both(one, other) => whole(one) && whole(other),
    }
}

/// Who has a name that begins as the word does, and whether all of these begin with the whole word. It is everybody
/// where the sets cannot tell: what counts as the same letter is not the same to MySQL in `LIKE` and in `=` beyond
/// ASCII.
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
            prop_assert_eq!(&a, &one.iter().chain(&one).rev().copied().collect());
            let same = |set: Set, expected: BTreeSet<i32>| {
                prop_assert_eq!(set.len(), expected.len() as u64);
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
    #[case("all of it", Some("1960-01-01"), Some("1960-01-31"), Holds::All)]
    #[case("no bounds", None, None, Holds::All)]
    #[case("its end", Some("1960-01-31"), None, some("1960-01-31", "1960-01-31"))]
    #[case("its beginning", None, Some("1960-01-02"), some("1960-01-01", "1960-01-02"))]
    #[case("a part of it", Some("1960-01-04"), Some("1960-01-30"), some("1960-01-04", "1960-01-30"))]
    #[case("behind it", Some("1960-02-01"), None, Holds::Nobody)]
    #[case("in front of it", None, Some("1959-12-31"), Holds::Nobody)]
    fn a_span_is_inside_of_some_dates_or_touches_them_or_not(
        #[case] _name: &str,
        #[case] from: Option<&str>,
        #[case] to: Option<&str>,
        #[case] expected: Holds,
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

    fn some(first: &str, last: &str) -> Holds {
        Holds::Some((day("1960-01-01"), day("1960-01-31")), (day(first), day(last)))
    }

    #[rstest]
    #[case::few_pass("1960-01-31", "1960-01-31", true, &[("1960-01-31", "1960-01-31")], 10)]
    #[case::most_pass("1960-01-01", "1960-01-29", false, &[("1960-01-30", "1960-01-31")], 20)]
    #[case::most_in_the_middle(
        "1960-01-02", "1960-01-30", false, &[("1960-01-01", "1960-01-01"), ("1960-01-31", "1960-01-31")], 20
    )]
    fn of_an_edge_the_fewer_days_are_looked_at(
        #[case] first: &str,
        #[case] last: &str,
        #[case] pass: bool,
        #[case] days: &[(&str, &str)],
        #[case] expected: u64,
    ) {
        let everybody: Set = (1..=310).collect();
        let span = (day("1960-01-01"), day("1960-01-31"));
        let edge = Edge::new(BORN, everybody, span, (day(first), day(last)));
        let days: Vec<_> = days.iter().map(|(first, last)| (day(first), day(last))).collect();
        assert_eq!((edge.pass, edge.days, edge.expected), (pass, days, expected));
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
        let days = (day("1999-12-01"), day("1999-12-31"));
        let mut edge = Edge::new(HIRED, Set::default(), days, (days.0, days.0));
        for query in
            [Wanted::of(&filter).query(), named_query(filter.name.as_ref().unwrap()), edges_query(&[&mut edge])]
        {
            let statement = query.sql().as_str().to_owned();
            assert!(!["zz", "1999"].iter().any(|value| statement.contains(value)), "{statement}");
        }
    }
}
