//! Checking passwords, with an end to guessing: five wrong ones in a row for an e-mail address,
//! whether an account has it or not, and then pauses that grow.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::password_hasher::{Lane, PasswordHasher, Verdict};
use crate::admission;
use crate::domain::accounts::Credentials;
use crate::domain::clock::Clock;
use crate::domain::lockouts::FREE_ATTEMPTS;
use crate::domain::secrets::MacKey;
use crate::domain::text::Email;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::rows::lockouts::{Attempt, LockoutKey, Taken};

/// How long an attempt waits for others on the same address.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// The first wait between two looks, doubled by each …
const FIRST_POLL_DELAY: Duration = Duration::from_millis(10);

/// … up to this.
const MAX_POLL_DELAY: Duration = Duration::from_millis(160);

/// Checks passwords and counts the wrong ones; cloning shares the count.
#[derive(Debug, Clone)]
pub struct LoginThrottle {
    store: Store,
    passwords: PasswordHasher,
    key: MacKey,
    clock: Clock,
}

impl LoginThrottle {
    /// Counts in the lockouts of this store, under the service's key for them.
    #[must_use]
    pub fn new(store: &Store, passwords: PasswordHasher, master: &[u8], clock: &Clock) -> Self {
        let key = MacKey::derive(master, "lockout");
        Self { store: store.clone(), passwords, key, clock: clock.clone() }
    }

    /// What wrong passwords for the address of this key (see [`Email::key`]) are counted under.
    #[must_use]
    pub fn counted_under(&self, email_key: &str) -> LockoutKey {
        self.key.mac(&[email_key.as_bytes()])
    }

    /// The credentials that `look_up` finds for an address, if `given` is their password; `None`
    /// if it is not, or there are none, after the same work. `look_up` runs as late as it can. A
    /// hash of a cost that has been raised since is replaced.
    ///
    /// # Errors
    /// `account_locked`; or the store is away, or too many wait.
    pub async fn check(
        &self,
        email: &Email,
        given: String,
        lane: Lane,
        look_up: impl Future<Output = Result<Option<Credentials>>> + Send + 'static,
    ) -> Result<Option<Credentials>> {
        let (this, key) = (self.clone(), self.counted_under(&email.key()));
        // To its end, even where nobody waits for it any more: who hangs up is counted as well.
        let attempt =
            admission::spawn(async move { this.attempt(key, given, lane, look_up).await });
        attempt.await.map_err(Error::internal)?
    }

    async fn attempt(
        &self,
        key: LockoutKey,
        given: String,
        lane: Lane,
        look_up: impl Future<Output = Result<Option<Credentials>>> + Send,
    ) -> Result<Option<Credentials>> {
        let attempt = self.take(key).await?;
        match self.compare(given, lane, look_up).await {
            Ok(Some(found)) => self.forget(&attempt).await.map(|()| Some(found)),
            Ok(None) => self.count(&attempt).await.map(|()| None),
            Err(error) => {
                // Should this fail as well, the place is free after a minute.
                let _ = self.store.lockouts().give_back(&attempt).await;
                Err(error)
            }
        }
    }

    /// Waits for an attempt. Without that wait, those who know their password would be refused
    /// where several of their devices sign in at once.
    async fn take(&self, key: LockoutKey) -> Result<Attempt> {
        let (began, mut wait) = (Instant::now(), FIRST_POLL_DELAY);
        loop {
            let now = self.clock.now();
            match self.store.lockouts().take(key, now).await? {
                Taken::Attempt(attempt) => return Ok(attempt),
                Taken::Locked(until) => return Err(locked(until.since(now))),
                Taken::Busy if began.elapsed() > ATTEMPT_TIMEOUT => {
                    return Err(Error::unavailable().with_source("too many passwords for one"));
                }
                Taken::Busy => sleep(wait).await,
            }
            wait = (wait * 2).min(MAX_POLL_DELAY);
        }
    }

    async fn compare(
        &self,
        given: String,
        lane: Lane,
        look_up: impl Future<Output = Result<Option<Credentials>>> + Send,
    ) -> Result<Option<Credentials>> {
        let turn = self.passwords.acquire(lane).await?;
        let known = look_up.await?;
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let Verdict::Right(renewed) = turn.verify(given, hash).await? else { return Ok(None) };
        if let (Some(known), Some(renewed)) = (&known, renewed) {
            self.store.users().renew_hash(known, &renewed).await?;
        }
        Ok(known)
    }

    /// The password was right: none is wrong any more.
    async fn forget(&self, attempt: &Attempt) -> Result<()> {
        if self.store.lockouts().right_alone(attempt).await? {
            return Ok(());
        }
        self.store.lockouts().right(attempt).await
    }

    /// Counts a wrong password; past the free ones it is a lockout, whatever was taken before.
    async fn count(&self, attempt: &Attempt) -> Result<()> {
        let now = self.clock.now();
        let wrong = self.store.lockouts().wrong(attempt, now).await?;
        if wrong.count < FREE_ATTEMPTS {
            return Ok(());
        }
        let pause = wrong.locked_until.map_or(Duration::ZERO, |until| until.since(now));
        tracing::warn!(
            event = "account_locked",
            wrong = wrong.count,
            seconds = pause.as_secs(),
            "too many wrong passwords in a row"
        );
        if wrong.count == FREE_ATTEMPTS { Ok(()) } else { Err(locked(pause)) }
    }
}

fn locked(pause: Duration) -> Error {
    Error::limited("account_locked", pause)
}
