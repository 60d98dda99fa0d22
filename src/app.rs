//! Composition root: settings become clients, clients become services, services become routes.

mod jobs;
mod populate;
mod rounds;
mod seeding;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::cache::Redis;
use crate::cli;
use crate::config::Settings;
use crate::domain::clock::Clock;
use crate::filters::forwarded::Proxies;
use crate::filters::guards::Guards;
use crate::filters::rate_limit::RateLimits;
use crate::jobs::{Pace, Supervisor};
use crate::lifecycle::{Drain, Shutdown};
use crate::metrics::Metrics;
use crate::realtime::Realtime;
use crate::routes;
use crate::routes::Health;
use crate::server;
use crate::server::{Addresses, Listeners, ServerOptions, Tls, TlsFiles, edge};
use crate::services::budget::UnreadAnswers;
use crate::services::jobs::registry;
use crate::services::outgoing::Dispatch;
use crate::services::relay::Relay;
use crate::services::seed::fixture::Fixture;
use crate::services::seed::load::{Made, Seeder};
use crate::services::seed::source::Source;
use crate::services::{ServiceDeps, Services};
use crate::store::Repositories;
use crate::store::Store;
use crate::store::costs::Costs;
use crate::store::keys::Keys;
use crate::store::schema;
use crate::store::schema::By;

pub use self::jobs::jobs;
pub use self::populate::{Reporter, populate};
use self::rounds::forget_idle;
pub use self::seeding::{Beside, OtherAccounts};

/// What stops a command; its text is the line that the operator sees.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How often certificate files are looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(10);

/// One instance: bound, composed, not yet serving.
pub struct App {
    settings: Settings,
    listeners: Listeners,
    tls: Tls,
    guards: Guards,
    services: Services,
    store: Store,
    clock: Clock,
    relay: Arc<Relay>,
    realtime: Arc<Realtime>,
    dispatch: Arc<Dispatch>,
    health: Health,
    limits: Arc<RateLimits>,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl App {
    /// Binds the listeners, connects to the stores, brings collections and indexes up to date.
    ///
    /// # Errors
    /// Whatever keeps the instance from starting, as one line.
    pub async fn build(
        settings: Settings,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let listeners = Listeners::bind(&Addresses {
            https: settings.server.addr,
            redirect: settings.server.redirect_addr,
            admin: settings.admin.addr,
        })?;
        let files = settings.server.tls_files();
        let files = files.map(|(cert, key)| TlsFiles { cert: cert.into(), key: key.into() });
        let tls = Tls::load(files)?;
        let composed = Box::pin(compose(&settings, &clock)).await?;
        let Composed { store, redis, bus, repositories, services, dispatch, metrics } = composed;
        let counts = &metrics.realtime;
        let realtime =
            Realtime::new(&settings, &repositories, &services, &bus, &clock, &shutdown, counts);
        let relay = Arc::new(Relay::new(&repositories, &bus, &services.frames, &clock, counts));
        let limits = Arc::new(RateLimits::new(&settings.limits, &clock, redis.clone()));
        let server = &settings.server;
        let trusted = server.trusted_proxies.clone();
        let proxies = Proxies { trusted, header: server.forwarded_header };
        let guards = Guards::new(limits.clone(), services.access.clone(), proxies);
        shutdown.spawn(|_| say_rights(redis.clone()));
        let health = Health::new(store.clone(), redis, shutdown.clone());
        Ok(Self {
            settings,
            listeners,
            tls,
            guards,
            services,
            store,
            clock,
            relay,
            realtime,
            dispatch,
            health,
            limits,
            metrics,
            shutdown,
        })
    }

    /// The bound listeners, to learn their ports.
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Starts what runs beside the requests for as long as the instance.
    fn start_workers(&self) {
        let supervisor = Supervisor::new(&self.shutdown, &self.metrics.workers);
        let Services { live, indexer, deletion, jobs, .. } = self.services.clone();
        let (limits, relay) = (self.limits.clone(), self.relay.clone());
        let (realtime, dispatch) = (self.realtime.clone(), self.dispatch.clone());
        supervisor
            .start("rate_limits", Pace::Regular, move |stop| forget_idle(limits.clone(), stop));
        supervisor.start("live_sessions", Pace::Regular, move |stop| live.clone().run(stop));
        supervisor.start("indexer", Pace::Regular, move |stop| indexer.clone().run(stop));
        supervisor.start("relay", Pace::Regular, move |stop| relay.clone().run(stop));
        supervisor.start("realtime", Pace::Regular, move |stop| realtime.clone().run(stop));
        supervisor.start("email_keys", Pace::OnDemand, move |stop| {
            deletion.clone().renew_email_keys(stop)
        });
        supervisor.start("dispatch", Pace::OnDemand, move |stop| dispatch.clone().run(stop));
        let metrics = &self.metrics.jobs;
        crate::jobs::start(registry(), jobs, &self.store, &self.clock, metrics, &supervisor);
    }

    /// Serves until the shutdown begins and everything under way is done.
    pub async fn run(self) {
        self.start_workers();
        let server = &self.settings.server;
        let options = ServerOptions {
            public_url: server.public_url.to_string(),
            max_connections: server.max_connections,
            connections_per_address: server.connections_per_address,
            trusted_proxies: server.trusted_proxies.clone().into(),
            handshake_timeout: server.handshake_seconds,
            header_timeout: server.header_seconds,
            idle_timeout: server.idle_seconds,
            slow_client: server::SLOW_CLIENT,
            certificate_interval: CERTIFICATE_INTERVAL,
        };
        let routes = routes::all(&self.guards, &self.services, &self.realtime, &self.health);
        let origins = server.cors_origins.clone();
        let (metrics, limit) = (&self.metrics, server.request_seconds);
        let unread = &self.services.unread;
        let app = edge::application(routes, origins, limit, metrics, unread);
        let admin = edge::application(routes::admin(metrics), Vec::new(), limit, metrics, unread);
        let shutdown = self.shutdown.clone();
        server::serve(self.listeners, self.tls, options, app, admin, shutdown, metrics).await;
        self.shutdown.finish().await;
    }
}

/// What every command on the store works with.
struct Composed {
    store: Store,
    redis: Redis,
    bus: Bus,
    repositories: Repositories,
    services: Services,
    dispatch: Arc<Dispatch>,
    metrics: Metrics,
}

/// Connects to the stores and brings collections and indexes up to date.
async fn compose(settings: &Settings, clock: &Clock) -> Result<Composed, Failure> {
    let metrics = Metrics::new(clock.now())?;
    let unusable = |error| format!("redis.url: {error}");
    let redis = Redis::new(&settings.redis, &metrics).map_err(unusable)?;
    let bus = Bus::new(redis.client(), &settings.redis.prefix, &metrics.pools);
    let bus = bus.map_err(unusable)?;
    let (uri, database) = (settings.mongodb.uri.expose(), &settings.mongodb.database);
    let store = Store::measured(uri, database, &metrics.pools).await?;
    schema::apply(&store, settings.messages.shards, clock, By::Start).await?;
    let repositories = Repositories::new(&store, settings.messages.shards as usize);
    let signing_key = match &settings.auth.jwt_key {
        Some(key) => key.pkcs8().to_vec(),
        None => Keys::new(&store).signing_key().await?,
    };
    let highest_cost = Costs::new(&store).raise(settings.auth.bcrypt_cost).await?;
    let (services, dispatch) = Services::new(ServiceDeps {
        settings,
        signing_key: &signing_key,
        highest_cost,
        clock,
        repositories: &repositories,
        redis: &redis,
        bus: &bus,
        metrics: &metrics,
        unread: &UnreadAnswers::unread(),
    })?;
    let dispatch = Arc::new(dispatch);
    Ok(Composed { store, redis, bus, repositories, services, dispatch, metrics })
}

/// Says at the start what Redis does not let natter do. It need not be there yet: readiness asks
/// again.
async fn say_rights(redis: Redis) {
    let _ = redis.has_rights().await;
}

/// Serves until told to stop.
///
/// # Errors
/// Whatever keeps the server from starting.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    let drain =
        Drain { delay: settings.server.drain_delay_seconds, limit: settings.server.drain_seconds };
    let shutdown = Shutdown::new(drain);
    shutdown.listen_for_signals()?;
    let app = App::build(settings, Clock::system(), shutdown).await?;
    let addr = app.listeners().https.local_addr()?;
    tracing::info!(event = "listening", %addr, "listening");
    Box::pin(app.run()).await;
    Ok(())
}

