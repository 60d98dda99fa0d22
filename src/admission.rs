//! Admission: the places in front of a pool of connections.
//!
//! A pool has as many places as connections that requests may use. A caller without a place waits
//! in a queue that is fair, bounded in length and in time, and that a caller who goes away leaves
//! at once. So nobody ever waits inside a driver, whose own queues notice neither. Why:
//! `docs/decisions/0021-admission.md`.

use std::error::Error as StdError;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::metrics::PoolMetrics;

/// How many callers may wait for the places of one pool. MongoDB serves some 6,000 of them a
/// second on two cores, so the last one is still served before its deadline.
const MAX_WAITING: usize = 4096;

tokio::task_local! {
    /// The caller who waits for the outcome of the request that this task works on.
    static CALLER: Caller;
}

/// Signals between the work of a request and the caller who waits for it.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Nobody waits any more, and the work may be given up: it ends at its next wait for a place,
    /// or for its next command. A command under way is never dropped.
    pub gone: CancellationToken,
    /// The work is too late, and cannot be ended yet: the caller is to be answered without it.
    pub late: CancellationToken,
}

/// Runs the work of a request for its caller.
pub async fn for_caller<F: Future>(caller: Caller, work: F) -> F::Output {
    CALLER.scope(caller, work).await
}

/// Says that the work of this task is too late for its caller, if it has one.
pub fn tell_late() {
    let _ = CALLER.try_with(|caller| caller.late.cancel());
}

/// Starts work that goes on to its end when the caller of this task goes away. Where it is too
/// late, that caller is told all the same.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let late = CALLER.try_with(|caller| caller.late.clone()).unwrap_or_default();
    tokio::spawn(for_caller(Caller { late, ..Caller::default() }, work))
}

/// Runs work whose outcome others wait for as well: it goes on when this caller goes away, or has
/// waited for as long as this.
///
/// # Errors
/// When it takes longer.
pub async fn for_all<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = timeout(limit, tokio::spawn(work)).await;
    // A panic has been logged by its hook.
    done.ok().and_then(Result::ok).ok_or(Refusal::Late)
}

/// The places of a pool; cloning shares them.
#[derive(Debug, Clone)]
pub struct Admission {
    places: Arc<Semaphore>,
    /// The places of its queue.
    queue: Arc<Semaphore>,
    metrics: PoolMetrics,
}

/// The right to use one connection of a pool, until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held to be given back")] OwnedSemaphorePermit);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is as long as it may be.
    Full,
    /// No place was free in time.
    Late,
    /// The caller has gone away.
    Gone,
}

impl Admission {
    /// So many places, waits for which are counted in `metrics`.
    #[must_use]
    pub fn new(places: u32, metrics: PoolMetrics) -> Self {
        let places = Arc::new(Semaphore::new(places as usize));
        Self { places, queue: Arc::new(Semaphore::new(MAX_WAITING)), metrics }
    }

    /// A place, as soon as all who came before have theirs.
    ///
    /// # Errors
    /// When the queue is full, the deadline passes, or the caller goes away.
    pub async fn place(&self, deadline: Instant) -> Result<Place, Refusal> {
        let gone = CALLER.try_with(|caller| caller.gone.clone()).ok();
        if gone.as_ref().is_some_and(CancellationToken::is_cancelled) {
            return Err(self.refuse(Refusal::Gone));
        }
        // Never overtakes: a place that is given back goes to who waits for it.
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(Place(permit));
        }
        // Boxed: most callers do not wait.
        Box::pin(self.wait(deadline, gone)).await
    }

    async fn wait(
        &self,
        deadline: Instant,
        gone: Option<CancellationToken>,
    ) -> Result<Place, Refusal> {
        let Ok(_queued) = self.queue.try_acquire() else {
            return Err(self.refuse(Refusal::Full));
        };
        let _waiting = self.metrics.waits();
        let leaves = async {
            match gone {
                Some(gone) => gone.cancelled_owned().await,
                None => pending().await,
            }
        };
        select! {
            biased;
            () = leaves => Err(self.refuse(Refusal::Gone)),
            place = self.places.clone().acquire_owned() => {
                // A semaphore that is never closed.
                place.map(Place).map_err(|_| self.refuse(Refusal::Late))
            }
            () = sleep_until(deadline) => Err(self.refuse(Refusal::Late)),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Refusal {
        self.metrics.refused(match refusal {
            Refusal::Full => "full",
            Refusal::Late => "late",
            Refusal::Gone => "gone",
        });
        refusal
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many wait for a connection already",
            Self::Late => "no connection was free in time",
            Self::Gone => "the caller has gone away",
        })
    }
}

impl StdError for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::unavailable().with_source(refusal)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::metrics::PoolsMetrics;

    fn admission(places: u32) -> Admission {
        Admission::new(places, PoolsMetrics::unseen().unwrap().pool("test"))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(400)
    }

    #[tokio::test]
    async fn callers_are_admitted_in_the_order_in_which_they_came() {
        let admission = admission(1);
        let first = admission.place(soon()).await.unwrap();
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..50)
            .map(|n| {
                let (admission, order) = (admission.clone(), order.clone());
                async move {
                    let _place = admission.place(soon()).await.unwrap();
                    order.lock().push(n);
                    tokio::task::yield_now().await;
                }
            })
            .collect();
        tokio::join!(join_all(waiting), async move { drop(first) });
        assert_eq!(*order.lock(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn one_who_goes_away_gives_its_place_in_the_queue_back() {
        let admission = admission(2);
        let held = (admission.place(soon()).await.unwrap(), admission.place(soon()).await.unwrap());
        for _ in 0..3 {
            let waiting = join_all((0..MAX_WAITING).map(|_| admission.place(soon())));
            assert!(timeout(Duration::from_millis(10), waiting).await.is_err());
        }
        drop(held);
        let _place = admission.place(soon()).await.unwrap();
        assert_eq!(admission.queue.available_permits(), MAX_WAITING);
        assert_eq!(admission.places.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_a_long_wait_in_time() {
        let admission = admission(1);
        let _held = admission.place(soon()).await.unwrap();
        let began = Instant::now();
        let waiting = join_all((0..=MAX_WAITING).map(|_| admission.place(soon())));
        let refused: Vec<_> = waiting.await.into_iter().map(Result::unwrap_err).collect();
        assert_eq!(refused.iter().filter(|refused| **refused == Refusal::Full).count(), 1);
        assert_eq!(refused.iter().filter(|r| **r == Refusal::Late).count(), MAX_WAITING);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn work_without_a_caller_ends_at_its_next_wait() {
        let admission = admission(1);
        let held = admission.place(soon()).await.unwrap();
        let caller = Caller::default();
        let gone = caller.gone.clone();
        let work = for_caller(caller.clone(), async {
            let waited = admission.place(soon()).await.map(drop);
            (waited, admission.place(soon()).await.map(drop))
        });
        let others = admission.clone();
        let others = async move { others.place(soon()).await.map(drop) };
        let shared = for_caller(caller, for_all(Duration::from_secs(4), others));
        let (outcome, shared, ()) = tokio::join!(work, shared, async move {
            gone.cancel();
            drop(held);
        });
        assert_eq!(outcome, (Err(Refusal::Gone), Err(Refusal::Gone)));
        assert_eq!(shared, Ok(Ok(())), "others wait for it");
    }
}
