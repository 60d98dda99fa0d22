//! MongoDB: the truth. One file per collection; documents are private, domain types come out.

pub mod accounts;
pub mod keys;
pub mod members;
pub mod outbox;
pub mod sessions;
pub mod store;
pub mod tokens;
pub mod users;

mod bson;
mod embedded;

use accounts::Accounts;
use members::Members;
use outbox::Outbox;
use sessions::Sessions;
use store::Store;
use users::Users;

/// Every repository of a store; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Repositories {
    /// Accounts with their mailed tokens and mails.
    pub accounts: Accounts,
    /// Who is in which conversation.
    pub members: Members,
    /// Mails that wait to be sent.
    pub outbox: Outbox,
    /// Signed-in devices.
    pub sessions: Sessions,
    /// Accounts.
    pub users: Users,
}

impl Repositories {
    /// The repositories of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            accounts: Accounts::new(store),
            members: Members::new(store),
            outbox: Outbox::new(store),
            sessions: Sessions::new(store),
            users: Users::new(store),
        }
    }
}
