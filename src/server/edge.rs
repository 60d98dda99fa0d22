//! The outermost layers: what every request gets before the routes, and every answer after them.

use std::convert::Infallible;
use std::error::Error as _;
use std::fmt::Write as _;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;
use warp::filters::BoxedFilter;

use super::Peer;
use super::cross_origin::CrossOrigin;
use super::detached::detached;
use super::head::{self, REQUEST_ID};
use super::upload::Arrival;
use crate::domain::clients::Subject;
use crate::error::{Error, Kind};
use crate::filters::context::RequestContext;
use crate::filters::problem;
use crate::metrics::Metrics;
use crate::services::budget::{UnreadAnswers, held};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type AnswerBody = BoxBody<Bytes, BoxError>;
type Answer = Response<AnswerBody>;
type Pending<R> = Pin<Box<dyn Future<Output = Result<R, Infallible>> + Send>>;

/// JSON smaller than this is sent as it is.
const COMPRESS_ABOVE: u64 = 1024;

/// An answer of so many bytes is not counted: it takes as much as the request that asked for it.
const UNCOUNTED: u64 = 4096;

/// What every answer carries unless its route says otherwise. Nothing here is meant to be
/// rendered, so nothing may be loaded, framed or sniffed.
const EVERYWHERE: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// The routes behind compression, CORS and the outermost layer, ready to be served.
pub fn application<B>(
    routes: BoxedFilter<(warp::reply::Response,)>,
    origins: Vec<HeaderValue>,
    request_timeout: Duration,
    metrics: &Metrics,
    unread: &Arc<UnreadAnswers>,
) -> impl Service<Request<B>, Response = Answer, Error = Infallible, Future: Send + 'static>
+ Clone
+ Send
+ 'static
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Sync + 'static,
{
    let inner = Inner { routes, request_timeout };
    let compressed = CompressionLayer::new().compress_when(Compressible).layer(inner);
    let (metrics, unread) = (metrics.clone(), unread.clone());
    Edge { inner: CrossOrigin::new(compressed, origins), metrics, unread }
}

/// JSON that is there as a whole: a compressor keeps megabytes for as long as it has to go on.
#[derive(Clone, Copy)]
struct Compressible;

impl Predicate for Compressible {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let size = response.body().size_hint().exact();
        content_type.is_some_and(|value| value == "application/json")
            && size.is_some_and(|size| size > COMPRESS_ABOVE)
    }
}

/// The routes, with refused heads kept from them, a panic caught and a time limit kept.
#[derive(Clone)]
struct Inner {
    routes: BoxedFilter<(warp::reply::Response,)>,
    request_timeout: Duration,
}

impl<B> Service<Request<B>> for Inner
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = warp::reply::Response;
    type Error = Infallible;
    type Future = Pending<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(error) = head::refusal(&request) {
            return Box::pin(async { Ok(problem::response(error)) });
        }
        let Self { routes, request_timeout } = self.clone();
        Box::pin(async move {
            let arrival = request.extensions().get::<Arrival>().cloned();
            let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
            let answer = AssertUnwindSafe(warp::service(routes).oneshot(request)).catch_unwind();
            let answer = detached(is_read, answer);
            Ok(match tokio::time::timeout(request_timeout, answer).await {
                Ok(Some(Ok(Ok(response)))) => response,
                Ok(None) => {
                    let late = Error::unavailable();
                    problem::response(late.with_source("the database did not answer in time"))
                }
                // The panic hook has logged where and what.
                Ok(Some(Err(_panic))) => problem::response(Error::internal("a handler panicked")),
                Err(_elapsed) => problem::response(too_late(arrival.as_ref())),
            })
        })
    }
}

/// The error of a request that was not answered within its time: the client's delay or ours.
fn too_late(arrival: Option<&Arrival>) -> Error {
    if arrival.is_some_and(Arrival::is_awaited) {
        return Error::timed_out();
    }
    Error::unavailable().with_source("the request was not answered in time")
}

/// Gives each request its context, and each answer its id, its headers and its problem document.
#[derive(Clone)]
struct Edge<S> {
    inner: S,
    metrics: Metrics,
    unread: Arc<UnreadAnswers>,
}

