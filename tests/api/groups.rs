//! Groups: making and changing them, who comes and goes, and the limits.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

const NOBODY: &str = "7f8a0d2e-92be-4d33-a6bb-1e93ba0a7b5b";

async fn people(app: &TestApp, count: usize) -> Vec<Actor> {
    join_all((0..count).map(|n| async move { app.user(&format!("user{n}")).await })).await
}

async fn add(actor: &Actor, group: &str, user: &Actor) -> Answer {
    actor.post(&format!("/groups/{group}/add"), json!({"user_id": user.id})).await
}

async fn remove(actor: &Actor, group: &str, user: &Actor) -> Answer {
    actor.post(&format!("/groups/{group}/remove"), json!({"user_id": user.id})).await
}

async fn leave(actor: &Actor, group: &str) -> Answer {
    Answer::of(actor.request("POST", &format!("/groups/{group}/leave"))).await
}

async fn seen(actor: &Actor, group: &str) -> Value {
    actor.get(&format!("/groups/{group}")).await.ok(200)
}

/// Names and roles in a group, the first to join first.
fn roles(group: &Value) -> Vec<(&str, &str)> {
    let text = |value: &'_ Value| value.as_str().map(str::to_owned);
    let members = group["members"].as_array().expect("members");
    let roles = members.iter().map(|member| {
        assert_eq!(text(&member["role"]).as_deref() == Some("owner"), {
            member["user"]["id"] == group["owner_id"]
        });
        (member["user"]["username"].as_str().unwrap_or("?"), member["role"].as_str().unwrap_or("?"))
    });
    assert_eq!(group["member_count"], members.len());
    roles.collect()
}

/// Makes someone an admin, for which there is no route yet.
async fn promote(app: &TestApp, group: &str, user: &Actor) {
    let key = [uuid(group), uuid(&user.id)].concat();
    let members = app.database().await.collection::<Document>("members");
    let admin = doc! { "$set": { "role": "admin" } };
    let updated = members.update_one(doc! { "_id": binary(key) }, admin).await.expect("an update");
    assert_eq!(updated.matched_count, 1);
}

fn uuid(id: &str) -> Vec<u8> {
    uuid::Uuid::parse_str(id).expect("an id").into_bytes().to_vec()
}

fn binary(bytes: Vec<u8>) -> mongodb::bson::Binary {
    mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes }
}

async fn count(app: &TestApp, collection: &str, filter: Document) -> u64 {
    let rows = app.database().await.collection::<Document>(collection);
    rows.count_documents(filter).await.expect("a count")
}

/// Uploads a file.
async fn upload(actor: &Actor, bytes: Vec<u8>) -> Value {
    let file = reqwest::multipart::Part::bytes(bytes).file_name("file");
    let form = reqwest::multipart::Form::new().part("file", file);
    Answer::of(actor.request("POST", "/attachments").multipart(form)).await.ok(201)
}

