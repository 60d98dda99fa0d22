//! Blocks: who has blocked whom, in the row of the pair.

use std::collections::HashSet;

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;

use super::Relations;
use super::row::{Row, block_field, blocked, key};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::notifications::NotificationId;
use crate::domain::relations::{Block, BlockPosition};
use crate::error::{Error, Result};
use crate::repositories::store::{Abort, all, within};

/// Two users, in either order.
pub type Pair = (UserId, UserId);

impl Relations {
    /// Lets `user` block `other`: whatever was between the two ends, and nothing of `other` waits
    /// for `user` any more. Since when; again changes nothing.
    pub async fn block(&self, user: UserId, other: UserId, at: Timestamp) -> Result<Timestamp> {
        let (this, change) = (self.clone(), blocked(user, other, at));
        self.store
            .transact(async move |session| {
                let before = this
                    .rows
                    .find_one_and_update(doc! { "_id": key(user, other) }, change.clone())
                    .upsert(true)
                    .return_document(ReturnDocument::Before)
                    .session(&mut *session)
                    .await
                    .map_err(Abort::again_if_taken)?;
                if let Some(at) = before.as_ref().and_then(|row| row.blocked_by(user)) {
                    return Ok(at);
                }
                if let Some(row) = before {
                    this.tell_removed(session, &row, user, at).await?;
                }
                this.silence(session, user, other).await?;
                Ok(at)
            })
            .await
    }

    /// Takes away what `other` has made `user` be told of.
    async fn silence(
        &self,
        session: &mut ClientSession,
        user: UserId,
        other: UserId,
    ) -> Result<(), Abort> {
        let asked = NotificationId::friend_request(user, other);
        self.notifications.withdraw(session, asked).await?;
        let accepted = NotificationId::friend_accepted(user, other);
        self.notifications.withdraw(session, accepted).await?;
        let conversation = ConversationId::direct(user, other);
        self.members.stop_waiting_in(session, conversation, user).await?;
        Ok(())
    }

    /// Takes back the block of `other` by `user`, if there is one; the other's own stays.
    pub async fn unblock(&self, user: UserId, other: UserId) -> Result<()> {
        let (this, field) = (self.clone(), block_field(user, other));
        let own = doc! { "_id": key(user, other), format!("{field}.by"): user };
        let change = doc! { "$unset": { field: "" } };
        self.store
            .transact(async move |session| {
                let row = this
                    .rows
                    .find_one_and_update(own.clone(), change.clone())
                    .return_document(ReturnDocument::After)
                    .session(&mut *session)
                    .await?;
                if row.is_some_and(|row| row.has_no_block()) {
                    let empty = doc! { "_id": key(user, other) };
                    this.rows.delete_one(empty).session(&mut *session).await?;
                    this.members.show_marks(session, user, other).await?;
                }
                Ok::<_, Abort>(())
            })
            .await
    }

    /// Since when `user` has blocked `other`; `None` if they have not.
    pub async fn blocked_since(&self, user: UserId, other: UserId) -> Result<Option<Timestamp>> {
        let row = self.rows.find_one(doc! { "_id": key(user, other), "status": "blocked" });
        Ok(within(&self.rows, row).await?.and_then(|row| row.blocked_by(user)))
    }

    /// Whether one of the two has blocked the other.
    pub async fn blocked_between(&self, one: UserId, other: UserId) -> Result<bool> {
        let row = self.rows.find_one(doc! { "_id": key(one, other), "status": "blocked" });
        Ok(within(&self.rows, row).await?.is_some())
    }

    /// Those of some pairs between whom there is a block, whoever made it.
    pub async fn blocked_pairs(&self, pairs: &[Pair]) -> Result<HashSet<Pair>> {
        if pairs.is_empty() {
            return Ok(HashSet::new());
        }
        let keys: Vec<Bson> = pairs.iter().map(|pair| key(pair.0, pair.1)).collect();
        let rows = self.rows.find(doc! { "_id": { "$in": keys }, "status": "blocked" });
        let rows = all(&self.rows, rows).await?;
        let is_blocked = |pair: &&Pair| {
            rows.iter().any(|row| Bson::from(row.key.clone()) == key(pair.0, pair.1))
        };
        Ok(pairs.iter().filter(is_blocked).copied().collect())
    }

    /// Those of some others between whom and `user` there is a block, whoever made it.
    pub async fn blocked_among(&self, user: UserId, others: &[UserId]) -> Result<HashSet<UserId>> {
        let rows = self.blocks_among(user, others).await?;
        Ok(rows.iter().filter_map(|row| row.other_than(user)).collect())
    }

    /// Those of some others whom `user` has blocked.
    pub async fn blocked_by(&self, user: UserId, others: &[UserId]) -> Result<HashSet<UserId>> {
        let rows = self.blocks_among(user, others).await?;
        let own = rows.iter().filter(|row| row.blocked_by(user).is_some());
        Ok(own.filter_map(|row| row.other_than(user)).collect())
    }

    async fn blocks_among(&self, user: UserId, others: &[UserId]) -> Result<Vec<Row>> {
        if others.is_empty() {
            return Ok(Vec::new());
        }
        all(&self.rows, self.rows.find(blocks_of(user, others))).await
    }

    /// Whether there is a block between `user` and any of the others, as a transaction sees it.
    pub(in crate::repositories) async fn any_blocked_in(
        &self,
        session: &mut ClientSession,
        user: UserId,
        others: &[UserId],
    ) -> Result<bool, Abort> {
        if others.is_empty() {
            return Ok(false);
        }
        let row = self.rows.find_one(blocks_of(user, others)).session(session).await?;
        Ok(row.is_some())
    }

    /// Up to `count` of those whom `user` has blocked, the last first, from after `before` on.
    pub async fn blocks(
        &self,
        user: UserId,
        before: Option<BlockPosition>,
        count: usize,
    ) -> Result<Vec<Block>> {
        // Whether one is the lower or the higher of a pair is as may be: two lists in one order.
        let (low, high) = tokio::try_join!(
            self.blocks_in("low_block", user, before, count),
            self.blocks_in("high_block", user, before, count),
        )?;
        let mut rows = [low, high].concat();
        rows.sort_unstable_by(|(one, one_key), (other, other_key)| {
            (other.at, other_key).cmp(&(one.at, one_key))
        });
        rows.truncate(count);
        Ok(rows.into_iter().map(|(block, _)| block).collect())
    }

    /// The blocks in one of the two fields, each with the bytes of its key.
    async fn blocks_in(
        &self,
        field: &str,
        user: UserId,
        before: Option<BlockPosition>,
        count: usize,
    ) -> Result<Vec<(Block, Vec<u8>)>> {
        let (by, at) = (format!("{field}.by"), format!("{field}.at"));
        let mut own = doc! { by: user };
        if let Some(before) = before {
            let earlier = doc! { at.as_str(): { "$lt": before.at } };
            let after = key(user, before.user);
            let same = doc! { at.as_str(): before.at, "_id": { "$lt": after } };
            own.insert("$or", vec![earlier, same]);
        }
        let rows = self
            .rows
            .find(own)
            .sort(doc! { at: -1, "_id": -1 })
            .limit(i64::try_from(count).unwrap_or(i64::MAX));
        let rows = all(&self.rows, rows).await?;
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
