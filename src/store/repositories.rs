//! All repositories of a store.

use super::Store;
use super::active_sessions::ActiveSessions;
use super::events::Events;
use super::files::Files;
use super::indexing::Indexing;
use super::messages::Messages;
use super::search::Search;

/// Every repository of a store; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Repositories {
    /// Active sessions.
    pub active_sessions: ActiveSessions,
    /// Events.
    pub events: Events,
    /// The bytes of files.
    pub files: Files,
    /// The index of words.
    pub indexing: Indexing,
    /// Messages, to be read.
    pub messages: Messages,
    /// Messages by their words.
    pub search: Search,
    /// The store itself.
    pub store: Store,
    /// The store over connections that readers do not use.
    pub writers: Store,
}

impl Repositories {
    /// The repositories of a store whose messages are in so many shards.
    #[must_use]
    pub fn new(store: &Store, shards: usize) -> Self {
        let messages = Messages::new(store, shards);
        Self {
            active_sessions: ActiveSessions::new(store),
            events: Events::new(store),
            files: Files::new(store),
            indexing: Indexing::new(store, messages.clone()),
            messages,
            search: Search::new(store),
            store: store.clone(),
            writers: store.for_writers(),
        }
    }
}