/// A small picture of one colour.
fn png(shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([shade; 3]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
    bytes.into_inner()
}

/// What must hold of a group whatever has happened to it, as it is stored.
async fn check(app: &TestApp, group: &str) -> u64 {
    let id = binary(uuid(group));
    let rows = app.database().await.collection::<Document>("groups");
    let members = count(app, "members", doc! { "conversation_id": &id }).await;
    let row = rows.find_one(doc! { "_id": &id }).await.expect("an answer");
    let summaries = count(app, "conversations", doc! { "_id": &id }).await;
    let Some(row) = row else {
        assert_eq!((members, summaries), (0, 0), "nothing is left of a group that ended");
        return 0;
    };
    assert_eq!(summaries, 1);
    let stored =
        row.get_i64("member_count").or_else(|_| row.get_i32("member_count").map(i64::from));
    assert_eq!(u64::try_from(stored.expect("a number")), Ok(members));
    let owner = doc! { "conversation_id": &id, "role": "owner" };
    assert_eq!(count(app, "members", owner.clone()).await, 1, "one owner");
    let rows = app.database().await.collection::<Document>("members");
    let owner = rows.find_one(owner).await.expect("an answer").expect("an owner");
    assert_eq!(owner.get("user_id"), row.get("owner_id"));
    members
}

/// Someone's notification of unread messages in a conversation: how many.
async fn unread(actor: &Actor, group: &str) -> u64 {
    let page = actor.get("/notifications?limit=100").await.ok(200);
    let items = page["items"].as_array().expect("items");
    let item = items.iter().find(|i| i["type"] == "message" && i["conversation_id"] == group);
    item.map_or(0, |item| item["unread_count"].as_u64().expect("a number"))
}

#[tokio::test]
async fn a_group_is_made_of_its_owner_and_others() {
    let app = TestApp::spawn().await;
    let all = people(&app, 3).await;
    let [alice, bob, carol] = &all[..] else { panic!("three") };
    let members = [&carol.id, &alice.id, &bob.id, &carol.id];
    let name = "Küche 👩‍🚀 \u{202B}مطبخ";
    let made = alice.post("/groups", json!({"group_name": name, "members": members})).await.ok(201);
    assert_eq!(made["group_name"], name);
    assert_eq!((&made["owner_id"], &made["group_picture"]), (&json!(alice.id), &Value::Null));
    assert_eq!(made["conversation_id"], made["id"]);
    let now = app.clock().now().to_string();
    assert_eq!((&made["created_at"], &made["updated_at"]), (&json!(now), &json!(now)));
    // Those named join in that order.
    assert_eq!(roles(&made), [("user0", "owner"), ("user2", "member"), ("user1", "member")]);
    let user =
        json!({"id": alice.id, "username": "user0", "profile_picture": null, "deleted": false});
    assert_eq!(made["members"][0], json!({"user": user, "role": "owner", "joined_at": now}));
    let keys: Vec<&String> = made.as_object().expect("an object").keys().collect();
    assert_eq!(keys.len(), 9, "{keys:?}");

    let group = made["id"].as_str().expect("an id");
    for one in &all {
        assert_eq!(seen(one, group).await, made);
        let list = one.get("/groups").await.ok(200);
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(list["items"][0]["member_count"], 3);
        assert_eq!(list["items"][0].get("members"), None);
        let told = one.get("/notifications").await.ok(200);
        if one.id == alice.id {
            assert_eq!(told["items"], json!([]), "nobody is told of what they did");
        } else {
            let item = &told["items"][0];
            assert_eq!((&item["type"], &item["read"]), (&json!("group_added"), &json!(false)));
            assert_eq!((&item["group_id"], &item["actor"]), (&json!(group), &user));
            assert_eq!(told["unread_count"], 1);
        }
    }
    assert_eq!(check(&app, group).await, 3);

    let alone = alice.group("just me", &[]).await;
    assert_eq!(roles(&seen(alice, &alone).await), [("user0", "owner")]);
}

#[tokio::test]
async fn what_is_no_group_is_refused_and_nothing_is_made() {
    let app = TestApp::with(|settings| settings.groups.max_members = 3).await;
    let all = people(&app, 4).await;
    let alice = &all[0];
    let unverified = app.sign_up("zoe").await["id"].clone();
    let ne = json!({"$ne": null});
    let wrong = [
        (json!({}), vec!["group_name", "members"]),
        (json!({"group_name": "x"}), vec!["members"]),
        (json!({"group_name": null, "members": null}), vec!["group_name", "members"]),
        (json!({"group_name": ne, "members": ne}), vec!["group_name", "members"]),
        (json!({"group_name": ["x"], "members": "x"}), vec!["group_name", "members"]),
        (json!({"group_name": 7, "members": [all[1].id, ne]}), vec!["group_name", "members[1]"]),
        (json!({"group_name": "", "members": ["x"]}), vec!["group_name", "members[0]"]),
        (json!({"group_name": "x".repeat(101), "members": []}), vec!["group_name"]),
        (json!({"group_name": " \u{200B}", "members": []}), vec!["group_name"]),
        (json!({"group_name": "a\u{0}b", "members": []}), vec!["group_name"]),
        (json!({"group_name": "x", "members": [all[1].id, NOBODY]}), vec!["members"]),
        (json!({"group_name": "x", "members": [all[1].id, unverified]}), vec!["members"]),
    ];
    for (body, fields) in wrong {
        alice.post("/groups", body).await.invalid(&fields);
    }
    let many: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
    alice
        .post("/groups", json!({"group_name": "x", "members": many}))
        .await
        .problem(409, "group_full");
    for collection in ["groups", "members", "conversations", "notifications"] {
        assert_eq!(count(&app, collection, doc! {}).await, 0, "{collection}");
    }
    assert_eq!(count(&app, "users", doc! { "group_count": { "$ne": 0 } }).await, 0);

    let longest = "\u{1F600}".repeat(100);
    let full = json!({"group_name": longest, "members": &many[..3]});
    let made = alice.post("/groups", full).await.ok(201);
    assert_eq!((&made["group_name"], &made["member_count"]), (&json!(longest), &json!(3)));
    add(alice, made["id"].as_str().expect("an id"), &all[3]).await.problem(409, "group_full");
}

#[tokio::test]
async fn fifty_adds_at_once_fill_the_last_three_places() {
    let app = TestApp::with(|settings| settings.groups.max_members = 5).await;
    let other = app.second_instance().await;
    let all = people(&app, 52).await;
    let (owner, there) = (&all[0], other.seen_by(&all[0]));
    let group = owner.group("five", &all[1..2]).await;
    let adds = all[2..].iter().enumerate().map(|(n, user)| {
        let by = if n % 2 == 0 { owner } else { &there };
        add(by, &group, user)
    });
    let answers = join_all(adds).await;
    let added = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(added, 3);
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        refused.problem(409, "group_full");
    }
    assert_eq!(check(&app, &group).await, 5);
    assert_eq!(seen(owner, &group).await["member_count"], 5);
    assert_eq!(count(&app, "users", doc! { "group_count": 1 }).await, 5);
    assert_eq!(count(&app, "notifications", doc! {}).await, 4);
}

