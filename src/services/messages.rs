//! Messages: who may send what; how history reads is in `history`.

mod actions;
mod changes;
mod files;
mod history;
mod mentions;
mod receipts;
pub(super) mod view;

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

pub use self::actions::MessageAction;
pub use self::changes::Changes;
pub use self::history::{History, Mark, Which};
pub use self::receipts::MessageReceipt;
pub use self::view::View;
use super::attachments::Attachments;
use super::conversations::Conversations;
use super::outgoing::{KnownKeys, Outgoing};
use super::unread::Unread;
use crate::cache::Redis;
use crate::domain::attachments::Attachment;
use crate::domain::clock::{Clock, random_bytes};
use crate::domain::conversations::{Summary, Target};
use crate::domain::ids::{AttachmentId, ConversationId, MessageId, UserId};
use crate::domain::messages::{
    Draft, ExactlyOnce, IdempotencyKey, Message, PeerReceipts, Sent, message_deleted,
};
use crate::domain::page::Cursors;
use crate::domain::relations::recipient_unavailable;
use crate::domain::text::MessageText;
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::store::Repositories;

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

/// The rules of messages.
#[derive(Debug)]
pub struct Messages {
    pub(super) repositories: Repositories,
    pub(super) conversations: Arc<Conversations>,
    pub(super) attachments: Arc<Attachments>,
    pub(super) changes: Changes,
    pub(super) outgoing: Outgoing,
    pub(super) redis: Redis,
    pub(super) view: View,
    pub(super) cursors: Cursors,
    pub(super) clock: Clock,
    pub(super) require_friendship: bool,
}

impl Messages {
    /// Sends a message; what comes back is durable.
    ///
    /// # Errors
    /// `not_found` for a recipient that is not there or a group that one is not in;
    /// `recipient_unavailable`, `forbidden`; `idempotency_key_reused`; a bad field.
    pub async fn send(&self, sender: UserId, new: NewMessage) -> Result<Delivery> {
        Box::pin(self.send_with(sender, new, Vec::new())).await
    }

    async fn deliver(
        &self,
        sender: UserId,
        new: &NewMessage,
        uploaded: &[Attachment],
    ) -> Result<Delivery> {
        let draft = self.draft(sender, new, uploaded).await?;
        failpoint::reach("send.drafted");
        // The writer looks for itself. Only what it answers may be gone since the first time.
        if new.reply_to.is_some()
            && let Some(first) = self.sent_before(&draft).await?
        {
            return self.replay(sender, first).await;
        }
        failpoint::reach("send.looked_up");
        self.check_reply(&draft, new.reply_to).await?;
        failpoint::reach("send.checked");
        let sent = self.outgoing.send(draft).await?;
        failpoint::reach("send.written");
        match sent {
            Sent::Before(first) => self.replay(sender, first).await,
            Sent::New(stored) => {
                let (summary, marks) = self.first_sight(sender, new.target, stored.id).await?;
                failpoint::reach("send.answer");
                let message = view::sent(&stored, &summary, &marks);
                Ok(Delivery { message, replayed: false })
            }
        }
    }

    /// The message that an earlier request of the same name has sent.
    async fn sent_before(&self, draft: &Draft) -> Result<Option<MessageId>> {
        let Some(key) = draft.idempotency_key() else { return Ok(None) };
        self.known_key(key).await?.sent_before(draft)
    }

    /// The uses of one idempotency key, read as the writer reads them.
    async fn known_key(&self, key: IdempotencyKey) -> Result<KnownKeys> {
        Ok(KnownKeys(self.repositories.writers.message_keys().find(&[key]).await?))
    }

