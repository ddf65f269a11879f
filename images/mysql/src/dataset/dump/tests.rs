use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// Hands out a few bytes at a time, so that every token meets the end of a buffer.
struct Dribble<'a> {
    text: &'a [u8],
    step: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.step.min(self.text.len()).min(buffer.len());
        buffer[..length].copy_from_slice(&self.text[..length]);
        self.text = &self.text[length..];
        Ok(length)
    }
}

type Values = Vec<Option<Vec<u8>>>;

fn read_all(reader: impl Read) -> Result<Vec<Values>, Error> {
    let mut input = Rows::new(reader);
    let mut rows = Vec::new();
    while let Some(row) = input.read()? {
        rows.push(row.values().map(|value| value.map(<[u8]>::to_vec)).collect());
    }
    Ok(rows)
}

fn texts(rows: &[Values]) -> Vec<Vec<&str>> {
    fn text(value: &Option<Vec<u8>>) -> &str {
        value.as_deref().map_or("NULL", |bytes| str::from_utf8(bytes).unwrap())
    }
    rows.iter().map(|row| row.iter().map(text).collect()).collect()
}

#[rstest]
#[case::one_statement("INSERT INTO `t` VALUES (1,'a'),(2,'b');", vec![vec!["1", "a"], vec!["2", "b"]])]
#[case::several_statements("INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);", vec![vec!["1"], vec!["2"]])]
#[case::line_breaks_anywhere("insert\ninto `t`\r\nvalues\n\n(1\n,\n2)\n\n,\n(3,4)\n;\n", vec![vec!["1", "2"], vec!["3", "4"]])]
#[case::no_blanks("INSERT INTO`t`VALUES(1,2)", vec![])]
#[case::a_quote_that_is_doubled("INSERT INTO t VALUES ('O''Hara','''');", vec![vec!["O'Hara", "'"]])]
#[case::escapes(r#"INSERT INTO t VALUES ('\'\"\\\n\t\r\0\b\Z\q\%\_');"#, vec![vec!["'\"\\\n\t\r\0\u{8}\u{1a}q\\%\\_"]])]
#[case::double_quotes(r#"INSERT INTO t VALUES ("it's","a ""b""");"#, vec![vec!["it's", "a \"b\""]])]
#[case::brackets_within_a_string("INSERT INTO t VALUES ('a),(b;--#/*');", vec![vec!["a),(b;--#/*"]])]
#[case::a_line_break_within_a_string("INSERT INTO t VALUES ('a\nb');", vec![vec!["a\nb"]])]
#[case::an_empty_string_is_not_null("INSERT INTO t VALUES ('',NULL,null);", vec![vec!["", "NULL", "NULL"]])]
#[case::numbers("INSERT INTO t VALUES (-1,+2,3.5,.5,1e9,-2.5E-3);", vec![vec!["-1", "+2", "3.5", ".5", "1e9", "-2.5E-3"]])]
#[case::comments(
    "-- one\n--\n# two ' \n/* three; ' */ INSERT /**/ INTO t VALUES -- four\n(1 /* * / */, -- five\n -2) # six\n; -- end",
    vec![vec!["1", "-2"]]
)]
#[case::an_empty_file("", vec![])]
#[case::nothing_but_comments(" -- nothing\n;;\n", vec![])]
fn a_dump_is_read_in_pieces_of_any_size(#[case] dump: &str, #[case] rows: Vec<Vec<&str>>) {
    for step in [1, 2, 3, 7, dump.len().max(1)] {
        let read = read_all(Dribble { text: dump.as_bytes(), step });
        if dump.ends_with(')') {
            assert!(read.is_err());
        } else {
            assert_eq!(texts(&read.unwrap()), rows, "in pieces of {step}");
        }
    }
}

