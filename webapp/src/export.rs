//! Whole lists as files: CSV, JSON and NDJSON, written while they are read.
//!
//! A task asks for one piece after the other, and waits until the client has taken the last one: two pieces are in
//! memory at any time, and one is being asked for. It ends when the client goes away, or takes too long. Each export
//! has a place; who finds none left is asked to come back.
//!
//! A file that is not complete never looks complete: its answer is broken off without the end that HTTP asks for, and
//! the last end of line, written only when all is there, is missing from the text.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tracing::Instrument;

use crate::db::employees::Employee;
use crate::db::{self, Database};
use crate::search::Search;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, in UTF-8, with a header.
    Csv,
    /// One array with an object per employee.
    Json,
    /// An object per line.
    NdJson,
}

impl Format {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Json => "JSON",
            Self::NdJson => "NDJSON",
        }
    }

    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::NdJson => "ndjson",
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
        }
    }
}

/// The columns of a CSV file.
const HEADER: &str = "emp_no,birth_date,first_name,last_name,gender,hire_date";

/// Why a list could not be written: a mistake of ours.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// As JSON.
    #[error("JSON could not be written: {0}")]
    Json(#[from] serde_json::Error),
    /// As CSV.
    #[error("CSV could not be written: {0}")]
    Csv(#[from] csv::Error),
}

/// Writes a file piece by piece. The end of each line is kept back until it is known what follows.
struct Encoder {
    format: Format,
    first: bool,
}

impl Encoder {
    fn new(format: Format) -> Self {
        Self { format, first: true }
    }

    /// What comes before the rows.
    fn begin(&self) -> &'static str {
        match self.format {
            Format::Csv => HEADER,
            Format::Json => "[",
            Format::NdJson => "",
        }
    }

    /// More rows.
    fn rows(&mut self, employees: &[Employee]) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(employees.len() * 128);
        match self.format {
            Format::Csv => csv_lines(&mut out, employees)?,
            Format::Json | Format::NdJson => {
                for employee in employees {
                    out.extend_from_slice(match (self.format, self.first) {
                        (Format::NdJson, true) => b"",
                        (Format::Json, false) => b",\n",
                        _ => b"\n",
                    });
                    self.first = false;
                    serde_json::to_writer(&mut out, employee)?;
                }
            }
        }
        Ok(out)
    }

    /// What comes behind the rows.
    fn end(&self) -> &'static str {
        match (self.format, self.first) {
            (Format::Csv, _) => "\r\n",
            (Format::Json, _) => "\n]\n",
            (Format::NdJson, false) => "\n",
            (Format::NdJson, true) => "",
        }
    }
}

/// Lines of a CSV file, each behind the end of the line before.
fn csv_lines(out: &mut Vec<u8>, employees: &[Employee]) -> Result<(), csv::Error> {
    const END: &[u8] = b"\r\n";
    if employees.is_empty() {
        return Ok(());
    }
    out.extend_from_slice(END);
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(&mut *out);
    for Employee { emp_no, birth_date, first_name, last_name, gender, hire_date } in employees {
        writer.write_field(emp_no.to_string())?;
        writer.write_field(birth_date.to_string())?;
        for text in [first_name, last_name, gender] {
            writer.write_field(&*no_formula(text))?;
        }
        writer.write_field(hire_date.to_string())?;
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()?;
    drop(writer);
    out.truncate(out.len() - END.len());
    Ok(())
}

/// A text that no spreadsheet takes for a formula: an apostrophe in front of what could begin one, which spreadsheets
/// understand as "text". In the other formats nothing is changed.
fn no_formula(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The exports that are under way.
pub struct Exports {
    places: Arc<Semaphore>,
    timeout: Duration,
}

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Default for Exports {
    fn default() -> Self {
        Self::new(4, Duration::from_secs(600))
    }
}

impl Exports {
    /// Places for `at_once` exports, each of which may take as long as `timeout`.
    pub fn new(at_once: u32, timeout: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(at_once as usize)), timeout }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// There is none left.
    pub fn enter(&self) -> Result<Place, Full> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Full)?;
        Ok(Place { _permit: permit, timeout: self.timeout })
    }
}

/// A place, free again when dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    timeout: Duration,
}

/// A part of a file, and whether it is the last.
struct Part {
    text: Bytes,
    last: bool,
}

