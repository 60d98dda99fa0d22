//! Read and delivered marks: how far each member of a conversation is, kept in their member rows.

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use mongodb::{ClientSession, Collection};
use serde::Deserialize;

use super::bson::{binary, id};
use super::conversations::Conversations;
use super::members;
use super::store::{Store, all, within};
use crate::domain::conversations::{Kind, LastMessage, Summary};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::OthersMarks;
use crate::domain::notifications::NotificationPosition;
use crate::error::Result;

/// What of a member row the marks are.
#[derive(Debug, Clone, Deserialize)]
struct MarksRow {
    #[serde(with = "id")]
    conversation_id: ConversationId,
    #[serde(with = "id")]
    user_id: UserId,
    read_seq: u64,
    delivered_seq: u64,
    own_total: u64,
    own_at_read: u64,
    noticed_seq: u64,
}

/// How far a member is in a conversation, with the conversation at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// The conversation.
    pub summary: Summary,
    /// Read up to here.
    pub read_seq: u64,
    /// What others wrote after that.
    pub unread_count: u64,
    /// The last message whose notification was marked as read.
    pub noticed_seq: u64,
}

impl Marks {
    fn new(row: &MarksRow, summary: Summary) -> Self {
        // Everything after the mark, less one's own messages after the mark.
        let after = summary.last_seq.saturating_sub(row.read_seq);
        let own_after = row.own_total.saturating_sub(row.own_at_read);
        Self {
            read_seq: row.read_seq,
            unread_count: after.saturating_sub(own_after),
            noticed_seq: row.noticed_seq,
            summary,
        }
    }

