//! What must hold between the rows of a database, whoever made them.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::{Bson, Document};
use natter::internals::domain::{ConversationId, MessageId, UserId};

type All = BTreeMap<String, Vec<Document>>;

/// The bytes of a field.
pub fn bytes(row: &Document, field: &str) -> Vec<u8> {
    row.get_binary_generic(field).expect("bytes").clone()
}

fn number(row: &Document, field: &str) -> u64 {
    let number = match row.get(field) {
        Some(Bson::Int64(number)) => *number,
        Some(Bson::Int32(number)) => i64::from(*number),
        other => panic!("{field}: {other:?}"),
    };
    u64::try_from(number).expect("not negative")
}

/// The bytes of an id that a client knows.
pub fn uuid(text: &str) -> Vec<u8> {
    text.parse::<UserId>().expect("an id").bytes().to_vec()
}

/// The text of an id.
pub fn text(id: &[u8]) -> String {
    UserId::from_bytes(id.try_into().expect("16 bytes")).to_string()
}

/// The messages of a conversation, in their order.
pub fn messages<'a>(all: &'a All, conversation: &[u8]) -> Vec<&'a Document> {
    let shards =
        all.range("messages_".to_owned()..).filter(|(name, _)| name.starts_with("messages_"));
    let rows = shards.flat_map(|(_, rows)| rows);
    rows.filter(|row| bytes(row, "_id").starts_with(conversation)).collect()
}

/// What others wrote after the read mark, counted from the messages.
pub fn unread(messages: &[&Document], place: &Document) -> u64 {
    let (me, read) = (bytes(place, "user_id"), number(place, "read_seq"));
    let after = (1..).zip(messages).filter(|(seq, _)| *seq > read);
    after.filter(|(_, row)| bytes(row, "sender") != me).count() as u64
}

/// Checks everything.
pub fn hold(all: &All) {
    let mut said: BTreeMap<Vec<u8>, Vec<&Document>> = BTreeMap::new();
    for (name, rows) in all.iter().filter(|(name, _)| name.starts_with("messages_")) {
        for row in rows {
            let key: [u8; 24] = bytes(row, "_id").try_into().expect("24 bytes");
            let id = MessageId::from_bytes(key);
            let shard = natter::internals::store::shard_of(id.conversation, 4);
            assert_eq!(*name, format!("messages_{shard}"));
            let said = said.entry(id.conversation.bytes().to_vec()).or_default();
            said.push(row);
            assert_eq!(id.seq, said.len() as u64, "without a gap");
        }
    }
    let places = places(all);
    assert_eq!(all["conversations"].len(), places.len());
    let mut sends = BTreeSet::new();
    for summary in &all["conversations"] {
        let id = bytes(summary, "_id");
        let said = said.remove(&id).unwrap_or_default();
        summary_is_the_last_message(summary, &said);
        members_are_exact(summary, &said, &places[&id]);
        sends.extend(own_sends(&id, &said));
    }
    assert!(said.is_empty(), "messages without a summary");
    let stored: BTreeSet<_> =
        all["sends"].iter().map(|row| (bytes(row, "_id"), number(row, "n"))).collect();
    assert_eq!(stored, sends);
    groups_are_counted(all, &places);
}

/// The rows of members, by conversation.
fn places(all: &All) -> BTreeMap<Vec<u8>, Vec<&Document>> {
    let mut places: BTreeMap<Vec<u8>, Vec<&Document>> = BTreeMap::new();
    for row in &all["members"] {
        let (conversation, user) = (bytes(row, "conversation_id"), bytes(row, "user_id"));
        assert_eq!(bytes(row, "_id"), [conversation.clone(), user].concat());
        places.entry(conversation).or_default().push(row);
    }
    places
}

fn summary_is_the_last_message(summary: &Document, said: &[&Document]) {
    assert_eq!(number(summary, "last_seq"), said.len() as u64);
    let times: Vec<_> = said.iter().map(|row| *row.get_datetime("at").expect("a time")).collect();
    assert!(times.is_sorted());
    let began = *summary.get_datetime("created_at").expect("a time");
    assert_eq!(
        *summary.get_datetime("last_at").expect("a time"),
        times.last().copied().unwrap_or(began)
    );
    let newest = (1..).zip(said).last();
    let other = newest.and_then(|(_, newest)| {
        (1_u64..).zip(said).filter(|(_, row)| row.get("sender") != newest.get("sender")).last()
    });
    for (field, found) in [("last", newest), ("other", other)] {
        let stored = summary.get_document(field).ok();
        assert_eq!(stored.is_some(), found.is_some(), "{field}");
        if let (Some(stored), Some((seq, row))) = (stored, found) {
            assert_eq!(number(stored, "seq"), seq);
            assert_eq!(
                (stored.get("sender"), stored.get("at")),
                (row.get("sender"), row.get("at"))
            );
        }
    }
}

