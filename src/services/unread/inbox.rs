//! A page of the inbox: direct conversations by their index, groups by key, merged.

use std::collections::HashMap;

use super::{Unread, UnreadState, joined};
use crate::domain::conversations::{InboxPosition, Membership, Summary};
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;

impl Unread {
    /// Up to `count` of a user's conversations, the latest activity first, from after `before`
    /// on. Reads so many direct conversations and all of the user's groups (500 at most), with
    /// the user's row in each; never a message.
    pub async fn inbox(
        &self,
        user: UserId,
        before: Option<InboxPosition>,
        count: usize,
    ) -> Result<Vec<UnreadState>> {
        let page = self.store.snapshot(async |tx| {
            let mut found = tx.conversations().direct_of(user, before, count).await?;
            let groups = tx.members().in_groups(user).await?;
            let ids: Vec<ConversationId> = groups.iter().map(|place| place.conversation).collect();
            found.extend(tx.conversations().many(&ids).await?);
            found.retain(|summary| before.is_none_or(|before| position(summary) < before));
            found.sort_by_key(|summary| std::cmp::Reverse(position(summary)));
            found.truncate(count);

            let mut known: HashMap<ConversationId, Membership> =
                groups.into_iter().map(|place| (place.conversation, place)).collect();
            let ids = found.iter().map(|summary| summary.id);
            let direct: Vec<_> = ids.filter(|id| !known.contains_key(id)).collect();
            let direct = tx.members().of_user_in(user, &direct).await?;
            known.extend(direct.into_iter().map(|place| (place.conversation, place)));
            let places = found.iter().filter_map(|summary| known.remove(&summary.id)).collect();
            let summaries = found.into_iter().map(|summary| (summary.id, summary)).collect();
            joined(tx, user, places, summaries).await
        });
        page.await
    }
}

/// A conversation's place in an inbox.
fn position(summary: &Summary) -> InboxPosition {
    InboxPosition { at: summary.last_at, id: summary.id }
}
