//! Dump files: `INSERT INTO … VALUES (…),(…);` statements and nothing else.
//!
//! [`Rows`] reads one without holding it in memory, [`Writer`] writes one, and [`to_tsv`] turns one into what
//! `LOAD DATA INFILE` takes. Of MySQL's syntax this knows what a dump of rows needs: quoted strings with their escapes,
//! numbers, `NULL` and comments. Anything else is an error that names its line, so that no row is lost in silence.

use std::{
    io::{self, BufWriter, Read, Write},
    ops::Range,
};

use super::tsv;

/// How long one row may be: beyond that, a closing quote is missing.
const LONGEST_ROW: usize = 16 << 20;

/// After how many bytes [`Writer`] begins a new statement: well below any server's `max_allowed_packet`.
const LONG_STATEMENT: usize = 1 << 20;

/// Why a dump could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reader failed.
    #[error("the dump cannot be read")]
    Read(#[source] io::Error),
    /// The writer failed.
    #[error("the rows cannot be written")]
    Write(#[source] io::Error),
    /// The text is not a dump.
    #[error("line {line}: expected {expected}, found {found}")]
    Syntax {
        /// The line in the file, from 1.
        line: u64,
        /// What would have been right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A row has more or fewer values than the first one.
    #[error("line {line}: a row of {found} values after rows of {expected}")]
    Width {
        /// The line in the file, from 1.
        line: u64,
        /// The values of the rows before.
        expected: usize,
        /// The values of this one.
        found: usize,
    },
    /// A statement inserts into another table than the first one.
    #[error("line {line}: a statement for table {found} after one for {expected}")]
    OtherTable {
        /// The line in the file, from 1.
        line: u64,
        /// The table of the statements before.
        expected: String,
        /// The table of this one.
        found: String,
    },
    /// A row has no end, most likely because a quote is missing.
    #[error("line {line}: a row without an end: is a closing quote missing?")]
    Endless {
        /// The line in the file on which the row begins, from 1.
        line: u64,
    },
}

/// The values of one row, without quotes and escapes.
#[derive(Debug, Default)]
pub struct Row {
    bytes: Vec<u8>,
    values: Vec<Option<Range<usize>>>,
}

impl Row {
    /// The values in order; `None` is NULL.
    pub fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.values.iter().map(|value| value.clone().map(|range| &self.bytes[range]))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.values.clear();
    }
}

/// The rows of a dump file, one after the other.
#[derive(Debug)]
pub struct Rows<R> {
    input: Input<R>,
    row: Row,
    table: Option<String>,
    width: Option<usize>,
    in_statement: bool,
}

impl<R: Read> Rows<R> {
    /// Reads from the start of a dump. The reader needs no buffer of its own.
    pub fn new(reader: R) -> Self {
        Self { input: Input::new(reader), row: Row::default(), table: None, width: None, in_statement: false }
    }

    /// The table that the rows belong to: known after the first one was read.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }

    /// The next row, or `None` after the last one. (No `Iterator`: a row lives until the next is read.)
    ///
    /// # Errors
    /// If the text is not a dump of one table's rows. There is nothing more to read then.
    pub fn read(&mut self) -> Result<Option<&Row>, Error> {
        if !self.open_row()? {
            return Ok(None);
        }
        let first_line = self.input.line;
        self.row.clear();
        loop {
            self.input.skip_blank()?;
            self.read_value(first_line)?;
            self.input.skip_blank()?;
            match self.input.next()? {
                Some(b',') => {}
                Some(b')') => break,
                found => return Err(self.input.unexpected("a comma or a closing bracket", found)),
            }
        }
        let found = self.row.values.len();
        let expected = *self.width.get_or_insert(found);
        if found == expected {
            Ok(Some(&self.row))
        } else {
            Err(Error::Width { line: self.input.line, expected, found })
        }
    }

    /// Moves behind the opening bracket of the next row; false if there is none.
    fn open_row(&mut self) -> Result<bool, Error> {
        self.input.skip_blank()?;
        if self.in_statement {
            match self.input.next()? {
                Some(b',') => {
                    self.input.skip_blank()?;
                    self.input.expect(b'(', "an opening bracket")?;
                    return Ok(true);
                }
                Some(b';') => self.in_statement = false,
                found => return Err(self.input.unexpected("a comma or a semicolon after a row", found)),
            }
        }
        loop {
            self.input.skip_blank()?;
            match self.input.peek(0)? {
                None => return Ok(false),
                Some(b';') => self.input.skip(1),
                Some(_) => break,
            }
        }
        self.open_statement()?;
        self.in_statement = true;
        self.input.expect(b'(', "an opening bracket")?;
        Ok(true)
    }

    fn open_statement(&mut self) -> Result<(), Error> {
        self.input.keyword("INSERT", "INSERT INTO")?;
        self.input.keyword("INTO", "INTO")?;
        let found = self.input.name()?;
        self.input.keyword("VALUES", "VALUES")?;
        match &self.table {
            Some(expected) if *expected != found => {
                Err(Error::OtherTable { line: self.input.line, expected: expected.clone(), found })
            }
            _ => {
                self.table = Some(found);
                Ok(())
            }
        }
    }

    fn read_value(&mut self, first_line: u64) -> Result<(), Error> {
        let start = self.row.bytes.len();
        match self.input.peek(0)? {
            Some(quote @ (b'\'' | b'"')) => {
                self.input.skip(1);
                self.read_string(quote, first_line)?;
            }
            Some(b'0'..=b'9' | b'-' | b'+' | b'.') => {
                self.input.run(is_of_number, &mut self.row.bytes)?;
                if !is_number(&self.row.bytes[start..]) {
                    let found = excerpt(&self.row.bytes[start..]);
                    return Err(Error::Syntax { line: self.input.line, expected: "a number", found });
                }
            }
            _ => {
                self.input.keyword("NULL", "a string, a number or NULL")?;
                self.row.values.push(None);
                return Ok(());
            }
        }
        self.row.values.push(Some(start..self.row.bytes.len()));
        Ok(())
    }

    /// Reads the rest of a string, behind its opening quote.
    fn read_string(&mut self, quote: u8, first_line: u64) -> Result<(), Error> {
        loop {
            self.input.run(|byte| byte != quote && byte != b'\\', &mut self.row.bytes)?;
            if self.row.bytes.len() > LONGEST_ROW {
                return Err(Error::Endless { line: first_line });
            }
            match self.input.next()? {
                Some(b'\\') => match self.input.next()? {
                    None => return Err(Error::Endless { line: first_line }),
                    Some(b'0') => self.row.bytes.push(0),
                    Some(b'b') => self.row.bytes.push(8),
                    Some(b'n') => self.row.bytes.push(b'\n'),
                    Some(b'r') => self.row.bytes.push(b'\r'),
                    Some(b't') => self.row.bytes.push(b'\t'),
                    Some(b'Z') => self.row.bytes.push(26),
                    // MySQL keeps these two for LIKE's patterns.
                    Some(wildcard @ (b'%' | b'_')) => self.row.bytes.extend([b'\\', wildcard]),
                    Some(other) => self.row.bytes.push(other),
                },
                Some(_) if self.input.peek(0)? == Some(quote) => {
                    self.input.skip(1);
                    self.row.bytes.push(quote);
                }
                Some(_) => return Ok(()),
                None => return Err(Error::Endless { line: first_line }),
            }
        }
    }
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// Whether a text of such bytes is `[sign] digits [. digits] [e [sign] digits]`.
fn is_number(text: &[u8]) -> bool {
    let all_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if all_digits(text) {
        return true;
    }
    let unsigned = |text: &'_ [u8]| text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text).to_vec();
    let mut parts = text.splitn(2, |byte| matches!(byte, b'e' | b'E'));
    let mut mantissa = unsigned(parts.next().unwrap_or_default());
    if let Some(point) = mantissa.iter().position(|byte| *byte == b'.') {
        mantissa.remove(point);
    }
    all_digits(&mantissa) && parts.next().is_none_or(|exponent| all_digits(&unsigned(exponent)))
}

/// A reader with as much of a look ahead as the syntax needs, which counts lines.
#[derive(Debug)]
struct Input<R> {
    reader: R,
    buffer: Box<[u8]>,
    unread: Range<usize>,
    line: u64,
}

impl<R: Read> Input<R> {
    fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; 64 << 10].into_boxed_slice(), unread: 0..0, line: 1 }
    }

    /// The byte that many places ahead, or `None` behind the end of the file.
    #[inline]
    fn peek(&mut self, ahead: usize) -> Result<Option<u8>, Error> {
        while self.unread.len() <= ahead {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(Some(self.buffer[self.unread.start + ahead]))
    }

    /// Reads more; false at the end of the file.
    #[cold]
    fn fill(&mut self) -> Result<bool, Error> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        loop {
            match self.reader.read(&mut self.buffer[self.unread.end..]) {
                Ok(length) => {
                    self.unread.end += length;
                    return Ok(length > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
    }

    /// Passes over bytes that were peeked at and that are no line ends.
    #[inline]
    fn skip(&mut self, length: usize) {
        self.unread.start += length;
    }

    #[inline]
    fn next(&mut self) -> Result<Option<u8>, Error> {
        let byte = self.peek(0)?;
        if let Some(byte) = byte {
            self.line += u64::from(byte == b'\n');
            self.skip(1);
        }
        Ok(byte)
    }

    /// Passes over all bytes that are wanted, and adds them to a text.
    #[inline]
    fn run(&mut self, wanted: impl Fn(u8) -> bool, text: &mut Vec<u8>) -> Result<(), Error> {
        while self.peek(0)?.is_some_and(&wanted) {
            let unread = &self.buffer[self.unread.clone()];
            let length = unread.iter().position(|byte| !wanted(*byte)).unwrap_or(unread.len());
            text.extend_from_slice(&unread[..length]);
            self.line += unread[..length].iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
            self.skip(length);
            if text.len() > LONGEST_ROW {
                break;
            }
        }
        Ok(())
    }

    /// Passes over white space and comments.
    #[inline]
    fn skip_blank(&mut self) -> Result<(), Error> {
        // Most often there is none: after every value, for instance.
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n' | b'#' | b'-' | b'/')) = self.peek(0)? {
            if byte.is_ascii_whitespace() {
                self.next()?;
            } else if !self.skip_comment()? {
                break;
            }
        }
        Ok(())
    }

    /// Passes over a comment, if one begins here.
    fn skip_comment(&mut self) -> Result<bool, Error> {
        match (self.peek(0)?, self.peek(1)?, self.peek(2)?) {
            (Some(b'#'), _, _) | (Some(b'-'), Some(b'-'), None | Some(b' ' | b'\t' | b'\r' | b'\n')) => {
                while !matches!(self.next()?, None | Some(b'\n')) {}
                Ok(true)
            }
            // In MySQL, what is between /*! and */ is no comment.
            (Some(b'/'), Some(b'*'), Some(b'!')) => Err(self.unexpected("a plain comment", Some(b'!'))),
            (Some(b'/'), Some(b'*'), _) => {
                self.skip(2);
                loop {
                    match self.next()? {
                        None => return Err(self.unexpected("the end of a comment", None)),
                        Some(b'*') if self.peek(0)? == Some(b'/') => break,
                        Some(_) => {}
                    }
                }
                self.skip(1);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Error> {
        match self.next()? {
            Some(found) if found == byte => Ok(()),
            found => Err(self.unexpected(expected, found)),
        }
    }

    /// Passes over a word in any case, and over the blanks behind it.
    fn keyword(&mut self, word: &'static str, expected: &'static str) -> Result<(), Error> {
        let line = self.line;
        let mut found = Vec::new();
        self.run(is_of_word, &mut found)?;
        if !found.eq_ignore_ascii_case(word.as_bytes()) {
            return match found.is_empty() {
                true => {
                    let found = self.peek(0)?;
                    Err(self.unexpected(expected, found))
                }
                false => Err(Error::Syntax { line, expected, found: excerpt(&found) }),
            };
        }
        self.skip_blank()
    }

    /// Passes over a table's name, and over the blanks behind it.
    fn name(&mut self) -> Result<String, Error> {
        let mut name = Vec::new();
        if self.peek(0)? == Some(b'`') {
            self.skip(1);
            self.run(|byte| byte != b'`' && byte != b'\n', &mut name)?;
            self.expect(b'`', "the end of a table's name")?;
        } else {
            self.run(is_of_word, &mut name)?;
        }
        if name.is_empty() {
            let found = self.peek(0)?;
            return Err(self.unexpected("a table's name", found));
        }
        self.skip_blank()?;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    /// The error for a byte that is, or was, the next one.
    fn unexpected(&self, expected: &'static str, found: Option<u8>) -> Error {
        let found = found.map_or("the end of the file".into(), |byte| excerpt(&[byte]));
        Error::Syntax { line: self.line, expected, found }
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

fn excerpt(text: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&text[..text.len().min(32)]))
}

/// What [`to_tsv`] converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The table of the rows; `None` if the dump has no statement.
    pub table: Option<String>,
    /// How many rows there were.
    pub rows: u64,
}

/// Converts a dump into the text that `LOAD DATA INFILE` loads.
///
/// # Errors
/// If the dump is malformed, or if reading or writing fails. What was written until then is of no use.
pub fn to_tsv(reader: impl Read, writer: impl Write) -> Result<Converted, Error> {
    let mut writer = BufWriter::with_capacity(64 << 10, writer);
    let mut input = Rows::new(reader);
    let mut rows = 0;
    while let Some(row) = input.read()? {
        tsv::write(&mut writer, row.values()).map_err(Error::Write)?;
        rows += 1;
    }
    writer.flush().map_err(Error::Write)?;
    Ok(Converted { table: input.table, rows })
}

/// A value for [`Writer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// `NULL`.
    Null,
    /// A number, in digits.
    Number(&'a [u8]),
    /// Anything else.
    Text(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The value as [`Row::values`] gives it.
    #[must_use]
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Null => None,
            Self::Number(bytes) | Self::Text(bytes) => Some(bytes),
        }
    }
}

/// Writes a table's rows as a dump, one row a line.
#[derive(Debug)]
pub struct Writer<W> {
    writer: W,
    table: &'static str,
    /// The bytes of the statement that is open, or 0 between statements.
    length: usize,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a dump. The writer should have a buffer.
    pub fn new(writer: W, table: &'static str) -> Self {
        Self { writer, table, length: 0, line: Vec::new() }
    }

    /// Writes the next row.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn row<'a>(&mut self, values: impl IntoIterator<Item = Value<'a>>) -> io::Result<()> {
        self.line.clear();
        match self.length {
            0 => {
                self.line.extend_from_slice(b"INSERT INTO `");
                self.line.extend_from_slice(self.table.as_bytes());
                self.line.extend_from_slice(b"` VALUES\n(");
            }
            _ => self.line.extend_from_slice(b",\n("),
        }
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.line.push(b',');
            }
            match value {
                Value::Null => self.line.extend_from_slice(b"NULL"),
                Value::Number(digits) => self.line.extend_from_slice(digits),
                Value::Text(text) => quote(&mut self.line, text),
            }
        }
        self.line.push(b')');
        self.length += self.line.len();
        self.writer.write_all(&self.line)?;
        if self.length >= LONG_STATEMENT { self.close_statement() } else { Ok(()) }
    }

    /// Ends the dump.
    ///
    /// # Errors
    /// If the writer fails.
    pub fn finish(mut self) -> io::Result<()> {
        if self.length > 0 {
            self.close_statement()?;
        }
        self.writer.flush()
    }

    fn close_statement(&mut self) -> io::Result<()> {
        self.length = 0;
        self.writer.write_all(b";\n")
    }
}

fn quote(line: &mut Vec<u8>, text: &[u8]) {
    line.push(b'\'');
    for byte in text {
        match byte {
            b'\'' => line.extend_from_slice(b"''"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            0 => line.extend_from_slice(b"\\0"),
            26 => line.extend_from_slice(b"\\Z"),
            other => line.push(*other),
        }
    }
    line.push(b'\'');
}

#[cfg(test)]
mod tests;
