//! How many groups each user is in: a count in the account, so that the limit is a condition of
//! the update that raises it.

use std::collections::HashSet;

use mongodb::ClientSession;
use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;
use serde::Deserialize;

use crate::domain::groups::MAX_GROUPS_OF_A_USER;
use crate::domain::ids::UserId;
use crate::error::Result;
use crate::repositories::bson::id;
use crate::repositories::store::{Collection, Store, all};

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
