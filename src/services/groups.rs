//! Groups: making, changing and listing them, and who is in them.

mod roles;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::access_revocation::AccessRevocation;
use super::attachments::Attachments;
use super::group_rules::GroupRules;
use super::user_directory::UserDirectory;
use crate::domain::attachments::Attachment;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::conversations::{Membership, Role};
use crate::domain::groups::{
    Group, GroupChange, GroupPosition, GroupWish, NewGroup, group_full, not_a_picture,
    only_managers,
};
use crate::domain::ids::{AttachmentId, ConversationId, GroupId, UserId};
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::text::GroupName;
use crate::domain::users::PublicUser;
use crate::error::{Error, FieldError, Kind, Result};
use crate::store::Repositories;
use crate::store::Store;

/// A group in a list, without its members.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GroupOverview {
    /// Its id.
    pub id: GroupId,
    /// Its conversation's, which is the same.
    #[schema(value_type = GroupId)]
    pub conversation_id: ConversationId,
    /// What it is called.
    #[schema(value_type = GroupName)]
    pub group_name: String,
    /// One of the four kinds of image that are shown.
    pub group_picture: Option<Attachment>,
    /// Who leads it.
    pub owner_id: UserId,
    /// How many are in it, the owner included.
    #[schema(example = 1)]
    pub member_count: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its name, picture or owner last changed.
    pub updated_at: Timestamp,
}

impl From<Group> for GroupOverview {
    fn from(group: Group) -> Self {
        Self {
            id: group.id,
            conversation_id: group.id.into(),
            group_name: group.name,
            group_picture: group.picture,
            owner_id: group.owner,
            member_count: group.member_count,
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}

/// A group with everyone in it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Group)]
pub struct WholeGroup {
    /// The group itself.
    #[serde(flatten)]
    pub overview: GroupOverview,
    /// The first to join first.
    pub members: Vec<GroupMember>,
}

/// Someone in a group.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GroupMember {
    /// Who.
    pub user: PublicUser,
    /// What they may do.
    pub role: Role,
    /// Since when they are in.
    pub joined_at: Timestamp,
}

/// The rules of groups.
#[derive(Debug)]
pub struct Groups {
    pub(super) rules: GroupRules,
    store: Store,
    profiles: Arc<UserDirectory>,
    attachments: Arc<Attachments>,
    revocation: AccessRevocation,
    cursors: Cursors,
    clock: Clock,
    max_members: u32,
    /// Groups that one account may make within a day.
    per_day: Option<u32>,
}

impl Groups {
    /// Groups of at most `max_members`, over these repositories.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        profiles: Arc<UserDirectory>,
        attachments: Arc<Attachments>,
        revocation: AccessRevocation,
        cursors: Cursors,
        clock: &Clock,
        max_members: u32,
    ) -> Self {
        let (store, rules) = (repositories.store.clone(), GroupRules::new(repositories));
        let clock = clock.clone();
        let per_day = None;
        Self {
            rules,
            store,
            profiles,
            attachments,
            revocation,
            cursors,
            clock,
            max_members,
            per_day,
        }
    }

    /// The same groups, of which one account may make this many within a day.
    #[must_use]
    pub fn with_quota(self, per_day: Option<u32>) -> Self {
        Self { per_day, ..self }
    }

