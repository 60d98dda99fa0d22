//! Changes to messages that are there already: edits, deletions, reactions, pins. Each is one
//! transaction with all that follows from it, and raises its conversation's revision, so that no
//! page of history that was cached before it is used again.
//!
//! What changes a message meets every other change of its conversation at the summary, the writer
//! included: of two that run at once one starts again on what the other left.

mod deleting;
mod forgetting;
mod pins;
mod reacting;

use mongodb::bson::{Bson, Document, doc, serialize_to_bson};
use mongodb::options::ReturnDocument;

use super::attachment_uses::AttachmentUses;
use super::conversations::ConversationRow;
use super::deletions::Deletions;
use super::messages::{MessageRow, Messages};
use super::reactions::Reactions;
use super::store::{Collection, Store, Tx};
use super::turns::Turns;
use super::unindexed::Unindexed;
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Kind;
use crate::domain::events::{AddressedEvent, Event};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Changed, message_deleted};
use crate::domain::notifications::{Notification, NotificationId};
use crate::error::{Error, Result};
use crate::repositories::rows::sends::SendKey;

/// Changes messages.
#[derive(Debug, Clone)]
pub struct Revisions {
    store: Store,
    messages: Messages,
    conversations: Collection<ConversationRow>,
    members: Collection<Document>,
    sends: Collection<SendKey>,
    deletions: Deletions,
    reactions: Reactions,
    uses: AttachmentUses,
    unindexed: Unindexed,
    turns: Turns,
}

/// Another text for a message.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Which message.
    pub message: MessageId,
    /// What it is to say.
    pub text: String,
    /// Members whom it then mentions.
    pub mentions: Vec<UserId>,
    /// Those of them who are told, unless they were mentioned before.
    pub told: Vec<UserId>,
    /// What sort of conversation it is in.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
}

impl Revisions {
    /// What changes the messages of these shards.
    #[must_use]
    pub fn new(store: &Store, messages: Messages) -> Self {
        Self {
            store: store.clone(),
            messages,
            conversations: store.collection("conversations"),
            members: store.collection("members"),
            sends: store.collection("sends"),
            deletions: Deletions::new(store),
            reactions: Reactions::new(store),
            uses: AttachmentUses::new(store),
            unindexed: Unindexed::new(store),
            turns: Turns::new(),
        }
    }

    /// Gives a message another text; the same text changes nothing.
    ///
    /// # Errors
    /// Not found; `message_deleted`; the store is away.
    pub async fn edit(&self, edit: &Edit) -> Result<Changed> {
        let _turn = self.turns.of(edit.message.conversation.bytes()).await;
        let (this, edit) = (self.clone(), edit.clone());
        self.store
            .transact(async move |tx| {
                let before = this.standing(tx, edit.message).await?;
                if before.text == edit.text {
                    return Ok(Changed { message: before.into(), changed: false });
                }
                let set = doc! {
                    "text": &edit.text, "mentions": edit.mentions.clone(), "edited_at": edit.at,
                };
                let after = this.set(tx, edit.message, set).await?;
                this.revise(tx, edit.message.conversation, doc! {}).await?;
                this.unindexed.add(tx, [(edit.message, edit.at)]).await?;
                this.announce_updated(tx, edit.message, edit.at).await?;
                this.tell(tx, &before, &edit).await?;
                Ok(Changed { message: after.into(), changed: true })
            })
            .await
    }

    /// Tells everyone in the conversation that a message is to be seen anew.
    async fn announce_updated(&self, tx: &mut Tx, message: MessageId, at: Timestamp) -> Result<()> {
        self.announce(tx, message, Event::MessageUpdated { message }, at).await
    }

    /// Tells everyone in the conversation what became of a message.
    async fn announce(
        &self,
        tx: &mut Tx,
        message: MessageId,
        event: Event,
        at: Timestamp,
    ) -> Result<()> {
        let addressed = AddressedEvent::among(message.conversation, event);
        tx.events().add([addressed], at).await
    }

    /// Those newly mentioned are told, those no longer mentioned are not any more.
    async fn tell(&self, tx: &mut Tx, before: &MessageRow, edit: &Edit) -> Result<()> {
        let was = |user: &UserId| before.mentions.iter().any(|member| member.0 == *user);
        let told: Vec<Notification> = edit
            .told
            .iter()
            .filter(|user| !was(user))
            .map(|user| {
                Notification::mention(*user, before.sender, edit.kind, edit.message, edit.at)
            })
            .collect();
        for member in before.mentions.iter().filter(|member| !edit.mentions.contains(&member.0)) {
            let id = NotificationId::mention(member.0, edit.message);
            tx.notifications().withdraw(id).await?;
        }
        tx.notifications().raise_first(&told).await?;
        Ok(())
    }

    /// A message that can be changed.
    async fn standing(&self, tx: &mut Tx, id: MessageId) -> Result<MessageRow> {
        let row = self.find(tx, id).await?;
        if row.deleted_at.is_some() { Err(message_deleted()) } else { Ok(row) }
    }

    async fn find(&self, tx: &mut Tx, id: MessageId) -> Result<MessageRow> {
        let row = self.messages.shard(id.conversation).find_one(doc! { "_id": id });
        row.session(tx.session()).await?.ok_or_else(Error::not_found)
    }

    async fn set(&self, tx: &mut Tx, id: MessageId, set: Document) -> Result<MessageRow> {
        let row = self
            .messages
            .shard(id.conversation)
            .find_one_and_update(doc! { "_id": id }, doc! { "$set": set })
            .return_document(ReturnDocument::After);
        row.session(tx.session()).await?.ok_or_else(Error::not_found)
    }

    /// Raises the revision of a conversation, and changes what else there is to change of it.
    async fn revise(
        &self,
        tx: &mut Tx,
        conversation: ConversationId,
        mut change: Document,
    ) -> Result<()> {
        change.insert("$inc", doc! { "revision": 1_i64 });
        let row = doc! { "_id": conversation };
        let revised = self.conversations.update_one(row, change).session(tx.session()).await?;
        // A group that ended meanwhile takes its conversation along.
        if revised.matched_count == 1 { Ok(()) } else { Err(Error::not_found()) }
    }
}

fn stored(value: &impl serde::Serialize) -> Result<Bson> {
    serialize_to_bson(value).map_err(Error::internal)
}
