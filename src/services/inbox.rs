//! The inbox: all of one's conversations, the latest activity first.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::messages::View;
use super::unread::{Unread, UnreadState};
use super::user_directory::UserDirectory;
use crate::domain::attachments::Attachment;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::conversations::{InboxPosition, Kind, Summary};
use crate::domain::groups::Group;
use crate::domain::ids::{ConversationId, GroupId, MessageId, UserId};
use crate::domain::messages::Message;
use crate::domain::page::{Cursors, Limit, ListScope, Page};
use crate::domain::users::PublicUser;
use crate::error::{Error, Result};
use crate::store::Repositories;

/// A conversation as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// What sort it is.
    pub r#type: Kind,
    /// Of a direct one, the other user; oneself, where one writes to oneself.
    pub peer: Option<PublicUser>,
    /// Of a group's, the group.
    pub group: Option<GroupBrief>,
    /// Its last message; `None` before the first.
    pub last_message: Option<Message>,
    /// That message's number; 0 before the first.
    #[schema(example = 7)]
    pub last_seq: u64,
    /// Read up to here.
    #[schema(example = 7)]
    pub read_seq: u64,
    /// What others wrote after that and did not delete.
    #[schema(example = 0)]
    pub unread_count: u64,
    /// Raises no notifications before this moment.
    pub muted_until: Option<Timestamp>,
    /// When its last message was sent, or, before the first, when it began.
    pub updated_at: Timestamp,
}

/// A group as far as its conversation shows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GroupBrief {
    /// Its id.
    pub id: GroupId,
    /// What it is called.
    #[schema(example = "Analytical engines")]
    pub group_name: String,
    /// Its picture.
    pub group_picture: Option<Attachment>,
    /// How many are in it.
    pub member_count: u32,
}

impl From<Group> for GroupBrief {
    fn from(group: Group) -> Self {
        Self {
            id: group.id,
            group_name: group.name,
            group_picture: group.picture,
            member_count: group.member_count,
        }
    }
}

/// The rules of the inbox.
#[derive(Debug)]
pub struct Inbox {
    pub(super) repositories: Repositories,
    pub(super) unread: Unread,
    pub(super) profiles: Arc<UserDirectory>,
    pub(super) view: View,
    pub(super) cursors: Cursors,
    pub(super) clock: Clock,
}

impl Inbox {
    /// A page of someone's conversations. One with new activity during a walk may be missing from
    /// it: it leads the next.
    ///
    /// # Errors
    /// `invalid_cursor`; or the store is away.
    pub async fn page(
        &self,
        reader: UserId,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<Conversation>> {
        let scope = ListScope { list: "conversations", reader };
        let before: Option<InboxPosition> = self.cursors.resume(scope, cursor)?;
        let found = self.unread.inbox(reader, before, limit.get() + 1).await?;
        let page = self.cursors.page(scope, limit, found, |state| InboxPosition {
            at: state.summary.last_at,
            id: state.summary.id,
        });
        let items = self.shown(reader, page.items).await?;
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// One conversation.
    ///
    /// # Errors
    /// `not_found` for outsiders, and where nothing was ever said; or the store is away.
    pub async fn one(&self, reader: UserId, id: ConversationId) -> Result<Conversation> {
        let state = self.unread.of(id, reader).await?.ok_or_else(Error::not_found)?;
        let mut shown = self.shown(reader, vec![state]).await?;
        // A group that ended since is not there any more.
        shown.pop().ok_or_else(Error::not_found)
    }

    /// Mutes a conversation until a moment, or ends that.
    ///
    /// # Errors
    /// `not_found` for outsiders; or the store is away.
    pub async fn mute(
        &self,
        reader: UserId,
        id: ConversationId,
        until: Option<Timestamp>,
    ) -> Result<Conversation> {
        if !self.repositories.store.members().mute(id, reader, until).await? {
            return Err(Error::not_found());
        }
        self.one(reader, id).await
    }

    async fn shown(&self, reader: UserId, states: Vec<UnreadState>) -> Result<Vec<Conversation>> {
        let summaries: Vec<&Summary> = states.iter().map(|state| &state.summary).collect();
        let (lasts, peers, groups) = tokio::try_join!(
            Box::pin(self.last_messages(reader, &summaries)),
            Box::pin(self.peers(reader, &summaries)),
            Box::pin(self.groups(&summaries)),
        )?;
        let now = self.clock.now();
        let shown = states.iter().filter_map(|state| {
            let UnreadState { summary, membership, unread_count } = state;
            let group = groups.get(&summary.id).cloned();
            if summary.kind == Kind::Group && group.is_none() {
                return None;
            }
            let peer = summary.peer_of(reader);
            Some(Conversation {
                id: summary.id,
                r#type: summary.kind,
                peer: peer.map(|peer| {
                    peers.get(&peer).cloned().unwrap_or_else(|| PublicUser::gone(peer))
                }),
                group,
                last_message: lasts.get(&summary.id).cloned(),
                last_seq: summary.last_seq,
                read_seq: membership.read_seq,
                unread_count: *unread_count,
                muted_until: membership.muted_until.filter(|until| *until > now),
                updated_at: summary.last_at,
            })
        });
        Ok(shown.collect())
    }

    async fn last_messages(
        &self,
        reader: UserId,
        summaries: &[&Summary],
    ) -> Result<HashMap<ConversationId, Message>> {
        let begun = summaries.iter().filter(|summary| summary.last_seq > 0);
        let ids: Vec<MessageId> =
            begun.map(|summary| MessageId::new(summary.id, summary.last_seq)).collect();
        let stored = self.repositories.messages.many(&ids).await?;
        let shown = self.view.of(reader, summaries, &stored).await?;
        Ok(shown.into_iter().map(|message| (message.conversation_id, message)).collect())
    }

    async fn peers(
        &self,
        reader: UserId,
        summaries: &[&Summary],
    ) -> Result<HashMap<UserId, PublicUser>> {
        let peers: Vec<UserId> = summaries.iter().filter_map(|it| it.peer_of(reader)).collect();
        self.profiles.many(&peers).await
    }

    async fn groups(&self, summaries: &[&Summary]) -> Result<HashMap<ConversationId, GroupBrief>> {
        let groups = summaries.iter().filter(|summary| summary.kind == Kind::Group);
        let ids: Vec<GroupId> = groups.map(|summary| summary.id.as_group()).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.repositories.store.groups().find_all(&ids).await?;
        Ok(found.into_iter().map(|group| (group.id.into(), group.into())).collect())
    }
}
