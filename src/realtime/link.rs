//! The link between the bus and the hub: hears what the users who are here are told, and fills in
//! from their logs what was told while nobody heard.

mod fetched;
mod parting;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use self::fetched::Fetched;
use super::hub::{Hub, Reached};
use super::presence::Presence;
use crate::bus::log::{KEPT, Past};
use crate::bus::subscriber::Subscriber;
use crate::bus::{Bus, Epoch, Heard, Told};
use crate::domain::clock::Clock;
use crate::domain::events::{Envelope, Position};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};
use crate::metrics::RealtimeMetrics;
use crate::repositories::events::Events;
use crate::services::frames::{Frames, LoggedEvent};

/// The wait before a connection that broke is opened again.
const REOPEN: Duration = Duration::from_millis(250);

/// How often a quiet connection is asked whether it still stands.
const PING: Duration = Duration::from_secs(5);

/// How many logs are read together.
const TOGETHER: usize = 200;

/// Where nothing can be after: to learn only how far a log is.
const END: Position = Position { commit: u64::MAX, nth: u32::MAX };

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
    /// Links, and links again, until told to stop.
    pub async fn run(self, mut changes: UnboundedReceiver<UserId>, stop: CancellationToken) {
        let mut failed = false;
        loop {
            tokio::select! {
                outcome = self.hear(&mut changes, &mut failed) => {
                    if let Err(error) = outcome
                        && !std::mem::replace(&mut failed, true)
                    {
                        tracing::warn!(event = "bus_lost", %error);
                    }
                    sleep(REOPEN).await;
                }
                () = stop.cancelled() => return,
            }
        }
    }

    /// Over one connection, until it is lost.
    async fn hear(&self, changes: &mut UnboundedReceiver<UserId>, failed: &mut bool) -> Result<()> {
        let mut ear = Ear::new(self.bus.subscriber().await?);
        let outcome = Box::pin(self.listen(&mut ear, changes, failed)).await;
        // Who is quiet was told all there was as well: their logs need not reach back further.
        self.hub.all_complete(&ear.users, ear.heard);
        outcome
    }

    async fn listen(
        &self,
        ear: &mut Ear,
        changes: &mut UnboundedReceiver<UserId>,
        failed: &mut bool,
    ) -> Result<()> {
        ear.join(self, self.hub.users()).await?;
        *failed = false;
        self.presence.look_again();
        let mut ping = interval(PING);
        let mut changed = Vec::new();
        loop {
            tokio::select! {
                heard = ear.subscriber.messages().next() => {
                    match heard.ok_or_else(Error::unavailable)? {
                        Heard::Of(user, told) => ear.take(self, user, told).await?,
                        Heard::Progress(epoch, at) => ear.progress(self, epoch, at).await?,
                    }
                }
                _ = changes.recv_many(&mut changed, TOGETHER) => {
                    ear.change(self, &mut changed).await?;
                }
                _ = ping.tick() => ear.subscriber.ping().await?,
            }
        }
    }
}

/// What one connection hears.
struct Ear {
    subscriber: Subscriber,
    users: HashSet<UserId>,
    /// Everything up to here was told to all of them.
    heard: Position,
    /// Which logs it goes with.
    epoch: Option<Epoch>,
    fetched: Fetched,
}

impl Ear {
    fn new(subscriber: Subscriber) -> Self {
        let (users, heard, epoch, fetched) = Default::default();
        Self { subscriber, users, heard, epoch, fetched }
    }

    /// Users came or went.
    async fn change(&mut self, link: &Link, changed: &mut Vec<UserId>) -> Result<()> {
        let mut come = Vec::new();
        let mut gone = Vec::new();
        for user in changed.drain(..).collect::<HashSet<_>>() {
            match (link.hub.reached(user), self.users.contains(&user)) {
                // Also who went and came back before this was read: their log is read again.
                (Reached::Unknown, _) => come.push((user, None)),
                (Reached::To(position), false) => come.push((user, Some(position))),
                (Reached::Absent, true) => gone.push(user),
                _ => {}
            }
        }
        if !gone.is_empty() {
            self.subscriber.ignore(&gone).await?;
            self.users.retain(|user| !gone.contains(user));
        }
        self.join(link, come).await
    }

