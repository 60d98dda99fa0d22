//! The relay: follows what happens, in the one order of the store, and writes it to the logs of
//! those whom it concerns.
//!
//! One instance at a time does so for all. That is only to save work: an event's place in the
//! order is its id, and a log takes nothing that is not newer than what it has, so what is
//! written twice is there once. For the same reason nothing is lost with an instance, nor with
//! Redis: who goes on begins where the logs end.

mod circles;
mod hearing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::circles::Circles;
use self::hearing::{Heard, listen};
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
use crate::repositories::Repositories;
use crate::repositories::events::Events;
use crate::repositories::events::stream::{EventStream, SequencedEvent};

/// How often an instance without the relay asks for it, and how soon after a failure.
const ASK: Duration = Duration::from_millis(250);

/// How often the instance with the relay says that it still is there.
const KEEP: Duration = Duration::from_millis(500);

/// How many events go out together.
const TOGETHER: usize = 256;

/// How far back logs begin that are made anew, in seconds: what was on its way to clients when
/// they were lost.
const AGAIN: u64 = 10;

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

    /// Relays, whenever no other instance does, until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut failed = false;
        while !stop.is_cancelled() {
            match Box::pin(self.term(&stop)).await {
                Ok(()) => failed = false,
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(event = "relay_stopped", %error);
                    }
                    sleep(ASK).await;
                }
            }
        }
    }

    /// From when the relay is taken until it is lost or given up.
    async fn term(&self, stop: &CancellationToken) -> Result<()> {
        let mut writer = self.bus.writer().await?;
        let mut lease = writer.lease();
        while !lease.take().await? {
            tokio::select! {
                () = sleep(ASK) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
        let outcome = tokio::select! {
            outcome = self.work(&mut writer) => outcome,
            outcome = keep(&mut lease) => outcome,
            () = stop.cancelled() => Ok(()),
        };
        // Where this one fails, another may not.
        lease.release().await;
        outcome
    }

    async fn work(&self, writer: &mut Writer) -> Result<()> {
        let stream = self.resume(writer).await?;
        tracing::info!(event = "relay_taken");
        let _held = self.metrics.relaying();
        Box::pin(self.follow(stream, writer)).await
    }

    /// The stream from where the logs end. Where there are none, they begin anew.
    async fn resume(&self, writer: &mut Writer) -> Result<EventStream> {
        let from = match (writer.bounds().await?, self.bus.reached()) {
            (Some(bounds), _) => bounds.at,
            (None, Some(reached)) => {
                let from = Position::before(reached.commit.saturating_sub(AGAIN << 32));
                writer.begin(from).await?;
                tracing::warn!(event = "event_log_restarted", %from);
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
        // The store no longer knows what came after it.
        let now = self.events.now().await?;
        tracing::warn!(event = "event_log_restarted", from = %now);
        writer.begin(now).await?;
        self.events.follow(now).await?.ok_or_else(Error::unavailable)
    }

    async fn follow(&self, stream: EventStream, writer: &mut Writer) -> Result<()> {
        let (heard, mut waiting) = mpsc::channel(4 * TOGETHER);
        let reading = AbortOnDropHandle::new(tokio::spawn(listen(stream, heard)));
        let mut circles = Circles::new(&self.repositories);
        let mut batch = Vec::with_capacity(TOGETHER);
        while waiting.recv_many(&mut batch, TOGETHER).await > 0 {
            failpoint::reach("relay.heard");
            self.write(&mut batch, &mut circles, writer).await?;
            failpoint::reach("relay.raised");
        }
        reading.await.map_err(Error::internal)?
    }

    async fn write(
        &self,
        batch: &mut Vec<Heard>,
        circles: &mut Circles,
        writer: &mut Writer,
    ) -> Result<()> {
        let mut at = Position::default();
        let mut events = Vec::with_capacity(batch.len());
        for heard in batch.drain(..) {
            match heard {
                Heard::Nothing(position) => at = at.max(position),
                Heard::Event(sequenced) => {
                    at = sequenced.position;
                    events.push(sequenced);
                }
            }
        }
        circles.load(&events).await?;
        let mut deliveries = Vec::with_capacity(events.len());
        for sequenced in events {
            deliveries.extend(self.delivery(&sequenced, circles).await?);
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
        circles: &mut Circles,
    ) -> Result<Option<Delivery>> {
        let SequencedEvent { position, at, addressed, .. } = sequenced;
        if addressed.event.kind().changes_members() {
            circles.forget(&addressed.event);
        }
        let audience = circles.audience(addressed).await?;
        let circle = addressed.audience.members.and_then(|id| circles.known(id));
        let frames = self.frames.live(sequenced, circle, audience).await?;
        let content = Content { at: *at, event: addressed.event.clone() };
        Ok(Some(Delivery { position: *position, content, frames })
            .filter(|it| !it.frames.is_empty()))
    }
}

/// Keeps the lease as long as it is to be had.
async fn keep(lease: &mut Lease) -> Result<()> {
    while lease.keep().await? {
        sleep(KEEP).await;
    }
    Ok(())
}
