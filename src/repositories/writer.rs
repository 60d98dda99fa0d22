//! The message writer: many drafts in, an answer for each out, one majority transaction.
//!
//! What belongs to a message is written with it or not at all: the message under the next number
//! of its conversation, its exactly-once key, its row among its sender's own messages, the uses of
//! its files, the conversation's summary and the marks of its members. Two writers on one
//! conversation meet at its summary: the later one conflicts, and runs again on what is there now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use mongodb::bson::{Binary, Bson, Document, doc};
use mongodb::{ClientSession, Collection};
use serde::{Deserialize, Serialize};

use super::bson::{binary, date, pair};
use super::conversations::{ConversationRow, LastRow, Member};
use super::members;
use super::messages::{MessageRow, Messages, token};
use super::store::{Abort, Store, within};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::Kind;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::{Draft, Sent, StoredMessage, Target};
use crate::error::{Error, Kind as ErrorKind, Result};

/// How long an exactly-once key is kept; clients are promised 24 hours.
const KEY_LIFETIME: Duration = Duration::from_hours(25);

/// A row of `message_keys`: what a sender's `client_message_id` has led to.
#[derive(Debug, Serialize, Deserialize)]
struct KeyRow {
    /// The sender's id, then the first 16 bytes of the SHA-256 of `client_message_id`.
    #[serde(rename = "_id")]
    key: Binary,
    message: Binary,
    fingerprint: Binary,
    #[serde(with = "date")]
    expires_at: Timestamp,
}

/// A row of `sends`: sender, conversation, number; and how many of theirs it makes there.
#[derive(Debug, Serialize, Deserialize)]
struct SendRow {
    #[serde(rename = "_id")]
    key: Binary,
    n: u64,
}

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
}

/// What a batch adds up to, from what its transaction read.
#[derive(Default)]
struct Plan {
    /// The answer to each draft.
    answers: Vec<Result<Sent>>,
    messages: Vec<MessageRow>,
    sends: Vec<SendRow>,
    keys: Vec<KeyRow>,
    uses: Vec<Document>,
    conversations: HashMap<ConversationId, ConversationRow>,
    /// Who sent how much in all, by the key of their row; only those who send now.
    own_totals: HashMap<Vec<u8>, (ConversationId, UserId, u64)>,
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
            self.uses.insert_many(&plan.uses).session(&mut *session).await.map_err(taken)?;
        }
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

impl Plan {
    fn decide(
        &mut self,
        draft: &Draft,
        known: &mut HashMap<Vec<u8>, KeyRow>,
        totals: &HashMap<Vec<u8>, u64>,
    ) -> Result<Sent> {
        let key = key_of(draft);
        let before = key.as_ref().and_then(|key| known.get(key));
        if let Some(row) = before.filter(|row| row.expires_at > draft.at) {
            return same(row, draft).map(Sent::Before);
        }
        let (id, member) = (draft.conversation(), member_key(draft));
        let own = match self.own_totals.get(&member) {
            Some((.., own)) => Some(*own),
            None => totals.get(&member).copied(),
        };
        let summary = match draft.target {
            Target::User(peer) => {
                self.conversations.entry(id).or_insert_with(|| begun(draft, peer))
            }
            // Whoever was removed since the request was checked has no row any more.
            Target::Group(_) => {
                own.ok_or_else(Error::not_found)?;
                self.conversations.get_mut(&id).ok_or_else(Error::not_found)?
            }
        };
        let message = next(summary, draft);
        let nth = own.unwrap_or(0) + 1;
        self.own_totals.insert(member, (id, draft.sender, nth));
        if let (Some(key), Some(once)) = (key, &draft.once) {
            self.keys.push(key_row(&key, message, once.fingerprint, draft.at));
            let row = key_row(&key, message, once.fingerprint, draft.at);
            known.insert(key, row);
        }
        self.sends.push(SendRow { key: own_key(draft.sender, message), n: nth });
        self.uses.extend(draft.attachments.iter().map(|file| {
            let key = [file.id.bytes().as_slice(), &message.bytes()].concat();
            doc! { "_id": binary(key) }
        }));
        let row = message_row(draft, message, nth);
        self.messages.push(row.clone());
        Ok(Sent::New(StoredMessage::from(row)))
    }
}

fn key_of(draft: &Draft) -> Option<Vec<u8>> {
    let once = draft.once.as_ref()?;
    let name = digest(&SHA256, once.client_message_id.as_bytes());
    Some([draft.sender.bytes().as_slice(), &name.as_ref()[..16]].concat())
}

fn key_row(key: &[u8], message: MessageId, fingerprint: [u8; 32], at: Timestamp) -> KeyRow {
    let raw = |bytes: &[u8]| Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    };
    KeyRow {
        key: raw(key),
        message: raw(&message.bytes()),
        fingerprint: raw(&fingerprint),
        expires_at: at.plus(KEY_LIFETIME),
    }
}

/// Sets a key that is not there, or is there and expired: which one, the plan has read.
fn key_update(row: &KeyRow) -> Result<Document, Abort> {
    let row_document = mongodb::bson::serialize_to_document(row)
        .map_err(|error| Abort::Rule(Error::internal(error)))?;
    Ok(doc! { "q": { "_id": &row.key }, "u": row_document, "upsert": true })
}

