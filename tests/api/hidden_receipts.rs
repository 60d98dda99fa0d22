//! Under a block neither of the two learns what the other got or read since.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::revisions::path;
use crate::support::socket::Socket;
use crate::support::{Actor, TestApp};

async fn block(one: &Actor, other: &Actor) {
    one.post("/blocks", json!({"user_id": other.id})).await.ok(201);
}

async fn unblock(one: &Actor, other: &Actor) {
    one.delete(&format!("/blocks/{}", other.id)).await.ok(204);
}

async fn read(reader: &Actor, message: &Value) -> Value {
    let conversation = message["conversation_id"].as_str().expect("an id");
    let read = json!({"message_id": message["id"]});
    reader.post(&format!("/conversations/{conversation}/read"), read).await.ok(200)
}

/// How far a message has come, in every place that says so.
async fn seen(by: &Actor, of: &Actor, message: &Value) -> (Value, Value) {
    let status = by.get(&path(message)).await.ok(200)["status"].take();
    let history = by.get(&format!("/messages/{}?limit=100", of.id)).await.ok(200);
    let items = history["items"].as_array().expect("items").iter();
    let mut same = items.filter(|item| item["id"] == message["id"]);
    assert_eq!(same.next().expect("it is in the history")["status"], status);
    let mut receipts = by.get(&format!("{}/receipts", path(message))).await.ok(200);
    let receipt = receipts["items"][0].take();
    assert_eq!((&receipt["user_id"], &receipt["status"]), (&json!(of.id), &status));
    (status, receipt["at"].clone())
}

/// The marks of others that a device hears of before it hears of a message to itself.
async fn told(device: &mut Socket, actor: &Actor) -> Vec<Value> {
    let mark = actor.send(actor, "up to here").await;
    let frames = device.frames_until(|frame| frame["data"]["id"] == mark["id"]).await;
    let marks = frames.into_iter().filter(|frame| {
        let kind = frame["type"].as_str().expect("a type");
        kind == "conversation.read" || kind == "conversation.delivered"
    });
    marks.filter(|frame| frame["data"]["user_id"] != actor.id).collect()
}

/// Waits until a device's own mark has moved.
async fn deliver(device: &mut Socket, message: &Value) {
    let (conversation, seq) = (&message["conversation_id"], &message["seq"]);
    device.send(json!({"type": "delivered", "conversation_id": conversation, "seq": seq})).await;
    let is_it = |frame: &Value| frame["type"] == "conversation.delivered";
    device.frames_until(is_it).await;
}

/// One who reads, and one who wants to know.
struct Pair {
    alice: Actor,
    bob: Actor,
    /// Bob at another instance.
    there: Actor,
    /// What Bob had read before the block, and how Alice was shown that.
    before: (Value, (Value, Value)),
    /// What they wrote to each other after that.
    sent: Value,
    replied: Value,
}

impl Pair {
    async fn of(app: &TestApp, there: &TestApp, name: &str) -> Self {
        let alice = app.user(&format!("alice-{name}")).await;
        let bob = app.user(&format!("bob-{name}")).await;
        let before = alice.send(&bob, "read before").await;
        read(&bob, &before).await;
        let shown = seen(&alice, &bob, &before).await;
        assert_eq!(shown.0, "read");
        app.advance(Duration::from_secs(5));
        let sent = alice.send(&bob, "got and read since").await;
        let replied = bob.send(&alice, "likewise").await;
        Self { there: there.seen_by(&bob), alice, bob, before: (before, shown), sent, replied }
    }

    /// Under a block, the marks of both move.
    async fn move_marks(&self) -> (Vec<Value>, Vec<Value>) {
        let Self { alice, bob, there, sent, replied, .. } = self;
        let (mut alices, mut bobs) = (alice.socket().await, there.socket().await);
        let mut another = bob.socket().await;
        deliver(&mut bobs, sent).await;
        assert_eq!(another.expect("conversation.delivered").await["seq"], sent["seq"]);
        assert_eq!(seen(alice, bob, sent).await, (json!("sent"), Value::Null));
        let state = read(there, replied).await;
        assert_eq!((&state["read_seq"], &state["unread_count"]), (&replied["seq"], &json!(0)));
        assert_eq!(another.expect("conversation.read").await["seq"], replied["seq"]);
        read(alice, replied).await;
        (told(&mut alices, alice).await, told(&mut bobs, bob).await)
    }

