//! Blocks: who has blocked whom, in the row of the pair.

use std::collections::HashSet;

use mongodb::bson::{Bson, Document, doc};

use super::Relations;
use super::row::{Row, block_field, blocked, key};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::relations::{Block, BlockPosition};
use crate::error::{Error, Result};
use crate::store::{Store, again_if_taken};

/// Two users, in either order.
pub type Pair = (UserId, UserId);

/// The field of the block of the lower, and of the higher of two.
const FIELDS: [&str; 2] = ["low_block", "high_block"];

impl Relations<'_> {
    /// Notes that `user` has blocked `other`, in place of whatever was between the two: the row
    /// before. A block that is there stays.
    pub async fn block(self, user: UserId, other: UserId, at: Timestamp) -> Result<Option<Row>> {
        let before = self.0.upsert(doc! { "_id": key(user, other) }, blocked(user, other, at));
        before.await.map_err(again_if_taken)
    }

    /// Takes back the block of `other` by `user`, if there is one: the row after.
    pub async fn unblock(self, user: UserId, other: UserId) -> Result<Option<Row>> {
        let field = block_field(user, other);
        let own = doc! { "_id": key(user, other), format!("{field}.by"): user };
        self.0.change(own, doc! { "$unset": { field: "" } }).await
    }

    /// Since when `user` has blocked `other`; `None` if they have not.
    pub async fn blocked_since(self, user: UserId, other: UserId) -> Result<Option<Timestamp>> {
        let row = self.0.one(doc! { "_id": key(user, other), "status": "blocked" }).await?;
        Ok(row.and_then(|row| row.blocked_by(user)))
    }

    /// Whether one of the two has blocked the other.
    pub async fn blocked_between(self, one: UserId, other: UserId) -> Result<bool> {
        let row = self.0.one(doc! { "_id": key(one, other), "status": "blocked" }).await?;
        Ok(row.is_some())
    }

    /// Those of some pairs between whom there is a block, whoever made it.
    pub async fn blocked_pairs(self, pairs: &[Pair]) -> Result<HashSet<Pair>> {
        if pairs.is_empty() {
            return Ok(HashSet::new());
        }
        let keys: Vec<Bson> = pairs.iter().map(|pair| key(pair.0, pair.1)).collect();
        let rows = self.0.all(doc! { "_id": { "$in": keys }, "status": "blocked" }).await?;
        let is_blocked = |pair: &&Pair| {
            rows.iter().any(|row| Bson::from(row.key.clone()) == key(pair.0, pair.1))
        };
        Ok(pairs.iter().filter(is_blocked).copied().collect())
    }

    /// Those of some others between whom and `user` there is a block, whoever made it.
    pub async fn blocked_among(self, user: UserId, others: &[UserId]) -> Result<HashSet<UserId>> {
        let rows = self.blocks_among(user, others).await?;
        Ok(rows.iter().filter_map(|row| row.other_than(user)).collect())
    }

    /// Those of some others whom `user` has blocked.
    pub async fn blocked_by(self, user: UserId, others: &[UserId]) -> Result<HashSet<UserId>> {
        let rows = self.blocks_among(user, others).await?;
        let own = rows.iter().filter(|row| row.blocked_by(user).is_some());
        Ok(own.filter_map(|row| row.other_than(user)).collect())
    }

    async fn blocks_among(self, user: UserId, others: &[UserId]) -> Result<Vec<Row>> {
        if others.is_empty() {
            return Ok(Vec::new());
        }
        self.0.all(blocks_of(user, others)).await
    }

    /// Whether there is a block between `user` and any of the others.
    pub async fn any_blocked(self, user: UserId, others: &[UserId]) -> Result<bool> {
        if others.is_empty() {
            return Ok(false);
        }
        Ok(self.0.one(blocks_of(user, others)).await?.is_some())
    }
}

impl Store {
    /// Up to `count` of those whom `user` has blocked, the last first, from after `before` on.
    pub async fn blocks(
        &self,
        user: UserId,
        before: Option<BlockPosition>,
        count: usize,
    ) -> Result<Vec<Block>> {
        // Whether one is the lower or the higher of a pair is as may be: two lists in one order.
        let [low, high] =
            FIELDS.map(|field| self.relations().blocks_in(field, user, before, count));
        let (low, high) = tokio::try_join!(low, high)?;
        let mut rows = [low, high].concat();
        rows.sort_unstable_by(|(one, one_key), (other, other_key)| {
            (other.at, other_key).cmp(&(one.at, one_key))
        });
        rows.truncate(count);
        Ok(rows.into_iter().map(|(block, _)| block).collect())
    }
}

impl Relations<'_> {
    /// The blocks in one of the two fields, each with the bytes of its key.
    async fn blocks_in(
        self,
        field: &str,
        user: UserId,
        before: Option<BlockPosition>,
        count: usize,
    ) -> Result<Vec<(Block, Vec<u8>)>> {
        let (by, at) = (format!("{field}.by"), format!("{field}.at"));
        let before = before.map(|it| [it.at.into(), key(user, it.user)]);
        let rows = self.0.page(doc! { by: user }, [&at, "_id"], before, count).await?;
        let blocks = rows.into_iter().map(|row| {
            let (other, at) = (row.other_than(user), row.blocked_by(user));
            let (Some(other), Some(at)) = (other, at) else {
                return Err(Error::internal("a block of no two"));
            };
            Ok((Block { user: other, at }, row.key.bytes))
        });
        blocks.collect()
    }
}

/// Finds the blocks between a user and some others.
fn blocks_of(user: UserId, others: &[UserId]) -> Document {
    let keys: Vec<Bson> = others.iter().map(|other| key(user, *other)).collect();
    doc! { "_id": { "$in": keys }, "status": "blocked" }
}
