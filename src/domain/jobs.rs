//! Background jobs: what a kind of job says about itself, how one is enqueued, and what a run
//! leads to. The kernel that runs them is `crate::jobs`.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::clock::Timestamp;
use super::ids::{JobId, UserId};
use crate::error::Error;

/// A kind of background job; a value of the type is the payload that is stored.
///
/// A job runs at least once: an instance that is killed, or that cannot note the end of a run,
/// leaves the job to the next one. `run` must therefore be safe to repeat.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The dependencies of `run`.
    type Deps: Send + Sync + 'static;

    /// The stable name: in the store, in metrics and in the log.
    const KIND: &'static str;

    /// When a run that failed is repeated, and when the job is given up.
    const RETRY: Retry = Retry::DEFAULT;

    /// How many jobs of this kind one instance runs at once.
    const CONCURRENCY: usize = 1;

    /// How long one run may take; a longer one is dropped and counts as failed.
    const TIME_LIMIT: Duration = Duration::from_mins(5);

    /// Does the work once.
    fn run(&self, deps: &Self::Deps, attempt: &Attempt) -> impl Future<Output = Outcome> + Send;
}

/// A job that runs again and again, by one instance at a time.
pub trait PeriodicJob: Job + Default {
    /// The time from the end of one run to the next.
    const EVERY: Duration;
}

/// When a run that failed is repeated, and when a job is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// After how many runs the job becomes a dead letter; `None` for never.
    pub attempts: Option<u32>,
    /// The wait after the first failure; each further one doubles it.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// How long after being enqueued a job is dropped unless [`Enqueue::expires_at()`] says when;
    /// `None` for never.
    pub lifetime: Option<Duration>,
}

impl Retry {
    /// Twenty runs over about two hours, then a dead letter.
    pub const DEFAULT: Self = Self {
        attempts: Some(20),
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_mins(10),
        lifetime: None,
    };

    /// The same without an end: for work that must be done however long it takes.
    pub const FOREVER: Self = Self { attempts: None, ..Self::DEFAULT };

    /// The wait after so many failures, without jitter.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        let factor = 1_u32 << failures.saturating_sub(1).min(30);
        self.first_wait.saturating_mul(factor).min(self.longest_wait)
    }

    /// Whether no run follows after so many.
    #[must_use]
    pub fn is_over(&self, attempts: u32) -> bool {
        self.attempts.is_some_and(|most| attempts >= most)
    }
}

/// How a job is enqueued.
#[derive(Debug, Clone)]
pub struct Enqueue {
    pub(crate) at: Timestamp,
    pub(crate) id: JobId,
    pub(crate) due: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) owner: Option<UserId>,
    pub(crate) dedup_key: Option<String>,
    pub(crate) order_key: Option<String>,
}

impl Enqueue {
    /// To be run as soon as a worker is free.
    #[must_use]
    pub fn now(at: Timestamp) -> Self {
        Self {
            at,
            id: JobId::random(),
            due: None,
            expires_at: None,
            owner: None,
            dedup_key: None,
            order_key: None,
        }
    }

    /// Under this id, instead of a random one.
    #[must_use]
    pub fn with_id(self, id: JobId) -> Self {
        Self { id, ..self }
    }

    /// To be run from this moment on.
    #[must_use]
    pub fn due(self, at: Timestamp) -> Self {
        Self { due: Some(at), ..self }
    }

    /// To be dropped at this moment if it has not succeeded until then.
    #[must_use]
    pub fn expires_at(self, at: Timestamp) -> Self {
        Self { expires_at: Some(at), ..self }
    }

    /// The job is deleted with this account.
    #[must_use]
    pub fn of_user(self, user: impl Into<Option<UserId>>) -> Self {
        Self { owner: user.into(), ..self }
    }

    /// Nothing is enqueued while a job of the kind with this key waits. One that runs already does
    /// not count: it may have read what was before.
    #[must_use]
    pub fn once(self, key: impl Into<String>) -> Self {
        Self { dedup_key: Some(key.into()), ..self }
    }

    /// Jobs of one kind and key run one after the other, in the order in which their transactions
    /// are committed. A dead letter lets the next one run.
    #[must_use]
    pub fn in_order(self, key: impl Into<String>) -> Self {
        Self { order_key: Some(key.into()), ..self }
    }
}

/// One run of a job.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The job's id, the same in every run.
    pub id: JobId,
    /// How many runs have begun, this one included.
    pub number: u32,
    /// When the job was enqueued.
    pub enqueued_at: Timestamp,
    /// When the job becomes pointless.
    pub expires_at: Option<Timestamp>,
    /// With whose account it is deleted.
    pub owner: Option<UserId>,
}

impl Attempt {
    /// The name of the job for other systems, the same in every run: 32 hexadecimal digits.
    #[must_use]
    pub fn reference(&self) -> String {
        self.id.bytes().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// The outcome of a run.
pub type Outcome = Result<Progress, JobError>;

/// The outcome of a run that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The job is done, and removed. A periodic one is due again after its period.
    Done,
    /// There is more to do: the job runs again after this time, up to the longest wait of its
    /// kind.
    Again(Duration),
}

/// Why a run failed.
#[derive(Debug)]
pub struct JobError {
    /// No further run can succeed: the job becomes a dead letter.
    pub is_final: bool,
    /// The reason, which operators read: it holds no secret.
    pub reason: String,
}

impl JobError {
    /// A failure after which the job is tried again.
    pub fn passing(reason: impl fmt::Display) -> Self {
        Self { is_final: false, reason: reason.to_string() }
    }

    /// A failure after which no further run can succeed.
    pub fn last(reason: impl fmt::Display) -> Self {
        Self { is_final: true, reason: reason.to_string() }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The code and the detail, not the cause: a driver's text may quote what it was given.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        Self::passing(error)
    }
}

/// The state of a job, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// To be run now or later.
    Waiting,
    /// In the hands of an instance.
    Running,
    /// Given up.
    Dead,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Running, Self::Dead];

    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// A job as operators see it.
#[derive(Debug, Clone)]
pub struct ListedJob {
    /// Its id.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Where it stands.
    pub state: JobState,
    /// How many runs have begun.
    pub attempts: u32,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
    /// When it is due, or died.
    pub at: Timestamp,
    /// Why the last run failed.
    pub error: Option<String>,
}

/// How many jobs of a kind are in a state.
#[derive(Debug, Clone)]
pub struct JobCount {
    /// The kind.
    pub kind: String,
    /// The state.
    pub state: JobState,
    /// How many.
    pub count: u64,
    /// When the first of them is or was due.
    pub first_due: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_ten_minutes() {
        let waits: Vec<u64> =
            [1, 2, 3, 10, 11, 4_000_000_000].map(|n| Retry::DEFAULT.wait(n).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 512, 600, 600]);
    }

    #[test]
    fn only_a_limited_number_of_attempts_is_ever_over() {
        assert!(Retry::DEFAULT.is_over(20) && !Retry::DEFAULT.is_over(19));
        assert!(!Retry::FOREVER.is_over(u32::MAX));
    }
}