    /// Makes a group of its owner and others; who is named twice is in it once.
    ///
    /// # Errors
    /// `group_full` for more than may be; `validation_failed` on `members` if one of them cannot
    /// be added; `recipient_unavailable` for a block between one and the owner; `rate_limited` if
    /// the owner has made as many today as they may; the store is away. Nothing is made then.
    pub async fn create(
        &self,
        owner: UserId,
        name: GroupName,
        members: Vec<UserId>,
    ) -> Result<WholeGroup> {
        let mut seen = HashSet::from([owner]);
        let named = members.iter().copied();
        let others: Vec<UserId> = named.filter(|user| seen.insert(*user)).collect();
        if seen.len() > self.max_members as usize {
            return Err(group_full());
        }
        let (id, at, admins) = (GroupId::random(), self.clock.now(), Vec::new());
        let new = NewGroup { id, name, owner, others, admins, at };
        match self.rules.create(&new, self.per_day).await {
            Ok(group) => self.whole(group).await,
            Err(error) if error.kind() == Kind::Invalid => {
                Err(self.unknown_of(&members).await?.unwrap_or(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Names each of these who cannot be added; `None` if all can by now.
    async fn unknown_of(&self, members: &[UserId]) -> Result<Option<Error>> {
        let known = self.store.users().active(members).await?;
        let unknown = members.iter().enumerate().filter(|(_, user)| !known.contains(user));
        let unknown: Vec<FieldError> = unknown
            .map(|(index, _)| {
                FieldError::new(format!("members[{index}]"), "unknown", "user cannot be added")
            })
            .collect();
        Ok((!unknown.is_empty()).then(|| Error::fields(unknown)))
    }

    /// The group, for its members.
    ///
    /// # Errors
    /// Not found for outsiders; the store is away.
    pub async fn get(&self, reader: UserId, group: GroupId) -> Result<WholeGroup> {
        self.store.members().find(group.into(), reader).await?.ok_or_else(Error::not_found)?;
        let group = self.store.groups().find(group).await?.ok_or_else(Error::not_found)?;
        self.whole(group).await
    }

    /// The groups that someone is in, the last joined first.
    ///
    /// # Errors
    /// `invalid_cursor`; the store is away.
    pub async fn list(
        &self,
        reader: UserId,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<GroupOverview>> {
        let scope = ListScope { list: "groups", reader };
        let before: Option<GroupPosition> = self.cursors.resume(scope, cursor)?;
        let places = self.store.members().groups_of(reader, before, limit.get() + 1).await?;
        let page = self.cursors.page(scope, limit, places, |place| GroupPosition {
            joined_at: place.joined_at,
            group: place.conversation.as_group(),
        });
        let ids: Vec<GroupId> =
            page.items.iter().map(|place| place.conversation.as_group()).collect();
        let found = self.store.groups().find_all(&ids).await?;
        let mut found: HashMap<GroupId, Group> =
            found.into_iter().map(|group| (group.id, group)).collect();
        // One that ended since its place was read is not listed.
        let items = ids.iter().filter_map(|id| found.remove(id).map(Into::into)).collect();
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// Changes name or picture.
    ///
    /// # Errors
    /// Not found for outsiders, forbidden for plain members, `validation_failed` for a picture
    /// that is not the caller's own image; the store is away.
    pub async fn update(&self, by: UserId, group: GroupId, wish: GroupWish) -> Result<WholeGroup> {
        let member =
            self.store.members().find(group.into(), by).await?.ok_or_else(Error::not_found)?;
        if !member.role.manages() {
            return Err(only_managers());
        }
        let picture = match wish.picture {
            None => None,
            Some(None) => Some(None),
            Some(Some(id)) => Some(Some(self.picture(by, id).await?)),
        };
        let change = GroupChange { name: wish.name, picture };
        if change.is_empty() {
            return self.get(by, group).await;
        }
        let group = self.rules.update(group, by, &change, self.clock.now()).await?;
        self.whole(group).await
    }

    /// Adds someone, who is told.
    ///
    /// # Errors
    /// Not found for outsiders and if there is no such user; forbidden for plain members;
    /// `already_member`, `group_full`, `recipient_unavailable`; the store is away.
    pub async fn add(&self, by: UserId, group: GroupId, user: UserId) -> Result<GroupMember> {
        let now = self.clock.now();
        let member = self.rules.add(group, by, user, self.max_members, now).await?;
        let mut profiles = self.profiles.many(&[user]).await?;
        Ok(shown(&member, &mut profiles))
    }

    /// Removes someone; oneself is leaving.
    ///
    /// # Errors
    /// Not found for outsiders, and if `user` is one; forbidden if the roles do not allow it; the
    /// store is away.
    pub async fn remove(&self, by: UserId, group: GroupId, user: UserId) -> Result<()> {
        if by == user {
            return self.leave(by, group).await;
        }
        self.rules.remove(group, by, user, self.clock.now()).await?;
        self.revocation.of_member(group.into(), user).await;
        Ok(())
    }

    /// Leaves. An owner hands over to the admin, else the member, who joined first; the last one
    /// out ends the group.
    ///
    /// # Errors
    /// Not found for outsiders; the store is away.
    pub async fn leave(&self, user: UserId, group: GroupId) -> Result<()> {
        self.rules.leave(group, user, self.clock.now()).await?;
        self.revocation.of_member(group.into(), user).await;
        Ok(())
    }

    async fn whole(&self, group: Group) -> Result<WholeGroup> {
        let members = self.store.members().all(group.id.into()).await?;
        let ids: Vec<UserId> = members.iter().map(|member| member.user).collect();
        let mut profiles = self.profiles.many(&ids).await?;
        let members: Vec<GroupMember> =
            members.iter().map(|member| shown(member, &mut profiles)).collect();
        let mut overview = GroupOverview::from(group);
        // Read a moment later than the count in the group's row: what is shown must agree.
        overview.member_count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        Ok(WholeGroup { overview, members })
    }

    async fn picture(&self, by: UserId, id: AttachmentId) -> Result<Attachment> {
        self.attachments.picture_of(by, id).await?.ok_or_else(not_a_picture)
    }
}

pub(super) fn shown(
    member: &Membership,
    profiles: &mut HashMap<UserId, PublicUser>,
) -> GroupMember {
    let user = profiles.remove(&member.user).unwrap_or_else(|| PublicUser::gone(member.user));
    GroupMember { user, role: member.role, joined_at: member.joined_at }
}
