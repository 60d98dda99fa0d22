//! Signing in and staying so: sessions, and the token pairs that belong to them.

use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::mail_rules::MailRules;
use super::networks::Networks;
use super::session_cache::SessionCache;
use super::tokens::RefreshTokens;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::mails::MailKind;
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::sessions::{Device, Session, SignedIn, SignedInDevice};
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::repositories;
use crate::repositories::accounts::Accounts;
use crate::repositories::password::SignIn;
use crate::repositories::sessions::SessionRoom;
use crate::repositories::users::{Credentials, Users};

/// How long a replaced refresh token still gives the newest pair: an answer may have been lost,
/// or two tabs asked at once.
const GRACE: Duration = Duration::from_secs(10);

/// Begins, renews and ends sessions.
#[derive(Debug)]
pub struct Sessions {
    pub(super) rows: repositories::sessions::Sessions,
    pub(super) accounts: Accounts,
    pub(super) users: Users,
    pub(super) access: Arc<Access>,
    pub(super) live: Arc<SessionCache>,
    pub(super) rules: MailRules,
    pub(super) refresh: RefreshTokens,
    pub(super) cursors: Cursors,
    pub(super) clock: Clock,
    pub(super) networks: Networks,
    /// Sessions that one account may have.
    pub(super) quota: Option<u32>,
}

impl Sessions {
    /// Begins a session of someone who has shown who they are; `None` if that was by a password
    /// which was replaced in this very moment. An account that has as many sessions as it may
    /// loses the one that was used longest ago.
    pub async fn start(&self, known: Credentials, device: &Device) -> Result<Option<SignedIn>> {
        let (now, network) = (self.clock.now(), self.networks.key_of(device));
        let notice = self.rules.notice(MailKind::NewDevice, known.user.id, now);
        let sign_in = SignIn { device: device.clone(), network, room: self.room() };
        let started = self.accounts.start_session(&known, sign_in, &notice, now).await;
        if started.is_err() {
            // One may have ended all the same.
            self.live.forget_user(known.user.id);
        }
        let Some((session, ended)) = started? else { return Ok(None) };
        for session in ended {
            self.live.forget(session);
        }
        self.pair(&session, known.user).map(Some)
    }

    fn room(&self) -> Option<SessionRoom> {
        let live = self.live.clone();
        let used_here = Arc::new(move |session| live.last_use(session));
        self.quota.map(|most| SessionRoom { most, used_here })
    }

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
        let session = match self.rows.rotate(id, generation, device, now).await? {
            Some(session) => Some(session),
            None => self.again(id, generation).await?,
        };
        let session = session.ok_or_else(invalid)?;
        let user = self.users.find(session.user, now).await?.ok_or_else(invalid)?;
        self.pair(&session, user)
    }

    /// The session of a generation that is not its newest; `None` if it has ended.
    async fn again(&self, id: SessionId, generation: u32) -> Result<Option<Session>> {
        let now = self.clock.now();
        let Some(found) = self.rows.replaced(id, generation, now).await? else { return Ok(None) };
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
        let found = self.rows.of(user, after, limit.get() + 1, self.clock.now()).await?;
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
        let ended = self.rows.end(session, user).await;
        // Also where the store did not say: it may have ended.
        self.live.forget(session);
        ended
    }

    /// Ends all sessions of a user but one, and withdraws a change of address that waits for its
    /// link: one of them may have asked for it.
    pub async fn end_others(&self, user: UserId, kept: SessionId) -> Result<()> {
        let ended = self.accounts.end_other_sessions(user, kept).await;
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
