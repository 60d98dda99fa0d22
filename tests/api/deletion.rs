//! Deleting an account.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::app::PATIENCE;
use crate::support::{Actor, Answer, TestApp};

const DAY: Duration = Duration::from_hours(24);

async fn delete_with(actor: &Actor, password: &str) -> Answer {
    Answer::of(actor.request("DELETE", "/profile").json(&json!({"password": password}))).await
}

async fn delete(actor: &Actor) {
    let answer = delete_with(actor, &actor.password).await;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
}

fn gone(actor: &Actor) -> Value {
    json!({"id": actor.id, "username": null, "profile_picture": null, "deleted": true})
}

async fn count(app: &TestApp, collection: &str, which: Document) -> u64 {
    let rows = app.database().await.collection::<Document>(collection);
    rows.count_documents(which).await.expect("a count")
}

fn bytes(actor: &Actor) -> mongodb::bson::Binary {
    let id: natter::internals::domain::UserId = actor.id.parse().expect("an id");
    mongodb::bson::Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes: id.bytes().to_vec(),
    }
}

async fn sign_up(app: &TestApp, name: &str, email: &str) -> Answer {
    let input = json!({"username": name, "email": email, "password": "correct horse"});
    app.post("/signup", input).await
}

/// Waits until nothing flags an account any more.
async fn finished(app: &TestApp) {
    let waiting = async {
        while count(app, "users", doc! {"cleanup": true}).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("finished in time");
}

#[tokio::test]
async fn the_account_is_gone_at_once_on_every_instance() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let tablet = app.login(&ada.email, &ada.password).await;
    let bob = app.user("bob").await;
    bob.get(&format!("/users/{}", ada.id)).await.ok(200);
    delete_with(&ada, "wrong password").await.problem(403, "forbidden");
    let bad = ada.request("DELETE", "/profile").json(&json!({"password": {"$ne": null}}));
    Answer::of(bad).await.invalid(&["password"]);
    ada.get("/profile").await.ok(200);
    delete(&ada).await;

    for device in [&ada, &tablet] {
        device.get("/profile").await.problem(401, "session_revoked");
        let token = json!({"refresh_token": device.refresh_token});
        second.post("/token/refresh", token).await.problem(401, "invalid_refresh_token");
    }
    delete_with(&ada, &ada.password).await.problem(401, "session_revoked");
    let login = json!({"email": ada.email, "password": ada.password});
    second.post("/login", login).await.problem(401, "invalid_credentials");
    for reader in [bob.clone(), second.seen_by(&bob)] {
        assert_eq!(reader.get(&format!("/users/{}", ada.id)).await.ok(200), gone(&ada));
        assert_eq!(reader.get("/users?q=ad").await.ok(200)["items"], json!([]));
        let add = json!({"friend_user_id": ada.id});
        reader.post("/friends/add", add).await.problem(404, "not_found");
        let group = json!({"group_name": "x", "members": [ada.id]});
        reader.post("/groups", group).await.invalid(&["members[0]"]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.seen_by(&tablet).get("/profile").await.problem(401, "session_revoked");
    let row = app.database().await.collection::<Document>("users");
    let row = row.find_one(doc! {"_id": bytes(&ada)}).await.expect("a read").expect("a row");
    for field in ["email", "email_key", "password_hash", "username"] {
        assert!(!row.contains_key(field), "{field}");
    }
}

#[tokio::test]
async fn of_its_row_a_tombstone_is_left() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    app.login(&ada.email, &ada.password).await;
    let png = crate::attachments::picture(&ada).await;
    ada.put("/profile", json!({"profile_picture": png})).await.ok(200);
    let rows = app.database().await.collection::<Document>("users");
    // What a later natter may keep there as well.
    let row = doc! { "_id": bytes(&ada) };
    let language = doc! { "$set": { "language": "fr" } };
    assert_eq!(rows.update_one(row.clone(), language).await.expect("set").modified_count, 1);
    delete(&ada).await;
    let left = rows.find_one(row).await.expect("an answer").expect("a tombstone");
    let mut left: Vec<&str> = left.keys().map(String::as_str).collect();
    left.sort_unstable();
    let named = [
        "_id",
        "cleanup",
        "created_at",
        "deleted_at",
        "group_count",
        "storage_bytes",
        "username_key",
        "verified",
    ];
    assert_eq!(left, named);
}

#[tokio::test]
async fn its_address_is_free_at_once_and_its_name_after_thirty_days() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    delete(&ada).await;
    sign_up(&app, "ADA", &ada.email).await.problem(409, "username_taken");
    sign_up(&app, "adela", &ada.email.to_uppercase()).await.ok(201);
    bob.put("/profile", json!({"username": "Ada"})).await.problem(409, "username_taken");
    app.advance(Duration::from_millis(30 * 24 * 3_600_000 - 1));
    sign_up(&app, "Ada", "ada@new.example").await.problem(409, "username_taken");
    app.advance(Duration::from_millis(1));
    let again = sign_up(&app, "Ada", "ada@new.example").await.ok(201);
    assert_ne!(again["id"], ada.id.as_str());
    let bob = app.login(&bob.email, &bob.password).await;
    assert_eq!(bob.get(&format!("/users/{}", ada.id)).await.ok(200), gone(&ada));
}

