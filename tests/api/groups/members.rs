//! Who comes and goes, who may do it, and what they see.

use std::time::Duration;

use mongodb::bson::doc;
use serde_json::{Value, json};

use super::{NOBODY, add, check, count, leave, people, promote, remove, roles, seen, unread};
use crate::support::TestApp;

#[tokio::test]
async fn owner_and_admins_change_the_group_and_add_members() {
    let app = TestApp::spawn().await;
    let all = people(&app, 4).await;
    let [owner, admin, member, new] = &all[..] else { panic!("four") };
    let group = owner.group("old", &all[1..3]).await;
    promote(owner, &group, admin).await;
    let path = format!("/groups/{group}");
    member.put(&path, json!({"group_name": "mine"})).await.problem(403, "forbidden");
    add(member, &group, new).await.problem(403, "forbidden");

    app.advance(Duration::from_secs(7));
    let renamed = admin.put(&path, json!({"group_name": "new"})).await.ok(200);
    assert_eq!(renamed["group_name"], "new");
    assert_eq!(renamed["updated_at"], app.clock().now().to_string());
    assert_ne!(renamed["created_at"], renamed["updated_at"]);
    assert_eq!(admin.put(&path, json!({})).await.ok(200), renamed);
    let cleared = owner.put(&path, json!({"group_picture": null})).await.ok(200);
    assert_eq!((&cleared["group_name"], &cleared["group_picture"]), (&json!("new"), &Value::Null));

    let added = add(admin, &group, new).await.ok(201);
    let joined_at = app.clock().now().to_string();
    let user =
        json!({"id": new.id, "username": "user3", "profile_picture": null, "deleted": false});
    assert_eq!(added, json!({"user": user, "role": "member", "joined_at": joined_at}));
    add(owner, &group, new).await.problem(409, "already_member");
    add(admin, &group, admin).await.problem(409, "already_member");
    let nobody = json!({"user_id": NOBODY});
    owner.post(&format!("{path}/add"), nobody).await.problem(404, "not_found");
    let unverified = json!({"user_id": app.sign_up("zoe").await["id"]});
    owner.post(&format!("{path}/add"), unverified).await.problem(404, "not_found");
}

#[tokio::test]
async fn the_owner_removes_anyone_and_admins_remove_members() {
    let app = TestApp::spawn().await;
    let all = people(&app, 6).await;
    let [owner, admin, rival, member, other, outsider] = &all[..] else { panic!("six") };
    let group = owner.group("six", &all[1..5]).await;
    for one in [admin, rival] {
        promote(owner, &group, one).await;
    }
    for victim in [owner, admin, other, outsider] {
        remove(member, &group, victim).await.problem(403, "forbidden");
    }
    let nobody = json!({"user_id": NOBODY});
    owner.post(&format!("/groups/{group}/remove"), nobody).await.problem(404, "not_found");
    remove(admin, &group, owner).await.problem(403, "forbidden");
    remove(admin, &group, rival).await.problem(403, "forbidden");
    remove(admin, &group, outsider).await.problem(404, "not_found");
    let removed = remove(admin, &group, member).await.ok(200);
    assert_eq!(removed, json!({"user_id": member.id, "removed": true}));
    remove(admin, &group, member).await.problem(404, "not_found");
    remove(owner, &group, rival).await.ok(200);
    remove(other, &group, other).await.ok(200);
    assert_eq!(roles(&seen(owner, &group).await), [("user0", "owner"), ("user1", "admin")]);
    assert_eq!(check(&app, &group).await, 2);
}

