//! Passwords: bcrypt on a bounded pool of its own, so that a storm of logins waits for itself and
//! for nothing else.

mod lanes;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bcrypt::{BcryptResult, HashParts};
use tokio::task::spawn_blocking;

pub use self::lanes::Lane;
use self::lanes::{Lanes, Permit};
use crate::domain::text::Password;
use crate::error::{Error, Result};

/// Bytes of a password that bcrypt reads.
const LONGEST: usize = 72;

/// Salt and hash in bcrypt's alphabet that no password is known for.
const NOBODYS: &str = "natterNatterNatterNatu1WzSVtRJfRHPBzIJZzHvIm0hWzN6vXS";

/// Hashes and checks passwords, as many at once as there are permits; cloning shares them.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    costs: Costs,
    lanes: Lanes,
}

/// The costs of making a hash and of refusing a wrong password.
#[derive(Debug, Clone)]
struct Costs {
    /// Of new hashes.
    new: u32,
    /// The highest of any hash that is stored. A wrong password costs this much whatever its hash
    /// costs, and without any hash: the time that it takes tells neither whether an account has an
    /// address, nor how old its hash is.
    highest: Arc<AtomicU32>,
}

/// A turn at hashing. It is given back when the work is done, even where nobody waits for it any
/// more: what has begun occupies a core to its end.
#[derive(derive_more::Debug)]
#[debug("Turn")]
pub struct Turn {
    costs: Costs,
    permit: Permit,
}

/// The outcome of a password check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is another.
    Wrong,
    /// It is the one; with a new hash of it where the cost has been raised since.
    Right(Option<String>),
}

impl PasswordHasher {
    /// Hashes at bcrypt's `cost`, `hashers` at once; the hashes that are stored cost `highest` at
    /// most.
    #[must_use]
    pub fn new(cost: u32, highest: u32, hashers: NonZeroUsize) -> Self {
        let highest = Arc::new(AtomicU32::new(highest.max(cost)));
        Self { costs: Costs { new: cost, highest }, lanes: Lanes::new(hashers) }
    }

    /// Waits for a turn. What the decision to hash rests on is best read after it.
    ///
    /// # Errors
    /// `unavailable` when too many wait already.
    pub async fn acquire(&self, lane: Lane) -> Result<Turn> {
        let permit = self.lanes.turn(lane).await;
        let permit = permit.ok_or_else(|| Error::unavailable().with_source("too many passwords"));
        Ok(Turn { costs: self.costs.clone(), permit: permit? })
    }
}

impl Turn {
    /// The hash to keep of a new password.
    pub async fn hash(self, password: Password) -> Result<String> {
        let cost = self.costs.new;
        self.work(move |_| bcrypt::hash(password.expose(), cost)).await
    }

    /// Whether `given` is the password of this hash. Without a hash it is not, after the same
    /// work.
    ///
    /// # Errors
    /// Only by a defect, or a hash that is none.
    pub async fn verify(self, given: String, hash: Option<String>) -> Result<Verdict> {
        self.work(move |costs| costs.verify(&given, hash.as_deref())).await
    }

    async fn work<T: Send + 'static>(
        self,
        job: impl FnOnce(&Costs) -> BcryptResult<T> + Send + 'static,
    ) -> Result<T> {
        let Self { costs, permit } = self;
        let work = spawn_blocking(move || {
            let outcome = job(&costs);
            drop(permit);
            outcome
        });
        work.await.map_err(Error::internal)?.map_err(Error::internal)
    }
}

