//! The link between the bus and the hub: subscribes to the channels of connected users, and reads
//! events that it missed from their logs.

mod fetched;
mod revocation;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use self::fetched::Fetched;
use super::hub::{Hub, Reached};
use super::presence::Presence;
use crate::bus::log::{MAX_LOG_ENTRIES, Past};
use crate::bus::subscriber::Subscriber;
use crate::bus::{Bus, BusEvent, BusMessage, Epoch};
use crate::domain::clock::Clock;
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};
use crate::metrics::RealtimeMetrics;
use crate::services::frames::{Frames, LoggedEvent};
use crate::store::events::Events;

/// The wait before the link reconnects.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);

/// How often the link pings the subscription.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Logs that are read together.
const LOG_BATCH: usize = 200;

/// The greatest position: reading after it returns only the end of a log.
const LAST_POSITION: Position = Position { commit: u64::MAX, nth: u32::MAX };

/// The link of this instance.
#[derive(Debug)]
pub(super) struct Link {
    pub hub: Arc<Hub>,
    pub bus: Bus,
    pub frames: Arc<Frames>,
    pub presence: Arc<Presence>,
    pub events: Events,
    pub clock: Clock,
    pub metrics: RealtimeMetrics,
}

impl Link {
    /// Runs, and reconnects, until `stop` is cancelled.
    pub async fn run(self, changes: &mut UnboundedReceiver<UserId>, stop: CancellationToken) {
        let mut failed = false;
        loop {
            tokio::select! {
                outcome = self.hear(changes, &mut failed) => {
                    if let Err(error) = outcome
                        && !std::mem::replace(&mut failed, true)
                    {
                        tracing::warn!(event = "redis_subscription_lost", %error, "subscription lost");
                    }
                    sleep(RECONNECT_DELAY).await;
                }
                () = stop.cancelled() => return,
            }
        }
    }

    /// Runs over one subscription until it is lost.
    async fn hear(&self, changes: &mut UnboundedReceiver<UserId>, failed: &mut bool) -> Result<()> {
        let mut subscription = BusSubscription::new(self.bus.subscriber().await?);
        let outcome = Box::pin(self.listen(&mut subscription, changes, failed)).await;
        // Users without events have everything too: their logs need not reach back further.
        self.hub.all_complete(&subscription.users, subscription.heard);
        outcome
    }

    async fn listen(
        &self,
        subscription: &mut BusSubscription,
        changes: &mut UnboundedReceiver<UserId>,
        failed: &mut bool,
    ) -> Result<()> {
        subscription.join(self, self.hub.users()).await?;
        *failed = false;
        self.presence.look_again();
        let mut ping = interval(PING_INTERVAL);
        let mut changed = Vec::new();
        loop {
            tokio::select! {
                heard = subscription.subscriber.messages().next() => {
                    match heard.ok_or_else(Error::unavailable)? {
                        BusEvent::Message(user, told) => subscription.take(self, user, told).await?,
                        BusEvent::Progress(epoch, at) => subscription.progress(self, epoch, at).await?,
                    }
                }
                _ = changes.recv_many(&mut changed, LOG_BATCH) => {
                    subscription.change(self, &mut changed).await?;
                }
                _ = ping.tick() => subscription.subscriber.ping().await?,
            }
        }
    }
}

/// One subscription.
struct BusSubscription {
    subscriber: Subscriber,
    users: HashSet<UserId>,
    /// All users have all events up to here. Only the relay's word for it counts: without memory Redis
    /// may refuse an event of one user and take a later one of another.
    heard: Position,
    /// The epoch of the logs.
    epoch: Option<Epoch>,
    fetched: Fetched,
}

impl BusSubscription {
    fn new(subscriber: Subscriber) -> Self {
        let (users, heard, epoch, fetched) = Default::default();
        Self { subscriber, users, heard, epoch, fetched }
    }

    /// Users connected or disconnected.
    async fn change(&mut self, link: &Link, changed: &mut Vec<UserId>) -> Result<()> {
        let mut come = Vec::new();
        let mut gone = Vec::new();
        for user in changed.drain(..).collect::<HashSet<_>>() {
            match (link.hub.reached(user), self.users.contains(&user)) {
                // Also a user who reconnected before this ran: the log is read again.
                (Reached::Unknown, _) => come.push((user, None)),
                (Reached::To(position), false) => come.push((user, Some(position))),
                (Reached::Absent, true) => gone.push(user),
                (Reached::To(_), true) | (Reached::Absent, false) => {}
            }
        }
        if !gone.is_empty() {
            self.subscriber.ignore(&gone).await?;
            self.users.retain(|user| !gone.contains(user));
        }
        self.join(link, come).await
    }

