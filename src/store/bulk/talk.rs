//! The rows of a conversation's members after all of its messages.

use std::collections::HashMap;

use mongodb::bson::{Document, doc, serialize_to_document};

use super::{Place, Talk};
use crate::domain::conversations::{Kind, Membership, Summary};
use crate::domain::ids::UserId;
use crate::error::{Error, Result};
use crate::store::bson::int;
use crate::store::rows::members::{MemberRow, begun_direct, key};

/// How many messages a member has sent.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    count: u64,
    /// Up to the read mark.
    at_read: u64,
}

impl Talk {
    pub(super) fn member_rows(&self) -> Result<Vec<Document>> {
        let mut sent: HashMap<UserId, Sent> = HashMap::new();
        let read: HashMap<UserId, u64> =
            self.members.iter().map(|place| (place.user, place.read_seq)).collect();
        for message in self.messages.iter().map(|message| &message.message) {
            let sent = sent.entry(message.sender).or_default();
            let is_read = read.get(&message.sender).is_some_and(|read| message.id.seq <= *read);
            sent.count += 1;
            sent.at_read += u64::from(is_read);
        }
        let rows = (1..).zip(&self.members).map(|(place, member)| {
            let sent = sent.get(&member.user).copied().unwrap_or_default();
            let mut row = member_row(&self.summary, place, member, sent)?;
            row.extend(self.marked_at(member));
            Ok(row)
        });
        rows.collect()
    }

    /// When a member's marks were moved, if they ever were: as soon as there was what they cover.
    fn marked_at(&self, member: &Place) -> Document {
        let marks = [("read_at", member.read_seq), ("delivered_at", member.delivered_seq)];
        let moved = marks.into_iter().filter(|(_, seq)| *seq > member.joined_seq);
        let at = |seq: u64| Some(self.messages.get(usize::try_from(seq - 1).ok()?)?.message.at);
        moved.filter_map(|(name, seq)| Some((name.to_owned(), at(seq)?.into()))).collect()
    }
}

fn member_row(summary: &Summary, place: u32, member: &Place, sent: Sent) -> Result<Document> {
    let waiting = summary.last_for(member.user).filter(|last| last.seq > member.read_seq);
    let dismissed = waiting.filter(|_| member.noticed).map_or(member.joined_seq, |last| last.seq);
    match summary.kind {
        Kind::Group => {
            let Place { user, role, joined_at, joined_seq, read_seq, delivered_seq, .. } = *member;
            let start = Membership::from_start(summary.id, user, Kind::Group, role, joined_at);
            let row = Membership {
                joined_seq,
                read_seq,
                delivered_seq,
                sent_count: sent.count,
                sent_at_read: sent.at_read,
                dismissed_seq: dismissed,
                ..start
            };
            serialize_to_document(&MemberRow::at_place(row, place)).map_err(Error::internal)
        }
        // As the first message made it and later ones and marks have changed it.
        Kind::Direct => {
            let mut row = doc! { "_id": key(summary.id, member.user) };
            row.extend(begun_direct(summary.id, member.user, summary.created_at));
            row.extend(doc! {
                "read_seq": int(member.read_seq), "delivered_seq": int(member.delivered_seq),
                "own_total": int(sent.count), "own_at_read": int(sent.at_read),
                "noticed_seq": int(dismissed),
            });
            if let Some(waiting) = waiting {
                row.extend(doc! { "waiting_at": waiting.at, "waiting_seq": int(waiting.seq) });
            }
            Ok(row)
        }
    }
}
