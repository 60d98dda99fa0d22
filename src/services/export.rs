//! One's own data as one JSON document, written piece by piece: however much it is, only a page of
//! one list is held at a time.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Serialize;

use super::blocks::Blocks;
use super::budget::{Share, UnreadAnswers, held};
use super::friends::Friends;
use super::groups::Groups;
use super::profile::Profile;
use super::sessions::Sessions;
use crate::domain::attachments::Attachment;
use crate::domain::clients::Subject;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{AttachmentId, ConversationId, GroupId, MessageId, SessionId, UserId};
use crate::domain::messages::StoredMessage;
use crate::domain::page::{Limit, Page};
use crate::domain::relations::Standing;
use crate::error::{Error, Result};
use crate::store::Repositories;

/// Messages that are read in one go: at 8000 characters each, all escaped, less than a megabyte.
const MESSAGES: usize = 16;

/// KiB of a document that are in memory at most: the piece that is being sent, and the next.
const IN_MEMORY: u32 = 2048;

/// How long a document waits for others to be read.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Items of other lists that are read in one go.
const ITEMS: u8 = 100;

/// Puts together what someone has here.
#[derive(Debug, Clone)]
pub struct Exports {
    pub(super) repositories: Repositories,
    pub(super) profile: Arc<Profile>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) friends: Arc<Friends>,
    pub(super) blocks: Arc<Blocks>,
    pub(super) groups: Arc<Groups>,
    pub(super) unread: Arc<UnreadAnswers>,
}

/// A message that one has sent, also where one cannot read any more.
#[derive(Debug, Serialize)]
struct SentMessage {
    id: MessageId,
    conversation_id: ConversationId,
    seq: u64,
    recipient_user_id: Option<UserId>,
    group_id: Option<GroupId>,
    message: String,
    attachments: Vec<Attachment>,
    reply_to: Option<MessageId>,
    mentions: Vec<UserId>,
    client_message_id: Option<String>,
    created_at: Timestamp,
    edited_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
}

impl SentMessage {
    /// `peer` is whom a direct conversation is with. What is not direct is a group's, whether
    /// that is still there or not.
    fn new(stored: StoredMessage, peer: Option<UserId>) -> Self {
        let id = stored.id;
        Self {
            id,
            conversation_id: id.conversation,
            seq: id.seq,
            recipient_user_id: peer,
            group_id: peer.is_none().then(|| id.conversation.as_group()),
            message: stored.text,
            attachments: stored.attachments,
            reply_to: stored.reply_to.map(|seq| MessageId::new(id.conversation, seq)),
            mentions: stored.mentions,
            client_message_id: stored.client_message_id,
            created_at: stored.at,
            edited_at: stored.edited_at,
            deleted_at: stored.deleted_at,
        }
    }
}

/// The lists of the document, in its order, and how far each has been written.
#[derive(Debug)]
enum Place {
    Sessions(Option<String>),
    Friends(Standing, Option<String>),
    Blocks(Option<String>),
    Groups(Option<String>),
    Messages(Option<MessageId>),
    Attachments(Option<AttachmentId>),
}

impl Place {
    /// The name of its list, where this is the beginning of one.
    fn begins(&self) -> Option<&'static str> {
        match self {
            Self::Sessions(None) => Some("sessions"),
            Self::Friends(Standing::Accepted, None) => Some("friends"),
            Self::Blocks(None) => Some("blocks"),
            Self::Groups(None) => Some("groups"),
            Self::Messages(None) => Some("messages"),
            Self::Attachments(None) => Some("attachments"),
            Self::Friends(..)
            | Self::Sessions(Some(_))
            | Self::Blocks(Some(_))
            | Self::Groups(Some(_))
            | Self::Messages(Some(_))
            | Self::Attachments(Some(_)) => None,
        }
    }
}

/// How far a document has been written.
#[derive(Debug)]
struct Writing {
    exports: Exports,
    share: Arc<Share<Subject>>,
    user: UserId,
    session: SessionId,
    /// The next thing to write; `None` past the last.
    place: Option<Place>,
    /// What is written and not yet given away.
    text: String,
    /// Whether the list that is being written has an item.
    has_item: bool,
}

