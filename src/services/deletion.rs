//! Deleting an account. One transaction ends it, and enqueues the job that removes what it leaves
//! elsewhere, in steps that can be repeated. The request takes the first of them itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::attachments::uses::let_go;
use super::friends::telling::removed;
use super::groups::Groups;
use super::login_throttle::LoginThrottle;
use super::messages::Changes;
use super::password_changes::confirm;
use super::session_cache::SessionCache;
use crate::cache::profiles::ProfileCache;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::groups::GroupPosition;
use crate::domain::ids::UserId;
use crate::domain::jobs::Enqueue;
use crate::domain::notifications::NotificationId;
use crate::domain::users::{AccountCleanup, CLEANUP_HEAD_START, account_gone};
use crate::error::{Kind, Result};
use crate::store::Repositories;
use crate::store::Tx;

/// The wait before what failed at the start is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// Groups and relations that are taken on in one go.
const CLEANUP_BATCH: usize = 50;

/// Steps of taking back reactions, of one account in one go: who has reacted to very much keeps
/// neither the request that deletes the account waiting, nor the other accounts.
const REACTION_STEPS: usize = 20;

/// Reactions of which it is noted in one step whose they are.
const NAMED_AT_ONCE: usize = 500;

/// Steps in one go of noting whose the reactions of an earlier version are.
const NAMING_STEPS: usize = 20;

/// The rules of leaving for good.
#[derive(Debug)]
pub struct Deletion {
    pub(super) repositories: Repositories,
    pub(super) changes: Changes,
    pub(super) groups: Arc<Groups>,
    pub(super) throttle: LoginThrottle,
    pub(super) live: Arc<SessionCache>,
    pub(super) cache: ProfileCache,
    pub(super) clock: Clock,
}

impl Deletion {
    /// Deletes the account of someone who is signed in. Their messages stay.
    ///
    /// # Errors
    /// `forbidden` if the password is wrong, which counts like signing in with it;
    /// `account_locked`; `session_revoked` if the account is gone already; or the store is away.
    pub async fn delete(&self, user: UserId, password: String) -> Result<()> {
        let store = &self.repositories.store;
        let known = confirm(&self.throttle, store, &self.clock, user, password).await?;
        let now = self.clock.now();
        let body = async move |tx: &mut Tx| {
            let before = tx.users().erase(&known, now).await?;
            // Another password by now, or deleted by another request.
            let Some(before) = before else { return Ok(false) };
            let picture = before.user.profile_picture.map(|picture| picture.id);
            let_go(tx, picture, now).await?;
            tx.tokens().withdraw_all(user).await?;
            tx.sessions().end_of(user, None).await?;
            tx.devices().forget(user).await?;
            tx.jobs().delete_of(user).await?;
            let cleanup = AccountCleanup { user, deleted_at: now };
            let how = Enqueue::now(now).with_id(cleanup.id()).due(now.plus(CLEANUP_HEAD_START));
            tx.jobs().enqueue(&cleanup, how).await?;
            Ok(true)
        };
        let deleted = store.transact(body).await;
        // Also where the store did not say: it may be gone.
        self.live.forget_user(user);
        if !deleted? {
            return Err(account_gone());
        }
        if let Err(error) = self.clean(user).await {
            // The account is gone whatever is left of it.
            tracing::warn!(event = "deletion_unfinished", %user, %error, "cleanup goes on later");
        }
        Ok(())
    }

    /// Renews keys of addresses that an earlier natter has stored, once after the start.
    pub async fn renew_email_keys(self: Arc<Self>, stop: CancellationToken) {
        loop {
            match self.repositories.store.renew_email_keys(self.clock.now()).await {
                Ok(accounts) => {
                    if accounts > 0 {
                        tracing::warn!(
                            event = "mailboxes_shared",
                            accounts,
                            "accounts share a mailbox"
                        );
                    }
                    return stop.cancelled().await;
                }
                Err(error) => {
                    tracing::warn!(event = "email_keys_delayed", %error, "cannot renew address keys");
                }
            }
            tokio::select! {
                () = sleep(RETRY_DELAY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Notes whose the reactions of an earlier version are, and flags the deleted accounts among
    /// those users; whether that is known of all now. Until it is, nobody knows of any account that
    /// no reaction is left.
    pub(super) async fn name_reactions(&self) -> Result<bool> {
        let store = &self.repositories.store;
        for _ in 0..NAMING_STEPS {
            let unnamed = store.reactions().unnamed(NAMED_AT_ONCE).await?;
            if unnamed.is_empty() {
                return Ok(true);
            }
            // Flagged before they have a name, by which they would not be found again after a crash.
            let users: HashSet<UserId> = unnamed.iter().map(|it| it.user).collect();
            let users: Vec<UserId> = users.into_iter().collect();
            store.users().flag_departed(&users).await?;
            store.reactions().name(&unnamed).await?;
        }
        Ok(false)
    }

    /// Removes what a deleted account has left; again changes nothing. `false` where there may be
    /// more.
    pub(super) async fn clean(&self, user: UserId) -> Result<bool> {
        self.cache.forget(user).await;
        self.leave_groups(user).await?;
        self.forget_relations(user).await?;
        self.repositories.store.notifications().withdraw_of(user).await?;
        for _ in 0..REACTION_STEPS {
            if !self.changes.forget_reactions(user, self.clock.now()).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes a user's relations of every kind, on both sides; the others are told.
    async fn forget_relations(&self, user: UserId) -> Result<()> {
        let store = &self.repositories.store;
        loop {
            let others = store.relations().others_of(user, CLEANUP_BATCH).await?;
            if others.is_empty() {
                return Ok(());
            }
            for other in others {
                let at = self.clock.now();
                store.transact(async move |tx| forget(tx, user, other, at).await).await?;
            }
        }
    }

    async fn leave_groups(&self, user: UserId) -> Result<()> {
        let mut before = None;
        loop {
            let places =
                self.repositories.store.members().groups_of(user, before, CLEANUP_BATCH).await?;
            let Some(last) = places.last() else { return Ok(()) };
            let group = last.conversation.as_group();
            before = Some(GroupPosition { joined_at: last.joined_at, group });
            for place in places {
                let group = place.conversation.as_group();
                match self.groups.rules.leave(group, user, self.clock.now()).await {
                    // Removed by someone, or by another instance, in the meantime.
                    Err(error) if error.kind() == Kind::NotFound => {}
                    outcome => outcome?,
                }
            }
        }
    }
}

/// Forgets whatever there is between the two, blocks included, as `user` is gone for good; and what
/// each was told of the other's requests, answered or not.
async fn forget(tx: &mut Tx, user: UserId, other: UserId, at: Timestamp) -> Result<()> {
    if let Some(row) = tx.relations().take(user, other).await? {
        removed(tx, &row, user, at).await?;
    }
    for (reader, asker) in [(user, other), (other, user)] {
        tx.notifications().withdraw(NotificationId::friend_request(reader, asker)).await?;
    }
    Ok(())
}
