//! The style sheet, the icon and the script, from the program itself.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::Error;
use crate::views::{ICON, SCRIPT, STYLE};

/// `/assets/{file}`: under the name with the content's hash it never changes, so that browsers keep it for good. A name
/// with another hash comes from a page of another version, during an update: it gets what there is, but not for good.
pub(crate) async fn file(path: Result<Path<String>, PathRejection>) -> Result<Response, Error> {
    let name = path.map(|Path(name)| name).unwrap_or_default();
    for asset in [&STYLE, &ICON, &SCRIPT] {
        if asset.is_named(&name) {
            let keep = if name == asset.name() { "public, max-age=31536000, immutable" } else { "no-cache" };
            let headers = [(header::CONTENT_TYPE, asset.content_type), (header::CACHE_CONTROL, keep)];
            return Ok((headers, asset.content).into_response());
        }
    }
    Err(Error::NotFound("There is no such file".to_owned()))
}
