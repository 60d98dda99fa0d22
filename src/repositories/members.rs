//! Members: one row per member and conversation. Whoever has left or was removed has no row.

mod changes;
mod receipts;
pub(super) mod shown;
mod users;

use std::collections::HashSet;

use mongodb::ClientSession;
use mongodb::bson::{Binary, Document, doc};
use mongodb::error::Error as DriverError;
use serde::{Deserialize, Serialize};

use super::bson::{date, id, optional_date, pair, raw};
use super::store::{Collection, Store, all, within};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, Membership, Role};
use crate::domain::groups::GroupPosition;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;

/// A row of `members`; its key is the conversation's id, then the user's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MemberRow {
    #[serde(rename = "_id")]
    key: Binary,
    #[serde(with = "id")]
    conversation_id: ConversationId,
    #[serde(with = "id")]
    user_id: UserId,
    kind: Kind,
    role: Role,
    #[serde(with = "date")]
    joined_at: Timestamp,
    joined_seq: u64,
    read_seq: u64,
    delivered_seq: u64,
    own_total: u64,
    own_at_read: u64,
    noticed_seq: u64,
    #[serde(with = "optional_date", default)]
    muted_until: Option<Timestamp>,
    /// Tells apart who joined a group in the same millisecond: those named at its creation joined
    /// in that order.
    #[serde(default)]
    place: u32,
}

impl MemberRow {
    /// The row of someone who is the `place`th in the group.
    pub(super) fn at_place(member: Membership, place: u32) -> Self {
        Self { place, ..member.into() }
    }
}

impl From<Membership> for MemberRow {
    fn from(member: Membership) -> Self {
        Self {
            key: key(member.conversation, member.user),
            conversation_id: member.conversation,
            user_id: member.user,
            kind: member.kind,
            role: member.role,
            joined_at: member.joined_at,
            joined_seq: member.joined_seq,
            read_seq: member.read_seq,
            delivered_seq: member.delivered_seq,
            own_total: member.own_total,
            own_at_read: member.own_at_read,
            noticed_seq: member.noticed_seq,
            muted_until: member.muted_until,
            place: 0,
        }
    }
}

impl From<MemberRow> for Membership {
    fn from(row: MemberRow) -> Self {
        Self {
            conversation: row.conversation_id,
            user: row.user_id,
            kind: row.kind,
            role: row.role,
            joined_at: row.joined_at,
            joined_seq: row.joined_seq,
            read_seq: row.read_seq,
            delivered_seq: row.delivered_seq,
            own_total: row.own_total,
            own_at_read: row.own_at_read,
            noticed_seq: row.noticed_seq,
            muted_until: row.muted_until,
        }
    }
}

/// The key of a user's row in a conversation.
pub(super) fn key(conversation: ConversationId, user: UserId) -> Binary {
    raw(pair(&conversation, &user))
}

/// What a user's row in a direct conversation holds when its first message makes it.
pub(super) fn begun_direct(
    conversation: ConversationId,
    user: UserId,
    joined_at: Timestamp,
) -> Document {
    doc! {
        "conversation_id": conversation, "user_id": user, "kind": "direct", "role": "member",
        "joined_at": joined_at, "joined_seq": 0_i64, "read_seq": 0_i64, "delivered_seq": 0_i64,
        "own_total": 0_i64, "own_at_read": 0_i64, "noticed_seq": 0_i64, "muted_until": null,
    }
}

/// The collection `members`.
#[derive(Debug, Clone)]
pub struct Members {
    rows: Collection<MemberRow>,
}

