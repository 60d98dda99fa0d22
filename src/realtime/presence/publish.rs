//! Publishes the presence of users to their friends, and reads the presence of friends.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout};

use super::heartbeat::{RETRY_DELAY, USER_BATCH};
use super::{OFFLINE_DELAY, Presence};
use crate::bus::presence::{PresenceUpdate, State};
use crate::domain::events::FrameKind;
use crate::domain::ids::UserId;
use crate::domain::relations::Standing;
use crate::error::{Error, Result};
use crate::services::frames::{data, frame};

/// The time limit to read friends and to publish to them. After that friends are read anew, because
/// friendships may have ended.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(4);

/// Lists of friends that are read at the same time.
const CONCURRENT_LISTS: usize = 8;

/// Friends whose presence a user receives, and who receive theirs: the newest friendships.
const MAX_FRIENDS: usize = 1000;

impl Presence {
    /// Publishes the presence of a batch of users to their friends; whether there were any.
    pub(super) async fn tell(&self) -> Result<bool> {
        let users = self.state().pending.take_tell(USER_BATCH, Instant::now());
        if users.is_empty() {
            return Ok(false);
        }
        let told = soon(self.tell_of(&users)).await;
        if told.is_err() {
            let mut state = self.state();
            let again = Instant::now() + RETRY_DELAY;
            for user in users {
                state.pending.tell_again(user, again);
            }
        }
        told.map(|()| true)
    }

    async fn tell_of(&self, users: &[UserId]) -> Result<()> {
        let friends = self.friends(users).await?;
        let states = self.bus.states(users).await?;
        let mut tellings = Vec::with_capacity(users.len());
        for ((user, friends), state) in friends.into_iter().zip(states) {
            if may_come_back(&state) {
                let wait = OFFLINE_DELAY.saturating_sub(state.heard_of);
                self.state().pending.tell_again(user, Instant::now() + wait);
                continue;
            }
            tellings.push((self.news(user, state)?, friends));
        }
        self.bus.tell_presence(&tellings).await
    }

    /// Delivers the presence of friends to a batch of users; whether there were any.
    pub(super) async fn look_around(&self) -> Result<bool> {
        let users = {
            let state = &mut *self.state();
            state.pending.take_look(USER_BATCH, Instant::now(), state.here.keys().copied())
        };
        if users.is_empty() {
            return Ok(false);
        }
        let looked = soon(self.look_for(&users)).await;
        if looked.is_err() {
            let mut state = self.state();
            for user in users {
                state.pending.look(user);
            }
        }
        looked.map(|()| true)
    }

    async fn look_for(&self, users: &[UserId]) -> Result<()> {
        let lists = self.friends(users).await?;
        let all: HashSet<UserId> = lists.iter().flat_map(|(_, friends)| friends).copied().collect();
        let all: Vec<UserId> = all.into_iter().collect();
        let states = self.bus.states(&all).await?;
        let mut news = HashMap::with_capacity(all.len());
        // The instance that saw a friend disconnect publishes that later.
        for (friend, state) in all.into_iter().zip(states).filter(|(_, it)| !may_come_back(it)) {
            news.insert(friend, self.news(friend, state)?);
        }
        for (user, friends) in lists {
            for news in friends.iter().filter_map(|friend| news.get(friend)) {
                self.hub.meet(user, news);
            }
        }
        Ok(())
    }

    /// The friends of each user, in the order of `users`.
    async fn friends(&self, users: &[UserId]) -> Result<Vec<(UserId, Vec<UserId>)>> {
        let lists = stream::iter(users.to_vec()).map(|user| {
            let store = self.store.clone();
            async move {
                let friends =
                    store.relations().page(user, Standing::Accepted, None, MAX_FRIENDS).await?;
                Ok((user, friends.into_iter().map(|friend| friend.user).collect()))
            }
        });
        lists.buffered(CONCURRENT_LISTS).try_collect().await
    }

    fn news(&self, user: UserId, state: State) -> Result<PresenceUpdate> {
        let State { online, seen, stamp, .. } = state;
        let data = data::Presence { user_id: user, online, last_seen_at: seen.filter(|_| !online) };
        let frame = frame(FrameKind::Presence, None, self.clock.now(), &data)?;
        Ok(PresenceUpdate { user, stamp, online, frame })
    }
}

/// Whether a user disconnected too short a time ago to be published as offline.
fn may_come_back(state: &State) -> bool {
    !state.online && state.heard_of < OFFLINE_DELAY
}

async fn soon(work: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(PUBLISH_TIMEOUT, work).await.map_err(|_| Error::unavailable())?
}
