//! The heartbeat: renews the connections of this instance in Redis and detects stopped instances.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{OFFLINE_DELAY, Presence, RECOVERY_DELAY};
use crate::bus::presence::Own;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::error::Result;

/// How often the instance runs pending updates.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// How often connections are renewed: three times before they expire.
const RENEW_INTERVAL: Duration = Duration::from_secs(6);

/// How often the instance reads the list of instances.
const INSTANCE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The wait after a failure.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Users of one batch.
pub(super) const USER_BATCH: usize = 100;

/// How long an instance that stops goes on publishing presence.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// The state of the heartbeat.
struct Heartbeat {
    renew_at: Instant,
    watch_at: Instant,
    /// The instances of the last check.
    alive: HashSet<String>,
    failed: bool,
}

impl Presence {
    /// Runs until `stop` is cancelled, and then until all updates are published.
    pub(in crate::realtime) async fn run(&self, stop: CancellationToken) {
        let mut tick = interval(TICK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        let mut heartbeat =
            Heartbeat { renew_at: now, watch_at: now, alive: HashSet::new(), failed: false };
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => break,
            }
            if let Err(error) = self.maintain(&mut heartbeat).await {
                if !std::mem::replace(&mut heartbeat.failed, true) {
                    tracing::warn!(event = "presence_delayed", %error, "presence cannot be updated now");
                }
                sleep(RETRY_DELAY).await;
            } else {
                heartbeat.failed = false;
            }
        }
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while self.state().pending.is_left() && Instant::now() < deadline {
            let _ = self.maintain(&mut heartbeat).await;
            sleep(TICK_INTERVAL).await;
        }
        // If updates remain, or this fails, the entry of this instance expires together with its
        // connections, and the other instances check the presence of friends then.
        if self.users().is_empty() && !self.state().pending.is_left() {
            let _ = self.bus.retire().await;
        }
    }

    async fn maintain(&self, heartbeat: &mut Heartbeat) -> Result<()> {
        let now = Instant::now();
        if now >= heartbeat.watch_at {
            let is_known = self.watch(heartbeat).await?;
            if !is_known || now >= heartbeat.renew_at {
                self.renew_all().await?;
                heartbeat.renew_at = now + RENEW_INTERVAL;
            }
            self.bus.beat().await?;
            self.state().is_away = false;
            heartbeat.watch_at = now + INSTANCE_CHECK_INTERVAL;
        }
        while self.change().await? {}
        while self.tell().await? {}
        while self.look_around().await? {}
        Ok(())
    }

    /// Reads the list of instances; `false` if Redis does not have this one. The users of a stopped
    /// instance may be offline without an update.
    async fn watch(&self, heartbeat: &mut Heartbeat) -> Result<bool> {
        let (alive, is_known) = self.bus.alive().await?;
        let alive: HashSet<String> = alive.into_iter().collect();
        let is_one_gone = !alive.is_superset(&heartbeat.alive);
        if is_one_gone {
            // After a loss of data Redis must first learn all connections again.
            let wait = if is_known { Duration::ZERO } else { RECOVERY_DELAY };
            self.state().pending.look_at_all(Instant::now() + wait);
        }
        heartbeat.alive = alive;
        Ok(is_known)
    }

    async fn renew_all(&self) -> Result<()> {
        let users: Vec<UserId> = self.users().into_iter().collect();
        for some in users.chunks(USER_BATCH) {
            self.renew(some.iter().map(|user| (*user, None)).collect()).await?;
        }
        Ok(())
    }

    /// Renews a batch of users whose connections changed; whether there were any.
    async fn change(&self) -> Result<bool> {
        let changed = self.state().pending.take_changed(USER_BATCH);
        if changed.is_empty() {
            return Ok(false);
        }
        let renewed = self.renew(changed.clone()).await;
        if renewed.is_err() {
            let mut state = self.state();
            state.is_away = true;
            for (user, left) in changed {
                state.pending.changed(user, left);
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
                state.pending.tell(own.user, now);
            } else if count.after == 0 && own.expected.is_empty() {
                state.pending.tell_again(own.user, now + OFFLINE_DELAY);
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
