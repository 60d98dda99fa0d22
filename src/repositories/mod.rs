//! MongoDB: the truth. One file per collection; documents are private, domain types come out.

pub mod keys;
pub mod members;
pub mod notifications;
pub mod relations;
pub mod schema;
pub mod sessions;
pub mod store;

mod bson;

use members::Members;
use notifications::Notifications;
use relations::Relations;
use sessions::Sessions;
use store::Store;

/// Every repository of a store; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Repositories {
    /// Who is in which conversation.
    pub members: Members,
    /// What users are told of.
    pub notifications: Notifications,
    /// Friendships and requests.
    pub relations: Relations,
    /// Signed-in devices.
    pub sessions: Sessions,
}

impl Repositories {
    /// The repositories of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            members: Members::new(store),
            notifications: Notifications::new(store),
            relations: Relations::new(store),
            sessions: Sessions::new(store),
        }
    }
}
