//! Roles, handing over, and the end of a group.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};

use super::{
    NOBODY, add, binary, check, count, give_role, leave, people, png, promote, remove, roles, seen,
    upload, uuid,
};
use crate::support::{Actor, Answer, TestApp};

async fn end(actor: &Actor, group: &str) -> Answer {
    actor.delete(&format!("/groups/{group}")).await
}

#[tokio::test]
async fn the_owner_gives_and_takes_roles() {
    let app = TestApp::spawn().await;
    let all = people(&app, 3).await;
    let [owner, bob, carol] = &all[..] else { panic!("three") };
    let group = owner.group("three", &all[1..]).await;
    let before = seen(owner, &group).await;
    app.advance(Duration::from_secs(1));
    for role in ["admin", "admin", "member"] {
        let user =
            json!({"id": bob.id, "username": "user1", "profile_picture": null, "deleted": false});
        let joined_at = &before["members"][1]["joined_at"];
        let given = give_role(owner, &group, bob, role).await.ok(200);
        assert_eq!(given, json!({"user": user, "role": role, "joined_at": joined_at}));
        assert_eq!(roles(&seen(carol, &group).await)[1], ("user1", role));
        let rename = bob.put(&format!("/groups/{group}"), json!({"group_name": "three"})).await;
        assert_eq!(rename.status, if role == "admin" { 200 } else { 403 });
    }
    assert_eq!(check(&app, &group).await, 3);
    let row = app.database().await.collection::<Document>("groups").find_one(doc! {}).await;
    let changes = row.expect("an answer").expect("a row").get_i64("role_changes");
    assert_eq!(changes.ok(), Some(2), "what changes nothing writes nothing");
}

#[tokio::test]
async fn only_the_owner_gives_roles_to_members() {
    let app = TestApp::spawn().await;
    let all = people(&app, 4).await;
    let [owner, admin, member, eve] = &all[..] else { panic!("four") };
    let group = owner.group("three", &all[1..3]).await;
    promote(owner, &group, admin).await;
    for role in ["owner", "admin", "member"] {
        for by in [admin, member] {
            for user in [owner, admin, member, eve] {
                give_role(by, &group, user, role).await.problem(403, "forbidden");
            }
        }
        for (by, user) in [(eve, eve), (eve, member), (owner, eve)] {
            give_role(by, &group, user, role).await.problem(404, "not_found");
        }
        let nobody = format!("/groups/{group}/members/{NOBODY}");
        owner.put(&nobody, json!({"role": role})).await.problem(404, "not_found");
        let nowhere = format!("/groups/{NOBODY}/members/{}", member.id);
        owner.put(&nowhere, json!({"role": role})).await.problem(404, "not_found");
    }
    let path = format!("/groups/{group}/members/{}", member.id);
    let ne = json!({"role": {"$ne": null}});
    for body in [json!({}), json!({"role": null}), json!({"role": "boss"}), json!({"role": 1}), ne]
    {
        owner.put(&path, body).await.invalid(&["role"]);
    }
    owner.put(&path, json!({"role": "Owner"})).await.invalid(&["role"]);
    for role in ["admin", "member"] {
        let refused = give_role(owner, &group, owner, role).await.invalid(&["role"]);
        let message = refused["errors"][0]["message"].as_str().expect("text");
        assert!(message.contains("must have an owner"), "{message}");
    }
    assert_eq!(give_role(owner, &group, owner, "owner").await.ok(200)["role"], "owner");
    let expected = [("user0", "owner"), ("user1", "admin"), ("user2", "member")];
    assert_eq!(roles(&seen(owner, &group).await), expected);
}

#[tokio::test]
async fn an_owner_hands_over_and_is_an_admin_then() {
    let app = TestApp::spawn().await;
    let all = people(&app, 3).await;
    let [alice, bob, carol] = &all[..] else { panic!("three") };
    let group = alice.group("three", &all[1..]).await;
    app.advance(Duration::from_secs(3));
    assert_eq!(give_role(alice, &group, bob, "owner").await.ok(200)["role"], "owner");
    let now = seen(carol, &group).await;
    assert_eq!(roles(&now), [("user0", "admin"), ("user1", "owner"), ("user2", "member")]);
    assert_eq!(now["owner_id"], bob.id);
    assert_eq!(now["updated_at"], app.clock().now().to_string());
    give_role(alice, &group, carol, "admin").await.problem(403, "forbidden");
    give_role(alice, &group, alice, "owner").await.problem(403, "forbidden");
    end(alice, &group).await.problem(403, "forbidden");
    remove(alice, &group, bob).await.problem(403, "forbidden");
    remove(bob, &group, alice).await.ok(200);
    leave(bob, &group).await.ok(200);
    assert_eq!(roles(&seen(carol, &group).await), [("user2", "owner")]);
    assert_eq!(check(&app, &group).await, 1);
}

