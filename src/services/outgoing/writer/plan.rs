//! The plan of a batch: an answer to each draft, and the changes that follow. It is pure: the
//! writer reads the snapshot before it and writes the changes after it.

#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use crate::domain::conversations::{Kind, LastMessage, Summary, Target};
use crate::domain::ids::{AttachmentId, ConversationId, MessageId, UserId};
use crate::domain::messages::{
    Draft, IdempotencyKey, KeyUse, NumberedMessage, Sent, StoredMessage, unknown_attachments,
};
use crate::domain::notifications::Notification;
use crate::error::{Error, Result};
use crate::services::outgoing::known_keys::KnownKeys;
use crate::store::rows::members::sent::{MemberChange, MemberUpdate};

/// Numbers of messages that senders have sent to a conversation.
type SentCounts = HashMap<(ConversationId, UserId), u64>;

/// The state that a batch meets.
#[derive(Debug, Default)]
pub(in crate::services) struct Snapshot {
    /// The drafts' idempotency keys that were used.
    pub keys: KnownKeys,
    /// The drafts' conversations; a direct one without messages is absent.
    pub conversations: HashMap<ConversationId, Summary>,
    /// How many messages the drafts' senders have sent; absent are those who are no members.
    pub sent_counts: SentCounts,
    /// The drafts' files that can be used.
    pub files: BTreeSet<AttachmentId>,
}

/// The changes that a batch makes, and an answer to each draft.
#[derive(Debug, Default)]
pub(in crate::services) struct Plan {
    /// The answers, in the order of the drafts.
    pub answers: Vec<Result<Sent>>,
    /// New messages.
    pub messages: Vec<NumberedMessage>,
    /// The idempotency keys of new messages.
    pub keys: Vec<(IdempotencyKey, KeyUse)>,
    /// Notifications of users whom new messages mention.
    pub mentioned: Vec<Notification>,
    /// The conversations of new messages, after them.
    pub conversations: HashMap<ConversationId, Summary>,
    /// How many messages the senders of new messages have sent, these included.
    pub sent_counts: SentCounts,
}

impl Plan {
    /// Decides on each draft in turn.
    pub fn of(drafts: &[Draft], mut snapshot: Snapshot) -> Self {
        let mut plan = Self::default();
        for draft in drafts {
            let answer = plan.decide(draft, &mut snapshot);
            plan.answers.push(answer);
        }
        plan
    }

    fn decide(&mut self, draft: &Draft, snapshot: &mut Snapshot) -> Result<Sent> {
        if let Some(first) = snapshot.keys.sent_before(draft)? {
            return Ok(Sent::Before(first));
        }
        require_files(draft, &snapshot.files)?;
        let member = (draft.conversation(), draft.sender);
        let sent_count =
            self.sent_counts.get(&member).or_else(|| snapshot.sent_counts.get(&member));
        let sent_count = match draft.target {
            Target::User(_) => sent_count.copied().unwrap_or(0),
            // A member who was removed since the request was checked has no row any more.
            Target::Group(_) => sent_count.copied().ok_or_else(Error::not_found)?,
        };
        let summary = match self.conversations.entry(draft.conversation()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let before = snapshot.conversations.remove(entry.key());
                let before = before.or_else(|| begun(draft)).ok_or_else(Error::not_found)?;
                entry.insert(before)
            }
        };
        let kind = summary.kind;
        let id = advance(summary, draft);
        let nth = sent_count + 1;
        self.sent_counts.insert(member, nth);
        self.keys.extend(snapshot.keys.add(draft, id));
        let mention =
            |user: &UserId| Notification::mention(*user, draft.sender, kind, id, draft.at);
        self.mentioned.extend(draft.told.iter().map(mention));
        let message = stored(draft, id);
        self.messages.push(NumberedMessage { message: message.clone(), nth, token: draft.token });
        Ok(Sent::New(message))
    }

    /// The greatest number that a new message has in its conversation.
    pub fn last_seq(&self) -> Option<u64> {
        self.conversations.values().map(|summary| summary.last_seq).max()
    }

    /// The changes in the rows of members: the counts of the senders and, of direct
    /// conversations, the new message that waits for the other user.
    pub fn member_updates(&self) -> Vec<MemberUpdate> {
        let update = |conversation, user, change| {
            let Summary { kind, created_at, .. } = self.conversations[&conversation];
            let direct_since = Some(created_at).filter(|_| kind == Kind::Direct);
            MemberUpdate { conversation, user, direct_since, change }
        };
        let counts = self.sent_counts.iter().map(|((conversation, user), count)| {
            update(*conversation, *user, MemberChange::SentCount(*count))
        });
        let direct = self.conversations.values().filter(|summary| summary.kind == Kind::Direct);
        let waiting = direct.flat_map(|summary| {
            summary.members.iter().filter_map(|user| {
                let last = summary.last_for(*user)?;
                let is_new = self.is_new(MessageId::new(summary.id, last.seq));
                is_new.then(|| update(summary.id, *user, MemberChange::Waiting(last.seq, last.at)))
            })
        });
        counts.chain(waiting).collect()
    }

    fn is_new(&self, id: MessageId) -> bool {
        self.messages.iter().any(|numbered| numbered.message.id == id)
    }
}

/// Refuses a draft with files that were collected since the request was checked.
fn require_files(draft: &Draft, usable: &BTreeSet<AttachmentId>) -> Result<()> {
    let collected = draft.files().enumerate().filter(|(_, file)| !usable.contains(file));
    let mut fields = collected.map(|(index, _)| format!("attachments[{index}]")).peekable();
    if fields.peek().is_some() { Err(unknown_attachments(fields)) } else { Ok(()) }
}

/// A direct conversation before its first message; a group's conversation begins with the group.
fn begun(draft: &Draft) -> Option<Summary> {
    let Target::User(peer) = draft.target else { return None };
    let mut members = vec![draft.sender, peer];
    members.sort_unstable();
    members.dedup();
    let (last_at, created_at) = (draft.at, draft.at);
    let summary = Summary::of_target(draft.sender, draft.target);
    Some(Summary { members, last_at, created_at, ..summary })
}

/// Gives a draft the next number of its conversation.
fn advance(summary: &mut Summary, draft: &Draft) -> MessageId {
    let Draft { sender, at, .. } = *draft;
    let id = MessageId::new(summary.id, summary.last_seq + 1);
    if summary.last.is_some_and(|before| before.sender != sender) {
        summary.other = summary.last;
    }
    summary.last = Some(LastMessage { seq: id.seq, sender, at, deleted: false });
    summary.last_seq = id.seq;
    summary.last_at = summary.last_at.max(at);
    id
}

/// The message that a draft becomes.
fn stored(draft: &Draft, id: MessageId) -> StoredMessage {
    StoredMessage {
        id,
        sender: draft.sender,
        text: draft.text.clone(),
        attachments: draft.attachments.clone(),
        reply_to: draft.reply_to,
        mentions: draft.mentions.clone(),
        reactions: Vec::new(),
        client_message_id: draft.once.as_ref().map(|once| once.client_message_id.clone()),
        at: draft.at,
        edited_at: None,
        deleted_at: None,
    }
}
