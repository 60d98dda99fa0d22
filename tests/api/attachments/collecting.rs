//! What nothing refers to after 24 hours is deleted; what is used, never.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use natter::internals::services::{Attachments, UnreadAnswers};
use natter::internals::store::{Repositories, Store};
use serde_json::{Value, json};

use super::images::gif;
use super::{fetch, stored, upload};
use crate::revisions::path;
use crate::support::app::PATIENCE;
use crate::support::{Actor, Answer, TestApp};

const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);

/// Another instance's files, to be collected when the test says so.
async fn collector(app: &TestApp) -> Attachments {
    let mongodb = &app.settings().mongodb;
    let store = Store::new(mongodb.uri.expose(), &mongodb.database).await.expect("a store");
    Attachments::new(&Repositories::new(&store, 4), app.clock(), &UnreadAnswers::unread())
}

pub async fn collected(app: &TestApp) -> usize {
    collector(app).await.collect_unused().await.expect("collected")
}

/// Moves the clock, past the life of an access token.
async fn later(app: &TestApp, actor: &Actor, by: Duration) -> Actor {
    app.advance(by);
    app.login(&actor.email, &actor.password).await
}

async fn attach(from: &Actor, to: &Actor, file: &Value) -> Answer {
    let body = json!({"recipient_user_id": to.id, "message": "", "attachments": [file["id"]]});
    from.post("/messages", body).await
}

async fn show(actor: &Actor, picture: &Value) -> Answer {
    actor.put("/profile", json!({"profile_picture": picture})).await
}

async fn show_in(actor: &Actor, group: &str, picture: &Value) -> Answer {
    actor.put(&format!("/groups/{group}"), json!({"group_picture": picture})).await
}

#[tokio::test]
async fn what_nobody_refers_to_is_gone_after_a_day() {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let file = upload(&alice, "a.gif", gif(5, 4)).await;
    assert_eq!(stored(&app).await, [1, 2, 2]);
    let alice = later(&app, &alice, DAY).await;
    assert_eq!(collected(&app).await, 0);
    assert_eq!(fetch(&alice, &file, "thumbnail_url").await.status, 200);
    let alice = later(&app, &alice, SECOND).await;
    assert_eq!((collected(&app).await, collected(&app).await), (1, 0));
    assert_eq!(stored(&app).await, [0, 0, 0]);
    for field in ["url", "thumbnail_url"] {
        fetch(&alice, &file, field).await.problem(404, "not_found");
    }
    attach(&alice, &bob, &file).await.invalid(&["attachments[0]"]);
    show(&alice, &file["id"]).await.invalid(&["profile_picture"]);
    let group = alice.group("all", &[]).await;
    show_in(&alice, &group, &file["id"]).await.invalid(&["group_picture"]);
}

#[tokio::test]
async fn what_is_used_stays_until_a_day_after_its_last_use() {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("all", std::slice::from_ref(&bob)).await;
    let mut files = Vec::new();
    for n in 1..=4 {
        files.push(upload(&alice, "a.gif", gif(n, n)).await);
    }
    attach(&alice, &bob, &files[0]).await.ok(201);
    show(&alice, &files[1]["id"]).await.ok(200);
    show_in(&alice, &group, &files[2]["id"]).await.ok(200);
    // One that is used twice.
    show_in(&alice, &alice.group("two", &[]).await, &files[3]["id"]).await.ok(200);
    attach(&alice, &bob, &files[3]).await.ok(201);
    let alice = later(&app, &alice, 3 * DAY).await;
    let bob = app.login(&bob.email, &bob.password).await;
    assert_eq!(collected(&app).await, 0);
    for file in &files {
        assert_eq!(fetch(&bob, file, "url").await.status, 200);
    }
    let groups = alice.get("/groups").await.ok(200)["items"].clone();
    for group in groups.as_array().expect("groups") {
        show_in(&alice, group["id"].as_str().expect("an id"), &Value::Null).await.ok(200);
    }
    show(&alice, &Value::Null).await.ok(200);
    let alice = later(&app, &alice, DAY).await;
    assert_eq!(collected(&app).await, 0);
    let alice = later(&app, &alice, SECOND).await;
    assert_eq!(collected(&app).await, 2);
    let mut statuses = Vec::new();
    for file in &files {
        statuses.push(fetch(&alice, file, "url").await.status);
    }
    assert_eq!(statuses, [200, 404, 404, 200]);
}

