//! CORS (Fetch standard) for the origins that the settings name, and for nobody else.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Cors, CorsLayer};

use super::head::REQUEST_ID;

/// Puts CORS headers on answers to the origins that are named, and answers their preflights.
/// tower-http takes every OPTIONS for a preflight; the others are the routes' to answer, with
/// `Allow`.
#[derive(Clone)]
pub(super) struct CrossOrigin<S> {
    plain: S,
    cors: Cors<S>,
    layer: CorsLayer,
    /// None: then there are no CORS headers at all.
    origins: Arc<[HeaderValue]>,
}

impl<S: Clone> CrossOrigin<S> {
    pub fn new(inner: S, origins: Vec<HeaderValue>) -> Self {
        let layer = layer(origins.clone());
        Self { cors: layer.layer(inner.clone()), layer, plain: inner, origins: origins.into() }
    }
}

/// A page may send any header, and credentials: the service has no cookies, and a token is in a
/// header that the page itself writes.
fn layer(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            header::ACCEPT_ENCODING,
            header::ALLOW,
            header::CONTENT_DISPOSITION,
            header::CONTENT_RANGE,
            header::ETAG,
            header::WWW_AUTHENTICATE,
            REQUEST_ID,
            header::RETRY_AFTER,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            HeaderName::from_static("idempotent-replayed"),
        ])
        .max_age(Duration::from_hours(1))
}

/// Whether a browser asks what it may send (Fetch standard, CORS-preflight request).
fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl<S, B, R> Service<Request<B>> for CrossOrigin<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.origins.is_empty() {
            return Box::pin(self.plain.clone().oneshot(request));
        }
        let origin = request.headers().get(header::ORIGIN);
        if !origin.is_some_and(|origin| self.origins.contains(origin)) {
            return Box::pin(without_permission(self.plain.clone(), request));
        }
        if is_preflight(&request) {
            return Box::pin(preflight(self.layer.clone(), self.plain.clone(), request));
        }
        if request.method() == Method::OPTIONS {
            return Box::pin(self.plain.clone().oneshot(request));
        }
        Box::pin(self.cors.clone().oneshot(request))
    }
}

/// The routes' own answer, which a cache must not give to an origin that is named.
async fn without_permission<S, B, R>(
    plain: S,
    request: Request<B>,
) -> Result<Response<R>, Infallible>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    let mut answer = plain.oneshot(request).await?;
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    Ok(answer)
}

/// The routes' own answer, with `Allow`, and what browsers ask for beside it. A request that will
/// be refused (404, 405) is permitted too: a page that may not send it cannot tell the refusal
/// from a lost network.
async fn preflight<S, B, R>(
    layer: CorsLayer,
    plain: S,
    request: Request<B>,
) -> Result<Response<R>, Infallible>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    R: Default,
{
    let (parts, body) = request.into_parts();
    let question = Request::from_parts(parts.clone(), ());
    let mut answer = plain.oneshot(Request::from_parts(parts, body)).await?;
    let empty = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
    let permission: Response<()> = layer.layer(empty).oneshot(question).await?;
    let (permission, ()) = permission.into_parts();
    if answer.status() != StatusCode::NO_CONTENT {
        answer = Response::new(R::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
    }
    let allow = answer.headers().get(header::ALLOW).cloned();
    // The method that was asked about; a cache knows more from all methods of the route.
    let asked = permission.headers.get(header::ACCESS_CONTROL_ALLOW_METHODS).cloned();
    answer.headers_mut().extend(permission.headers);
    if let (Some(allow), Some(asked)) = (allow, asked)
        && allow
            .as_bytes()
            .split(|byte| b", ".contains(byte))
            .any(|method| method == asked.as_bytes())
    {
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
    }
    Ok(answer)
}
