//! GET /healthz and GET /readyz: is the process alive, can it take requests.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{Found, json};
use crate::cache::Redis;
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::Guards;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::lifecycle::Shutdown;
use crate::repositories::store::Store;

const HEALTHZ: Endpoint = Endpoint::get("/healthz", Class::Read).public().unlimited();
const READYZ: Endpoint = Endpoint::get("/readyz", Class::Read).public().unlimited();

pub(super) const ENDPOINTS: &[Endpoint] = &[HEALTHZ, READYZ];

/// What readiness asks.
#[derive(Debug, Clone)]
pub struct Health {
    /// MongoDB: without it nothing works.
    pub store: Store,
    /// Redis: without it everything works, slower.
    pub redis: Redis,
    /// Whether the process is leaving.
    pub shutdown: Shutdown,
}

#[derive(Serialize, ToSchema)]
struct Alive {
    /// Always `ok`.
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Ready {
    /// Of the whole.
    #[schema(value_type = String, pattern = "^(ok|degraded|unavailable)$", example = "ok")]
    status: &'static str,
    /// `ok` or `down`.
    #[schema(value_type = String, pattern = "^(ok|down)$", example = "ok")]
    mongodb: &'static str,
    /// `ok` or `down`.
    #[schema(value_type = String, pattern = "^(ok|down)$", example = "ok")]
    redis: &'static str,
}

pub(super) fn routes(guards: &Guards, health: &Health) -> BoxedFilter<(Response,)> {
    let healthz = guards.public::<()>(&HEALTHZ).map(|(), _| respond(Ok(Found(ALIVE)))).boxed();
    let readyz = guards.public::<()>(&READYZ).and(with(health)).then(readyz).boxed();
    any_of([healthz, readyz])
}

pub(super) fn describe(docs: &mut Docs) {
    docs.tag("Operations", "For those who run it.");
    docs.route(&HEALTHZ, "healthz", "Is the process alive?").gives::<Alive>(200, "It is.");
    docs.route(&READYZ, "readyz", "Can it take requests?")
        .gives::<Ready>(200, "It can; `degraded` without Redis.")
        .gives::<Ready>(503, "MongoDB cannot be used, or the instance is leaving.");
}

const ALIVE: Alive = Alive { status: "ok" };

async fn readyz((): (), _client: Client, health: Health) -> Response {
    let (mongodb, redis) = tokio::join!(health.store.is_up(), health.redis.is_up());
    let leaving = health.shutdown.is_draining();
    let (code, status) = match (mongodb && !leaving, redis) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (true, false) => (StatusCode::OK, "degraded"),
        (true, true) => (StatusCode::OK, "ok"),
    };
    let word = |up| if up { "ok" } else { "down" };
    json(code, &Ready { status, mongodb: word(mongodb), redis: word(redis) })
}
