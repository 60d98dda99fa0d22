//! Groups: one row each. Every change of who is in a group also writes the group's row: two that
//! run at once conflict there, and one of them starts again.

use mongodb::bson::{Document, doc, serialize_to_bson};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::groups::{Group, GroupChange, NewGroup};
use crate::domain::ids::{GroupId, UserId};
use crate::error::{Error, Result};
use crate::store::Table;
use crate::store::bson::{date, id};
use crate::store::embedded::EmbeddedAttachment;

/// A row of `groups`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id", with = "id")]
    group: GroupId,
    group_name: String,
    picture: Option<EmbeddedAttachment>,
    #[serde(with = "id")]
    owner_id: UserId,
    member_count: u32,
    #[serde(with = "date")]
    created_at: Timestamp,
    #[serde(with = "date")]
    updated_at: Timestamp,
}

impl From<&NewGroup> for Row {
    fn from(new: &NewGroup) -> Self {
        Self {
            group: new.id,
            group_name: new.name.as_str().to_owned(),
            picture: None,
            owner_id: new.owner,
            member_count: u32::try_from(new.others.len() + 1).unwrap_or(u32::MAX),
            created_at: new.at,
            updated_at: new.at,
        }
    }
}

impl From<Row> for Group {
    fn from(row: Row) -> Self {
        Self {
            id: row.group,
            name: row.group_name,
            picture: row.picture.map(Into::into),
            owner: row.owner_id,
            member_count: row.member_count,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The collection `groups`, for one command.
pub struct Groups<'a>(Table<'a, Row>);

impl<'a> Groups<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// The group; whether the reader may see it is theirs to show.
    pub async fn find(self, group: GroupId) -> Result<Option<Group>> {
        Ok(self.0.one(doc! { "_id": group }).await?.map(Group::from))
    }

    /// Those of some groups that exist, in no order.
    pub async fn find_all(self, groups: &[GroupId]) -> Result<Vec<Group>> {
        let rows = self.0.all(doc! { "_id": { "$in": groups.to_vec() } }).await?;
        Ok(rows.into_iter().map(Group::from).collect())
    }

    /// Puts a new group there.
    pub async fn insert(self, new: &NewGroup) -> Result<Group> {
        self.0.insert(Row::from(new)).await?;
        Ok(Row::from(new).into())
    }

    /// Changes name or picture: the group after, if it is there.
    pub async fn set(
        self,
        group: GroupId,
        change: &GroupChange,
        at: Timestamp,
    ) -> Result<Option<Group>> {
        let set = doc! { "$set": changed(change, at)? };
        Ok(self.0.change(doc! { "_id": group }, set).await?.map(Group::from))
    }

    /// Counts a member more, while there are fewer than `most`: the group after, if so.
    pub async fn count_in(self, group: GroupId, most: u32) -> Result<Option<Group>> {
        let free = doc! { "_id": group, "member_count": { "$lt": most } };
        let more = doc! { "$inc": { "member_count": 1 } };
        Ok(self.0.change(free, more).await?.map(Group::from))
    }

    /// Counts a member less: the group after, if it is there.
    pub async fn count_out(self, group: GroupId) -> Result<Option<Group>> {
        let less = doc! { "$inc": { "member_count": -1 } };
        Ok(self.0.change(doc! { "_id": group }, less).await?.map(Group::from))
    }

    /// Names another owner, and counts the change of roles.
    pub async fn set_owner(self, group: GroupId, owner: UserId, at: Timestamp) -> Result<()> {
        let mut change = role_change();
        change.insert("$set", doc! { "owner_id": owner, "updated_at": at });
        self.0.update(doc! { "_id": group }, change).await.map(|_| ())
    }

    /// Counts a change of roles.
    pub async fn count_role_change(self, group: GroupId) -> Result<()> {
        self.0.update(doc! { "_id": group }, role_change()).await.map(|_| ())
    }

    /// Forgets a group.
    pub async fn delete(self, group: GroupId) -> Result<()> {
        self.0.delete(doc! { "_id": group }).await.map(|_| ())
    }
}

/// Makes a change of roles conflict with every other change of who is in: what others have read of
/// roles is then stale.
fn role_change() -> Document {
    doc! { "$inc": { "role_changes": 1_i64 } }
}

fn changed(change: &GroupChange, at: Timestamp) -> Result<Document> {
    let mut set = doc! { "updated_at": at };
    if let Some(name) = &change.name {
        set.insert("group_name", name.as_str());
    }
    if let Some(picture) = &change.picture {
        let picture = picture.as_ref().map(EmbeddedAttachment::from);
        set.insert("picture", serialize_to_bson(&picture).map_err(Error::internal)?);
    }
    Ok(set)
}
