//! The search for employees: query parameters in, a checked [`Search`] out, and back again for links.
//!
//! Nothing here touches the database. Every parameter that is not known, is given twice or has a value that cannot
//! mean anything is refused by name. An empty value counts as not given, as forms send it.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;

/// The longest query string that is looked at: all fields at their longest fit several times.
const MAX_QUERY: usize = 4096;
/// The longest text of a field; the longest column is 50.
pub(crate) const MAX_TEXT: usize = 100;
/// Rows on a page where nothing else is asked for.
const DEFAULT_LIMIT: u32 = 25;
/// The most rows on a page.
pub const MAX_LIMIT: u32 = 100;

/// The parameters that choose a page of a list, and not the list.
pub(crate) const PAGE_PARAMETERS: &[&str] = &["limit", "cursor"];

/// Why a query string is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The parameter that is wrong; empty where it is none of them.
    pub parameter: String,
    /// One sentence, for the reader.
    pub message: String,
}

impl Invalid {
    fn new(parameter: &str, message: String) -> Self {
        Self { parameter: parameter.to_owned(), message }
    }
}

/// The beginning of a first or last name, or of both in either order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// One word: a first or a last name.
    Either(String),
    /// Two words: first and last name, or last and first.
    Both(String, String),
}

/// An employee's gender, as the data set has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Gender {
    /// `M`.
    #[serde(rename = "M")]
    Male,
    /// `F`.
    #[serde(rename = "F")]
    Female,
}

/// Whether somebody works here today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// In a department today.
    Current,
    /// Not any more.
    Former,
}

/// What the list is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The employee's number.
    #[default]
    EmpNo,
    /// Birth date.
    BirthDate,
    /// First name, then last name: the full name as it is read.
    Name,
    /// Last name, then first name.
    LastName,
    /// Gender, in the order in which the column defines its values: M, then F.
    Gender,
    /// Hire date.
    HireDate,
}

/// In which direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Smallest, first in the alphabet, or earliest at the top.
    #[default]
    Ascending,
    /// The other way round.
    Descending,
}

/// Gives an enum its spelling in query strings: `FromStr`, `Display` and the list of all values for error messages.
macro_rules! words {
    ($type:ident: $($variant:ident = $word:literal),+) => {
        impl $type {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// Every value's spelling in a query string.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The value's spelling in a query string.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("one of {}", Self::WORDS.join(", "))),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words!(Gender: Male = "M", Female = "F");
words!(Status: Current = "current", Former = "former");
words!(
    Sort: EmpNo = "emp_no",
    BirthDate = "birth_date",
    Name = "name",
    LastName = "last_name",
    Gender = "gender",
    HireDate = "hire_date"
);
words!(Order: Ascending = "asc", Descending = "desc");

/// Which employees are looked for; every field narrows the result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// By the beginning of their name.
    pub name: Option<Name>,
    /// In that department: today where `status` is current, else ever.
    pub department: Option<String>,
    /// With that title: today where `status` is current, else ever.
    pub title: Option<String>,
    /// Of that gender.
    pub gender: Option<Gender>,
    /// Born on that day or later.
    pub born_from: Option<NaiveDate>,
    /// Born on that day or earlier.
    pub born_to: Option<NaiveDate>,
    /// Hired on that day or later.
    pub hired_from: Option<NaiveDate>,
    /// Hired on that day or earlier.
    pub hired_to: Option<NaiveDate>,
    /// Still here, or not.
    pub status: Option<Status>,
}

/// A page of a sorted, filtered list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Which employees.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// In which direction.
    pub order: Order,
    /// How many on a page.
    pub limit: Limit,
    /// Where the page starts; `None` is the beginning.
    pub cursor: Option<Cursor>,
}

/// Rows on a page, 1 to [`MAX_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub u32);

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        digits(text)
            .filter(|n| (1..=MAX_LIMIT).contains(n))
            .map(Self)
            .ok_or_else(|| format!("a number from 1 to {MAX_LIMIT}"))
    }
}

impl Search {
    /// Reads a query string.
    ///
    /// # Errors
    /// One sentence that names the parameter and says what is allowed.
    pub fn parse(query: &str) -> Result<Self, Invalid> {
        match Self::read(query) {
            (search, None) => Ok(search),
            (_, Some(mistake)) => Err(mistake),
        }
    }