#[tokio::test]
async fn fifty_adds_of_one_user_add_them_once() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 2).await;
    let there = other.seen_by(&all[0]);
    let group = all[0].group("two", &[]).await;
    let adds = (0..50).map(|n| add(if n % 2 == 0 { &all[0] } else { &there }, &group, &all[1]));
    let answers = join_all(adds).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        refused.problem(409, "already_member");
    }
    assert_eq!(check(&app, &group).await, 2);
    assert_eq!(count(&app, "users", doc! { "group_count": 1 }).await, 2);
    assert_eq!(all[1].get("/notifications").await.ok(200)["unread_count"], 1);
}

#[tokio::test]
async fn coming_and_going_at_once_never_loses_the_owner_or_the_count() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 12).await;
    let group = all[0].group("door", &all[1..8]).await;
    // The first six leave, one after another the owner; two are removed; four are added.
    let leaves = all[..6].iter().map(|one| leave(one, &group));
    let there = other.seen_by(&all[0]);
    let removes = all[6..8].iter().map(|one| remove(&there, &group, one));
    let adds = all[8..].iter().map(|one| add(&all[0], &group, one));
    let (left, removed, added) = tokio::join!(join_all(leaves), join_all(removes), join_all(adds));
    assert!(left.iter().all(|answer| answer.status == 200));
    let known = |answer: &Answer| [200, 201, 403, 404].contains(&answer.status);
    assert!(removed.iter().chain(&added).all(known));
    let out = removed.iter().filter(|answer| answer.status == 200).count();
    let new = added.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(check(&app, &group).await, (8 - 6 - out + new) as u64);
    assert_eq!(count(&app, "users", doc! { "group_count": 1 }).await, (2 - out + new) as u64);
}

