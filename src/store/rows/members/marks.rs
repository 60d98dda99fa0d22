//! The marks of a member: read, delivered and dismissed messages, and the one that waits.

use mongodb::bson::{Binary, Bson, Document, doc};
use serde::Deserialize;

use super::{Members, key, shown};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Membership;
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::notifications::NotificationPosition;
use crate::error::Result;
use crate::store::bson::int;
use crate::store::{RowUpdate, older};

/// A row, as far as what its member has read.
#[derive(Debug, Deserialize)]
struct ReadRow {
    read_seq: u64,
}

/// A mark that moves forward.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    /// Where.
    pub conversation: ConversationId,
    /// Whose.
    pub user: UserId,
    /// Up to which message.
    pub seq: u64,
    /// Whether the move is to stay hidden from the other of a direct conversation.
    pub hidden: bool,
}

impl Members<'_> {
    /// A user's places in some conversations, in no order.
    pub async fn of_user_in(
        self,
        user: UserId,
        conversations: &[ConversationId],
    ) -> Result<Vec<Membership>> {
        if conversations.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Binary> = conversations.iter().map(|it| key(*it, user)).collect();
        let rows = self.0.all(doc! { "_id": { "$in": keys } }).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// A user's places in all of their groups, in no order.
    pub async fn in_groups(self, user: UserId) -> Result<Vec<Membership>> {
        let groups = doc! { "user_id": user, "kind": "group" };
        let rows = self.0.all(groups).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// A user's places in the direct conversations in which something waits, the latest first,
    /// from after a place in the user's notifications on; with `undismissed`, only those whose
    /// notification was not dismissed. Conversations that are muted at `now` are left out.
    pub async fn waiting(
        self,
        user: UserId,
        before: Option<NotificationPosition>,
        count: usize,
        undismissed: bool,
        now: Timestamp,
    ) -> Result<Vec<Membership>> {
        let mut waiting = waiting(user, now);
        if let Some(before) = before {
            // At the same moment the ids decide, which begin alike; the caller cuts exactly.
            waiting.insert("waiting_at", doc! { "$lte": before.at });
            if let Some(conversation) = before.id.conversation() {
                let key = key(conversation, user).into();
                waiting.insert("$or", older(["waiting_at", "_id"], [before.at.into(), key]));
            }
        }
        if undismissed {
            waiting.insert("$expr", is_undismissed());
        }
        let newest_first = doc! { "waiting_at": -1, "_id": -1 };
        let rows = self.0.sorted(newest_first).first(count).all(waiting).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// The number of direct conversations in which something waits whose notification was not
    /// dismissed, without those that are muted at `now`.
    pub async fn count_waiting(self, user: UserId, now: Timestamp) -> Result<u64> {
        let mut waiting = waiting(user, now);
        waiting.insert("$expr", is_undismissed());
        self.0.count(waiting).await
    }

    /// Moves a read mark, never back; `sent` is how many messages up to there are the member's
    /// own. `false` for outsiders.
    pub async fn move_read_mark(self, mark: Move, sent: u64, at: Timestamp) -> Result<bool> {
        let Move { conversation, user, seq, hidden } = mark;
        let (seq, sent) = (int(seq), int(sent));
        let moved = |mark: &str, field: &str, value: Bson| {
            doc! { "$cond": [{ "$lt": [mark, seq] }, value, format!("${field}")] }
        };
        let still_waiting = |field: &str| {
            let seen = doc! { "$lte": [{ "$ifNull": ["$waiting_seq", 0_i64] }, "$read_seq"] };
            doc! { "$cond": [seen, "$$REMOVE", format!("${field}")] }
        };
        let change = vec![
            if hidden { shown::hide(at) } else { shown::reveal(at) },
            doc! { "$set": {
                "own_at_read": moved("$read_seq", "own_at_read", sent.into()),
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
        self.0.update(doc! { "_id": key(conversation, user) }, change).await
    }

    /// Moves delivered marks, all in one command; never back, and only of members.
    pub async fn move_delivered_marks(self, marks: &[Move], at: Timestamp) -> Result<()> {
        let updates = marks.iter().map(|mark| {
            let seq = int(mark.seq);
            let row = key(mark.conversation, mark.user);
            let moved = doc! { "$set": { "delivered_seq": seq, "delivered_at": at } };
            let hidden = mark.hidden.then(|| shown::hide(at));
            let change: Vec<Document> = hidden.into_iter().chain([moved]).collect();
            RowUpdate::of(doc! { "_id": row, "delivered_seq": { "$lt": seq } }, change)
        });
        self.0.update_each(updates.collect()).await
    }

    /// The read mark of a member for whom message `seq` of a direct conversation waits; `None` if
    /// it does not.
    pub async fn read_mark_before(
        self,
        conversation: ConversationId,
        user: UserId,
        seq: u64,
    ) -> Result<Option<u64>> {
        let row = doc! { "_id": key(conversation, user), "waiting_seq": int(seq) };
        let read = self.0.only::<ReadRow>(doc! { "_id": 0, "read_seq": 1 }).one(row).await?;
        Ok(read.map(|row| row.read_seq))
    }

    /// Replaces message `seq`, if it waits for a member of a direct conversation, by an earlier
    /// one or by nothing.
    pub async fn wait_for(
        self,
        conversation: ConversationId,
        user: UserId,
        seq: u64,
        earlier: Option<(u64, Timestamp)>,
    ) -> Result<()> {
        let row = doc! { "_id": key(conversation, user), "waiting_seq": int(seq) };
        let change = if let Some((seq, at)) = earlier {
            doc! { "$set": { "waiting_seq": int(seq), "waiting_at": at } }
        } else {
            doc! { "$unset": { "waiting_seq": "", "waiting_at": "" } }
        };
        self.0.update(row, change).await.map(|_| ())
    }

    /// Dismisses the notifications of all direct conversations, up to what waits there.
    pub async fn dismiss_direct(self, user: UserId) -> Result<()> {
        let waiting = doc! { "user_id": user, "waiting_at": { "$exists": true } };
        let dismissed = doc! { "$max": ["$noticed_seq", "$waiting_seq"] };
        let change = vec![doc! { "$set": { "noticed_seq": dismissed } }];
        self.0.update_all(waiting, change).await.map(|_| ())
    }

    /// Dismisses the notification of a conversation, up to the message that it is about.
    pub async fn dismiss(self, user: UserId, upto: &[(ConversationId, u64)]) -> Result<()> {
        let updates = upto.iter().map(|(conversation, seq)| {
            let change = doc! { "$max": { "noticed_seq": int(*seq) } };
            RowUpdate::of(doc! { "_id": key(*conversation, user) }, change)
        });
        self.0.update_each(updates.collect()).await
    }
}

/// Rows of direct conversations in which something waits, and that are not muted.
fn waiting(user: UserId, now: Timestamp) -> Document {
    doc! {
        "user_id": user,
        "waiting_at": { "$exists": true },
        // Missing, null and past times alike.
        "muted_until": { "$not": { "$gt": now } },
    }
}

/// Rows whose notification was not dismissed up to the message that waits.
fn is_undismissed() -> Document {
    doc! { "$lt": ["$noticed_seq", "$waiting_seq"] }
}