/// The message that a key stands for, if it was about the same.
fn same(row: &KeyRow, draft: &Draft) -> Result<MessageId> {
    let fingerprint = draft.once.as_ref().map(|once| once.fingerprint.to_vec());
    if fingerprint.as_ref() != Some(&row.fingerprint.bytes) {
        return Err(Error::invalid(
            "idempotency_key_reused",
            "this client_message_id was used for another message",
        ));
    }
    let key: [u8; 24] = row.message.bytes.as_slice().try_into().map_err(Error::internal)?;
    Ok(MessageId::from_bytes(key))
}

fn member_key(draft: &Draft) -> Vec<u8> {
    pair(&draft.conversation(), &draft.sender)
}

/// The key of a message among its sender's own: sender, conversation, number.
fn own_key(sender: UserId, message: MessageId) -> Binary {
    Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes: [sender.bytes().as_slice(), &message.bytes()].concat(),
    }
}

/// Gives a draft the next number of its conversation.
fn next(summary: &mut ConversationRow, draft: &Draft) -> MessageId {
    let message = MessageId::new(summary.id, summary.last_seq + 1);
    if summary.last.is_some_and(|before| before.sender != draft.sender) {
        summary.other = summary.last;
    }
    summary.last = Some(LastRow { seq: message.seq, sender: draft.sender, at: draft.at });
    summary.last_seq = message.seq;
    summary.last_at = summary.last_at.max(draft.at);
    message
}

/// The summary of a direct conversation before its first message.
fn begun(draft: &Draft, peer: UserId) -> ConversationRow {
    let mut members = vec![Member(draft.sender), Member(peer)];
    members.sort_unstable_by_key(|member| member.0);
    members.dedup();
    ConversationRow {
        id: draft.conversation(),
        kind: Kind::Direct,
        members,
        last_seq: 0,
        last_at: draft.at,
        revision: 0,
        last: None,
        other: None,
        created_at: draft.at,
    }
}

fn message_row(draft: &Draft, id: MessageId, nth: u64) -> MessageRow {
    MessageRow {
        id,
        token: token(draft.token),
        sender: draft.sender,
        nth,
        text: draft.text.clone(),
        attachments: draft.attachments.iter().map(Into::into).collect(),
        reply_to: draft.reply_to,
        client_message_id: draft.once.as_ref().map(|once| once.client_message_id.clone()),
        at: draft.at,
    }
}

fn int(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn last(row: Option<LastRow>) -> Bson {
    row.map_or(Bson::Null, |row| {
        Bson::Document(doc! { "seq": int(row.seq), "sender": row.sender, "at": row.at })
    })
}

fn summary_updates(plan: &Plan) -> Vec<Document> {
    let updates = plan.conversations.values().map(|row| {
        let members: Vec<UserId> = row.members.iter().map(|member| member.0).collect();
        let mut born = doc! { "kind": "direct", "members": members };
        born.extend(doc! { "revision": 0_i64, "created_at": row.created_at });
        let mut change = doc! {
            "$set": {
                "last_seq": int(row.last_seq),
                "last_at": row.last_at,
                "last": last(row.last),
                "other": last(row.other),
            },
        };
        let is_direct = row.kind == Kind::Direct;
        if is_direct {
            change.insert("$setOnInsert", born);
        }
        doc! { "q": { "_id": row.id }, "u": change, "upsert": is_direct }
    });
    updates.collect()
}

/// The senders' totals; and, of a direct conversation, that its other user has something unread.
fn member_updates(plan: &Plan) -> Vec<Document> {
    let mut updates = Vec::new();
    for (conversation, user, total) in plan.own_totals.values() {
        let change = doc! { "$set": { "own_total": int(*total) } };
        updates.push(member_update(plan, *conversation, *user, change));
    }
    for row in plan.conversations.values().filter(|row| row.kind == Kind::Direct) {
        for member in &row.members {
            let from_others = [row.last, row.other].into_iter().flatten();
            let waiting = from_others.filter(|last| last.sender != member.0).max_by_key(|l| l.seq);
            if let Some(waiting) = waiting.filter(|w| is_new(plan, row.id, w.seq)) {
                let change = doc! {
                    "$set": { "waiting_seq": int(waiting.seq), "waiting_at": waiting.at },
                };
                updates.push(member_update(plan, row.id, member.0, change));
            }
        }
    }
    updates
}

fn is_new(plan: &Plan, conversation: ConversationId, seq: u64) -> bool {
    let id = MessageId::new(conversation, seq);
    plan.messages.iter().any(|message| message.id == id)
}

/// An update of a member's row, which a direct conversation's first message makes.
fn member_update(
    plan: &Plan,
    conversation: ConversationId,
    user: UserId,
    mut change: Document,
) -> Document {
    let summary = &plan.conversations[&conversation];
    let is_direct = summary.kind == Kind::Direct;
    if is_direct {
        let set = change.get_document("$set").cloned().unwrap_or_default();
        let born = members::begun_direct(conversation, user, summary.created_at);
        let born = born.into_iter().filter(|(name, _)| !set.contains_key(name));
        change.insert("$setOnInsert", born.collect::<Document>());
    }
    doc! { "q": { "_id": members::key(conversation, user) }, "u": change, "upsert": is_direct }
}
