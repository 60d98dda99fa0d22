//! The body of a request, and the rest of it that the application leaves unread.
//!
//! An answer often comes before the body's end: no token, no such path, too large. Over HTTP/1 the
//! next request stands behind that rest. Over h2 a stream that nobody reads on is reset, and the
//! reset costs some clients the answer. docs/decisions/0022 says how each case is treated.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::timeout;

/// The longest rest that is read before an answer over HTTP/1: the longest JSON body, and the
/// mebibyte that is read past a body's limit.
const REST: u64 = (128 << 10) + (1 << 20);

/// How long a client may take to send that rest.
const REST_TIME: Duration = Duration::from_secs(5);

/// The longest rest that is read over h2, before an answer and once more after it: three times the
/// longest body of any route.
const STREAM_REST: u64 = 16 << 20;

/// How long a client may take after the answer.
const STREAM_REST_TIME: Duration = Duration::from_secs(30);

/// The body of a request, as the application reads it.
pub struct RequestBody {
    /// Taken when the body is dropped.
    body: Option<Incoming>,
    is_touched: bool,
    /// Where the rest goes, until it is known what it is.
    left: Option<Arc<Mutex<Left>>>,
}

/// The rest of a body that the application left.
#[derive(Default)]
pub(super) enum Left {
    /// The application holds the body and has not read from it.
    #[default]
    Held,
    /// The application reads the body.
    Awaited,
    /// Nothing: the body was read to its end.
    Nothing,
    /// The body broke off or is malformed.
    Broken,
    /// A rest that nobody has read.
    Rest(Rest),
}

/// The unread rest of a body.
pub(super) struct Rest {
    body: Incoming,
    /// Whether the application has read anything, so that hyper has asked for the body.
    is_touched: bool,
}

/// Where a body's rest comes back to.
pub(super) struct Upload {
    left: Option<Arc<Mutex<Left>>>,
    expects_continue: bool,
}

/// Tells how far a request's body has come while the application works on it.
#[derive(Clone)]
pub(super) struct Arrival(Option<Arc<Mutex<Left>>>);

impl Arrival {
    /// Whether the application waits for the client to send more.
    pub fn is_awaited(&self) -> bool {
        self.0.as_deref().is_some_and(|left| matches!(*lock(left), Left::Awaited))
    }
}

fn lock(left: &Mutex<Left>) -> MutexGuard<'_, Left> {
    left.lock()
}

impl Upload {
    /// Hands out a request's body for the application.
    pub fn begin(headers: &HeaderMap, body: Incoming) -> (Self, RequestBody) {
        let left = (!body.is_end_stream()).then(Arc::default);
        let expect = headers.get(EXPECT).map(http::HeaderValue::as_bytes);
        let expects_continue =
            expect.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
        let body = RequestBody { body: Some(body), is_touched: false, left: left.clone() };
        (Self { left, expects_continue }, body)
    }

    pub fn arrival(&self) -> Arrival {
        Arrival(self.left.clone())
    }

    /// The rest that the application has left, once it has answered.
    fn left(&self) -> Left {
        self.left.as_deref().map_or(Left::Nothing, |left| mem::take(&mut *lock(left)))
    }

    /// Reads a short rest before an answer over HTTP/1, if the client was in time so far. Returns
    /// whether the connection can go on to the next request.
    ///
    /// A client that waits for `100 Continue` is not asked for a body that nobody wants. It may
    /// send the body all the same or the next request instead, and nothing tells the two apart.
    pub async fn settle(self, in_time: bool) -> bool {
        match self.left() {
            Left::Nothing => true,
            Left::Held | Left::Awaited | Left::Broken => false,
            Left::Rest(mut rest) => {
                in_time && self.wants(&rest, REST) && rest.discard(REST, REST_TIME).await
            }
        }
    }

    /// Reads a rest over h2, so that the stream ends without a reset. What does not come before
    /// the answer is read after it: a client that has its answer may go on to the next request
    /// while it still sends this one, which some do badly.
    pub async fn settle_stream(self, in_time: bool) {
        let Left::Rest(mut rest) = self.left() else { return };
        if in_time && self.wants(&rest, STREAM_REST) && rest.discard(STREAM_REST, REST_TIME).await {
            return;
        }
        tokio::spawn(async move { rest.discard(STREAM_REST, STREAM_REST_TIME).await });
    }

    /// Whether a rest is worth waiting for. A client that waits for `100 Continue` sends none.
    fn wants(&self, rest: &Rest, most: u64) -> bool {
        let is_asked_for = rest.is_touched || !self.expects_continue;
        is_asked_for && rest.body.size_hint().lower() <= most
    }
}

impl Rest {
    /// Reads `most` bytes at most, in `time` at most. Returns whether that was the whole rest.
    async fn discard(&mut self, most: u64, time: Duration) -> bool {
        let read = async {
            let mut left = most;
            while let Some(frame) = self.body.frame().await {
                let Ok(frame) = frame else { return false };
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => return false,
                }
            }
            true
        };
        timeout(time, read).await.unwrap_or(false)
    }
}

impl RequestBody {
    fn leave(&mut self, what: Left) {
        if let Some(left) = self.left.take() {
            *lock(&left) = what;
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if !mem::replace(&mut self.is_touched, true)
            && let Some(left) = &self.left
        {
            *lock(left) = Left::Awaited;
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.leave(Left::Broken),
            None => self.leave(Left::Nothing),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let left = match self.body.take() {
            Some(body) if !body.is_end_stream() => {
                Left::Rest(Rest { body, is_touched: self.is_touched })
            }
            _ => Left::Nothing,
        };
        self.leave(left);
    }
}
