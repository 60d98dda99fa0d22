//! Reads the state that frames show, for many events together.

use std::collections::{HashMap, HashSet};

use super::Frames;
use super::data::{
    Data, FriendChange, GroupDeleted, Mark, MemberChange, MemberRemoved, MessageDeleted, Muted,
    NotificationRead, ProfileChange, ReactionChange,
};
use crate::domain::conversations::{Membership, Summary};
use crate::domain::events::{AudienceKind, Event};
use crate::domain::ids::{ConversationId, GroupId, MessageId, UserId};
use crate::domain::messages::Message;
use crate::domain::notifications::NotificationId;
use crate::domain::users::PublicUser;
use crate::error::Result;
use crate::services::groups::{GroupMember, GroupOverview};
use crate::services::notifications::Item;

/// Messages of one command.
const MESSAGE_BATCH: usize = 100;

/// The present state that the frames of some events show.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    messages: HashMap<MessageId, Message>,
    people: HashMap<UserId, PublicUser>,
    groups: HashMap<GroupId, GroupOverview>,
    members: HashMap<(GroupId, UserId), Membership>,
    notifications: HashMap<NotificationId, Item>,
    /// The count of unread notifications, if an event shows it.
    unread: u64,
    /// Users whose profile changed, from the store: the cache may have the old profile.
    changed: HashMap<UserId, PublicUser>,
}

/// The ids whose state the frames show.
#[derive(Debug, Default)]
struct RequiredIds {
    messages: HashSet<MessageId>,
    people: HashSet<UserId>,
    groups: HashSet<GroupId>,
    members: HashSet<(GroupId, UserId)>,
    notifications: HashSet<NotificationId>,
    unread: bool,
    changed: HashSet<UserId>,
}

impl RequiredIds {
    fn by(events: &[&Event]) -> Self {
        let mut required = Self::default();
        for event in events {
            match event {
                Event::MessageCreated { message } | Event::MessageUpdated { message } => {
                    required.messages.insert(*message);
                }
                Event::FriendRequested { user }
                | Event::FriendAccepted { user }
                | Event::FriendRemoved { user } => {
                    required.people.insert(*user);
                }
                Event::GroupCreated { group } | Event::GroupUpdated { group } => {
                    required.groups.insert(*group);
                }
                Event::MemberAdded { group, user } | Event::MemberUpdated { group, user } => {
                    required.people.insert(*user);
                    required.members.insert((*group, *user));
                }
                Event::NotificationCreated { notification } => {
                    required.notifications.insert(*notification);
                }
                Event::NotificationRead { .. } => required.unread = true,
                Event::ProfileUpdated { user } => {
                    required.changed.insert(*user);
                }
                Event::MessageDeleted { .. }
                | Event::ReactionAdded { .. }
                | Event::ReactionRemoved { .. }
                | Event::Read { .. }
                | Event::Delivered { .. }
                | Event::Muted { .. }
                | Event::GroupDeleted { .. }
                | Event::MemberRemoved { .. } => {}
            }
        }
        required
    }
}

impl Loaded {
    pub async fn load(frames: &Frames, reader: UserId, events: &[&Event]) -> Result<Self> {
        let required = RequiredIds::by(events);
        let mut loaded = Self::default();
        if !required.messages.is_empty() {
            loaded.messages = messages(frames, reader, required.messages).await?;
        }
        if !required.people.is_empty() {
            let people: Vec<UserId> = required.people.into_iter().collect();
            loaded.people = frames.profiles.many(&people).await?;
        }
        if !required.groups.is_empty() {
            let ids: Vec<GroupId> = required.groups.into_iter().collect();
            let found = frames.repositories.store.groups().find_all(&ids).await?;
            loaded.groups = found.into_iter().map(|group| (group.id, group.into())).collect();
        }
        for (group, user) in required.members {
            let found = frames.repositories.store.members().find(group.into(), user).await?;
            loaded.members.extend(found.map(|member| ((group, user), member)));
        }
        if !required.notifications.is_empty() {
            let ids: Vec<NotificationId> = required.notifications.into_iter().collect();
            let found = frames.notifications.some(reader, &ids).await?;
            loaded.notifications = found.into_iter().map(|item| (item.id, item)).collect();
        }
        if required.unread {
            loaded.unread = frames.notifications.unread_of(reader).await?;
        }
        if !required.changed.is_empty() {
            let changed: Vec<UserId> = required.changed.into_iter().collect();
            let found = frames.repositories.store.users().public(&changed).await?;
            loaded.changed = found.into_iter().map(|user| (user.id, user)).collect();
        }
        Ok(loaded)
    }

