//! Settling a commit whose outcome is unknown.

use super::super::known_keys::KnownKeys;
use super::Writer;
use crate::domain::messages::{Draft, IdempotencyKey, Sent};
use crate::error::{Error, Result};
use crate::failpoint;

impl Writer {
    /// The answers after an unknown outcome. A transaction is committed whole or not at all: one
    /// message under its number with our token proves every answer. A message that is not there
    /// may still come, so the drafts stay unavailable.
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
        let Some((draft, id)) = new else { return self.settle_replays(drafts, &error).await };
        let ours = self.messages.has(id, draft.token).await;
        failpoint::reach("settle.read");
        if ours.unwrap_or(false) { Ok(assigned) } else { Err(error) }
    }

    /// The answers of a batch that was to write nothing: a majority has the messages that its drafts
    /// were sent as before, or the drafts stay unavailable.
    async fn settle_replays(&self, drafts: &[Draft], error: &Error) -> Result<Vec<Result<Sent>>> {
        let keys: Vec<IdempotencyKey> = drafts.iter().filter_map(Draft::idempotency_key).collect();
        let known = KnownKeys(self.store.message_keys().find(&keys).await?);
        let answer = |draft| match known.sent_before(draft) {
            Ok(Some(first)) => Ok(Sent::Before(first)),
            _ => Err(error.clone()),
        };
        Ok(drafts.iter().map(answer).collect())
    }
}
