//! All that someone has, as a download.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use natter::internals::domain::{ConversationId, MessageId, UserId};
use serde_json::{Value, json};

use crate::support::{Actor, TestApp};

async fn export(actor: &Actor) -> Value {
    actor.get("/profile/export").await.ok(200)
}

fn raw(bytes: impl Into<Vec<u8>>) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.into() }
}

fn texts(export: &Value) -> Vec<&str> {
    let messages = export["messages"].as_array().expect("messages");
    messages.iter().filter_map(|message| message["message"].as_str()).collect()
}

#[tokio::test]
async fn it_is_a_download_without_secrets() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let tablet = app.login(&ada.email, &ada.password).await;
    let answer = ada.get("/profile/export").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let named = "attachment; filename=\"natter-export.json\"";
    assert_eq!(answer.header("content-disposition"), named);
    assert_eq!(answer.header("cache-control"), "no-store");
    for secret in [&ada.token, &ada.refresh_token, &tablet.token, &tablet.refresh_token] {
        assert!(!answer.text().contains(secret.as_str()));
    }
    assert!(!answer.text().contains("$2b$") && !answer.text().contains("password"));
    let export = answer.ok(200);
    let names = export.as_object().expect("an object").keys();
    let names: Vec<&str> = names.map(String::as_str).collect();
    let all = ["attachments", "blocks", "friends", "groups", "messages", "profile", "sessions"];
    assert_eq!(names, all);
    assert_eq!(export["profile"], ada.get("/profile").await.ok(200));
    assert_eq!(export["sessions"], ada.get("/sessions").await.ok(200)["items"]);
}

#[tokio::test]
async fn friends_requests_and_groups_are_in_it() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let (carol, dan) = (app.user("carol").await, app.user("dan").await);
    ada.befriend(&bob).await;
    ada.post("/friends/add", json!({"friend_user_id": carol.id})).await.ok(201);
    dan.post("/friends/add", json!({"friend_user_id": ada.id})).await.ok(201);
    ada.group("tea", std::slice::from_ref(&bob)).await;
    let export = export(&ada).await;
    assert_eq!(export["groups"], ada.get("/groups").await.ok(200)["items"]);
    assert_eq!(export["groups"].as_array().map(Vec::len), Some(1));
    let friends = export["friends"].as_array().expect("friends").iter();
    let friends: Vec<_> =
        friends.map(|it| (it["user"]["username"].as_str(), it["direction"].as_str())).collect();
    let expected = [("bob", None), ("dan", Some("incoming")), ("carol", Some("outgoing"))];
    assert_eq!(friends, expected.map(|(name, direction)| (Some(name), direction)));
}

#[tokio::test]
async fn what_one_sent_and_uploaded_is_in_it_and_nothing_of_others() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let group = ada.group("tea", std::slice::from_ref(&bob)).await;
    let file = crate::attachments::picture(&ada).await;
    crate::attachments::picture(&bob).await;
    let body = json!({
        "recipient_user_id": bob.id, "message": "look \"here\"\n", "attachments": [file],
        "client_message_id": "one",
    });
    let direct = ada.post("/messages", body).await.ok(201);
    bob.send(&ada, "not hers").await;
    bob.tell(&group, "not hers either").await;
    let sent = [direct.clone(), ada.tell(&group, "hello").await, ada.send(&ada, "a note").await];
    let export = export(&ada).await;
    assert_eq!(export["attachments"], direct["attachments"]);
    let messages = export["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), sent.len());
    for message in messages {
        let original = sent.iter().find(|it| it["id"] == message["id"]).expect("one of hers");
        for (name, value) in message.as_object().expect("an object") {
            assert_eq!(*value, original[name], "{name}");
        }
        assert_eq!(message.as_object().map(serde_json::Map::len), Some(13));
    }
}