#[tokio::test]
async fn a_replaced_picture_and_that_of_an_ended_group_are_let_go() {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let alice = app.user("alice").await;
    let [first, second, third] = [
        upload(&alice, "a.gif", gif(1, 1)),
        upload(&alice, "a.gif", gif(2, 2)),
        upload(&alice, "a.gif", gif(3, 3)),
    ];
    let (first, second, third) = tokio::join!(first, second, third);
    show(&alice, &first["id"]).await.ok(200);
    show(&alice, &second["id"]).await.ok(200);
    // The same again, and another change, change nothing about it.
    show(&alice, &second["id"]).await.ok(200);
    alice.put("/profile", json!({"username": "alicia"})).await.ok(200);
    let group = alice.group("all", &[]).await;
    show_in(&alice, &group, &third["id"]).await.ok(200);
    alice.post(&format!("/groups/{group}/leave"), json!({})).await.ok(200);
    let alice = later(&app, &alice, DAY + SECOND).await;
    assert_eq!(collected(&app).await, 2);
    assert_eq!(fetch(&alice, &first, "url").await.status, 404);
    assert_eq!(fetch(&alice, &second, "url").await.status, 200);
    assert_eq!(fetch(&alice, &third, "url").await.status, 404);
}

#[tokio::test]
async fn a_deleted_messages_file_is_gone_a_day_later() {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let file = upload(&alice, "a.gif", gif(5, 4)).await;
    let first = attach(&alice, &bob, &file).await.ok(201);
    let alice = later(&app, &alice, 2 * DAY).await;
    let second = attach(&alice, &bob, &file).await.ok(201);
    alice.delete(&path(&first)).await.ok(204);
    let alice = later(&app, &alice, 2 * DAY).await;
    let bob = app.login(&bob.email, &bob.password).await;
    assert_eq!(collected(&app).await, 0, "another message has it");
    assert_eq!(fetch(&bob, &file, "url").await.status, 200);

    alice.delete(&path(&second)).await.ok(204);
    fetch(&bob, &file, "url").await.problem(404, "not_found");
    let alice = later(&app, &alice, DAY).await;
    assert_eq!(collected(&app).await, 0);
    assert_eq!(fetch(&alice, &file, "url").await.status, 200);
    let alice = later(&app, &alice, SECOND).await;
    assert_eq!((collected(&app).await, stored(&app).await), (1, [0, 0, 0]));
    fetch(&alice, &file, "url").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_deleted_accounts_picture_is_gone_a_day_later_and_what_it_sent_stays() {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let picture = upload(&alice, "a.gif", gif(5, 4)).await;
    let sent = upload(&alice, "b.txt", "sent").await;
    show(&alice, &picture["id"]).await.ok(200);
    attach(&alice, &bob, &sent).await.ok(201);
    let goodbye = alice.request("DELETE", "/profile").json(&json!({"password": alice.password}));
    Answer::of(goodbye).await.ok(204);
    fetch(&bob, &picture, "url").await.problem(404, "not_found");
    let bob = later(&app, &bob, DAY).await;
    assert_eq!((collected(&app).await, stored(&app).await), (0, [2, 3, 3]));
    let bob = later(&app, &bob, SECOND).await;
    assert_eq!((collected(&app).await, stored(&app).await), (1, [1, 1, 1]));
    assert_eq!(fetch(&bob, &sent, "url").await.text(), "sent");
    assert_eq!(collected(&app).await, 0);
}

#[tokio::test]
async fn what_a_round_did_not_finish_the_next_one_does() {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let file = upload(&alice, "a.gif", gif(5, 4)).await;
    let rows = app.database().await.collection::<Document>("attachments");
    let end = doc! { "$set": { "state": "deleting" }, "$unset": { "unused_since": "" } };
    rows.update_one(doc! {}, end).await.expect("updated");
    fetch(&alice, &file, "url").await.problem(404, "not_found");
    attach(&alice, &bob, &file).await.invalid(&["attachments[0]"]);
    assert_eq!(collected(&app).await, 1);
    assert_eq!(stored(&app).await, [0, 0, 0]);
    // And where it came no further than the bytes.
    upload(&alice, "a.gif", gif(5, 4)).await;
    let end = doc! { "$set": { "state": "deleting" }, "$unset": { "unused_since": "" } };
    rows.update_one(doc! {}, end).await.expect("updated");
    for name in ["fs.files", "fs.chunks"] {
        let all = app.database().await.collection::<Document>(name);
        all.delete_many(doc! {}).await.expect("deleted");
    }
    assert_eq!(collected(&app).await, 1);
    assert_eq!(stored(&app).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_use_that_its_row_does_not_tell_of_counts_all_the_same() {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let file = upload(&alice, "a.gif", gif(5, 4)).await;
    attach(&alice, &bob, &file).await.ok(201);
    let shown = upload(&alice, "b.gif", gif(4, 4)).await;
    show(&alice, &shown["id"]).await.ok(200);
    let rows = app.database().await.collection::<Document>("attachments");
    let long_ago = mongodb::bson::DateTime::from_millis(0);
    let unused = doc! { "$set": { "unused_since": long_ago } };
    rows.update_many(doc! {}, unused).await.expect("updated");
    assert_eq!((collected(&app).await, collected(&app).await), (0, 0));
    let noted = rows.count_documents(doc! { "unused_since": { "$exists": true } });
    assert_eq!(noted.await.expect("a count"), 0);
    assert_eq!(fetch(&bob, &file, "url").await.status, 200);
}

/// Sends against the collectors of two instances, each send with the file of `pick`.
async fn race(files: usize, pick: impl Fn(usize) -> usize) -> Vec<u16> {
    let app = TestApp::spawn().await;
    app.pause("file_collection").await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let uploads = (0..files).map(|n| upload(&alice, "a.txt", format!("file {n}")));
    let uploads: Vec<Value> = join_all(uploads).await;
    let alice = later(&app, &alice, DAY + SECOND).await;
    let bob = app.login(&bob.email, &bob.password).await;
    let collectors = [collector(&app).await, collector(&app).await];
    let sends = join_all((0..50).map(|n| attach(&alice, &bob, &uploads[pick(n)])));
    let collect = join_all(collectors.iter().map(Attachments::collect_unused));
    let (answers, collected) = tokio::join!(sends, collect);
    let collected: usize = collected.into_iter().map(|it| it.expect("collected")).sum();
    let mut gone = std::collections::BTreeSet::new();
    for (n, answer) in answers.iter().enumerate() {
        let file = &uploads[pick(n)];
        let read = fetch(&bob, file, "url").await;
        if answer.status == 201 {
            assert_eq!((read.status, read.text()), (200, format!("file {}", pick(n))));
        } else {
            answer.clone().invalid(&["attachments[0]"]);
            assert_eq!((read.status, fetch(&alice, file, "url").await.status), (404, 404));
            gone.insert(pick(n));
        }
    }
    // What one has ended the other may have removed.
    assert!(collected >= gone.len(), "{collected} of {gone:?}");
    let left = (files - gone.len()) as u64;
    assert_eq!(stored(&app).await, [left; 3]);
    answers.iter().map(|answer| answer.status).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_either_attached_or_collected() {
    assert_eq!(race(50, |n| n).await.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_file_all_uses_win_or_none() {
    for _ in 0..3 {
        let statuses = race(1, |_| 0).await;
        assert!(statuses.iter().all(|status| *status == statuses[0]), "{statuses:?}");
    }
}

#[tokio::test]
async fn what_is_to_be_collected_is_found_by_keys() {
    let app = TestApp::spawn().await;
    let database = app.database().await;
    let now = mongodb::bson::DateTime::from_millis(app.clock().now().millis());
    for (filter, sort, index) in [
        (
            doc! { "state": "ready", "unused_since": { "$lt": now } },
            doc! { "unused_since": 1, "_id": 1 },
            "unused",
        ),
        (doc! { "state": "deleting" }, doc! {}, "deleting"),
    ] {
        let find = doc! { "find": "attachments", "filter": filter, "sort": sort, "limit": 100 };
        let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
        let plan = database.run_command(explain).await.expect("a plan");
        let winner =
            plan.get_document("queryPlanner").and_then(|it| it.get_document("winningPlan"));
        let winner = winner.expect("a plan").to_string();
        assert!(winner.contains(&format!("\"indexName\": \"{index}\"")), "{winner}");
        assert!(!winner.contains("SORT"), "{winner}");
    }
}

#[tokio::test]
async fn a_periodic_job_collects() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    upload(&alice, "a.gif", gif(5, 4)).await;
    app.advance(DAY + SECOND);
    let gone = async {
        while stored(&app).await != [0, 0, 0] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("collected in time");
}
