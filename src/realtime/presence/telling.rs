//! Tells the friends of some how they are, and some how their friends are.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout};

use super::rounds::{AGAIN, TOGETHER};
use super::{GONE_FOR, Presence};
use crate::bus::presence::{News, State};
use crate::domain::events::FrameKind;
use crate::domain::ids::UserId;
use crate::domain::relations::Standing;
use crate::error::{Error, Result};
use crate::services::frames::{data, frame};

/// How long reading who are friends and telling them may take: what takes longer is read anew, as
/// they may be friends no more.
const SOON: Duration = Duration::from_secs(4);

/// How many lists of friends are read at once.
const LISTS: usize = 8;

/// Of how many friends one is told, and how many are told of one: the newest.
const FRIENDS: usize = 1000;

impl Presence {
    /// Tells the friends of some how they are; whether there were any.
    pub(super) async fn tell(&self) -> Result<bool> {
        let users = self.state().work.take_tell(TOGETHER, Instant::now());
        if users.is_empty() {
            return Ok(false);
        }
        let told = soon(self.tell_of(&users)).await;
        if told.is_err() {
            let mut state = self.state();
            let again = Instant::now() + AGAIN;
            for user in users {
                state.work.tell_again(user, again);
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
                let wait = GONE_FOR.saturating_sub(state.heard_of);
                self.state().work.tell_again(user, Instant::now() + wait);
                continue;
            }
            tellings.push((self.news(user, state)?, friends));
        }
        self.bus.tell_presence(&tellings).await
    }

    /// Tells some who are here how their friends are; whether there were any.
    pub(super) async fn look_around(&self) -> Result<bool> {
        let users = {
            let state = &mut *self.state();
            state.work.take_look(TOGETHER, Instant::now(), state.here.keys().copied())
        };
        if users.is_empty() {
            return Ok(false);
        }
        let looked = soon(self.look_for(&users)).await;
        if looked.is_err() {
            let mut state = self.state();
            for user in users {
                state.work.look(user);
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
        // Who may come back is told by whoever saw them go.
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

    /// The friends of some, each with theirs, in the same order.
    async fn friends(&self, users: &[UserId]) -> Result<Vec<(UserId, Vec<UserId>)>> {
        let lists = stream::iter(users.to_vec()).map(|user| {
            let store = self.store.clone();
            async move {
                let friends =
                    store.relations().page(user, Standing::Accepted, None, FRIENDS).await?;
                Ok((user, friends.into_iter().map(|friend| friend.user).collect()))
            }
        });
        lists.buffered(LISTS).try_collect().await
    }

    fn news(&self, user: UserId, state: State) -> Result<News> {
        let State { online, seen, stamp, .. } = state;
        let data = data::Presence { user_id: user, online, last_seen_at: seen.filter(|_| !online) };
        let frame = frame(FrameKind::Presence, None, self.clock.now(), &data)?;
        Ok(News { user, stamp, online, frame })
    }
}

/// Whether someone has just gone, from whichever instance: not long enough to be told to be.
fn may_come_back(state: &State) -> bool {
    !state.online && state.heard_of < GONE_FOR
}

async fn soon(work: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(SOON, work).await.map_err(|_| Error::unavailable())?
}
