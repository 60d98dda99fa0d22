//! Settling a commit whose outcome is unknown.

use super::Writer;
use crate::domain::messages::{Draft, Sent};
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
        let Some((draft, id)) = new else { return Err(error) };
        let ours = self.messages.has(id, draft.token).await;
        failpoint::reach("settle.read");
        if ours.unwrap_or(false) { Ok(assigned) } else { Err(error) }
    }
}
