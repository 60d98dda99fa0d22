//! Deleting an account. One transaction ends it; what it leaves elsewhere goes in steps that can
//! be repeated, by whichever instance comes to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::friends::telling::removed;
use super::groups::Groups;
use super::guesses::Guesses;
use super::password::confirm;
use super::session_cache::SessionCache;
use crate::cache::profiles::ProfileCache;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::groups::GroupPosition;
use crate::domain::ids::UserId;
use crate::domain::notifications::NotificationId;
use crate::domain::users::account_gone;
use crate::error::{Kind, Result};
use crate::repositories::Repositories;
use crate::repositories::departures::Departed;
use crate::repositories::store::Tx;

/// How often accounts are looked for that have left something behind.
const LOOK: Duration = Duration::from_secs(2);

/// For how long that is left to the request that deleted the account.
const HEAD_START: Duration = Duration::from_secs(5);

/// After which no request can be under way any more that began before the deletion, and might
/// still add something: what is cleaned then stays clean.
const SETTLED: Duration = Duration::from_mins(1);

/// Accounts, groups and relations that are taken on in one go.
const AT_ONCE: usize = 50;

/// Steps of taking back reactions, of one account in one go: who has reacted to very much keeps
/// neither the request that deletes the account waiting, nor the other accounts.
const REACTION_STEPS: usize = 20;

/// Steps in one go of noting whose the reactions of an earlier version are.
const NAMING_STEPS: usize = 20;

/// The rules of leaving for good.
#[derive(Debug)]
pub struct Deletion {
    pub(super) repositories: Repositories,
    pub(super) groups: Arc<Groups>,
    pub(super) guesses: Guesses,
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
        let Repositories { users, accounts, .. } = &self.repositories;
        let known = confirm(&self.guesses, users, &self.clock, user, password).await?;
        let deleted = accounts.delete(&known, self.clock.now()).await;
        // Also where the store did not say: it may be gone.
        self.live.forget_user(user);
        if !deleted? {
            return Err(account_gone());
        }
        if let Err(error) = self.clean(user).await {
            // The account is gone whatever is left of it.
            tracing::warn!(event = "deletion_unfinished", %user, %error);
        }
        Ok(())
    }

    /// Goes on with deletions that were not finished, of any instance, until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut is_renewed = false;
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
            is_renewed = is_renewed || self.renew_email_keys().await;
            if let Err(error) = self.go_on().await {
                tracing::warn!(event = "deletion_unfinished", %error);
            }
        }
    }

    /// Once after the start; whether it was done.
    async fn renew_email_keys(&self) -> bool {
        match self.repositories.accounts.renew_email_keys().await {
            Ok(0) => true,
            Ok(accounts) => {
                tracing::warn!(event = "mailboxes_shared", accounts);
                true
            }
            Err(error) => {
                tracing::warn!(event = "deletion_unfinished", %error);
                false
            }
        }
    }

    async fn go_on(&self) -> Result<()> {
        let now = self.clock.now();
        self.repositories.users.free_old_names(now).await?;
        let departures = &self.repositories.departures;
        let all_named = self.name_reactions().await?;
        let count = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
        for left in departures.unfinished(now.minus(HEAD_START), count).await? {
            // One that cannot be cleaned must not keep the others from it.
            if let Err(error) = self.clean_settled(left, all_named, now).await {
                tracing::warn!(event = "deletion_unfinished", user = %left.user, %error);
            }
        }
        Ok(())
    }

    /// Whether it is known of all reactions whose they are.
    async fn name_reactions(&self) -> Result<bool> {
        for _ in 0..NAMING_STEPS {
            if !self.repositories.departures.name_reactions().await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn clean_settled(
        &self,
        Departed { user, at }: Departed,
        all_named: bool,
        now: Timestamp,
    ) -> Result<()> {
        let is_clean = self.clean(user).await? && all_named;
        if is_clean && now.since(at) >= SETTLED {
            self.repositories.departures.finish(user).await?;
            tracing::info!(event = "deletion_finished", %user);
        }
        Ok(())
    }

    /// Removes what a deleted account has left; again changes nothing. `false` where there may be
    /// more.
    async fn clean(&self, user: UserId) -> Result<bool> {
        self.cache.forget(user).await;
        self.leave_groups(user).await?;
        self.forget_relations(user).await?;
        self.repositories.store.notifications().withdraw_of(user).await?;
        for _ in 0..REACTION_STEPS {
            if !self.repositories.revisions.forget_reactions(user, self.clock.now()).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes a user's relations of every kind, on both sides; the others are told.
    async fn forget_relations(&self, user: UserId) -> Result<()> {
        let store = &self.repositories.store;
        loop {
            let others = store.relations().others_of(user, AT_ONCE).await?;
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
            let places = self.repositories.store.members().groups_of(user, before, AT_ONCE).await?;
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
