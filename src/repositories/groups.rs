//! Groups: one row each, changed together with the rows of their members.

mod create;
mod join;
mod leave;
mod quota;
mod roles;
mod summary;

use mongodb::ClientSession;
use mongodb::bson::{Document, doc, serialize_to_bson};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};

use super::attachment_uses::{AttachmentUses, Use};
use super::bson::{date, id};
use super::embedded::EmbeddedAttachment;
use super::events::Events;
use super::members::Members;
use super::notifications::Notifications;
use super::relations::Relations;
use super::store::{Abort, Collection, Store, all, within};
use super::turns::Turns;
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Membership;
use crate::domain::events::{Event, Happening};
use crate::domain::groups::{Group, GroupChange, NewGroup, not_a_picture, only_managers};
use crate::domain::ids::{GroupId, UserId};
use crate::error::{Error, Result};
use quota::Quota;
use summary::Summaries;

/// A row of `groups`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
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

impl Row {
    /// That the picture, if there is one, is in use here.
    fn picture_use(&self) -> Option<Use> {
        let picture = self.picture.as_ref()?;
        Some(Use::picture(picture.id, self.group))
    }

    /// Whether a change would change nothing.
    fn is_as(&self, change: &GroupChange) -> bool {
        let own = self.picture.as_ref().map(|picture| picture.id);
        let same_picture = change
            .picture
            .as_ref()
            .is_none_or(|picture| picture.as_ref().map(|picture| picture.id) == own);
        let same_name = change.name.as_ref().is_none_or(|name| name.as_str() == self.group_name);
        same_name && same_picture
    }
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

/// The collection `groups`, and all that a change of it changes with it.
///
/// Every change of who is in a group also writes the group's row. Two that run at once therefore
/// conflict there, one of them starts again, and what it read of roles and places is never stale.
#[derive(Debug, Clone)]
pub struct Groups {
    store: Store,
    rows: Collection<Row>,
    members: Members,
    notifications: Notifications,
    events: Events,
    relations: Relations,
    uses: AttachmentUses,
    quota: Quota,
    summaries: Summaries,
    turns: Turns,
}

impl Groups {
    /// The groups of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            rows: store.collection("groups"),
            members: Members::new(store),
            notifications: Notifications::new(store),
            events: Events::new(store),
            relations: Relations::new(store),
            uses: AttachmentUses::new(store),
            quota: Quota::new(store),
            summaries: Summaries::new(store),
            turns: Turns::new(),
        }
    }

    /// The group; whether the reader may see it is theirs to show.
    pub async fn find(&self, group: GroupId) -> Result<Option<Group>> {
        let row = self.rows.find_one(doc! { "_id": group });
        Ok(within(&self.rows, row).await?.map(Group::from))
    }

    /// Those of some groups that exist, in no order.
    pub async fn find_all(&self, groups: &[GroupId]) -> Result<Vec<Group>> {
        let rows = self.rows.find(doc! { "_id": { "$in": groups.to_vec() } });
        Ok(all(&self.rows, rows).await?.into_iter().map(Group::from).collect())
    }

    /// Changes name or picture on behalf of a member who may: the group after. What is so already
    /// changes nothing.
    ///
    /// # Errors
    /// Not found for outsiders, forbidden for plain members; the store is away.
    pub async fn update(
        &self,
        group: GroupId,
        by: UserId,
        change: &GroupChange,
        at: Timestamp,
    ) -> Result<Group> {
        let (this, set, change) = (self.clone(), changed(change, at)?, change.clone());
        self.store
            .transact(async move |session| {
                this.manager(session, group, by).await?;
                let found = this.rows.find_one(doc! { "_id": group }).session(&mut *session);
                let before = found.await?.ok_or_else(Error::not_found)?;
                if before.is_as(&change) {
                    return Ok(Group::from(before));
                }
                let before = before.picture_use();
                let row = this
                    .rows
                    .find_one_and_update(doc! { "_id": group }, doc! { "$set": set.clone() })
                    .return_document(ReturnDocument::After)
                    .session(&mut *session)
                    .await?;
                let row = row.ok_or_else(Error::not_found)?;
                let after = row.picture_use();
                if before != after {
                    this.uses.remove(session, before, at).await?;
                    if !this.uses.add(session, after).await? {
                        return Err(not_a_picture().into());
                    }
                }
                let updated = Happening::among(group, Event::GroupUpdated { group });
                this.events.add(session, [updated], at).await?;
                Ok(Group::from(row))
            })
            .await
    }

    /// The place of a member who manages the group.
    async fn manager(
        &self,
        session: &mut ClientSession,
        group: GroupId,
        user: UserId,
    ) -> Result<Membership, Abort> {
        let member = self.members.find_in(session, group.into(), user).await?;
        let member = member.ok_or_else(Error::not_found)?;
        if member.role.manages() { Ok(member) } else { Err(only_managers().into()) }
    }
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
