//! Blocking: what ends, what cannot begin, and the list.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

const NOBODY: &str = "7f8a0d2e-92be-4d33-a6bb-1e93ba0a7b5b";

async fn pair(app: &TestApp) -> (Actor, Actor) {
    tokio::join!(app.user("alice"), app.user("bob"))
}

async fn block(actor: &Actor, other: &Actor) -> Answer {
    actor.post("/blocks", json!({"user_id": other.id})).await
}

async fn unblock(actor: &Actor, other: &Actor) -> Answer {
    actor.delete(&format!("/blocks/{}", other.id)).await
}

async fn friend(actor: &Actor, action: &str, other: &Actor) -> Answer {
    actor.post(&format!("/friends/{action}"), json!({"friend_user_id": other.id})).await
}

async fn write(actor: &Actor, other: &Actor) -> Answer {
    actor.post("/messages", json!({"recipient_user_id": other.id, "message": "hi"})).await
}

async fn items(actor: &Actor, path: &str) -> Vec<Value> {
    actor.get(path).await.ok(200)["items"].as_array().expect("items").clone()
}

/// All that a user is told: types, in the order of the list.
async fn told(actor: &Actor) -> Vec<String> {
    let items = items(actor, "/notifications").await;
    items.iter().map(|item| item["type"].as_str().expect("a type").to_owned()).collect()
}

/// How many friends and requests one has.
async fn relations(actor: &Actor) -> usize {
    let mut count = 0;
    for status in ["accepted", "incoming", "outgoing"] {
        count += items(actor, &format!("/friends?status={status}")).await.len();
    }
    count
}

#[tokio::test]
async fn a_block_ends_a_friendship_and_is_listed_for_its_maker_only() {
    let app = TestApp::spawn().await;
    let (alice, bob) = pair(&app).await;
    bob.befriend(&alice).await;
    let blocked_at = app.clock().now().to_string();
    let made = block(&alice, &bob).await.ok(201);
    let user = json!({"id": bob.id, "username": "bob", "profile_picture": null, "deleted": false});
    assert_eq!(made, json!({"user": user, "created_at": blocked_at}));
    assert_eq!((relations(&alice).await, relations(&bob).await), (0, 0));
    app.advance(Duration::from_secs(5));
    assert_eq!(block(&alice, &bob).await.ok(201), made, "repeated, it is the same");
    assert_eq!(items(&alice, "/blocks").await, [made]);
    assert_eq!(items(&bob, "/blocks").await, [Value::Null; 0]);

    assert_eq!(unblock(&alice, &bob).await.ok(204), Value::Null);
    unblock(&alice, &bob).await.ok(204);
    assert_eq!(items(&alice, "/blocks").await, [Value::Null; 0]);
    assert_eq!((relations(&alice).await, relations(&bob).await), (0, 0), "nothing is restored");
    friend(&bob, "accept", &alice).await.problem(404, "not_found");
    let again = block(&alice, &bob).await.ok(201);
    assert_eq!(again["created_at"], app.clock().now().to_string(), "a new one is new");
}

#[tokio::test]
async fn the_other_cannot_tell_a_block_from_a_removal() {
    let app = TestApp::spawn().await;
    let (alice, bob) = pair(&app).await;
    let carol = app.user("carol").await;
    for other in [&bob, &carol] {
        alice.befriend(other).await;
        other.send(&alice, "hi").await;
        alice.send(other, "ho").await;
    }
    block(&alice, &bob).await.ok(201);
    friend(&alice, "remove", &carol).await.ok(200);
    for path in ["/friends", "/blocks", "/friends?status=outgoing"] {
        assert_eq!(bob.get(path).await.ok(200), carol.get(path).await.ok(200), "{path}");
    }
    assert_eq!(told(&bob).await, told(&carol).await);
    for action in ["remove", "decline"] {
        friend(&bob, action, &alice).await.problem(404, "not_found");
        friend(&carol, action, &alice).await.problem(404, "not_found");
    }
    let profile = format!("/users/{}", alice.id);
    assert_eq!(bob.get(&profile).await.ok(200), carol.get(&profile).await.ok(200));
    assert_eq!(items(&bob, "/users?q=ali").await.len(), 1);

    // Writing to who is blocked, who blocks and who has left reads the same.
    let users = app.database().await.collection::<Document>("users");
    let gone = doc! { "$set": { "deleted_at": mongodb::bson::DateTime::from_millis(1) } };
    users.update_one(doc! { "username": "carol" }, gone).await.expect("an update");
    let said = |answer: Answer| answer.problem(403, "recipient_unavailable")["detail"].clone();
    let gone = said(write(&alice, &carol).await);
    assert_eq!(said(write(&bob, &alice).await), gone);
    assert_eq!(said(write(&alice, &bob).await), gone);
}

