//! Wakes workers of this instance when a transaction that enqueues jobs is committed. Workers of
//! other instances find the jobs when they next look.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The signals of every kind of job; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Wakes(Arc<Mutex<HashMap<String, Arc<Notify>>>>);

impl Wakes {
    /// The signal of a kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> Arc<Notify> {
        let mut all = self.0.lock();
        all.entry(kind.to_owned()).or_default().clone()
    }
}
