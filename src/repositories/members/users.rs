//! Who is in a conversation, and no more than that.

use mongodb::bson::doc;
use serde::Deserialize;

use super::Members;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::repositories::bson::id;
use crate::repositories::store::all;

/// A row, as far as whose it is.
#[derive(Debug, Deserialize)]
pub(super) struct Whose {
    #[serde(with = "id")]
    pub user_id: UserId,
}

impl Members {
    /// Who is in a conversation, in no order.
    pub async fn users(&self, conversation: ConversationId) -> Result<Vec<UserId>> {
        let rows = self.rows.clone_with_type::<Whose>();
        let everyone = rows.find(doc! { "conversation_id": conversation });
        let rows = all(&rows, everyone.projection(doc! { "user_id": 1 })).await?;
        Ok(rows.into_iter().map(|row| row.user_id).collect())
    }
}
