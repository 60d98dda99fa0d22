//! Relations: one row per pair of users, so that both sides always agree.

mod blocks;
mod bulk;
mod row;
mod telling;

use std::collections::HashSet;

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;

pub use self::blocks::Pair;
use super::events::Events;
use super::members::Members;
use super::notifications::Notifications;
use super::store::{Abort, Collection, Store, all, within};
use super::turns::Turns;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::relations::{Relation, RelationPosition, Standing, recipient_unavailable};
use crate::error::{Error, Result};
use row::{Row, Status, asked, key, older, requested, view};

/// The collection `relations`, and what a change of it tells the other side.
#[derive(Debug, Clone)]
pub struct Relations {
    store: Store,
    rows: Collection<Row>,
    users: Collection<Document>,
    members: Members,
    notifications: Notifications,
    events: Events,
    /// Requests of one account are made one after another in an instance: each writes its row.
    turns: Turns,
}

impl Relations {
    /// The relations of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            rows: store.collection("relations"),
            users: store.collection("users"),
            members: Members::new(store),
            notifications: Notifications::new(store),
            events: Events::new(store),
            turns: Turns::new(),
        }
    }

    /// Asks for friendship, or accepts the other's request if there is one: the standing after.
    /// The other side is told in the same transaction.
    ///
    /// # Errors
    /// `already_friends`, `request_already_sent`; `recipient_unavailable` where one has blocked
    /// the other; `limit_reached` where more than `most` requests of `user` would wait; the store
    /// is away.
    pub async fn request(
        &self,
        user: UserId,
        other: UserId,
        most: Option<u32>,
        at: Timestamp,
    ) -> Result<Standing> {
        let (this, change) = (self.clone(), asked(user, other, at));
        let _turn = self.turns.of(user.bytes()).await;
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
                match before.map(|row| row.standing(user)) {
                    Some(None) => Err(recipient_unavailable().into()),
                    Some(Some(Standing::Accepted)) => Err(already_friends().into()),
                    Some(Some(Standing::Outgoing)) => Err(already_sent().into()),
                    Some(Some(Standing::Incoming)) => {
                        this.tell_accepted(session, user, other, at).await?;
                        Ok(Standing::Accepted)
                    }
                    None => {
                        this.check_room(session, user, most).await?;
                        this.tell_requested(session, user, other, at).await?;
                        Ok(Standing::Outgoing)
                    }
                }
            })
            .await
    }

    /// Refuses a request that has just been written if it is one too many. The account's row is
    /// written, so that of many requests at once each counts those before it.
    async fn check_room(
        &self,
        session: &mut ClientSession,
        user: UserId,
        most: Option<u32>,
    ) -> Result<(), Abort> {
        let Some(most) = most.map(u64::from) else { return Ok(()) };
        let counted = doc! { "$inc": { "requests": 1_i64 } };
        self.users.update_one(doc! { "_id": user }, counted).session(&mut *session).await?;
        let waiting = doc! { "views": view(user, Standing::Outgoing) };
        let waiting = self.rows.count_documents(waiting).limit(most + 1).session(session).await?;
        if waiting > most { Err(too_many_requests().into()) } else { Ok(()) }
    }

    /// Accepts the other's request; again changes nothing. `false` if there is none and they are
    /// not friends.
    ///
    /// # Errors
    /// `recipient_unavailable` where one has blocked the other; the store is away.
    pub async fn accept(&self, user: UserId, other: UserId, at: Timestamp) -> Result<bool> {
        let accepted = doc! { "$set": {
            "status": "accepted",
            "since": at,
            "views": [view(user, Standing::Accepted), view(other, Standing::Accepted)],
        } };
        let this = self.clone();
        self.store
            .transact(async move |session| {
                let update = this.rows.update_one(requested(other, user), accepted.clone());
                if update.session(&mut *session).await?.matched_count == 1 {
                    this.tell_accepted(session, user, other, at).await?;
                    return Ok(true);
                }
                let row = this.rows.find_one(doc! { "_id": key(user, other) });
                let row = row.session(session).await?;
                match row.map(|row| row.status) {
                    Some(Status::Blocked) => Err(recipient_unavailable().into()),
                    status => Ok(status == Some(Status::Accepted)),
                }
            })
            .await
    }

    /// Refuses the other's request; `false` if there is none.
    pub async fn decline(&self, user: UserId, other: UserId, at: Timestamp) -> Result<bool> {
        self.delete(requested(other, user), user, at).await
    }

    /// Ends the friendship, or takes back or refuses the request, whatever there is between the
    /// two; `false` if there is nothing.
    pub async fn remove(&self, user: UserId, other: UserId, at: Timestamp) -> Result<bool> {
        let friendly = doc! { "$in": ["pending", "accepted"] };
        self.delete(doc! { "_id": key(user, other), "status": friendly }, user, at).await
    }

    /// Deletes the relation that the filter finds, on behalf of `user`.
    async fn delete(&self, which: Document, user: UserId, at: Timestamp) -> Result<bool> {
        let this = self.clone();
        self.store
            .transact(async move |session| {
                let deleted = this.rows.find_one_and_delete(which.clone()).session(&mut *session);
                let Some(row) = deleted.await? else { return Ok(false) };
                this.tell_removed(session, &row, user, at).await?;
                Ok::<_, Abort>(true)
            })
            .await
    }

    /// Whether the two are friends.
    pub async fn are_friends(&self, user: UserId, other: UserId) -> Result<bool> {
        let row = self.rows.find_one(doc! { "_id": key(user, other), "status": "accepted" });
        Ok(within(&self.rows, row).await?.is_some())
    }

    /// Up to `count` of a user's friends, those of the latest friendships first.
    pub async fn friends_of(&self, user: UserId, count: usize) -> Result<Vec<UserId>> {
        let friends = self.page(user, Standing::Accepted, None, count).await?;
        Ok(friends.into_iter().map(|friend| friend.user).collect())
    }

    /// Those of some others who are friends of `user`.
    pub async fn friends_among(&self, user: UserId, others: &[UserId]) -> Result<HashSet<UserId>> {
        if others.is_empty() {
            return Ok(HashSet::new());
        }
        let keys: Vec<Bson> = others.iter().map(|other| key(user, *other)).collect();
        let rows = self.rows.find(doc! { "_id": { "$in": keys }, "status": "accepted" });
        Ok(all(&self.rows, rows).await?.iter().filter_map(|row| row.other_than(user)).collect())
    }

    /// How `other` stands with `user`; `None` where there is nothing between them, or a block.
    pub async fn between(&self, user: UserId, other: UserId) -> Result<Option<Standing>> {
        let row = self.rows.find_one(doc! { "_id": key(user, other) });
        Ok(within(&self.rows, row).await?.and_then(|row| row.standing(user)))
    }

    /// Up to `count` of a user's relations of one standing, newest first, from after `before` on.
    pub async fn page(
        &self,
        user: UserId,
        standing: Standing,
        before: Option<RelationPosition>,
        count: usize,
    ) -> Result<Vec<Relation>> {
        let mut wanted = doc! { "views": view(user, standing) };
        if let Some(before) = before {
            wanted.extend(older(user, before));
        }
        let rows = self
            .rows
            .find(wanted)
            .sort(doc! { "since": -1, "_id": -1 })
            .limit(i64::try_from(count).unwrap_or(i64::MAX));
        let rows = all(&self.rows, rows).await?;
        rows.iter()
            .map(|row| row.seen_by(user).ok_or_else(|| Error::internal("a relation of no two")))
            .collect()
    }
}

fn too_many_requests() -> Error {
    Error::conflict("limit_reached", "as many of your requests wait for an answer as may")
}

fn already_friends() -> Error {
    Error::conflict("already_friends", "you are friends already")
}

fn already_sent() -> Error {
    Error::conflict("request_already_sent", "your request is waiting for an answer")
}