#[tokio::test]
async fn a_block_ends_requests_with_what_was_told_of_them() {
    let app = TestApp::spawn().await;
    let (alice, bob) = pair(&app).await;
    for (asker, asked) in [(&alice, &bob), (&bob, &alice)] {
        friend(asker, "add", asked).await.ok(201);
        assert_eq!(told(asked).await, ["friend_request"]);
        block(&alice, &bob).await.ok(201);
        assert_eq!((relations(&alice).await, relations(&bob).await), (0, 0));
        assert_eq!((told(&alice).await.len(), told(&bob).await.len()), (0, 0));
        unblock(&alice, &bob).await.ok(204);
        friend(asked, "accept", asker).await.problem(404, "not_found");
    }
    // What the blocked one made the blocker be told of goes, whether read or not.
    alice.befriend(&bob).await;
    let group = bob.group("ours", std::slice::from_ref(&alice)).await;
    assert_eq!(told(&alice).await.len(), 2);
    alice.post("/notifications/read", json!({"all": true})).await.ok(200);
    block(&alice, &bob).await.ok(201);
    assert_eq!(told(&alice).await, ["group_added"], "the group goes on");
    assert_eq!(told(&bob).await, ["friend_request"], "an answered request stays told");
    alice.get(&format!("/groups/{group}")).await.ok(200);
}

#[tokio::test]
async fn nothing_new_begins_between_the_two() {
    let app = TestApp::spawn().await;
    let (alice, bob) = pair(&app).await;
    let carol = app.user("carol").await;
    let sent = bob.send(&alice, "before").await;
    let common = carol.group("common", &[alice.clone(), bob.clone()]).await;
    block(&alice, &bob).await.ok(201);
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        for action in ["add", "accept"] {
            friend(one, action, other).await.problem(403, "recipient_unavailable");
        }
        write(one, other).await.problem(403, "recipient_unavailable");
        let group = one.group("own", std::slice::from_ref(&carol)).await;
        let body = json!({"user_id": other.id});
        let added = one.post(&format!("/groups/{group}/add"), body.clone()).await;
        added.problem(403, "recipient_unavailable");
        carol.post(&format!("/groups/{group}/leave"), Value::Null).await.ok(200);
        let members = json!({"group_name": "x", "members": [carol.id, other.id]});
        one.post("/groups", members).await.problem(403, "recipient_unavailable");
        let unknown = json!({"group_name": "x", "members": [other.id, NOBODY]});
        one.post("/groups", unknown).await.invalid(&["members[1]"]);
        assert_eq!(items(one, "/groups").await.len(), 2, "all or nothing");
        // What is there stays, and groups go on.
        let history = items(one, &format!("/messages/{}", other.id)).await;
        assert_eq!(history[0]["id"], sent["id"]);
        one.tell(&common, "still here").await;
    }
    assert_eq!(items(&carol, "/groups").await.len(), 1);
    assert_eq!(items(&bob, &format!("/conversations/{common}/messages")).await.len(), 2);
    assert_eq!(items(&alice, &format!("/messages/{}", bob.id)).await.len(), 1);
    // Someone else may bring them together.
    carol.group("three", &[alice.clone(), bob.clone()]).await;
}

#[tokio::test]
async fn both_may_block_each_other_and_each_takes_back_their_own() {
    let app = TestApp::spawn().await;
    let (alice, bob) = pair(&app).await;
    block(&alice, &bob).await.ok(201);
    app.advance(Duration::from_secs(1));
    let second = block(&bob, &alice).await.ok(201);
    assert_eq!(second["created_at"], app.clock().now().to_string());
    unblock(&alice, &bob).await.ok(204);
    assert_eq!(items(&alice, "/blocks").await.len(), 0);
    assert_eq!(items(&bob, "/blocks").await, [second]);
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        write(one, other).await.problem(403, "recipient_unavailable");
        friend(one, "add", other).await.problem(403, "recipient_unavailable");
    }
    unblock(&bob, &alice).await.ok(204);
    write(&alice, &bob).await.ok(201);
    let rows = app.database().await.collection::<Document>("relations");
    assert_eq!(rows.count_documents(doc! {}).await.expect("a count"), 0);
    friend(&alice, "add", &bob).await.ok(201);
    friend(&bob, "accept", &alice).await.ok(200);
}

