//! The directory of users: public profiles, and search by name.

use std::collections::HashMap;

use crate::cache::profiles::ProfileCache;
use crate::domain::ids::UserId;
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::users::PublicUser;
use crate::error::{Error, Result};
use crate::store::Store;

/// Characters that a prefix has at least.
pub const SHORTEST_PREFIX: usize = 2;

/// Looks up public profiles.
#[derive(Debug)]
pub struct UserDirectory {
    pub(super) store: Store,
    pub(super) cache: ProfileCache,
    pub(super) cursors: Cursors,
}

impl UserDirectory {
    /// The profiles of these users, deleted ones included; missing are those that never were
    /// verified. They may lag behind a change: what decides who may do what is read elsewhere.
    pub async fn many(&self, users: &[UserId]) -> Result<HashMap<UserId, PublicUser>> {
        let store = self.store.clone();
        let read = |missing: Vec<UserId>| async move { store.users().public(&missing).await };
        self.cache.through(users, read).await
    }

    /// The profile of a user, deleted or not.
    ///
    /// # Errors
    /// `not_found` for one that never was verified; or the store is away.
    pub async fn one(&self, user: UserId) -> Result<PublicUser> {
        self.many(&[user]).await?.remove(&user).ok_or_else(Error::not_found)
    }

    /// People whose name begins with `prefix`, whatever its case, in the order of their names.
    ///
    /// # Errors
    /// `validation_failed` for a prefix of less than two characters; `invalid_cursor`; or the
    /// store is away.
    pub async fn search(
        &self,
        reader: UserId,
        prefix: &str,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<PublicUser>> {
        if prefix.chars().count() < SHORTEST_PREFIX {
            return Err(Error::field("q", "too_short", "must have at least 2 characters"));
        }
        let prefix = prefix.to_ascii_lowercase();
        let list = format!("users/{prefix}");
        let scope = ListScope { list: &list, reader };
        let after: Option<String> = self.cursors.resume(scope, cursor)?;
        let found = self.store.users().named(&prefix, after.as_deref(), limit.get() + 1).await?;
        let key = |user: &PublicUser| user.username.as_deref().map(str::to_ascii_lowercase);
        Ok(self.cursors.page(scope, limit, found, key))
    }
}
