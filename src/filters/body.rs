//! The body of a request: its media type, its size by counting, its content.

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use validator::Validate;
use warp::{Filter, Rejection};

use super::endpoint::{Body, Endpoint};
use super::json;
use super::parameters::Parameterised;
use crate::error::{Error, FieldError, Result};

/// How far past its limit a form is still read, so that what is wrong with it can be told.
pub const EXCESS: u64 = 1024 * 1024;

/// Reads the JSON body that the row of the table announces: 415, 413, 400, 422 in this order.
///
/// # Panics
/// When the row has no JSON body: a defect that the first request to it, and so its test, shows.
pub fn json<T: DeserializeOwned + Validate + Send + 'static>(
    endpoint: &Endpoint,
) -> impl Filter<Extract = (T,), Error = Rejection> + Clone + Send + Sync + 'static + use<T> {
    json_with(endpoint, |_: &T| Vec::new())
}

/// As [`json()`]; `check` finds what breaks a rule that only this instance's settings make.
///
/// # Panics
/// As [`json()`].
pub fn json_with<T: DeserializeOwned + Validate + Send + 'static, C>(
    endpoint: &Endpoint,
    check: C,
) -> impl Filter<Extract = (T,), Error = Rejection> + Clone + Send + Sync + 'static + use<T, C>
where
    C: Fn(&T) -> Vec<FieldError> + Copy + Send + Sync + 'static,
{
    let Body::Json { limit } = endpoint.body else {
        panic!("{} has no JSON body in the route table", endpoint.path);
    };
    warp::header::headers_cloned().and(warp::body::stream()).and_then(
        move |headers: HeaderMap, body| async move {
            let input = read_json(&headers, body, limit, "application/json", check).await;
            input.map_err(warp::reject::custom)
        },
    )
}

/// The JSON object of a body: 415, which names the media types in `takes`, 413, 400, 422.
pub(super) async fn read_json<T, S, B>(
    headers: &HeaderMap,
    body: S,
    limit: u64,
    takes: &'static str,
    check: impl FnOnce(&T) -> Vec<FieldError>,
) -> Result<T>
where
    T: DeserializeOwned + Validate,
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    if !is_json(headers) {
        return Err(Error::unsupported_media(takes));
    }
    check_encoding(headers)?;
    json::read_with(&collect(body, limit).await?, check)
}

/// `application/json`: no parameter of it has a meaning (RFC 8259 §11).
fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|given| {
        Parameterised::parse(&given).word.eq_ignore_ascii_case("application/json")
    })
}

/// `Content-Type`; `None` where it is absent, or given twice.
pub(super) fn media_type(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let (media_type, None) = (given.next()?, given.next()) else { return None };
    Some(String::from_utf8_lossy(media_type.as_bytes()))
}

/// Refuses a body that is compressed or otherwise encoded (RFC 9110 §8.4).
///
/// # Errors
/// `unsupported_media_type`.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<()> {
    let lines = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let mut codings =
        lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let is_plain = codings.all(|it| it.is_empty() || it.eq_ignore_ascii_case(b"identity"));
    if is_plain { Ok(()) } else { Err(Error::unsupported_encoding()) }
}

async fn collect<S, B>(body: S, limit: u64) -> Result<Bytes>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let mut body = std::pin::pin!(body);
    let mut read = 0_u64;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(unreadable)?;
        let length = chunk.remaining();
        read += length as u64;
        if read > limit {
            // The server reads on, as after any answer that comes before the body's end.
            return Err(Error::too_large(limit));
        }
        bytes.extend_from_slice(&chunk.copy_to_bytes(length));
    }
    Ok(bytes.freeze())
}