impl Costs {
    fn verify(&self, given: &str, hash: Option<&str>) -> BcryptResult<Verdict> {
        let Some(hash) = hash else {
            let highest = self.highest.load(Ordering::Relaxed);
            bcrypt::verify(given, &format!("$2b${highest:02}${NOBODYS}"))?;
            return Ok(Verdict::Wrong);
        };
        let parts: HashParts = hash.parse()?;
        // An instance with a higher cost may have been started after this one.
        let highest = self.highest.fetch_max(parts.get_cost(), Ordering::Relaxed);
        // bcrypt would compare the first 72 bytes of a longer text, and none is kept.
        let is_possible = given.len() <= LONGEST && !given.contains('\0');
        if !bcrypt::verify(given, hash)? || !is_possible {
            for cost in missing(parts.get_cost(), highest) {
                bcrypt::hash_with_salt(given, cost, parts.get_salt_raw())?;
            }
            return Ok(Verdict::Wrong);
        }
        if parts.get_cost() >= self.new {
            return Ok(Verdict::Right(None));
        }
        // Under the same salt: by that a transaction recognises the password that was checked.
        let renewed = bcrypt::hash_with_salt(given, self.new, parts.get_salt_raw())?;
        Ok(Verdict::Right(Some(renewed.to_string())))
    }
}

/// The costs of further hashes that together with one of `spent` make the work of one of `highest`:
/// each step doubles it, so 2^n = 2^m + 2^m + 2^(m+1) + … + 2^(n-1).
fn missing(spent: u32, highest: u32) -> std::ops::Range<u32> {
    spent..highest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> PasswordHasher {
        PasswordHasher::new(4, 4, NonZeroUsize::MIN)
    }

    async fn verify(given: &str, hash: Option<&str>) -> bool {
        let turn = passwords().acquire(Lane::Stranger).await.expect("a turn");
        let verdict = turn.verify(given.to_owned(), hash.map(str::to_owned)).await;
        verdict.expect("an answer") == Verdict::Right(None)
    }

    #[tokio::test]
    async fn only_the_whole_password_matches() {
        let longest = "x".repeat(72);
        let password = Password::parse(&longest).expect("valid");
        let turn = passwords().acquire(Lane::Stranger).await.expect("a turn");
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
    async fn a_full_queue_is_unavailable() {
        let passwords = passwords();
        let _first = passwords.acquire(Lane::Stranger).await.expect("a turn");
        let mut waiting: Vec<_> =
            (0..lanes::QUEUE).map(|_| Box::pin(passwords.acquire(Lane::Stranger))).collect();
        for turn in &mut waiting {
            assert!(futures_util::poll!(turn).is_pending());
        }
        let refused = passwords.acquire(Lane::Stranger).await;
        assert_eq!(refused.map(drop).map_err(|error| error.code()), Err("unavailable"));
    }

    #[test]
    fn a_wrong_password_is_as_much_work_as_one_hash_of_the_highest_cost() {
        for highest in 4..=15_u32 {
            for spent in 4..=highest {
                let further: u64 = missing(spent, highest).map(|cost| 1 << cost).sum();
                assert_eq!((1 << spent) + further, 1_u64 << highest);
            }
            assert_eq!(missing(highest + 1, highest).count(), 0);
        }
    }

    #[test]
    fn a_raised_cost_makes_a_new_hash_of_the_same_salt() {
        let old = bcrypt::hash("correct horse", 4).expect("a hash");
        let costs = |new| Costs { new, highest: Arc::new(AtomicU32::new(new)) };
        let verdict = costs(5).verify("correct horse", Some(&old)).expect("an answer");
        let Verdict::Right(Some(renewed)) = verdict else { panic!("{verdict:?}") };
        assert_eq!((&renewed[..7], &renewed[7..29]), ("$2b$05$", &old[7..29]));
        let right = Verdict::Right(None);
        // A lowered one changes nothing.
        for cost in [4, 5] {
            let verdict = costs(cost).verify("correct horse", Some(&renewed));
            assert_eq!(verdict.expect("an answer"), right);
        }
        assert_eq!(costs(5).verify("correct hors", Some(&old)).expect("a reply"), Verdict::Wrong);
    }

    #[test]
    fn a_hash_of_a_higher_cost_is_learnt_from() {
        let costs = Costs { new: 4, highest: Arc::new(AtomicU32::new(4)) };
        let dear = bcrypt::hash("correct horse", 6).expect("a hash");
        assert_eq!(costs.verify("wrong", Some(&dear)).expect("an answer"), Verdict::Wrong);
        assert_eq!(costs.highest.load(Ordering::Relaxed), 6);
    }
}
