//! Messages: who may send what, and how history reads.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::conversations::Conversations;
use super::outgoing::Outgoing;
use crate::cache::{Redis, pages};
use crate::domain::attachments::Attachment;
use crate::domain::clock::{Clock, random_bytes};
use crate::domain::conversations::{Kind, Summary};
use crate::domain::ids::{AttachmentId, ConversationId, MessageId, UserId};
use crate::domain::messages::{
    Draft, ExactlyOnce, Message, OthersMarks, Sent, Status, StoredMessage, Target,
};
use crate::domain::page::Limit;
use crate::domain::text::MessageText;
use crate::error::{Error, Result};
use crate::repositories::Repositories;

/// All files of one message together, in bytes.
const MAX_FILES_SIZE: u64 = 5 * 1024 * 1024;

/// A message that someone wants to send.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Where to.
    pub target: Target,
    /// What it says.
    pub text: MessageText,
    /// The sender's own files, in their order.
    pub attachments: Vec<AttachmentId>,
    /// The message of the same conversation that it answers.
    pub reply_to: Option<MessageId>,
    /// The sender's name for it, which makes sending it again harmless.
    pub client_message_id: Option<String>,
}

/// What sending came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The message, as it now stands.
    pub message: Message,
    /// Whether an earlier request of the same name had sent it.
    pub replayed: bool,
}

/// Which page of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The newest.
    Newest,
    /// The one next to a message, on its older side.
    Before(MessageId),
    /// The one next to a message, on its newer side.
    After(MessageId),
}

/// A page of history, newest first.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct History {
    /// Whose it is.
    pub conversation_id: ConversationId,
    /// Its messages, newest first.
    pub items: Vec<Message>,
    /// What to pass as `before` for the older page; `None` at the beginning.
    pub older_cursor: Option<MessageId>,
    /// What to pass as `after` for the newer page; `None` at the end.
    pub newer_cursor: Option<MessageId>,
}

/// The rules of messages.
#[derive(Debug)]
pub struct Messages {
    repositories: Repositories,
    conversations: Arc<Conversations>,
    outgoing: Outgoing,
    redis: Redis,
    clock: Clock,
    require_friendship: bool,
}

impl Messages {
    /// The rules over these repositories.
    #[must_use]
    pub fn new(
        repositories: &Repositories,
        conversations: Arc<Conversations>,
        outgoing: Outgoing,
        redis: Redis,
        clock: &Clock,
        require_friendship: bool,
    ) -> Self {
        let (repositories, clock) = (repositories.clone(), clock.clone());
        Self { repositories, conversations, outgoing, redis, clock, require_friendship }
    }

    /// Sends a message; what comes back is durable.
    ///
    /// # Errors
    /// `not_found` for a recipient that is not there or a group that one is not in;
    /// `recipient_unavailable`, `forbidden`; `idempotency_key_reused`; a bad field.
    pub async fn send(&self, sender: UserId, new: NewMessage) -> Result<Delivery> {
        self.check_may_write(sender, new.target).await?;
        let draft = self.draft(sender, &new).await?;
        // The writer looks for itself. Only what it answers may be gone since the first time.
        if new.reply_to.is_some()
            && let Some(first) = self.repositories.writer.sent_before(&draft).await?
        {
            return self.replay(sender, first).await;
        }
        self.check_reply(&draft, new.reply_to).await?;
        match self.outgoing.send(draft).await? {
            Sent::Before(first) => self.replay(sender, first).await,
            Sent::New(stored) => {
                let status = self.first_status(sender, new.target, stored.id).await?;
                let message = shown(&stored, &place(sender, new.target), status);
                Ok(Delivery { message, replayed: false })
            }
        }
    }

    async fn check_may_write(&self, sender: UserId, target: Target) -> Result<()> {
        match target {
            Target::User(peer) => {
                if !self.repositories.users.active(&[peer]).await?.contains(&peer) {
                    let known = self.repositories.users.public(&[peer]).await?;
                    // Whoever has deleted their account is known, and cannot be written to.
                    return Err(if known.is_empty() { Error::not_found() } else { unavailable() });
                }
                if !self.require_friendship || sender == peer {
                    return Ok(());
                }
                if self.repositories.relations.are_friends(sender, peer).await? {
                    return Ok(());
                }
                Err(Error::forbidden("forbidden", "only friends may write to each other here"))
            }
            Target::Group(group) => {
                let member = self.repositories.members.find(group.into(), sender).await?;
                member.map(|_| ()).ok_or_else(Error::not_found)
            }
        }
    }

