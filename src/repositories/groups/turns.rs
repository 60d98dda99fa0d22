//! Taking turns: what this instance changes of one group, it changes one after another.
//!
//! Transactions alone keep it right, but many at once on one row mostly make each other start
//! again: 50 adds at once took four times as long without this.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use crate::domain::ids::GroupId;

/// How many groups can have their turn at once; more share.
const LANES: usize = 64;

/// How long to wait for a turn; after that it is tried without.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<[Mutex<()>]>);

impl Turns {
    pub(super) fn new() -> Self {
        Self((0..LANES).map(|_| Mutex::new(())).collect())
    }

    /// Waits for this group's turn, which lasts until the guard is dropped.
    pub(super) async fn of(&self, group: GroupId) -> Option<MutexGuard<'_, ()>> {
        let lane = usize::from(group.bytes()[15]) % LANES;
        timeout(PATIENCE, self.0[lane].lock()).await.ok()
    }
}
