//! What waits for a user: unread messages whose notification is to be shown.

use mongodb::bson::{Document, doc};

use super::{Marks, MarksRepository};
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::notifications::NotificationPosition;
use crate::error::Result;
use crate::repositories::rows::members;
use crate::repositories::store::{older, within};

impl MarksRepository {
    /// The direct conversations in which something waits for a user, the latest first, from after
    /// a place in the user's notifications on; with `unnoticed`, only those whose notification
    /// was not marked as read. Without those that are muted at `now`.
    pub async fn waiting_direct(
        &self,
        user: UserId,
        before: Option<NotificationPosition>,
        count: usize,
        unnoticed: bool,
        now: Timestamp,
    ) -> Result<Vec<Marks>> {
        let mut waiting = waiting(user, now);
        if let Some(before) = before {
            // At the same moment the ids decide, which begin alike; the caller cuts exactly.
            waiting.insert("waiting_at", doc! { "$lte": before.at });
            if let Some(conversation) = before.id.conversation() {
                let key = members::key(conversation, user).into();
                waiting.insert("$or", older(["waiting_at", "_id"], [before.at.into(), key]));
            }
        }
        if unnoticed {
            waiting.insert("$expr", unnoticed_rows());
        }
        let newest_first = doc! { "waiting_at": -1, "_id": -1 };
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        self.snapshot(user, waiting, newest_first, limit).await
    }

    /// In how many direct conversations something waits whose notification was not marked as
    /// read, without those that are muted at `now`.
    pub async fn count_waiting(&self, user: UserId, now: Timestamp) -> Result<u64> {
        let mut waiting = waiting(user, now);
        waiting.insert("$expr", unnoticed_rows());
        within(&self.rows, self.rows.count_documents(waiting)).await
    }

    /// Marks the notifications of all direct conversations as read, up to what waits there.
    pub(super) async fn notice_all_direct(&self, user: UserId) -> Result<()> {
        let waiting = doc! { "user_id": user, "waiting_at": { "$exists": true } };
        let noticed =
            vec![doc! { "$set": { "noticed_seq": { "$max": ["$noticed_seq", "$waiting_seq"] } } }];
        within(&self.rows, self.rows.update_many(waiting, noticed)).await.map(|_| ())
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

/// Rows whose notification was not marked as read up to what waits there.
fn unnoticed_rows() -> Document {
    doc! { "$lt": ["$noticed_seq", "$waiting_seq"] }
}
