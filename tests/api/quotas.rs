//! What one account may have or do: exactly, however much happens at once.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::attachments;
use crate::attachments::collecting::collected;
use crate::attachments::{noise, only_this_stays};
use crate::support::{Actor, Answer, TestApp};

const MIB: usize = 1024 * 1024;
const DAY: Duration = Duration::from_hours(24);

/// A field of an account's row; `None` where it has none.
async fn count(app: &TestApp, name: &str, field: &str) -> Option<i64> {
    let users = app.database().await.collection::<Document>("users");
    let row = users.find_one(doc! { "username": name }).await.expect("a read").expect("a row");
    row.get_i64(field).ok()
}

/// How many bytes the files of an account have, by their rows.
async fn stored(app: &TestApp) -> i64 {
    use futures_util::TryStreamExt;
    let files = app.database().await.collection::<Document>("attachments");
    let rows = files.find(doc! { "state": "ready" }).await.expect("rows");
    let rows: Vec<Document> = rows.try_collect().await.expect("rows");
    rows.iter().map(|row| row.get_i64("size").expect("a size")).sum()
}

async fn send_form(from: &Actor, to: &Actor, id: &str, files: &[Vec<u8>]) -> Answer {
    let mut form = Form::new().text("recipient_user_id", to.id.clone()).text("message", "files");
    form = form.text("client_message_id", id.to_owned());
    for file in files {
        form = form.part("file", Part::bytes(file.clone()).file_name("a.bin"));
    }
    Answer::of(from.request("POST", "/messages").multipart(form)).await
}

async fn forget_count(app: &TestApp, field: &str) {
    let users = app.database().await.collection::<Document>("users");
    users.update_many(doc! {}, doc! { "$unset": { field: "" } }).await.expect("an update");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_uploads_at_once_as_many_are_taken_as_fit() {
    let app = TestApp::with(|settings| settings.quotas.storage_mib = Some(2)).await;
    let other = app.second_instance().await;
    let ada = app.user("ada").await;
    let there = other.seen_by(&ada);
    // Fifteen of these fit into 2 MiB.
    let size = 2 * MIB / 15;
    let uploads = (0..50).map(|n| {
        let by = if n % 2 == 0 { &ada } else { &there };
        attachments::send(by, "a.bin", noise(size))
    });
    let answers = join_all(uploads).await;
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        refused.problem(413, "quota_exceeded");
    }
    assert_eq!(taken, 15);
    assert_eq!((stored(&app).await, count(&app, "ada", "storage_bytes").await), {
        let bytes = i64::try_from(15 * size).expect("small");
        (bytes, Some(bytes))
    });
    // Nothing stays of what was refused.
    only_this_stays(&app, [15, 15, 45]).await;
    // The last bytes can be used, and others are not concerned.
    attachments::upload(&ada, "a.bin", noise(2 * MIB - 15 * size)).await;
    attachments::send(&ada, "a.bin", "x").await.problem(413, "quota_exceeded");
    let bob = app.user("bob").await;
    attachments::upload(&bob, "a.bin", noise(MIB)).await;
}

#[tokio::test]
async fn what_is_collected_makes_room() {
    let app = TestApp::with(|settings| settings.quotas.storage_mib = Some(1)).await;
    app.pause("file_collection").await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let kept = attachments::upload(&ada, "a.bin", noise(MIB / 2)).await;
    attachments::upload(&ada, "b.bin", noise(MIB / 2)).await;
    let body = json!({"recipient_user_id": bob.id, "message": "", "attachments": [kept["id"]]});
    let message = ada.post("/messages", body).await.ok(201);
    attachments::send(&ada, "c.bin", "x").await.problem(413, "quota_exceeded");

    app.advance(DAY + Duration::from_secs(1));
    let ada = app.login(&ada.email, &ada.password).await;
    attachments::send(&ada, "c.bin", "x").await.problem(413, "quota_exceeded");
    assert_eq!(collected(&app).await, 1);
    assert_eq!(count(&app, "ada", "storage_bytes").await, Some(stored(&app).await));
    attachments::upload(&ada, "c.bin", noise(MIB / 2)).await;
    // What a message shows goes a day after the message.
    ada.delete(&crate::revisions::path(&message)).await.ok(204);
    app.advance(DAY + Duration::from_secs(1));
    let ada = app.login(&ada.email, &ada.password).await;
    assert_eq!(collected(&app).await, 2);
    assert_eq!(count(&app, "ada", "storage_bytes").await, Some(0));
    // A deleted account's files are counted out like any other's.
    attachments::upload(&ada, "d.bin", noise(MIB)).await;
    let goodbye = ada.request("DELETE", "/profile").json(&json!({"password": ada.password}));
    Answer::of(goodbye).await.ok(204);
    app.advance(DAY + Duration::from_secs(1));
    assert_eq!((collected(&app).await, stored(&app).await), (1, 0));
    let left = app.database().await.collection::<Document>("users");
    let left = left.count_documents(doc! { "storage_bytes": { "$gt": 0 } }).await;
    assert_eq!(left.expect("a count"), 0);
}