#[tokio::test]
async fn a_group_that_ended_is_gone_for_everyone() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 4).await;
    let [owner, admin, bob, eve] = &all[..] else { panic!("four") };
    let group = owner.group("over", &all[1..3]).await;
    let kept = owner.group("kept", &all[1..3]).await;
    promote(owner, &group, admin).await;
    let (picture, file) = (upload(owner, png(1)).await, upload(bob, png(2)).await);
    let set = json!({"group_picture": picture["id"]});
    owner.put(&format!("/groups/{group}"), set).await.ok(200);
    let text = json!({"group_id": group, "message": "see", "attachments": [file["id"]]});
    let sent = bob.post("/messages", text.clone()).await.ok(201);
    let url = |file: &Value| file["url"].as_str().expect("a path").to_owned();
    assert_eq!(admin.get(&url(&file)).await.status, 200);
    for (by, status, code) in [(admin, 403, "forbidden"), (bob, 403, "forbidden")] {
        end(by, &group).await.problem(status, code);
    }
    end(eve, &group).await.problem(404, "not_found");
    end(owner, &group).await.ok(204);

    for one in [owner, admin, bob, &other.seen_by(bob), &other.seen_by(owner)] {
        end(one, &group).await.problem(404, "not_found");
        one.get(&format!("/groups/{group}")).await.problem(404, "not_found");
        one.get(&format!("/conversations/{group}/messages")).await.problem(404, "not_found");
        one.post("/messages", text.clone()).await.problem(404, "not_found");
        let read = json!({"message_id": sent["id"]});
        one.post(&format!("/conversations/{group}/read"), read).await.problem(404, "not_found");
        add(one, &group, eve).await.problem(404, "not_found");
        leave(one, &group).await.problem(404, "not_found");
        let list = one.get("/groups").await.ok(200)["items"].clone();
        assert_eq!((list[0]["id"].as_str(), list[1].is_null()), (Some(kept.as_str()), true));
        let told = one.get("/notifications").await.ok(200).to_string();
        assert!(!told.contains(&group), "{told}");
    }
    for (reader, status) in [(owner, 404), (admin, 404), (bob, 200)] {
        assert_eq!(reader.get(&url(&file)).await.status, status, "only whose it is");
    }
    admin.get(&url(&picture)).await.problem(404, "not_found");
    assert_eq!((check(&app, &group).await, check(&app, &kept).await), (0, 3));
    assert_eq!(count(&app, "users", doc! { "group_count": 1 }).await, 3);
    assert_eq!(count(&app, "notifications", doc! { "group_id": binary(uuid(&group)) }).await, 0);
}

/// Accounts enough to fill a group, as they are stored; their ids.
async fn crowd(app: &TestApp, count: u32) -> Vec<String> {
    let users = app.database().await.collection::<Document>("users");
    let any = users.find_one(doc! {}).await.expect("an answer").expect("a row");
    let mut ids = Vec::new();
    let rows = (0..count).map(|n| {
        let (id, name) = (uuid::Uuid::from_u128(u128::from(n) + 1), format!("crowd{n}"));
        ids.push(id.to_string());
        let mut row = any.clone();
        row.insert("_id", Bson::Binary(binary(id.into_bytes().to_vec())));
        for (field, value) in [("username", &name), ("username_key", &name), ("email", &name)] {
            row.insert(field, value);
        }
        row.insert("email_key", &name);
        row.insert("address_keys", vec![name]);
        row
    });
    let rows: Vec<Document> = rows.collect();
    users.insert_many(rows).await.expect("inserted");
    ids
}

#[tokio::test]
async fn a_group_of_a_thousand_ends_at_once() {
    let app = TestApp::spawn().await;
    let all = people(&app, 1).await;
    let crowd = crowd(&app, 999).await;
    let made = all[0].post("/groups", json!({"group_name": "all", "members": crowd})).await.ok(201);
    let group = made["id"].as_str().expect("an id");
    assert_eq!(check(&app, group).await, 1000);
    all[0].tell(group, "goodbye").await;
    end(&all[0], group).await.ok(204);
    assert_eq!(check(&app, group).await, 0);
    assert_eq!(count(&app, "users", doc! { "group_count": { "$ne": 0 } }).await, 0);
    assert_eq!(count(&app, "notifications", doc! {}).await, 0);
}

