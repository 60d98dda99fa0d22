//! The message writer: many drafts in, an answer for each out, one majority transaction.
//!
//! What belongs to a message is written with it or not at all: the message under the next number
//! of its conversation, its exactly-once key, its row among its sender's own messages, the uses of
//! its files, the conversation's summary and the marks of its members. Two writers on one
//! conversation meet at its summary: the later one conflicts, and runs again on what is there now.

mod plan;
mod talk;
mod updates;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mongodb::bson::{Binary, Bson, Document, doc};
use mongodb::{ClientSession, Collection};
use serde::Deserialize;

pub(super) use self::plan::SendRow;
use self::plan::{KeyRow, Plan, key_of, member_key, same};
pub(super) use self::talk::TalkRows;
use self::updates::{key_update, member_updates, summary_updates};
use super::attachment_uses::AttachmentUses;
use super::bson::binary;
use super::conversations::ConversationRow;
use super::messages::{Messages, token};
use super::notifications::Notifications;
use super::store::{Abort, Store, within};
use crate::domain::ids::{ConversationId, MessageId};
use crate::domain::messages::{Draft, Sent};
use crate::error::{Error, Kind as ErrorKind, Result};

/// What a transaction reads of a member.
#[derive(Debug, Deserialize)]
struct OwnTotal {
    #[serde(rename = "_id")]
    key: Binary,
    own_total: u64,
}

/// Writes messages.
#[derive(Debug, Clone)]
pub struct Writer {
    store: Store,
    messages: Messages,
    conversations: Collection<ConversationRow>,
    members: Collection<OwnTotal>,
    keys: Collection<KeyRow>,
    sends: Collection<SendRow>,
    uses: Collection<Document>,
    notifications: Notifications,
    files: AttachmentUses,
}

impl Writer {
    /// A writer into these shards.
    #[must_use]
    pub fn new(store: &Store, messages: Messages) -> Self {
        Self {
            store: store.clone(),
            messages,
            conversations: store.collection("conversations"),
            members: store.collection("members"),
            keys: store.collection("message_keys"),
            sends: store.collection("sends"),
            uses: store.collection("attachment_uses"),
            notifications: Notifications::new(store),
            files: AttachmentUses::new(store),
        }
    }

    /// What a sender's name for a message has led to, if it was used.
    ///
    /// # Errors
    /// `idempotency_key_reused` when it was about something else; or the store is away.
    pub async fn sent_before(&self, draft: &Draft) -> Result<Option<MessageId>> {
        let Some(key) = key_of(draft) else { return Ok(None) };
        let alive = doc! { "_id": binary(key), "expires_at": { "$gt": draft.at } };
        let row = within(self.keys.find_one(alive)).await?;
        row.map(|row| same(&row, draft)).transpose()
    }

