//! Marks that a block hides: those of the two of a direct conversation.

use std::collections::HashSet;

use super::MarksRepository;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::repositories::rows::relations::Pair;

impl MarksRepository {
    /// Those of some members, each with the other of a direct conversation, whose marks a block
    /// hides from the other.
    pub(super) async fn hidden(&self, members: &[Pair]) -> Result<HashSet<Pair>> {
        self.store.relations().blocked_pairs(members).await
    }

    /// Shows the marks of those that a block hid a moment ago and hides no more: the block was
    /// taken back between the look at it and the move. Who takes it back after this shows them.
    pub(super) async fn show_unhidden(&self, hidden: &HashSet<Pair>) -> Result<()> {
        let all: Vec<Pair> = hidden.iter().copied().collect();
        let still = self.hidden(&all).await?;
        for (user, peer) in hidden.difference(&still) {
            let conversation = ConversationId::direct(*user, *peer);
            self.store.members().show_marks_of(conversation, *user).await?;
        }
        Ok(())
    }
}

/// The other one of a direct conversation's two; `None` where someone writes to themselves.
pub(super) fn peer_among(members: &[UserId], user: UserId) -> Option<UserId> {
    members.iter().copied().find(|member| *member != user)
}
