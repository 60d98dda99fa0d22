//! Whether everything stored adds up: read from the database itself, and again through the API.
//!
//! To be made when nothing is under way. What is computed from what, see docs/decisions/0003 and
//! docs/decisions/0016.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use natter::internals::domain::{ConversationId, MessageId, UserId};
use natter::internals::store::shard_of;
use serde_json::Value;

use super::actor::Actor;

/// A message as it is stored.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: MessageId,
    pub sender: UserId,
    pub nth: i64,
    pub text: String,
    pub client_message_id: Option<String>,
    pub at: Option<mongodb::bson::DateTime>,
    pub deleted: bool,
    pub files: Vec<Vec<u8>>,
}

/// A sending that was answered with 201.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub id: String,
    pub sender: String,
    pub text: String,
}

/// All of a database that belongs to messages.
pub struct Audit {
    conversations: BTreeMap<ConversationId, Document>,
    messages: BTreeMap<ConversationId, Vec<Row>>,
    members: BTreeMap<(ConversationId, UserId), Document>,
    sends: BTreeMap<Vec<u8>, i64>,
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    uses: BTreeSet<Vec<u8>>,
}

impl Audit {
    /// Reads a database, and expects that everything in it adds up.
    pub async fn of(database: &Database) -> Self {
        let audit = Self::read(database).await;
        for (id, messages) in &audit.messages {
            assert!(audit.conversations.contains_key(id), "messages of no conversation: {id}");
            audit.check_messages(messages);
        }
        for (id, summary) in &audit.conversations {
            audit.check_summary(*id, summary);
        }
        for ((conversation, user), row) in &audit.members {
            audit.check_member(*conversation, *user, row);
        }
        audit.check_keys();
        audit
    }

    async fn read(database: &Database) -> Self {
        let names = database.list_collection_names().await.expect("collections");
        let is_shard = |name: &&String| {
            name.strip_prefix("messages_").is_some_and(|n| n.parse::<usize>().is_ok())
        };
        let shards = names.iter().filter(is_shard).count();
        let mut messages: BTreeMap<ConversationId, Vec<Row>> = BTreeMap::new();
        for shard in 0..shards {
            for document in rows(database, &format!("messages_{shard}")).await {
                let row = message(&document);
                assert_eq!(shard_of(row.id.conversation, shards), shard, "{:?} astray", row.id);
                messages.entry(row.id.conversation).or_default().push(row);
            }
        }
        let conversations = rows(database, "conversations").await.into_iter();
        let members = rows(database, "members").await.into_iter();
        let sends = rows(database, "sends").await.into_iter();
        let keys = rows(database, "message_keys").await.into_iter();
        let uses = rows(database, "attachment_uses").await.into_iter();
        Self {
            messages,
            conversations: conversations.map(|row| (conversation(&row, "_id"), row)).collect(),
            members: members
                .map(|row| ((conversation(&row, "conversation_id"), user(&row, "user_id")), row))
                .collect(),
            sends: sends.map(|row| (bytes(&row, "_id"), number(&row, "n"))).collect(),
            keys: keys.map(|row| (bytes(&row, "_id"), bytes(&row, "message"))).collect(),
            uses: uses.map(|row| bytes(&row, "_id")).collect(),
        }
    }

    /// All messages of a conversation, in their order.
    pub fn messages(&self, conversation: ConversationId) -> &[Row] {
        self.messages.get(&conversation).map_or(&[], Vec::as_slice)
    }

    /// Numbers without gaps; each message among its sender's own; the uses of its files.
    fn check_messages(&self, messages: &[Row]) {
        let mut own: HashMap<UserId, i64> = HashMap::new();
        for (before, row) in messages.iter().enumerate() {
            assert_eq!(row.id.seq, before as u64 + 1, "a gap before {row:?}");
            let nth = own.entry(row.sender).or_default();
            *nth += 1;
            assert_eq!(row.nth, *nth, "{row:?}");
            let key = [row.sender.bytes().as_slice(), &row.id.bytes()].concat();
            assert_eq!(self.sends.get(&key), Some(&*nth), "not among its sender's: {row:?}");
            for file in row.files.iter().filter(|_| !row.deleted) {
                let used = [file.as_slice(), &row.id.bytes()].concat();
                assert!(self.uses.contains(&used), "no use of its file: {row:?}");
            }
        }
    }

