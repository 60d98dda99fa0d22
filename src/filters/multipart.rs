//! Forms with files (`multipart/form-data`, RFC 7578), read part by part as they arrive: whatever
//! a client sends, little of it is in memory at a time.

mod part_headers;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::header::CONTENT_DISPOSITION;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use warp::{Filter, Rejection};

use self::part_headers::PartHeaders;
use super::body::{EXCESS, check_encoding, media_type};
use super::endpoint::{Body, Endpoint};
use super::parameters::Parameterised;
use crate::error::{Error, Kind, Result};

/// The media type of forms.
const FORM: &str = "multipart/form-data";

/// Bytes that a form may have besides its files and the fields that are read: boundaries, part
/// headers, other fields.
const AROUND: u64 = 64 * 1024;

/// Bytes that are read on without a pause, and so are held at once.
const BURST: usize = 64 * 1024;

/// Bytes before a part's content: what stands before the first boundary, and part headers.
const MAX_HEADERS: usize = 2 * BURST;

/// Takes the form that the row of the table announces, with files of at most `limit` bytes in all.
/// Only its media type is looked at (415); what follows is up to whoever reads it.
///
/// # Panics
/// When the row has no multipart body: a defect that the start shows.
pub fn multipart(
    endpoint: &Endpoint,
    limit: u64,
) -> impl Filter<Extract = (Form,), Error = Rejection> + Clone + Send + Sync + 'static + use<> {
    assert_eq!(endpoint.body, Body::Multipart, "{} reads no form", endpoint.path);
    warp::header::headers_cloned().and(warp::body::stream()).and_then(
        move |headers: HeaderMap, body| async move {
            let boundary = boundary(&headers)
                .ok_or_else(|| Error::unsupported_media("multipart/form-data with a boundary"));
            let boundary = boundary?;
            check_encoding(&headers)?;
            Ok::<_, Rejection>(Form::new(body, boundary, limit, 0))
        },
    )
}

/// The boundary that `Content-Type` names, of 1 to 70 characters (RFC 2046 §5.1.1).
pub(super) fn boundary(headers: &HeaderMap) -> Option<String> {
    let given = media_type(headers)?;
    let given = Parameterised::parse(&given);
    let boundary = given.get("boundary").filter(|_| given.word.eq_ignore_ascii_case(FORM))?;
    let fits = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let is_valid = (1..=70).contains(&boundary.len()) && boundary.bytes().all(fits);
    (is_valid && !boundary.ends_with(' ')).then(|| boundary.to_owned())
}

/// A form whose parts are read one after the other.
pub struct Form {
    parts: multer::Multipart<'static>,
    source: Arc<Mutex<Source>>,
}

/// A part of a form.
pub struct Part {
    field: multer::Field<'static>,
    name: Option<String>,
    filename: Option<String>,
}

impl Form {
    /// `fields` is how many bytes there may be in fields that are read.
    pub(super) fn new<S, B>(body: S, boundary: String, limit: u64, fields: u64) -> Self
    where
        S: Stream<Item = Result<B, warp::Error>> + Send + 'static,
        B: Buf,
    {
        let body = body.map(|piece| piece.map(|mut piece| piece.copy_to_bytes(piece.remaining())));
        let most = limit + fields + AROUND;
        let part_headers = PartHeaders::new(&boundary);
        let body = Box::pin(body);
        let source = Source { body, part_headers, limit, most, read: 0, burst: 0, headers: None };
        let source = Arc::new(Mutex::new(source));
        let parts = multer::Multipart::new(Feed(source.clone()), boundary);
        Self { parts, source }
    }

    /// The next part; the one before must have been read to its end.
    ///
    /// # Errors
    /// `malformed_multipart`; `payload_too_large`.
    pub async fn next_part(&mut self) -> Result<Option<Part>> {
        self.source.lock().headers = Some(0);
        let field = self.parts.next_field().await;
        self.source.lock().headers = None;
        let field = field.map_err(unreadable)?;
        field.map(Part::new).transpose()
    }