#[tokio::test]
async fn forms_count_as_well_and_a_repeat_is_answered_when_all_is_full() {
    let app = TestApp::with(|settings| settings.quotas.storage_mib = Some(1)).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let halves = [noise(MIB / 2), noise(MIB / 2)];
    let too_much = [noise(MIB / 2), noise(MIB / 2), vec![1]];
    send_form(&ada, &bob, "one", &too_much).await.problem(413, "quota_exceeded");
    only_this_stays(&app, [0, 0, 0]).await;
    assert_eq!(count(&app, "ada", "storage_bytes").await, Some(0));
    // What was refused has not used the name up.
    let first = send_form(&ada, &bob, "one", &halves).await.ok(201);
    assert_eq!(count(&app, "ada", "storage_bytes").await, Some(1024 * 1024));

    let repeat = send_form(&ada, &bob, "one", &halves).await;
    assert_eq!(repeat.header("idempotent-replayed"), "true");
    assert_eq!(repeat.ok(201)["id"], first["id"]);
    let other = [noise(MIB / 2), noise(MIB / 2 - 1)];
    send_form(&ada, &bob, "one", &other).await.problem(422, "idempotency_key_reused");
    send_form(&ada, &bob, "two", &[vec![1]]).await.problem(413, "quota_exceeded");
    only_this_stays(&app, [2, 2, 16]).await;
    assert_eq!(count(&app, "ada", "storage_bytes").await, Some(1024 * 1024));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_from_before_there_was_a_count_is_added_up_once() {
    let app = TestApp::with(|settings| settings.quotas.storage_mib = Some(1)).await;
    app.pause("file_collection").await;
    let ada = app.user("ada").await;
    for _ in 0..4 {
        attachments::upload(&ada, "a.bin", noise(MIB / 8)).await;
    }
    forget_count(&app, "storage_bytes").await;
    app.advance(DAY + Duration::from_secs(1));
    let ada = app.login(&ada.email, &ada.password).await;
    // Uploads and what collects the old files both come upon an account without a count.
    let uploads = join_all((0..8).map(|_| attachments::send(&ada, "b.bin", noise(MIB / 8))));
    let (answers, gone) = tokio::join!(uploads, collected(&app));
    assert_eq!(gone, 4);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.problem(413, "quota_exceeded");
    }
    assert_eq!(count(&app, "ada", "storage_bytes").await, Some(stored(&app).await));
    // Where only a collection comes upon it, too.
    app.advance(DAY + Duration::from_secs(1));
    forget_count(&app, "storage_bytes").await;
    assert!(collected(&app).await >= 4);
    assert_eq!(count(&app, "ada", "storage_bytes").await, Some(0));
}

/// The status of each session's `GET /profile`.
async fn statuses(sessions: &[Actor]) -> Vec<u16> {
    join_all(sessions.iter().map(async |it| it.get("/profile").await.status)).await
}

#[tokio::test]
async fn one_session_too_many_ends_the_one_used_longest_ago() {
    let app = TestApp::with(|settings| settings.quotas.sessions = Some(3)).await;
    let other = app.second_instance().await;
    let first = app.user("ada").await;
    let mut sessions = vec![first.clone()];
    for _ in 0..2 {
        sessions.push(app.login(&first.email, &first.password).await);
    }
    app.advance(Duration::from_secs(1));
    assert_eq!(statuses(&sessions[..1]).await, [200]);
    let mut socket = other.seen_by(&sessions[1]).socket().await;
    app.advance(Duration::from_secs(1));
    assert_eq!(statuses(&sessions[2..]).await, [200]);
    app.advance(Duration::from_secs(1));
    sessions.push(app.login(&first.email, &first.password).await);
    // The second was used at another instance only, by what that has not written down.
    assert_eq!(statuses(&sessions).await, [200, 401, 200, 200]);
    sessions[1].get("/profile").await.problem(401, "session_revoked");
    socket.expect("session.ended").await;
    assert_eq!(socket.closed().await, 4401);
    assert_eq!(first.get("/sessions").await.ok(200)["items"].as_array().map(Vec::len), Some(3));
    // An expired session takes no place.
    app.advance(Duration::from_hours(31 * 24));
    for _ in 0..3 {
        app.login(&first.email, &first.password).await;
    }
    let newest = app.login(&first.email, &first.password).await;
    assert_eq!(newest.get("/sessions").await.ok(200)["items"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_logins_at_once_never_leave_more_sessions_than_may_be() {
    let app = TestApp::with(|settings| settings.quotas.sessions = Some(5)).await;
    let other = app.second_instance().await;
    let ada = app.user("ada").await;
    let logins = (0..50).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &other };
        instance.login(&ada.email, &ada.password)
    });
    let mut sessions = join_all(logins).await;
    // The clock stands still, so that the first one may be among the five.
    sessions.push(ada.clone());
    let rows = app.database().await.collection::<Document>("sessions");
    assert_eq!(rows.count_documents(doc! {}).await.expect("a count"), 5);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let statuses = statuses(&sessions).await;
    let alive = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(alive, 5, "{statuses:?}");
}

