//! Passwords: bcrypt on a bounded pool of its own, so that a storm of logins waits for itself and
//! for nothing else.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::task::spawn_blocking;

use crate::domain::text::Password;
use crate::error::{Error, Result};

/// How many may wait for each hashing thread; at a quarter of a second each, the last of them is
/// answered well within the time that a request may take.
const QUEUE: usize = 64;

/// Bytes of a password that bcrypt reads.
const LONGEST: usize = 72;

/// Salt and hash in bcrypt's alphabet that no password is known for.
const NOBODYS: &str = "natterNatterNatterNatu1WzSVtRJfRHPBzIJZzHvIm0hWzN6vXS";

/// Hashes and checks passwords, as many at once as there are permits; cloning shares them.
#[derive(Debug, Clone)]
pub struct Passwords {
    cost: u32,
    /// Waiting and working.
    places: Arc<Semaphore>,
    working: Arc<Semaphore>,
    nobodys: Arc<str>,
}

/// A turn at hashing. It is given back when the work is done, even where nobody waits for it any
/// more: what has begun occupies a core to its end.
pub struct Turn {
    cost: u32,
    nobodys: Arc<str>,
    permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

impl Passwords {
    /// Hashes at bcrypt's `cost`, `hashers` at once.
    #[must_use]
    pub fn new(cost: u32, hashers: NonZeroUsize) -> Self {
        Self {
            cost,
            places: Arc::new(Semaphore::new(hashers.get() * (QUEUE + 1))),
            working: Arc::new(Semaphore::new(hashers.get())),
            nobodys: format!("$2b${cost:02}${NOBODYS}").into(),
        }
    }

    /// Waits for a turn. What the decision to hash rests on is best read after it.
    ///
    /// # Errors
    /// `unavailable` when too many wait already.
    pub async fn turn(&self) -> Result<Turn> {
        let place = self.places.clone().try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => Error::unavailable().with_source("too many passwords"),
            TryAcquireError::Closed => Error::internal(error),
        })?;
        let work = self.working.clone().acquire_owned().await.map_err(Error::internal)?;
        Ok(Turn { cost: self.cost, nobodys: self.nobodys.clone(), permits: (place, work) })
    }
}

impl Turn {
    /// The hash to keep of a new password.
    ///
    /// # Errors
    /// Only by a defect.
    pub async fn hash(self, password: Password) -> Result<String> {
        let cost = self.cost;
        self.work(move || bcrypt::hash(password.expose(), cost)).await
    }

    /// Whether `given` is the password of this hash. Without a hash it is not, after the same
    /// work.
    ///
    /// # Errors
    /// Only by a defect, or a hash that is none.
    pub async fn verify(self, given: String, hash: Option<String>) -> Result<bool> {
        // bcrypt would compare the first 72 bytes of a longer text, and none is kept.
        let possible = given.len() <= LONGEST && !given.contains('\0') && hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobodys.as_ref().to_owned());
        let matches = self.work(move || bcrypt::verify(given, &hash)).await?;
        Ok(matches && possible)
    }

    async fn work<T: Send + 'static>(
        self,
        job: impl FnOnce() -> bcrypt::BcryptResult<T> + Send + 'static,
    ) -> Result<T> {
        let permits = self.permits;
        let work = spawn_blocking(move || {
            let outcome = job();
            drop(permits);
            outcome
        });
        work.await.map_err(Error::internal)?.map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Passwords {
        Passwords::new(4, NonZeroUsize::MIN)
    }

    async fn verify(given: &str, hash: Option<&str>) -> bool {
        let turn = passwords().turn().await.expect("a turn");
        turn.verify(given.to_owned(), hash.map(str::to_owned)).await.expect("an answer")
    }

    #[tokio::test]
    async fn only_the_whole_password_matches() {
        let longest = "x".repeat(72);
        let password = Password::parse(&longest).expect("valid");
        let turn = passwords().turn().await.expect("a turn");
        let hash = turn.hash(password).await.expect("a hash");
        assert!(verify(&longest, Some(&hash)).await);
        assert!(!verify(&format!("{longest}y"), Some(&hash)).await);
        assert!(!verify(&longest[1..], Some(&hash)).await);
        assert!(!verify(&format!("{longest}\0"), Some(&hash)).await);
    }

    #[tokio::test]
    async fn nobodys_password_is_never_right() {
        for given in ["", "password", &"x".repeat(100)] {
            assert!(!verify(given, None).await, "{given}");
        }
    }

    #[tokio::test]
    async fn the_queue_has_an_end() {
        let passwords = Arc::new(passwords());
        let first = passwords.turn().await.expect("a turn");
        let waiting: Vec<_> = (0..QUEUE)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.turn().await.map(drop) })
            })
            .collect();
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.turn().await.map(drop).map_err(|e| e.code()), Err("unavailable"));
        drop(first);
        for turn in waiting {
            assert!(turn.await.expect("no panic").is_ok());
        }
    }
}
