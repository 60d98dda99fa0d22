//! A whole conversation at once: its drafts through the plan that every message goes through, and
//! the rows that are there after them.

use std::collections::HashMap;

use mongodb::bson::{Document, doc, serialize_to_document};

use super::plan::Plan;
use crate::domain::conversations::{Kind, LastMessage, Membership, Summary};
use crate::domain::groups::NewGroup;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::{Error, Result};
use crate::repositories::bson::int;
use crate::repositories::bulk::{Place, Talk};
use crate::repositories::messages::MessageRow;
use crate::repositories::rows::conversations::ConversationRow;
use crate::repositories::rows::members::{MemberRow, begun_direct, key};
use crate::repositories::rows::sends::SendRow;

/// The rows of a conversation.
pub(in crate::repositories) struct TalkRows {
    pub conversation: ConversationId,
    pub summary: Document,
    pub members: Vec<Document>,
    pub messages: Vec<MessageRow>,
    pub sends: Vec<SendRow>,
}

impl TalkRows {
    /// Fails where a message is sent by someone who is not in the conversation, or where there is
    /// none at all in a direct one.
    pub fn of(talk: &Talk) -> Result<Self> {
        let (mut plan, mut totals) = (Plan::default(), HashMap::new());
        if let Some(group) = &talk.group {
            plan.conversations.insert(group.id.into(), opened(group));
            let keys = talk.members.iter().map(|place| (group.id.into(), place.user));
            totals.extend(keys.map(|key| (key, 0)));
        }
        for draft in &talk.drafts {
            plan.decide(draft, &mut HashMap::new(), &totals)?;
        }
        let summary = plan.conversations.into_values().next();
        let summary = summary.ok_or_else(|| Error::internal("a conversation of nothing"))?;
        let mut own: HashMap<UserId, (u64, u64)> = HashMap::new();
        let read: HashMap<UserId, u64> =
            talk.members.iter().map(|place| (place.user, place.read_seq)).collect();
        for message in &plan.messages {
            let (total, at_read) = own.entry(message.sender).or_default();
            *total += 1;
            *at_read += u64::from(read.get(&message.sender).is_some_and(|r| message.id.seq <= *r));
        }
        let members = (1..).zip(&talk.members).map(|(place, member)| {
            let own = own.get(&member.user).copied().unwrap_or_default();
            let mut row = member_row(&summary, place, member, own)?;
            row.extend(marked_at(member, &plan.messages));
            Ok(row)
        });
        Ok(Self {
            conversation: summary.id,
            members: members.collect::<Result<_>>()?,
            summary: summary_row(&summary)?,
            messages: plan.messages,
            sends: plan.sends,
        })
    }
}

/// The conversation of a new group.
fn opened(group: &NewGroup) -> ConversationRow {
    ConversationRow {
        id: group.id.into(),
        kind: Kind::Group,
        members: Vec::new(),
        last_seq: 0,
        last_at: group.at,
        revision: 0,
        deleted_seq: 0,
        pins: Vec::new(),
        last: None,
        other: None,
        created_at: group.at,
    }
}

/// As the first message or the making of the group left it: fields that nothing has set are
/// absent.
fn summary_row(summary: &ConversationRow) -> Result<Document> {
    let mut row = serialize_to_document(summary).map_err(Error::internal)?;
    let is_group = summary.kind == Kind::Group;
    let unset = [("members", is_group), ("deleted_seq", true), ("pins", true)];
    let silent = ["last", "other"].map(|name| (name, summary.last_seq == 0));
    for (name, _) in unset.into_iter().chain(silent).filter(|(_, is_unset)| *is_unset) {
        row.remove(name);
    }
    Ok(row)
}

fn member_row(
    summary: &ConversationRow,
    place: u32,
    member: &Place,
    (sent_count, sent_at_read): (u64, u64),
) -> Result<Document> {
    let last = Summary::from(summary.clone()).last_for(member.user);
    let waiting = last.filter(|last| last.seq > member.read_seq);
    let noticed = waiting.filter(|_| member.noticed).map_or(member.joined_seq, |last| last.seq);
    if summary.kind == Kind::Direct {
        return Ok(direct_row(summary, member, (sent_count, sent_at_read), noticed, waiting));
    }
    let row = Membership {
        conversation: summary.id,
        user: member.user,
        kind: summary.kind,
        role: member.role,
        joined_at: member.joined_at,
        joined_seq: member.joined_seq,
        read_seq: member.read_seq,
        delivered_seq: member.delivered_seq,
        sent_count,
        sent_at_read,
        dismissed_seq: noticed,
        muted_until: None,
        waiting: None,
    };
    serialize_to_document(&MemberRow::at_place(row, place)).map_err(Error::internal)
}

/// When a member's marks were moved, if they ever were: as soon as there was what they cover.
fn marked_at(member: &Place, messages: &[MessageRow]) -> Document {
    let marks = [("read_at", member.read_seq), ("delivered_at", member.delivered_seq)];
    let moved = marks.into_iter().filter(|(_, seq)| *seq > member.joined_seq);
    let at = |seq: u64| messages.get(usize::try_from(seq - 1).ok()?).map(|message| message.at);
    moved.filter_map(|(name, seq)| Some((name.to_owned(), at(seq)?.into()))).collect()
}

/// As the first message made it and later ones and marks have changed it.
fn direct_row(
    summary: &ConversationRow,
    member: &Place,
    (sent_count, sent_at_read): (u64, u64),
    noticed: u64,
    waiting: Option<LastMessage>,
) -> Document {
    let mut row = doc! { "_id": key(summary.id, member.user) };
    row.extend(begun_direct(summary.id, member.user, summary.created_at));
    row.extend(doc! {
        "read_seq": int(member.read_seq), "delivered_seq": int(member.delivered_seq),
        "own_total": int(sent_count), "own_at_read": int(sent_at_read),
        "noticed_seq": int(noticed),
    });
    if let Some(waiting) = waiting {
        row.extend(doc! { "waiting_at": waiting.at, "waiting_seq": int(waiting.seq) });
    }
    row
}