#[rstest]
#[case::another_statement("\nDROP TABLE t;", r#"line 2: expected INSERT INTO, found "DROP""#)]
#[case::no_into("INSERT t VALUES (1);", r#"line 1: expected INTO, found "t""#)]
#[case::no_name("INSERT INTO (1);", r#"line 1: expected a table's name, found "(""#)]
#[case::a_name_without_an_end("INSERT INTO `t\n VALUES", r#"line 2: expected the end of a table's name, found "\n""#)]
#[case::a_list_of_columns("INSERT INTO t (a) VALUES (1);", r#"line 1: expected VALUES, found "(""#)]
#[case::no_row("INSERT INTO t VALUES ;", r#"line 1: expected an opening bracket, found ";""#)]
#[case::an_empty_row("INSERT INTO t VALUES ();", r#"line 1: expected a string, a number or NULL, found ")""#)]
#[case::a_value_is_missing("INSERT INTO t VALUES (1,,2);", r#"line 1: expected a string, a number or NULL, found ",""#)]
#[case::a_function("INSERT INTO t VALUES\n(1,now());", r#"line 2: expected a string, a number or NULL, found "now""#)]
#[case::two_strings("INSERT INTO t VALUES ('a' 'b');", r#"line 1: expected a comma or a closing bracket, found "'""#)]
#[case::a_row_too_wide("INSERT INTO t VALUES (1),\n(2,3);", "line 2: a row of 2 values after rows of 1")]
#[case::another_table(
    "INSERT INTO t VALUES (1);\nINSERT INTO u VALUES (1);",
    "line 2: a statement for table u after one for t"
)]
#[case::no_comma("INSERT INTO t VALUES (1)\n(2);", r#"line 2: expected a comma or a semicolon after a row, found "(""#)]
#[case::cut_off_after_a_row(
    "INSERT INTO t VALUES (1)",
    "line 1: expected a comma or a semicolon after a row, found the end of the file"
)]
#[case::cut_off_within_a_row(
    "INSERT INTO t VALUES (1,",
    "line 1: expected a string, a number or NULL, found the end of the file"
)]
#[case::cut_off_within_a_string(
    "INSERT INTO t VALUES\n('a\nb",
    "line 2: a row without an end: is a closing quote missing?"
)]
#[case::cut_off_within_an_escape(
    "INSERT INTO t VALUES ('a\\",
    "line 1: a row without an end: is a closing quote missing?"
)]
#[case::cut_off_within_a_comment("/* a\n", "line 2: expected the end of a comment, found the end of the file")]
#[case::two_points("INSERT INTO t VALUES (1.2.3);", r#"line 1: expected a number, found "1.2.3""#)]
#[case::a_sum("INSERT INTO t VALUES (1+2);", r#"line 1: expected a number, found "1+2""#)]
#[case::no_exponent("INSERT INTO t VALUES (1e);", r#"line 1: expected a number, found "1e""#)]
#[case::a_sign_alone("INSERT INTO t VALUES (-);", r#"line 1: expected a number, found "-""#)]
#[case::a_comment_that_mysql_runs("/*!40000 SET x=1 */;", r#"line 1: expected a plain comment, found "!""#)]
#[case::line_breaks_in_a_string_count(
    "INSERT INTO t VALUES ('a\nb\n\nc'),\nx",
    r#"line 5: expected an opening bracket, found "x""#
)]
fn a_malformed_dump_is_an_error_that_names_the_line(#[case] dump: &str, #[case] message: &str) {
    for step in [1, 5, dump.len()] {
        let error = read_all(Dribble { text: dump.as_bytes(), step }).unwrap_err();
        assert_eq!(error.to_string(), message, "in pieces of {step}");
    }
}

#[test]
fn a_string_without_an_end_does_not_fill_the_memory() {
    let endless = io::Read::chain(&b"INSERT INTO t VALUES ('"[..], io::repeat(b'a'));
    assert!(matches!(read_all(endless), Err(Error::Endless { line: 1 })));
}

#[test]
fn a_reader_that_fails_is_an_error_and_not_the_end() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    assert!(matches!(read_all(io::Read::chain(&b"INSERT INTO t "[..], Broken)), Err(Error::Read(_))));
}

#[test]
fn a_dump_becomes_lines_for_load_data() {
    let mut text = Vec::new();
    let converted = to_tsv(&b"INSERT INTO `t` VALUES (1,'a\tb'),(2,NULL);"[..], &mut text).unwrap();
    assert_eq!(converted, Converted { table: Some("t".into()), rows: 2 });
    assert_eq!(String::from_utf8(text).unwrap(), "1\ta\\tb\n2\t\\N\n");
}

#[test]
fn a_long_dump_is_written_as_several_statements() {
    let mut dump = Vec::new();
    let mut writer = Writer::new(&mut dump, "t");
    for _ in 0..3 {
        writer.row([Value::Text(&vec![b'a'; 600 << 10])]).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(dump.windows(6).filter(|window| window == b"INSERT").count(), 2);
    assert_eq!(read_all(&dump[..]).unwrap().len(), 3);
}

fn rows() -> impl Strategy<Value = Vec<Values>> {
    (1usize..5)
        .prop_flat_map(|width| prop::collection::vec(prop::collection::vec(any::<Option<Vec<u8>>>(), width), 0..8))
}

proptest! {
    #[test]
    fn any_rows_are_read_as_they_were_written(rows in rows(), step in 1usize..40) {
        let mut dump = Vec::new();
        let mut writer = Writer::new(&mut dump, "t");
        for row in &rows {
            writer.row(row.iter().map(|value| value.as_deref().map_or(Value::Null, Value::Text))).unwrap();
        }
        writer.finish().unwrap();
        prop_assert_eq!(read_all(Dribble { text: &dump, step }).unwrap(), rows);
    }

    #[test]
    fn no_text_makes_the_parser_panic_or_hang(text in "(INSERT INTO `t` VALUES )?[-('a1,);\\\\\n/*#N ]{0,60}", step in 1usize..20) {
        let _ = read_all(Dribble { text: text.as_bytes(), step });
    }

    #[test]
    fn a_dump_that_is_cut_off_is_never_taken_as_whole(rows in 1usize..5, cut in 1usize..30) {
        let row = b"(1,'a b'),";
        let mut dump = b"INSERT INTO t VALUES ".to_vec();
        dump.extend(row.repeat(rows));
        dump.truncate(dump.len() - cut.min(dump.len() - 1));
        prop_assert!(read_all(&dump[..]).is_err());
    }
}