#[tokio::test]
async fn an_empty_one_is_whole_as_well() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let export = export(&ada).await;
    for list in ["friends", "blocks", "groups", "messages", "attachments"] {
        assert_eq!(export[list], json!([]), "{list}");
    }
    assert_eq!(export["sessions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn who_was_removed_keeps_what_they_wrote() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let group = bob.group("tea", std::slice::from_ref(&ada)).await;
    let ended = ada.group("ended", &[]).await;
    ada.tell(&group, "I wrote this").await;
    ada.tell(&ended, "and this").await;
    bob.tell(&group, "she cannot read this").await;
    bob.post(&format!("/groups/{group}/remove"), json!({"user_id": ada.id})).await.ok(200);
    ada.post(&format!("/groups/{ended}/leave"), json!({})).await.ok(200);
    let export = export(&ada).await;
    let mut said = texts(&export);
    said.sort_unstable();
    assert_eq!(said, ["I wrote this", "and this"]);
    assert_eq!(export["groups"], json!([]));
    for message in export["messages"].as_array().expect("messages") {
        assert_eq!(message["group_id"], message["conversation_id"]);
        assert_eq!(message["recipient_user_id"], Value::Null);
    }
}

/// Puts messages of a user into the store, as the writer would: many conversations, with numbers
/// between that are others'.
async fn write_many(app: &TestApp, actor: &Actor, conversations: usize, each: u64) {
    let user: UserId = actor.id.parse().expect("an id");
    let database = app.database().await;
    let at = mongodb::bson::DateTime::from_millis(app.clock().now().millis());
    for _ in 0..conversations {
        let (peer, mut sends, mut messages) = (UserId::random(), Vec::new(), Vec::new());
        let conversation = ConversationId::direct(user, peer);
        for n in 1..=each {
            let id = MessageId::new(conversation, n * 3).bytes();
            let key = [user.bytes().as_slice(), &id].concat();
            sends.push(doc! {"_id": raw(key), "n": i64::try_from(n).expect("small")});
            messages.push(doc! {
                "_id": raw(id), "token": raw([7; 16]), "sender": raw(user.bytes()),
                "nth": i64::try_from(n).expect("small"), "at": at,
                "text": format!("{peer} {n} {}", "x".repeat(500)),
            });
        }
        let shards = app.settings().messages.shards as usize;
        let shard = natter::internals::store::shard_of(conversation, shards);
        let shard = database.collection::<Document>(&format!("messages_{shard}"));
        shard.insert_many(messages).await.expect("messages");
        let rows = database.collection::<Document>("sends");
        rows.insert_many(sends).await.expect("sends");
        let mut members = [user, peer];
        members.sort_unstable();
        let summary = doc! {
            "_id": raw(conversation.bytes()), "kind": "direct", "last_seq": 3000_i64,
            "last_at": at, "revision": 0_i64, "created_at": at,
            "members": members.map(|member| raw(member.bytes())).to_vec(),
        };
        let summaries = database.collection::<Document>("conversations");
        summaries.insert_one(summary).await.expect("a summary");
    }
}

#[tokio::test]
async fn thousands_of_messages_come_in_pieces_each_once() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    write_many(&app, &ada, 30, 101).await;
    write_many(&app, &bob, 2, 101).await;
    let response = ada.request("GET", "/profile/export").send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.content_length(), None);
    let mut pieces = response.bytes_stream();
    let (mut text, mut count, mut largest) = (Vec::new(), 0, 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.expect("a piece");
        (count, largest) = (count + 1, largest.max(piece.len()));
        text.extend_from_slice(&piece);
    }
    assert!(text.len() > 1_500_000 && count > 50 && largest < 100_000, "{count}, {largest}");
    let export: Value = serde_json::from_slice(&text).expect("JSON as a whole");
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in export["messages"].as_array().expect("messages") {
        let text = message["message"].as_str().expect("text").split(' ').collect::<Vec<_>>();
        assert_eq!(message["recipient_user_id"], text[0]);
        let seq = message["seq"].as_u64().expect("a number");
        assert_eq!(text[1], (seq / 3).to_string());
        seen.entry(text[0].to_owned()).or_default().push(seq);
    }
    assert_eq!(seen.len(), 30);
    let expected: Vec<u64> = (1..=101).map(|n| n * 3).collect();
    assert!(seen.values().all(|numbers| *numbers == expected));
}

/// A document that is not whole must not look as if it were.
#[tokio::test]
async fn a_failure_in_the_middle_breaks_the_answer_off() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    write_many(&app, &ada, 20, 100).await;
    // The last of them is one that cannot be read.
    let database = app.database().await;
    let sends = database.collection::<Document>("sends");
    let last =
        sends.find_one(doc! {}).sort(doc! {"_id": -1}).await.expect("a read").expect("a row");
    let key = last.get_binary_generic("_id").expect("a key");
    for shard in 0..app.settings().messages.shards {
        let rows = database.collection::<Document>(&format!("messages_{shard}"));
        let broken = doc! {"$set": {"text": 7}};
        let update = rows.update_one(doc! {"_id": raw(&key[16..])}, broken);
        let bypass = mongodb::options::UpdateOptions::builder().bypass_document_validation(true);
        update.with_options(bypass.build()).await.expect("an update");
    }
    for http1 in [false, true] {
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        let client = if http1 { client.http1_only() } else { client };
        let client = client.build().expect("a client");
        let get = client.get(format!("{}/profile/export", app.url)).bearer_auth(&ada.token);
        let response = get.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        let mut pieces = response.bytes_stream();
        let (mut text, mut broken) = (Vec::new(), false);
        while let Some(piece) = pieces.next().await {
            let Ok(piece) = piece else {
                broken = true;
                break;
            };
            text.extend_from_slice(&piece);
        }
        assert!(broken, "it ends as if it were whole");
        assert!(text.len() > 100_000 && serde_json::from_slice::<Value>(&text).is_err());
    }
}
