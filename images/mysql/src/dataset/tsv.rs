//! Rows in the format that `LOAD DATA INFILE` reads without any options: columns between tabs, one row a line, `\N` for
//! NULL.

use std::io::{self, Write};

/// Writes one row.
///
/// # Errors
/// If the writer fails.
pub fn write<'a>(writer: &mut impl Write, columns: impl IntoIterator<Item = Option<&'a [u8]>>) -> io::Result<()> {
    for (index, column) in columns.into_iter().enumerate() {
        if index > 0 {
            writer.write_all(b"\t")?;
        }
        match column {
            None => writer.write_all(b"\\N")?,
            Some(text) => write_escaped(writer, text)?,
        }
    }
    writer.write_all(b"\n")
}

fn write_escaped(writer: &mut impl Write, mut text: &[u8]) -> io::Result<()> {
    while let Some(at) = text.iter().position(|byte| matches!(byte, b'\t' | b'\n' | b'\\' | 0)) {
        writer.write_all(&text[..at])?;
        writer.write_all(match text[at] {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            0 => b"\\0",
            _ => b"\\\\",
        })?;
        text = &text[at + 1..];
    }
    writer.write_all(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn line<'a>(columns: impl IntoIterator<Item = Option<&'a [u8]>>) -> Vec<u8> {
        let mut line = Vec::new();
        write(&mut line, columns).unwrap();
        line
    }

    /// What `LOAD DATA` makes of a line, as MySQL's manual describes it.
    fn load(line: &[u8]) -> Vec<Option<Vec<u8>>> {
        let (mut columns, mut column, mut null) = (Vec::new(), Vec::new(), false);
        let mut bytes = line.iter().copied();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => match bytes.next().unwrap() {
                    b'N' => null = true,
                    b't' => column.push(b'\t'),
                    b'n' => column.push(b'\n'),
                    b'0' => column.push(0),
                    other => column.push(other),
                },
                b'\t' | b'\n' => {
                    let text = std::mem::take(&mut column);
                    columns.push((!std::mem::take(&mut null)).then_some(text));
                }
                other => column.push(other),
            }
        }
        columns
    }

    #[rstest]
    #[case::plain(&[Some("10001"), Some("Georgi")], "10001\tGeorgi\n")]
    #[case::null_is_not_the_empty_string(&[None, Some("")], "\\N\t\n")]
    #[case::a_text_that_looks_like_null(&[Some("\\N")], "\\\\N\n")]
    #[case::separators_within_a_text(&[Some("a\tb\nc\\d\0")], "a\\tb\\nc\\\\d\\0\n")]
    fn a_row_is_one_line(#[case] columns: &[Option<&str>], #[case] expected: &str) {
        assert_eq!(line(columns.iter().map(|column| column.map(str::as_bytes))), expected.as_bytes());
    }

    proptest! {
        #[test]
        fn any_row_is_loaded_as_it_was(columns in prop::collection::vec(any::<Option<Vec<u8>>>(), 1..6)) {
            prop_assert_eq!(load(&line(columns.iter().map(Option::as_deref))), columns);
        }
    }
}