    /// The `data` of the frame of an event; `None` if its subject is gone.
    #[expect(clippy::too_many_lines, reason = "a table of events")]
    pub fn data(&self, event: &Event) -> Option<Data> {
        Some(match event {
            Event::MessageCreated { message } | Event::MessageUpdated { message } => {
                Data::Message(Box::new(self.messages.get(message)?.clone()))
            }
            Event::MessageDeleted { message, at } => Data::Deleted(MessageDeleted {
                conversation_id: message.conversation,
                message_id: *message,
                seq: message.seq,
                deleted_at: *at,
            }),
            Event::ReactionAdded { message, user, emoji, count }
            | Event::ReactionRemoved { message, user, emoji, count } => {
                Data::Reaction(ReactionChange {
                    conversation_id: message.conversation,
                    message_id: *message,
                    user_id: *user,
                    emoji: emoji.clone(),
                    count: *count,
                })
            }
            Event::Read { conversation, user, seq }
            | Event::Delivered { conversation, user, seq } => {
                Data::Mark(Mark { conversation_id: *conversation, user_id: *user, seq: *seq })
            }
            Event::Muted { conversation, until } => {
                Data::Muted(Muted { conversation_id: *conversation, muted_until: *until })
            }
            Event::FriendRequested { user }
            | Event::FriendAccepted { user }
            | Event::FriendRemoved { user } => {
                Data::Friend(FriendChange { user: self.people.get(user)?.clone() })
            }
            Event::GroupCreated { group } | Event::GroupUpdated { group } => {
                Data::Group(Box::new(self.groups.get(group)?.clone()))
            }
            Event::GroupDeleted { group } => Data::GroupDeleted(GroupDeleted { group_id: *group }),
            Event::MemberAdded { group, user } | Event::MemberUpdated { group, user } => {
                Data::Member(Box::new(self.member(*group, *user)?))
            }
            Event::MemberRemoved { group, user } => {
                Data::MemberRemoved(MemberRemoved { group_id: *group, user_id: *user })
            }
            Event::NotificationCreated { notification } => {
                Data::Notification(Box::new(self.notifications.get(notification)?.clone()))
            }
            Event::NotificationRead { ids, all } => {
                let (ids, all, unread_count) = (ids.clone(), *all, self.unread);
                Data::NotificationRead(NotificationRead { ids, all, unread_count })
            }
            Event::ProfileUpdated { user } => {
                Data::Profile(ProfileChange { user: self.changed.get(user)?.clone() })
            }
        })
    }

    fn member(&self, group: GroupId, user: UserId) -> Option<MemberChange> {
        let member = self.members.get(&(group, user))?;
        let profile = self.people.get(&user).cloned();
        let shown = GroupMember {
            user: profile.unwrap_or_else(|| PublicUser::gone(user)),
            role: member.role,
            joined_at: member.joined_at,
        };
        Some(MemberChange { group_id: group, member: shown })
    }
}

async fn messages(
    frames: &Frames,
    reader: UserId,
    ids: HashSet<MessageId>,
) -> Result<HashMap<MessageId, Message>> {
    let ids: Vec<MessageId> = ids.into_iter().collect();
    let conversations: HashSet<ConversationId> = ids.iter().map(|id| id.conversation).collect();
    let conversations: Vec<ConversationId> = conversations.into_iter().collect();
    let summaries = frames.repositories.store.conversations().many(&conversations).await?;
    let mut stored = Vec::with_capacity(ids.len());
    for some in ids.chunks(MESSAGE_BATCH) {
        stored.extend(frames.repositories.messages.many(some).await?);
    }
    // The conversation of a deleted group is gone.
    stored.retain(|it| summaries.iter().any(|summary| summary.id == it.id.conversation));
    let summaries: Vec<&Summary> = summaries.iter().collect();
    let shown = frames.view.of(reader, &summaries, &stored).await?;
    Ok(shown.into_iter().map(|message| (message.id, message)).collect())
}

/// The conversations of a reader, and the friends among the users of events.
#[derive(Debug)]
pub(super) struct Visibility {
    reader: UserId,
    memberships: HashSet<ConversationId>,
    friends: HashSet<UserId>,
}

impl Visibility {
    /// Whether the reader may see a logged event.
    pub fn sees(&self, event: &Event) -> bool {
        let is_subject = event.subject() == Some(self.reader);
        let is_member = || event.conversation().is_some_and(|it| self.memberships.contains(&it));
        match event.kind().audience() {
            AudienceKind::Reader | AudienceKind::FormerMembers => true,
            AudienceKind::Members | AudienceKind::EarlierMembers | AudienceKind::MarkReaders => {
                is_member()
            }
            AudienceKind::MembersAndSubject => is_subject || is_member(),
            AudienceKind::SubjectAndFriends => {
                is_subject || event.subject().is_some_and(|it| self.friends.contains(&it))
            }
        }
    }
}

impl Loaded {
    pub async fn visibility(
        &self,
        frames: &Frames,
        reader: UserId,
        events: &[&Event],
    ) -> Result<Visibility> {
        let required: HashSet<ConversationId> =
            events.iter().filter_map(|event| event.conversation()).collect();
        let required: Vec<ConversationId> = required.into_iter().collect();
        let mut memberships = HashSet::new();
        if !required.is_empty() {
            memberships = frames.repositories.store.members().places(reader, &required).await?;
        }
        let others: Vec<UserId> =
            self.changed.keys().copied().filter(|user| *user != reader).collect();
        let friends = frames.repositories.store.relations().friends_among(reader, &others).await?;
        Ok(Visibility { reader, memberships, friends })
    }
}