async fn ask(from: &Actor, to: &Actor) -> Answer {
    from.post("/friends/add", json!({"friend_user_id": to.id})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_requests_at_once_as_many_wait_as_may() {
    let app = TestApp::with(|settings| settings.quotas.pending_requests = Some(7)).await;
    let other = app.second_instance().await;
    let ada = app.user("ada").await;
    let there = other.seen_by(&ada);
    let all = join_all((0..50).map(async |n| app.user(&format!("user{n}")).await)).await;
    let asked = all.iter().enumerate().map(|(n, to)| {
        let by = if n % 2 == 0 { &ada } else { &there };
        ask(by, to)
    });
    let answers = join_all(asked).await;
    let (taken, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().zip(&all).partition(|(answer, _)| answer.status == 201);
    assert_eq!(taken.len(), 7);
    let outsider = refused[0].1;
    for (answer, _) in refused.iter().cloned() {
        answer.problem(409, "limit_reached");
    }
    let page = ada.get("/friends?status=outgoing").await.ok(200);
    assert_eq!(page["items"].as_array().map(Vec::len), Some(7));
    // Whoever is refused was not told anything.
    assert_eq!(outsider.get("/notifications").await.ok(200)["unread_count"], 0);
    // Again is again, and who is asked can be accepted by asking back.
    ask(&ada, taken[0].1).await.problem(409, "request_already_sent");
    ask(outsider, &ada).await.ok(201);
    assert_eq!(ask(&ada, outsider).await.ok(201)["status"], "accepted");
    // Each answer makes room, of whatever kind.
    let mut rest = refused[1..].iter().map(|(_, actor)| *actor);
    let mut next = || rest.next().expect("more");
    let answer = json!({"friend_user_id": ada.id});
    taken[0].1.post("/friends/accept", answer.clone()).await.ok(200);
    ask(&ada, next()).await.ok(201);
    taken[1].1.post("/friends/decline", answer).await.ok(200);
    ask(&ada, next()).await.ok(201);
    taken[2].1.post("/blocks", json!({"user_id": ada.id})).await.ok(201);
    ask(&ada, next()).await.ok(201);
    ada.post("/friends/remove", json!({"friend_user_id": taken[3].1.id})).await.ok(200);
    ask(&ada, next()).await.ok(201);
    ask(&ada, next()).await.problem(409, "limit_reached");
}

async fn make(actor: &Actor) -> Answer {
    actor.post("/groups", json!({"group_name": "another", "members": []})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_groups_at_once_as_many_are_made_as_may_be_in_a_day() {
    let app = TestApp::with(|settings| settings.quotas.groups_per_day = Some(7)).await;
    let other = app.second_instance().await;
    let ada = app.user("ada").await;
    let there = other.seen_by(&ada);
    let bad = json!({"group_name": "another", "members": ["7f8a0d2e-92be-4d33-a6bb-1e93ba0a7b5b"]});
    ada.post("/groups", bad.clone()).await.invalid(&["members[0]"]);
    let answers = join_all((0..50).map(|n| make(if n % 2 == 0 { &ada } else { &there }))).await;
    let (made, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 7);
    for answer in refused {
        assert_eq!(answer.header("retry-after"), "86400");
        answer.problem(429, "rate_limited");
    }
    // Deleted ones count, and a bad request is still refused for its own reason only below that.
    let group: Value = made[0].json();
    ada.delete(&format!("/groups/{}", group["id"].as_str().expect("an id"))).await.ok(204);
    app.advance(Duration::from_mins(1));
    let answer = make(&ada).await;
    assert_eq!(answer.header("retry-after"), "86340");
    answer.problem(429, "rate_limited");
    ada.post("/groups", bad).await.problem(429, "rate_limited");
    app.advance(Duration::from_mins(24 * 60 - 1));
    let ada = app.login(&ada.email, &ada.password).await;
    for _ in 0..7 {
        make(&ada).await.ok(201);
    }
    make(&ada).await.problem(429, "rate_limited");
}

#[tokio::test]
async fn nothing_is_counted_where_there_is_no_quota() {
    let app = TestApp::with(|settings| {
        let quotas = &mut settings.quotas;
        quotas.storage_mib = None;
        quotas.sessions = None;
        quotas.pending_requests = None;
        quotas.groups_per_day = None;
    });
    let app = app.await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    attachments::upload(&ada, "a.bin", "x").await;
    ask(&ada, &bob).await.ok(201);
    make(&ada).await.ok(201);
    app.login(&ada.email, &ada.password).await;
    // But for what is stored: a quota may be set later.
    assert_eq!(count(&app, "ada", "storage_bytes").await, Some(1));
    assert_eq!(count(&app, "ada", "groups_made").await, None);
}
