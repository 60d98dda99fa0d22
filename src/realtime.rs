//! Connections of this instance: their protocol, and the hub that delivers events to them.

pub mod connection;
pub mod socket_session;
pub mod stream;
pub mod wire;

mod client_frame;
mod hub;
mod keeper;
mod link;
mod presence;
mod socket;
mod typing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::hub::Hub;
use self::link::Link;
use self::presence::Presence;
use self::typing::TypingPublisher;
use crate::bus::Bus;
use crate::config::Settings;
use crate::domain::clock::Clock;
use crate::domain::ids::UserId;
use crate::lifecycle::Shutdown;
use crate::metrics::RealtimeMetrics;
use crate::services::Services;
use crate::services::access::Access;
use crate::services::deliveries::Deliveries;
use crate::services::frames::Frames;
use crate::services::session_cache::SessionCache;
use crate::services::typing::Typing;
use crate::store::Repositories;
use crate::store::events::Events;

pub use self::socket::Close;

/// The services and the hub that connections use.
#[derive(derive_more::Debug)]
#[debug("Realtime")]
pub struct Realtime {
    hub: Arc<Hub>,
    /// Held by the task that follows them.
    changes: Mutex<mpsc::UnboundedReceiver<UserId>>,
    access: Arc<Access>,
    live: Arc<SessionCache>,
    frames: Arc<Frames>,
    presence: Arc<Presence>,
    typists: TypingPublisher,
    deliveries: Deliveries,
    events: Events,
    bus: Bus,
    clock: Clock,
    heartbeat: Duration,
    shutdown: Shutdown,
    metrics: RealtimeMetrics,
}

impl Realtime {
    /// Real time over these services.
    #[must_use]
    pub fn new(
        settings: &Settings,
        repositories: &Repositories,
        services: &Services,
        bus: &Bus,
        clock: &Clock,
        shutdown: &Shutdown,
        metrics: &RealtimeMetrics,
    ) -> Arc<Self> {
        let (hub, changes) = Hub::new(settings.realtime.sockets_per_address);
        let presence = Presence::new(&hub, bus, &repositories.store, clock);
        let held = Arc::downgrade(&hub);
        services.live.on_revoked(move |ended| {
            if let Some(hub) = held.upgrade() {
                hub.hold(ended);
            }
        });
        Arc::new(Self {
            hub,
            changes: Mutex::new(changes),
            access: services.access.clone(),
            live: services.live.clone(),
            frames: services.frames.clone(),
            presence: Arc::new(presence),
            typists: TypingPublisher::new(Typing::new(repositories), bus, clock),
            deliveries: Deliveries::new(repositories, clock),
            events: repositories.events.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            heartbeat: settings.realtime.heartbeat_seconds,
            shutdown: shutdown.clone(),
            metrics: metrics.clone(),
        })
    }

    /// Delivers events and closes connections until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.changes.lock().await;
        let link = Link {
            hub: self.hub.clone(),
            bus: self.bus.clone(),
            frames: self.frames.clone(),
            presence: self.presence.clone(),
            events: self.events.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        };
        tokio::join!(
            link.run(&mut changes, stop.clone()),
            self.presence.run(stop.clone()),
            self.typists.run(stop.clone()),
            self.deliveries.run(stop.clone()),
            self.keep(stop),
        );
    }
}
