//! The counts of an account: groups that it is in, groups and friendship requests that it has made,
//! bytes that it stores. A count changes in the transaction that it limits.

use std::collections::HashSet;
use std::time::Duration;

use mongodb::bson::doc;
use serde::Deserialize;

use super::{Users, active};
use crate::domain::clock::Timestamp;
use crate::domain::groups::MAX_GROUPS_OF_A_USER;
use crate::domain::ids::UserId;
use crate::error::Result;
use crate::store::bson::{id, optional_date};

/// How many groups someone has made, and since when.
#[derive(Debug, Deserialize)]
pub struct Made {
    /// The groups, deleted ones included.
    pub groups_made: u32,
    /// When the first of them was made.
    #[serde(with = "optional_date", default)]
    pub groups_since: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Active {
    #[serde(rename = "_id", with = "id")]
    id: UserId,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    storage_bytes: Option<i64>,
}

impl Users<'_> {
    /// Counts one group more that someone makes, from 1 again where the first was made longer than
    /// `within` ago: the count after; `None` if there is no such account.
    pub async fn count_made(
        self,
        user: UserId,
        within: Duration,
        at: Timestamp,
    ) -> Result<Option<Made>> {
        let lately = doc! { "$gt": ["$groups_since", at.minus(within)] };
        let made = doc! { "$add": [{ "$ifNull": ["$groups_made", 0_i64] }, 1_i64] };
        let counted = vec![doc! { "$set": {
            "groups_made": { "$cond": [lately.clone(), made, 1_i64] },
            "groups_since": { "$cond": [lately, "$groups_since", at] },
        } }];
        let fields = doc! { "groups_made": 1, "groups_since": 1 };
        self.0.only::<Made>(fields).change(doc! { "_id": user }, counted).await
    }

    /// Counts one friendship request more that someone has made. Nobody reads the count: it makes
    /// requests of one account conflict, so that each sees those before it.
    pub async fn count_request(self, user: UserId) -> Result<()> {
        let more = doc! { "$inc": { "requests": 1_i64 } };
        self.0.update(doc! { "_id": user }, more).await.map(|_| ())
    }

    /// Counts users, each named once, into one group more, as far as they can be added and are in
    /// fewer than one may be in: how many that were.
    pub async fn count_into_group(self, users: &[UserId]) -> Result<u64> {
        let mut free = active(users);
        free.insert("group_count", doc! { "$lt": MAX_GROUPS_OF_A_USER });
        self.0.update_all(free, doc! { "$inc": { "group_count": 1 } }).await
    }

    /// Counts users, each named once, out of a group.
    pub async fn count_out_of_group(self, users: &[UserId]) -> Result<()> {
        let counted = doc! { "_id": { "$in": users.to_vec() }, "group_count": { "$gt": 0 } };
        self.0.update_all(counted, doc! { "$inc": { "group_count": -1 } }).await.map(|_| ())
    }

    /// How many bytes of files a user stores; `None` if they were never counted.
    pub async fn storage_bytes(self, user: UserId) -> Result<Option<i64>> {
        let count = self.0.only::<Stored>(doc! { "storage_bytes": 1 });
        let count = count.one(doc! { "_id": user }).await?;
        Ok(count.and_then(|count| count.storage_bytes))
    }

    /// Notes how many bytes of files a user stores.
    pub async fn set_storage_bytes(self, user: UserId, bytes: i64) -> Result<()> {
        let set = doc! { "$set": { "storage_bytes": bytes } };
        self.0.update(doc! { "_id": user }, set).await.map(|_| ())
    }

    /// The active ones among some users: verified, not deleted; others can reach them.
    pub async fn active(self, users: &[UserId]) -> Result<HashSet<UserId>> {
        let rows = self.0.only::<Active>(doc! { "_id": 1 }).all(active(users)).await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }
}
