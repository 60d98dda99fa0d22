//! Where an error becomes a response: `application/problem+json` (RFC 9457).
//!
//! A handler or guard only says what went wrong. Its response carries the [`Error`] as an
//! extension; the outermost layer, which knows the request id, writes the body and the log line.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use warp::reply::Response;
use warp::{Rejection, Reply};

use crate::error::{Error, FieldError, Kind};

impl warp::reject::Reject for Error {}

/// The problem type, title and so on of RFC 9457 §3, with our members.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem<'a> {
    /// Always `about:blank`: the code tells them apart.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// What the status says.
    #[schema(example = "Not Found")]
    title: &'static str,
    /// The status again.
    #[schema(example = 404, minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence for people.
    #[schema(example = "resource not found")]
    detail: &'a str,
    /// Stable, for programs.
    #[schema(example = "not_found")]
    code: &'static str,
    /// As in `X-Request-Id`.
    #[schema(example = "a1b2c3d4")]
    request_id: &'a str,
    /// With `validation_failed` only: every bad field.
    #[schema(required = false, example = json!([]))]
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// The status that a kind of error is answered with.
#[must_use]
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMedia | Kind::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
        Kind::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A response that says `error`: its status and headers, and the error itself for [`render`].
#[must_use]
pub fn response(error: Error) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status(error.kind());
    let headers = response.headers_mut();
    if error.kind() == Kind::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if error.kind() == Kind::UnsupportedEncoding {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if error.kind() == Kind::UpgradeRequired {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if let Some(wait) = error.retry_after() {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(1)));
    }
    response.extensions_mut().insert(Arc::new(error));
    response
}

/// The problem document of an error.
#[must_use]
pub fn render(error: &Error, request_id: &str) -> Vec<u8> {
    let status = status(error.kind());
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: error.detail(),
        code: error.code(),
        request_id,
        errors: error.field_errors(),
    };
    serde_json::to_vec(&problem).unwrap_or_default()
}

/// How a problem with this code looks, for the document that describes the service.
pub(crate) fn render_example(status: u16, code: &'static str, detail: &str) -> Value {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let errors = [FieldError::new("limit", "out_of_range", "must be a whole number from 1 to 100")];
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
        code,
        request_id: "a1b2c3d4",
        errors: if code == "validation_failed" { &errors } else { &[] },
    };
    serde_json::to_value(problem).unwrap_or_default()
}

/// A handler's outcome as a response.
pub fn respond<R: Reply>(outcome: Result<R, Error>) -> Response {
    outcome.map_or_else(response, Reply::into_response)
}

/// Answers every rejection. Ours comes first: a sibling route's rejection would hide it.
///
/// # Errors
/// None.
pub async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    Ok(response(match rejection.find::<Error>() {
        Some(error) => error.clone(),
        None if rejection.is_not_found() => Error::not_found(),
        None => Error::internal(format!("a rejection that no guard of ours makes: {rejection:?}")),
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_problem_says_what_the_client_can_act_on() {
        let error = Error::field("email", "invalid_format", "must be a valid e-mail address")
            .with_source(std::io::Error::other("the inside"));
        let body = String::from_utf8(render(&error, "req-1")).expect("UTF-8");
        insta::assert_snapshot!(body);
    }

    #[test]
    fn waiting_is_rounded_up_to_seconds() {
        let wait = |ms| {
            let response = response(Error::limited("rate_limited", Duration::from_millis(ms)));
            response.headers()[header::RETRY_AFTER].to_str().expect("ASCII").to_owned()
        };
        assert_eq!((wait(0).as_str(), wait(1000).as_str(), wait(1001).as_str()), ("1", "1", "2"));
    }

    #[tokio::test]
    async fn our_rejection_wins_over_a_siblings() {
        use warp::Filter;
        let guarded = warp::path("a").and(warp::any().and_then(|| async {
            Err::<Response, _>(warp::reject::custom(Error::unauthenticated("missing_token", "")))
        }));
        let sibling = warp::path("a").and(warp::post()).map(Response::default);
        let routes = guarded.or(sibling).unify().recover(recover).unify();
        let answer = warp::test::request().path("/a").reply(&routes).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    }
}
