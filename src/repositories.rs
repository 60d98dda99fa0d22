//! MongoDB: the truth. One file per collection; documents are private, domain types come out.

pub mod active_sessions;
pub mod bulk;
pub mod check;
pub mod costs;
mod email_keys;
pub mod events;
pub mod files;
pub mod indexing;
pub mod keys;
pub mod messages;
pub mod rows;
pub mod schema;
pub mod search;
pub mod store;
pub mod striped_locks;

mod bson;
mod embedded;

use active_sessions::ActiveSessions;
use events::Events;
use files::Files;
use indexing::Indexing;
use messages::Messages;
use search::Search;
use store::Store;

/// Every repository of a store; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Repositories {
    /// Active sessions.
    pub active_sessions: ActiveSessions,
    /// What happened.
    pub events: Events,
    /// The bytes of files.
    pub files: Files,
    /// What makes messages found.
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
