//! CORS (Fetch standard) for the origins that the settings name, and for nobody else.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use super::edge::REQUEST_ID;

/// Puts CORS headers on answers, and answers preflights. tower-http takes every OPTIONS for a
/// preflight; the others are the routes' to answer, with `Allow`.
#[derive(Clone)]
pub(super) struct CrossOrigin<S> {
    plain: S,
    /// `None` where no origin is named: then there are no CORS headers at all.
    cors: Option<(CorsLayer, Cors<S>)>,
}

impl<S: Clone> CrossOrigin<S> {
    pub fn new(inner: S, origins: Vec<HeaderValue>) -> Self {
        let cors = (!origins.is_empty()).then(|| {
            let layer = layer(origins);
            (layer.clone(), layer.layer(inner.clone()))
        });
        Self { plain: inner, cors }
    }
}

fn layer(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            HeaderName::from_static("last-event-id"),
            REQUEST_ID,
        ])
        .expose_headers([
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
        match &self.cors {
            Some((layer, _)) if is_preflight(&request) => {
                let (layer, plain) = (layer.clone(), self.plain.clone());
                Box::pin(preflight(layer, plain, request))
            }
            Some((_, cors)) if request.method() != Method::OPTIONS => {
                Box::pin(cors.clone().oneshot(request))
            }
            _ => Box::pin(self.plain.clone().oneshot(request)),
        }
    }
}

/// The routes' own answer, with `Allow`, and what browsers ask for beside it.
async fn preflight<S, B, R>(
    layer: CorsLayer,
    plain: S,
    request: Request<B>,
) -> Result<Response<R>, Infallible>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    let (parts, body) = request.into_parts();
    let question = Request::from_parts(parts.clone(), ());
    let mut answer = plain.oneshot(Request::from_parts(parts, body)).await?;
    let empty = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
    let permission: Response<()> = layer.layer(empty).oneshot(question).await?;
    let (permission, ()) = permission.into_parts();
    answer.headers_mut().extend(permission.headers);
    Ok(answer)
}
