//! The relay: follows the change stream, whose order holds for all, and writes each event to the logs
//! of its audience.
//!
//! One instance at a time relays, to save work only: the position of an event is its id, and a log
//! accepts only newer ids, so an event that is written twice is in the log once. For the same reason
//! no event is lost with an instance or with Redis: the next relay begins where the logs end.

mod audience_cache;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::audience_cache::AudienceCache;
use self::reader::{StreamItem, read_stream};
use super::frames::Frames;
use crate::bus::Bus;
use crate::bus::lease::Lease;
use crate::bus::log::Content;
use crate::bus::writer::{Delivery, Writer};
use crate::domain::clock::Clock;
use crate::domain::events::Position;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::metrics::RealtimeMetrics;
use crate::store::Repositories;
use crate::store::events::Events;
use crate::store::events::stream::{EventStream, SequencedEvent};

/// How often an instance tries to take the lease, and the wait after a failure.
const LEASE_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How often the relaying instance renews the lease.
const LEASE_RENEW_INTERVAL: Duration = Duration::from_millis(500);

/// Events of one batch.
const RELAY_BATCH: usize = 256;

/// How far back logs of a new epoch begin, in seconds: events may have been in flight when Redis lost
/// the logs before.
const RESTART_OVERLAP_SECONDS: u64 = 10;

/// The relay of this instance.
#[derive(Debug)]
pub struct Relay {
    events: Events,
    bus: Bus,
    frames: Arc<Frames>,
    repositories: Repositories,
    clock: Clock,
    metrics: RealtimeMetrics,
}

impl Relay {
    /// A relay of what happens in these repositories.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        bus: &Bus,
        frames: &Arc<Frames>,
        clock: &Clock,
        metrics: &RealtimeMetrics,
    ) -> Self {
        Self {
            events: repositories.events.clone(),
            bus: bus.clone(),
            frames: frames.clone(),
            repositories: repositories.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        }
    }

    /// Relays whenever this instance has the lease, until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut failed = false;
        while !stop.is_cancelled() {
            match Box::pin(self.term(&stop)).await {
                Ok(()) => failed = false,
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(event = "relay_failed", %error, "relay stopped, will retry");
                    }
                    sleep(LEASE_POLL_INTERVAL).await;
                }
            }
        }
    }

    /// One term: from taking the lease until it is lost or released.
    async fn term(&self, stop: &CancellationToken) -> Result<()> {
        let mut writer = self.bus.writer().await?;
        let mut lease = writer.lease();
        while !lease.take().await? {
            tokio::select! {
                () = sleep(LEASE_POLL_INTERVAL) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
        let outcome = tokio::select! {
            outcome = self.work(&mut writer) => outcome,
            outcome = keep(&mut lease) => outcome,
            () = stop.cancelled() => Ok(()),
        };
        // Another instance may succeed after a failure here.
        lease.release().await;
        outcome
    }

    async fn work(&self, writer: &mut Writer) -> Result<()> {
        let stream = self.resume(writer).await?;
        tracing::info!(event = "relay_lease_acquired", "this instance relays events");
        let _held = self.metrics.relaying();
        Box::pin(self.follow(stream, writer)).await
    }

    /// The change stream from the end of the logs; without logs a new epoch begins.
    async fn resume(&self, writer: &mut Writer) -> Result<EventStream> {
        let from = match (writer.bounds().await?, self.bus.reached()) {
            (Some(bounds), _) => bounds.at,
            (None, Some(reached)) => {
                let from =
                    Position::before(reached.commit.saturating_sub(RESTART_OVERLAP_SECONDS << 32));
                writer.begin(from).await?;
                tracing::warn!(event = "event_log_restarted", %from, "Redis lost the event logs");
                from
            }
            (None, None) => {
                let from = self.events.now().await?;
                writer.begin(from).await?;
                from
            }
        };
        if let Some(stream) = self.events.follow(from).await? {
            return Ok(stream);
        }
        // The store no longer has the changes after that position.
        let now = self.events.now().await?;
        tracing::warn!(event = "event_log_restarted", from = %now, "change stream history lost");
        writer.begin(now).await?;
        self.events.follow(now).await?.ok_or_else(Error::unavailable)
    }

    async fn follow(&self, stream: EventStream, writer: &mut Writer) -> Result<()> {
        let (items, mut waiting) = mpsc::channel(4 * RELAY_BATCH);
        let reading = AbortOnDropHandle::new(tokio::spawn(read_stream(stream, items)));
        let mut audiences = AudienceCache::new(&self.repositories);
        let mut batch = Vec::with_capacity(RELAY_BATCH);
        while waiting.recv_many(&mut batch, RELAY_BATCH).await > 0 {
            failpoint::reach("relay.heard");
            self.write(&mut batch, &mut audiences, writer).await?;
            failpoint::reach("relay.raised");
        }
        reading.await.map_err(Error::internal)?
    }

    async fn write(
        &self,
        batch: &mut Vec<StreamItem>,
        audiences: &mut AudienceCache,
        writer: &mut Writer,
    ) -> Result<()> {
        let mut at = Position::default();
        let mut events = Vec::with_capacity(batch.len());
        for item in batch.drain(..) {
            match item {
                StreamItem::Idle(position) => at = at.max(position),
                StreamItem::Event(sequenced) => {
                    at = sequenced.position;
                    events.push(sequenced);
                }
            }
        }
        audiences.load(&events).await?;
        let mut deliveries = Vec::with_capacity(events.len());
        for sequenced in events {
            deliveries.extend(self.delivery(&sequenced, audiences).await?);
        }
        failpoint::reach("relay.rendered");
        writer.write(&deliveries, at).await?;
        let now = self.clock.now();
        for delivery in deliveries {
            self.metrics.relayed(now.since(delivery.content.at));
        }
        Ok(())
    }

    async fn delivery(
        &self,
        sequenced: &SequencedEvent,
        audiences: &mut AudienceCache,
    ) -> Result<Option<Delivery>> {
        let SequencedEvent { position, at, addressed, .. } = sequenced;
        if addressed.event.kind().changes_members() {
            audiences.forget(&addressed.event);
        }
        let audience = audiences.audience(addressed).await?;
        let members = addressed.audience.members.and_then(|id| audiences.known(id));
        let frames = self.frames.live(sequenced, members, audience).await?;
        let content = Content { at: *at, event: addressed.event.clone() };
        Ok(Some(Delivery { position: *position, content, frames })
            .filter(|it| !it.frames.is_empty()))
    }
}

/// Renews the lease until it is lost.
async fn keep(lease: &mut Lease) -> Result<()> {
    while lease.keep().await? {
        sleep(LEASE_RENEW_INTERVAL).await;
    }
    Ok(())
}