    async fn check_may_write(&self, sender: UserId, target: Target) -> Result<()> {
        match target {
            Target::User(peer) => {
                let store = &self.repositories.store;
                let there = [peer];
                // A block that commits after this does not stop what is on its way.
                let (active, blocked) = tokio::try_join!(
                    store.users().active(&there),
                    store.relations().blocked_between(sender, peer),
                )?;
                if active.is_empty() && store.users().public(&[peer]).await?.is_empty() {
                    return Err(Error::not_found());
                }
                // Whoever has deleted their account is known, and cannot be written to either.
                if active.is_empty() || blocked {
                    return Err(recipient_unavailable());
                }
                if !self.require_friendship || sender == peer {
                    return Ok(());
                }
                if self.repositories.store.relations().are_friends(sender, peer).await? {
                    return Ok(());
                }
                Err(Error::forbidden(
                    "forbidden",
                    "permission denied: only friends may message each other",
                ))
            }
            Target::Group(group) => {
                let member = self.repositories.store.members().find(group.into(), sender).await?;
                member.map(|_| ()).ok_or_else(Error::not_found)
            }
        }
    }

    async fn draft(
        &self,
        sender: UserId,
        new: &NewMessage,
        uploaded: &[Attachment],
    ) -> Result<Draft> {
        let attachments = self.files(sender, &new.attachments, uploaded).await?;
        failpoint::reach("send.files");
        let conversation = new.target.conversation(sender);
        let once = new.client_message_id.as_ref().map(|name| ExactlyOnce {
            client_message_id: name.clone(),
            fingerprint: fingerprint(conversation, new, &attachments),
        });
        let mentioned = self.mentioned(sender, conversation, new.text.as_str()).await?;
        Ok(Draft {
            sender,
            target: new.target,
            text: new.text.as_str().to_owned(),
            attachments,
            reply_to: new.reply_to.map(|message| message.seq),
            mentions: mentioned.all,
            told: mentioned.told,
            once,
            at: self.clock.now(),
            token: random_bytes(),
        })
    }

    async fn check_reply(&self, draft: &Draft, reply_to: Option<MessageId>) -> Result<()> {
        let Some(reply_to) = reply_to else { return Ok(()) };
        let found = if reply_to.conversation == draft.conversation() {
            self.repositories.messages.find(reply_to).await?
        } else {
            None
        };
        match found {
            Some(message) if message.deleted_at.is_some() => Err(message_deleted()),
            Some(_) => Ok(()),
            None => {
                let message = "must be a message of the same conversation";
                Err(Error::field("reply_to", "unknown", message))
            }
        }
    }

    /// What an earlier request has sent. It was acknowledged, so a store that does not have it is
    /// a new primary that has not caught up yet.
    async fn replay(&self, sender: UserId, first: MessageId) -> Result<Delivery> {
        let behind = |error: Error| match error.kind() {
            Kind::NotFound => {
                Error::unavailable().with_source("an acknowledged message is missing")
            }
            _ => error,
        };
        let summary = self.conversations.open(sender, first.conversation).await.map_err(behind)?;
        failpoint::reach("replay.opened");
        let stored = self.repositories.messages.find(first).await?;
        let stored = stored.ok_or_else(|| behind(Error::not_found()))?;
        failpoint::reach("replay.found");
        let message = self.view.one(sender, &summary, stored).await?;
        failpoint::reach("replay.answer");
        Ok(Delivery { message, replayed: true })
    }

    /// What a message just sent looks like: nobody else has seen it, unless there is nobody else.
    async fn first_sight(
        &self,
        sender: UserId,
        target: Target,
        id: MessageId,
    ) -> Result<(Summary, PeerReceipts)> {
        match target {
            Target::User(peer) => {
                let unseen = Some((peer, 0)).filter(|_| peer != sender);
                let marks = PeerReceipts { read: [unseen, None], delivered: [unseen, None] };
                Ok((Summary::of_target(sender, target), marks))
            }
            Target::Group(_) => {
                let marks = Unread::new(&self.repositories.store).lowest(id.conversation).await?;
                Ok((Summary::of_target(sender, target), marks))
            }
        }
    }
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
