//! The list of employees as a file: CSV, JSON and NDJSON.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::db::employees::Employee;
use crate::error::Error;
use crate::export::{self, Format, Full};
use crate::search::{Search, Whole};

/// Export the list as CSV
///
/// The whole list, with the same filters and orders, as RFC 4180 in UTF-8 with a header. A text that a spreadsheet
/// would take for a formula has an apostrophe in front of it. A file whose last line has no end is not complete.
#[utoipa::path(
    get, path = "/api/v1/employees.csv", tag = "employees", params(Whole), operation_id = "exportEmployeesAsCsv",
    responses((status = OK, body = String, content_type = "text/csv")),
)]
pub(crate) async fn csv(state: State<Arc<App>>, query: RawQuery) -> Result<Response, Error> {
    export(state, query, Format::Csv).await
}

/// Export the list as JSON
///
/// The whole list, with the same filters and orders, as one array.
#[utoipa::path(
    get, path = "/api/v1/employees.json", tag = "employees", params(Whole), operation_id = "exportEmployeesAsJson",
    responses((status = OK, body = Vec<Employee>)),
)]
pub(crate) async fn json(state: State<Arc<App>>, query: RawQuery) -> Result<Response, Error> {
    export(state, query, Format::Json).await
}

/// Export the list as NDJSON
///
/// The whole list, with the same filters and orders, an object per line. A file whose last line has no end is not
/// complete.
#[utoipa::path(
    get, path = "/api/v1/employees.ndjson", tag = "employees", params(Whole), operation_id = "exportEmployeesAsNdjson",
    responses((status = OK, body = String, content_type = "application/x-ndjson")),
)]
pub(crate) async fn ndjson(state: State<Arc<App>>, query: RawQuery) -> Result<Response, Error> {
    export(state, query, Format::NdJson).await
}

async fn export(State(app): State<Arc<App>>, RawQuery(query): RawQuery, format: Format) -> Result<Response, Error> {
    let Whole(search) = Whole::parse(query.as_deref().unwrap_or_default())?;
    let place = app.exports.enter().map_err(|Full| {
        Error::Unavailable("As many exports as this server runs at once are under way. Please try again in a moment.")
    })?;
    let disposition = disposition(&search, format);
    let body = export::file(Arc::clone(&app.db), search, format, place).await?;
    let content_type = HeaderValue::from_static(format.content_type());
    Ok(([(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, disposition)], body).into_response())
}

/// The header that names the file after its list: `employees-department-d005-sort-name.csv`.
fn disposition(search: &Search, format: Format) -> HeaderValue {
    const LONGEST: usize = 100;
    let mut name = "employees".to_owned();
    for word in search.list_query().split(['&', '=']) {
        let plain = word.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' });
        name.push('-');
        name.extend(plain);
    }
    name.truncate(LONGEST);
    let value = format!("attachment; filename=\"{}.{}\"", name.trim_end_matches('-'), format.extension());
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", "employees.csv")]
    #[case("department=d005&sort=name&order=desc", "employees-department-d005-sort-name-order-desc.csv")]
    #[case("born_from=1960-01-01", "employees-born_from-1960-01-01.csv")]
    #[case("q=%22%C3%A9/../", "employees-q--22-C3-A9-2F---2F.csv")]
    fn a_file_is_named_after_its_list(#[case] query: &str, #[case] name: &str) {
        let Whole(search) = Whole::parse(query).unwrap();
        assert_eq!(disposition(&search, Format::Csv), format!("attachment; filename=\"{name}\""));
    }

    #[test]
    fn a_file_name_has_an_end() {
        let Whole(search) = Whole::parse(&format!("q={}&title={0}", "x".repeat(90))).unwrap();
        assert!(disposition(&search, Format::NdJson).len() < 140);
    }
}