    /// Nothing of it is shown to the other, and all of it to oneself.
    async fn is_hidden(&self) {
        let Self { alice, bob, before, sent, replied, .. } = self;
        assert_eq!(seen(alice, bob, sent).await, (json!("sent"), Value::Null));
        assert_eq!(seen(bob, alice, replied).await, (json!("sent"), Value::Null));
        assert_eq!(seen(alice, bob, &before.0).await, before.1, "what was shown stays");
        let events = alice.get("/sync").await.ok(200).to_string();
        assert!(!events.contains(&format!(r#""seq":{},"user_id":"{}""#, sent["seq"], bob.id)));
        assert!(events.contains(&format!(r#""seq":{},"user_id":"{}""#, before.0["seq"], bob.id)));
        let own = bob.get(&format!("{}/receipts", path(sent))).await.ok(200);
        assert_eq!(own["items"][0]["status"], "read", "one's own is as it is");
    }

    /// All of it is shown, and what comes next is told.
    async fn is_shown(&self) {
        let Self { alice, bob, sent, replied, .. } = self;
        assert_eq!(seen(alice, bob, sent).await.0, "read");
        assert_eq!(seen(bob, alice, replied).await.0, "read");
        let mut alices = alice.socket().await;
        let next = alice.send(bob, "friends again").await;
        read(bob, &next).await;
        let frames = alices.frames_until(|it| it["type"] == "conversation.read").await;
        assert_eq!(frames.last().expect("a frame")["data"]["user_id"], bob.id);
        assert_eq!(seen(alice, bob, &next).await.0, "read");
    }
}

#[tokio::test]
async fn neither_of_two_learns_what_the_other_got_or_read_since() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    for blocker in ["alice", "bob", "both"] {
        let pair = Pair::of(&app, &second, blocker).await;
        let Pair { alice, bob, sent, .. } = &pair;
        if blocker != "bob" {
            block(alice, bob).await;
        }
        if blocker != "alice" {
            block(bob, alice).await;
        }
        assert_eq!(pair.move_marks().await, (Vec::new(), Vec::new()), "{blocker}");
        pair.is_hidden().await;
        // The last block that goes shows how things stand.
        unblock(alice, bob).await;
        if blocker != "alice" {
            assert_eq!(seen(alice, bob, sent).await.0, "sent");
        }
        unblock(bob, alice).await;
        pair.is_shown().await;
    }
}

#[tokio::test]
async fn in_a_common_group_receipts_go_on() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("common", std::slice::from_ref(&bob)).await;
    block(&alice, &bob).await;
    let sent = bob.tell(&group, "hello all").await;
    let mut bobs = bob.socket().await;
    read(&alice, &sent).await;
    assert_eq!(bobs.expect("conversation.read").await["user_id"], alice.id);
    assert_eq!(bob.get(&path(&sent)).await.ok(200)["status"], "read");
}

/// Blocks, reads and takes the block back at once, many times: in the end what is shown is what is
/// there, or what was there before the block.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_meets_whatever_what_is_hidden_follows_from_the_block() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let rows = app.database().await.collection::<Document>("members");
    for round in 0..6 {
        let alice = app.user(&format!("alice{round}")).await;
        let bob = app.user(&format!("bob{round}")).await;
        let mut sent = Vec::new();
        for n in 0..8 {
            sent.push(alice.send(&bob, &format!("{n}")).await);
        }
        let there = second.seen_by(&bob);
        let reading = sent.iter().map(|message| read(&there, message));
        let blocking = async {
            block(&alice, &bob).await;
            if round % 2 == 0 {
                unblock(&alice, &bob).await;
            }
        };
        tokio::join!(join_all(reading), blocking);
        let is_blocked = round % 2 == 1;
        let id: natter::internals::domain::UserId = bob.id.parse().expect("an id");
        let bytes = mongodb::bson::Binary {
            subtype: mongodb::bson::spec::BinarySubtype::Generic,
            bytes: id.bytes().to_vec(),
        };
        let row = doc! { "user_id": bytes, "kind": "direct" };
        let row = rows.find_one(row).await.expect("an answer").expect("a row");
        assert_eq!(row.get_i64("read_seq").expect("a number"), 8, "{row}");
        if !is_blocked {
            assert!(!row.contains_key("shown"), "{row}");
            assert_eq!(seen(&alice, &bob, &sent[7]).await.0, "read");
        }
        // What moves from now on is hidden while the block is there.
        let shown = seen(&alice, &bob, &sent[7]).await;
        if is_blocked {
            read(&bob, &sent[7]).await;
            assert_eq!(seen(&alice, &bob, &sent[7]).await, shown);
        }
    }
}