#[tokio::test]
async fn a_person_is_in_five_hundred_groups_at_most() {
    let app = TestApp::spawn().await;
    let all = people(&app, 2).await;
    let [alice, bob] = &all[..] else { panic!("two") };
    let users = app.database().await.collection::<Document>("users");
    let almost = doc! { "$set": { "group_count": 499 } };
    users.update_one(doc! { "_id": binary(uuid(&bob.id)) }, almost).await.expect("an update");

    let first = alice.group("first", &[]).await;
    let second = alice.group("second", &[]).await;
    let adds = [&first, &second].map(|group| add(alice, group, bob));
    let mut statuses: Vec<u16> = join_all(adds).await.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let with_bob = json!({"group_name": "x", "members": [bob.id]});
    alice.post("/groups", with_bob.clone()).await.problem(409, "group_full");
    let own = json!({"group_name": "x", "members": []});
    bob.post("/groups", own).await.problem(409, "group_full");

    // A place that is given back can be taken again.
    let list = bob.get("/groups").await.ok(200);
    leave(bob, list["items"][0]["id"].as_str().expect("an id")).await.ok(200);
    alice.post("/groups", with_bob).await.ok(201);
}

#[tokio::test]
async fn outsiders_cannot_know_that_there_is_a_group() {
    let app = TestApp::spawn().await;
    let all = people(&app, 3).await;
    let [alice, bob, eve] = &all[..] else { panic!("three") };
    let group = alice.group("secret", &all[1..2]).await;
    for id in [group.as_str(), NOBODY] {
        let path = |rest: &str| format!("/groups/{id}{rest}");
        eve.get(&path("")).await.problem(404, "not_found");
        eve.put(&path(""), json!({"group_name": "mine"})).await.problem(404, "not_found");
        eve.put(&path(""), json!({})).await.problem(404, "not_found");
        for user in [&eve.id, &bob.id, NOBODY] {
            let body = json!({"user_id": user});
            eve.post(&path("/add"), body.clone()).await.problem(404, "not_found");
            eve.post(&path("/remove"), body).await.problem(404, "not_found");
        }
        leave(eve, id).await.problem(404, "not_found");
    }
    assert_eq!(eve.get("/groups").await.ok(200), json!({"items": [], "next_cursor": null}));
    for malformed in ["x", "%7B%22$ne%22:null%7D", &group.to_uppercase(), &group[1..]] {
        alice.get(&format!("/groups/{malformed}")).await.problem(404, "not_found");
        let body = json!({"user_id": bob.id});
        alice.post(&format!("/groups/{malformed}/add"), body).await.problem(404, "not_found");
    }
    assert_eq!(seen(alice, &group).await["group_name"], "secret");
}

#[tokio::test]
async fn what_is_no_id_is_refused_by_field() {
    let app = TestApp::spawn().await;
    let all = people(&app, 2).await;
    let group = all[0].group("two", &all[1..]).await;
    let ne = json!({"$ne": null});
    for body in [
        json!({}),
        json!({"user_id": null}),
        json!({"user_id": ne}),
        json!({"user_id": [all[1].id]}),
        json!({"user_id": 1}),
        json!({"user_id": "x"}),
    ] {
        for action in ["add", "remove"] {
            let path = format!("/groups/{group}/{action}");
            all[0].post(&path, body.clone()).await.invalid(&["user_id"]);
        }
    }
    let path = format!("/groups/{group}");
    for (body, fields) in [
        (json!({"group_name": null}), vec!["group_name"]),
        (json!({"group_name": ne, "group_picture": ne}), vec!["group_name", "group_picture"]),
        (json!({"group_name": "", "group_picture": 1}), vec!["group_name", "group_picture"]),
        (json!({"group_name": "x".repeat(101)}), vec!["group_name"]),
        (json!({"group_name": "y", "group_picture": "x"}), vec!["group_picture"]),
        (json!({"group_name": "y", "group_picture": NOBODY}), vec!["group_picture"]),
    ] {
        all[0].put(&path, body).await.invalid(&fields);
    }
    assert_eq!(roles(&seen(&all[0], &group).await), [("user0", "owner"), ("user1", "member")]);
    assert_eq!(seen(&all[0], &group).await["group_name"], "two");
    all[0].get("/groups?limit=0").await.invalid(&["limit"]);
    all[0].get("/groups?q=x").await.invalid(&["q"]);
}

