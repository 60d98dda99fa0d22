//! The rounds: makes Redis know who is here, and looks which instances live.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{GONE_FOR, KNOWN_AGAIN, Presence};
use crate::bus::presence::Own;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::error::Result;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(250);

/// How often connections are renewed; three times before they expire.
const RENEW: Duration = Duration::from_secs(6);

/// How often it is looked which instances live.
const WATCH: Duration = Duration::from_secs(1);

/// The wait after a failure.
pub(super) const AGAIN: Duration = Duration::from_millis(500);

/// How many users are seen to together.
pub(super) const TOGETHER: usize = 100;

/// How long an instance that stops goes on telling who has gone.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What the rounds remember.
struct Rounds {
    renew_at: Instant,
    watch_at: Instant,
    /// Which instances lived.
    alive: HashSet<String>,
    failed: bool,
}

impl Presence {
    /// Makes rounds until told to stop, and then until all is told.
    pub(in crate::realtime) async fn run(&self, stop: CancellationToken) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        let mut rounds =
            Rounds { renew_at: now, watch_at: now, alive: HashSet::new(), failed: false };
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => break,
            }
            if let Err(error) = self.round(&mut rounds).await {
                if !std::mem::replace(&mut rounds.failed, true) {
                    tracing::warn!(event = "presence_delayed", %error);
                }
                sleep(AGAIN).await;
            } else {
                rounds.failed = false;
            }
        }
        let deadline = Instant::now() + LAST_WORDS;
        while self.state().work.is_left() && Instant::now() < deadline {
            let _ = self.round(&mut rounds).await;
            sleep(TICK).await;
        }
        // Connections that were dropped with nobody told expire, and so does then this instance:
        // that is when the others look. Where retiring fails, they do so in a while, too.
        if self.users().is_empty() && !self.state().work.is_left() {
            let _ = self.bus.retire().await;
        }
    }

    async fn round(&self, rounds: &mut Rounds) -> Result<()> {
        let now = Instant::now();
        if now >= rounds.watch_at {
            let is_known = self.watch(rounds).await?;
            if !is_known || now >= rounds.renew_at {
                self.renew_all().await?;
                rounds.renew_at = now + RENEW;
            }
            self.bus.beat().await?;
            self.state().is_away = false;
            rounds.watch_at = now + WATCH;
        }
        while self.change().await? {}
        while self.tell().await? {}
        while self.look_around().await? {}
        Ok(())
    }

    /// Looks which instances live; `false` where Redis does not know this one. Of an instance that
    /// is gone nobody said that its users are.
    async fn watch(&self, rounds: &mut Rounds) -> Result<bool> {
        let (alive, is_known) = self.bus.alive().await?;
        let alive: HashSet<String> = alive.into_iter().collect();
        let is_one_gone = !alive.is_superset(&rounds.alive);
        if is_one_gone {
            // Where Redis has lost everything, everyone is to be known again first.
            let wait = if is_known { Duration::ZERO } else { KNOWN_AGAIN };
            self.state().work.look_at_all(Instant::now() + wait);
        }
        rounds.alive = alive;
        Ok(is_known)
    }

    async fn renew_all(&self) -> Result<()> {
        let users: Vec<UserId> = self.users().into_iter().collect();
        for some in users.chunks(TOGETHER) {
            self.renew(some.iter().map(|user| (*user, None)).collect()).await?;
        }
        Ok(())
    }

    /// Makes Redis know some whose connections changed; whether there were any.
    async fn change(&self) -> Result<bool> {
        let changed = self.state().work.take_changed(TOGETHER);
        if changed.is_empty() {
            return Ok(false);
        }
        let renewed = self.renew(changed.clone()).await;
        if renewed.is_err() {
            let mut state = self.state();
            state.is_away = true;
            for (user, left) in changed {
                state.work.changed(user, left);
            }
        }
        renewed.map(|()| true)
    }

    async fn renew(&self, users: Vec<(UserId, Option<Timestamp>)>) -> Result<()> {
        let owned: Vec<Own> = users.iter().map(|(user, left)| self.own(*user, *left)).collect();
        let counts = self.bus.renew(&owned).await?;
        let now = Instant::now();
        let mut state = self.state();
        for (own, count) in owned.iter().zip(counts) {
            let is_here = !own.connections.is_empty();
            if is_here && count.before == 0 {
                state.work.tell(own.user, now);
            } else if count.after == 0 && own.expected.is_empty() {
                state.work.tell_again(own.user, now + GONE_FOR);
            }
        }
        Ok(())
    }

    fn own(&self, user: UserId, left: Option<Timestamp>) -> Own {
        let state = self.state();
        let here: Vec<(u64, bool)> = state
            .here
            .get(&user)
            .into_iter()
            .flatten()
            .map(|(it, counted)| (*it, *counted))
            .collect();
        let (counted, expected): (Vec<_>, Vec<_>) = here.into_iter().partition(|it| it.1);
        let ids = |some: Vec<(u64, bool)>| some.into_iter().map(|it| it.0).collect::<Vec<u64>>();
        let (connections, expected) = (ids(counted), ids(expected));
        let seen = left.filter(|_| connections.is_empty()).unwrap_or_else(|| self.now());
        Own { user, connections, expected, seen }
    }
}