    /// A summary is its last message, and the last by anyone else.
    fn check_summary(&self, id: ConversationId, summary: &Document) {
        let messages = self.messages(id);
        assert_eq!(number(summary, "last_seq"), count(messages), "{id}");
        let last = messages.last();
        let other = messages.iter().rfind(|row| Some(row.sender) != last.map(|it| it.sender));
        for (field, expected) in [("last", last), ("other", other)] {
            let stored = summary.get_document(field).ok();
            assert_eq!(stored.is_some(), expected.is_some(), "{field} of {id}: {summary}");
            let (Some(stored), Some(expected)) = (stored, expected) else { continue };
            assert_eq!(number(stored, "seq").cast_unsigned(), expected.id.seq, "{field} of {id}");
            assert_eq!(user(stored, "sender"), expected.sender, "{field} of {id}");
            assert_eq!(stored.get_datetime("at").ok(), expected.at.as_ref(), "{field} of {id}");
        }
        let latest = messages.iter().filter_map(|row| row.at).max();
        let last_at = summary.get_datetime("last_at").ok().copied();
        assert!(latest.is_none_or(|at| last_at >= Some(at)), "last_at of {id}: {summary}");
    }

    /// Both counts of own messages; of direct conversations, what waits.
    fn check_member(&self, id: ConversationId, who: UserId, row: &Document) {
        let messages = self.messages(id);
        let read = number(row, "read_seq");
        let own: Vec<i64> = messages.iter().filter(|it| it.sender == who).map(seq).collect();
        assert_eq!(
            number(row, "own_total"),
            i64::try_from(own.len()).expect("a count"),
            "{who} in {id}"
        );
        let own_read = own.iter().filter(|seq| **seq <= read).count();
        assert_eq!(
            number(row, "own_at_read"),
            i64::try_from(own_read).expect("a count"),
            "{who} in {id}"
        );
        assert!(read <= number(row, "delivered_seq"), "{who} in {id}: {row}");
        assert!(read <= count(messages), "{who} in {id} has read what is not there");
        if row.get_str("kind").is_ok_and(|it| it == "direct")
            && messages.iter().all(|it| !it.deleted)
        {
            let newest = messages.iter().rfind(|it| it.sender != who).map(seq);
            let waits = newest.filter(|seq| *seq > read);
            let stored = row.contains_key("waiting_at").then(|| number(row, "waiting_seq"));
            assert_eq!(stored, waits, "what waits for {who} in {id}: {row}");
        }
    }

    /// Every name of a message leads to it, and no two messages of a sender in one conversation
    /// have the same name.
    fn check_keys(&self) {
        let all = self.messages.values().flatten();
        let by_id: HashMap<Vec<u8>, &Row> =
            all.clone().map(|row| (row.id.bytes().to_vec(), row)).collect();
        assert_eq!(self.sends.len(), by_id.len(), "a sending without a message");
        let mut named = BTreeSet::new();
        for row in all {
            let Some(name) = &row.client_message_id else { continue };
            let once = named.insert((row.id.conversation, row.sender.bytes(), name));
            assert!(once, "sent twice: {row:?}");
        }
        for (key, message) in &self.keys {
            let row = by_id.get(message).unwrap_or_else(|| panic!("a key of nothing: {key:?}"));
            let conversation = row.id.conversation.bytes();
            assert!(row.client_message_id.is_some() && key.starts_with(&conversation));
        }
        assert_eq!(self.keys.len(), named.len(), "as many keys as names");
    }

    /// Expects every acknowledged message where its answer said that it is.
    pub fn holds(&self, acknowledged: &[Acknowledged]) {
        for one in acknowledged {
            let id: MessageId = one.id.parse().expect("a message id");
            let row = self.messages(id.conversation).iter().find(|row| row.id == id);
            let row = row.unwrap_or_else(|| panic!("acknowledged and lost: {one:?}"));
            assert_eq!((&row.text, &row.sender.to_string()), (&one.text, &one.sender), "{row:?}");
        }
    }