    /// Begins to hear these users; then reads in their logs what was told before that.
    async fn join(&mut self, link: &Link, users: Vec<(UserId, Option<Position>)>) -> Result<()> {
        for some in users.chunks(TOGETHER) {
            let new: Vec<UserId> = some.iter().map(|(user, _)| *user).collect();
            self.subscriber.hear(&new).await?;
            let wanted: Vec<_> =
                some.iter().map(|(user, to)| (*user, Some(to.unwrap_or(END)))).collect();
            let pasts = link.bus.pasts(&wanted, KEPT + 1, link.clock.now()).await?;
            for ((user, reached), past) in some.iter().zip(pasts) {
                self.epoch.get_or_insert(past.epoch);
                match reached {
                    Some(reached) => link.fill(*user, *reached, past).await?,
                    None => {
                        // Somebody may not have waited for the log.
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

    /// The logs are written up to here. Where they are others than before, something may have been
    /// lost: each of them says whether it was.
    async fn progress(&mut self, link: &Link, epoch: Epoch, at: Position) -> Result<()> {
        if self.epoch.replace(epoch).is_some_and(|before| before != epoch) {
            link.hub.all_complete(&self.users, self.heard);
            self.join(link, link.hub.users()).await?;
        }
        self.heard = self.heard.max(at);
        Ok(())
    }

    async fn take(&mut self, link: &Link, user: UserId, told: Told) -> Result<()> {
        if let Told::Event { position, .. } | Told::Unnamed { position } = told {
            // Others may yet be told of the same.
            let before = Position { nth: position.nth.saturating_sub(1), ..position };
            self.heard = self.heard.max(before);
        }
        match told {
            Told::Presence(news) => link.hub.meet(user, &news),
            Told::Typing(typing) => link.hub.typing(user, &typing),
            Told::Left { conversation, until: Some(until), token } => {
                link.confirm(user, Ok(link.hub.bar(user, conversation, until)), token);
            }
            Told::Left { conversation, until: None, token } => {
                link.left(user, conversation, token).await;
            }
            Told::Parted { other, token } => link.parted(user, other, token).await,
            Told::Unnamed { position } => {
                if let Some(reached) = not_reached(link, user, position) {
                    link.catch_up(user, reached).await?;
                }
            }
            Told::Event { position, previous, mut envelope } => {
                let Some(reached) = not_reached(link, user, position) else { return Ok(()) };
                let frame = match envelope.frame.take() {
                    Some(frame) => Some(frame),
                    None => self.fetched.frame(&link.bus, position).await?,
                };
                // Something was told that was not heard, or is not to be had any more.
                let (Some(frame), false) = (frame, previous > Some(reached)) else {
                    return link.catch_up(user, reached).await;
                };
                link.tell(user, position, &envelope.with_frame(frame)).await;
            }
        }
        Ok(())
    }
}

/// How far a user was told who has not been told of this position.
fn not_reached(link: &Link, user: UserId, position: Position) -> Option<Position> {
    match link.hub.reached(user) {
        Reached::To(reached) => (reached < position).then_some(reached),
        Reached::Absent | Reached::Unknown => None,
    }
}

impl Link {
    /// Hands an event out, and notes what it says of friends.
    fn hand_out(&self, user: UserId, position: Position, envelope: &Envelope) {
        self.hub.tell(user, position, envelope);
        self.presence.heard(user, envelope);
    }

    async fn catch_up(&self, user: UserId, reached: Position) -> Result<()> {
        let past = self.bus.past(user, Some(reached), KEPT + 1, self.clock.now()).await?;
        self.fill(user, reached, past).await
    }

    /// Hands out what a log has after what was handed out.
    async fn fill(&self, user: UserId, reached: Position, past: Past) -> Result<()> {
        let nothing_yet = reached > past.end && reached >= past.from;
        if !past.is_whole && !nothing_yet {
            tracing::warn!(event = "events_missed", %user, since = %reached);
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