    async fn draft(&self, sender: UserId, new: &NewMessage) -> Result<Draft> {
        let attachments = self.files(sender, &new.attachments).await?;
        let conversation = new.target.conversation(sender);
        let once = new.client_message_id.as_ref().map(|name| ExactlyOnce {
            client_message_id: name.clone(),
            fingerprint: fingerprint(conversation, new, &attachments),
        });
        Ok(Draft {
            sender,
            target: new.target,
            text: new.text.as_str().to_owned(),
            attachments,
            reply_to: new.reply_to.map(|message| message.seq),
            once,
            at: self.clock.now(),
            token: random_bytes(),
        })
    }

    /// The files that a message names: the sender's own, complete, together not too large.
    async fn files(&self, sender: UserId, ids: &[AttachmentId]) -> Result<Vec<Attachment>> {
        let mut wanted: Vec<AttachmentId> = Vec::with_capacity(ids.len());
        for id in ids {
            if !wanted.contains(id) {
                wanted.push(*id);
            }
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let refused = |code, message| Error::field("attachments", code, message);
        let files = self.repositories.attachments.own(sender, &wanted).await?;
        if files.len() < wanted.len() {
            return Err(refused("unknown", "each must be a file that you uploaded"));
        }
        if files.iter().map(|file| file.size).sum::<u64>() > MAX_FILES_SIZE {
            return Err(refused("too_large", "all files of a message together at most 5 MiB"));
        }
        Ok(files)
    }

    async fn check_reply(&self, draft: &Draft, reply_to: Option<MessageId>) -> Result<()> {
        let Some(reply_to) = reply_to else { return Ok(()) };
        let is_here = reply_to.conversation == draft.conversation();
        if is_here && self.repositories.messages.find(reply_to).await?.is_some() {
            return Ok(());
        }
        Err(Error::field("reply_to", "unknown", "must be a message of the same conversation"))
    }

    async fn replay(&self, sender: UserId, first: MessageId) -> Result<Delivery> {
        let summary = self.conversations.open(sender, first.conversation).await?;
        let stored = self.repositories.messages.find(first).await?.ok_or_else(Error::not_found)?;
        let marks = self.repositories.marks.lowest_in(&summary).await?;
        let status = marks.status(stored.sender, first.seq);
        let message = shown(&stored, &Place::of(&summary), status);
        Ok(Delivery { message, replayed: true })
    }

    /// The status of a message just sent: nobody else has seen it, unless there is nobody else.
    async fn first_status(&self, sender: UserId, target: Target, id: MessageId) -> Result<Status> {
        match target {
            Target::User(peer) if peer == sender => Ok(Status::Read),
            Target::User(_) => Ok(Status::Sent),
            Target::Group(_) => {
                let marks = self.repositories.marks.lowest(id.conversation).await?;
                Ok(marks.status(sender, id.seq))
            }
        }
    }

    /// A page of the history with a user, which may be empty.
    ///
    /// # Errors
    /// `not_found` where there is no such user; `invalid_cursor` for a mark of elsewhere.
    pub async fn history_with(
        &self,
        reader: UserId,
        peer: UserId,
        mark: Mark,
        limit: Limit,
    ) -> Result<History> {
        if let Some(summary) = self.conversations.direct(reader, peer).await? {
            return self.page(&summary, mark, limit).await;
        }
        if self.repositories.users.public(&[peer]).await?.is_empty() {
            return Err(Error::not_found());
        }
        match mark {
            Mark::Newest => Ok(History {
                conversation_id: ConversationId::direct(reader, peer),
                items: Vec::new(),
                older_cursor: None,
                newer_cursor: None,
            }),
            _ => Err(bad_mark()),
        }
    }

    /// A page of a conversation's history.
    ///
    /// # Errors
    /// `not_found` for outsiders; `invalid_cursor` for a mark of elsewhere.
    pub async fn history(
        &self,
        reader: UserId,
        conversation: ConversationId,
        mark: Mark,
        limit: Limit,
    ) -> Result<History> {
        let summary = self.conversations.open(reader, conversation).await?;
        self.page(&summary, mark, limit).await
    }

    async fn page(&self, summary: &Summary, mark: Mark, limit: Limit) -> Result<History> {
        let (stored, marks) = tokio::try_join!(
            Box::pin(self.stored_page(summary, mark, limit.get())),
            Box::pin(self.repositories.marks.lowest_in(summary)),
        )?;
        let place = Place::of(summary);
        let status = |m: &StoredMessage, marks: &OthersMarks| marks.status(m.sender, m.id.seq);
        let items: Vec<Message> =
            stored.iter().map(|m| shown(m, &place, status(m, &marks))).collect();
        // Numbers have no gaps: there is an older page unless this one begins with the first.
        let older_cursor = items.last().filter(|m| m.seq > 1).map(|m| m.id);
        let newer_cursor = items.first().filter(|m| m.seq < summary.last_seq).map(|m| m.id);
        Ok(History { conversation_id: summary.id, items, older_cursor, newer_cursor })
    }

    async fn stored_page(
        &self,
        summary: &Summary,
        mark: Mark,
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        let (id, last) = (summary.id, summary.last_seq);
        let is_known = |m: MessageId| m.conversation == id && (1..=last).contains(&m.seq);
        let messages = &self.repositories.messages;
        match mark {
            Mark::Newest if limit <= pages::PAGE => {
                let load = messages.newest(id, (1, last), pages::PAGE);
                let mut page = pages::newest(&self.redis, summary, load).await?;
                page.truncate(limit);
                Ok(page)
            }
            Mark::Newest => messages.newest(id, (1, last), limit).await,
            Mark::Before(m) if is_known(m) => messages.newest(id, (1, m.seq - 1), limit).await,
            Mark::After(m) if is_known(m) => messages.oldest(id, (m.seq + 1, last), limit).await,
            Mark::Before(_) | Mark::After(_) => Err(bad_mark()),
        }
    }
}

fn unavailable() -> Error {
    Error::forbidden("recipient_unavailable", "this user cannot be written to")
}

fn bad_mark() -> Error {
    Error::malformed("invalid_cursor", "the mark is not a message of this conversation")
}

/// What a message is about, whatever its spelling: where, text, files by content, what it answers.
fn fingerprint(conversation: ConversationId, new: &NewMessage, files: &[Attachment]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    part(&conversation.bytes());
    part(new.text.as_str().as_bytes());
    part(&new.reply_to.map_or([0; 24], MessageId::bytes));
    for file in files {
        part(file.sha256.as_bytes());
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// Where messages are: what of a conversation each of its messages repeats.
struct Place {
    kind: Kind,
    members: Vec<UserId>,
}

impl Place {
    fn of(summary: &Summary) -> Self {
        Self { kind: summary.kind, members: summary.members.clone() }
    }
}

fn place(sender: UserId, target: Target) -> Place {
    match target {
        Target::User(peer) => Place { kind: Kind::Direct, members: vec![sender, peer] },
        Target::Group(_) => Place { kind: Kind::Group, members: Vec::new() },
    }
}

fn shown(stored: &StoredMessage, place: &Place, status: Status) -> Message {
    let id = stored.id;
    let other = place.members.iter().find(|member| **member != stored.sender);
    let is_direct = place.kind == Kind::Direct;
    Message {
        id,
        conversation_id: id.conversation,
        conversation_type: place.kind,
        seq: id.seq,
        sender_id: stored.sender,
        recipient_user_id: is_direct.then(|| other.copied().unwrap_or(stored.sender)),
        group_id: (!is_direct).then(|| id.conversation.as_group()),
        message: stored.text.clone(),
        attachments: stored.attachments.clone(),
        reply_to: stored.reply_to.map(|seq| MessageId::new(id.conversation, seq)),
        mentions: Vec::new(),
        reactions: Vec::new(),
        pinned: false,
        status,
        client_message_id: stored.client_message_id.clone(),
        created_at: stored.at,
        edited_at: None,
        deleted_at: None,
    }
}
