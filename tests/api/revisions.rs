//! What one does to a message that is there.

mod races;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

/// The path of a message in its conversation.
pub fn path(message: &Value) -> String {
    let conversation = message["conversation_id"].as_str().expect("an id");
    format!("/conversations/{conversation}/messages/{}", message["id"].as_str().expect("an id"))
}

fn reaction(message: &Value, emoji: &str) -> String {
    let emoji = utf8_percent_encode(emoji, NON_ALPHANUMERIC);
    format!("{}/reactions/{emoji}", path(message))
}

async fn edit(actor: &Actor, message: &Value, text: &str) -> Answer {
    Answer::of(actor.request("PATCH", &path(message)).json(&json!({"message": text}))).await
}

async fn unread(actor: &Actor, conversation: &Value) -> Value {
    let conversation = conversation.as_str().expect("an id");
    actor.get(&format!("/conversations/{conversation}")).await.ok(200)["unread_count"].clone()
}

#[tokio::test]
async fn a_message_is_read_alone_by_those_who_may() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) = (app.user("alice").await, app.user("bob").await, app.user("eve").await);
    let sent = alice.send(&bob, "hi").await;
    assert_eq!(bob.get(&path(&sent)).await.ok(200), sent);
    eve.get(&path(&sent)).await.problem(404, "not_found");
    let elsewhere = alice.send(&eve, "there").await;
    let conversation = sent["conversation_id"].as_str().expect("an id");
    let mixed = format!(
        "/conversations/{conversation}/messages/{}",
        elsewhere["id"].as_str().expect("an id")
    );
    alice.get(&mixed).await.problem(404, "not_found");
}

#[tokio::test]
async fn only_its_sender_edits_a_message_and_readers_see_it_at_once() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "helo").await;
    let history = format!("/messages/{}", alice.id);
    assert_eq!(bob.get(&history).await.ok(200)["items"][0]["message"], "helo");
    app.advance(std::time::Duration::from_secs(1));
    let edited = edit(&alice, &sent, "hello").await.ok(200);
    assert_eq!((&edited["message"], &edited["seq"]), (&json!("hello"), &sent["seq"]));
    assert_ne!(edited["edited_at"], Value::Null);
    assert_eq!(edited["created_at"], sent["created_at"]);
    assert_eq!(bob.get(&history).await.ok(200)["items"][0], edited);
    assert_eq!(edit(&alice, &sent, "hello").await.ok(200), edited);
    edit(&bob, &sent, "mine").await.problem(403, "forbidden");
    for bad in ["", " \u{200B}", "a\u{0}", &"x".repeat(8001)] {
        edit(&alice, &sent, bad).await.invalid(&["message"]);
    }
    let no_text = alice.request("PATCH", &path(&sent)).json(&json!({"message": {"$ne": 1}}));
    Answer::of(no_text).await.invalid(&["message"]);
    assert_eq!(bob.get(&history).await.ok(200)["items"][0], edited);
}

#[tokio::test]
async fn a_deleted_message_keeps_its_place_and_nothing_else() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "oops @bob").await;
    bob.put(&reaction(&sent, "👍"), json!({})).await.ok(200);
    alice.put(&format!("{}/pin", path(&sent)), json!({})).await.ok(200);
    bob.delete(&path(&sent)).await.problem(403, "forbidden");
    alice.delete(&path(&sent)).await.ok(204);
    alice.delete(&path(&sent)).await.ok(204);
    let gone = bob.get(&path(&sent)).await.ok(200);
    assert_eq!((&gone["message"], &gone["seq"]), (&json!(""), &json!(1)));
    assert_ne!(gone["deleted_at"], Value::Null);
    for field in ["attachments", "reactions", "mentions"] {
        assert_eq!(gone[field], json!([]), "{field}");
    }
    assert_eq!(gone["pinned"], false);
    let history = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
    assert_eq!(history["items"], json!([gone]));
    edit(&alice, &sent, "again").await.problem(409, "message_deleted");
    for (method, what) in [("PUT", "pin"), ("DELETE", "pin")] {
        let request = bob.request(method, &format!("{}/{what}", path(&sent)));
        Answer::of(request).await.problem(409, "message_deleted");
    }
    let react = bob.put(&reaction(&sent, "👍"), json!({})).await;
    react.problem(409, "message_deleted");
    let reply = json!({"recipient_user_id": alice.id, "message": "re", "reply_to": sent["id"]});
    bob.post("/messages", reply).await.problem(409, "message_deleted");
}

