//! Read and delivered marks: how far each member of a conversation is, kept in their member rows.

mod delivered;
mod hidden;
mod inbox;
mod lowest;
mod notified;
mod snapshot;
mod waiting;

pub use self::delivered::Delivery;
use self::hidden::peer_among;
pub use self::notified::Noticed;
use mongodb::bson::{Bson, Document, doc};
use serde::Deserialize;

use super::bson::{id, optional_date};
use super::conversations::Conversations;
use super::deletions::Deletions;
use super::rows::relations::Pair;
use super::rows::{members, sends};
use super::store::{Collection, Store, within};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, LastMessage, Summary};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::Result;
use crate::repositories::rows::members::shown;

/// What of a member row the marks are.
#[derive(Debug, Clone, Deserialize)]
struct MarksRow {
    #[serde(with = "id")]
    conversation_id: ConversationId,
    #[serde(with = "id")]
    user_id: UserId,
    read_seq: u64,
    own_total: u64,
    own_at_read: u64,
    noticed_seq: u64,
    #[serde(with = "optional_date", default)]
    muted_until: Option<Timestamp>,
    #[serde(default)]
    waiting_seq: Option<u64>,
    #[serde(with = "optional_date", default)]
    waiting_at: Option<Timestamp>,
}

/// How far a member is in a conversation, with the conversation at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// The conversation.
    pub summary: Summary,
    /// Whose marks they are.
    pub user: UserId,
    /// Read up to here.
    pub read_seq: u64,
    /// What others wrote after that and did not delete.
    pub unread_count: u64,
    /// The last message whose notification was marked as read.
    pub noticed_seq: u64,
    /// Raises no notifications before this moment.
    pub muted_until: Option<Timestamp>,
    /// Of a direct conversation, the last message that waits, and when it was sent.
    waiting: Option<(u64, Timestamp)>,
}

impl Marks {
    fn new(row: &MarksRow, summary: Summary, deleted: u64) -> Self {
        // Everything after the mark, less one's own messages after the mark, less what others
        // deleted of theirs.
        let after = summary.last_seq.saturating_sub(row.read_seq);
        let own_after = row.own_total.saturating_sub(row.own_at_read);
        Self {
            user: row.user_id,
            read_seq: row.read_seq,
            unread_count: after.saturating_sub(own_after).saturating_sub(deleted),
            noticed_seq: row.noticed_seq,
            muted_until: row.muted_until,
            waiting: row.waiting_seq.zip(row.waiting_at),
            summary,
        }
    }

    /// Whether no notifications are wanted at this moment.
    #[must_use]
    pub fn is_muted(&self, now: Timestamp) -> bool {
        self.muted_until.is_some_and(|until| until > now)
    }

    /// The last message that waits for this member: from someone else, after the read mark. Where
    /// it is said to be deleted, an earlier one waits.
    #[must_use]
    pub fn waiting(&self) -> Option<LastMessage> {
        if self.unread_count == 0 {
            return None;
        }
        match self.summary.kind {
            Kind::Group => self.summary.last_for(self.user).filter(|last| last.seq > self.read_seq),
            Kind::Direct => {
                let (seq, at) = self.waiting.filter(|(seq, _)| *seq > self.read_seq)?;
                let sender = self.summary.peer_of(self.user)?;
                Some(LastMessage { seq, sender, at, deleted: false })
            }
        }
    }
}

/// A row of `sends`, as far as counting goes.
#[derive(Debug, Deserialize)]
struct OwnCount {
    n: u64,
}

/// The marks in the collection `members`.
#[derive(Debug, Clone)]
pub struct MarksRepository {
    store: Store,
    rows: Collection<MarksRow>,
    sends: Collection<OwnCount>,
    conversations: Conversations,
    deletions: Deletions,
}

impl MarksRepository {
    /// The marks of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            rows: store.collection("members"),
            sends: store.collection("sends"),
            conversations: Conversations::new(store),
            deletions: Deletions::new(store),
        }
    }

    /// Moves a member's read mark to `seq`, never back, and says where everything then stands.
    /// `None` for outsiders. Under a block the other of a direct conversation is not shown it.
    pub async fn read_up_to(
        &self,
        Summary { id, kind, members, .. }: &Summary,
        user: UserId,
        seq: u64,
        at: Timestamp,
    ) -> Result<Option<Marks>> {
        let peer = peer_among(members, user).filter(|_| *kind == Kind::Direct);
        let pair: Vec<Pair> = peer.map(|peer| (user, peer)).into_iter().collect();
        let hidden = self.hidden(&pair).await?;
        let before = match (peer, hidden.is_empty()) {
            (None, _) => None,
            (_, true) => Some(shown::reveal(at)),
            (_, false) => Some(shown::hide(at)),
        };
        if !self.move_read_mark((*id, user), seq, at, before).await? {
            return Ok(None);
        }
        self.show_unhidden(&hidden).await?;
        self.of(*id, user).await
    }

    /// Moves a read mark, after what comes before in the same update; `false` for outsiders.
    async fn move_read_mark(
        &self,
        (conversation, user): (ConversationId, UserId),
        seq: u64,
        at: Timestamp,
        before: Option<Document>,
    ) -> Result<bool> {
        // How many of one's own are up to there never changes: numbers are given in order.
        let own = self.own_up_to(user, MessageId::new(conversation, seq)).await?;
        let own = i64::try_from(own).unwrap_or(i64::MAX);
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let moved = |mark: &str, field: &str, value: Bson| {
            doc! { "$cond": [{ "$lt": [mark, seq] }, value, format!("${field}")] }
        };
        let still_waiting = |field: &str| {
            let seen = doc! { "$lte": [{ "$ifNull": ["$waiting_seq", 0_i64] }, "$read_seq"] };
            doc! { "$cond": [seen, "$$REMOVE", format!("${field}")] }
        };
        let moves = vec![
            doc! { "$set": {
                "own_at_read": moved("$read_seq", "own_at_read", own.into()),
                "read_at": moved("$read_seq", "read_at", at.into()),
                "delivered_at": moved("$delivered_seq", "delivered_at", at.into()),
                "read_seq": { "$max": ["$read_seq", seq] },
                "delivered_seq": { "$max": ["$delivered_seq", seq] },
            } },
            doc! { "$set": {
                "waiting_at": still_waiting("waiting_at"),
                "waiting_seq": still_waiting("waiting_seq"),
            } },
        ];
        let row = doc! { "_id": members::key(conversation, user) };
        let change: Vec<Document> = before.into_iter().chain(moves).collect();
        Ok(within(&self.rows, self.rows.update_one(row, change)).await?.matched_count == 1)
    }

    /// How many messages a user had sent in a conversation up to and including one.
    async fn own_up_to(&self, user: UserId, up_to: MessageId) -> Result<u64> {
        let first = MessageId::new(up_to.conversation, 0);
        let (first, last) = (sends::key(user, first), sends::key(user, up_to));
        let own = doc! { "_id": { "$gte": first, "$lte": last } };
        let last = self.sends.find_one(own).sort(doc! { "_id": -1 });
        Ok(within(&self.sends, last).await?.map_or(0, |row| row.n))
    }
}
