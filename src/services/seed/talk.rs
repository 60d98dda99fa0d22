//! Loading what is said: each message once and in its place, by its `client_message_id`.

use std::collections::HashMap;

use super::fixture::{ConversationEntry, FixtureError, MessageEntry};
use super::load::{Load, patiently};
use crate::domain::conversations::Target;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::{Error, Result};
use crate::services::messages::NewMessage;
use crate::store::Repositories;

/// Messages that are looked through at a time.
const PAGE: usize = 100;

impl Load<'_> {
    /// Sends what of a conversation was not sent yet, in its order.
    pub(super) async fn talk(&self, entry: &ConversationEntry) -> Result<usize, FixtureError> {
        let at = self.at("conversations.json", &entry.id);
        let mut sent = self.sent(entry).await.map_err(at)?;
        let mut made = 0;
        for (n, message) in (1..).zip(&entry.messages) {
            if sent.contains_key(&n) {
                continue;
            }
            let place = format!("{}: message {n}", entry.id);
            let id = patiently(async || self.send(entry, n, message, &sent).await).await;
            sent.insert(n, id.map_err(self.at("conversations.json", place))?);
            made += 1;
        }
        Ok(made)
    }

    async fn send(
        &self,
        entry: &ConversationEntry,
        n: usize,
        message: &MessageEntry,
        sent: &HashMap<usize, MessageId>,
    ) -> Result<MessageId> {
        let sender = message.from.id(self.name());
        let new = NewMessage {
            target: self.target(entry, sender)?,
            text: message.text.clone(),
            attachments: message.attachments.iter().map(|file| file.id(self.name())).collect(),
            reply_to: message.reply_to.and_then(|answered| sent.get(&answered).copied()),
            client_message_id: Some(entry.client_message_id(self.name(), n)),
        };
        let delivery = self.seeder.services.messages.send(sender, new).await?;
        Ok(delivery.message.id)
    }

    fn target(&self, entry: &ConversationEntry, sender: UserId) -> Result<Target> {
        match (&entry.between, &entry.group) {
            (Some([one, other]), _) => {
                let (one, other) = (one.id(self.name()), other.id(self.name()));
                Ok(Target::User(if one == sender { other } else { one }))
            }
            (None, Some(group)) => Ok(Target::Group(group.id(self.name()))),
            (None, None) => Err(Error::internal("a conversation of nobody")),
        }
    }

    /// The messages that are there already, by their numbers in the fixture. They are among the
    /// first of their conversation, unless people wrote before; it is read to its end only where
    /// some are missing.
    async fn sent(&self, entry: &ConversationEntry) -> Result<HashMap<usize, MessageId>> {
        let mut missing: HashMap<(UserId, String), usize> = (1..)
            .zip(&entry.messages)
            .map(|(n, message)| {
                let name = entry.client_message_id(self.name(), n);
                ((message.from.id(self.name()), name), n)
            })
            .collect();
        let mut sent = HashMap::new();
        let Some(first) = entry.messages.first() else { return Ok(sent) };
        let sender = first.from.id(self.name());
        let conversation: ConversationId = self.target(entry, sender)?.conversation(sender);
        let Repositories { store, messages, .. } = &self.seeder.repositories;
        let last = store.conversations().last_seq(conversation).await?;
        let mut next = 1;
        while next <= last && !missing.is_empty() {
            let page = messages.oldest(conversation, (next, last), PAGE).await?;
            let Some(newest) = page.first() else { break };
            next = newest.id.seq + 1;
            for message in page {
                let Some(name) = message.client_message_id else { continue };
                if let Some(n) = missing.remove(&(message.sender, name)) {
                    sent.insert(n, message.id);
                }
            }
        }
        Ok(sent)
    }
}
