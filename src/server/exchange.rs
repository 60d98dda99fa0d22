//! Between hyper and the application: the peer's address in, the pulse on both ways.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, StatusCode, header::CONNECTION};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tower::{Service, ServiceExt};

use super::{
    Peer,
    pulse::{Exchange, Framing, Pulse},
    upload::{RequestBody, Upload},
};

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
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
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
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Body = B;
}

/// The application as one connection calls it.
pub(super) struct Connected<S> {
    pub service: S,
    pub peer: SocketAddr,
    pub pulse: Arc<Pulse>,
}

impl<S: Application> hyper::service::Service<Request<Incoming>> for Connected<S> {
    type Response = Response<Answer<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut exchange = self.pulse.begin();
        let (mut head, body) = request.into_parts();
        head.extensions.insert(Peer(self.peer));
        let (upload, body) = Upload::begin(&head.headers, body);
        let answer = self.service.clone().oneshot(Request::from_parts(head, body));
        let framing = self.pulse.framing();
        Box::pin(async move {
            let mut response = answer.await?;
            match framing {
                Framing::Frames => upload.settle_stream(),
                // A client that was too slow with its body gets no more time for it.
                Framing::Heads => {
                    let in_time = response.status() != StatusCode::REQUEST_TIMEOUT;
                    if !upload.settle(in_time).await {
                        exchange.leaves_unread();
                        close(&mut response);
                    }
                }
            }
            exchange.answer();
            Ok(response.map(|body| Answer { body: Box::pin(body), exchange }))
        })
    }
}

/// Announces that the connection ends with this answer (RFC 9112, 9.6).
fn close<B>(response: &mut Response<B>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// A body that notes when it moves and when it ends.
pub(super) struct Answer<B> {
    body: Pin<Box<B>>,
    exchange: Exchange,
}

impl<B: Body> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = self.body.as_mut().poll_frame(cx);
        if frame.is_pending() {
            self.exchange.waits();
        } else {
            self.exchange.moved();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