    /// Reads what is left of the body, up to [`EXCESS`] over its limit, so that a client which
    /// writes before it reads gets its answer; and says what the form came to: `outcome`, unless
    /// the body was too large or broke off, which come first.
    ///
    /// # Errors
    /// `payload_too_large`; `malformed_multipart` if the body breaks off; or that of `outcome`.
    pub async fn drain<T>(self, outcome: Result<T>) -> Result<T> {
        let mut feed = Feed(self.source);
        let mut rest = Ok(());
        while rest.as_ref().err().is_none_or(|error: &Error| error.kind() == Kind::TooLarge) {
            match feed.next().await {
                None => break,
                Some(Ok(_)) => {}
                Some(Err(error)) => rest = rest.and(Err(error)),
            }
            let source = feed.0.lock();
            if source.read > source.most.max(source.limit + EXCESS) {
                break;
            }
        }
        match outcome {
            Err(error) if error.kind() == Kind::TooLarge => Err(error),
            outcome => rest.and(outcome),
        }
    }
}

impl Part {
    /// A part by its `Content-Disposition` (RFC 7578 §4.2, RFC 2183).
    fn new(field: multer::Field<'static>) -> Result<Self> {
        let disposition = field.headers().get(CONTENT_DISPOSITION);
        let disposition = std::str::from_utf8(disposition.map_or(b"", HeaderValue::as_bytes));
        let disposition = disposition.map_err(|_| {
            Error::malformed(
                "malformed_multipart",
                "malformed multipart/form-data body: field name is not valid UTF-8",
            )
        })?;
        let disposition = Parameterised::parse(disposition);
        let text = |name| disposition.get(name).map(str::to_owned);
        // RFC 7578 does not want the extended form, and well-known clients send it.
        let extended = disposition.get("filename*").and_then(extended);
        let (name, filename) = (text("name"), extended.or_else(|| text("filename")));
        Ok(Self { field, name, filename })
    }

    /// The name of the field.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The client's name for the file: `filename*` (RFC 8187) comes first.
    #[must_use]
    pub fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// The part as text, `most` bytes of it at most.
    ///
    /// # Errors
    /// `malformed_multipart`, also for what is not UTF-8; `payload_too_large`.
    pub async fn text(mut self, most: u64) -> Result<String> {
        let mut text = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if (text.len() + bytes.len()) as u64 > most {
                return Err(Error::too_large(most));
            }
            text.extend_from_slice(&bytes);
        }
        let text = String::from_utf8(text.into());
        text.map_err(|_| {
            Error::malformed(
                "malformed_multipart",
                "malformed multipart/form-data body: field is not valid UTF-8",
            )
        })
    }

    /// The next bytes of the part; `None` at its end.
    ///
    /// # Errors
    /// `malformed_multipart`; `payload_too_large`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.field.chunk().await.map_err(unreadable)
    }
}

/// What `UTF-8'language'…` says, of `filename*`.
fn extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let text = percent_decode_str(text).decode_utf8().ok()?;
    charset.eq_ignore_ascii_case("utf-8").then(|| text.into_owned())
}

/// The body, counted.
struct Source {
    body: Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>,
    part_headers: PartHeaders,
    /// Most bytes of files.
    limit: u64,
    /// Most bytes of the whole body.
    most: u64,
    /// Bytes of the whole body so far.
    read: u64,
    /// Bytes since the last pause.
    burst: usize,
    /// Bytes since the search for the next part began, while it goes on.
    headers: Option<usize>,
}

impl Source {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        // The parser reads on as long as there is anything, and hands out what it has only then.
        if self.burst >= BURST {
            self.burst = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.headers.is_some_and(|read| read >= MAX_HEADERS) {
            let detail = "malformed multipart/form-data body: part boundary expected";
            return Poll::Ready(Some(Err(Error::malformed("malformed_multipart", detail))));
        }
        let piece = self.body.as_mut().poll_next(context);
        if piece.is_pending() {
            self.burst = 0;
        }
        Poll::Ready(match ready!(piece) {
            None => None,
            Some(Err(error)) => Some(Err(Error::malformed(
                "malformed_multipart",
                "incomplete body: it ended early",
            )
            .with_source(error))),
            Some(Ok(piece)) => {
                self.read += piece.len() as u64;
                self.burst += piece.len();
                self.headers = self.headers.map(|read| read + piece.len());
                if self.read > self.most {
                    Some(Err(Error::too_large(self.limit)))
                } else {
                    Some(Ok(self.part_headers.clean(piece)))
                }
            }
        })
    }
}