    /// The last message that waits for this member: from someone else, after the read mark.
    #[must_use]
    pub fn waiting_for(&self, reader: UserId) -> Option<LastMessage> {
        self.summary.last_for(reader).filter(|last| last.seq > self.read_seq)
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
        }
    }

    /// The lowest marks in a conversation, for the status of its messages: two index entries each,
    /// however many members it has.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn lowest(&self, conversation: ConversationId) -> Result<OthersMarks> {
        let two = async |field: &str| {
            let lowest = self
                .rows
                .find(doc! { "conversation_id": conversation })
                .sort(doc! { "conversation_id": 1, field: 1 })
                .limit(2);
            let rows: Vec<MarksRow> = within(async { lowest.await?.try_collect().await }).await?;
            Ok::<_, crate::Error>(rows)
        };
        let (read, delivered) = tokio::try_join!(two("read_seq"), two("delivered_seq"))?;
        let read = |n: usize| read.get(n).map(|row| (row.user_id, row.read_seq));
        let delivered = |n: usize| delivered.get(n).map(|row| (row.user_id, row.delivered_seq));
        Ok(OthersMarks { read: [read(0), read(1)], delivered: [delivered(0), delivered(1)] })
    }

    /// As [`lowest`](Self::lowest), where the summary is known: both members of a direct
    /// conversation by their keys.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn lowest_in(&self, summary: &Summary) -> Result<OthersMarks> {
        if summary.kind == Kind::Group {
            return self.lowest(summary.id).await;
        }
        let keys = summary.members.iter().map(|user| members::key(summary.id, *user));
        let keys: Vec<_> = keys.collect();
        let rows = all(self.rows.find(doc! { "_id": { "$in": keys } })).await?;
        let two = |mark: fn(&MarksRow) -> u64| {
            let mut marks: Vec<_> = rows.iter().map(|row| (row.user_id, mark(row))).collect();
            marks.sort_unstable_by_key(|(_, seq)| *seq);
            [marks.first().copied(), marks.get(1).copied()]
        };
        Ok(OthersMarks { read: two(|row| row.read_seq), delivered: two(|row| row.delivered_seq) })
    }

    /// Moves a member's read mark to `seq`, never back, and says where everything then stands.
    /// `None` for outsiders.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn read_up_to(
        &self,
        conversation: ConversationId,
        user: UserId,
        seq: u64,
    ) -> Result<Option<Marks>> {
        // How many of one's own are up to there never changes: numbers are given in order.
        let own = self.own_up_to(user, MessageId::new(conversation, seq)).await?;
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let moved = doc! { "$lt": ["$read_seq", seq] };
        let keep_or = |field: &str, value: i64| {
            doc! { "$cond": [moved.clone(), value, format!("${field}")] }
        };
        let still_waiting = |field: &str| {
            let seen = doc! { "$lte": [{ "$ifNull": ["$waiting_seq", 0_i64] }, "$read_seq"] };
            doc! { "$cond": [seen, "$$REMOVE", format!("${field}")] }
        };
        let change = vec![
            doc! { "$set": {
                "own_at_read": keep_or("own_at_read", i64::try_from(own).unwrap_or(i64::MAX)),
                "read_seq": keep_or("read_seq", seq),
                "delivered_seq": { "$max": ["$delivered_seq", seq] },
            } },
            doc! { "$set": {
                "waiting_at": still_waiting("waiting_at"),
                "waiting_seq": still_waiting("waiting_seq"),
            } },
        ];
        let row = doc! { "_id": members::key(conversation, user) };
        let update =
            self.rows.find_one_and_update(row, change).return_document(ReturnDocument::After);
        if within(update).await?.is_none() {
            return Ok(None);
        }
        self.of(conversation, user).await
    }

    /// How far a member is; `None` for outsiders.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn of(&self, conversation: ConversationId, user: UserId) -> Result<Option<Marks>> {
        let row = doc! { "_id": members::key(conversation, user) };
        Ok(self.snapshot(row, doc! {}, 1).await?.pop())
    }

    /// The direct conversations in which something waits for a user, the latest first, from after
    /// a place in the user's notifications on; with `unnoticed`, only those whose notification
    /// was not marked as read.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn waiting(
        &self,
        user: UserId,
        before: Option<NotificationPosition>,
        count: usize,
        unnoticed: bool,
    ) -> Result<Vec<Marks>> {
        let mut waiting = doc! { "user_id": user, "waiting_at": { "$exists": true } };
        if let Some(before) = before {
            // At the same moment the ids decide, which begin alike; the caller cuts exactly.
            waiting.insert("waiting_at", doc! { "$lte": before.at });
            if let Some(conversation) = before.id.conversation() {
                let later = doc! { "_id": { "$lt": members::key(conversation, user) } };
                let earlier = doc! { "waiting_at": { "$lt": before.at } };
                waiting.insert("$or", vec![earlier, later]);
            }
        }
        if unnoticed {
            waiting.insert("$expr", unnoticed_rows());
        }
        let newest_first = doc! { "waiting_at": -1, "_id": -1 };
        self.snapshot(waiting, newest_first, i64::try_from(count).unwrap_or(i64::MAX)).await
    }

    /// In how many direct conversations something waits whose notification was not marked as
    /// read.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn count_waiting(&self, user: UserId) -> Result<u64> {
        let mut waiting = doc! { "user_id": user, "waiting_at": { "$exists": true } };
        waiting.insert("$expr", unnoticed_rows());
        within(self.rows.count_documents(waiting)).await
    }

    /// Marks the notifications of all direct conversations as read, up to what waits there.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn notice_all_direct(&self, user: UserId) -> Result<()> {
        let waiting = doc! { "user_id": user, "waiting_at": { "$exists": true } };
        let noticed =
            vec![doc! { "$set": { "noticed_seq": { "$max": ["$noticed_seq", "$waiting_seq"] } } }];
        within(self.rows.update_many(waiting, noticed)).await.map(|_| ())
    }

    /// All of a user's groups.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn groups(&self, user: UserId) -> Result<Vec<Marks>> {
        self.snapshot(doc! { "user_id": user, "kind": "group" }, doc! {}, 0).await
    }

    /// Marks the notification of a conversation as read, up to the message that it is about.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn notice(&self, conversation: ConversationId, user: UserId, seq: u64) -> Result<()> {
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let row = doc! { "_id": members::key(conversation, user) };
        let notice = self.rows.update_one(row, doc! { "$max": { "noticed_seq": seq } });
        within(notice).await.map(|_| ())
    }

    /// How many messages a user had sent in a conversation up to and including one.
    async fn own_up_to(&self, user: UserId, up_to: MessageId) -> Result<u64> {
        let key = |seq| {
            let message = MessageId::new(up_to.conversation, seq).bytes();
            binary([user.bytes().as_slice(), &message].concat())
        };
        let own = doc! { "_id": { "$gte": key(0), "$lte": key(up_to.seq) } };
        let last = self.sends.find_one(own).sort(doc! { "_id": -1 });
        Ok(within(last).await?.map_or(0, |row| row.n))
    }

    /// Member rows and their conversations as they were at one moment, so that what is computed
    /// from both is exact.
    async fn snapshot(&self, rows: Document, sort: Document, limit: i64) -> Result<Vec<Marks>> {
        within(async {
            let mut session = self.store.snapshot().await?;
            let rows = self.rows_in(&mut session, rows, sort, limit).await?;
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let ids: Vec<ConversationId> = rows.iter().map(|row| row.conversation_id).collect();
            let summaries = self.conversations.many_in(&mut session, &ids).await?;
            let mut summaries: std::collections::HashMap<ConversationId, Summary> =
                summaries.into_iter().map(|row| (row.id, row.into())).collect();
            let marks = rows.iter().filter_map(|row| {
                summaries.remove(&row.conversation_id).map(|summary| Marks::new(row, summary))
            });
            Ok(marks.collect())
        })
        .await
    }

    async fn rows_in(
        &self,
        session: &mut ClientSession,
        filter: Document,
        sort: Document,
        limit: i64,
    ) -> mongodb::error::Result<Vec<MarksRow>> {
        let find = self.rows.find(filter).sort(sort).limit(limit);
        let mut found = find.session(&mut *session).await?;
        let mut rows = Vec::new();
        while let Some(row) = found.next(session).await {
            rows.push(row?);
        }
        Ok(rows)
    }
}

/// Rows whose notification was not marked as read up to what waits there.
fn unnoticed_rows() -> Document {
    doc! { "$lt": ["$noticed_seq", "$waiting_seq"] }
}