/// Why a file is not complete.
#[derive(Debug, thiserror::Error)]
enum Incomplete {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("its reader is gone")]
    Gone(#[from] mpsc::error::SendError<Part>),
}

/// The file of the whole list of `search`. Its beginning is read before it is returned, so that a list that cannot be
/// read has an honest status.
///
/// # Errors
/// The beginning could not be read.
pub async fn file(db: Arc<Database>, search: Search, format: Format, place: Place) -> Result<Body, db::Error> {
    let mut pieces = Box::pin(pieces(db, search));
    let first = pieces.try_next().await?.unwrap_or_default();
    Ok(write(stream::iter([Ok(first)]).chain(pieces), format, place))
}

/// The pieces of the list, each read when it is asked for.
fn pieces(db: Arc<Database>, search: Search) -> impl Stream<Item = Result<Vec<Employee>, db::Error>> + Send {
    stream::try_unfold(Some(search), move |search| {
        let db = Arc::clone(&db);
        async move {
            let Some(search) = search else { return Ok(None) };
            let piece = db::exports::piece(&db, &search).await?;
            let rest = piece.next.map(|next| Search { cursor: Some(next), ..search });
            Ok(Some((piece.employees, rest)))
        }
    })
}

/// Starts to write `pieces`; the result is what the client reads.
fn write<P>(pieces: P, format: Format, place: Place) -> Body
where
    P: Stream<Item = Result<Vec<Employee>, db::Error>> + Send + 'static,
{
    let (parts, taken) = mpsc::channel(1);
    let task = async move {
        tokio::select! {
            // Nobody reads any more: whatever is being asked for is given up.
            () = parts.closed() => {}
            written = timeout(place.timeout, send(pieces, format, &parts)) => match written {
                Ok(Ok(()) | Err(Incomplete::Gone(_))) => {}
                Ok(Err(error)) => tracing::error!(%error, "export broken off"),
                Err(_) => tracing::warn!(seconds = place.timeout.as_secs(), "export broken off: it took too long"),
            },
        }
        drop(place);
    };
    tokio::spawn(task.in_current_span());
    body(taken)
}

/// Sends every part, each when there is room for it.
async fn send<P>(pieces: P, format: Format, parts: &mpsc::Sender<Part>) -> Result<(), Incomplete>
where
    P: Stream<Item = Result<Vec<Employee>, db::Error>>,
{
    let mut pieces = pin!(pieces);
    let mut encoder = Encoder::new(format);
    parts.send(Part { text: encoder.begin().into(), last: false }).await?;
    while let Some(employees) = pieces.try_next().await? {
        parts.send(Part { text: encoder.rows(&employees)?.into(), last: false }).await?;
    }
    parts.send(Part { text: encoder.end().into(), last: true }).await?;
    Ok(())
}