    /// Reads a query string as far as it can be read, with the first thing that is wrong with it.
    pub fn read(query: &str) -> (Self, Option<Invalid>) {
        let mut search = Self::default();
        let mistake = search.fill(query).err();
        (search, mistake)
    }

    /// Goes on after a mistake, so that one field costs no other what was entered in it.
    fn fill(&mut self, query: &str) -> Result<(), Invalid> {
        let (mut sort, mut order, mut limit, mut cursor) = (None, None, None, None::<String>);
        let mut all = Ok(());
        for (name, value) in pairs(query)? {
            let filter = &mut self.filter;
            let one = match name.as_ref() {
                "q" => set(&name, &value, &mut filter.name, words),
                "department" => set(&name, &value, &mut filter.department, department),
                "title" => set(&name, &value, &mut filter.title, plain),
                "gender" => set(&name, &value, &mut filter.gender, str::parse),
                "born_from" => set(&name, &value, &mut filter.born_from, date),
                "born_to" => set(&name, &value, &mut filter.born_to, date),
                "hired_from" => set(&name, &value, &mut filter.hired_from, date),
                "hired_to" => set(&name, &value, &mut filter.hired_to, date),
                "status" => set(&name, &value, &mut filter.status, str::parse),
                "sort" => set(&name, &value, &mut sort, str::parse),
                "order" => set(&name, &value, &mut order, str::parse),
                "limit" => set(&name, &value, &mut limit, str::parse),
                "cursor" => set(&name, &value, &mut cursor, |text| Ok(text.to_owned())),
                _ => Err(unknown(&name)),
            };
            all = all.and(one);
        }
        self.sort = sort.unwrap_or_default();
        self.order = order.unwrap_or_default();
        self.limit = limit.unwrap_or_default();
        all?;
        for (from_name, from, to_name, to) in [
            ("born_from", self.filter.born_from, "born_to", self.filter.born_to),
            ("hired_from", self.filter.hired_from, "hired_to", self.filter.hired_to),
        ] {
            if let (Some(from), Some(to)) = (from, to)
                && from > to
            {
                return Err(Invalid::new(from_name, format!("{from_name} ({from}) is later than {to_name} ({to})")));
            }
        }
        // Last: a cursor belongs to the list that all other parameters describe.
        if let Some(text) = cursor {
            self.cursor = Some(Cursor::decode(&text, self).ok_or_else(|| {
                let message = "cursor does not belong to this list: start again from its first page".to_owned();
                Invalid::new("cursor", message)
            })?);
        }
        Ok(())
    }

    /// The query string of this list without its cursor: what identifies the list.
    pub fn list_query(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        // Destructured in full: a new filter cannot be forgotten here.
        let Filter { name, department, title, gender, born_from, born_to, hired_from, hired_to, status } = &self.filter;
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                out.append_pair(name, &value);
            }
        };
        add("q", name.as_ref().map(Name::to_string));
        add("department", department.clone());
        add("title", title.clone());
        add("gender", gender.map(|gender| gender.to_string()));
        add("born_from", born_from.map(|date| date.to_string()));
        add("born_to", born_to.map(|date| date.to_string()));
        add("hired_from", hired_from.map(|date| date.to_string()));
        add("hired_to", hired_to.map(|date| date.to_string()));
        add("status", status.map(|status| status.to_string()));
        add("sort", (self.sort != Sort::default()).then(|| self.sort.to_string()));
        add("order", (self.order != Order::default()).then(|| self.order.to_string()));
        add("limit", (self.limit != Limit::default()).then(|| self.limit.0.to_string()));
        out.finish()
    }

    /// The query string of the page at `cursor`.
    pub fn page_query(&self, cursor: &Cursor) -> String {
        let list = self.list_query();
        let separator = if list.is_empty() { "" } else { "&" };
        format!("{list}{separator}cursor={}", cursor.encode(self))
    }
}

/// A list that is asked for as a whole: a search without `limit` and `cursor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole(pub Search);

