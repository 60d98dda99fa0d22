//! Events in the order of commits.

pub mod stream;

use super::Store;

/// The events of a store.
#[derive(Debug, Clone)]
pub struct Events {
    store: Store,
}

impl Events {
    /// The events of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }
}