#[tokio::test]
async fn what_waited_is_not_told_any_more() {
    let app = TestApp::spawn().await;
    let (alice, bob) = pair(&app).await;
    bob.send(&alice, "one").await;
    alice.send(&bob, "two").await;
    assert_eq!((told(&alice).await, told(&bob).await.len()), (vec!["message".to_owned()], 1));
    block(&alice, &bob).await.ok(201);
    let page = alice.get("/notifications").await.ok(200);
    assert_eq!((&page["items"], &page["unread_count"]), (&json!([]), &json!(0)));
    assert_eq!(told(&bob).await, ["message"]);
    unblock(&alice, &bob).await.ok(204);
    assert_eq!(told(&alice).await.len(), 0, "nothing is restored");
    // It stayed unread, as the next one tells.
    let third = bob.send(&alice, "three").await;
    let item = items(&alice, "/notifications").await.remove(0);
    assert_eq!((&item["unread_count"], &item["message_id"]), (&json!(2), &third["id"]));
    // Reading goes on.
    block(&alice, &bob).await.ok(201);
    let conversation = third["conversation_id"].as_str().expect("an id");
    let read = json!({"message_id": third["id"]});
    let state = alice.post(&format!("/conversations/{conversation}/read"), read).await.ok(200);
    assert_eq!(state["unread_count"], 0);
}

#[tokio::test]
async fn only_others_who_are_there_can_be_blocked() {
    let app = TestApp::spawn().await;
    let (alice, bob) = pair(&app).await;
    block(&alice, &alice).await.problem(422, "cannot_friend_self");
    unblock(&alice, &alice).await.problem(422, "cannot_friend_self");
    let unverified = app.sign_up("zoe").await["id"].as_str().expect("an id").to_owned();
    for nobody in [NOBODY, &unverified] {
        let body = json!({"user_id": nobody});
        alice.post("/blocks", body).await.problem(404, "not_found");
        alice.delete(&format!("/blocks/{nobody}")).await.ok(204);
    }
    let ne = json!({"$ne": null});
    for body in [json!({}), json!({"user_id": null}), json!({"user_id": ne}), json!({"user_id": 7})]
    {
        alice.post("/blocks", body).await.invalid(&["user_id"]);
    }
    alice.delete("/blocks/x").await.problem(404, "not_found");
    alice.get("/blocks?limit=0").await.invalid(&["limit"]);
    alice.get("/blocks?status=x").await.invalid(&["status"]);

    // Who has left since can be named again and unblocked, not blocked anew.
    let first = block(&alice, &bob).await.ok(201);
    let users = app.database().await.collection::<Document>("users");
    let gone = doc! { "$set": { "deleted_at": mongodb::bson::DateTime::from_millis(1) } };
    users.update_one(doc! { "username": "bob" }, gone).await.expect("an update");
    assert_eq!(block(&alice, &bob).await.ok(201)["created_at"], first["created_at"]);
    assert_eq!(items(&alice, "/blocks").await[0]["user"]["id"], bob.id);
    unblock(&alice, &bob).await.ok(204);
    assert_eq!(items(&alice, "/blocks").await.len(), 0);
    block(&alice, &bob).await.problem(404, "not_found");
}

