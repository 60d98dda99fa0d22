//! Look-ups under way: whoever asks of the same session waits for the same answer.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::domain::ids::SessionId;
use crate::error::Result;
use crate::store::active_sessions::ActiveSession;

/// For how long a look-up under way takes in others. A store that is slow to answer may have read
/// the row before something ended that this instance has not heard of.
const JOINABLE: Duration = Duration::from_millis(200);

/// Entries that are not swept for ones that every caller left.
const MIN_SWEEP_SIZE: usize = 64;

/// One look-up. The caller that runs it may go away: the next one that waits runs it again.
#[derive(Debug)]
pub(super) struct Lookup {
    began: Instant,
    /// The count that the row is kept under.
    pub forgotten: u64,
    answer: OnceCell<Result<Option<ActiveSession>>>,
}

impl Lookup {
    /// The answer: of `read`, or of whoever was first.
    pub async fn answer(
        &self,
        read: impl Future<Output = Result<Option<ActiveSession>>>,
    ) -> Result<Option<ActiveSession>> {
        self.answer.get_or_init(|| read).await.clone()
    }
}

/// The look-ups under way, by session.
#[derive(Debug)]
pub(super) struct Lookups {
    by_session: HashMap<SessionId, Weak<Lookup>>,
    sweep_at: usize,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { by_session: HashMap::new(), sweep_at: MIN_SWEEP_SIZE }
    }
}

impl Lookups {
    /// The look-up of a session that is under way, or a new one.
    pub fn join(&mut self, session: SessionId, forgotten: u64) -> Arc<Lookup> {
        let joined = self.by_session.get(&session).and_then(Weak::upgrade);
        if let Some(lookup) = joined.filter(|lookup| lookup.began.elapsed() < JOINABLE) {
            return lookup;
        }
        if self.by_session.len() >= self.sweep_at {
            self.by_session.retain(|_, lookup| lookup.strong_count() > 0);
            self.sweep_at = MIN_SWEEP_SIZE.max(2 * self.by_session.len());
        }
        let lookup = Lookup { began: Instant::now(), forgotten, answer: OnceCell::new() };
        let lookup = Arc::new(lookup);
        self.by_session.insert(session, Arc::downgrade(&lookup));
        lookup
    }

    /// The look-up has its answer: who asks from now on begins another.
    pub fn leave(&mut self, session: SessionId, lookup: &Arc<Lookup>) {
        let current = self.by_session.get(&session);
        if current.is_some_and(|current| std::ptr::eq(current.as_ptr(), Arc::as_ptr(lookup))) {
            self.by_session.remove(&session);
        }
    }

    /// Nobody joins those under way any more.
    pub fn clear(&mut self) {
        self.by_session.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::error::{Error, Kind};

    const SLOW: Duration = Duration::from_millis(100);

    /// A read that takes its time, and counts.
    async fn read(
        reads: &AtomicU32,
        answer: Result<Option<ActiveSession>>,
    ) -> Result<Option<ActiveSession>> {
        reads.fetch_add(1, Ordering::SeqCst);
        sleep(SLOW).await;
        answer
    }

    #[tokio::test]
    async fn many_wait_for_one_read() {
        let (mut lookups, id, reads) = (Lookups::default(), SessionId::random(), AtomicU32::new(0));
        for answer in [Ok(None), Err(Error::unavailable())] {
            let joined: Vec<_> = (0..50).map(|_| lookups.join(id, 0)).collect();
            let answers = joined.iter().map(|it| it.answer(read(&reads, answer.clone())));
            for given in join_all(answers).await {
                let kind = given.err().map(|error| error.kind());
                assert_eq!(kind, answer.as_ref().err().map(Error::kind));
            }
            assert_eq!(reads.swap(0, Ordering::SeqCst), 1);
            lookups.leave(id, &joined[0]);
            assert!(lookups.by_session.is_empty());
        }
    }

    #[tokio::test]
    async fn a_caller_that_goes_takes_nobody_along() {
        let (mut lookups, id, reads) = (Lookups::default(), SessionId::random(), AtomicU32::new(0));
        let (first, second) = (lookups.join(id, 0), lookups.join(id, 0));
        let unavailable = || read(&reads, Err(Error::unavailable()));
        let (gone, answer) = tokio::join!(
            timeout(SLOW / 2, first.answer(unavailable())),
            second.answer(unavailable()),
        );
        assert!(gone.is_err());
        assert_eq!(answer.expect_err("the second's own").kind(), Kind::Unavailable);
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_old_read_or_one_before_an_end_answers_nobody_new() {
        let (mut lookups, id) = (Lookups::default(), SessionId::random());
        let first = lookups.join(id, 0);
        sleep(JOINABLE).await;
        let second = lookups.join(id, 0);
        assert!(!Arc::ptr_eq(&first, &second));
        lookups.leave(id, &first);
        assert!(Arc::ptr_eq(&second, &lookups.join(id, 0)), "the older one is not its own");
        lookups.clear();
        assert!(!Arc::ptr_eq(&second, &lookups.join(id, 0)));
    }

    #[test]
    fn what_everyone_left_is_dropped() {
        let mut lookups = Lookups::default();
        for _ in 0..10_000 {
            lookups.join(SessionId::random(), 0);
            assert!(lookups.by_session.len() <= MIN_SWEEP_SIZE);
        }
    }
}
