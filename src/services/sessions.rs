//! Signing in and staying so: sessions, and the token pairs that belong to them.

use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::tokens::RefreshTokens;
use crate::domain::clock::Clock;
use crate::domain::sessions::{Device, Session, SignedIn};
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::repositories;
use crate::repositories::users::Users;

/// How long a replaced refresh token still gives the newest pair: an answer may have been lost,
/// or two tabs asked at once.
const GRACE: Duration = Duration::from_secs(10);

/// Begins, renews and ends sessions.
#[derive(Debug)]
pub struct Sessions {
    rows: repositories::sessions::Sessions,
    users: Users,
    access: Arc<Access>,
    refresh: RefreshTokens,
    clock: Clock,
}

impl Sessions {
    /// Sessions whose access tokens `access` issues.
    #[must_use]
    pub fn new(
        rows: repositories::sessions::Sessions,
        users: Users,
        access: Arc<Access>,
        refresh: RefreshTokens,
        clock: &Clock,
    ) -> Self {
        Self { rows, users, access, refresh, clock: clock.clone() }
    }

    /// Begins a session of someone who has shown who they are.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn start(&self, user: User, device: &Device) -> Result<SignedIn> {
        let session = self.rows.start(user.id, device, self.clock.now()).await?;
        self.pair(&session, user)
    }

    /// The next token pair for a refresh token. One that was replaced a moment ago gives the
    /// newest pair; one replaced longer ago is in the wrong hands, which ends the session.
    ///
    /// # Errors
    /// `invalid_refresh_token`, `refresh_token_reused`; or the store is away.
    pub async fn refresh(&self, token: &str, device: &Device) -> Result<SignedIn> {
        let invalid = || {
            Error::unauthenticated("invalid_refresh_token", "not a refresh token that can be used")
        };
        let now = self.clock.now();
        let (id, generation) = self.refresh.open(token).ok_or_else(invalid)?;
        let session = match self.rows.rotate(id, generation, device, now).await? {
            Some(session) => session,
            None => self.again(id, generation).await?.ok_or_else(invalid)?,
        };
        let user = self.users.find(session.user, now).await?.ok_or_else(invalid)?;
        self.pair(&session, user)
    }

    /// The session of a generation that is not its newest; `None` if it has ended.
    async fn again(
        &self,
        id: crate::domain::ids::SessionId,
        generation: u32,
    ) -> Result<Option<Session>> {
        let now = self.clock.now();
        let Some(found) = self.rows.replaced(id, generation, now).await? else { return Ok(None) };
        if found.at.is_some_and(|at| now.since(at) <= GRACE) {
            return Ok(Some(found.session));
        }
        self.rows.end(id, found.session.user).await?;
        tracing::warn!(event = "refresh_token_reused", session = %id, user = %found.session.user);
        let detail = "this refresh token was used before: the session has ended";
        Err(Error::unauthenticated("refresh_token_reused", detail))
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