#[tokio::test]
async fn deleted_messages_are_not_unread_and_tell_of_nothing() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(alice.send(&bob, &format!("{n}")).await);
        bob.send(&alice, "between").await;
        app.advance(std::time::Duration::from_secs(1));
    }
    let conversation = &sent[0]["conversation_id"];
    assert_eq!(unread(&bob, conversation).await, 5);
    for (deleted, left, last) in
        [(4, 4, Some(3)), (1, 3, Some(3)), (3, 2, Some(2)), (2, 1, Some(0))]
    {
        alice.delete(&path(&sent[deleted])).await.ok(204);
        assert_eq!(unread(&bob, conversation).await, left);
        let told = bob.get("/notifications").await.ok(200);
        let last = last.map(|at: usize| &sent[at]["id"]).expect("an id");
        assert_eq!(&told["items"][0]["message_id"], last);
        assert_eq!(told["items"][0]["unread_count"], left);
    }
    alice.delete(&path(&sent[0])).await.ok(204);
    assert_eq!(unread(&bob, conversation).await, 0);
    let told = bob.get("/notifications").await.ok(200);
    assert_eq!((&told["items"], &told["unread_count"]), (&json!([]), &json!(0)));
    assert_eq!(unread(&alice, conversation).await, 5);
    let read = json!({"message_id": sent[2]["id"]});
    let read_path = format!("/conversations/{}/read", conversation.as_str().expect("an id"));
    assert_eq!(bob.post(&read_path, read).await.ok(200)["unread_count"], 0);
    alice.send(&bob, "new").await;
    assert_eq!(unread(&bob, conversation).await, 1);
}

#[tokio::test]
async fn in_a_group_owner_and_admins_delete_what_others_wrote() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    let group = alice.group("g", &[bob.clone(), carol.clone()]).await;
    app.advance(std::time::Duration::from_secs(1));
    let first = bob.tell(&group, "one").await;
    app.advance(std::time::Duration::from_secs(1));
    let second = bob.tell(&group, "two").await;
    carol.delete(&path(&second)).await.problem(403, "forbidden");
    alice.delete(&path(&second)).await.ok(204);
    let told = carol.get("/notifications").await.ok(200);
    let message = &told["items"].as_array().expect("items")[0];
    assert_eq!((&message["type"], &message["message_id"]), (&json!("message"), &first["id"]));
    assert_eq!(message["unread_count"], 1);
    bob.delete(&path(&first)).await.ok(204);
    let told = carol.get("/notifications").await.ok(200);
    let types: Vec<&Value> =
        told["items"].as_array().expect("items").iter().map(|item| &item["type"]).collect();
    assert_eq!(types, ["group_added"]);
    assert_eq!(unread(&carol, &json!(group)).await, 0);
}

