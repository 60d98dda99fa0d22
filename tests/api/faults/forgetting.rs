//! The store no longer knows what happened when nobody relayed.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use natter::config::Secret;
use tokio::time::{sleep, timeout};

use crate::support::app::PATIENCE;
use crate::support::servers::Server;
use crate::support::{Actor, TestApp};

/// Writes until the oplog begins after what it began with.
async fn overwrite(app: &TestApp) {
    let client = app.database().await.client().clone();
    let junk = client.database("junk").collection::<Document>("junk");
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let oldest = async || loop {
        match oplog.find_one(doc! {}).sort(doc! { "$natural": 1 }).await {
            // The entry went while it was read.
            Err(error) if error.to_string().contains("CappedPositionLost") => {}
            found => {
                let entry = found.expect("an oplog").expect("an entry");
                break entry.get_timestamp("ts").expect("a time");
            }
        }
    };
    let before = oldest().await;
    let text = "x".repeat(8 << 20);
    let writing = async {
        while oldest().await == before {
            junk.insert_one(doc! { "text": &text }).await.expect("a write");
        }
    };
    timeout(2 * PATIENCE, writing).await.expect("an oplog that forgets");
    junk.drop().await.expect("room");
}

async fn hi(from: &Actor, to: &Actor) -> serde_json::Value {
    from.send(to, "hi").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_tell_any_more_is_said_to_be_missing() {
    let mongod = Server::forgetful_mongod().await;
    let uri = mongod.url("mongodb");
    let app = TestApp::with(|settings| settings.mongodb.uri = Secret::new(uri)).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    hi(&alice, &bob).await;
    socket.expect("message.created").await;
    let seen = socket.last_id();
    app.shutdown.abort();
    sleep(Duration::from_millis(500)).await;
    overwrite(&app).await;
    let next = app.second_instance().await;
    let (alice, bob) = (next.seen_by(&alice), next.seen_by(&bob));
    // Who comes before the relay has found out is sent away then, perhaps before it is ready.
    let told = async {
        loop {
            let Some(mut early) = bob.try_socket(Some("nothing")).await else { continue };
            hi(&alice, &bob).await;
            match early.next_or_end().await {
                Ok(_) => break,
                Err(code) => assert_eq!(code, Some(1001)),
            }
        }
    };
    timeout(2 * PATIENCE, told).await.expect("a relay that goes on");
    let mut back = bob.socket_since(&seen).await;
    assert_eq!(back.ready["recovered"], false);
    let sent = hi(&alice, &bob).await;
    assert_eq!(back.expect("message.created").await, sent);
    let mut again = bob.socket_since(&back.last_id()).await;
    assert_eq!(again.ready["recovered"], true);
    let sent = hi(&alice, &bob).await;
    for socket in [&mut back, &mut again] {
        assert_eq!(socket.expect("message.created").await, sent);
    }
}
