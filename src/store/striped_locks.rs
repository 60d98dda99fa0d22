//! Locks by id: this instance runs transactions on one group, conversation or account one after
//! another.
//!
//! Transactions alone keep the data right, but many at once on one row mostly conflict and start
//! again: 50 adds at once took four times as long without the locks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

/// Locks; ids share them.
const STRIPES: usize = 64;

/// How long to wait for a lock; after that the transaction runs without it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, Clone)]
pub struct StripedLocks(Arc<[Mutex<()>]>);

impl StripedLocks {
    pub fn new() -> Self {
        Self((0..STRIPES).map(|_| Mutex::new(())).collect())
    }

    /// Waits for the lock of this id, which the guard holds.
    pub async fn lock(&self, id: [u8; 16]) -> Option<MutexGuard<'_, ()>> {
        let lane = usize::from(id[15]) % STRIPES;
        timeout(LOCK_TIMEOUT, self.0[lane].lock()).await.ok()
    }
}