impl Whole {
    /// Reads a query string.
    ///
    /// # Errors
    /// One sentence that names the parameter and says what is allowed.
    pub fn parse(query: &str) -> Result<Self, Invalid> {
        let search = Search::parse(query)?;
        let mut given = form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !is_empty(value));
        match given.find(|(name, _)| PAGE_PARAMETERS.contains(&name.as_ref())) {
            Some((name, _)) => Err(unknown(&name)),
            None => Ok(Self(search)),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Either(word) => f.write_str(word),
            Self::Both(one, other) => write!(f, "{one} {other}"),
        }
    }
}

/// The parameters of a query string, unless it is absurdly long.
///
/// # Errors
/// It is.
pub(crate) fn pairs(query: &str) -> Result<form_urlencoded::Parse<'_>, Invalid> {
    if query.len() > MAX_QUERY {
        return Err(Invalid::new("", format!("the query is longer than {MAX_QUERY} characters")));
    }
    Ok(form_urlencoded::parse(query.as_bytes()))
}

/// Refuses a parameter that a page does not have.
pub fn unknown(name: &str) -> Invalid {
    Invalid::new(name, format!("there is no parameter {}", shorten(name)))
}

/// Whole numbers in plain decimal digits, without a sign.
pub fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A department's number, as the column can hold it.
///
/// # Errors
/// What is allowed.
pub fn department(text: &str) -> Result<String, String> {
    let good = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if good { Ok(text.to_owned()) } else { Err("1 to 4 letters and digits".to_owned()) }
}

/// Whether a value counts as not given.
fn is_empty(value: &str) -> bool {
    value.trim().is_empty()
}

/// Stores one parameter, unless it is empty.
pub(crate) fn set<T>(
    name: &str,
    value: &str,
    slot: &mut Option<T>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<(), Invalid> {
    if is_empty(value) {
        return Ok(());
    }
    let refused = |how| Invalid::new(name, format!("{name} is {how}"));
    let parsed = parse(value).map_err(|allowed| refused(format!("{}: give {allowed}", shorten(value))))?;
    if slot.replace(parsed).is_some() { Err(refused("given twice".to_owned())) } else { Ok(()) }
}

/// One line of text, without the white space around it.
pub(crate) fn plain(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.chars().count() > MAX_TEXT || text.contains(char::is_control) {
        return Err(format!("at most {MAX_TEXT} characters of text"));
    }
    Ok(text.to_owned())
}

fn words(text: &str) -> Result<Name, String> {
    let text = plain(text)?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(word), None, _) => Ok(Name::Either(word.to_owned())),
        (Some(one), Some(other), None) => Ok(Name::Both(one.to_owned(), other.to_owned())),
        _ => Err("the beginning of a first name, a last name or both".to_owned()),
    }
}

/// Dates that MySQL can hold, in the one form that ISO 8601 and HTML forms share.
fn date(text: &str) -> Result<NaiveDate, String> {
    let shape = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let parsed = if shape { text.parse().ok() } else { None };
    parsed.filter(storable).ok_or_else(|| "a date as YYYY-MM-DD".to_owned())
}

/// Whether a `DATE` column can hold it.
pub fn storable(date: &NaiveDate) -> bool {
    (1000..=9999).contains(&date.year())
}

/// What a field of a form held, in which it need not mean anything.
pub fn typed(query: &str, field: &str) -> String {
    let found = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == field);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The text in quotes, at most 40 characters of it: error messages repeat what they complain of, but not all of it.