#[tokio::test]
async fn owner_and_admins_manage_and_members_do_not() {
    let app = TestApp::spawn().await;
    let all = people(&app, 7).await;
    let [owner, admin, rival, member, other, new, newer] = &all[..] else { panic!("seven") };
    let group = owner.group("old", &all[1..5]).await;
    for one in [admin, rival] {
        promote(&app, &group, one).await;
    }
    let path = format!("/groups/{group}");
    member.put(&path, json!({"group_name": "mine"})).await.problem(403, "forbidden");
    add(member, &group, new).await.problem(403, "forbidden");
    for victim in [owner, admin, other, new] {
        remove(member, &group, victim).await.problem(403, "forbidden");
    }

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
        json!({"id": new.id, "username": "user5", "profile_picture": null, "deleted": false});
    assert_eq!(added, json!({"user": user, "role": "member", "joined_at": joined_at}));
    add(owner, &group, new).await.problem(409, "already_member");
    add(admin, &group, admin).await.problem(409, "already_member");
    let nobody = json!({"user_id": NOBODY});
    owner.post(&format!("{path}/add"), nobody.clone()).await.problem(404, "not_found");
    owner.post(&format!("{path}/remove"), nobody).await.problem(404, "not_found");
    let unverified = json!({"user_id": app.sign_up("zoe").await["id"]});
    owner.post(&format!("{path}/add"), unverified).await.problem(404, "not_found");

    remove(admin, &group, owner).await.problem(403, "forbidden");
    remove(admin, &group, rival).await.problem(403, "forbidden");
    remove(admin, &group, newer).await.problem(404, "not_found");
    let removed = remove(admin, &group, member).await.ok(200);
    assert_eq!(removed, json!({"user_id": member.id, "removed": true}));
    remove(admin, &group, member).await.problem(404, "not_found");
    remove(owner, &group, rival).await.ok(200);
    remove(other, &group, other).await.ok(200);
    assert_eq!(
        roles(&seen(owner, &group).await),
        [("user0", "owner"), ("user1", "admin"), ("user5", "member")]
    );
    assert_eq!(check(&app, &group).await, 3);
}

#[tokio::test]
async fn an_owner_hands_over_and_the_last_one_out_ends_the_group() {
    let app = TestApp::spawn().await;
    let all = people(&app, 5).await;
    let group = all[0].group("relay", &[all[2].clone(), all[1].clone(), all[3].clone()]).await;
    app.advance(Duration::from_secs(1));
    add(&all[0], &group, &all[4]).await.ok(201);
    promote(&app, &group, &all[4]).await;

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

#[tokio::test]
async fn who_joins_while_others_send_begins_at_an_exact_place() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 14).await;
    let group = all[0].group("busy", &all[1..4]).await;
    let sends = all[..4].iter().enumerate().map(|(n, one)| {
        let one = if n % 2 == 0 { one.clone() } else { other.seen_by(one) };
        let group = &group;
        async move {
            for k in 0..15 {
                one.tell(group, &format!("{n}/{k}")).await;
            }
        }
    });
    let there = other.seen_by(&all[0]);
    let adds = async {
        for (n, one) in all[4..].iter().enumerate() {
            add(if n % 2 == 0 { &all[0] } else { &there }, &group, one).await.ok(201);
        }
    };
    tokio::join!(join_all(sends), adds);
    let members = app.database().await.collection::<Document>("members");
    for one in &all[4..] {
        let key = doc! { "_id": binary([uuid(&group), uuid(&one.id)].concat()) };
        let row = members.find_one(key).await.expect("an answer").expect("a row");
        let joined = u64::try_from(row.get_i64("joined_seq").expect("a number")).expect("positive");
        assert_eq!(unread(one, &group).await, 60 - joined);
    }
    assert_eq!(check(&app, &group).await, 14);
}