/// Compares or makes collections and indexes.
///
/// # Errors
/// The store is not reachable, or refuses.
pub async fn indexes(settings: Settings, action: cli::Indexes) -> Result<(), Failure> {
    let store = Store::new(settings.mongodb.uri.expose(), &settings.mongodb.database).await?;
    let shards = settings.messages.shards;
    let steps = match action {
        cli::Indexes::Plan => schema::plan(&store, shards).await?,
        cli::Indexes::Apply => {
            let applied = schema::apply(&store, shards, &Clock::system(), By::Operator).await?;
            [applied.made, applied.reported].concat()
        }
    };
    for step in &steps {
        println!("{step}");
    }
    if steps.is_empty() {
        println!("all {} collections are as they are defined", schema::count(shards));
    }
    Ok(())
}

/// Fills the store from a fixture; says what it made.
///
/// # Errors
/// There is no such fixture, something is wrong with it, [`OtherAccounts`], or the store is not
/// reachable.
pub async fn seed(settings: Settings, fixture: &Path, beside: Beside) -> Result<Made, Failure> {
    let fixture = Fixture::read(&Source::find(fixture))?;
    let clock = Clock::system();
    let composed = Box::pin(compose(&settings, &clock)).await?;
    let Composed { repositories, services, dispatch, .. } = composed;
    if beside == Beside::OwnAccounts
        && repositories.store.users().any_but(&fixture.accounts()).await?
    {
        return Err(OtherAccounts::in_database(&settings.mongodb.database).into());
    }
    let stop = CancellationToken::new();
    let stopping = stop.clone().drop_guard();
    let running = tokio::spawn(dispatch.run(stop));
    let seeder = Seeder::new(services, repositories, clock);
    // Boxed: it loads many entries at a time.
    let made = Box::pin(seeder.load(&fixture)).await;
    drop(stopping);
    running.await?;
    Ok(made?)
}