    /// Subscribes to the channels of these users, then reads earlier events from their logs.
    async fn join(&mut self, link: &Link, users: Vec<(UserId, Option<Position>)>) -> Result<()> {
        for some in users.chunks(LOG_BATCH) {
            let new: Vec<UserId> = some.iter().map(|(user, _)| *user).collect();
            self.subscriber.hear(&new).await?;
            let wanted: Vec<_> =
                some.iter().map(|(user, to)| (*user, Some(to.unwrap_or(LAST_POSITION)))).collect();
            let pasts = link.bus.pasts(&wanted, MAX_LOG_ENTRIES + 1, link.clock.now()).await?;
            for ((user, reached), past) in some.iter().zip(pasts) {
                self.epoch.get_or_insert(past.epoch);
                match reached {
                    Some(reached) => link.fill(*user, *reached, past).await?,
                    None => {
                        // A connection may have begun without the log, after its timeout.
                        if let Some(reached) = link.hub.know(*user, past.end, past.last) {
                            link.catch_up(*user, reached).await?;
                            link.presence.look(*user);
                        }
                    }
                }
            }
            self.users.extend(new);
        }
        Ok(())
    }

    /// The relay has written the logs up to `at`. In a new epoch events may be lost, so the link reads
    /// all logs.
    async fn progress(&mut self, link: &Link, epoch: Epoch, at: Position) -> Result<()> {
        if self.epoch.replace(epoch).is_some_and(|before| before != epoch) {
            link.hub.all_complete(&self.users, self.heard);
            self.join(link, link.hub.users()).await?;
        }
        self.heard = self.heard.max(at);
        Ok(())
    }

    async fn take(&mut self, link: &Link, user: UserId, told: BusMessage) -> Result<()> {
        match told {
            BusMessage::Presence(news) => link.hub.meet(user, &news),
            BusMessage::Typing(typing) => link.hub.typing(user, &typing),
            BusMessage::ConversationRevoked { conversation, until: Some(until), token } => {
                link.confirm(user, Ok(link.hub.revoke(user, conversation, until)), token);
            }
            BusMessage::ConversationRevoked { conversation, until: None, token } => {
                link.revoke_conversation(user, conversation, token).await;
            }
            BusMessage::PairRevoked { other, token } => link.revoke_pair(user, other, token).await,
            BusMessage::Unnamed { position } => {
                if let Some(reached) = not_reached(link, user, position) {
                    link.catch_up(user, reached).await?;
                }
            }
            BusMessage::Event { position, previous, mut envelope } => {
                let Some(reached) = not_reached(link, user, position) else { return Ok(()) };
                let frame = match envelope.frame.take() {
                    Some(frame) => Some(frame),
                    None => self.fetched.frame(&link.bus, position).await?,
                };
                // The link missed an event, or the bus no longer has the frame.
                let (Some(frame), false) = (frame, previous > Some(reached)) else {
                    return link.catch_up(user, reached).await;
                };
                link.tell(user, position, &envelope.with_frame(frame)).await;
            }
        }
        Ok(())
    }
}

/// The position of a user who does not have this event yet.
fn not_reached(link: &Link, user: UserId, position: Position) -> Option<Position> {
    match link.hub.reached(user) {
        Reached::To(reached) => (reached < position).then_some(reached),
        Reached::Absent | Reached::Unknown => None,
    }
}

impl Link {
    /// Delivers an event, and follows friendships.
    fn hand_out(&self, user: UserId, position: Position, envelope: &Envelope) {
        self.hub.tell(user, position, envelope);
        self.presence.heard(user, envelope);
    }

    async fn catch_up(&self, user: UserId, reached: Position) -> Result<()> {
        let past =
            self.bus.past(user, Some(reached), MAX_LOG_ENTRIES + 1, self.clock.now()).await?;
        self.fill(user, reached, past).await
    }

    /// Delivers the events of a log after `reached`.
    async fn fill(&self, user: UserId, reached: Position, past: Past) -> Result<()> {
        let nothing_yet = reached > past.end && reached >= past.from;
        if !past.is_whole && !nothing_yet {
            tracing::warn!(event = "events_missed", %user, since = %reached, "log incomplete");
            self.metrics.missed();
            self.hub.skip(user, past.end, past.last);
            return Ok(());
        }
        let last = past.entries.last().map_or(reached, |entry| entry.position);
        let to = past.end.max(last).max(reached);
        let happened: Vec<LoggedEvent> = past.entries.into_iter().map(Into::into).collect();
        for envelope in self.frames.past(user, &happened).await? {
            if let Some(position) = envelope.position {
                self.tell(user, position, &envelope).await;
            }
        }
        self.hub.complete(user, to, past.last);
        Ok(())
    }
}
