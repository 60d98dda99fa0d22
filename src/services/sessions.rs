//! Signing in and staying so: sessions, and the token pairs that belong to them.

mod start;

use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::mail_rules::MailRules;
use super::networks::Networks;
use super::session_cache::SessionCache;
use super::tokens::RefreshTokens;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::mails::LinkKind;
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::sessions::{Device, Session, SignedIn, SignedInDevice};
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::store::striped_locks::StripedLocks;
use crate::store::{Store, Tx};

/// How long a replaced refresh token still gives the newest pair: an answer may have been lost,
/// or two tabs asked at once.
const GRACE: Duration = Duration::from_secs(10);

/// Begins, renews and ends sessions.
#[derive(Debug)]
pub struct Sessions {
    pub(super) store: Store,
    pub(super) access: Arc<Access>,
    pub(super) live: Arc<SessionCache>,
    pub(super) rules: MailRules,
    pub(super) refresh: RefreshTokens,
    pub(super) cursors: Cursors,
    pub(super) clock: Clock,
    pub(super) networks: Networks,
    /// Sign-ins to one account run one after another in an instance: each writes its row, and
    /// many at once would only repeat their transactions.
    pub(super) locks: StripedLocks,
    /// Sessions that one account may have.
    pub(super) quota: Option<u32>,
}

impl Sessions {
    /// The next token pair for a refresh token. One that was replaced a moment ago gives the
    /// newest pair; one replaced longer ago is in the wrong hands, which ends the session.
    ///
    /// # Errors
    /// `invalid_refresh_token`, `refresh_token_reused`; or the store is away.
    pub async fn refresh(&self, token: &str, device: &Device) -> Result<SignedIn> {
        let invalid = || {
            Error::unauthenticated(
                "invalid_refresh_token",
                "refresh token is invalid or expired; sign in again",
            )
        };
        let now = self.clock.now();
        let (id, generation) = self.refresh.open(token).ok_or_else(invalid)?;
        let session = match self.store.sessions().rotate(id, generation, device, now).await? {
            Some(session) => Some(session),
            None => self.again(id, generation).await?,
        };
        let session = session.ok_or_else(invalid)?;
        let account = self.store.users().find(session.user, now).await?.ok_or_else(invalid)?;
        self.pair(&session, account.user)
    }

    /// The session of a generation that is not its newest; `None` if it has ended.
    async fn again(&self, id: SessionId, generation: u32) -> Result<Option<Session>> {
        let now = self.clock.now();
        let found = self.store.sessions().replaced(id, generation, now).await?;
        let Some(found) = found else { return Ok(None) };
        // One replaced after now was replaced before the clock was set back: long ago.
        if found.at.is_some_and(|at| now.since(at) <= GRACE && at.since(now) <= GRACE) {
            return Ok(Some(found.session));
        }
        if found.session.generation <= generation {
            // What replaced it is not yet acknowledged: no reason to end anything.
            return Err(Error::unavailable());
        }
        self.remove(found.session.user, id).await?;
        tracing::warn!(
            event = "refresh_token_reused", session = %id, user = %found.session.user,
            "session ended"
        );
        let detail = "refresh token was already used, so its session has ended; sign in again";
        Err(Error::unauthenticated("refresh_token_reused", detail))
    }

    /// The sessions of a user, the newest first; `current` is the one that asks.
    ///
    /// # Errors
    /// `invalid_cursor`; or the store is away.
    pub async fn list(
        &self,
        user: UserId,
        current: SessionId,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<SignedInDevice>> {
        let scope = ListScope { list: "sessions", reader: user };
        let after: Option<(i64, SessionId)> = self.cursors.resume(scope, cursor)?;
        let after = after.map(|(at, id)| (Timestamp::from_millis(at), id));
        let (most, now) = (limit.get() + 1, self.clock.now());
        let found = self.store.sessions().page_of(user, after, most, now).await?;
        let page = self.cursors.page(scope, limit, found, |s| (s.created_at.millis(), s.id));
        Ok(page.map(|session| SignedInDevice {
            current: session.id == current,
            id: session.id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            ip: session.ip,
            user_agent: session.user_agent,
        }))
    }

    /// Ends the session that asks for it, if it still stands.
    pub async fn log_out(&self, user: UserId, session: SessionId) -> Result<()> {
        self.remove(user, session).await.map(drop)
    }

    /// Ends a session of a user.
    ///
    /// # Errors
    /// `not_found` unless it is theirs; or the store is away.
    pub async fn end(&self, user: UserId, session: SessionId) -> Result<()> {
        if self.remove(user, session).await? { Ok(()) } else { Err(Error::not_found()) }
    }

    async fn remove(&self, user: UserId, session: SessionId) -> Result<bool> {
        let ended = self.store.sessions().end(session, user).await;
        // Also where the store did not say: it may have ended.
        self.live.forget(session);
        ended
    }

    /// Ends all sessions of a user but one, and withdraws a change of address that waits for its
    /// link: one of them may have asked for it.
    pub async fn end_others(&self, user: UserId, kept: SessionId) -> Result<()> {
        let body = async move |tx: &mut Tx| {
            // Written first, so that a change asked for by a session that ends here comes before,
            // or meets the end of its session.
            tx.users().withdraw_email(user).await?;
            tx.tokens().withdraw(user, &[LinkKind::Verify]).await?;
            tx.sessions().end_of(user, Some(kept)).await
        };
        let ended = self.store.transact(body).await;
        // Also where the store did not say: they may have ended.
        self.live.forget_others(user, kept);
        ended
    }

    /// The newest pair of a session: the same, however often it is asked for.
    fn pair(&self, session: &Session, user: User) -> Result<SignedIn> {
        let access = self.access.issue(session)?;
        Ok(SignedIn {
            access_token: access.token,
            token_type: "Bearer",
            expires_in: access.expires_at - self.clock.now().seconds(),
            refresh_token: self.refresh.token(session.id, session.generation),
            user,
        })
    }
}