    /// What someone has not read, by counting messages: those of others after the read mark that
    /// were not deleted. Only conversations where there is any.
    pub fn unread(&self, who: UserId) -> BTreeMap<String, i64> {
        let mine = self.members.iter().filter(|((_, user), _)| *user == who);
        let counts = mine.map(|((id, _), row)| {
            let read = number(row, "read_seq");
            let news = self.messages(*id).iter();
            let news = news.filter(|it| it.sender != who && seq(it) > read && !it.deleted);
            (id.to_string(), i64::try_from(news.count()).expect("a count"))
        });
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Expects the API to show someone just what is stored: each history, each unread count.
    pub async fn is_what_they_see(&self, actor: &Actor) {
        let who: UserId = actor.id.parse().expect("a user id");
        assert_eq!(unread_shown(actor).await, self.unread(who), "unread of {}", actor.name);
        for (id, _) in self.members.keys().filter(|(_, user)| *user == who) {
            let stored: Vec<(String, String)> = self
                .messages(*id)
                .iter()
                .map(|row| (row.id.to_string(), if row.deleted { "" } else { &*row.text }.into()))
                .collect();
            assert_eq!(history(actor, *id).await, stored, "{id} as {} sees it", actor.name);
        }
    }
}

/// Ids and texts of a conversation, oldest first, as someone reads them in pages.
async fn history(actor: &Actor, id: ConversationId) -> Vec<(String, String)> {
    let (mut items, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/conversations/{id}/messages?limit=100{before}");
        let answer = actor.get(&path).await;
        if answer.status == 404 {
            break; // A group in which nothing was said.
        }
        let page = answer.ok(200);
        let text = |item: &Value, name: &str| item[name].as_str().expect("a text").to_owned();
        let shown = page["items"].as_array().expect("items").iter();
        items.extend(shown.map(|item| (text(item, "id"), text(item, "message"))));
        match page["older_cursor"].as_str() {
            Some(cursor) => before = format!("&before={cursor}"),
            None => break,
        }
    }
    items.reverse();
    items
}

/// What the notifications say is unread, by conversation.
async fn unread_shown(actor: &Actor) -> BTreeMap<String, i64> {
    let (mut shown, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = actor.get(&format!("/notifications?limit=100{cursor}")).await.ok(200);
        for item in page["items"].as_array().expect("items") {
            if item["type"] == "message" {
                let conversation = item["conversation_id"].as_str().expect("an id").to_owned();
                let unread = item["unread_count"].as_i64().expect("a count");
                assert_eq!(shown.insert(conversation, unread), None, "shown twice: {item}");
            }
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return shown,
        }
    }
}

async fn rows(database: &Database, collection: &str) -> Vec<Document> {
    let collection = database.collection::<Document>(collection);
    let all = collection.find(doc! {}).sort(doc! { "_id": 1 }).await;
    all.expect("a cursor").try_collect().await.expect("all rows")
}

fn message(row: &Document) -> Row {
    let id: [u8; 24] = bytes(row, "_id").try_into().expect("24 bytes");
    let files = row.get_array("attachments").map(Vec::as_slice).unwrap_or_default();
    let files = files.iter().filter_map(Bson::as_document).map(|file| bytes(file, "id"));
    Row {
        id: MessageId::from_bytes(id),
        sender: user(row, "sender"),
        nth: number(row, "nth"),
        text: row.get_str("text").unwrap_or_default().to_owned(),
        client_message_id: row.get_str("client_message_id").ok().map(str::to_owned),
        at: row.get_datetime("at").ok().copied(),
        deleted: row.get_datetime("deleted_at").is_ok(),
        files: files.collect(),
    }
}

fn bytes(row: &Document, field: &str) -> Vec<u8> {
    row.get_binary_generic(field).unwrap_or_else(|_| panic!("{field} of {row}")).clone()
}

fn id_of(row: &Document, field: &str) -> [u8; 16] {
    bytes(row, field).try_into().expect("16 bytes")
}

fn conversation(row: &Document, field: &str) -> ConversationId {
    ConversationId::from_bytes(id_of(row, field))
}

fn user(row: &Document, field: &str) -> UserId {
    UserId::from_bytes(id_of(row, field))
}

fn number(row: &Document, field: &str) -> i64 {
    match row.get(field) {
        Some(Bson::Int64(number)) => *number,
        Some(Bson::Int32(number)) => i64::from(*number),
        _ => panic!("{field} of {row}"),
    }
}

fn seq(row: &Row) -> i64 {
    row.id.seq.cast_signed()
}

fn count(messages: &[Row]) -> i64 {
    i64::try_from(messages.len()).expect("a count")
}