#[tokio::test]
async fn a_reaction_is_one_per_member_and_emoji() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "❤?").await;
    let react = async |actor: &Actor, emoji: &str| {
        actor.put(&reaction(&sent, emoji), json!({})).await.ok(200)["reactions"].clone()
    };
    let one = |emoji: &str, count: u64, reacted: bool| json!({"emoji": emoji, "count": count, "reacted": reacted});
    assert_eq!(react(&bob, "❤").await, json!([one("❤", 1, true)]));
    assert_eq!(react(&bob, "❤\u{FE0F}").await, json!([one("❤", 1, true)]));
    assert_eq!(react(&alice, "❤\u{FE0F}").await, json!([one("❤", 2, true)]));
    assert_eq!(react(&alice, "👍🏽").await, json!([one("❤", 2, true), one("👍🏽", 1, true)]));
    let seen = bob.get(&path(&sent)).await.ok(200);
    assert_eq!(seen["reactions"], json!([one("❤", 2, true), one("👍🏽", 1, false)]));
    let history = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
    assert_eq!(history["items"][0], seen);
    for emoji in ["❤", "❤"] {
        let left = bob.delete(&reaction(&sent, emoji)).await.ok(200);
        assert_eq!(left["reactions"], json!([one("❤", 1, false), one("👍🏽", 1, false)]));
    }
    alice.delete(&reaction(&sent, "❤")).await.ok(200);
    let left = alice.delete(&reaction(&sent, "👍🏽")).await.ok(200);
    assert_eq!(left["reactions"], json!([]));
    for bad in ["a", "1", "👍👍", "<b>", "{\"$ne\":1}"] {
        bob.put(&reaction(&sent, bad), json!({})).await.invalid(&["emoji"]);
    }
}

#[tokio::test]
async fn fifty_members_react_at_once_and_each_counts() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let mut people = Vec::new();
    for n in 0..25 {
        people.push(app.user(&format!("person{n}")).await);
    }
    let group = people[0].group("all", &people[1..]).await;
    let sent = people[0].tell(&group, "vote").await;
    let paths = [reaction(&sent, "👍"), reaction(&sent, "👎")];
    let reactions = people.iter().enumerate().flat_map(|(n, person)| {
        let person = if n % 2 == 0 { person.clone() } else { other.seen_by(person) };
        paths.iter().map(move |path| {
            let person = person.clone();
            async move { person.put(path, json!({})).await.ok(200) }
        })
    });
    futures_util::future::join_all(reactions).await;
    let seen = people[3].get(&path(&sent)).await.ok(200);
    let counts: Vec<&Value> =
        seen["reactions"].as_array().expect("reactions").iter().map(|one| &one["count"]).collect();
    assert_eq!(counts, [25, 25]);
}

#[tokio::test]
async fn a_message_has_at_most_20_kinds_of_reaction() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "all of them").await;
    let emoji = |n: u32| char::from_u32(0x1F600 + n).expect("an emoji").to_string();
    let all = (0..40).map(|n| {
        let (path, bob) = (reaction(&sent, &emoji(n)), bob.clone());
        async move { bob.put(&path, json!({})).await.status }
    });
    let taken = futures_util::future::join_all(all).await;
    assert_eq!(taken.iter().filter(|status| **status == 200).count(), 20);
    assert_eq!(taken.iter().filter(|status| **status == 422).count(), 20);
    let seen = alice.get(&path(&sent)).await.ok(200);
    let kinds = seen["reactions"].as_array().expect("reactions");
    assert_eq!(kinds.len(), 20);
    let first = kinds[0]["emoji"].as_str().expect("an emoji");
    assert_eq!(alice.put(&reaction(&sent, first), json!({})).await.status, 200);
}

