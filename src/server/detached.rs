//! A request's work in a task of its own: a client that hangs up does not drop it.
//!
//! What a dropped request has under way at MongoDB would cost a connection each, and a transaction
//! would stay open. So commands and transactions under way are always finished. A read whose
//! client has gone ends at its next command or wait; whatever changes something goes on to its end,
//! as if the client had waited.

use std::future::pending;
use std::panic::resume_unwind;

use tokio_util::sync::CancellationToken;

use crate::admission::for_caller;

/// Runs `work`; the caller who is waited for is whoever polls this.
pub(super) async fn detached<T: Send + 'static>(
    is_read: bool,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let gone = CancellationToken::new();
    let task =
        if is_read { tokio::spawn(for_caller(gone.clone(), work)) } else { tokio::spawn(work) };
    let _caller = gone.drop_guard();
    match task.await {
        Ok(outcome) => outcome,
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
    use crate::admission::Admission;
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
    async fn a_write_goes_on_to_its_end() {
        assert_eq!(hung_up(false).await, ["one", "two"]);
    }
}