    /// Writes drafts of one shard, each whole or not at all, and answers each, in their order.
    /// Numbers follow the order of the drafts.
    pub async fn write(&self, drafts: Vec<Draft>) -> Vec<Result<Sent>> {
        let drafts = Arc::new(drafts);
        match self.write_together(drafts.clone()).await {
            Ok(answers) => answers,
            // A defect in one must not fail the others: each by itself.
            Err(error) if error.kind() == ErrorKind::Internal && drafts.len() > 1 => {
                let mut answers = Vec::with_capacity(drafts.len());
                for draft in drafts.iter().cloned() {
                    let answer = self.write_together(Arc::new(vec![draft])).await;
                    answers.push(answer.and_then(|mut one| one.remove(0)));
                }
                answers
            }
            Err(error) => drafts.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn write_together(&self, drafts: Arc<Vec<Draft>>) -> Result<Vec<Result<Sent>>> {
        let assigned = Arc::new(Mutex::new(Vec::new()));
        // The transaction's future must own what it uses: borrowed, it is not provably `Send`.
        let (this, batch, numbers) = (self.clone(), drafts.clone(), assigned.clone());
        let written = self.store.transact(async move |session| {
            let mut plan = this.plan(session, &batch).await?;
            let answers = std::mem::take(&mut plan.answers);
            numbers.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&answers);
            this.apply(session, plan).await?;
            Ok(answers)
        });
        match written.await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                let assigned =
                    std::mem::take(&mut *assigned.lock().unwrap_or_else(PoisonError::into_inner));
                self.settle(&drafts, assigned, error).await
            }
            outcome => outcome,
        }
    }

    /// After an outcome that nobody knows: what is stored under the assigned numbers is ours if
    /// it bears our token. What is not there may still come, so it stays unavailable.
    async fn settle(
        &self,
        drafts: &Arc<Vec<Draft>>,
        assigned: Vec<Result<Sent>>,
        error: Error,
    ) -> Result<Vec<Result<Sent>>> {
        let mut answers = Vec::with_capacity(drafts.len());
        if assigned.len() != drafts.len() {
            return Err(error);
        }
        let mut silent = false;
        for (at, answer) in assigned.into_iter().enumerate() {
            answers.push(match answer {
                Ok(Sent::New(message)) if !silent => {
                    match self.is_ours(message.id, &drafts[at]).await {
                        Ok(true) => Ok(Sent::New(message)),
                        outcome => {
                            // A store that does not answer is not asked once for each draft.
                            silent = outcome.is_err();
                            Err(error.clone())
                        }
                    }
                }
                Ok(_) => Err(error.clone()),
                refused => refused,
            });
        }
        Ok(answers)
    }

    async fn is_ours(&self, id: MessageId, draft: &Draft) -> Result<bool> {
        let ours = doc! { "_id": id, "token": token(draft.token) };
        let found = self.messages.shard(id.conversation).find_one(ours);
        Ok(within(found).await?.is_some())
    }

    /// Reads what the drafts meet, and decides on each in turn.
    async fn plan(&self, session: &mut ClientSession, drafts: &[Draft]) -> Result<Plan, Abort> {
        let mut known = self.known_keys(session, drafts).await?;
        let mut plan =
            Plan { conversations: self.summaries(session, drafts).await?, ..Plan::default() };
        let totals = self.own_totals(session, drafts).await?;
        plan.files = self.files.ready(session, drafts.iter().flat_map(Draft::files)).await?;
        for draft in drafts {
            let answer = plan.decide(draft, &mut known, &totals);
            plan.answers.push(answer);
        }
        let Plan { conversations, own_totals, .. } = &mut plan;
        conversations.retain(|id, _| own_totals.values().any(|(touched, ..)| touched == id));
        Ok(plan)
    }

    async fn known_keys(
        &self,
        session: &mut ClientSession,
        drafts: &[Draft],
    ) -> Result<HashMap<Vec<u8>, KeyRow>, Abort> {
        let keys: Vec<Bson> = drafts.iter().filter_map(key_of).map(binary).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let mut found =
            self.keys.find(doc! { "_id": { "$in": keys } }).session(&mut *session).await?;
        let mut known = HashMap::new();
        while let Some(row) = found.next(session).await {
            let row = row?;
            known.insert(row.key.bytes.clone(), row);
        }
        Ok(known)
    }

    async fn summaries(
        &self,
        session: &mut ClientSession,
        drafts: &[Draft],
    ) -> Result<HashMap<ConversationId, ConversationRow>, Abort> {
        let mut ids: Vec<ConversationId> = drafts.iter().map(Draft::conversation).collect();
        ids.sort_unstable();
        ids.dedup();
        let find = self.conversations.find(doc! { "_id": { "$in": ids } });
        let mut found = find.session(&mut *session).await?;
        let mut summaries = HashMap::new();
        while let Some(row) = found.next(session).await {
            let row = row?;
            summaries.insert(row.id, row);
        }
        Ok(summaries)
    }

    async fn own_totals(
        &self,
        session: &mut ClientSession,
        drafts: &[Draft],
    ) -> Result<HashMap<Vec<u8>, u64>, Abort> {
        let mut keys: Vec<Vec<u8>> = drafts.iter().map(member_key).collect();
        keys.sort_unstable();
        keys.dedup();
        let keys: Vec<Bson> = keys.into_iter().map(binary).collect();
        let find = self.members.find(doc! { "_id": { "$in": keys } });
        let mut found = find.projection(doc! { "own_total": 1 }).session(&mut *session).await?;
        let mut totals = HashMap::new();
        while let Some(row) = found.next(session).await {
            let row = row?;
            totals.insert(row.key.bytes, row.own_total);
        }
        Ok(totals)
    }

    async fn apply(&self, session: &mut ClientSession, plan: Plan) -> Result<(), Abort> {
        if plan.messages.is_empty() {
            return Ok(());
        }
        let taken = Abort::again_if_taken;
        self.update(session, "conversations", summary_updates(&plan)).await?;
        self.update(session, "members", member_updates(&plan)).await?;
        let shard = self.messages.shard(plan.messages[0].id.conversation);
        shard.insert_many(&plan.messages).session(&mut *session).await.map_err(taken)?;
        self.sends.insert_many(&plan.sends).session(&mut *session).await.map_err(taken)?;
        if !plan.keys.is_empty() {
            let updates = plan.keys.iter().map(key_update).collect::<Result<Vec<_>, Abort>>()?;
            self.update(session, "message_keys", updates).await?;
        }
        if !plan.uses.is_empty() {
            let files = plan.messages.iter().flat_map(|message| &message.attachments);
            if !self.files.hold(session, files.map(|file| file.id)).await? {
                return Err(Abort::Again);
            }
            self.uses.insert_many(&plan.uses).session(&mut *session).await.map_err(taken)?;
        }
        self.notifications.raise_first(session, &plan.told).await.map_err(taken)?;
        Ok(())
    }

    /// Many updates in one command.
    async fn update(
        &self,
        session: &mut ClientSession,
        collection: &str,
        updates: Vec<Document>,
    ) -> Result<(), Abort> {
        let command = doc! { "update": collection, "updates": updates, "ordered": true };
        let reply = self.store.database().run_command(command).session(session).await;
        let reply = reply.map_err(Abort::again_if_taken)?;
        match reply.get_array("writeErrors") {
            Err(_) => Ok(()),
            Ok(errors) => {
                let first = errors.first().and_then(Bson::as_document);
                match first.and_then(|error| error.get_i32("code").ok()) {
                    Some(11000) => Err(Abort::Again),
                    _ => Err(Abort::Rule(Error::internal(format!("{collection}: {errors:?}")))),
                }
            }
        }
    }
}
