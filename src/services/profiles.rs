//! How people look to others.

use std::collections::HashMap;

use crate::domain::ids::UserId;
use crate::domain::users::PublicUser;
use crate::error::Result;
use crate::repositories::users::Users;

/// Looks up public profiles.
#[derive(Debug)]
pub struct Profiles {
    users: Users,
}

impl Profiles {
    /// Profiles of these accounts.
    #[must_use]
    pub fn new(users: Users) -> Self {
        Self { users }
    }

    /// The profiles of these users, deleted ones included; missing are those that never were
    /// verified.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn many(&self, users: &[UserId]) -> Result<HashMap<UserId, PublicUser>> {
        let found = self.users.public(users).await?;
        Ok(found.into_iter().map(|user| (user.id, user)).collect())
    }
}
