//! Relations: one row per pair of users, so that both sides always agree.

mod blocks;
mod row;

use std::collections::HashSet;

use mongodb::bson::{Binary, Bson, doc};
use serde::Deserialize;

pub use self::blocks::Pair;
pub use self::row::Row;
use self::row::{all_views, asked, key, other_in, requested, view};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::relations::{Relation, RelationPosition, Standing};
use crate::error::{Error, Result};
use crate::store::{Table, again_if_taken};

/// A relation, as far as who is in it.
#[derive(Debug, Deserialize)]
struct Key {
    #[serde(rename = "_id")]
    key: Binary,
}

/// The collection `relations`, for one command.
pub struct Relations<'a>(Table<'a, Row>);

impl<'a> Relations<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// The relation of two, if there is anything between them.
    pub async fn find(self, user: UserId, other: UserId) -> Result<Option<Row>> {
        self.0.one(doc! { "_id": key(user, other) }).await
    }

    /// Notes that `user` asks `other`: the row before. If the other had asked, they are friends
    /// now; else, where there was a row, it stays as it is.
    pub async fn ask(self, user: UserId, other: UserId, at: Timestamp) -> Result<Option<Row>> {
        let before = self.0.upsert(doc! { "_id": key(user, other) }, asked(user, other, at));
        before.await.map_err(again_if_taken)
    }

    /// How many requests of a user wait for an answer, counted up to `most`.
    pub async fn count_outgoing(self, user: UserId, most: usize) -> Result<u64> {
        self.0.first(most).count(doc! { "views": view(user, Standing::Outgoing) }).await
    }

    /// Makes friends of the two if `other` has asked `user`; whether that is so.
    pub async fn accept(self, user: UserId, other: UserId, at: Timestamp) -> Result<bool> {
        let accepted = doc! { "$set": {
            "status": "accepted",
            "since": at,
            "views": [view(user, Standing::Accepted), view(other, Standing::Accepted)],
        } };
        self.0.update(requested(other, user), accepted).await
    }

    /// Takes away a request of `from` to `to`: what it was, if there is one.
    pub async fn take_request(self, from: UserId, to: UserId) -> Result<Option<Row>> {
        self.0.take(requested(from, to)).await
    }

    /// Takes away a friendship or a request between two: what it was, if there is one.
    pub async fn take_friendly(self, user: UserId, other: UserId) -> Result<Option<Row>> {
        let friendly = doc! { "$in": ["pending", "accepted"] };
        self.0.take(doc! { "_id": key(user, other), "status": friendly }).await
    }

    /// Takes away whatever is between two, blocks included: what it was, if there is anything.
    pub async fn take(self, user: UserId, other: UserId) -> Result<Option<Row>> {
        self.0.take(doc! { "_id": key(user, other) }).await
    }

    /// Whether the two are friends.
    pub async fn are_friends(self, user: UserId, other: UserId) -> Result<bool> {
        let row = self.0.one(doc! { "_id": key(user, other), "status": "accepted" }).await?;
        Ok(row.is_some())
    }

    /// Up to `count` of a user's friends, those of the latest friendships first.
    pub async fn friends_of(self, user: UserId, count: usize) -> Result<Vec<UserId>> {
        let friends = self.page(user, Standing::Accepted, None, count).await?;
        Ok(friends.into_iter().map(|friend| friend.user).collect())
    }

    /// Those of some others who are friends of `user`.
    pub async fn friends_among(self, user: UserId, others: &[UserId]) -> Result<HashSet<UserId>> {
        if others.is_empty() {
            return Ok(HashSet::new());
        }
        let keys: Vec<Bson> = others.iter().map(|other| key(user, *other)).collect();
        let rows = self.0.all(doc! { "_id": { "$in": keys }, "status": "accepted" }).await?;
        Ok(rows.iter().filter_map(|row| row.other_than(user)).collect())
    }

    /// How `other` stands with `user`; `None` where there is nothing between them, or a block.
    pub async fn between(self, user: UserId, other: UserId) -> Result<Option<Standing>> {
        Ok(self.find(user, other).await?.and_then(|row| row.standing(user)))
    }

    /// Up to `count` of a user's relations of one standing, newest first, from after `before` on.
    pub async fn page(
        self,
        user: UserId,
        standing: Standing,
        before: Option<RelationPosition>,
        count: usize,
    ) -> Result<Vec<Relation>> {
        let wanted = doc! { "views": view(user, standing) };
        let before = before.map(|it| [it.since.into(), key(user, it.user)]);
        let rows = self.0.page(wanted, ["since", "_id"], before, count).await?;
        rows.iter().map(|row| row.seen_by(user).ok_or_else(no_two)).collect()
    }

    /// Up to `count` of those with whom a user has anything, blocks included, in no order.
    pub async fn others_of(self, user: UserId, count: usize) -> Result<Vec<UserId>> {
        let rows = self.0.only::<Key>(doc! { "_id": 1 }).first(count).all(all_views(user)).await?;
        rows.iter().map(|row| other_in(&row.key, user).ok_or_else(no_two)).collect()
    }
}

fn no_two() -> Error {
    Error::internal("a relation of no two")
}
