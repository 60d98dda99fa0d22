//! The updates of a plan: summaries, member rows, exactly-once keys.

use mongodb::bson::{Bson, Document, doc};

use super::plan::{KeyRow, Plan};
use crate::domain::conversations::Kind;
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::error::{Error, Result};
use crate::repositories::bson::int;
use crate::repositories::rows::conversations::LastRow;
use crate::repositories::rows::members;
use crate::repositories::store::RowUpdate;

/// Sets a key that is not there, or is there and expired: which one, the plan has read.
pub(super) fn key_update(row: &KeyRow) -> Result<RowUpdate> {
    let row_document = mongodb::bson::serialize_to_document(row).map_err(Error::internal)?;
    Ok(RowUpdate::of(doc! { "_id": &row.key }, row_document).or_insert())
}

fn last(row: Option<LastRow>) -> Bson {
    row.map_or(Bson::Null, |row| {
        Bson::Document(doc! {
            "seq": int(row.seq), "sender": row.sender, "at": row.at, "deleted": row.deleted,
        })
    })
}

/// The conversations that go on, and those that begin.
pub(super) fn summary_updates(plan: &Plan) -> Vec<RowUpdate> {
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
        let update = RowUpdate::of(doc! { "_id": row.id }, change);
        if is_direct { update.or_insert() } else { update }
    });
    updates.collect()
}

/// How many messages each sender has sent; and, of a direct conversation, that its other user has something unread.
pub(super) fn member_updates(plan: &Plan) -> Vec<RowUpdate> {
    let mut updates = Vec::new();
    for ((conversation, user), count) in &plan.sent_counts {
        let change = doc! { "$set": { "own_total": int(*count) } };
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
) -> RowUpdate {
    let summary = &plan.conversations[&conversation];
    let is_direct = summary.kind == Kind::Direct;
    if is_direct {
        let set = change.get_document("$set").cloned().unwrap_or_default();
        let born = members::begun_direct(conversation, user, summary.created_at);
        let born = born.into_iter().filter(|(name, _)| !set.contains_key(name));
        change.insert("$setOnInsert", born.collect::<Document>());
    }
    let update = RowUpdate::of(doc! { "_id": members::key(conversation, user) }, change);
    if is_direct { update.or_insert() } else { update }
}