#[tokio::test]
async fn whoever_goes_is_not_told_of_the_group_any_more() {
    let app = TestApp::spawn().await;
    let all = people(&app, 4).await;
    let (owner, group) = (&all[0], all[0].group("left", &all[1..]).await);
    let kept = owner.group("kept", &all[1..]).await;
    let told = app.database().await.collection::<Document>("notifications");
    let of_group = doc! { "group_id": binary(uuid(&group)) };
    for one in &all[1..] {
        // As a mention is stored: of the group, under another key.
        let mine = doc! { "group_id": binary(uuid(&group)), "user_id": binary(uuid(&one.id)) };
        let mut row = told.find_one(mine).await.expect("an answer").expect("a row");
        row.insert("_id", binary([uuid(&one.id), vec![9; 17]].concat()));
        told.insert_one(row).await.expect("inserted");
    }
    assert_eq!(count(&app, "notifications", of_group.clone()).await, 6);
    leave(&all[1], &group).await.ok(200);
    assert_eq!(count(&app, "notifications", of_group.clone()).await, 4);
    remove(owner, &group, &all[2]).await.ok(200);
    assert_eq!(count(&app, "notifications", of_group.clone()).await, 2);
    end(owner, &group).await.ok(204);
    assert_eq!(count(&app, "notifications", of_group).await, 0);
    for one in &all[1..] {
        let items = one.get("/notifications").await.ok(200)["items"].clone();
        assert_eq!((&items[0]["group_id"], items[1].is_null()), (&json!(kept), true));
    }
}

/// Fifty changes of a group at once, from two instances: handing over, giving roles, leaving,
/// removing, adding, and with `ending` its end.
async fn storm(other: &TestApp, all: &[Actor], group: &str, ending: bool) {
    let there: Vec<Actor> = all.iter().map(|one| other.seen_by(one)).collect();
    let changes = (0..50).map(|n| {
        let actors = if n % 2 == 0 { all } else { &there };
        let (by, user) = (&actors[n % 5], &all[(n * 7 + n / 5) % all.len()]);
        async move {
            match n % 9 {
                0 | 5 => give_role(by, group, user, "owner").await,
                1 => give_role(by, group, user, "admin").await,
                2 => give_role(by, group, user, "member").await,
                3 if n > 20 => leave(by, group).await,
                4 => remove(by, group, user).await,
                6 if ending && n > 30 => end(by, group).await,
                7 => by.put(&format!("/groups/{group}"), json!({"group_name": "x"})).await,
                _ => add(by, group, user).await,
            }
        }
    });
    for answer in join_all(changes).await {
        let known = [200, 201, 204, 403, 404, 409, 422].contains(&answer.status);
        assert!(known, "{}", answer.text());
    }
}

#[tokio::test]
async fn fifty_changes_at_once_leave_one_owner_and_an_exact_count() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 9).await;
    for round in 0..6 {
        let group = all[0].group("storm", &all[1..7]).await;
        storm(&other, &all, &group, round % 2 == 1).await;
        let members = check(&app, &group).await;
        assert_eq!(count(&app, "users", doc! { "group_count": 1 }).await, members);
        let users = app.database().await.collection::<Document>("users");
        let rows = app.database().await.collection::<Document>("members");
        let told = doc! { "group_id": binary(uuid(&group)) };
        assert!(count(&app, "notifications", told).await <= members);
        for collection in ["groups", "conversations", "notifications"] {
            let rows = app.database().await.collection::<Document>(collection);
            rows.delete_many(doc! {}).await.expect("deleted");
        }
        rows.delete_many(doc! {}).await.expect("deleted");
        let none = doc! { "$set": { "group_count": 0 } };
        users.update_many(doc! {}, none).await.expect("an update");
    }
}

#[tokio::test]
async fn a_group_ends_while_its_members_write() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 4).await;
    for _ in 0..3 {
        let group = all[0].group("noise", &all[1..]).await;
        let writes = (0..40).map(|n| {
            let one = &all[n % 4];
            let one = if n % 2 == 0 { one.clone() } else { other.seen_by(one) };
            let text = json!({"group_id": group, "message": format!("{n}")});
            async move { one.post("/messages", text).await }
        });
        let (written, ended) = tokio::join!(join_all(writes), end(&all[0], &group));
        ended.ok(204);
        assert!(written.iter().all(|answer| [201, 404].contains(&answer.status)));
        assert_eq!(check(&app, &group).await, 0, "a message does not bring it back");
    }
}