/// The source as the parser reads it, while the form keeps a hand on it.
struct Feed(Arc<Mutex<Source>>);

impl Stream for Feed {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.lock().poll(context)
    }
}

/// The parser's error as ours: the source's own, or broken framing.
fn unreadable(error: multer::Error) -> Error {
    if let multer::Error::StreamReadFailed(cause) = &error
        && let Some(ours) = cause.downcast_ref::<Error>()
    {
        return ours.clone();
    }
    Error::malformed("malformed_multipart", "malformed multipart/form-data body").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::endpoint::Class;

    const ROW: Endpoint = Endpoint::post("/x", Class::Upload).multipart();
    const TYPE: &str = "multipart/form-data; boundary=x";

    /// Each part as "name:filename:bytes", or the code of the error.
    async fn read(content_type: &str, body: &[u8]) -> Result<Vec<String>, &'static str> {
        let request = warp::test::request().method("POST").header("content-type", content_type);
        let form = request.body(body).filter(&multipart(&ROW, 100)).await;
        let mut form = form.map_err(|no| no.find::<Error>().expect("one of ours").code())?;
        let mut parts = Vec::new();
        let outcome = async {
            while let Some(mut part) = form.next_part().await? {
                let mut length = 0;
                while let Some(bytes) = part.chunk().await? {
                    length += bytes.len();
                }
                let name = part.name().unwrap_or("-");
                let filename = part.filename().unwrap_or("-");
                parts.push(format!("{name}:{filename}:{length}"));
            }
            Ok(())
        };
        let outcome = outcome.await;
        form.drain(outcome).await.map_err(|error: Error| error.code())?;
        Ok(parts)
    }

    #[tokio::test]
    async fn the_media_type_comes_first() {
        for other in [
            "application/json",
            "multipart/mixed; boundary=x",
            "multipart/form-data",
            "multipart/form-data; boundary=\"\"",
            &format!("multipart/form-data; boundary={}", "x".repeat(71)),
        ] {
            assert_eq!(read(other, b"").await, Err("unsupported_media_type"), "{other}");
        }
    }

    #[tokio::test]
    async fn parts_come_one_after_the_other() {
        let body =
            b"hello\r\n--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"b.txt\"\r\n\r\n\r\n22\r\n\
            --x--\r\ngoodbye";
        let parts = ["a:-:1".to_owned(), "file:b.txt:4".to_owned()];
        assert_eq!(read(TYPE, body).await.as_deref(), Ok(&parts[..]));
        assert_eq!(read(TYPE, b"--x--").await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn the_boundary_is_found_however_it_is_written() {
        let body = b"--x y\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--x y--";
        for content_type in [
            "multipart/form-data; boundary=\"x y\"",
            "Multipart/Form-Data;charset=utf-8;BOUNDARY=\"x y\"",
            " multipart/form-data ; note=\"; boundary=z\" ; boundary = \"x y\" ;",
            "multipart/form-data; boundary=x y",
        ] {
            let parts = read(content_type, body).await;
            assert_eq!(parts.as_deref(), Ok(&["a:-:1".to_owned()][..]), "{content_type}");
        }
    }

    #[tokio::test]
    async fn names_are_read_as_rfc_7578_says() {
        for (disposition, expected) in [
            ("form-data; name=\"file\"; filename=\"a b.txt\"", "file:a b.txt"),
            ("form-data; NAME=\"file\"; FileName=\"b.txt\"", "file:b.txt"),
            ("form-data; filename=\"a; name=b.txt\"; name=\"file\"", "file:a; name=b.txt"),
            ("FORM-DATA;name=file;filename=b.txt", "file:b.txt"),
            (r#"form-data; name="file"; filename="a\"b\\c.txt""#, r#"file:a"b\c.txt"#),
            (r#"form-data; name="file"; filename="C:\dir\c.txt""#, r"file:C:\dir\c.txt"),
            ("form-data; name=\"file\"; filename=\"a\x01\x1b\x7fb\0.txt\"", "file:ab.txt"),
            ("form-data;\r\n name=\"file\";\r\n\tfilename=\"b.txt\"", "file:b.txt"),
            ("form-data; name=\"file\"; filename=\"_\"; filename*=utf-8'en'%C3%A4%20b", "file:ä b"),
            ("form-data; name=file; FILENAME*=UTF-8''%e2%82%ac; filename=x", "file:€"),
            ("form-data; name=\"file\"; filename=\"_\"; filename*=latin1''a", "file:_"),
            ("form-data; name=\"file\"; filename=\"_\"; filename*=utf-8''%ff", "file:_"),
            ("form-data; name=\"file\"; filename=\"a%22.txt\"", "file:a%22.txt"),
            (
                "form-data; filename=\"filename*=utf-8''a\"; name=\"file\"",
                "file:filename*=utf-8''a",
            ),
            ("form-data; xname=\"a\"", "-:-"),
        ] {
            let head = format!("content-disposition: {disposition}\r\n\r\n");
            let body = ["--x\r\n", &head, "\x01\r\n--x--"].concat();
            let parts = read(TYPE, body.as_bytes()).await;
            assert_eq!(parts, Ok(vec![format!("{expected}:1")]), "{disposition:?}");
        }
        let invalid = b"--x\r\ncontent-disposition: form-data; name=\"\xff\"\r\n\r\n\r\n--x--";
        assert_eq!(read(TYPE, invalid).await, Err("malformed_multipart"));
    }

    #[tokio::test]
    async fn a_form_that_is_encoded_is_415() {
        let request = warp::test::request().method("POST").header("content-type", TYPE);
        let request = request.header("content-encoding", "gzip").body("--x--");
        let refused = request.filter(&multipart(&ROW, 100)).await.err().expect("refused");
        assert_eq!(refused.find::<Error>().map(Error::kind), Some(Kind::UnsupportedEncoding));
    }

    #[tokio::test]
    async fn broken_framing_is_malformed() {
        let part = "--x\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nabc";
        let endless = vec![b'x'; 150_000];
        for body in [
            b"".as_slice(),
            b"abc",
            b"--x",
            b"--y\r\n\r\n\r\n--y--",
            part.as_bytes(),
            format!("{part}\r\n--x").as_bytes(),
            format!("{part}\r\n--x\r\nno header\r\n\r\n\r\n--x--").as_bytes(),
        ] {
            assert_eq!(read(TYPE, body).await, Err("malformed_multipart"), "{body:?}");
        }
        assert!(read(TYPE, &endless).await.is_err());
    }

    #[tokio::test]
    async fn the_whole_form_is_counted() {
        let part = b"--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n".as_slice();
        let around = usize::try_from(AROUND).expect("small") + 100;
        let of = |length| [part, &vec![b'a'; length], b"\r\n--x--"].concat();
        let frame = of(0).len();
        assert!(read(TYPE, &of(around - frame)).await.is_ok());
        assert_eq!(read(TYPE, &of(around - frame + 1)).await, Err("payload_too_large"));
        let after = [of(0), vec![b'a'; around]].concat();
        assert_eq!(read(TYPE, &after).await, Err("payload_too_large"));
    }

    /// A form is read to its end or refused; no part is larger than the body.
    #[test]
    fn fuzz_multipart() {
        let words = [
            "\r\n",
            "--x",
            "--x--",
            "\r\n--x\r\n",
            "content-disposition: form-data; ",
            "name=\"a\"",
            "; filename=\"b\"",
            "; filename*=utf-8''%c3%a4",
            "content-type: ",
            "\r\n\r\n",
            "\"",
            "\\\"",
            ";",
            "=",
            "%ff",
            "\0",
            "NAME=",
            "boundary=",
            "content-transfer-encoding: base64\r\n",
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        crate::fuzzing::fuzz("multipart", &words, |input| {
            match runtime.block_on(read(TYPE, input)) {
                Ok(parts) => {
                    let lengths = parts.iter().filter_map(|part| part.rsplit(':').next());
                    let lengths = lengths.map(|length| length.parse::<usize>().expect("a length"));
                    assert!(lengths.sum::<usize>() <= input.len());
                }
                Err(code) => assert!(["malformed_multipart", "payload_too_large"].contains(&code)),
            }
        });
    }
}