#[tokio::test]
async fn an_owner_hands_over_and_the_last_one_out_ends_the_group() {
    let app = TestApp::spawn().await;
    let all = people(&app, 5).await;
    let group = all[0].group("relay", &[all[2].clone(), all[1].clone(), all[3].clone()]).await;
    app.advance(Duration::from_secs(1));
    add(&all[0], &group, &all[4]).await.ok(201);
    promote(&all[0], &group, &all[4]).await;

    app.advance(Duration::from_secs(1));
    let left = leave(&all[0], &group).await.ok(200);
    assert_eq!(left, json!({"user_id": all[0].id, "removed": true}));
    leave(&all[0], &group).await.problem(404, "not_found");
    // The admin, though last to join; then the member who was named first.
    let now = seen(&all[1], &group).await;
    assert_eq!(now["owner_id"], all[4].id);
    assert_eq!(now["updated_at"], app.clock().now().to_string());
    leave(&all[4], &group).await.ok(200);
    assert_eq!(seen(&all[1], &group).await["owner_id"], all[2].id);
    remove(&all[2], &group, &all[2]).await.ok(200);
    assert_eq!(roles(&seen(&all[1], &group).await), [("user1", "owner"), ("user3", "member")]);
    assert_eq!(check(&app, &group).await, 2);

    for one in [&all[1], &all[3]] {
        leave(one, &group).await.ok(200);
    }
    assert_eq!(check(&app, &group).await, 0);
    assert_eq!(count(&app, "groups", doc! {}).await, 0);
    assert_eq!(count(&app, "users", doc! { "group_count": { "$ne": 0 } }).await, 0);
    for one in &all {
        one.get(&format!("/groups/{group}")).await.problem(404, "not_found");
        one.get(&format!("/conversations/{group}/messages")).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn whoever_is_removed_sees_nothing_from_then_on() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 3).await;
    let [alice, bob, carol] = &all[..] else { panic!("three") };
    let group = alice.group("three", &all[1..]).await;
    let sent = bob.tell(&group, "hello").await;
    alice.tell(&group, "hi").await;
    let there = other.seen_by(bob);
    there.get(&format!("/conversations/{group}/messages")).await.ok(200);
    assert_eq!(unread(&there, &group).await, 1);

    remove(alice, &group, bob).await.ok(200);
    for bob in [bob, &there] {
        bob.get(&format!("/groups/{group}")).await.problem(404, "not_found");
        bob.get(&format!("/conversations/{group}/messages")).await.problem(404, "not_found");
        let text = json!({"group_id": group, "message": "still here?"});
        bob.post("/messages", text).await.problem(404, "not_found");
        let read = json!({"message_id": sent["id"]});
        bob.post(&format!("/conversations/{group}/read"), read).await.problem(404, "not_found");
        bob.put(&format!("/groups/{group}"), json!({"group_name": "x"}))
            .await
            .problem(404, "not_found");
        add(bob, &group, bob).await.problem(404, "not_found");
        remove(bob, &group, carol).await.problem(404, "not_found");
        leave(bob, &group).await.problem(404, "not_found");
        assert_eq!(bob.get("/groups").await.ok(200)["items"], json!([]));
        let told = bob.get("/notifications").await.ok(200);
        assert_eq!((&told["items"], &told["unread_count"]), (&json!([]), &json!(0)));
    }
}

#[tokio::test]
async fn newcomers_have_read_what_was_there_before_them() {
    let app = TestApp::spawn().await;
    let all = people(&app, 3).await;
    let [alice, bob, carol] = &all[..] else { panic!("three") };
    let group = alice.group("three", &all[1..2]).await;
    for n in 0..3 {
        alice.tell(&group, &format!("before {n}")).await;
    }
    add(alice, &group, carol).await.ok(201);
    let history = carol.get(&format!("/conversations/{group}/messages")).await.ok(200);
    assert_eq!(history["items"].as_array().map(Vec::len), Some(3), "all of the history");
    assert_eq!((unread(carol, &group).await, unread(bob, &group).await), (0, 3));
    alice.tell(&group, "after").await;
    assert_eq!((unread(carol, &group).await, unread(bob, &group).await), (1, 4));

    // Someone who comes back has sent before: their own are not counted twice, nor off others'.
    for n in 0..2 {
        bob.tell(&group, &format!("mine {n}")).await;
    }
    leave(bob, &group).await.ok(200);
    alice.tell(&group, "while away").await;
    add(alice, &group, bob).await.ok(201);
    assert_eq!(unread(bob, &group).await, 0);
    bob.tell(&group, "back").await;
    assert_eq!(unread(bob, &group).await, 0);
    let last = alice.tell(&group, "welcome").await;
    assert_eq!(unread(bob, &group).await, 1);
    let read = json!({"message_id": last["id"]});
    let state = bob.post(&format!("/conversations/{group}/read"), read).await.ok(200);
    assert_eq!((&state["unread_count"], &state["read_seq"]), (&json!(0), &last["seq"]));
}