/// The parts as a body, which fails where they end without the last one.
fn body(parts: mpsc::Receiver<Part>) -> Body {
    Body::from_stream(stream::try_unfold(Some(parts), async |parts| {
        let Some(mut parts) = parts else { return Ok(None) };
        match parts.recv().await {
            Some(Part { text, last }) => Ok(Some((text, (!last).then_some(parts)))),
            None => Err(std::io::Error::other("the export was broken off")),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use rstest::rstest;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn employee(emp_no: i32, first_name: &str) -> Employee {
        let day = "1965-02-01".parse().unwrap();
        Employee {
            emp_no,
            birth_date: day,
            first_name: first_name.to_owned(),
            last_name: "O'Neil, \"X\"".to_owned(),
            gender: "F".to_owned(),
            hire_date: day,
        }
    }

    fn text(format: Format, pieces: &[Vec<Employee>]) -> String {
        let mut encoder = Encoder::new(format);
        let mut out = encoder.begin().to_owned();
        for piece in pieces {
            out.push_str(std::str::from_utf8(&encoder.rows(piece).unwrap()).unwrap());
        }
        out.push_str(encoder.end());
        out
    }

    const ALL: [Format; 3] = [Format::Csv, Format::Json, Format::NdJson];

    #[test]
    fn each_format_has_its_lines() {
        let pieces = [vec![employee(1, "Ada"), employee(2, "Zoë")], vec![], vec![employee(3, "=1+1")]];
        insta::assert_snapshot!(ALL.map(|format| text(format, &pieces)).join("--\n").replace('\r', "\\r"));
    }

    #[test]
    fn an_empty_list_is_a_whole_file_too() {
        assert_eq!(
            ALL.map(|format| text(format, &[vec![]])),
            ["emp_no,birth_date,first_name,last_name,gender,hire_date\r\n", "[\n]\n", ""]
        );
    }

    #[test]
    fn the_header_names_the_fields_of_an_employee() {
        let value = serde_json::to_string(&employee(1, "Ada")).unwrap();
        let positions: Vec<_> = HEADER.split(',').map(|name| value.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(positions.is_sorted());
        assert_eq!(value.matches("\":").count(), positions.len());
    }

    #[rstest]
    #[case("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")")]
    #[case("+1", "'+1")]
    #[case("-1", "'-1")]
    #[case("@SUM(A1)", "'@SUM(A1)")]
    #[case("\t=1", "'\t=1")]
    #[case("Ada", "Ada")]
    #[case("Anne-Marie", "Anne-Marie")]
    #[case("", "")]
    fn no_text_is_a_formula(#[case] text: &str, #[case] cell: &str) {
        assert_eq!(no_formula(text), cell);
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_back_is_what_was_written(names in proptest::collection::vec("[^=+@\t\r-].{0,10}", 0..9), cut in 0..9_usize) {
            let employees: Vec<_> = names.iter().zip(1..).map(|(name, number)| employee(number, name)).collect();
            let (one, other) = employees.split_at(cut.min(employees.len()));
            let pieces = [one.to_vec(), other.to_vec()];

            let csv = text(Format::Csv, &pieces);
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            let read: Vec<Employee> = reader.deserialize().collect::<Result<_, _>>().unwrap();
            assert_eq!(read, employees);
            let read: Vec<Employee> = serde_json::from_str(&text(Format::Json, &pieces)).unwrap();
            assert_eq!(read, employees);
            let lines = text(Format::NdJson, &pieces);
            let read: Vec<Employee> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(read, employees);
        }
    }

    /// Pieces without end, and how many have been asked for.
    fn endless() -> (impl Stream<Item = Result<Vec<Employee>, db::Error>> + Send, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let pieces = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(vec![employee(1, "Ada")])
        });
        (pieces, asked)
    }

    /// Lets every task run until it waits for another one.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn no_more_pieces_are_asked_for_than_the_client_takes() {
        let (pieces, asked) = endless();
        let mut body = write(pieces, Format::NdJson, Exports::default().enter().unwrap());
        for taken in 1..20 {
            body.frame().await.unwrap().unwrap();
            settle().await;
            // The first part has no rows; one waits in the channel, one in front of it.
            assert_eq!(asked.load(Ordering::Relaxed), taken + 1);
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_the_export_and_frees_its_place() {
        let exports = Exports::new(1, Duration::from_secs(60));
        let (pieces, asked) = endless();
        let mut body = write(pieces, Format::Csv, exports.enter().unwrap());
        assert!(exports.enter().is_err());
        body.frame().await.unwrap().unwrap();
        drop(body);
        settle().await;
        let then = asked.load(Ordering::Relaxed);
        assert!(exports.enter().is_ok());
        settle().await;
        assert_eq!(asked.load(Ordering::Relaxed), then);
    }

    #[tokio::test]
    async fn a_query_is_given_up_when_its_reader_goes_away() {
        let exports = Exports::new(1, Duration::from_secs(60));
        let body = write(stream::pending(), Format::Csv, exports.enter().unwrap());
        drop(body);
        settle().await;
        assert!(exports.enter().is_ok());
    }

    #[tokio::test]
    async fn a_client_that_takes_too_long_gets_an_end_that_is_none_and_frees_its_place() {
        let exports = Exports::new(1, Duration::from_millis(50));
        let mut body = write(endless().0, Format::NdJson, exports.enter().unwrap());
        body.frame().await.unwrap().unwrap();
        while exports.enter().is_err() {
            tokio::task::yield_now().await;
        }
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_not_complete_does_not_look_complete() {
        for format in ALL {
            let pieces = [Ok(vec![employee(1, "Ada")]), Err(db::Error::TooSlow(String::new()))];
            let mut body = write(stream::iter(pieces), format, Exports::default().enter().unwrap());
            let mut text = Vec::new();
            let error = loop {
                match body.frame().await.unwrap() {
                    Ok(frame) => text.extend_from_slice(&frame.into_data().unwrap()),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.to_string(), "the export was broken off");
            assert!(!text.is_empty() && !text.ends_with(b"\n"), "{format:?}");
        }
    }
}
