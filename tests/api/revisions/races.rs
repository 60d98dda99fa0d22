//! Edits and deletions that meet.

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::{edit, path, reaction, unread};
use crate::search;
use crate::support::audit::Audit;
use crate::support::talk::Talk;
use crate::support::{Actor, TestApp};

/// One deletion among each five, first on the one instance, then on the other.
async fn race(devices: &[Actor; 2], sent: &Value) {
    let attempts = (0..50).map(|n| {
        let device = &devices[n % 2];
        async move {
            if n % 5 == 0 {
                device.delete(&path(sent)).await.ok(204);
                return 204;
            }
            let answer = edit(device, sent, &format!("needle {n}")).await;
            if answer.status != 200 {
                answer.clone().problem(409, "message_deleted");
            }
            answer.status
        }
    });
    let statuses = join_all(attempts).await;
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_edits_and_deletions_at_once_the_deletion_stands() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "needle").await;
    alice.send(&bob, "kept").await;
    search::settled(&app).await;
    search::finds(&bob, "needle", &["needle"]).await;
    let devices = [alice.clone(), second.seen_by(&alice)];
    race(&devices, &sent).await;

    for instance in [&app, &second] {
        let bob = instance.seen_by(&bob);
        let gone = bob.get(&path(&sent)).await.ok(200);
        assert_eq!((&gone["message"], &gone["seq"]), (&json!(""), &json!(1)));
        assert_ne!(gone["deleted_at"], Value::Null);
        let history = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
        assert_eq!(history["items"][1], gone);
        assert_eq!(unread(&bob, &sent["conversation_id"]).await, 1);
    }
    edit(&devices[1], &sent, "needle again").await.problem(409, "message_deleted");
    search::settled(&app).await;
    for person in [&alice, &bob] {
        search::finds(person, "needle", &[]).await;
        search::finds(person, "kept", &["kept"]).await;
    }
    let deletions = app.database().await.collection::<Document>("deletions");
    assert_eq!(deletions.count_documents(doc! {}).await.expect("a count"), 1);
    Audit::of(&app.database().await).await.is_what_they_see(&bob).await;
}

/// Each message of a flood writes the summary that every change writes, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_get_through_a_flood_of_messages() {
    let app = TestApp::spawn().await;
    let elsewhere = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut old = Vec::new();
    for n in 0..12 {
        old.push(alice.send(&bob, &format!("old {n}")).await);
    }
    let talk = Talk::begin(&alice, json!({"recipient_user_id": bob.id}));
    let there = Talk::begin(&elsewhere.seen_by(&bob), json!({"recipient_user_id": alice.id}));
    for sent in &old {
        bob.put(&reaction(sent, "👍"), json!({})).await.ok(200);
        assert_eq!(edit(&alice, sent, "better").await.status, 200);
        alice.put(&format!("{}/pin", path(sent)), json!({})).await.ok(200);
        alice.delete(&path(sent)).await.ok(204);
    }
    talk.end().await;
    there.end().await;
    Audit::of(&app.database().await).await.is_what_they_see(&bob).await;
}
