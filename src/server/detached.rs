//! A request's work in a task of its own: a client that hangs up does not drop it.
//!
//! Each command that a dropped request has under way at MongoDB would cost a connection, and a
//! transaction would stay open. So commands and transactions under way are always finished. A read whose
//! client has gone ends at its next command or wait; whatever changes something goes on to its end,
//! as if the client had waited.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::select;

use crate::admission::{Caller, for_caller};

/// Runs `work`; the caller who is waited for is whoever polls this. `None` where the work is too
/// late for its caller, and goes on.
pub(super) async fn detached<T: Send + 'static>(
    is_read: bool,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let caller = Caller::default();
    let _gone = is_read.then(|| caller.gone.clone().drop_guard());
    let late = caller.late.clone();
    let task = tokio::spawn(for_caller(caller, work));
    let outcome = select! {
        biased;
        outcome = task => outcome,
        () = late.cancelled() => return None,
    };
    match outcome {
        Ok(outcome) => Some(outcome),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is going down, and so is this.
            Err(_cancelled) => pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;
    use crate::admission::{Admission, tell_late};
    use crate::metrics::PoolsMetrics;

    /// Hangs up on work that takes a place, works for a moment, and then wants another place;
    /// says how far it came.
    async fn hung_up(is_read: bool) -> Vec<&'static str> {
        let admission = Admission::new(1, PoolsMetrics::unseen().unwrap().pool("test"));
        let (done, mut steps) = mpsc::unbounded_channel();
        let deadline = Instant::now() + Duration::from_secs(4);
        let work = async move {
            let place = admission.place(deadline).await.unwrap();
            sleep(Duration::from_millis(100)).await;
            done.send("one").unwrap();
            drop(place);
            if admission.place(deadline).await.is_ok() {
                done.send("two").unwrap();
            }
        };
        let caller = timeout(Duration::from_millis(10), detached(is_read, work));
        assert!(caller.await.is_err());
        let mut reached = Vec::new();
        while let Some(step) = steps.recv().await {
            reached.push(step);
        }
        reached
    }

    #[tokio::test]
    async fn a_read_without_a_caller_ends_after_what_is_under_way() {
        assert_eq!(hung_up(true).await, ["one"]);
    }

    #[tokio::test]
    async fn work_that_is_too_late_lets_its_caller_go_and_goes_on() {
        let (done, mut steps) = mpsc::unbounded_channel();
        let work = async move {
            tell_late();
            sleep(Duration::from_millis(50)).await;
            done.send("done").unwrap();
        };
        assert_eq!(detached(false, work).await, None);
        assert_eq!(steps.recv().await, Some("done"));
    }

    #[tokio::test]
    async fn a_write_goes_on_to_its_end() {
        assert_eq!(hung_up(false).await, ["one", "two"]);
    }
}
