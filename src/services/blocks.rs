//! Blocks: who wants nothing new from whom.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::access_revocation::AccessRevocation;
use super::friends::telling::removed;
use super::user_directory::UserDirectory;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::notifications::NotificationId;
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::relations::{BlockPosition, not_oneself};
use crate::domain::users::PublicUser;
use crate::error::{Error, Result};
use crate::store::Repositories;
use crate::store::{Store, Tx};

/// Someone whom one has blocked.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockedUser {
    /// Who.
    pub user: PublicUser,
    /// Since when.
    pub created_at: Timestamp,
}

/// The rules of blocks.
#[derive(Debug)]
pub struct Blocks {
    store: Store,
    profiles: Arc<UserDirectory>,
    revocation: AccessRevocation,
    cursors: Cursors,
    clock: Clock,
}

impl Blocks {
    /// Blocks over these repositories.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        profiles: Arc<UserDirectory>,
        revocation: AccessRevocation,
        cursors: Cursors,
        clock: &Clock,
    ) -> Self {
        let store = repositories.store.clone();
        Self { store, profiles, revocation, cursors, clock: clock.clone() }
    }

    /// Blocks `other`: the friendship or request between the two ends, and nothing new begins in
    /// either direction. Again, it says the same again, even if `other` is gone by now.
    ///
    /// A message that was let through a moment before may still be stored, but no device is told
    /// of it.
    ///
    /// # Errors
    /// `cannot_friend_self`; not found unless `other` is verified and there; the store is away.
    pub async fn block(&self, user: UserId, other: UserId) -> Result<BlockedUser> {
        not_oneself(user, other)?;
        let created_at = match self.store.relations().blocked_since(user, other).await? {
            Some(at) => at,
            None if self.store.users().active(&[other]).await?.is_empty() => {
                return Err(Error::not_found());
            }
            None => {
                let at = self.clock.now();
                self.store.transact(async move |tx| block(tx, user, other, at).await).await?
            }
        };
        self.revocation.between(user, other).await;
        let user = self.profiles.many(&[other]).await?.remove(&other);
        Ok(BlockedUser { user: user.unwrap_or_else(|| PublicUser::gone(other)), created_at })
    }

    /// Takes the block of `other` back, if there is one; nothing that it ended comes back.
    ///
    /// # Errors
    /// `cannot_friend_self`; the store is away.
    pub async fn unblock(&self, user: UserId, other: UserId) -> Result<()> {
        not_oneself(user, other)?;
        self.store
            .transact(async move |tx| {
                let row = tx.relations().unblock(user, other).await?;
                if row.is_some_and(|row| row.has_no_block()) {
                    tx.relations().take(user, other).await?;
                    tx.members().show_marks(user, other).await?;
                }
                Ok(())
            })
            .await
    }

    /// Those whom `user` has blocked, the last first.
    ///
    /// # Errors
    /// `invalid_cursor`; the store is away.
    pub async fn list(
        &self,
        user: UserId,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<BlockedUser>> {
        let scope = ListScope { list: "blocks", reader: user };
        let before: Option<BlockPosition> = self.cursors.resume(scope, cursor)?;
        let blocks = self.store.blocks(user, before, limit.get() + 1).await?;
        let page = self
            .cursors
            .page(scope, limit, blocks, |block| BlockPosition { at: block.at, user: block.user });
        let others: Vec<UserId> = page.items.iter().map(|block| block.user).collect();
        let mut profiles = self.profiles.many(&others).await?;
        Ok(page.map(|block| BlockedUser {
            user: profiles.remove(&block.user).unwrap_or_else(|| PublicUser::gone(block.user)),
            created_at: block.at,
        }))
    }
}

/// Blocks `other`: whatever was between the two ends, and nothing of `other` waits for `user` any
/// more. Since when; again changes nothing.
async fn block(tx: &mut Tx, user: UserId, other: UserId, at: Timestamp) -> Result<Timestamp> {
    // First, as each message that `other` sends meanwhile writes this row, too: a transaction that
    // came to it late would find it changed, again and again.
    tx.members().stop_waiting(ConversationId::direct(user, other), user).await?;
    let before = tx.relations().block(user, other, at).await?;
    if let Some(at) = before.as_ref().and_then(|row| row.blocked_by(user)) {
        return Ok(at);
    }
    if let Some(row) = before {
        removed(tx, &row, user, at).await?;
    }
    tx.notifications().withdraw(NotificationId::friend_request(user, other)).await?;
    tx.notifications().withdraw(NotificationId::friend_accepted(user, other)).await?;
    Ok(at)
}
