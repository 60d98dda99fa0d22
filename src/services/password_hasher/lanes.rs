//! The order of hashing. Sign-ins from a network where the account has signed in before wait in a
//! lane of their own, so that a storm of logins from elsewhere does not keep them waiting.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

/// How many may wait in each lane for each hashing thread; at a quarter of a second each, the last
/// of them is answered well within the time that a request may take.
pub(super) const QUEUE: usize = 64;

/// How many of the known lane go before one stranger, where both wait: neither lane can keep the
/// other from being served.
const KNOWN_IN_A_ROW: u32 = 3;

/// Where a request waits for its turn at hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Callers who have shown that they belong to the account: by a session, or by a network from
    /// which the account has signed in before. Nothing that a client merely says leads here.
    Known,
    /// Everyone else.
    Stranger,
}

/// The lanes, and how many may still hash at once; cloning shares them.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// Most that may wait in each lane.
    most: usize,
    known: VecDeque<oneshot::Sender<Permit>>,
    strangers: VecDeque<oneshot::Sender<Permit>>,
    /// How many of the known lane went since the last stranger.
    in_a_row: u32,
}

/// That one may hash; dropping it lets the next one.
pub(super) struct Permit(Option<Lanes>);

impl State {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<oneshot::Sender<Permit>> {
        match lane {
            Lane::Known => &mut self.known,
            Lane::Stranger => &mut self.strangers,
        }
    }

    /// Whose turn it is; without anyone, one more is free.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        let known_first = self.strangers.is_empty() || self.in_a_row < KNOWN_IN_A_ROW;
        if known_first && let Some(next) = self.known.pop_front() {
            self.in_a_row += 1;
            return Some(next);
        }
        self.in_a_row = 0;
        let next = self.strangers.pop_front().or_else(|| self.known.pop_front());
        if next.is_none() {
            self.free += 1;
        }
        next
    }
}

impl Lanes {
    /// Lets so many hash at once.
    pub fn new(hashers: NonZeroUsize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: hashers.get(),
            most: hashers.get() * QUEUE,
            known: VecDeque::new(),
            strangers: VecDeque::new(),
            in_a_row: 0,
        })))
    }

    /// Waits for a turn; `None` where too many wait in this lane.
    pub async fn turn(&self, lane: Lane) -> Option<Permit> {
        let waiting = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Some(Permit(Some(self.clone())));
            }
            let most = state.most;
            let queue = state.lane(lane);
            if queue.len() >= most {
                // Callers who have gone away need no place.
                queue.retain(|waiting| !waiting.is_closed());
            }
            if queue.len() >= most {
                return None;
            }
            let (turn, waiting) = oneshot::channel();
            queue.push_back(turn);
            waiting
        };
        waiting.await.ok()
    }

    /// Gives a turn to the next one who still waits.
    fn pass_on(&self) {
        loop {
            let Some(next) = self.state().next() else { return };
            match next.send(Permit(Some(self.clone()))) {
                // A caller who goes away now drops the permit, which passes it on.
                Ok(()) => return,
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(lanes) = self.0.take() {
            lanes.pass_on();
        }
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let State { free, known, strangers, .. } = &*state;
        write!(f, "Lanes({free} free, {} and {} wait)", known.len(), strangers.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn lanes() -> Lanes {
        Lanes::new(NonZeroUsize::MIN)
    }

    fn waiting(lanes: &Lanes, lane: Lane) -> usize {
        lanes.state().lane(lane).len()
    }

    /// Lets one wait, and says in what order it got its turn.
    async fn wait(
        lanes: &Lanes,
        lane: Lane,
        turns: &Arc<AtomicUsize>,
    ) -> tokio::task::JoinHandle<Option<usize>> {
        let before = waiting(lanes, lane);
        let (own, turns) = (lanes.clone(), turns.clone());
        let task = tokio::spawn(async move {
            let _permit = own.turn(lane).await?;
            Some(turns.fetch_add(1, Ordering::SeqCst))
        });
        while waiting(lanes, lane) == before {
            tokio::task::yield_now().await;
        }
        task
    }

    #[tokio::test]
    async fn each_lane_is_served_in_its_order_and_neither_waits_for_the_whole_other() {
        let (lanes, turns) = (lanes(), Arc::new(AtomicUsize::new(0)));
        let first = lanes.turn(Lane::Stranger).await;
        let (mut strangers, mut known) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            strangers.push(wait(&lanes, Lane::Stranger, &turns).await);
        }
        for _ in 0..7 {
            known.push(wait(&lanes, Lane::Known, &turns).await);
        }
        drop(first);
        let mut order = [Vec::new(), Vec::new()];
        for (lane, tasks) in [known, strangers].into_iter().enumerate() {
            for task in tasks {
                order[lane].push(task.await.expect("no panic").expect("a turn"));
            }
        }
        assert_eq!(order, [vec![0, 1, 2, 4, 5, 6, 8], vec![3, 7, 9]]);
        assert_eq!(lanes.state().free, 1);
    }

    #[tokio::test]
    async fn a_full_lane_refuses_and_leaves_the_other_open() {
        let (lanes, turns) = (lanes(), Arc::new(AtomicUsize::new(0)));
        let first = lanes.turn(Lane::Known).await;
        let mut strangers = Vec::new();
        for _ in 0..QUEUE {
            strangers.push(wait(&lanes, Lane::Stranger, &turns).await);
        }
        assert!(lanes.turn(Lane::Stranger).await.is_none());
        let known = wait(&lanes, Lane::Known, &turns).await;
        // Callers who go away make room, and take no turn with them.
        for gone in strangers.drain(..10) {
            gone.abort();
            assert!(gone.await.is_err());
        }
        for _ in 0..10 {
            strangers.push(wait(&lanes, Lane::Stranger, &turns).await);
            if waiting(&lanes, Lane::Stranger) == QUEUE {
                break;
            }
        }
        drop(first);
        assert_eq!(known.await.expect("no panic"), Some(0));
        for stranger in strangers {
            assert!(stranger.await.expect("no panic").is_some());
        }
        let state = lanes.state();
        assert_eq!((state.free, state.known.len(), state.strangers.len()), (1, 0, 0));
    }

    #[tokio::test]
    async fn a_turn_that_nobody_takes_any_more_goes_to_the_next() {
        let (lanes, turns) = (lanes(), Arc::new(AtomicUsize::new(0)));
        let first = lanes.turn(Lane::Known).await;
        let mut leaving = Box::pin(lanes.turn(Lane::Known));
        assert!(futures_util::poll!(&mut leaving).is_pending());
        let patient = wait(&lanes, Lane::Stranger, &turns).await;
        // It has its turn, and goes away before it looks.
        drop(first);
        drop(leaving);
        assert_eq!(patient.await.expect("no panic"), Some(0));
        assert_eq!(lanes.state().free, 1);
    }
}
