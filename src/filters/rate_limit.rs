//! Rate limits: named classes, counted per account, or per address where there is none yet.
//!
//! Two counters run the same algorithm (GCRA, the leaky bucket as a meter): `governor` in this
//! instance, in front, turns a flood away without asking anyone; Redis counts for all instances
//! together. With Redis away the limits fail over to this instance's counter: neither open nor
//! closed, but each instance then grants the full quota.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, Reference};
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, RateLimiter};
use http::{HeaderMap, HeaderValue};
use parking_lot::{RwLock, RwLockWriteGuard};

use super::endpoint::Class;
use crate::cache::Redis;
use crate::cache::rate_limit;
use crate::cache::rate_limit::Count;
use crate::config::{Limits, Quota};
pub use crate::domain::clients::Subject;
use crate::domain::clock::Clock;
use crate::error::{Error, Result};

/// The key of a subject in Redis.
fn key(subject: Subject) -> String {
    match subject {
        Subject::Account(user) => format!("u:{user}"),
        Subject::Address(addr) => format!("a:{addr}"),
    }
}

/// What charging one request came to: for the `RateLimit` headers of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    class: Class,
    quota: Quota,
    count: Count,
}

impl Charge {
    /// Lets the request through, or says when to come back.
    ///
    /// # Errors
    /// `rate_limited` when the quota is spent.
    pub fn admit(self) -> Result<()> {
        match self.count.retry_after {
            None => Ok(()),
            Some(wait) => Err(Error::limited("rate_limited", wait)),
        }
    }

    /// Writes `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10):
    /// the quota and its window in seconds; what remains and the seconds until it is whole again.
    pub fn write(self, headers: &mut HeaderMap) {
        let name = self.class.name();
        let window = self.quota.window.as_secs();
        let reset = self.count.reset.as_millis().div_ceil(1000);
        let policy = format!("\"{name}\";q={};w={window}", self.quota.limit);
        let state = format!("\"{name}\";r={};t={reset}", self.count.remaining);
        for (header, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(header, value);
            }
        }
    }
}

/// `governor`'s view of our clock: the time that passed, which nobody sets back.
#[derive(Debug, Clone)]
struct Hands(Clock);

impl governor::clock::Clock for Hands {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

/// Tokens a second that are checked for addresses that have spent their quota, all together: a
/// hundredth of a core. They are for people who share the address with an attacker and have signed
/// in just now.
const TOKENS_OF_SPENT_ADDRESSES: NonZeroU32 = NonZeroU32::new(300).expect("not zero");

type Local = RateLimiter<Subject, DashMapStateStore<Subject>, Hands, StateInformationMiddleware>;

/// A refusal, and when it was made, in the time that passed.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    at: Duration,
    wait: Duration,
    reset: Duration,
}

type Direct = RateLimiter<NotKeyed, InMemoryState, Hands, NoOpMiddleware<Nanos>>;

/// The counters of every class.
#[derive(Debug)]
pub struct RateLimits {
    classes: HashMap<Class, (Quota, Local)>,
    /// Addresses that have spent a quota, here or on all instances together.
    spent: RwLock<HashMap<(Class, Subject), Refusal>>,
    tokens: Direct,
    clock: Clock,
    redis: Redis,
}

impl RateLimits {
    /// Counters for the quotas of the settings; a class that is "off" is not counted.
    #[must_use]
    pub fn new(limits: &Limits, clock: &Clock, redis: Redis) -> Self {
        let Limits { auth, read, write, upload, search, socket } = *limits;
        let quotas = [
            (Class::Auth, auth),
            (Class::Read, read),
            (Class::Write, write),
            (Class::Upload, upload),
            (Class::Search, search),
            (Class::Socket, socket),
        ];
        let counted = quotas.into_iter().filter_map(|(class, quota)| Some((class, quota?)));
        let classes = counted.map(|(class, quota)| (class, (quota, local(quota, clock)))).collect();
        let tokens = governor::Quota::per_second(TOKENS_OF_SPENT_ADDRESSES);
        let tokens = Direct::direct_with_clock(tokens, Hands(clock.clone()));
        Self { classes, spent: RwLock::default(), tokens, clock: clock.clone(), redis }
    }

    /// Counts one request of `subject`; `None` where the class has no limit.
    pub async fn charge(&self, class: Class, subject: Subject) -> Option<Charge> {
        let (quota, local) = self.classes.get(&class)?;
        let count = match local.check_key(&subject) {
            Err(denied) => spent(*quota, &denied, self.clock_nanos()),
            Ok(here) => {
                let key = format!("limit:{}:{}", class.name(), key(subject));
                let now = self.clock.store_now();
                let shared =
                    rate_limit::count(&self.redis, &key, quota.limit, quota.window, now).await;
                shared.unwrap_or_else(|| left(*quota, here.remaining_burst_capacity()))
            }
        };
        if let (Some(wait), Subject::Address(_)) = (count.retry_after, subject) {
            let refusal = Refusal { at: self.clock.elapsed(), wait, reset: count.reset };
            self.refusals().insert((class, subject), refusal);
        }
        Some(Charge { class, quota: *quota, count })
    }

    /// The refusal of one more request of an address that has spent its quota, found without
    /// counting one or asking Redis; `None` where some of the quota may be left.
    pub fn spent(&self, class: Class, subject: Subject) -> Option<Charge> {
        let (quota, _) = self.classes.get(&class)?;
        let refusals = self.spent.read();
        let Refusal { at, wait, reset } = *refusals.get(&(class, subject))?;
        let past = self.clock.elapsed().saturating_sub(at);
        let wait = wait.checked_sub(past).filter(|wait| !wait.is_zero())?;
        let count =
            Count { remaining: 0, retry_after: Some(wait), reset: reset.saturating_sub(past) };
        Some(Charge { class, quota: *quota, count })
    }

    /// Whether a token that nobody has verified here yet may be, from an address that has spent
    /// its quota.
    pub fn may_verify(&self) -> bool {
        self.tokens.check().is_ok()
    }

    /// Forgets whoever is back at a full quota; to be called now and then.
    pub fn forget_idle(&self) {
        for (_, local) in self.classes.values() {
            local.retain_recent();
        }
        let now = self.clock.elapsed();
        self.refusals().retain(|_, refusal| now < refusal.at + refusal.wait);
    }

    fn refusals(&self) -> RwLockWriteGuard<'_, HashMap<(Class, Subject), Refusal>> {
        self.spent.write()
    }

    fn clock_nanos(&self) -> Nanos {
        Hands(self.clock.clone()).now()
    }
}

fn local(quota: Quota, clock: &Clock) -> Local {
    let limit = quota.limit;
    let period = (quota.window / limit.get()).max(Duration::from_nanos(1));
    let rate = governor::Quota::with_period(period)
        .expect("a period of at least a nanosecond")
        .allow_burst(limit);
    Local::new(rate, DashMapStateStore::default(), Hands(clock.clone()))
}

fn spent(quota: Quota, denied: &NotUntil<Nanos>, now: Nanos) -> Count {
    let wait: Duration = denied.earliest_possible().duration_since(now).into();
    // After that wait one request is due again; the rest of the quota fills as slowly.
    let reset = wait + (quota.window / quota.limit.get()) * (quota.limit.get() - 1);
    Count { remaining: 0, retry_after: Some(wait), reset }
}

/// The state of this instance's counter, in the words of the shared one.
fn left(quota: Quota, remaining: u32) -> Count {
    let missing = quota.limit.get().saturating_sub(remaining);
    let reset = quota.window * missing / quota.limit.get();
    Count { remaining, retry_after: None, reset }
}
