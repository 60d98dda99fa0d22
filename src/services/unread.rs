//! Unread counts, read and delivered marks: how far each member of a conversation is.

mod inbox;
mod lowest;

use std::collections::{HashMap, HashSet};

use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, LastMessage, Membership, Summary};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::notifications::NotificationPosition;
use crate::error::Result;
use crate::store::rows::deletions::Between;
use crate::store::rows::members::marks::Move;
use crate::store::rows::relations::Pair;
use crate::store::{Store, Tx};

/// A conversation and how far one of its members is, both at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadState {
    /// The conversation.
    pub summary: Summary,
    /// How far the member is.
    pub membership: Membership,
    /// The messages of others after the read mark that are not deleted.
    pub unread_count: u64,
}

impl UnreadState {
    /// `deleted` messages of others after the read mark are deleted.
    fn new(membership: Membership, summary: Summary, deleted: u64) -> Self {
        let Membership { read_seq, sent_count, sent_at_read, .. } = membership;
        let after = summary.last_seq.saturating_sub(read_seq);
        let sent_after = sent_count.saturating_sub(sent_at_read);
        let unread_count = after.saturating_sub(sent_after).saturating_sub(deleted);
        Self { summary, membership, unread_count }
    }

    /// Whether the member wants no notifications at this moment.
    #[must_use]
    pub fn is_muted(&self, now: Timestamp) -> bool {
        self.membership.muted_until.is_some_and(|until| until > now)
    }

    /// The last message that waits for this member: from someone else, after the read mark. Where
    /// it is said to be deleted, an earlier one waits.
    #[must_use]
    pub fn waiting(&self) -> Option<LastMessage> {
        if self.unread_count == 0 {
            return None;
        }
        let Self { summary, membership: Membership { user, read_seq, waiting, .. }, .. } = self;
        match summary.kind {
            Kind::Group => summary.last_for(*user).filter(|last| last.seq > *read_seq),
            Kind::Direct => {
                let (seq, at) = waiting.filter(|(seq, _)| seq > read_seq)?;
                let sender = summary.peer_of(*user)?;
                Some(LastMessage { seq, sender, at, deleted: false })
            }
        }
    }
}

/// That a user's devices have everything up to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The user.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The numbers that clients gave, the greatest first. The first that is not past the last
    /// message of the conversation counts.
    pub seqs: Vec<u64>,
}

/// The rules of unread counts and marks.
#[derive(Debug, Clone)]
pub struct Unread {
    store: Store,
}

impl Unread {
    /// The rules over a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }

