//! Between hyper and the application: the peer's address in, the pulse on both ways, answers in
//! slices.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tower::{Service, ServiceExt};

use super::Peer;
use super::places::{Activity, Busy};
use super::pulse::{Exchange, Framing, Pulse};
use super::upload::{RequestBody, Upload};

/// The most of an answer that is handed to hyper at once. h2 queues what it is handed, whether or
/// not the client reads.
const SLICE: usize = 16 << 10;

/// A service that can stand behind a listener.
///
/// Implemented for every tower service of this shape; it only saves repeating the bounds.
pub trait Application:
    Service<
        Request<RequestBody>,
        Response = Response<Self::Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;
}

impl<S, B> Application for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Body = B;
}

/// The application as one connection calls it.
pub(super) struct Connected<S> {
    pub service: S,
    pub peer: SocketAddr,
    pub pulse: Arc<Pulse>,
    pub activity: Activity,
}

impl<S: Application> hyper::service::Service<Request<Incoming>> for Connected<S> {
    type Response = Response<Answer<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut busy = self.activity.begin();
        let mut exchange = self.pulse.begin();
        let (mut head, body) = request.into_parts();
        head.extensions.insert(Peer(self.peer));
        let (upload, body) = Upload::begin(&head.headers, body);
        head.extensions.insert(upload.arrival());
        let answer = self.service.clone().oneshot(Request::from_parts(head, body));
        let framing = self.pulse.framing();
        Box::pin(async move {
            let mut response = answer.await?;
            // A client that was too slow with its body gets no more time for it.
            let in_time = response.status() != StatusCode::REQUEST_TIMEOUT;
            match framing {
                Framing::Frames => upload.settle_stream(in_time).await,
                Framing::Heads => {
                    if !upload.settle(in_time).await {
                        exchange.leaves_unread();
                        close(&mut response);
                    }
                }
            }
            exchange.answer();
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                busy.upgrade();
            }
            let under_way = Arc::new(UnderWay { exchange, _busy: busy });
            Ok(response.map(|body| Answer { body: Box::pin(body), rest: Bytes::new(), under_way }))
        })
    }
}

/// Announces that the connection ends with this answer (RFC 9112, 9.6).
fn close<B>(response: &mut Response<B>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().append(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// A request that is answered and whose answer has not left completely.
struct UnderWay {
    exchange: Exchange,
    _busy: Busy,
}

/// A body that notes when it moves and when it ends, and is handed over in slices.
///
/// The request is under way until its last slice has left for the client's socket: a slice that
/// h2 keeps for a client that does not read still counts.
pub(super) struct Answer<B> {
    body: Pin<Box<B>>,
    /// The rest of the latest frame, which is not handed over yet.
    rest: Bytes,
    under_way: Arc<UnderWay>,
}

/// Bytes that hyper has, and the request that they answer.
struct Slice {
    bytes: Bytes,
    _under_way: Arc<UnderWay>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<B> Answer<B> {
    /// The next of what is left of the latest frame.
    fn slice(&mut self) -> Bytes {
        let bytes = self.rest.split_to(self.rest.len().min(SLICE));
        self.under_way.exchange.handed_over(bytes.len());
        Bytes::from_owner(Slice { bytes, _under_way: Arc::clone(&self.under_way) })
    }
}

impl<B: Body<Data = Bytes>> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.under_way.exchange.wanted();
        if self.rest.is_empty() {
            let frame = self.body.as_mut().poll_frame(cx);
            if frame.is_pending() {
                self.under_way.exchange.waits();
                return Poll::Pending;
            }
            self.under_way.exchange.moved();
            match frame {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return ended,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.slice()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
