//! Friends: asking, answering, ending, listing.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::profiles::Profiles;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::UserId;
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::relations::{
    Direction, RelationPosition, RelationStatus, Standing, not_oneself,
};
use crate::domain::users::PublicUser;
use crate::error::{Error, Result};
use crate::repositories::Repositories;
use crate::repositories::relations::Relations;
use crate::repositories::users::Users;

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
    relations: Relations,
    users: Users,
    profiles: Arc<Profiles>,
    cursors: Cursors,
    clock: Clock,
    /// Outgoing requests of one account that may wait.
    quota: Option<u32>,
}

impl Friends {
    /// Friendship over these repositories; of one account, `quota` requests may wait.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        profiles: Arc<Profiles>,
        cursors: Cursors,
        clock: &Clock,
        quota: Option<u32>,
    ) -> Self {
        let Repositories { relations, users, .. } = repositories.clone();
        Self { relations, users, profiles, cursors, clock: clock.clone(), quota }
    }

    /// Asks `other` to be friends. Whoever has a request of theirs waiting thereby accepts it.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found unless `other` is verified and there;
    /// `recipient_unavailable` if one of the two has blocked the other; `request_already_sent`,
    /// `already_friends`; `limit_reached` if as many requests wait as may; the store is away.
    pub async fn add(&self, user: UserId, other: UserId) -> Result<Friendship> {
        not_oneself(user, other)?;
        if !self.users.active(&[other]).await?.contains(&other) {
            return Err(Error::not_found());
        }
        let standing = self.relations.request(user, other, self.quota, self.clock.now()).await?;
        Ok(Friendship::new(other, standing))
    }

    /// Accepts the request of `other`. Repeated, as after a lost answer, it finds the two friends
    /// and says so again.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found if there is nothing to accept; `recipient_unavailable` if
    /// one of the two has blocked the other; the store is away.
    pub async fn accept(&self, user: UserId, other: UserId) -> Result<Friendship> {
        not_oneself(user, other)?;
        if !self.relations.accept(user, other, self.clock.now()).await? {
            return Err(Error::not_found());
        }
        Ok(Friendship::new(other, Standing::Accepted))
    }

    /// Refuses the request of `other`.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found if there is none; the store is away.
    pub async fn decline(&self, user: UserId, other: UserId) -> Result<()> {
        not_oneself(user, other)?;
        found(self.relations.decline(user, other, self.clock.now()).await?)
    }

    /// Ends the friendship with `other`, or the request between the two, whoever asked.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found if there is nothing; the store is away.
    pub async fn remove(&self, user: UserId, other: UserId) -> Result<()> {
        not_oneself(user, other)?;
        found(self.relations.remove(user, other, self.clock.now()).await?)
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
        let relations = self.relations.page(user, standing, before, limit.get() + 1).await?;
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

fn found(was_there: bool) -> Result<()> {
    if was_there { Ok(()) } else { Err(Error::not_found()) }
}
