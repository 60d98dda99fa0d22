//! Friends: asking, answering, ending, listing.

pub(super) mod telling;

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::user_directory::UserDirectory;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::UserId;
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::relations::{
    Direction, RelationPosition, RelationStatus, Standing, not_oneself, recipient_unavailable,
};
use crate::domain::users::PublicUser;
use crate::error::{Error, Result};
use crate::store::Repositories;
use crate::store::rows::relations::Row;
use crate::store::striped_locks::StripedLocks;
use crate::store::{Store, Tx};

/// How one now stands with another.
#[derive(Debug, Serialize, ToSchema)]
pub struct Friendship {
    /// The other one.
    pub user_id: UserId,
    /// Pending or accepted.
    pub status: RelationStatus,
    /// Which way a pending request goes.
    pub direction: Option<Direction>,
}

impl Friendship {
    fn new(user_id: UserId, standing: Standing) -> Self {
        Self { user_id, status: standing.status(), direction: standing.direction() }
    }
}

/// An item of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Friend {
    /// The other one.
    pub user: PublicUser,
    /// Pending or accepted.
    pub status: RelationStatus,
    /// Which way a pending request goes.
    pub direction: Option<Direction>,
    /// Since when it has stood so.
    pub since: Timestamp,
}

/// The rules of friendship.
#[derive(Debug)]
pub struct Friends {
    store: Store,
    profiles: Arc<UserDirectory>,
    cursors: Cursors,
    clock: Clock,
    /// Outgoing requests of one account that may wait.
    quota: Option<u32>,
    /// Requests of one account are made one after another in an instance: each writes its row.
    locks: StripedLocks,
}

impl Friends {
    /// Friendship over these repositories; of one account, `quota` requests may wait.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        profiles: Arc<UserDirectory>,
        cursors: Cursors,
        clock: &Clock,
        quota: Option<u32>,
    ) -> Self {
        let store = repositories.store.clone();
        let (clock, locks) = (clock.clone(), StripedLocks::new());
        Self { store, profiles, cursors, clock, quota, locks }
    }

    /// Asks `other` to be friends. Whoever has a request of theirs waiting thereby accepts it.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found unless `other` is verified and there;
    /// `recipient_unavailable` if one of the two has blocked the other; `request_already_sent`,
    /// `already_friends`; `limit_reached` if as many requests wait as may; the store is away.
    pub async fn add(&self, user: UserId, other: UserId) -> Result<Friendship> {
        not_oneself(user, other)?;
        if !self.store.users().active(&[other]).await?.contains(&other) {
            return Err(Error::not_found());
        }
        let (most, at) = (self.quota, self.clock.now());
        let _turn = self.locks.lock(user.bytes()).await;
        let asked = self.store.transact(async move |tx| ask(tx, user, other, most, at).await);
        Ok(Friendship::new(other, asked.await?))
    }

    /// Accepts the request of `other`. Repeated, as after a lost answer, it finds the two friends
    /// and says so again.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found if there is nothing to accept; `recipient_unavailable` if
    /// one of the two has blocked the other; the store is away.
    pub async fn accept(&self, user: UserId, other: UserId) -> Result<Friendship> {
        not_oneself(user, other)?;
        let at = self.clock.now();
        self.store
            .transact(async move |tx| {
                if tx.relations().accept(user, other, at).await? {
                    return telling::accepted(tx, user, other, at).await;
                }
                match tx.relations().find(user, other).await? {
                    Some(row) if row.is_block() => Err(recipient_unavailable()),
                    Some(row) if row.is_friendship() => Ok(()),
                    _ => Err(Error::not_found()),
                }
            })
            .await?;
        Ok(Friendship::new(other, Standing::Accepted))
    }

    /// Refuses the request of `other`.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found if there is none; the store is away.
    pub async fn decline(&self, user: UserId, other: UserId) -> Result<()> {
        not_oneself(user, other)?;
        let at = self.clock.now();
        self.store
            .transact(async move |tx| {
                let row = tx.relations().take_request(other, user).await?;
                over(tx, row, user, at).await
            })
            .await
    }

    /// Ends the friendship with `other`, or the request between the two, whoever asked.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found if there is nothing; the store is away.
    pub async fn remove(&self, user: UserId, other: UserId) -> Result<()> {
        not_oneself(user, other)?;
        let at = self.clock.now();
        self.store
            .transact(async move |tx| {
                let row = tx.relations().take_friendly(user, other).await?;
                over(tx, row, user, at).await
            })
            .await
    }

    /// Those who stand so with `user`, newest first.
    ///
    /// # Errors
    /// `invalid_cursor`; the store is away.
    pub async fn list(
        &self,
        user: UserId,
        standing: Standing,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<Friend>> {
        let scope = ListScope { list: list_name(standing), reader: user };
        let before: Option<RelationPosition> = self.cursors.resume(scope, cursor)?;
        let relations =
            self.store.relations().page(user, standing, before, limit.get() + 1).await?;
        let page = self.cursors.page(scope, limit, relations, |relation| RelationPosition {
            since: relation.since,
            user: relation.user,
        });
        let others: Vec<UserId> = page.items.iter().map(|relation| relation.user).collect();
        let mut profiles = self.profiles.many(&others).await?;
        Ok(page.map(|relation| Friend {
            user: profiles
                .remove(&relation.user)
                .unwrap_or_else(|| PublicUser::gone(relation.user)),
            status: relation.standing.status(),
            direction: relation.standing.direction(),
            since: relation.since,
        }))
    }
}

fn list_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Accepted => "friends/accepted",
        Standing::Incoming => "friends/incoming",
        Standing::Outgoing => "friends/outgoing",
    }
}

/// Asks for friendship, or accepts the other's request if there is one: the standing after.
async fn ask(
    tx: &mut Tx,
    user: UserId,
    other: UserId,
    most: Option<u32>,
    at: Timestamp,
) -> Result<Standing> {
    match tx.relations().ask(user, other, at).await?.map(|row| row.standing(user)) {
        Some(None) => Err(recipient_unavailable()),
        Some(Some(Standing::Accepted)) => Err(already_friends()),
        Some(Some(Standing::Outgoing)) => Err(already_sent()),
        Some(Some(Standing::Incoming)) => {
            telling::accepted(tx, user, other, at).await?;
            Ok(Standing::Accepted)
        }
        None => {
            check_room(tx, user, most).await?;
            telling::requested(tx, user, other, at).await?;
            Ok(Standing::Outgoing)
        }
    }
}

/// Refuses a request that has just been written if it is one too many. The account's row is
/// written, so that of many requests at once each counts those before it.
async fn check_room(tx: &mut Tx, user: UserId, most: Option<u32>) -> Result<()> {
    let Some(most) = most else { return Ok(()) };
    tx.users().count_request(user).await?;
    let waiting = tx.relations().count_outgoing(user, most as usize + 1).await?;
    if waiting > u64::from(most) { Err(too_many_requests()) } else { Ok(()) }
}

/// Tells of what was taken away, if there was anything.
async fn over(tx: &mut Tx, row: Option<Row>, user: UserId, at: Timestamp) -> Result<()> {
    telling::removed(tx, &row.ok_or_else(Error::not_found)?, user, at).await
}

fn too_many_requests() -> Error {
    Error::conflict("limit_reached", "you have the maximum number of pending friend requests")
}

fn already_friends() -> Error {
    Error::conflict("already_friends", "you are already friends")
}

fn already_sent() -> Error {
    Error::conflict("request_already_sent", "your friend request is still pending")
}
