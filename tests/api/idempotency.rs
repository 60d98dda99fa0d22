//! `client_message_id`: sending once, for its sender and in its conversation.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::Collection;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use natter::internals::domain::UserId;
use serde_json::{Value, json};

use crate::support::audit::Audit;
use crate::support::{Actor, Answer, TestApp};

const NAME: &str = "k-1";

fn to(peer: &Actor, text: &str) -> Value {
    json!({"recipient_user_id": peer.id, "message": text, "client_message_id": NAME})
}

fn replays(answers: &[Answer]) -> usize {
    answers.iter().filter(|it| it.header("idempotent-replayed") == "true").count()
}

#[tokio::test]
async fn fifty_at_once_in_each_of_two_conversations_are_one_message_in_each() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("all", std::slice::from_ref(&bob)).await;
    let elsewhere = second.seen_by(&alice);
    let in_group = json!({"group_id": group, "message": "hi", "client_message_id": NAME});
    let sends = (0..100).map(|n| {
        let sender = if n % 4 < 2 { &alice } else { &elsewhere };
        sender.post("/messages", if n % 2 == 0 { to(&bob, "hi") } else { in_group.clone() })
    });
    let answers: Vec<Answer> = join_all(sends).await;
    assert_eq!(replays(&answers), 98);
    let (direct, grouped): (Vec<_>, Vec<_>) =
        answers.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    for answers in [direct, grouped] {
        let first = answers[0].1.clone().ok(201);
        assert_eq!(first["seq"], 1);
        for (_, answer) in answers {
            assert_eq!(answer.ok(201), first);
        }
    }
    // In either, other content is another message under a name that is taken.
    alice.post("/messages", to(&bob, "ho")).await.problem(422, "idempotency_key_reused");
    let other = json!({"group_id": group, "message": "ho", "client_message_id": NAME});
    alice.post("/messages", other).await.problem(422, "idempotency_key_reused");
    Audit::of(&app.database().await).await;
}

/// The keys of a database that an earlier natter wrote: the sender's id, then 16 bytes of the
/// SHA-256 of the name.
async fn as_before(app: &TestApp, sender: &Actor) -> Collection<Document> {
    let keys = app.database().await.collection::<Document>("message_keys");
    let mut row = keys.find_one(doc! {}).await.expect("an answer").expect("a key");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, NAME.as_bytes());
    let id: UserId = sender.id.parse().expect("an id");
    let bytes = [id.bytes().as_slice(), &digest.as_ref()[..16]].concat();
    keys.delete_one(doc! { "_id": row.get("_id") }).await.expect("deleted");
    row.insert("_id", Binary { subtype: BinarySubtype::Generic, bytes });
    keys.insert_one(row).await.expect("inserted");
    keys
}

#[tokio::test]
async fn a_key_from_before_an_upgrade_counts_in_its_conversation() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let carol = app.user("carol").await;
    let first = alice.post("/messages", to(&bob, "hi")).await.ok(201);
    let keys = as_before(&app, &alice).await;

    let again = join_all((0..10).map(|_| alice.post("/messages", to(&bob, "hi")))).await;
    assert_eq!(replays(&again), 10);
    for answer in again {
        assert_eq!(answer.ok(201), first);
    }
    alice.post("/messages", to(&bob, "ho")).await.problem(422, "idempotency_key_reused");
    assert_eq!(alice.post("/messages", to(&carol, "ho")).await.ok(201)["seq"], 1);
    let mut reply = to(&bob, "hi");
    reply["reply_to"] = first["id"].clone();
    alice.post("/messages", reply).await.problem(422, "idempotency_key_reused");
    assert_eq!(keys.count_documents(doc! {}).await.expect("a count"), 2);

    app.advance(Duration::from_hours(26));
    let alice = app.login(&alice.email, &alice.password).await;
    let late = alice.post("/messages", to(&bob, "ho")).await.ok(201);
    assert_eq!(late["seq"], 2, "the name is free again");
    assert_eq!(replays(&[alice.post("/messages", to(&bob, "ho")).await]), 1);
}
