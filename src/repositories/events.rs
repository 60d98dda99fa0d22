//! What happened, in the order of its commits.

pub mod stream;

use super::store::Store;

/// What happens in a store, to be followed.
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
