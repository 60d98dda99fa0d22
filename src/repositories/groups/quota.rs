//! How many groups each user is in, and how many they have made lately: counts in the account,
//! raised in the transaction that they limit.

use std::collections::HashSet;
use std::time::Duration;

use mongodb::ClientSession;
use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::groups::MAX_GROUPS_OF_A_USER;
use crate::domain::ids::UserId;
use crate::error::{Error, Result};
use crate::repositories::bson::{id, optional_date};
use crate::repositories::store::{Abort, Collection, Store, all};

/// The time in which groups that someone makes are counted together; it begins with the first.
const DAY: Duration = Duration::from_hours(24);

/// What came of counting some users in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Each has one group more.
    All,
    /// At least one is not an account that can be added; the transaction must not commit.
    Unknown,
    /// At least one is in as many groups as one may be; the transaction must not commit.
    Full,
}

/// How many groups someone has made, and since when.
#[derive(Debug, Deserialize)]
struct Made {
    groups_made: i64,
    #[serde(with = "optional_date", default)]
    groups_since: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Known {
    #[serde(rename = "_id", with = "id")]
    id: UserId,
}

/// The counts in `users`.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    users: Collection<Document>,
}

impl Quota {
    pub(super) fn new(store: &Store) -> Self {
        Self { users: store.collection("users") }
    }

    /// Counts one group more that someone makes, deleted ones included: otherwise making and
    /// deleting would have no end.
    ///
    /// # Errors
    /// `rate_limited` if that is more than `per_day`; the transaction must not commit.
    pub(super) async fn make(
        &self,
        session: &mut ClientSession,
        user: UserId,
        per_day: u32,
        at: Timestamp,
    ) -> Result<(), Abort> {
        let today = doc! { "$gt": ["$groups_since", at.minus(DAY)] };
        let made = doc! { "$add": [{ "$ifNull": ["$groups_made", 0_i64] }, 1_i64] };
        let counted = vec![doc! { "$set": {
            "groups_made": { "$cond": [today.clone(), made, 1_i64] },
            "groups_since": { "$cond": [today, "$groups_since", at] },
        } }];
        let rows = self.users.clone_with_type::<Made>();
        let rows = rows.find_one_and_update(doc! { "_id": user }, counted);
        let rows = rows.projection(doc! { "groups_made": 1, "groups_since": 1 });
        let made = rows.return_document(ReturnDocument::After).session(session).await?;
        match made {
            Some(Made { groups_made, groups_since }) if groups_made > i64::from(per_day) => {
                let free = groups_since.unwrap_or(at).plus(DAY);
                Err(Error::limited("rate_limited", free.since(at)).into())
            }
            _ => Ok(()),
        }
    }

    /// Counts these users, each named once, into one group more.
    pub(super) async fn take(
        &self,
        session: &mut ClientSession,
        users: &[UserId],
    ) -> Result<Taken, DriverError> {
        let count = users.len() as u64;
        let known = doc! { "_id": { "$in": users.to_vec() }, "verified": true, "deleted_at": null };
        let mut free = known.clone();
        free.insert("group_count", doc! { "$lt": MAX_GROUPS_OF_A_USER });
        let more = doc! { "$inc": { "group_count": 1 } };
        let taken = self.users.update_many(free, more).session(&mut *session).await?;
        if taken.matched_count == count {
            return Ok(Taken::All);
        }
        let known = self.users.count_documents(known).session(session).await?;
        Ok(if known == count { Taken::Full } else { Taken::Unknown })
    }

    /// Those of these users who are accounts that can be added.
    pub(super) async fn known(&self, users: &[UserId]) -> Result<HashSet<UserId>> {
        let known = doc! { "_id": { "$in": users.to_vec() }, "verified": true, "deleted_at": null };
        let rows = self.users.clone_with_type::<Known>();
        let rows = all(&self.users, rows.find(known).projection(doc! { "_id": 1 })).await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// Counts these users, each named once, out of a group.
    pub(super) async fn give_back(
        &self,
        session: &mut ClientSession,
        users: &[UserId],
    ) -> Result<(), DriverError> {
        let counted = doc! { "_id": { "$in": users.to_vec() }, "group_count": { "$gt": 0 } };
        let less = doc! { "$inc": { "group_count": -1 } };
        self.users.update_many(counted, less).session(session).await?;
        Ok(())
    }
}