impl<S, B, R> Service<Request<B>> for Edge<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pending<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Self { inner, metrics, unread } = self.clone();
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        let is_head = request.method() == Method::HEAD;
        let context = Arc::new(RequestContext { is_head, ..RequestContext::new(peer, given) });
        request.extensions_mut().insert(context.clone());
        let line = LogLine::of(&request);
        if is_head {
            *request.method_mut() = Method::GET;
        }
        Box::pin(async move {
            let Ok(response) = inner.oneshot(request).await;
            let response = response.map(|body| body.map_err(Into::into).boxed());
            let response = counted(compressed(response).await, &context, &unread);
            let response = finish(response, &context);
            line.write(&response, &context, &metrics);
            Ok(if is_head { without_body(response) } else { response })
        })
    }
}

/// The answer with its body compressed to the end, so that nothing of the compressor stays while
/// the client reads.
async fn compressed(response: Answer) -> Answer {
    if !response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(piece)) => bytes.extend_from_slice(&piece),
            Ok(Err(_trailers)) => {}
            Err(error) => return problem_answer(Error::internal(error)),
        }
        // Some megabytes take their time.
        tokio::task::coop::consume_budget().await;
    }
    Response::from_parts(head, whole(bytes.freeze()))
}

/// The answer, counted among those that are not read until all of its bytes have left.
fn counted(response: Answer, context: &RequestContext, unread: &Arc<UnreadAnswers>) -> Answer {
    let size = response.body().size_hint().exact().filter(|size| *size > UNCOUNTED);
    let Some(length) = size.filter(|_| !context.is_head) else { return response };
    let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let address = || Subject::address(context.peer.unwrap_or(nobody));
    let subject = context.user.get().map_or_else(address, |user| Subject::Account(*user));
    let size = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
    let Some(share) = unread.try_acquire(subject, size) else {
        return problem_answer(Error::unavailable().with_source("too many unread answers"));
    };
    let share = Arc::new(share);
    let mut response = response;
    // The frames that are passed on do not say how many bytes follow.
    response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    response.map(|body| {
        body.map_frame(move |frame| frame.map_data(|bytes| held(bytes, share.clone()))).boxed()
    })
}

fn problem_answer(error: Error) -> Answer {
    problem::response(error).map(|body| body.map_err(Into::into).boxed())
}

fn whole(bytes: Bytes) -> AnswerBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn finish(mut response: Answer, context: &RequestContext) -> Answer {
    if let Some(error) = response.extensions().get::<Arc<Error>>().cloned() {
        *response.body_mut() = whole(problem::render(&error, &context.id).into());
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    let headers = response.headers_mut();
    for (name, value) in EVERYWHERE {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(charge) = context.charge.get() {
        charge.write(headers);
    }
    response
}

/// HEAD's answer: GET's headers, the length included (RFC 9110 §9.3.2), and nothing else.
fn without_body(mut response: Answer) -> Answer {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    response.map(|_| Empty::new().map_err(|never| match never {}).boxed())
}

/// What the log and the metrics say of one request. Never the query: it may hold a token.
struct LogLine {
    method: Method,
    path: String,
    began: tokio::time::Instant,
}

impl LogLine {
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path().to_owned();
        Self { method: request.method().clone(), path, began: tokio::time::Instant::now() }
    }

    fn write(&self, response: &Answer, context: &RequestContext, metrics: &Metrics) {
        let Self { method, path, began } = self;
        let took = began.elapsed();
        metrics.http.answered(method, context.route.get().copied(), response.status(), took);
        let ms = took.as_millis();
        let (status, request_id) = (response.status().as_u16(), &context.id);
        let user = context.user.get().map(tracing::field::display);
        let error = response.extensions().get::<Arc<Error>>();
        let code = error.map(|error| error.code());
        if let Some(error) =
            error.filter(|e| matches!(e.kind(), Kind::Internal | Kind::Unavailable))
        {
            let cause = causes(error);
            tracing::error!(event = "request", %method, path, status, ms, request_id, user, code, cause);
        } else {
            tracing::info!(event = "request", %method, path, status, ms, request_id, user, code);
        }
    }
}

fn causes(error: &Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, "{}{inner}", if text.is_empty() { "" } else { ": " });
        cause = inner.source();
    }
    text
}
