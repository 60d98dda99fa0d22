//! MongoDB: the truth. One file per collection; documents are private, domain types come out.

pub mod accounts;
pub mod addresses;
pub mod attachment_uses;
pub mod attachments;
pub mod bulk;
pub mod check;
pub mod costs;
pub mod departures;
pub mod devices;
mod email_keys;
pub mod events;
pub mod files;
pub mod held_names;
pub mod indexing;
pub mod keys;
pub mod lockouts;
pub mod messages;
pub mod notices;
pub mod password;
pub mod rate_windows;
pub mod rows;
pub mod schema;
pub mod search;
pub mod session_ends;
pub mod sessions;
pub mod store;
pub mod striped_locks;
pub mod tokens;
pub mod users;

mod bson;
mod deletion;
mod email_undo;
mod embedded;
mod names;
mod verification;

use accounts::Accounts;
use attachment_uses::AttachmentUses;
use attachments::Attachments;
use departures::Departures;
use events::Events;
use files::Files;
use indexing::Indexing;
use lockouts::Lockouts;
use messages::Messages;
use search::Search;
use sessions::Sessions;
use store::Store;
use tokens::Tokens;
use users::Users;

/// Every repository of a store; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Repositories {
    /// Accounts with their mailed tokens and mails.
    pub accounts: Accounts,
    /// Where files are used.
    pub attachment_uses: AttachmentUses,
    /// What is known of files.
    pub attachments: Attachments,
    /// What deleted accounts have left behind.
    pub departures: Departures,
    /// What happened.
    pub events: Events,
    /// The bytes of files.
    pub files: Files,
    /// What makes messages found.
    pub indexing: Indexing,
    /// Wrong passwords in a row.
    pub lockouts: Lockouts,
    /// Messages, to be read.
    pub messages: Messages,
    /// Messages by their words.
    pub search: Search,
    /// Signed-in devices.
    pub sessions: Sessions,
    /// The store itself.
    pub store: Store,
    /// Mailed tokens.
    pub tokens: Tokens,
    /// Accounts.
    pub users: Users,
    /// The store over connections that readers do not use.
    pub writers: Store,
}

impl Repositories {
    /// The repositories of a store whose messages are in so many shards.
    #[must_use]
    pub fn new(store: &Store, shards: usize) -> Self {
        let messages = Messages::new(store, shards);
        Self {
            accounts: Accounts::new(store),
            attachment_uses: AttachmentUses::new(store),
            attachments: Attachments::new(store),
            departures: Departures::new(store),
            events: Events::new(store),
            files: Files::new(store),
            indexing: Indexing::new(store, messages.clone()),
            lockouts: Lockouts::new(store),
            messages,
            search: Search::new(store),
            sessions: Sessions::new(store),
            store: store.clone(),
            tokens: Tokens::new(store),
            users: Users::new(store),
            writers: store.for_writers(),
        }
    }
}