impl Exports {
    /// The document of someone who is signed in. Each piece is read when the one before it has
    /// been taken. An error in the middle means that the document is not whole.
    ///
    /// # Errors
    /// When the store is away before the document begins, or too many are not read.
    pub async fn write(
        &self,
        user: UserId,
        session: SessionId,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        let share = self.unread.acquire(Subject::Account(user), IN_MEMORY, QUEUE_TIMEOUT).await;
        let share =
            share.ok_or_else(|| Error::unavailable().with_source("too many unread exports"))?;
        let profile = json(&self.profile.get(user).await?)?;
        let writing = Writing {
            exports: self.clone(),
            share: Arc::new(share),
            user,
            session,
            place: Some(Place::Sessions(None)),
            text: format!("{{\"profile\":{profile}"),
            has_item: false,
        };
        Ok(stream::try_unfold(writing, |mut writing| async move {
            let Some(place) = writing.place.take() else { return Ok(None) };
            writing.place = writing.write(place).await?;
            if writing.place.is_none() {
                writing.text.push_str("]}\n");
            }
            let piece = Bytes::from(std::mem::take(&mut writing.text));
            let piece = held(piece, writing.share.clone());
            Ok(Some((piece, writing)))
        }))
    }
}

impl Writing {
    /// Writes a page of a list, and says what comes after it.
    async fn write(&mut self, place: Place) -> Result<Option<Place>> {
        if let Some(name) = place.begins() {
            let end = if matches!(place, Place::Sessions(_)) { "" } else { "]" };
            let _ = write!(self.text, "{end},\"{name}\":[");
            self.has_item = false;
        }
        let (user, limit) = (self.user, Limit::new(ITEMS.into()).unwrap_or_default());
        match place {
            Place::Sessions(cursor) => {
                let sessions = self.exports.sessions.clone();
                let page = sessions.list(user, self.session, limit, cursor.as_deref()).await?;
                let friends = Place::Friends(Standing::Accepted, None);
                self.page(page, |next| Place::Sessions(Some(next)), friends)
            }
            Place::Friends(standing, cursor) => {
                let friends = self.exports.friends.clone();
                let page = friends.list(user, standing, limit, cursor.as_deref()).await?;
                let then = match standing {
                    Standing::Accepted => Place::Friends(Standing::Incoming, None),
                    Standing::Incoming => Place::Friends(Standing::Outgoing, None),
                    Standing::Outgoing => Place::Blocks(None),
                };
                self.page(page, |next| Place::Friends(standing, Some(next)), then)
            }
            Place::Blocks(cursor) => {
                let blocks = self.exports.blocks.clone();
                let page = blocks.list(user, limit, cursor.as_deref()).await?;
                self.page(page, |next| Place::Blocks(Some(next)), Place::Groups(None))
            }
            Place::Groups(cursor) => {
                let groups = self.exports.groups.clone();
                let page = groups.list(user, limit, cursor.as_deref()).await?;
                self.page(page, |next| Place::Groups(Some(next)), Place::Messages(None))
            }
            Place::Messages(after) => self.messages(after).await,
            Place::Attachments(after) => self.attachments(after).await,
        }
    }

    fn page<T: Serialize>(
        &mut self,
        page: Page<T>,
        next: impl FnOnce(String) -> Place,
        then: Place,
    ) -> Result<Option<Place>> {
        self.items(&page.items)?;
        Ok(Some(page.next_cursor.map_or(then, next)))
    }

    async fn messages(&mut self, after: Option<MessageId>) -> Result<Option<Place>> {
        let Repositories { store, messages, .. } = &self.exports.repositories;
        let ids = store.sends().sent(self.user, after, MESSAGES).await?;
        let Some(last) = ids.last().copied() else { return Ok(Some(Place::Attachments(None))) };
        let mut conversations: Vec<_> = ids.iter().map(|id| id.conversation).collect();
        conversations.dedup();
        let (summaries, mut stored) =
            tokio::try_join!(store.conversations().many(&conversations), messages.many(&ids))?;
        let peers: HashMap<ConversationId, UserId> = summaries
            .iter()
            .filter_map(|summary| Some((summary.id, summary.peer_of(self.user)?)))
            .collect();
        // They come in no order.
        stored.sort_unstable_by_key(|message| message.id.bytes());
        let sent = stored.into_iter().map(|message| {
            let peer = peers.get(&message.id.conversation).copied();
            SentMessage::new(message, peer)
        });
        let sent: Vec<SentMessage> = sent.collect();
        self.items(&sent)?;
        Ok(Some(Place::Messages(Some(last))))
    }

    async fn attachments(&mut self, after: Option<AttachmentId>) -> Result<Option<Place>> {
        let files = self.exports.repositories.store.attachments();
        let files = files.uploaded(self.user, after, ITEMS.into()).await?;
        self.items(&files)?;
        Ok(files.last().map(|file| Place::Attachments(Some(file.id))))
    }

    fn items<T: Serialize>(&mut self, items: &[T]) -> Result<()> {
        for item in items {
            if std::mem::replace(&mut self.has_item, true) {
                self.text.push(',');
            }
            self.text.push_str(&json(item)?);
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}
