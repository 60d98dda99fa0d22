//! Blocks.

use std::collections::HashSet;

use super::Relations;
use crate::domain::ids::UserId;
use crate::error::Result;

impl Relations {
    /// Whether one of the two has blocked the other.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn blocked_between(&self, one: UserId, other: UserId) -> Result<bool> {
        Ok(!self.blocked_among(one, &[other]).await?.is_empty())
    }

    /// Those of some others between whom and `user` there is a block, whoever made it.
    ///
    /// # Errors
    /// When the store is away.
    #[expect(clippy::unused_async, reason = "placeholder")]
    pub async fn blocked_among(&self, _: UserId, _: &[UserId]) -> Result<HashSet<UserId>> {
        Ok(HashSet::new())
    }

    /// Those of some others whom `user` has blocked.
    ///
    /// # Errors
    /// When the store is away.
    #[expect(clippy::unused_async, reason = "placeholder")]
    pub async fn blocked_by(&self, _: UserId, _: &[UserId]) -> Result<HashSet<UserId>> {
        Ok(HashSet::new())
    }
}
