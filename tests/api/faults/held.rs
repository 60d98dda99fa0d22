//! A conversation that the open transaction of a dead instance holds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use natter::config::Secret;
use natter::internals::domain::ConversationId;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::persist;
use crate::support::audit::Audit;
use crate::support::servers::Server;
use crate::support::{Actor, TestApp};

fn to(peer: &Actor, name: &str) -> Value {
    json!({"recipient_user_id": peer.id, "message": name, "client_message_id": name})
}

/// A transaction that has changed this conversation's summary, as a dead instance leaves it.
async fn hold(app: &TestApp, conversation: &Value) -> mongodb::ClientSession {
    let database = app.database().await;
    let id: ConversationId =
        conversation.as_str().expect("an id").parse().expect("a conversation id");
    let key = Binary { subtype: BinarySubtype::Generic, bytes: id.bytes().to_vec() };
    let mut session = database.client().start_session().await.expect("a session");
    session.start_transaction().await.expect("a transaction");
    let rows = database.collection::<Document>("conversations");
    let change = doc! { "$inc": { "revision": 1_i64 } };
    let held = rows.update_one(doc! { "_id": key }, change).session(&mut session).await;
    assert_eq!(held.expect("an update").modified_count, 1);
    session
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stops_no_other() {
    let mongod = Server::mongod().await;
    let uri = mongod.url("mongodb");
    let app = TestApp::with(|settings| settings.mongodb.uri = Secret::new(uri)).await;
    let longer = doc! { "setParameter": 1, "transactionLifetimeLimitSeconds": 120 };
    let client = app.database().await.client().clone();
    client.database("admin").run_command(longer).await.expect("a longer life");
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let others = join_all(["ada", "ben", "cleo", "dan"].map(|name| app.user(name))).await;
    let first = alice.send(&bob, "before").await;
    let mut transaction = hold(&app, &first["conversation_id"]).await;
    let began = Instant::now();
    let done = AtomicBool::new(false);
    let held = async {
        while !done.load(Ordering::SeqCst) {
            let answer = alice.post("/messages", to(&bob, "held")).await;
            assert_ne!(answer.header("retry-after"), "");
            answer.problem(503, "unavailable");
        }
    };
    let free = async {
        let five = others.iter().map(async |other| {
            for n in 0..5 {
                persist(&alice, &to(other, &format!("{}-{n}", other.name))).await;
            }
        });
        join_all(five).await;
        done.store(true, Ordering::SeqCst);
        began.elapsed()
    };
    let ((), took) = tokio::join!(held, free);
    assert!(took < Duration::from_secs(10), "others waited {took:?}");
    transaction.abort_transaction().await.expect("an end");
    assert_eq!(persist(&alice, &to(&bob, "held")).await.json()["seq"], 2);
    Audit::of(&app.database().await).await.is_what_they_see(&bob).await;
}
