//! Delivered marks: what has come to a device, told to whoever wrote it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::revisions::path;
use crate::support::actor::Actor;
use crate::support::app::TestApp;
use crate::support::socket::Socket;

const MOMENT: Duration = Duration::from_millis(1200);

fn delivered(conversation: &Value, seq: u64) -> Value {
    json!({"type": "delivered", "conversation_id": conversation, "seq": seq})
}

async fn status(reader: &Actor, message: &Value) -> Value {
    reader.get(&path(message)).await.ok(200)["status"].take()
}

/// All marks that come within a moment.
async fn marks(socket: &mut Socket) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Ok(data) = tokio::time::timeout(MOMENT, socket.expect("conversation.delivered")).await
    {
        seqs.push(data["seq"].as_u64().expect("a number"));
    }
    seqs
}

#[tokio::test]
async fn a_message_is_delivered_once_a_device_says_so() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "has it come?").await;
    let conversation = &sent["conversation_id"];
    let (mut writer, mut reader) = (alice.socket().await, other.seen_by(&bob).socket().await);
    assert_eq!(status(&alice, &sent).await, "sent");
    reader.send(delivered(conversation, 1)).await;
    let told = json!({"conversation_id": conversation, "user_id": bob.id, "seq": 1});
    assert_eq!(writer.expect("conversation.delivered").await, told);
    assert_eq!(reader.expect("conversation.delivered").await, told);
    assert_eq!(status(&alice, &sent).await, "delivered");
    let receipts = alice.get(&format!("{}/receipts", path(&sent))).await.ok(200);
    let receipt = json!({"user_id": bob.id, "status": "delivered", "at": app.clock().now()});
    assert_eq!(receipts["items"], json!([receipt]));
}

#[tokio::test]
async fn only_what_is_there_comes_and_only_to_members() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) = (app.user("alice").await, app.user("bob").await, app.user("eve").await);
    let sent = alice.send(&bob, "one").await;
    let conversation = &sent["conversation_id"];
    alice.send(&bob, "two").await;
    let (mut writer, mut reader, mut outside) =
        (alice.socket().await, bob.socket().await, eve.socket().await);
    for seq in [3, u64::MAX] {
        reader.send(delivered(conversation, seq)).await;
    }
    outside.send(delivered(conversation, 2)).await;
    outside.send(delivered(&json!(eve.id), 1)).await;
    writer.quiet(MOMENT).await;
    // What is wrong covers up nothing that is right, in whatever order they come.
    for seq in [2, 9, 1] {
        reader.send(delivered(conversation, seq)).await;
    }
    assert_eq!(marks(&mut writer).await, [2]);
    reader.send(delivered(conversation, 1)).await;
    writer.quiet(MOMENT).await;
    outside.quiet(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn many_at_once_are_one_write_and_none_goes_back() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut conversation = Value::Null;
    for n in 0..50 {
        conversation = alice.send(&bob, &n.to_string()).await["conversation_id"].take();
    }
    let mut writer = alice.socket().await;
    let there = other.seen_by(&bob);
    let mut devices = [bob.socket().await, there.socket().await, there.socket().await];
    for seq in 1..=50 {
        for device in &mut devices {
            device.send(delivered(&conversation, seq)).await;
        }
        if seq % 25 == 0 {
            // A device that says more than 30 things in a second is sent away.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
    let seqs = marks(&mut writer).await;
    assert!(seqs.len() <= 8 && seqs.is_sorted() && seqs.last() == Some(&50), "{seqs:?}");
}

#[tokio::test]
async fn what_waits_is_written_when_an_instance_stops() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "quick").await;
    let mut writer = alice.socket().await;
    let mut reader = other.seen_by(&bob).socket().await;
    reader.send(delivered(&sent["conversation_id"], 1)).await;
    reader.ping().await;
    other.shutdown.begin();
    assert_eq!(writer.expect("conversation.delivered").await["seq"], 1);
}
