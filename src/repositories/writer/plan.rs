//! What a batch adds up to: an answer to each draft, and the rows that make it so.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use mongodb::bson::{Binary, doc};
use serde::{Deserialize, Serialize};

use super::super::bson::{date, raw};
use super::super::messages::{MessageRow, token};
use crate::domain::clock::Timestamp;
use crate::domain::conversations::{Kind, Target};
use crate::domain::ids::{AttachmentId, ConversationId, MessageId, UserId};
use crate::domain::messages::{Draft, Sent, StoredMessage, unknown_attachments};
use crate::domain::notifications::Notification;
use crate::error::{Error, Result};
use crate::repositories::rows::attachment_uses::Use;
use crate::repositories::rows::conversations::{ConversationRow, LastRow, Member};
use crate::repositories::rows::sends;
use crate::repositories::rows::sends::SendRow;

/// How long an exactly-once key is kept; clients are promised 24 hours.
const KEY_LIFETIME: Duration = Duration::from_hours(25);

/// A row of `message_keys`: what a sender's `client_message_id` has led to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeyRow {
    /// The conversation's id, then the first 16 bytes of the SHA-256 over the sender's id and
    /// `client_message_id`. Rows of natter before keys counted per conversation have the sender's
    /// id first, then those of `client_message_id` alone.
    #[serde(rename = "_id")]
    pub key: Binary,
    pub message: Binary,
    pub fingerprint: Binary,
    #[serde(with = "date")]
    pub expires_at: Timestamp,
}

/// What a batch adds up to, from what its transaction read.
#[derive(Default)]
pub(super) struct Plan {
    /// The answer to each draft.
    pub answers: Vec<Result<Sent>>,
    pub messages: Vec<MessageRow>,
    pub sends: Vec<SendRow>,
    pub keys: Vec<KeyRow>,
    pub uses: Vec<Use>,
    pub told: Vec<Notification>,
    /// Those of the drafts' files that can be used.
    pub files: BTreeSet<AttachmentId>,
    pub conversations: HashMap<ConversationId, ConversationRow>,
    /// How many messages of each conversation its senders have sent; only those who send now.
    pub sent_counts: HashMap<(ConversationId, UserId), u64>,
}

impl Plan {
    pub fn decide(
        &mut self,
        draft: &Draft,
        known: &mut HashMap<Vec<u8>, KeyRow>,
        counts: &HashMap<(ConversationId, UserId), u64>,
    ) -> Result<Sent> {
        let keys = KeysOf::draft(draft);
        if let Some(row) = keys.as_ref().and_then(|keys| keys.used(draft, |key| known.get(key))) {
            return same(row, draft).map(Sent::Before);
        }
        // Whatever was collected since the request was checked is not there any more.
        let collected = draft.files().enumerate().filter(|(_, file)| !self.files.contains(file));
        let mut collected = collected.map(|(index, _)| format!("attachments[{index}]")).peekable();
        if collected.peek().is_some() {
            return Err(unknown_attachments(collected));
        }
        let (id, member) = (draft.conversation(), member(draft));
        let own = self.sent_counts.get(&member).or_else(|| counts.get(&member)).copied();
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
        let kind = summary.kind;
        let message = next(summary, draft);
        let nth = own.unwrap_or(0) + 1;
        self.sent_counts.insert(member, nth);
        if let (Some(KeysOf { key, .. }), Some(once)) = (keys, &draft.once) {
            let row = key_row(&key, message, once.fingerprint, draft.at);
            self.keys.push(row.clone());
            known.insert(key, row);
        }
        Ok(Sent::New(self.record(draft, message, kind, nth)))
    }

    /// The rows of a draft that has its number.
    fn record(&mut self, draft: &Draft, message: MessageId, kind: Kind, nth: u64) -> StoredMessage {
        self.sends.push(SendRow { key: sends::key(draft.sender, message), n: nth });
        self.uses.extend(draft.attachments.iter().map(|file| Use::message(file.id, message)));
        self.told.extend(
            draft
                .told
                .iter()
                .map(|user| Notification::mention(*user, draft.sender, kind, message, draft.at)),
        );
        let row = message_row(draft, message, nth);
        self.messages.push(row.clone());
        row.into()
    }
}

/// Under which keys a draft may have been sent before.
pub(super) struct KeysOf {
    /// Its own: that of its sender in its conversation. It is the one that is written.
    pub key: Vec<u8>,
    /// The key of an earlier natter, which counted per sender in all conversations.
    pub former: Vec<u8>,
}

impl KeysOf {
    /// `None` where the sender gave it no name.
    pub fn draft(draft: &Draft) -> Option<Self> {
        let name = draft.once.as_ref()?.client_message_id.as_bytes();
        let sender = draft.sender.bytes();
        let key = |begin: [u8; 16], rest: &[u8]| {
            [begin.as_slice(), &digest(&SHA256, rest).as_ref()[..16]].concat()
        };
        Some(Self {
            key: key(draft.conversation().bytes(), &[sender.as_slice(), name].concat()),
            former: key(sender, name),
        })
    }

    /// The row that says what a draft has led to. One of the former kind counts only where its
    /// message is of the draft's conversation.
    pub fn used<'a>(
        &self,
        draft: &Draft,
        known: impl Fn(&[u8]) -> Option<&'a KeyRow>,
    ) -> Option<&'a KeyRow> {
        let stands = |row: &&KeyRow| row.expires_at > draft.at;
        let conversation = draft.conversation().bytes();
        let is_here = |row: &&KeyRow| row.message.bytes.starts_with(&conversation);
        let former = || known(&self.former).filter(stands).filter(is_here);
        known(&self.key).filter(stands).or_else(former)
    }
}

fn key_row(key: &[u8], message: MessageId, fingerprint: [u8; 32], at: Timestamp) -> KeyRow {
    KeyRow {
        key: raw(key),
        message: raw(message.bytes()),
        fingerprint: raw(fingerprint),
        expires_at: at.plus(KEY_LIFETIME),
    }
}

/// The message that a key stands for, if it was about the same.
pub(super) fn same(row: &KeyRow, draft: &Draft) -> Result<MessageId> {
    let fingerprint = draft.once.as_ref().map(|once| once.fingerprint.to_vec());
    if fingerprint.as_ref() != Some(&row.fingerprint.bytes) {
        return Err(Error::invalid(
            "idempotency_key_reused",
            "client_message_id was already used for a different message",
        ));
    }
    let key: [u8; 24] = row.message.bytes.as_slice().try_into().map_err(Error::internal)?;
    Ok(MessageId::from_bytes(key))
}

pub(super) fn member(draft: &Draft) -> (ConversationId, UserId) {
    (draft.conversation(), draft.sender)
}

/// Gives a draft the next number of its conversation.
fn next(summary: &mut ConversationRow, draft: &Draft) -> MessageId {
    let message = MessageId::new(summary.id, summary.last_seq + 1);
    if summary.last.is_some_and(|before| before.sender != draft.sender) {
        summary.other = summary.last;
    }
    summary.last =
        Some(LastRow { seq: message.seq, sender: draft.sender, at: draft.at, deleted: false });
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
        deleted_seq: 0,
        pins: Vec::new(),
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
        mentions: draft.mentions.iter().copied().map(Member).collect(),
        reactions: Vec::new(),
        client_message_id: draft.once.as_ref().map(|once| once.client_message_id.clone()),
        at: draft.at,
        edited_at: None,
        deleted_at: None,
    }
}
