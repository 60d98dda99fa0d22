//! Notifications that are stored: one row per reader and event, written in the transaction that
//! the event is.

use std::collections::HashSet;

use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, GroupId, MessageId, UserId};
use crate::domain::notifications::{
    Notification, NotificationId, NotificationKind, NotificationPosition,
};
use crate::error::Result;
use crate::store::bson::{date, id, optional_id};
use crate::store::{Table, again_if_taken};

/// A row of `notifications`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
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

/// The collection `notifications`, for one command.
pub struct Notifications<'a>(Table<'a, Row>);

impl<'a> Notifications<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Tells of something. The same event again, say a request that was taken back and repeated,
    /// is the same notification, unread and at its new time.
    pub async fn raise(self, notification: &Notification) -> Result<()> {
        self.0.put(doc! { "_id": notification.id }, Row::from(notification)).await
    }

    /// Tells many at once of something that cannot have been told before. Where another write told
    /// them first, the transaction runs again.
    pub async fn raise_first(self, notifications: &[Notification]) -> Result<()> {
        let rows = notifications.iter().map(Row::from).collect();
        self.0.insert_all(rows).await.map_err(again_if_taken)
    }

    /// Takes back what is no longer so; nothing happens if it was not there.
    pub async fn withdraw(self, id: NotificationId) -> Result<()> {
        self.0.delete(doc! { "_id": id }).await.map(|_| ())
    }

    /// Takes back what a user was told of a group's conversation, which they are leaving.
    pub async fn withdraw_of_conversation(
        self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<()> {
        self.0.delete_all(doc! { "group_id": conversation, "user_id": user }).await.map(|_| ())
    }

    /// Takes back what anyone was told of a group's conversation, which ends.
    pub async fn withdraw_all_of_conversation(self, conversation: ConversationId) -> Result<()> {
        self.0.delete_all(doc! { "group_id": conversation }).await.map(|_| ())
    }

    /// Takes back all that a user was told.
    pub async fn withdraw_of(self, user: UserId) -> Result<()> {
        self.0.delete_all(doc! { "user_id": user }).await.map(|_| ())
    }

    /// Marks as read what its reader has just acted on.
    pub async fn settle(self, id: NotificationId) -> Result<()> {
        self.0.update(doc! { "_id": id }, read()).await.map(|_| ())
    }

    /// Up to `count` of a user's notifications, newest first, from after `before` on.
    pub async fn page(
        self,
        user: UserId,
        before: Option<NotificationPosition>,
        count: usize,
        unread_only: bool,
    ) -> Result<Vec<Notification>> {
        let mut wanted = doc! { "user_id": user };
        if unread_only {
            wanted.insert("read", false);
        }
        let before = before.map(|it| [it.at.into(), it.id.into()]);
        let rows = self.0.page(wanted, ["created_at", "_id"], before, count).await?;
        Ok(rows.into_iter().map(Notification::from).collect())
    }

    /// How many of a user's notifications are unread.
    pub async fn unread_count(self, user: UserId) -> Result<u64> {
        self.0.count(doc! { "user_id": user, "read": false }).await
    }

    /// Those of some of a user's notifications that are there, in no order.
    pub async fn some(self, user: UserId, ids: &[NotificationId]) -> Result<Vec<Notification>> {
        let rows = self.0.all(doc! { "_id": { "$in": own(user, ids) } }).await?;
        Ok(rows.into_iter().map(Notification::from).collect())
    }

    /// Those of some of a user's notifications that are unread. Ids of others' are passed over.
    pub async fn unread_of(
        self,
        user: UserId,
        ids: &[NotificationId],
    ) -> Result<HashSet<NotificationId>> {
        let rows = self.0.all(doc! { "_id": { "$in": own(user, ids) }, "read": false }).await?;
        Ok(rows.into_iter().map(|row| row.key).collect())
    }

    /// Marks some of a user's notifications as read. Ids of others' are passed over.
    pub async fn read(self, user: UserId, ids: &[NotificationId]) -> Result<()> {
        let unread = doc! { "_id": { "$in": own(user, ids) }, "read": false };
        self.0.update_all(unread, read()).await.map(|_| ())
    }

    /// Marks all of a user's notifications as read.
    pub async fn read_all(self, user: UserId) -> Result<()> {
        let unread = doc! { "user_id": user, "read": false };
        self.0.update_all(unread, read()).await.map(|_| ())
    }

    /// Marks a user's mentions in a conversation as read, up to and including message `seq`.
    pub async fn read_mentions(
        self,
        user: UserId,
        conversation: ConversationId,
        seq: u64,
    ) -> Result<()> {
        let (first, last) = (MessageId::new(conversation, 0), MessageId::new(conversation, seq));
        let range = doc! { "$gte": first, "$lte": last };
        let unread = doc! { "user_id": user, "message_id": range, "read": false };
        self.0.update_all(unread, read()).await.map(|_| ())
    }
}

/// Those of some ids that are of this user's notifications.
fn own(user: UserId, ids: &[NotificationId]) -> Vec<Bson> {
    ids.iter().filter(|id| id.user() == user).map(|id| Bson::from(*id)).collect()
}

fn read() -> Document {
    doc! { "$set": { "read": true } }
}
