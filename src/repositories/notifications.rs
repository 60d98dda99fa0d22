//! Notifications that are stored: one row per reader and event, written in the transaction that
//! the event is.

use std::collections::HashSet;

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error as DriverError;
use serde::{Deserialize, Serialize};

use super::bson::{date, id, optional_id};
use super::store::{Collection, Store, all, all_in, within};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, GroupId, MessageId, UserId};
use crate::domain::notifications::{
    Notification, NotificationId, NotificationKind, NotificationPosition,
};
use crate::error::Result;

/// A row of `notifications`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "_id", with = "id")]
    key: NotificationId,
    #[serde(with = "id")]
    user_id: UserId,
    r#type: NotificationKind,
    #[serde(with = "id")]
    actor_id: UserId,
    #[serde(with = "optional_id", default, skip_serializing_if = "Option::is_none")]
    group_id: Option<GroupId>,
    #[serde(with = "optional_id", default, skip_serializing_if = "Option::is_none")]
    message_id: Option<MessageId>,
    read: bool,
    #[serde(with = "date")]
    created_at: Timestamp,
}

impl From<&Notification> for Row {
    fn from(notification: &Notification) -> Self {
        Self {
            key: notification.id,
            user_id: notification.id.user(),
            r#type: notification.kind,
            actor_id: notification.actor,
            group_id: notification.group,
            message_id: notification.message,
            read: notification.read,
            created_at: notification.at,
        }
    }
}

impl From<Row> for Notification {
    fn from(row: Row) -> Self {
        Self {
            id: row.key,
            kind: row.r#type,
            actor: row.actor_id,
            group: row.group_id,
            message: row.message_id,
            read: row.read,
            at: row.created_at,
        }
    }
}

/// The collection `notifications`.
#[derive(Debug, Clone)]
pub struct Notifications {
    rows: Collection<Row>,
}

impl Notifications {
    /// The notifications of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { rows: store.collection("notifications") }
    }

    /// Tells of something. The same event again, say a request that was taken back and repeated,
    /// is the same notification, unread and at its new time.
    pub(super) async fn raise(
        &self,
        session: &mut ClientSession,
        notification: &Notification,
    ) -> Result<(), DriverError> {
        let row = Row::from(notification);
        let key = doc! { "_id": notification.id };
        self.rows.replace_one(key, row).upsert(true).session(session).await?;
        Ok(())
    }

    /// Tells many at once of something that cannot have been told before.
    pub(super) async fn raise_first(
        &self,
        session: &mut ClientSession,
        notifications: &[Notification],
    ) -> Result<(), DriverError> {
        if notifications.is_empty() {
            return Ok(());
        }
        let rows: Vec<Row> = notifications.iter().map(Row::from).collect();
        self.rows.insert_many(rows).session(session).await?;
        Ok(())
    }

    /// Takes back what is no longer so; nothing happens if it was not there.
    pub(super) async fn withdraw(
        &self,
        session: &mut ClientSession,
        id: NotificationId,
    ) -> Result<(), DriverError> {
        self.rows.delete_one(doc! { "_id": id }).session(session).await?;
        Ok(())
    }

    /// Takes back what a user was told of a group's conversation, which they are leaving.
    pub(super) async fn withdraw_of_conversation(
        &self,
        session: &mut ClientSession,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<(), DriverError> {
        let about = doc! { "group_id": conversation, "user_id": user };
        self.rows.delete_many(about).session(session).await?;
        Ok(())
    }

    /// Takes back what anyone was told of a group's conversation, which ends.
    pub(super) async fn withdraw_all_of_conversation(
        &self,
        session: &mut ClientSession,
        conversation: ConversationId,
    ) -> Result<(), DriverError> {
        self.rows.delete_many(doc! { "group_id": conversation }).session(session).await?;
        Ok(())
    }

    /// Marks as read what its reader has just acted on.
    pub(super) async fn settle(
        &self,
        session: &mut ClientSession,
        id: NotificationId,
    ) -> Result<(), DriverError> {
        self.rows.update_one(doc! { "_id": id }, read()).session(session).await?;
        Ok(())
    }

    /// Up to `count` of a user's notifications, newest first, from after `before` on.
    pub async fn page(
        &self,
        user: UserId,
        before: Option<NotificationPosition>,
        count: usize,
        unread_only: bool,
    ) -> Result<Vec<Notification>> {
        let mut wanted = doc! { "user_id": user };
        if unread_only {
            wanted.insert("read", false);
        }
        if let Some(before) = before {
            wanted.extend(older(before));
        }
        let rows = self
            .rows
            .find(wanted)
            .sort(doc! { "created_at": -1, "_id": -1 })
            .limit(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(all(&self.rows, rows).await?.into_iter().map(Notification::from).collect())
    }

    /// How many of a user's notifications are unread.
    pub async fn unread_count(&self, user: UserId) -> Result<u64> {
        within(&self.rows, self.rows.count_documents(doc! { "user_id": user, "read": false })).await
    }

    /// Those of some of a user's notifications that are there, in no order.
    pub async fn some(&self, user: UserId, ids: &[NotificationId]) -> Result<Vec<Notification>> {
        let own: Vec<Bson> =
            ids.iter().filter(|id| id.user() == user).map(|id| Bson::from(*id)).collect();
        let rows = self.rows.find(doc! { "_id": { "$in": own } });
        Ok(all(&self.rows, rows).await?.into_iter().map(Notification::from).collect())
    }

    /// Marks some of a user's notifications as read; which of them were not. Ids of others' are
    /// passed over.
    pub(super) async fn read_in(
        &self,
        session: &mut ClientSession,
        user: UserId,
        ids: &[NotificationId],
    ) -> Result<HashSet<NotificationId>, DriverError> {
        let own: Vec<Bson> =
            ids.iter().filter(|id| id.user() == user).map(|id| Bson::from(*id)).collect();
        if own.is_empty() {
            return Ok(HashSet::new());
        }
        let unread = doc! { "_id": { "$in": own }, "read": false };
        let found = self.rows.find(unread.clone()).session(&mut *session).await?;
        let found = all_in(session, found).await?;
        self.rows.update_many(unread, read()).session(session).await?;
        Ok(found.into_iter().map(|row| row.key).collect())
    }

    /// Marks all of a user's notifications as read.
    pub(super) async fn read_all_in(
        &self,
        session: &mut ClientSession,
        user: UserId,
    ) -> Result<(), DriverError> {
        let unread = doc! { "user_id": user, "read": false };
        self.rows.update_many(unread, read()).session(session).await?;
        Ok(())
    }

    /// Marks a user's mentions in a conversation as read, up to and including message `seq`.
    pub async fn read_mentions(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: u64,
    ) -> Result<()> {
        let (first, last) = (MessageId::new(conversation, 0), MessageId::new(conversation, seq));
        let range = doc! { "$gte": first, "$lte": last };
        let unread = doc! { "user_id": user, "message_id": range, "read": false };
        within(&self.rows, self.rows.update_many(unread, read())).await.map(|_| ())
    }
}

fn read() -> Document {
    doc! { "$set": { "read": true } }
}

/// What comes after a position: each side is one range of the index, which are then merged.
fn older(position: NotificationPosition) -> Document {
    doc! {
        "$or": [
            { "created_at": { "$lt": position.at } },
            { "created_at": position.at, "_id": { "$lt": position.id } },
        ],
    }
}
