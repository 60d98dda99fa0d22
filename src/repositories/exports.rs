//! What someone has written and uploaded, in pieces: for their own copy of it.

use std::collections::HashMap;

use mongodb::bson::doc;
use serde::Deserialize;

use super::bson::id;
use super::conversations::Member;
use super::store::{Collection, Store, all};
use crate::domain::conversations::Kind;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::Result;
use crate::repositories::rows::sends;
use crate::repositories::rows::sends::SendKey;

/// The collection `sends`, and what it leads to.
#[derive(Debug, Clone)]
pub struct Exports {
    sends: Collection<SendKey>,
    conversations: Collection<Partners>,
}

#[derive(Debug, Deserialize)]
struct Partners {
    #[serde(rename = "_id", with = "id")]
    id: ConversationId,
    kind: Kind,
    #[serde(default)]
    members: Vec<Member>,
}

impl Exports {
    /// The exports of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { sends: store.collection("sends"), conversations: store.collection("conversations") }
    }

    /// Up to `count` messages that a user has sent, conversation by conversation, from the one
    /// after `after` on: a range of the clustered keys.
    pub async fn sent(
        &self,
        user: UserId,
        after: Option<MessageId>,
        count: usize,
    ) -> Result<Vec<MessageId>> {
        let end = |byte| sends::key(user, MessageId::from_bytes([byte; 24]));
        let mut own = doc! { "$lte": end(0xff) };
        match after {
            Some(after) => own.insert("$gt", sends::key(user, after)),
            None => own.insert("$gte", end(0)),
        };
        let keys = self.sends.find(doc! { "_id": own }).projection(doc! { "_id": 1 });
        let keys = keys.sort(doc! { "_id": 1 }).limit(i64::try_from(count).unwrap_or(i64::MAX));
        all(&self.sends, keys).await?.iter().map(|row| sends::message_of(&row.key)).collect()
    }

    /// Whom direct conversations are with, those among `conversations` that are direct: the other
    /// user, or oneself.
    pub async fn peers(
        &self,
        user: UserId,
        conversations: &[ConversationId],
    ) -> Result<HashMap<ConversationId, UserId>> {
        let which = doc! { "_id": { "$in": conversations.to_vec() } };
        let fields = doc! { "kind": 1, "members": 1 };
        let rows =
            all(&self.conversations, self.conversations.find(which).projection(fields)).await?;
        let direct = rows.into_iter().filter(|row| row.kind == Kind::Direct);
        let peer = |row: &Partners| row.members.iter().map(|it| it.0).find(|it| *it != user);
        Ok(direct.map(|row| (row.id, peer(&row).unwrap_or(user))).collect())
    }
}
