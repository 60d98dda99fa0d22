//! Marking notifications as read: what is stored and what waits, and that other devices are told.

use mongodb::bson::{Document, doc};

use super::MarksRepository;
use crate::domain::clock::Timestamp;
use crate::domain::events::{Event, Happening};
use crate::domain::ids::{ConversationId, UserId};
use crate::domain::notifications::NotificationId;
use crate::error::Result;
use crate::repositories::rows::members;
use crate::repositories::store::Tx;

/// The notification of a conversation, marked as read up to this message.
pub type Noticed = (ConversationId, u64);

impl MarksRepository {
    /// Marks some of a user's notifications as read, and tells their devices of those that were
    /// not; `noticed` are those of conversations among them that were not.
    pub async fn read_notifications(
        &self,
        user: UserId,
        ids: &[NotificationId],
        noticed: &[Noticed],
        at: Timestamp,
    ) -> Result<()> {
        let (this, ids, noticed) = (self.clone(), ids.to_vec(), noticed.to_vec());
        self.store
            .transact(async move |tx: &mut Tx| {
                let mut read = tx.notifications().unread_of(user, &ids).await?;
                tx.notifications().read(user, &ids).await?;
                for (conversation, seq) in &noticed {
                    this.notice_in(tx, *conversation, user, *seq).await?;
                    read.insert(NotificationId::message(user, *conversation));
                }
                if read.is_empty() {
                    return Ok(());
                }
                let ids = ids.iter().copied().filter(|id| read.remove(id)).collect();
                let event = Event::NotificationRead { ids, all: false };
                let told = Happening::for_users([user], event);
                tx.events().add([told], at).await
            })
            .await
    }

    /// Marks all of a user's notifications as read, those of these groups among them, and tells
    /// their devices. Those that wait come first: whoever is told, or answered, finds them read.
    ///
    /// # Errors
    /// When the store is away: some may be read then, and nobody was told.
    pub async fn read_all_notifications(
        &self,
        user: UserId,
        groups: &[Noticed],
        at: Timestamp,
    ) -> Result<()> {
        self.notice_all_direct(user).await?;
        let updates: Vec<Document> =
            groups.iter().map(|(group, seq)| noticed_statement(*group, user, *seq)).collect();
        if !updates.is_empty() {
            self.update_many_rows(updates).await?;
        }
        self.store
            .transact(async move |tx: &mut Tx| {
                tx.notifications().read_all(user).await?;
                let event = Event::NotificationRead { ids: Vec::new(), all: true };
                let told = Happening::for_users([user], event);
                tx.events().add([told], at).await
            })
            .await
    }

    /// Marks the notification of a conversation as read, up to the message that it is about.
    async fn notice_in(
        &self,
        tx: &mut Tx,
        conversation: ConversationId,
        user: UserId,
        seq: u64,
    ) -> Result<()> {
        let (row, change) = noticed(conversation, user, seq);
        self.rows.update_one(row, change).session(tx.session()).await?;
        Ok(())
    }
}

fn noticed(conversation: ConversationId, user: UserId, seq: u64) -> (Document, Document) {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let row = doc! { "_id": members::key(conversation, user) };
    (row, doc! { "$max": { "noticed_seq": seq } })
}

fn noticed_statement(conversation: ConversationId, user: UserId, seq: u64) -> Document {
    let (row, change) = noticed(conversation, user, seq);
    doc! { "q": row, "u": change }
}