#[tokio::test]
async fn names_are_freed_without_anyone_asking() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    delete(&ada).await;
    assert_eq!(count(&app, "users", doc! {"username_key": "ada"}).await, 1);
    app.advance(DAY * 30);
    let freed = async {
        while count(&app, "users", doc! {"username_key": "ada"}).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("freed in time");
}

#[tokio::test]
async fn a_name_that_becomes_free_goes_to_one() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    delete(&ada).await;
    app.advance(DAY * 30);
    let signups = (0..20).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &second };
        async move { sign_up(instance, "Ada", &format!("ada{n}@example.com")).await }
    });
    let answers = join_all(signups).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)));
}

#[tokio::test]
async fn friends_requests_and_notifications_go() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let (carol, dan) = (app.user("carol").await, app.user("dan").await);
    ada.befriend(&bob).await;
    ada.post("/friends/add", json!({"friend_user_id": carol.id})).await.ok(201);
    dan.post("/friends/add", json!({"friend_user_id": ada.id})).await.ok(201);
    dan.befriend(&bob).await;
    let told = async |actor: &Actor| {
        let page = actor.get("/notifications").await.ok(200);
        page["items"].as_array().expect("items").len()
    };
    assert_eq!(told(&carol).await, 1);
    delete(&ada).await;
    for (actor, list) in [(&bob, "accepted"), (&carol, "incoming"), (&dan, "outgoing")] {
        let page = actor.get(&format!("/friends?status={list}")).await.ok(200);
        let left = page["items"].as_array().expect("items").len();
        assert_eq!(left, usize::from(list == "accepted"), "{list}: {page}");
    }
    // The request that led nowhere any more goes with it.
    assert_eq!(told(&carol).await, 0);
    assert_eq!(count(&app, "relations", doc! {}).await, 1);
    assert_eq!(count(&app, "notifications", doc! {"user_id": bytes(&ada)}).await, 0);
}

#[tokio::test]
async fn what_it_wrote_stays_and_nobody_can_write_to_it() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let first = ada.send(&bob, "I was here").await;
    let group = bob.group("tea", std::slice::from_ref(&ada)).await;
    ada.tell(&group, "and here").await;
    delete(&ada).await;
    let page = bob.get(&format!("/messages/{}", ada.id)).await.ok(200);
    assert_eq!(page["items"][0]["id"], first["id"]);
    assert_eq!(page["items"][0]["message"], "I was here");
    let conversation = format!("/conversations/{group}/messages");
    let page = bob.get(&conversation).await.ok(200);
    assert_eq!(
        (&page["items"][0]["sender_id"], page["items"].as_array().map(Vec::len)),
        (&json!(ada.id), Some(1))
    );
    let write = json!({"recipient_user_id": ada.id, "message": "are you there?"});
    bob.post("/messages", write).await.problem(403, "recipient_unavailable");
    let told = bob.get("/notifications").await.ok(200);
    let from_ada =
        told["items"].as_array().expect("items").iter().filter(|item| item["type"] == "message");
    for item in from_ada {
        assert_eq!(item["actor"], gone(&ada));
    }
}

