//! Whose profile picture a file is: one question to `users`.

use mongodb::Collection;
use mongodb::bson::{Document, doc};

use super::store::{Store, within};
use crate::domain::ids::{AttachmentId, UserId};
use crate::error::Result;

/// The pictures of the collection `users`.
#[derive(Debug, Clone)]
pub struct Pictures {
    users: Collection<Document>,
}

impl Pictures {
    /// The profile pictures of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { users: store.collection("users") }
    }

    /// Whether the file is the profile picture of `user`, who uploaded it: nobody else can show it
    /// as theirs.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn is_shown_by(&self, user: UserId, file: AttachmentId) -> Result<bool> {
        let row = self.users.find_one(doc! { "_id": user, "picture.id": file, "deleted_at": null });
        Ok(within(row.projection(doc! { "_id": 1 })).await?.is_some())
    }
}