impl Members {
    /// The members of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("members") }
    }

    /// A user's place in a conversation; `None` for outsiders.
    pub async fn find(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Membership>> {
        let row = self.rows.find_one(doc! { "_id": key(conversation, user) });
        Ok(within(&self.rows, row).await?.map(Membership::from))
    }

    /// Everyone in a conversation, the first to join first.
    pub async fn all(&self, conversation: ConversationId) -> Result<Vec<Membership>> {
        let everyone = doc! { "conversation_id": conversation };
        let rows = all(&self.rows, self.rows.find(everyone).sort(seniority())).await?;
        Ok(rows.into_iter().map(Membership::from).collect())
    }

    /// Up to `count` of a user's places in groups, the last joined first, from after `before` on.
    pub async fn groups_of(
        &self,
        user: UserId,
        before: Option<GroupPosition>,
        count: usize,
    ) -> Result<Vec<Membership>> {
        let mut wanted = doc! { "user_id": user, "kind": "group" };
        if let Some(before) = before {
            let same = doc! {
                "joined_at": before.joined_at,
                "conversation_id": { "$lt": before.group },
            };
            wanted.insert("$or", vec![doc! { "joined_at": { "$lt": before.joined_at } }, same]);
        }
        // The index finds them; sorting these few hundred rows at most needs none.
        let rows = self
            .rows
            .find(wanted)
            .sort(doc! { "joined_at": -1, "conversation_id": -1 })
            .limit(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(all(&self.rows, rows).await?.into_iter().map(Membership::from).collect())
    }

    /// Those of some users who are in a conversation, in no order.
    pub async fn some(
        &self,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Membership>> {
        let keys: Vec<Binary> = users.iter().map(|user| key(conversation, *user)).collect();
        let rows = all(&self.rows, self.rows.find(doc! { "_id": { "$in": keys } })).await?;
        Ok(rows.into_iter().map(Membership::from).collect())
    }

    /// Whether a user is in any of these conversations.
    pub async fn any_of(&self, conversations: &[ConversationId], user: UserId) -> Result<bool> {
        let keys: Vec<Binary> = conversations.iter().map(|it| key(*it, user)).collect();
        let rows = self.rows.clone_with_type::<Document>();
        let row = rows.find_one(doc! { "_id": { "$in": keys } }).projection(doc! { "_id": 1 });
        Ok(within(&rows, row).await?.is_some())
    }

    /// Which of some conversations a user has a place in.
    pub async fn places(
        &self,
        user: UserId,
        conversations: &[ConversationId],
    ) -> Result<HashSet<ConversationId>> {
        let keys: Vec<Binary> = conversations.iter().map(|it| key(*it, user)).collect();
        let rows = all(&self.rows, self.rows.find(doc! { "_id": { "$in": keys } })).await?;
        Ok(rows.into_iter().map(|row| Membership::from(row).conversation).collect())
    }

    /// As [`Members::find`], inside a transaction.
    pub(super) async fn find_in(
        &self,
        session: &mut ClientSession,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Membership>, DriverError> {
        let row = self.rows.find_one(doc! { "_id": key(conversation, user) });
        Ok(row.session(session).await?.map(Membership::from))
    }

    /// Mutes a conversation for a user, or ends that; whether they are in it.
    pub async fn mute(
        &self,
        conversation: ConversationId,
        user: UserId,
        until: Option<Timestamp>,
    ) -> Result<bool> {
        let row = doc! { "_id": key(conversation, user) };
        let set = doc! { "$set": { "muted_until": until } };
        Ok(within(&self.rows, self.rows.update_one(row, set)).await?.matched_count == 1)
    }

    /// Lets people in.
    pub(super) async fn insert_in(
        &self,
        session: &mut ClientSession,
        rows: Vec<MemberRow>,
    ) -> Result<(), DriverError> {
        self.rows.insert_many(rows).session(session).await?;
        Ok(())
    }

    /// Lets someone go.
    pub(super) async fn delete_in(
        &self,
        session: &mut ClientSession,
        member: &Membership,
    ) -> Result<(), DriverError> {
        let row = doc! { "_id": key(member.conversation, member.user) };
        self.rows.delete_one(row).session(session).await?;
        Ok(())
    }

    /// Gives the group to the admin who joined first, else to the member who did: the new owner.
    /// `None` if nobody is left.
    pub(super) async fn promote_in(
        &self,
        session: &mut ClientSession,
        conversation: ConversationId,
    ) -> Result<Option<UserId>, DriverError> {
        let owner = doc! { "$set": { "role": "owner" } };
        for role in ["admin", "member"] {
            let candidates = doc! { "conversation_id": conversation, "role": role };
            let row = self.rows.find_one_and_update(candidates, owner.clone()).sort(seniority());
            if let Some(row) = row.session(&mut *session).await? {
                return Ok(Some(row.user_id));
            }
        }
        Ok(None)
    }
}

/// The first to join first.
fn seniority() -> Document {
    doc! { "joined_at": 1, "place": 1, "_id": 1 }
}
