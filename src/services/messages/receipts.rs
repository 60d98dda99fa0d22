//! Who has got and read a message.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Messages;
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Receipt;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::Status;
use crate::domain::page::{Limit, ListScope, Page};
use crate::error::Result;

/// How far a message has come with one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageReceipt {
    /// The member.
    pub user_id: UserId,
    /// How far.
    pub status: Status,
    /// When the member's mark that says so last moved; `None` where the message was only sent,
    /// and for who joined after it.
    pub at: Option<Timestamp>,
}

/// A place in a list of receipts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct ReceiptPosition {
    user: UserId,
}

impl Messages {
    /// How far a message has come with each other member, in the order of their ids.
    ///
    /// # Errors
    /// `not_found` for outsiders, and where it is not of this conversation; `invalid_cursor`.
    pub async fn receipts(
        &self,
        reader: UserId,
        (conversation, message): (ConversationId, MessageId),
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<MessageReceipt>> {
        let (_, stored) = self.find(reader, conversation, message).await?;
        let list = format!("receipts/{message}");
        let scope = ListScope { list: &list, reader };
        let after: Option<ReceiptPosition> = self.cursors.resume(scope, cursor)?;
        let after = after.map(|position| position.user);
        // One more, because the sender is among them.
        let count = limit.get() + 2;
        let store = &self.repositories.store;
        let mut found = store.members().receipts(conversation, reader, after, count).await?;
        found.retain(|receipt| receipt.user != stored.sender);
        found.truncate(limit.get() + 1);
        let page = self
            .cursors
            .page(scope, limit, found, |receipt| ReceiptPosition { user: receipt.user });
        Ok(page.map(|receipt| shown(&receipt, message.seq)))
    }
}

fn shown(receipt: &Receipt, seq: u64) -> MessageReceipt {
    let (status, at) = if receipt.read_seq >= seq {
        (Status::Read, receipt.read_at)
    } else if receipt.delivered_seq >= seq {
        (Status::Delivered, receipt.delivered_at)
    } else {
        (Status::Sent, None)
    };
    MessageReceipt { user_id: receipt.user, status, at }
}
