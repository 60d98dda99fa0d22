//! The users of a conversation and the groups of a user, as ids alone.

use mongodb::bson::doc;
use serde::Deserialize;

use super::Members;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::bson::id;

/// A row, as far as whose it is.
#[derive(Debug, Deserialize)]
struct Whose {
    #[serde(with = "id")]
    user_id: UserId,
}

/// A row, as far as where it is.
#[derive(Debug, Deserialize)]
struct Where {
    #[serde(with = "id")]
    conversation_id: ConversationId,
}

impl Members<'_> {
    /// The conversations of all groups of a user, in no order.
    pub async fn group_ids(self, user: UserId) -> Result<Vec<ConversationId>> {
        let rows = self.0.only::<Where>(doc! { "_id": 0, "conversation_id": 1 });
        let rows = rows.all(doc! { "user_id": user, "kind": "group" }).await?;
        Ok(rows.into_iter().map(|row| row.conversation_id).collect())
    }

    /// Who is in a conversation, in no order.
    pub async fn users(self, conversation: ConversationId) -> Result<Vec<UserId>> {
        let rows = self.0.only::<Whose>(doc! { "user_id": 1 });
        let rows = rows.all(doc! { "conversation_id": conversation }).await?;
        Ok(rows.into_iter().map(|row| row.user_id).collect())
    }
}
