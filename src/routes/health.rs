//! GET /healthz and GET /readyz: is the process alive, can it take requests.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::any_of;
use super::openapi::Docs;
use super::reply::{OkJson, json};
use crate::admission::for_all;
use crate::cache::Redis;
use crate::filters::client::Client;
use crate::filters::endpoint::{Class, Endpoint};
use crate::filters::guards::Guards;
use crate::filters::problem::respond;
use crate::filters::with;
use crate::lifecycle::Shutdown;
use crate::store::Store;

const HEALTHZ: Endpoint = Endpoint::get("/healthz", Class::Read).public().unlimited();
const READYZ: Endpoint = Endpoint::get("/readyz", Class::Read).public().unlimited();

pub(super) const ENDPOINTS: &[Endpoint] = &[HEALTHZ, READYZ];

/// A store is asked no more often than this, however many ask.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// How long a store has to answer; it is asked for a second.
const STORE_TIMEOUT: Duration = Duration::from_millis(1100);

/// What readiness asks.
#[derive(Debug, Clone)]
pub struct Health {
    /// Without it nothing works.
    mongodb: (Store, Probe),
    /// Without it everything works, slower.
    redis: (Redis, Probe),
    shutdown: Shutdown,
}

impl Health {
    /// The readiness of an instance on these stores, until its stop begins.
    #[must_use]
    pub fn new(store: Store, redis: Redis, shutdown: Shutdown) -> Self {
        Self { mongodb: (store, Probe::default()), redis: (redis, Probe::default()), shutdown }
    }
}

/// The last answer to whether a store is up; cloning shares it.
#[derive(Debug, Clone, Default)]
struct Probe(Arc<Mutex<Option<(Instant, bool)>>>);

impl Probe {
    /// The last answer, or a new one when that is old. Those who come meanwhile share it.
    async fn ask(&self, is_up: impl Future<Output = bool> + Send + 'static) -> bool {
        let mut last = self.0.lock().await;
        if let Some((_, answer)) = last.filter(|(asked, _)| asked.elapsed() < MIN_INTERVAL) {
            return answer;
        }
        let asked = Instant::now();
        // A task of its own: a caller who goes away must not end it for all others.
        let answer = for_all(STORE_TIMEOUT, is_up).await.unwrap_or(false);
        *last = Some((asked, answer));
        answer
    }
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
    let healthz = guards.public::<()>(&HEALTHZ).map(|(), _| respond(Ok(OkJson(ALIVE)))).boxed();
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
    let Health { mongodb: (store, mongodb), redis: (cache, redis), .. } = health.clone();
    let (mongodb, redis) = tokio::join!(
        mongodb.ask(async move { store.is_up().await }),
        redis.ask(async move { cache.is_up().await }),
    );
    let leaving = health.shutdown.is_draining();
    let (code, status) = match (mongodb && !leaving, redis) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        (true, false) => (StatusCode::OK, "degraded"),
        (true, true) => (StatusCode::OK, "ok"),
    };
    let word = |up| if up { "ok" } else { "down" };
    json(code, &Ready { status, mongodb: word(mongodb), redis: word(redis) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_store_is_asked_once_a_second_however_many_ask() {
        let (probe, asked) = (Probe::default(), Arc::new(AtomicU32::new(0)));
        let ask = |is_up: bool| {
            let asked = asked.clone();
            probe.ask(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                asked.fetch_add(1, Ordering::SeqCst);
                is_up
            })
        };
        assert_eq!(join_all((0..100).map(|_| ask(true))).await, vec![true; 100]);
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(ask(false).await, "what was found less than a second ago");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(join_all((0..100).map(|_| ask(false))).await, vec![false; 100]);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_ends_the_question_for_nobody() {
        let probe = Probe::default();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            true
        };
        let gone = tokio::time::timeout(Duration::from_millis(10), probe.ask(slow()));
        assert!(gone.await.is_err());
        assert!(probe.ask(slow()).await);
    }
}
