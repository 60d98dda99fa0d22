//! Making, changing, showing and listing groups.

use std::time::Duration;

use mongodb::bson::doc;
use serde_json::{Value, json};

use super::{NOBODY, add, check, count, leave, people, png, promote, remove, roles, seen, upload};
use crate::support::TestApp;

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
        (json!({"group_name": "x", "members": [all[1].id, NOBODY]}), vec!["members[1]"]),
        (
            json!({"group_name": "x", "members": [NOBODY, unverified]}),
            vec!["members[0]", "members[1]"],
        ),
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
    for malformed in ["x", "%7B%22$ne%22:null%7D", &group[1..]] {
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
    promote(alice, &group, admin).await;
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
