//! Where a page of the list starts: the sort key of the row next to it, as an opaque text for links.
//!
//! The text is base64url of JSON: the direction, the key, and a checksum over both and the list's filters and order.
//! The checksum is no secret and needs none: a forged cursor can only ask for a page that a search could ask for as
//! well. It is there so that a cursor which was damaged, or moved to another list, is refused instead of giving a page
//! that makes no sense.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::hash::fnv1a;
use crate::search::{Gender, Limit, Search, Sort, storable};

/// The longest cursor that is looked at.
pub(crate) const MAX_LENGTH: usize = 1024;

/// In which direction the page lies, seen from the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Behind it, in the list's order.
    #[serde(rename = "n")]
    Next,
    /// In front of it.
    #[serde(rename = "p")]
    Previous,
}

impl Direction {
    /// Both.
    pub const ALL: &[Self] = &[Self::Next, Self::Previous];
}

/// The sort key of a row, with the employee number that makes it unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// In a list by number.
    #[serde(rename = "e")]
    EmpNo(i32),
    /// In a list by first and last name.
    #[serde(rename = "n")]
    Name(String, String, i32),
    /// In a list by last and first name.
    #[serde(rename = "l")]
    LastName(String, String, i32),
    /// In a list by gender.
    #[serde(rename = "g")]
    Gender(Gender, i32),
    /// In a list by birth date.
    #[serde(rename = "b")]
    BirthDate(NaiveDate, i32),
    /// In a list by hire date.
    #[serde(rename = "h")]
    HireDate(NaiveDate, i32),
}

/// A place in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// In which direction the page lies.
    pub direction: Direction,
    /// The row that it lies next to.
    pub key: Key,
}

/// What the text holds: direction, key, checksum.
#[derive(Serialize, Deserialize)]
struct Wire(Direction, Key, String);

impl Cursor {
    /// The text of this cursor, valid for the list that `search` describes.
    pub fn encode(&self, search: &Search) -> String {
        let wire = Wire(self.direction, self.key.clone(), self.checksum(search));
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// Reads a cursor of the list that `search` describes; `None` where it is none.
    pub fn decode(text: &str, search: &Search) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let Wire(direction, key, checksum) = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let fits = match (&key, search.sort) {
            (Key::EmpNo(_), Sort::EmpNo) | (Key::Gender(..), Sort::Gender) => true,
            (Key::Name(one, other, _), Sort::Name) | (Key::LastName(one, other, _), Sort::LastName) => {
                !one.contains('\0') && !other.contains('\0')
            }
            (Key::BirthDate(date, _), Sort::BirthDate) | (Key::HireDate(date, _), Sort::HireDate) => storable(date),
            (
                Key::EmpNo(_)
                | Key::Name(..)
                | Key::LastName(..)
                | Key::Gender(..)
                | Key::BirthDate(..)
                | Key::HireDate(..),
                _,
            ) => false,
        };
        let cursor = Self { direction, key };
        // Equal to the letter, so that there is one text for one place.
        (fits && checksum == cursor.checksum(search) && text == cursor.encode(search)).then_some(cursor)
    }

    /// Over everything that identifies the place, but not over the page's size, which may change on the way.
    fn checksum(&self, search: &Search) -> String {
        let list = Search { limit: Limit::default(), cursor: None, ..search.clone() }.list_query();
        let place = serde_json::to_string(&(self.direction, &self.key)).unwrap_or_default();
        format!("{:016x}", fnv1a(format!("{place}\n{list}").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("")]
    #[case("AAAA")]
    #[case("not base64!")]
    #[case("bnVsbA")]
    fn text_that_is_no_cursor_is_refused(#[case] text: &str) {
        assert_eq!(Cursor::decode(text, &Search::default()), None);
    }

    #[test]
    fn a_date_that_no_column_can_hold_is_refused_even_with_a_right_checksum() {
        let search = Search { sort: Sort::HireDate, ..Search::default() };
        let far = Cursor { direction: Direction::Next, key: Key::HireDate(NaiveDate::MAX, 1) };
        assert_eq!(Cursor::decode(&far.encode(&search), &search), None);
    }

    #[test]
    fn a_cursor_survives_a_change_of_the_page_size() {
        let cursor = Cursor { direction: Direction::Next, key: Key::EmpNo(10_001) };
        let text = cursor.encode(&Search::default());
        let larger = Search { limit: Limit(100), ..Search::default() };
        assert_eq!(Cursor::decode(&text, &larger), Some(cursor));
    }
}
