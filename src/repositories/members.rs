//! Members: one row per member and conversation. Whoever has left or was removed has no row.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use mongodb::error::Error as DriverError;
use mongodb::{ClientSession, Collection};
use serde::{Deserialize, Serialize};

use super::bson::{date, id, optional_date, pair};
use super::store::{Store, within};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, Membership, Role};
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
    Binary { subtype: BinarySubtype::Generic, bytes: pair(&conversation, &user) }
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
    ///
    /// # Errors
    /// When the store is away.
    pub async fn find(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Membership>> {
        let row = self.rows.find_one(doc! { "_id": key(conversation, user) });
        Ok(within(row).await?.map(Membership::from))
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
}