/// Each member's totals are those of the messages, and what waits for them is there.
fn members_are_exact(summary: &Document, said: &[&Document], places: &[&Document]) {
    let is_direct = summary.get_str("kind").is_ok_and(|kind| kind == "direct");
    let written: usize = places.iter().map(|place| totals_are_exact(said, place)).sum();
    assert_eq!(written, said.len(), "only members write");
    for place in places {
        what_waits_is_there(said, place, is_direct);
    }
    if is_direct {
        let members = summary.get_array("members").expect("members");
        assert_eq!(members.len(), places.len());
        let id = |place: &Document| bytes(place, "user_id").try_into().expect("16 bytes");
        let ids: Vec<UserId> = places.iter().map(|row| UserId::from_bytes(id(row))).collect();
        let id = ConversationId::direct(ids[0], ids[ids.len() - 1]);
        assert_eq!(id.bytes().to_vec(), bytes(summary, "_id"));
    }
}

/// Returns how many messages a member wrote.
fn totals_are_exact(said: &[&Document], place: &Document) -> usize {
    let me = bytes(place, "user_id");
    let own = (1..).zip(said).filter(|(_, row)| bytes(row, "sender") == me);
    let own: Vec<u64> = own.map(|(seq, _)| seq).collect();
    let [read, joined, delivered] =
        ["read_seq", "joined_seq", "delivered_seq"].map(|field| number(place, field));
    assert!(joined <= read && read <= delivered && delivered <= said.len() as u64);
    assert!(own.first().is_none_or(|first| *first > joined), "nobody writes before they join");
    assert_eq!(number(place, "own_total"), own.len() as u64);
    let at_read = own.iter().filter(|seq| **seq <= read).count() as u64;
    assert_eq!(number(place, "own_at_read"), at_read);
    let counted = said.len() as u64 - read - (own.len() as u64 - at_read);
    assert_eq!(counted, unread(said, place));
    own.len()
}

/// In a direct conversation, the last message of the other after the read mark.
fn what_waits_is_there(said: &[&Document], place: &Document, is_direct: bool) {
    let (me, read) = (bytes(place, "user_id"), number(place, "read_seq"));
    let after = (1_u64..).zip(said).filter(|(seq, _)| is_direct && *seq > read);
    let waiting = after.filter(|(_, row)| bytes(row, "sender") != me).last();
    let at = waiting.map(|(_, row)| row.get_datetime("at").expect("a time"));
    assert_eq!(place.get_datetime("waiting_at").ok(), at);
    let seq = waiting.map(|(seq, _)| i64::try_from(seq).expect("few"));
    assert_eq!(place.get_i64("waiting_seq").ok(), seq);
}

/// The rows that `sends` must have for a conversation; each message says the same.
fn own_sends(conversation: &[u8], said: &[&Document]) -> Vec<(Vec<u8>, u64)> {
    let mut totals: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let rows = (1_u64..).zip(said).map(|(seq, row)| {
        let sender = bytes(row, "sender");
        let nth = totals.entry(sender.clone()).or_default();
        *nth += 1;
        assert_eq!(number(row, "nth"), *nth);
        ([&sender, conversation, &seq.to_be_bytes()].concat(), *nth)
    });
    rows.collect()
}

fn groups_are_counted(all: &All, places: &BTreeMap<Vec<u8>, Vec<&Document>>) {
    let mut of_user: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for group in &all["groups"] {
        let members = &places[&bytes(group, "_id")];
        assert_eq!(number(group, "member_count"), members.len() as u64);
        let owners: Vec<_> = members
            .iter()
            .filter(|row| row.get_str("role").is_ok_and(|role| role == "owner"))
            .collect();
        assert_eq!(owners.len(), 1);
        assert_eq!(bytes(owners[0], "user_id"), bytes(group, "owner_id"));
        for row in members {
            *of_user.entry(bytes(row, "user_id")).or_default() += 1;
        }
    }
    for user in &all["users"] {
        let counted = of_user.remove(&bytes(user, "_id")).unwrap_or(0);
        assert_eq!(number(user, "group_count"), counted);
    }
    assert!(of_user.is_empty(), "members who are nobody");
}
