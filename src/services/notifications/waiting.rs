//! What waits for a reader in a conversation: its last unread message that is to be told of.

use std::collections::HashSet;

use super::Notifications;
use crate::domain::conversations::LastMessage;
use crate::domain::ids::{MessageId, UserId};
use crate::error::Result;
use crate::services::unread::UnreadState;

/// A conversation with an unread message.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub state: UnreadState,
    /// The last unread message that stands, from someone the reader has not blocked.
    pub last: LastMessage,
}

impl Waiting {
    pub fn new(state: UnreadState) -> Option<Self> {
        state.waiting().map(|last| Self { state, last })
    }

    /// Whether the reader dismissed its notification.
    pub fn is_dismissed(&self) -> bool {
        self.state.membership.dismissed_seq >= self.last.seq
    }

    pub fn message(&self) -> MessageId {
        MessageId::new(self.state.summary.id, self.last.seq)
    }
}

impl Notifications {
    /// What waits in some groups of a reader, without those that are muted. Where the last
    /// message was deleted, or is of someone the reader has blocked, an earlier one waits, if
    /// there is one.
    pub(super) async fn waiting_in(
        &self,
        reader: UserId,
        groups: Vec<UnreadState>,
    ) -> Result<Vec<Waiting>> {
        let now = self.clock.now();
        let loud = groups.into_iter().filter(|state| !state.is_muted(now));
        let mut waiting: Vec<Waiting> = loud.filter_map(Waiting::new).collect();
        let senders: HashSet<UserId> = waiting.iter().map(|one| one.last.sender).collect();
        let senders: Vec<UserId> = senders.into_iter().collect();
        let blocked = self.repositories.store.relations().blocked_by(reader, &senders).await?;
        let (earlier, mut found): (Vec<_>, Vec<_>) = waiting
            .drain(..)
            .partition(|one| one.last.deleted || blocked.contains(&one.last.sender));
        for one in earlier {
            found.extend(self.earlier(reader, one, &blocked).await?);
        }
        Ok(found)
    }

    async fn earlier(
        &self,
        reader: UserId,
        one: Waiting,
        blocked: &HashSet<UserId>,
    ) -> Result<Option<Waiting>> {
        let UnreadState { membership, summary, .. } = &one.state;
        let mut without: Vec<UserId> = blocked.iter().copied().chain([reader]).collect();
        let range = (membership.read_seq + 1, summary.last_seq);
        loop {
            let messages = &self.repositories.messages;
            let found = messages.last_standing(summary.id, range, &without).await?;
            let Some(found) = found else { return Ok(None) };
            let sender = found.sender;
            let is_blocked =
                self.repositories.store.relations().blocked_by(reader, &[sender]).await?;
            if is_blocked.is_empty() {
                let last = LastMessage { seq: found.id.seq, sender, at: found.at, deleted: false };
                return Ok(Some(Waiting { last, ..one }));
            }
            without.push(sender);
        }
    }
}