#[tokio::test]
async fn groups_are_left_handed_over_or_ended() {
    let app = TestApp::spawn().await;
    let (ada, bob, carol) = (app.user("ada").await, app.user("bob").await, app.user("carol").await);
    let alone = ada.group("alone", &[]).await;
    let led = ada.group("led", &[bob.clone(), carol.clone()]).await;
    let joined = bob.group("joined", &[ada.clone(), carol.clone()]).await;
    let administered = ada.group("administered", &[bob.clone(), carol.clone()]).await;
    let rows = app.database().await.collection::<Document>("members");
    let key = |group: &str| {
        let id: natter::internals::domain::GroupId = group.parse().expect("an id");
        mongodb::bson::Binary {
            subtype: mongodb::bson::spec::BinarySubtype::Generic,
            bytes: id.bytes().to_vec(),
        }
    };
    let second = doc! {"conversation_id": key(&administered), "user_id": bytes(&carol)};
    let promoted = rows.update_one(second, doc! {"$set": {"role": "admin"}}).await;
    assert_eq!(promoted.expect("an update").modified_count, 1);
    delete(&ada).await;
    for (group, owner) in [(&led, &bob), (&joined, &bob), (&administered, &carol)] {
        let group = bob.get(&format!("/groups/{group}")).await.ok(200);
        assert_eq!((&group["owner_id"], &group["member_count"]), (&json!(owner.id), &json!(2)));
        let members = group["members"].as_array().expect("members");
        assert!(members.iter().all(|member| member["user"]["id"] != ada.id.as_str()));
    }
    assert_eq!(count(&app, "groups", doc! {"_id": key(&alone)}).await, 0);
    assert_eq!(count(&app, "members", doc! {"user_id": bytes(&ada), "kind": "group"}).await, 0);
}

/// Adding writes the account's row, as deleting does: one of them is first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn being_added_to_groups_at_that_moment_leaves_nothing_behind() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let elsewhere = second.seen_by(&bob);
    let groups = (0..20).map(|n| {
        let bob = if n % 2 == 0 { &bob } else { &elsewhere };
        let ada = ada.clone();
        async move {
            let input = json!({"group_name": format!("g{n}"), "members": [ada.id]});
            bob.post("/groups", input).await
        }
    });
    let (answers, ()) = tokio::join!(join_all(groups), delete(&ada));
    assert!(answers.iter().all(|answer| [201, 422].contains(&answer.status)));
    assert_eq!(count(&app, "members", doc! {"user_id": bytes(&ada)}).await, 0);
    let page = bob.get("/groups?limit=100").await.ok(200);
    for group in page["items"].as_array().expect("items") {
        assert_eq!(group["member_count"], 1, "{group}");
    }
}

#[tokio::test]
async fn the_picture_goes_with_the_account() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let png = crate::attachments::picture(&ada).await;
    ada.put("/profile", json!({"profile_picture": png})).await.ok(200);
    assert_eq!(bob.get(&format!("/attachments/{png}")).await.status, 200);
    delete(&ada).await;
    bob.get(&format!("/attachments/{png}")).await.problem(404, "not_found");
}

#[tokio::test]
async fn links_and_mails_that_were_under_way_are_worthless() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    ada.put("/profile", json!({"email": "ada@new.example"})).await.ok(200);
    let verify = app.mail("ada@new.example", 1).await.token();
    app.mail_about(&ada.email, "Another e-mail address", 1).await;
    app.post("/password/forgot", json!({"email": ada.email})).await.ok(202);
    let reset = app.mail_about(&ada.email, "Choose a new", 1).await.token();
    delete(&ada).await;
    app.post("/verify", json!({"token": verify})).await.problem(422, "invalid_or_expired_token");
    let input = json!({"token": reset, "password": "a new password"});
    app.post("/password/reset", input).await.problem(422, "invalid_or_expired_token");
    assert_eq!(count(&app, "tokens", doc! {}).await, 0);
    app.post("/password/forgot", json!({"email": ada.email})).await.ok(202);
    app.sign_up("eve").await;
    app.mail("eve@example.com", 1).await;
    assert_eq!(app.mails(&ada.email).len(), 3);
    // Both addresses are free.
    sign_up(&app, "adela", "ada@new.example").await.ok(201);
}

