//! Members: one row per member and conversation. Whoever has left or was removed has no row.

mod lowest;
pub mod marks;
mod receipts;
pub mod sent;
mod shown;
mod users;

use std::collections::HashSet;

use mongodb::bson::{Binary, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, Membership, Role};
use crate::domain::groups::GroupPosition;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::Table;
use crate::store::bson::{date, id, optional_date, pair, raw};

/// A row of `members`; its key is the conversation's id, then the user's.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct MemberRow {
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
    /// The writer sets these two in the rows of direct conversations.
    #[serde(default, skip_serializing)]
    waiting_seq: Option<u64>,
    #[serde(with = "optional_date", default, skip_serializing)]
    waiting_at: Option<Timestamp>,
    /// Tells apart who joined a group in the same millisecond: those named at its creation joined
    /// in that order.
    #[serde(default)]
    place: u32,
}

impl MemberRow {
    /// The row of someone who is the `place`th in the group.
    pub(in crate::store) fn at_place(member: Membership, place: u32) -> Self {
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
            own_total: member.sent_count,
            own_at_read: member.sent_at_read,
            noticed_seq: member.dismissed_seq,
            muted_until: member.muted_until,
            waiting_seq: None,
            waiting_at: None,
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
            sent_count: row.own_total,
            sent_at_read: row.own_at_read,
            dismissed_seq: row.noticed_seq,
            muted_until: row.muted_until,
            waiting: row.waiting_seq.zip(row.waiting_at),
        }
    }
}

/// The key of a user's row in a conversation.
pub(in crate::store) fn key(conversation: ConversationId, user: UserId) -> Binary {
    raw(pair(&conversation, &user))
}

/// What a user's row in a direct conversation holds when its first message makes it.
pub(in crate::store) fn begun_direct(
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

/// The collection `members`, for one command.
pub struct Members<'a>(Table<'a, MemberRow>);

impl<'a> Members<'a> {
    pub(super) fn new(table: Table<'a, MemberRow>) -> Self {
        Self(table)
    }

    /// A user's place in a conversation; `None` for outsiders.
    pub async fn find(
        self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Membership>> {
        let row = self.0.one(doc! { "_id": key(conversation, user) }).await?;
        Ok(row.map(Membership::from))
    }

    /// Everyone in a conversation, the first to join first.
    pub async fn all(self, conversation: ConversationId) -> Result<Vec<Membership>> {
        let everyone = doc! { "conversation_id": conversation };
        let rows = self.0.sorted(seniority()).all(everyone).await?;
        Ok(rows.into_iter().map(Membership::from).collect())
    }

    /// Up to `count` of a user's places in groups, the last joined first, from after `before` on.
    pub async fn groups_of(
        self,
        user: UserId,
        before: Option<GroupPosition>,
        count: usize,
    ) -> Result<Vec<Membership>> {
        let groups = doc! { "user_id": user, "kind": "group" };
        let before = before.map(|it| [it.joined_at.into(), it.group.into()]);
        // The index finds them; sorting these few hundred rows at most needs none.
        let rows = self.0.page(groups, ["joined_at", "conversation_id"], before, count).await?;
        Ok(rows.into_iter().map(Membership::from).collect())
    }

    /// Those of some users who are in a conversation, in no order.
    pub async fn some(
        self,
        conversation: ConversationId,
        users: &[UserId],
    ) -> Result<Vec<Membership>> {
        let keys: Vec<Binary> = users.iter().map(|user| key(conversation, *user)).collect();
        let rows = self.0.all(doc! { "_id": { "$in": keys } }).await?;
        Ok(rows.into_iter().map(Membership::from).collect())
    }

    /// Whether a user is in any of these conversations.
    pub async fn any_of(self, conversations: &[ConversationId], user: UserId) -> Result<bool> {
        let keys: Vec<Binary> = conversations.iter().map(|it| key(*it, user)).collect();
        let keys_only = self.0.only::<Document>(doc! { "_id": 1 });
        Ok(keys_only.one(doc! { "_id": { "$in": keys } }).await?.is_some())
    }

    /// Which of some conversations a user has a place in.
    pub async fn places(
        self,
        user: UserId,
        conversations: &[ConversationId],
    ) -> Result<HashSet<ConversationId>> {
        let places = self.of_user_in(user, conversations).await?;
        Ok(places.into_iter().map(|place| place.conversation).collect())
    }

    /// Who of this role joined a conversation first.
    pub async fn senior(
        self,
        conversation: ConversationId,
        role: Role,
    ) -> Result<Option<Membership>> {
        let candidates = doc! { "conversation_id": conversation, "role": word(role) };
        Ok(self.0.sorted(seniority()).one(candidates).await?.map(Membership::from))
    }

    /// Mutes a conversation for a user, or ends that; whether they are in it.
    pub async fn mute(
        self,
        conversation: ConversationId,
        user: UserId,
        until: Option<Timestamp>,
    ) -> Result<bool> {
        let row = doc! { "_id": key(conversation, user) };
        self.0.update(row, doc! { "$set": { "muted_until": until } }).await
    }

    /// Lets people in. Each comes with a number that tells apart who joined a group in the same
    /// millisecond.
    pub async fn insert(self, members: impl IntoIterator<Item = (Membership, u32)>) -> Result<()> {
        let rows = members.into_iter().map(|(member, place)| MemberRow::at_place(member, place));
        self.0.insert_all(rows.collect()).await
    }

    /// Gives a member another role.
    pub async fn give_role(self, member: &Membership, role: Role) -> Result<()> {
        let row = doc! { "_id": key(member.conversation, member.user) };
        self.0.update(row, doc! { "$set": { "role": word(role) } }).await.map(|_| ())
    }

    /// Lets someone go.
    pub async fn delete(self, member: &Membership) -> Result<()> {
        self.0.delete(doc! { "_id": key(member.conversation, member.user) }).await.map(|_| ())
    }

    /// Lets everyone go.
    pub async fn delete_of(self, conversation: ConversationId) -> Result<()> {
        self.0.delete_all(doc! { "conversation_id": conversation }).await.map(|_| ())
    }

    /// What waits for someone in a direct conversation waits no more; it stays unread.
    pub async fn stop_waiting(self, conversation: ConversationId, user: UserId) -> Result<()> {
        let change = doc! { "$unset": { "waiting_at": "", "waiting_seq": "" } };
        self.0.update(doc! { "_id": key(conversation, user) }, change).await.map(|_| ())
    }
}

/// The first to join first.
fn seniority() -> Document {
    doc! { "joined_at": 1, "place": 1, "_id": 1 }
}

/// A role as rows have it.
fn word(role: Role) -> &'static str {
    match role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    }
}