pub fn shorten(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{Direction, Key};
    use proptest::prelude::*;
    use rstest::rstest;

    fn message(query: &str) -> String {
        Search::parse(query).unwrap_err().to_string()
    }

    #[test]
    fn a_form_with_empty_fields_finds_everybody() {
        let query = "q=&department=&title=&gender=&born_from=&born_to=&hired_from=&hired_to=&status=&sort=&order=&limit=&cursor=";
        assert_eq!(Search::parse(query), Ok(Search::default()));
        assert_eq!(Search::parse(""), Ok(Search::default()));
    }

    #[test]
    fn a_form_with_empty_fields_asks_for_a_whole_list_too() {
        assert_eq!(Whole::parse("q=&limit=&cursor=+"), Ok(Whole(Search::default())));
    }

    #[test]
    fn every_field_is_read() {
        let search = Search::parse(
            "q=Kagan+Dredge&department=d005&title=Senior%20Engineer&gender=M&born_from=1965-02-01&born_to=1965-02-01\
             &hired_from=1990-01-02&hired_to=2000-01-01&status=current&sort=name&order=desc&limit=100",
        )
        .unwrap();
        assert_eq!(search.filter.name, Some(Name::Both("Kagan".to_owned(), "Dredge".to_owned())));
        assert_eq!(search.filter.title.as_deref(), Some("Senior Engineer"));
        assert_eq!(search.filter.gender, Some(Gender::Male));
        assert_eq!(search.filter.status, Some(Status::Current));
        assert_eq!((search.sort, search.order, search.limit), (Sort::Name, Order::Descending, Limit(100)));
        assert_eq!(Search::parse(&search.list_query()), Ok(search));
    }

    #[rstest]
    #[case("color=red", r#"there is no parameter "color""#)]
    #[case("Q=a", r#"there is no parameter "Q""#)]
    #[case("=", r#"there is no parameter """#)]
    #[case("gender=X", r#"gender is "X": give one of M, F"#)]
    #[case("status=dead", r#"status is "dead": give one of current, former"#)]
    #[case("sort=salary", r#"sort is "salary": give one of emp_no, birth_date, name, last_name, gender, hire_date"#)]
    #[case(
        "sort=name;DROP TABLE employees",
        r#"sort is "name;DROP TABLE employees": give one of emp_no, birth_date, name, last_name, gender, hire_date"#
    )]
    #[case("order=ASC", r#"order is "ASC": give one of asc, desc"#)]
    #[case("limit=0", r#"limit is "0": give a number from 1 to 100"#)]
    #[case("limit=-1", r#"limit is "-1": give a number from 1 to 100"#)]
    #[case("limit=101", r#"limit is "101": give a number from 1 to 100"#)]
    #[case("limit=1e1", r#"limit is "1e1": give a number from 1 to 100"#)]
    #[case("limit=99999999999999999999", r#"limit is "99999999999999999999": give a number from 1 to 100"#)]
    #[case("department=d0055", r#"department is "d0055": give 1 to 4 letters and digits"#)]
    #[case("department='--", r#"department is "'--": give 1 to 4 letters and digits"#)]
    #[case("born_from=1965-2-1", r#"born_from is "1965-2-1": give a date as YYYY-MM-DD"#)]
    #[case("born_from=1965-02-30", r#"born_from is "1965-02-30": give a date as YYYY-MM-DD"#)]
    #[case("born_to=0000-00-00", r#"born_to is "0000-00-00": give a date as YYYY-MM-DD"#)]
    #[case("hired_from=-999-01-01", r#"hired_from is "-999-01-01": give a date as YYYY-MM-DD"#)]
    #[case("born_from=1970-01-02&born_to=1970-01-01", "born_from (1970-01-02) is later than born_to (1970-01-01)")]
    #[case("hired_from=1970-01-02&hired_to=1970-01-01", "hired_from (1970-01-02) is later than hired_to (1970-01-01)")]
    #[case("q=a+b+c", r#"q is "a b c": give the beginning of a first name, a last name or both"#)]
    #[case("q=a%00b", r#"q is "a\0b": give at most 100 characters of text"#)]
    #[case("q=a&q=b", "q is given twice")]
    #[case("cursor=abc", "cursor does not belong to this list: start again from its first page")]
    fn bad_input_is_refused_by_name(#[case] query: &str, #[case] expected: &str) {
        assert_eq!(message(query), expected);
    }

    #[test]
    fn one_mistake_costs_no_other_field_its_value() {
        let (search, mistake) = Search::read("limit=50&q=a+b+c&gender=F&born_from=1965-02-01&born_to=x&sort=name");
        assert_eq!(mistake.map(|mistake| mistake.parameter).as_deref(), Some("q"));
        let expected = Search::parse("limit=50&gender=F&born_from=1965-02-01&sort=name").unwrap();
        assert_eq!(search, expected);
    }

    #[rstest]
    #[case("gender=F&limit=5", r#"there is no parameter "limit""#)]
    #[case("gender=X", r#"gender is "X": give one of M, F"#)]
    fn a_whole_list_has_no_pages(#[case] query: &str, #[case] expected: &str) {
        assert_eq!(Whole::parse(query).unwrap_err().to_string(), expected);
    }

    #[test]
    fn absurd_lengths_are_refused_in_a_short_sentence() {
        assert!(message(&format!("q={}", "x".repeat(101))).len() < 120);
        assert!(message(&format!("{}=1", "x".repeat(3000))).len() < 120);
        assert_eq!(message(&"x".repeat(5000)), "the query is longer than 4096 characters");
    }

    fn search() -> impl Strategy<Value = Search> {
        let text = "[^\\p{Cc}\\s]{1,10}";
        let day = (1000..9999_i32, 1..=366_u32).prop_filter_map("no such day", |(y, d)| NaiveDate::from_yo_opt(y, d));
        let filter = (
            proptest::option::of(prop_oneof![
                text.prop_map(Name::Either),
                (text, text).prop_map(|(one, other)| Name::Both(one, other))
            ]),
            proptest::option::of("[a-z0-9]{1,4}"),
            proptest::option::of(text),
            proptest::option::of(proptest::sample::select(Gender::ALL)),
            proptest::option::of(day.clone()),
            proptest::option::of(day.clone()),
            proptest::option::of(proptest::sample::select(Status::ALL)),
        )
            .prop_map(|(name, department, title, gender, born_from, hired_to, status)| Filter {
                name,
                department,
                title,
                gender,
                born_from,
                hired_to,
                status,
                ..Filter::default()
            });
        let key = (text, text, day, any::<i32>());
        let page = proptest::option::of((proptest::sample::select(Direction::ALL), key));
        (filter, proptest::sample::select(Sort::ALL), proptest::sample::select(Order::ALL), 1..=MAX_LIMIT, page)
            .prop_map(|(filter, sort, order, limit, page)| Search {
                filter,
                sort,
                order,
                limit: Limit(limit),
                cursor: page.map(|(direction, (first, last, day, emp_no))| Cursor {
                    direction,
                    key: match sort {
                        Sort::EmpNo => Key::EmpNo(emp_no),
                        Sort::Name => Key::Name(first, last, emp_no),
                        Sort::LastName => Key::LastName(last, first, emp_no),
                        Sort::Gender => {
                            Key::Gender(if emp_no % 2 == 0 { Gender::Male } else { Gender::Female }, emp_no)
                        }
                        Sort::BirthDate => Key::BirthDate(day, emp_no),
                        Sort::HireDate => Key::HireDate(day, emp_no),
                    },
                }),
            })
    }

    proptest! {
        #[test]
        fn no_query_string_makes_the_parser_panic(query in "\\PC{0,200}") {
            let _ = Search::parse(&query);
        }

        #[test]
        fn no_value_of_a_known_parameter_makes_the_parser_panic(
            name in proptest::sample::select(&["q", "department", "title", "born_from", "limit", "sort", "cursor"][..]),
            value in any::<String>(),
        ) {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, &value).finish();
            let _ = Search::parse(&query);
        }

        #[test]
        fn a_link_leads_to_the_search_that_it_was_made_from(search in search()) {
            let query = match &search.cursor {
                Some(cursor) => search.page_query(cursor),
                None => search.list_query(),
            };
            prop_assert_eq!(Search::parse(&query), Ok(search));
        }

        #[test]
        fn a_cursor_that_was_tampered_with_is_refused(search in search(), at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            if let Some(cursor) = &search.cursor {
                let text = cursor.encode(&search);
                let at = at.index(text.len());
                let changed = format!("{}{to}{}", &text[..at], &text[at + 1..]);
                prop_assert_eq!(Cursor::decode(&changed, &search).is_some(), changed == text);
            }
        }

        #[test]
        fn a_cursor_of_another_list_is_refused(one in search(), other in search()) {
            if let Some(cursor) = &one.cursor {
                let same = (&one.filter, one.sort, one.order) == (&other.filter, other.sort, other.order);
                prop_assert_eq!(Cursor::decode(&cursor.encode(&one), &other).is_some(), same);
            }
        }
    }
}
