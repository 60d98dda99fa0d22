//! Marking as read the notifications of conversations.

use mongodb::bson::{Document, doc};

use super::MarksRepository;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::repositories::rows::members;

/// The notification of a conversation, marked as read up to this message.
pub type Noticed = (ConversationId, u64);

impl MarksRepository {
    /// Marks as read the notifications of all direct conversations of a user, and of these groups.
    pub async fn notice_all(&self, user: UserId, groups: &[Noticed]) -> Result<()> {
        self.notice_all_direct(user).await?;
        let updates: Vec<Document> =
            groups.iter().map(|(group, seq)| noticed_statement(*group, user, *seq)).collect();
        if updates.is_empty() { Ok(()) } else { self.update_many_rows(updates).await }
    }
}

fn noticed_statement(conversation: ConversationId, user: UserId, seq: u64) -> Document {
    doc! { "q": { "_id": members::key(conversation, user) }, "u": members::noticed(seq) }
}