    /// How far a member is; `None` for outsiders.
    pub async fn of(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<UnreadState>> {
        let found = self.store.snapshot(async |tx| {
            let found = tx.members().find(conversation, user).await?;
            with_summaries(tx, user, found.into_iter().collect()).await
        });
        Ok(found.await?.pop())
    }

    /// All of a user's groups.
    pub async fn groups(&self, user: UserId) -> Result<Vec<UnreadState>> {
        let groups = self.store.snapshot(async |tx| {
            let found = tx.members().in_groups(user).await?;
            with_summaries(tx, user, found).await
        });
        groups.await
    }

    /// The direct conversations in which something waits for a user, as
    /// [`Members::waiting`](crate::store::rows::members::Members::waiting) has them.
    pub async fn waiting_direct(
        &self,
        user: UserId,
        before: Option<NotificationPosition>,
        count: usize,
        undismissed: bool,
        now: Timestamp,
    ) -> Result<Vec<UnreadState>> {
        let waiting = self.store.snapshot(async |tx| {
            let found = tx.members().waiting(user, before, count, undismissed, now).await?;
            with_summaries(tx, user, found).await
        });
        waiting.await
    }

    /// Moves a member's read mark to `seq`, never back, and says where everything then stands;
    /// `None` for outsiders. Under a block the other of a direct conversation does not see it.
    pub async fn read_up_to(
        &self,
        Summary { id, kind, members, .. }: &Summary,
        user: UserId,
        seq: u64,
        at: Timestamp,
    ) -> Result<Option<UnreadState>> {
        let peer = peer_among(members, user).filter(|_| *kind == Kind::Direct);
        let pair: Vec<Pair> = peer.map(|peer| (user, peer)).into_iter().collect();
        let hidden = self.hidden(&pair).await?;
        // The number of one's own messages up to there never changes.
        let sent = self.store.sends().count_up_to(user, MessageId::new(*id, seq)).await?;
        let mark = Move { conversation: *id, user, seq, hidden: !hidden.is_empty() };
        if !self.store.members().move_read_mark(mark, sent, at).await? {
            return Ok(None);
        }
        self.show_unhidden(&hidden).await?;
        self.of(*id, user).await
    }

    /// Moves delivered marks, all in one command; never back, only of members, and none to where
    /// there is no message yet. After an error some may have been moved.
    pub async fn deliver(&self, deliveries: &[Delivery], at: Timestamp) -> Result<()> {
        let mut ids: Vec<ConversationId> = deliveries.iter().map(|it| it.conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let summaries = self.store.conversations().many(&ids).await?;
        let summaries: HashMap<ConversationId, Summary> =
            summaries.into_iter().map(|summary| (summary.id, summary)).collect();
        let peer_of = |it: &Delivery| {
            let Summary { members, .. } = summaries.get(&it.conversation)?;
            peer_among(members, it.user).filter(|_| members.contains(&it.user))
        };
        let pairs = deliveries.iter().filter_map(|it| Some((it.user, peer_of(it)?)));
        let hidden = self.hidden(&pairs.collect::<Vec<Pair>>()).await?;
        let moves = deliveries.iter().filter_map(|it| {
            let last = summaries.get(&it.conversation)?.last_seq;
            let seq = *it.seqs.iter().find(|seq| **seq <= last)?;
            let hidden = peer_of(it).is_some_and(|peer| hidden.contains(&(it.user, peer)));
            Some(Move { conversation: it.conversation, user: it.user, seq, hidden })
        });
        let moves: Vec<Move> = moves.collect();
        self.store.members().move_delivered_marks(&moves, at).await?;
        self.show_unhidden(&hidden).await
    }

    /// The pairs of a member and the other of a direct conversation whose marks a block hides
    /// from the other.
    async fn hidden(&self, members: &[Pair]) -> Result<HashSet<Pair>> {
        self.store.relations().blocked_pairs(members).await
    }

    /// Shows the marks of those that a block hid a moment ago and hides no more: the block was
    /// taken back between the look at it and the move. Whoever takes it back later shows them.
    async fn show_unhidden(&self, hidden: &HashSet<Pair>) -> Result<()> {
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
fn peer_among(members: &[UserId], user: UserId) -> Option<UserId> {
    members.iter().copied().find(|member| *member != user)
}

/// A user's places with their conversations, and the messages that were deleted since.
async fn with_summaries(
    tx: &mut Tx,
    user: UserId,
    places: Vec<Membership>,
) -> Result<Vec<UnreadState>> {
    let ids: Vec<ConversationId> = places.iter().map(|place| place.conversation).collect();
    let summaries = tx.conversations().many(&ids).await?;
    let summaries = summaries.into_iter().map(|summary| (summary.id, summary)).collect();
    joined(tx, user, places, summaries).await
}

async fn joined(
    tx: &mut Tx,
    user: UserId,
    places: Vec<Membership>,
    mut summaries: HashMap<ConversationId, Summary>,
) -> Result<Vec<UnreadState>> {
    let deleted_since: Vec<Between> = places
        .iter()
        .filter_map(|place| summaries.get(&place.conversation).map(|summary| (place, summary)))
        .filter(|(place, summary)| summary.deleted_seq > place.read_seq)
        .map(|(place, summary)| Between {
            conversation: summary.id,
            after: place.read_seq,
            before: summary.last_seq + 1,
        })
        .collect();
    let deleted = tx.deletions().of_others(&deleted_since, user).await?;
    let states = places.into_iter().filter_map(|place| {
        let summary = summaries.remove(&place.conversation)?;
        let deleted = deleted.get(&summary.id).copied().unwrap_or_default();
        Some(UnreadState::new(place, summary, deleted))
    });
    Ok(states.collect())
}