/// The client went away or broke the framing in the middle of its body.
pub fn unreadable(error: warp::Error) -> Error {
    Error::malformed("malformed_json", "incomplete body: it ended early").with_source(error)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::error::Kind;
    use crate::filters::endpoint::Class;

    #[derive(Debug, Deserialize, Validate)]
    struct Input {
        #[validate(required)]
        name: Option<String>,
    }

    const ROW: Endpoint = Endpoint::post("/x", Class::Write).json_up_to(32);

    async fn code(content_type: Option<&str>, body: &[u8]) -> &'static str {
        let mut request = warp::test::request().method("POST").body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        match request.filter(&json::<Input>(&ROW)).await {
            Ok(input) => {
                assert_eq!(input.name.as_deref(), Some("ada"));
                "ok"
            }
            Err(rejection) => rejection.find::<Error>().expect("one of ours").code(),
        }
    }

    #[tokio::test]
    async fn the_first_of_415_413_400_422_is_the_answer() {
        let good = br#"{"name":"ada"}"#;
        for json in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; charset=utf8",
            "application/json; charset=latin1",
            "APPLICATION/JSON ;version=1",
            " application/json\t;\tcharset = \"utf-8; x\"; ",
            "application/json;",
            "application/json; x",
        ] {
            assert_eq!(code(Some(json), good).await, "ok", "{json}");
        }
        for other in [
            "text/plain",
            "application/jsonp",
            "application/json, text/plain",
            "application/problem+json",
            "application",
            "",
            "; application/json",
        ] {
            assert_eq!(code(Some(other), &[b'x'; 99]).await, "unsupported_media_type", "{other}");
        }
        assert_eq!(code(None, good).await, "unsupported_media_type");
        assert_eq!(code(Some("application/json"), &[b'x'; 33]).await, "payload_too_large");
        assert_eq!(code(Some("application/json"), &[b'x'; 32]).await, "malformed_json");
        assert_eq!(code(Some("application/json"), b"{}").await, "validation_failed");
    }

    #[tokio::test]
    async fn a_body_that_is_encoded_is_415() {
        let send = async |codings: &[&str]| {
            let mut request = warp::test::request().method("POST").body(r#"{"name":"ada"}"#);
            request = request.header("content-type", "application/json");
            for line in codings {
                request = request.header("content-encoding", *line);
            }
            let input = request.filter(&json::<Input>(&ROW)).await;
            input.map(drop).map_err(|it| it.find::<Error>().expect("one of ours").kind())
        };
        for plain in ["identity", "IDENTITY", "", " identity , identity"] {
            assert_eq!(send(&[plain]).await, Ok(()), "{plain}");
        }
        for encoded in ["gzip", "br", "identity, gzip", "deflate,identity", "x"] {
            assert_eq!(send(&[encoded]).await, Err(Kind::UnsupportedEncoding), "{encoded}");
        }
    }

    /// What is left of a body after so many chunks of `size` bytes each were offered.
    async fn collected(size: usize, chunks: u64, limit: u64) -> (Result<Bytes>, u64) {
        let mut taken = 0;
        let body = futures_util::stream::iter(0..chunks).map(|number| {
            taken += 1;
            let content = vec![u8::try_from(number % 251).expect("below 251"); size];
            // In two parts, as hyper's buffers may be.
            let (head, tail) = content.split_at(size / 2);
            let parts = Bytes::copy_from_slice(head).chain(Bytes::copy_from_slice(tail));
            Ok::<_, warp::Error>(parts)
        });
        let outcome = collect(body, limit).await;
        (outcome, taken)
    }

    #[tokio::test]
    async fn a_body_in_chunks_arrives_whole_and_in_order() {
        let (body, _) = collected(3, 251, 753).await;
        let expected: Vec<u8> = (0..=250).flat_map(|byte| [byte; 3]).collect();
        assert_eq!(body.expect("exactly at the limit"), expected);
        let (body, _) = collected(3, 251, 752).await;
        assert_eq!(body.expect_err("one byte too long").code(), "payload_too_large");
        assert!(collected(0, 9, 0).await.0.expect("nothing").is_empty());
    }

    #[tokio::test]
    async fn a_body_past_its_limit_is_not_gathered() {
        let (body, taken) = collected(1024, u64::MAX, 2048).await;
        assert_eq!(body.expect_err("too long").code(), "payload_too_large");
        assert_eq!(taken, 3);
    }
}