#[tokio::test]
async fn the_list_is_paged_last_joined_first_while_it_changes() {
    let app = TestApp::spawn().await;
    let all = people(&app, 2).await;
    let [alice, bob] = &all[..] else { panic!("two") };
    let mut groups = Vec::new();
    for n in 0..7 {
        let group = alice.group(&format!("group {n}"), &[]).await;
        add(alice, &group, bob).await.ok(201);
        groups.push(group);
        app.advance(Duration::from_millis(n % 2));
    }
    let (mut seen, mut path) = (Vec::new(), "/groups?limit=3".to_owned());
    loop {
        let page = bob.get(&path).await.ok(200);
        let items = page["items"].as_array().expect("items");
        seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        if seen.len() == 3 {
            // One seen and one not yet seen go; one comes; the rest keep their places.
            app.advance(Duration::from_secs(1));
            leave(bob, &groups[6]).await.ok(200);
            leave(bob, &groups[0]).await.ok(200);
            alice.group("late", &all[1..]).await;
            alice.put(&format!("/groups/{}", groups[1]), json!({"group_name": "x"})).await.ok(200);
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/groups?limit=3&cursor={cursor}");
    }
    seen.sort_unstable();
    let mut expected = groups[1..].to_vec();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    let last = bob.get("/groups?limit=1").await.ok(200);
    assert_eq!(last["items"][0]["group_name"], "late");
}

#[tokio::test]
async fn a_group_picture_is_its_setters_own_image_and_for_members() {
    let app = TestApp::spawn().await;
    let all = people(&app, 4).await;
    let [alice, admin, member, eve] = &all[..] else { panic!("four") };
    let group = alice.group("seen", &all[1..3]).await;
    promote(&app, &group, admin).await;
    let path = format!("/groups/{group}");
    let (first, second) = (upload(alice, png(1)).await, upload(admin, png(2)).await);
    let text = upload(alice, b"no picture".to_vec()).await;
    for refused in [&second["id"], &text["id"]] {
        let body = json!({"group_name": "x", "group_picture": refused});
        alice.put(&path, body).await.invalid(&["group_picture"]);
    }
    let set = json!({"group_picture": first["id"]});
    member.put(&path, set.clone()).await.problem(403, "forbidden");
    eve.put(&path, set.clone()).await.problem(404, "not_found");
    assert_eq!(seen(alice, &group).await["group_name"], "seen");

    // Setting it again changes nothing.
    for _ in 0..2 {
        assert_eq!(alice.put(&path, set.clone()).await.ok(200)["group_picture"], first);
    }
    assert_eq!(member.get("/groups").await.ok(200)["items"][0]["group_picture"], first);
    let url = |file: &Value| file["url"].as_str().expect("a path").to_owned();
    assert_eq!(member.get(&url(&first)).await.body, png(1));
    eve.get(&url(&first)).await.problem(404, "not_found");
    member.get(&url(&second)).await.problem(404, "not_found");

    // A name alone leaves it; another takes its place; null takes it away.
    assert_eq!(admin.put(&path, json!({"group_name": "y"})).await.ok(200)["group_picture"], first);
    let other = json!({"group_picture": second["id"]});
    assert_eq!(admin.put(&path, other.clone()).await.ok(200)["group_picture"], second);
    member.get(&url(&first)).await.problem(404, "not_found");
    assert_eq!(member.get(&url(&second)).await.body, png(2));
    assert_eq!(count(&app, "attachment_uses", doc! {}).await, 1);
    let cleared = alice.put(&path, json!({"group_picture": null})).await.ok(200);
    assert_eq!((&cleared["group_picture"], &cleared["group_name"]), (&Value::Null, &json!("y")));
    member.get(&url(&second)).await.problem(404, "not_found");

    // Removed ones do not see it, and nothing uses it when the group has ended.
    admin.put(&path, other).await.ok(200);
    remove(alice, &group, member).await.ok(200);
    member.get(&url(&second)).await.problem(404, "not_found");
    leave(alice, &group).await.ok(200);
    leave(admin, &group).await.ok(200);
    assert_eq!(count(&app, "attachment_uses", doc! {}).await, 0);
}