#[tokio::test]
async fn the_list_is_paged_newest_first_while_it_changes() {
    let app = TestApp::spawn().await;
    let (alice, bob) = pair(&app).await;
    let people = join_all((0..12).map(|n| {
        let app = &app;
        async move { app.user(&format!("user{n}")).await }
    }));
    let people = people.await;
    for (n, one) in people[..11].iter().enumerate() {
        block(&alice, one).await.ok(201);
        // Some in the same millisecond, some not.
        app.advance(Duration::from_millis((n % 2) as u64));
    }
    let (mut seen, mut path) = (Vec::new(), "/blocks?limit=3".to_owned());
    loop {
        let page = alice.get(&path).await.ok(200);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let items = page["items"].as_array().expect("items");
        seen.extend(
            items.iter().map(|item| (text(&item["created_at"]), text(&item["user"]["username"]))),
        );
        if seen.len() == 3 {
            // One seen and one not yet seen go; one comes; the rest keep their places.
            app.advance(Duration::from_secs(1));
            unblock(&alice, &people[10]).await.ok(204);
            unblock(&alice, &people[0]).await.ok(204);
            block(&alice, &people[11]).await.ok(201);
            block(&people[1], &alice).await.ok(201);
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        bob.get(&format!("/blocks?cursor={cursor}")).await.problem(400, "invalid_cursor");
        alice.get(&format!("/friends?cursor={cursor}")).await.problem(400, "invalid_cursor");
        path = format!("/blocks?limit=3&cursor={cursor}");
    }
    assert!(seen.windows(2).all(|two| two[0].0 >= two[1].0), "{seen:?}");
    let mut names: Vec<&str> = seen.iter().map(|(_, name)| name.as_str()).collect();
    names.sort_unstable();
    let mut expected: Vec<String> = (1..11).map(|n| format!("user{n}")).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn fifty_at_once_leave_one_row_that_both_agree_on() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = pair(&app).await;
    let there = [other.seen_by(&alice), other.seen_by(&bob)];
    for round in 0..4 {
        let all = (0..50).map(|n| {
            let here = [&alice, &bob];
            let (one, two) = match n % 2 {
                0 => (here[n / 2 % 2], here[1 - n / 2 % 2]),
                _ => (&there[n / 2 % 2], here[1 - n / 2 % 2]),
            };
            async move {
                match (n + round) % 5 {
                    0 => block(one, two).await,
                    1 => friend(one, "add", two).await,
                    2 => friend(one, "accept", two).await,
                    3 => unblock(one, two).await,
                    _ => friend(one, "remove", two).await,
                }
            }
        });
        for answer in join_all(all).await {
            let known = [200, 201, 204, 403, 404, 409].contains(&answer.status);
            assert!(known, "{}", answer.text());
        }
        agree(&app, &alice, &bob).await;
    }
    let blocks = (0..50).map(|n| block(if n % 2 == 0 { &alice } else { &there[0] }, &bob));
    let mut made: Vec<String> =
        join_all(blocks).await.into_iter().map(|it| it.ok(201).to_string()).collect();
    made.dedup();
    assert_eq!(made.len(), 1);
    agree(&app, &alice, &bob).await;
    write(&there[1], &alice).await.problem(403, "recipient_unavailable");
}

/// What must hold between two, whatever has happened.
async fn agree(app: &TestApp, alice: &Actor, bob: &Actor) {
    let rows = app.database().await.collection::<Document>("relations");
    assert!(rows.count_documents(doc! {}).await.expect("a count") <= 1);
    let row = rows.find_one(doc! {}).await.expect("an answer").unwrap_or_default();
    let blocks = ["low_block", "high_block"].into_iter().filter(|name| row.contains_key(*name));
    let blocks = blocks.count();
    let listed = items(alice, "/blocks").await.len() + items(bob, "/blocks").await.len();
    assert_eq!(blocks, listed);
    let status = row.get_str("status").unwrap_or("none");
    assert_eq!(status == "blocked", blocks > 0, "{row}");
    let related = usize::from(["pending", "accepted"].contains(&status));
    assert_eq!((relations(alice).await, relations(bob).await), (related, related), "{row}");
    let requests = told(alice).await.into_iter().chain(told(bob).await);
    if blocks == 2 {
        assert_eq!(requests.count(), 0);
    }
}

#[tokio::test]
async fn once_the_block_is_answered_nothing_gets_through_anywhere() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = pair(&app).await;
    let there = other.seen_by(&bob);
    for _ in 0..5 {
        let sends =
            join_all((0..20).map(|n| write(if n % 2 == 0 { &bob } else { &there }, &alice)));
        let (sent, blocked) = tokio::join!(sends, block(&alice, &bob));
        blocked.ok(201);
        assert!(sent.iter().all(|answer| [201, 403].contains(&answer.status)));
        let before = items(&alice, &format!("/messages/{}?limit=100", bob.id)).await.len();
        for bob in [&bob, &there] {
            write(bob, &alice).await.problem(403, "recipient_unavailable");
        }
        let after = items(&alice, &format!("/messages/{}?limit=100", bob.id)).await.len();
        assert_eq!(before, after);
        unblock(&alice, &bob).await.ok(204);
    }
}
