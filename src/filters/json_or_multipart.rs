//! Bodies that come in two forms: a JSON object, or a multipart form with the same fields and files.

use http::HeaderMap;
use serde::de::DeserializeOwned;
use validator::Validate;
use warp::{Filter, Rejection};

use super::body::{check_encoding, media_type, read_json};
use super::endpoint::{Body, Endpoint};
use super::multipart::{Form, boundary};
use super::parameters::Parameterised;
use crate::error::Error;

/// The media types that such a row takes.
const BOTH: &str = "application/json, or as multipart/form-data with a boundary";

/// What a row that takes both has got.
pub enum JsonOrForm<T> {
    /// A JSON object, read and valid.
    Json(T),
    /// A form, to be read.
    Form(Form),
}

/// Takes the JSON object or the form that the row of the table announces, the latter with files of
/// at most `files` bytes in all. 415 for any other media type.
///
/// # Panics
/// When the row does not take both: a defect that the start shows.
pub fn json_or_multipart<T: DeserializeOwned + Validate + Send + 'static>(
    endpoint: &Endpoint,
    files: u64,
) -> impl Filter<Extract = (JsonOrForm<T>,), Error = Rejection> + Clone + Send + Sync + 'static + use<T>
{
    let Body::JsonOrMultipart { limit, .. } = endpoint.body else {
        panic!("{} does not take JSON and forms", endpoint.path);
    };
    warp::header::headers_cloned().and(warp::body::stream()).and_then(
        move |headers: HeaderMap, body| async move {
            let input = async {
                if !claims_form(&headers) {
                    let input = read_json(&headers, body, limit, BOTH, |_| Vec::new()).await;
                    return input.map(JsonOrForm::Json);
                }
                let boundary = boundary(&headers).ok_or_else(|| Error::unsupported_media(BOTH))?;
                check_encoding(&headers)?;
                Ok(JsonOrForm::Form(Form::new(body, boundary, files, limit)))
            };
            input.await.map_err(warp::reject::custom)
        },
    )
}

/// Whether `Content-Type` says that the body is a form, well or badly.
pub(super) fn claims_form(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|given| {
        Parameterised::parse(&given).word.eq_ignore_ascii_case("multipart/form-data")
    })
}
