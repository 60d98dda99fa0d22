//! The receipts of the peers of a conversation, for the status of its messages.

use std::collections::HashMap;

use super::Unread;
use crate::domain::conversations::{Kind, LowMark, Summary};
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::messages::PeerReceipts;
use crate::error::Result;

impl Unread {
    /// The lowest marks in a group's conversation.
    pub async fn lowest(&self, conversation: ConversationId) -> Result<PeerReceipts> {
        let marks = self.store.members().two_lowest(&[conversation]).await?;
        Ok(receipts(&marks.iter().collect::<Vec<_>>()))
    }

    /// The lowest marks in some conversations: of a group two index entries for each mark,
    /// however many members it has; of a direct one both members by their keys.
    pub async fn lowest_in(
        &self,
        summaries: &[&Summary],
    ) -> Result<HashMap<ConversationId, PeerReceipts>> {
        let of = |kind| summaries.iter().filter(move |summary| summary.kind == kind);
        let groups: Vec<ConversationId> = of(Kind::Group).map(|summary| summary.id).collect();
        let direct: Vec<(ConversationId, UserId)> = of(Kind::Direct)
            .flat_map(|summary| summary.members.iter().map(|user| (summary.id, *user)))
            .collect();
        let (direct, groups) = tokio::try_join!(
            self.store.members().marks_of(&direct),
            self.store.members().two_lowest(&groups),
        )?;
        let mut marks: HashMap<ConversationId, Vec<&LowMark>> = HashMap::new();
        for mark in direct.iter().chain(&groups) {
            marks.entry(mark.conversation).or_default().push(mark);
        }
        let found = summaries.iter().map(|summary| {
            let marks = marks.remove(&summary.id).unwrap_or_default();
            (summary.id, receipts(&marks))
        });
        Ok(found.collect())
    }
}

/// The two lowest of each mark.
fn receipts(marks: &[&LowMark]) -> PeerReceipts {
    let two = |of: fn(&LowMark) -> Option<u64>| {
        let mut marks: Vec<_> =
            marks.iter().filter_map(|mark| Some((mark.user, of(mark)?))).collect();
        marks.sort_unstable_by_key(|(_, seq)| *seq);
        [marks.first().copied(), marks.get(1).copied()]
    };
    PeerReceipts { read: two(|mark| mark.read), delivered: two(|mark| mark.delivered) }
}
