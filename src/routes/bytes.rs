//! Answering with stored bytes: conditional requests and ranges (RFC 9110 §13, §14), and headers
//! that keep a browser from doing anything with them but showing the four image types.

use std::ops::Range;

use futures_util::{Stream, StreamExt, TryStreamExt};
use http::header;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use warp::Reply;
use warp::reply::Response;

use crate::error::{Error, Result};
use crate::filters::problem;
use crate::services::attachments::OpenFile;

/// Nothing in a file may load, run or be framed, whatever a browser takes it for.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// RFC 8187 §3.2.1: `attr-char` stands for itself.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The file, or what of it the request asks for: 200, 206, 304 or 416.
///
/// # Errors
/// `unavailable` where too many downloads are not read.
pub(super) async fn serve(file: OpenFile, request: &HeaderMap) -> Result<Response> {
    let etag = format!("\"{}\"", file.tag);
    let size = file.size;
    let mut headers = headers(&file, &etag)?;
    if not_modified(request, &etag) {
        return Ok(answer(StatusCode::NOT_MODIFIED, headers, Response::default()));
    }
    let (status, range) = match wanted(request, &etag, size) {
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Part(range) => {
            let said = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            headers.insert(header::CONTENT_RANGE, value(&said)?);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Wanted::Nothing => {
            let mut response = problem::response(Error::range_not_satisfiable());
            let said = value(&format!("bytes */{size}"))?;
            response.headers_mut().insert(header::CONTENT_RANGE, said);
            return Ok(response);
        }
    };
    headers.insert(header::CONTENT_TYPE, value(&file.content_type)?);
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    let bytes = file.read(range).await?;
    // Too late for a problem: the connection breaks off, and the log says why.
    let bytes = bytes.inspect_err(
        |error| tracing::error!(event = "file_read_failed", %error, "cannot read a file"),
    );
    let body = warp::reply::stream(shared(bytes)).into_response();
    Ok(answer(status, headers, body))
}

fn answer(status: StatusCode, headers: HeaderMap, mut response: Response) -> Response {
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn headers(file: &OpenFile, etag: &str) -> Result<HeaderMap> {
    let disposition = disposition(file.is_image(), &file.filename);
    let mut headers = HeaderMap::new();
    let fixed: [(HeaderName, HeaderValue); 6] = [
        (header::ETAG, value(etag)?),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::CONTENT_DISPOSITION, value(&disposition)?),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    headers.extend(fixed.map(|(name, value)| (Some(name), value)));
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(Error::internal)
}

/// `Content-Disposition` with the name twice (RFC 6266 appendix D): in ASCII for old clients, in
/// full for all others. The first has nothing that some client unescapes.
fn disposition(inline: bool, filename: &str) -> String {
    let kind = if inline { "inline" } else { "attachment" };
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '_' };
    let ascii: String = filename.chars().map(plain).collect();
    let ascii = ascii.replace(['"', '\\', '%'], "_");
    let full = utf8_percent_encode(filename, ATTR_CHAR);
    format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{full}")
}

/// `If-None-Match` (RFC 9110 §13.1.2), by weak comparison. Our tags hold no comma.
fn not_modified(request: &HeaderMap, etag: &str) -> bool {
    let lines = request.get_all(header::IF_NONE_MATCH).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    /// The range lies outside.
    Nothing,
}

/// `Range`, unless `If-Range` names another version of the file; a date there is never taken for
/// the same one (RFC 9110 §13.1.5). More than one range, another unit, or what cannot be read is
/// answered with everything, as a server may (§14.2).
fn wanted(request: &HeaderMap, etag: &str, size: u64) -> Wanted {
    if request.get(header::IF_RANGE).is_some_and(|tag| tag != etag) {
        return Wanted::All;
    }
    let mut given = request.get_all(header::RANGE).iter();
    let (Some(range), None) = (given.next(), given.next()) else { return Wanted::All };
    let range = range.to_str().ok().and_then(|text| text.trim().split_once('='));
    match range {
        Some((unit, range)) if unit.trim().eq_ignore_ascii_case("bytes") => {
            single(range.trim(), size).unwrap_or(Wanted::All)
        }
        _ => Wanted::All,
    }
}

/// `first-last`, `first-` or `-length`; `None` if it is none of them.
fn single(range: &str, size: u64) -> Option<Wanted> {
    let range = match range.split_once('-')? {
        ("", length) => size.saturating_sub(number(length)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..size.min(last.saturating_add(1))
        }
    };
    Some(if range.start < range.end { Wanted::Part(range) } else { Wanted::Nothing })
}

/// Digits only; a number too large to hold counts as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A stream that may be shared, as warp asks of bodies, since only its owner ever polls it.
pub(super) fn shared<S: Stream + Send>(stream: S) -> impl Stream<Item = S::Item> + Send + Sync {
    let mut stream = Mutex::new(Box::pin(stream));
    futures_util::stream::poll_fn(move |context| stream.get_mut().poll_next_unpin(context))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(name: HeaderName, given: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, given.parse().expect("a header"))])
    }

    fn range(given: &str) -> Wanted {
        wanted(&asked(header::RANGE, given), "\"a\"", 10)
    }

    #[test]
    fn one_range_is_served_and_clamped() {
        assert_eq!(range("bytes=0-0"), Wanted::Part(0..1));
        assert_eq!(range("bytes=2-"), Wanted::Part(2..10));
        assert_eq!(range("Bytes=2-99999999999999999999"), Wanted::Part(2..10));
        assert_eq!(range("bytes=-3"), Wanted::Part(7..10));
        assert_eq!(range("bytes=-30"), Wanted::Part(0..10));
        for outside in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(range(outside), Wanted::Nothing, "{outside}");
        }
    }

    #[test]
    fn what_is_not_one_range_is_everything() {
        for other in
            ["bytes=0-1,3-4", "bytes=5-2", "bytes=-", "bytes=a-b", "bytes=+1-2", "lines=1-2", "1-2"]
        {
            assert_eq!(range(other), Wanted::All, "{other}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_everything() {
        let mut request = asked(header::RANGE, "bytes=0-0");
        for (tag, same) in
            [("\"a\"", true), ("\"b\"", false), ("W/\"a\"", false), ("Wed, 21 Oct 2015", false)]
        {
            request.insert(header::IF_RANGE, tag.parse().expect("a header"));
            let expected = if same { Wanted::Part(0..1) } else { Wanted::All };
            assert_eq!(wanted(&request, "\"a\"", 10), expected, "{tag}");
        }
    }

    #[test]
    fn any_matching_tag_means_not_modified() {
        for (tags, same) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            let request = asked(header::IF_NONE_MATCH, tags);
            assert_eq!(not_modified(&request, "\"a\""), same, "{tags}");
        }
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        let got = disposition(false, "a\"; filename=\"b%22\\ä€.svg");
        let expected = "attachment; filename=\"a_; filename=_b_22___.svg\"; \
            filename*=UTF-8''a%22%3B%20filename%3D%22b%2522%5C%C3%A4%E2%82%AC.svg";
        assert_eq!(got, expected);
    }

    proptest! {
        #[test]
        fn any_name_makes_one_header(name in any::<String>()) {
            let got = disposition(true, &name);
            prop_assert!(HeaderValue::from_str(&got).is_ok());
            prop_assert_eq!(got.matches('"').count(), 2);
        }

        #[test]
        fn any_range_lies_within(given in "bytes=[0-9]{0,3}-[0-9]{0,3}", size in 1_u64..999) {
            if let Wanted::Part(range) = wanted(&asked(header::RANGE, &given), "", size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
