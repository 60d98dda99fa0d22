//! What deleted accounts have left behind: found by a flag in their rows, removed by steps that
//! can be repeated, until the flag is taken away.

use std::collections::HashSet;

use mongodb::ClientSession;
use mongodb::bson::{Binary, doc};
use serde::Deserialize;

use super::bson::{binary, date, id};
use super::reactions;
use super::reactions::Reactions;
use super::relations::Relations;
use super::store::{Abort, Collection, Store, all, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::error::{Error, Result};

/// Relations that are removed in one go.
const AT_ONCE: i64 = 100;

/// Reactions of which it is noted in one go whose they are.
const NAMED_AT_ONCE: i64 = 500;

/// The flags in `users`, and the rows of others that name a deleted account.
#[derive(Debug, Clone)]
pub struct Departures {
    store: Store,
    users: Collection<Departed>,
    pairs: Collection<Pair>,
    told: Collection<Pair>,
    relations: Relations,
    reactions: Reactions,
}

/// An account that was deleted and has left something behind.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Departed {
    /// Whose it was.
    #[serde(rename = "_id", with = "id")]
    pub user: UserId,
    /// Since when it is gone.
    #[serde(rename = "deleted_at", with = "date")]
    pub at: Timestamp,
}

/// A relation, as far as who is in it.
#[derive(Debug, Deserialize)]
struct Pair {
    #[serde(rename = "_id")]
    key: Binary,
}

impl Departures {
    /// The departures of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            users: store.collection("users"),
            pairs: store.collection("relations"),
            told: store.collection("notifications"),
            relations: Relations::new(store),
            reactions: Reactions::new(store),
        }
    }

    /// Accounts that were deleted before `before` and have something left, the first of them
    /// first; at most `limit`.
    pub async fn unfinished(&self, before: Timestamp, limit: i64) -> Result<Vec<Departed>> {
        let flagged = doc! { "cleanup": true, "deleted_at": { "$lte": before } };
        let fields = doc! { "deleted_at": 1 };
        let rows = self.users.find(flagged).sort(doc! { "deleted_at": 1 });
        all(&self.users, rows.projection(fields).limit(limit)).await
    }

    /// Notes that nothing is left.
    pub async fn finish(&self, user: UserId) -> Result<()> {
        let done = doc! { "$unset": { "cleanup": "" } };
        within(&self.users, self.users.update_one(doc! { "_id": user, "cleanup": true }, done))
            .await?;
        Ok(())
    }

    /// Removes a user's relations of every kind, on both sides, each with the notification of a
    /// request that it was; the others are told.
    pub async fn forget_relations(&self, user: UserId, at: Timestamp) -> Result<()> {
        let view = |code: u8| binary([user.bytes().as_slice(), &[code]].concat());
        let own = doc! { "views": { "$elemMatch": { "$gte": view(0), "$lte": view(u8::MAX) } } };
        loop {
            let find = self.pairs.find(own.clone()).projection(doc! { "_id": 1 });
            let pairs = all(&self.pairs, find.limit(AT_ONCE)).await?;
            if pairs.is_empty() {
                return Ok(());
            }
            for pair in pairs {
                self.forget_relation(user, &pair.key, at).await?;
            }
        }
    }

    async fn forget_relation(&self, user: UserId, key: &Binary, at: Timestamp) -> Result<()> {
        let other = other_of(user, &key.bytes);
        let other = other.ok_or_else(|| Error::internal("a relation of no two"))?;
        let relations = self.relations.clone();
        self.store
            .transact(async move |session: &mut ClientSession| {
                Ok::<_, Abort>(relations.forget_in(session, user, other, at).await?)
            })
            .await
    }

    /// Notes of some reactions that an earlier natter has stored whose they are, and flags the
    /// deleted accounts among those users; whether there were any. Until there are none, it is not
    /// known of anyone that no reaction is left.
    pub async fn name_reactions(&self) -> Result<bool> {
        let keys = self.reactions.unnamed(NAMED_AT_ONCE).await?;
        if keys.is_empty() {
            return Ok(false);
        }
        // Before they have a name, by which they would not be found again after a crash.
        let users = keys.iter().map(reactions::user_of).collect::<Result<HashSet<UserId>>>()?;
        let users: Vec<UserId> = users.into_iter().collect();
        let gone = doc! { "_id": { "$in": users }, "deleted_at": { "$type": "date" } };
        let flag = doc! { "$set": { "cleanup": true } };
        within(&self.users, self.users.update_many(gone, flag)).await?;
        self.reactions.name(&self.store, &keys).await?;
        Ok(true)
    }

    /// Removes what a user was told of.
    pub async fn forget_notifications(&self, user: UserId) -> Result<()> {
        within(&self.told, self.told.delete_many(doc! { "user_id": user })).await?;
        Ok(())
    }
}

/// The other one of a pair.
fn other_of(user: UserId, key: &[u8]) -> Option<UserId> {
    let low = UserId::from_bytes(key.get(..16)?.try_into().ok()?);
    let high = UserId::from_bytes(key.get(16..)?.try_into().ok()?);
    Some(if low == user { high } else { low })
}
