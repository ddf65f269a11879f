//! The checksum of a table: a chain in which each row's MD5 covers the one before.
//!
//! In: the rows in the order of the table's key. Out: their number and the chain's end, the same as MySQL computes with
//! `SET @crc = ''` and `@crc := MD5(CONCAT_WS('#', @crc, column…))` for each row, where it can: MySQL 9.7 has no
//! `MD5()` without a component.

use md5::{Digest, Md5};

use super::TableCheck;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// An MD5 chain over the rows of a table.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The text that is hashed for a row: the digits of the chain so far, then the columns.
    text: Vec<u8>,
    /// How many bytes of `text` are the chain so far.
    digits: usize,
    rows: u64,
}

impl Chain {
    /// Adds the next row. As `CONCAT_WS` does it, a NULL (`None`) is left out and an empty string is not.
    pub fn link<'a>(&mut self, columns: impl IntoIterator<Item = Option<&'a [u8]>>) {
        self.text.truncate(self.digits);
        for column in columns.into_iter().flatten() {
            self.text.push(b'#');
            self.text.extend_from_slice(column);
        }
        let md5 = Md5::digest(&self.text);
        self.text.clear();
        self.text.extend(md5.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)]));
        self.digits = self.text.len();
        self.rows += 1;
    }

    /// How many rows were added.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The chain's end in hexadecimal digits; empty if there was no row.
    #[must_use]
    pub fn md5(&self) -> String {
        String::from_utf8_lossy(&self.text[..self.digits]).into_owned()
    }

    /// The figures for the table whose rows were added.
    #[must_use]
    pub fn check(&self, table: &str) -> TableCheck {
        TableCheck { name: table.into(), rows: self.rows(), md5: self.md5() }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn end_of(rows: Vec<Vec<Option<&str>>>) -> String {
        let mut chain = Chain::default();
        for row in rows {
            chain.link(row.into_iter().map(|column| column.map(str::as_bytes)));
        }
        chain.md5()
    }

    // The texts that are hashed: #1#a, #1##a, and the first one's digits with #2#b.
    #[rstest]
    #[case::no_rows(vec![], "")]
    #[case::the_first_row_follows_an_empty_chain(vec![vec![Some("1"), Some("a")]], "7633eec4cdca6f88eda95aea38d2a038")]
    #[case::a_null_is_left_out(vec![vec![Some("1"), None, Some("a")]], "7633eec4cdca6f88eda95aea38d2a038")]
    #[case::an_empty_string_is_not(vec![vec![Some("1"), Some(""), Some("a")]], "8b2eac18d271159519d79c3e01d65e7f")]
    #[case::each_row_covers_the_one_before(vec![vec![Some("1"), Some("a")], vec![Some("2"), Some("b")]], "22b618114383a00d0306dbf8468265f8")]
    fn a_row_is_hashed_with_the_chain_so_far(#[case] rows: Vec<Vec<Option<&str>>>, #[case] end: &str) {
        assert_eq!(end_of(rows), end);
    }

    #[test]
    fn rows_are_counted() {
        let mut chain = Chain::default();
        chain.link([Some(&b"1"[..])]);
        chain.link([None]);
        assert_eq!(chain.rows(), 2);
    }
}
