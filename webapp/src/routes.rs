//! The handlers, one module per noun, each as a page and as JSON; and what they share: the checks of paths and queries.

pub(crate) mod assets;
pub(crate) mod departments;
pub(crate) mod docs;
pub(crate) mod employees;
pub(crate) mod exports;
pub(crate) mod history;
pub(crate) mod overview;
pub(crate) mod probes;
pub(crate) mod salaries;
pub(crate) mod show;

use askama::Template;
use axum::extract::{FromRequestParts, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::Html;

use crate::app::App;
use crate::error::Error;
use crate::search;
use crate::views::{self, Site};

/// What a handler of a page gives.
pub(crate) type Page = Result<Html<String>, Error>;

/// Renders a page.
fn html(page: &impl Template) -> Page {
    Ok(Html(views::render(page)?))
}

/// The footer of a page that has asked the database already.
async fn site(app: &App) -> Result<Site, Error> {
    Ok(app.site(Some(&*app.catalog().await?)))
}

/// The API's answer where nobody has migrated. Pages say it in the charts' place.
fn not_computed() -> Error {
    Error::Unavailable("The statistics have not been computed yet: `webapp migrate` does it.")
}

/// Any path that is no route.
pub(crate) async fn not_found(uri: Uri) -> Error {
    Error::NotFound(format!("There is no page {}", search::shorten(uri.path())))
}

/// A route, with a method that it does not have.
pub(crate) async fn wrong_method() -> Error {
    Error::MethodNotAllowed
}

/// A request without query parameters: a page that has none refuses all, by name.
pub(crate) struct NoParameters;

impl<S: Sync> FromRequestParts<S> for NoParameters {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).next() {
            Some((name, _)) => Err(search::unknown(&name).into()),
            None => Ok(Self),
        }
    }
}

/// An employee's number from the path.
pub(crate) struct EmpNo(pub(crate) u32);

impl<S: Send + Sync> FromRequestParts<S> for EmpNo {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let text = segment(parts, state).await?;
        // The column holds signed 32-bit numbers.
        match search::digits(&text).filter(|&n| i32::try_from(n).is_ok()) {
            Some(number) => Ok(Self(number)),
            None => Err(Error::BadRequest(format!("{} is not the number of an employee", search::shorten(&text)))),
        }
    }
}

/// A department's number from the path.
pub(crate) struct DeptNo(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for DeptNo {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let text = segment(parts, state).await?;
        match search::department(&text) {
            Ok(number) => Ok(Self(number)),
            Err(_) => Err(Error::BadRequest(format!("{} is not the number of a department", search::shorten(&text)))),
        }
    }
}

/// The variable part of the path, decoded.
async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Error> {
    let Path(text) = Path::<String>::from_request_parts(parts, state)
        .await
        .map_err(|_| Error::BadRequest("The address is not valid text".to_owned()))?;
    Ok(text)
}
