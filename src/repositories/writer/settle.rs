//! After a commit whose outcome nobody knows.

use mongodb::bson::doc;

use super::super::messages::token;
use super::super::store::within;
use super::Writer;
use crate::domain::ids::MessageId;
use crate::domain::messages::{Draft, Sent};
use crate::error::{Error, Result};
use crate::failpoint;

impl Writer {
    /// After an outcome that nobody knows. A transaction is there whole or not at all: one message
    /// under its number with our token proves every answer. What is not there may still come, so
    /// it stays unavailable.
    pub(super) async fn settle(
        &self,
        drafts: &[Draft],
        assigned: Vec<Result<Sent>>,
        error: Error,
    ) -> Result<Vec<Result<Sent>>> {
        failpoint::reach("settle.begun");
        let new = drafts.iter().zip(&assigned).find_map(|(draft, answer)| match answer {
            Ok(Sent::New(message)) => Some((draft, message.id)),
            _ => None,
        });
        let Some((draft, id)) = new else { return Err(error) };
        let ours = self.is_ours(id, draft).await;
        failpoint::reach("settle.read");
        if ours.unwrap_or(false) { Ok(assigned) } else { Err(error) }
    }

    async fn is_ours(&self, id: MessageId, draft: &Draft) -> Result<bool> {
        let ours = doc! { "_id": id, "token": token(draft.token) };
        let shard = self.messages.shard(id.conversation);
        Ok(within(shard, shard.find_one(ours)).await?.is_some())
    }
}