#[tokio::test]
async fn mails_that_wait_go_with_the_account() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    // From now on no mail can be written.
    std::fs::remove_dir_all(app.mail_dir()).expect("removed");
    std::fs::write(app.mail_dir(), "in the way").expect("a file");
    ada.put("/profile", json!({"email": "ada@new.example"})).await.ok(200);
    app.post("/password/forgot", json!({"email": ada.email})).await.ok(202);
    let tried = async {
        while count(&app, "jobs", doc! {"user_id": bytes(&ada), "attempts": {"$gt": 0}}).await < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, tried).await.expect("tried in time");
    delete(&ada).await;
    assert_eq!(count(&app, "jobs", doc! {"kind": "mail"}).await, 0);
    std::fs::remove_file(app.mail_dir()).expect("removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_deletions_at_once_one_succeeds() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.befriend(&bob).await;
    let group = ada.group("tea", std::slice::from_ref(&bob)).await;
    let elsewhere = second.seen_by(&ada);
    let deletions = (0..50).map(|n| {
        let actor = if n % 2 == 0 { &ada } else { &elsewhere };
        delete_with(actor, &actor.password)
    });
    let answers = join_all(deletions).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 204) {
        answer.problem(401, "session_revoked");
    }
    let group = bob.get(&format!("/groups/{group}")).await.ok(200);
    assert_eq!((&group["owner_id"], &group["member_count"]), (&json!(bob.id), &json!(1)));
    assert_eq!(bob.get("/friends").await.ok(200)["items"], json!([]));
    assert_eq!(count(&app, "sessions", doc! {"user_id": bytes(&ada)}).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_at_that_moment_leaves_no_session_behind() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let logins = (0..20).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &second };
        let input = json!({"email": ada.email, "password": ada.password});
        async move { instance.post("/login", input).await }
    });
    let (answers, ()) = tokio::join!(join_all(logins), delete(&ada));
    assert!(answers.iter().all(|answer| [200, 401, 429].contains(&answer.status)));
    assert_eq!(count(&app, "sessions", doc! {}).await, 0);
}

/// An instance was killed between the account's end and all that follows from it; and something
/// that was under way then has added to what is left.
#[tokio::test]
async fn what_a_killed_instance_left_is_removed_by_another() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    ada.befriend(&bob).await;
    let group = ada.group("tea", std::slice::from_ref(&bob)).await;
    let users = app.database().await.collection::<Document>("users");
    let now = mongodb::bson::DateTime::from_millis(app.clock().now().millis());
    let ended = doc! {
        "$set": {"deleted_at": now, "cleanup": true, "picture": null, "pending_email": null},
        "$unset": {"username": "", "email": "", "email_key": "", "password_hash": ""},
    };
    users.update_one(doc! {"_id": bytes(&ada)}, ended).await.expect("an update");
    app.advance(Duration::from_secs(6));
    let left = async {
        while count(&app, "members", doc! {"user_id": bytes(&ada)}).await > 0
            || count(&app, "relations", doc! {}).await > 0
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("cleaned in time");
    assert_eq!(bob.get(&format!("/groups/{group}")).await.ok(200)["owner_id"], bob.id.as_str());
    // It is looked at again as long as something may still come.
    assert_eq!(count(&app, "users", doc! {"cleanup": true}).await, 1);
    app.advance(Duration::from_mins(1));
    finished(&app).await;
    assert_eq!(bob.get(&format!("/users/{}", ada.id)).await.ok(200), gone(&ada));
}