#[tokio::test]
async fn at_most_50_messages_are_pinned() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut sent = Vec::new();
    for n in 0..60 {
        sent.push(alice.send(&bob, &n.to_string()).await);
    }
    let pins = sent.iter().enumerate().map(|(n, message)| {
        let actor = if n % 2 == 0 { alice.clone() } else { bob.clone() };
        let path = format!("{}/pin", path(message));
        async move { actor.put(&path, json!({})).await.status }
    });
    let statuses = futures_util::future::join_all(pins).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 50);
    assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 10);
    let conversation = sent[0]["conversation_id"].as_str().expect("an id");
    let pinned = format!("/conversations/{conversation}/messages?pinned=true");
    let all = bob.get(&pinned).await.ok(200);
    let seqs: Vec<u64> =
        all["items"].as_array().expect("items").iter().filter_map(|m| m["seq"].as_u64()).collect();
    assert_eq!(seqs.len(), 50);
    assert!(seqs.is_sorted_by(|newer, older| newer > older), "{seqs:?}");
    assert!(all["items"].as_array().expect("items").iter().all(|m| m["pinned"] == true));
    let page = bob.get(&format!("{pinned}&limit=20")).await.ok(200);
    let older = page["older_cursor"].as_str().expect("older ones");
    let next = bob.get(&format!("{pinned}&limit=40&before={older}")).await.ok(200);
    assert_eq!(next["items"].as_array().expect("items").len(), 30);
    assert_eq!(next["older_cursor"], Value::Null);
    let oldest = next["items"][29]["id"].as_str().expect("an id");
    let none = bob.get(&format!("{pinned}&before={oldest}")).await.ok(200);
    let ends = [&none["items"], &none["older_cursor"], &none["newer_cursor"]];
    assert_eq!(ends, [&json!([]), &Value::Null, &json!(oldest)]);
    let one = format!("{}/pin", path(&all["items"][0]));
    for _ in 0..2 {
        assert_eq!(bob.delete(&one).await.ok(200)["pinned"], false);
    }
    let history = bob.get(&format!("/messages/{}?limit=100", alice.id)).await.ok(200);
    let pinned = history["items"].as_array().expect("items").iter();
    assert_eq!(pinned.filter(|message| message["pinned"] == true).count(), 49);
}

#[tokio::test]
async fn a_page_around_a_message_has_it_in_its_middle() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut sent = Vec::new();
    for n in 1..=20 {
        sent.push(alice.send(&bob, &n.to_string()).await);
    }
    let seqs = async |at: usize, limit: usize| {
        let id = sent[at - 1]["id"].as_str().expect("an id");
        let path = format!("/messages/{}?around={id}&limit={limit}", alice.id);
        let page = bob.get(&path).await.ok(200);
        let items = page["items"].as_array().expect("items");
        items.iter().filter_map(|m| m["seq"].as_u64()).collect::<Vec<u64>>()
    };
    assert_eq!(seqs(10, 5).await, [12, 11, 10, 9, 8]);
    assert_eq!(seqs(10, 4).await, [11, 10, 9, 8]);
    assert_eq!(seqs(1, 5).await, [3, 2, 1]);
    assert_eq!(seqs(20, 5).await, [20, 19, 18]);
    assert_eq!(seqs(7, 1).await, [7]);
    let two = format!(
        "/messages/{}?around={1}&before={1}",
        alice.id,
        sent[3]["id"].as_str().expect("an id")
    );
    bob.get(&two).await.invalid(&["around"]);
}

#[tokio::test]
async fn receipts_say_how_far_each_other_member_is() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    let group = alice.group("g", &[bob.clone(), carol.clone()]).await;
    let sent = alice.tell(&group, "seen?").await;
    app.advance(std::time::Duration::from_secs(5));
    let read = json!({"message_id": sent["id"]});
    bob.post(&format!("/conversations/{group}/read"), read).await.ok(200);
    let now = app.clock().now();
    let receipts = alice.get(&format!("{}/receipts", path(&sent))).await.ok(200);
    let items = receipts["items"].as_array().expect("items");
    assert_eq!(items.len(), 2);
    let of = |actor: &Actor| {
        items.iter().find(|item| item["user_id"] == actor.id).expect("a receipt").clone()
    };
    assert_eq!(of(&bob), json!({"user_id": bob.id, "status": "read", "at": now}));
    assert_eq!(of(&carol), json!({"user_id": carol.id, "status": "sent", "at": null}));
    assert_eq!(alice.get(&path(&sent)).await.ok(200)["status"], "sent");
    let first = alice.get(&format!("{}/receipts?limit=1", path(&sent))).await.ok(200);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second =
        alice.get(&format!("{}/receipts?limit=1&cursor={cursor}", path(&sent))).await.ok(200);
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!([&first["items"][0], &second["items"][0]], [&items[0], &items[1]]);
}
