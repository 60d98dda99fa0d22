//! What users are told of.

use serde_json::{Value, json};

use crate::support::{Actor, TestApp};

async fn listed(actor: &Actor, query: &str) -> Vec<Value> {
    let page = actor.get(&format!("/notifications{query}")).await.ok(200);
    page["items"].as_array().expect("items").clone()
}

async fn unread(actor: &Actor) -> Value {
    actor.get("/notifications").await.ok(200)["unread_count"].clone()
}

async fn read_up_to(actor: &Actor, message: &Value) -> Value {
    let conversation = message["conversation_id"].as_str().expect("an id");
    let body = json!({"message_id": message["id"]});
    actor.post(&format!("/conversations/{conversation}/read"), body).await.ok(200)
}

#[tokio::test]
async fn unread_messages_are_one_notification_per_conversation() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    alice.send(&bob, "one").await;
    app.advance(std::time::Duration::from_secs(1));
    carol.send(&bob, "from carol").await;
    app.advance(std::time::Duration::from_secs(1));
    let last = alice.send(&bob, "two").await;
    let items = listed(&bob, "").await;
    assert_eq!(items.len(), 2);
    let item = &items[0];
    assert_eq!((&item["type"], &item["read"]), (&json!("message"), &json!(false)));
    assert_eq!(item["actor"]["username"], "alice");
    assert_eq!(item["conversation_id"], last["conversation_id"]);
    assert_eq!((&item["group_id"], &item["unread_count"]), (&Value::Null, &json!(2)));
    assert_eq!((&item["message_id"], &item["preview"]), (&last["id"], &json!("two")));
    assert_eq!(item["created_at"], last["created_at"]);
    assert_eq!(items[1]["preview"], "from carol");
    assert_eq!(unread(&bob).await, 2);
    assert_eq!(unread(&alice).await, 0);

    let state = read_up_to(&bob, &last).await;
    assert_eq!((&state["read_seq"], &state["unread_count"]), (&json!(2), &json!(0)));
    let items = listed(&bob, "").await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["actor"]["username"], "carol");
}

#[tokio::test]
async fn read_marks_never_move_back_and_count_only_what_others_wrote() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut sent = Vec::new();
    for n in 0..6 {
        sent.push(alice.send(&bob, &format!("a{n}")).await);
        sent.push(bob.send(&alice, &format!("b{n}")).await);
    }
    let unread_after = async |actor: &Actor, at: usize| {
        let state = read_up_to(actor, &sent[at]).await;
        (state["read_seq"].as_u64(), state["unread_count"].as_u64())
    };
    assert_eq!(unread_after(&bob, 4).await, (Some(5), Some(3)));
    assert_eq!(unread_after(&bob, 1).await, (Some(5), Some(3)));
    assert_eq!(unread_after(&alice, 0).await, (Some(1), Some(6)));
    assert_eq!(unread_after(&alice, 9).await, (Some(10), Some(1)));
    assert_eq!(listed(&alice, "").await[0]["unread_count"], 1);
    assert_eq!(unread_after(&alice, 11).await, (Some(12), Some(0)));
    assert_eq!(listed(&alice, "").await.len(), 0);
    // Writing does not mark as read.
    bob.send(&alice, "again").await;
    alice.send(&bob, "mine").await;
    let item = listed(&alice, "").await.remove(0);
    assert_eq!((&item["unread_count"], &item["preview"]), (&json!(1), &json!("again")));
}

#[tokio::test]
async fn the_senders_status_follows_the_readers_mark() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let first = alice.send(&bob, "first").await;
    alice.send(&bob, "second").await;
    read_up_to(&bob, &first).await;
    let page = alice.get(&format!("/messages/{}", bob.id)).await.ok(200);
    let statuses: Vec<&Value> = (0..2).map(|n| &page["items"][n]["status"]).collect();
    assert_eq!(statuses, ["sent", "read"]);
}

#[tokio::test]
async fn an_unknown_message_cannot_be_read() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    let message = alice.send(&bob, "hi").await;
    let elsewhere = alice.send(&carol, "hi").await;
    let path = format!("/conversations/{}/read", message["conversation_id"].as_str().expect("id"));
    for unknown in [&elsewhere["id"], &json!("x"), &json!("")] {
        bob.post(&path, json!({"message_id": unknown})).await.problem(404, "not_found");
    }
    bob.post(&path, json!({"message_id": {"$ne": null}})).await.invalid(&["message_id"]);
    bob.post(&path, json!({})).await.invalid(&["message_id"]);
}

#[tokio::test]
async fn a_message_notification_stays_read_until_the_next_message() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    alice.send(&bob, "one").await;
    let id = listed(&bob, "").await[0]["id"].clone();
    let body = json!({"ids": [id, "unknown"]});
    assert_eq!(bob.post("/notifications/read", body).await.ok(200), json!({"unread_count": 0}));
    let item = listed(&bob, "").await.remove(0);
    assert_eq!((&item["read"], &item["unread_count"]), (&json!(true), &json!(1)));
    assert_eq!(listed(&bob, "?unread=true").await.len(), 0);
    alice.send(&bob, "two").await;
    assert_eq!(listed(&bob, "?unread=true").await[0]["id"], item["id"]);
    let all = json!({"all": true});
    assert_eq!(bob.post("/notifications/read", all).await.ok(200), json!({"unread_count": 0}));
    assert_eq!(listed(&bob, "").await[0]["unread_count"], 2);
}

#[tokio::test]
async fn in_a_common_group_only_those_tell_whom_the_reader_has_not_blocked() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    let group = carol.group("common", &[alice.clone(), bob.clone()]).await;
    alice.post("/notifications/read", json!({"all": true})).await.ok(200);
    let of_group = async || {
        let mut items = listed(&alice, "?unread=true").await;
        items.retain(|item| item["type"] == "message");
        items
    };
    alice.post("/blocks", json!({"user_id": bob.id})).await.ok(201);
    bob.tell(&group, "one").await;
    assert_eq!((of_group().await, unread(&alice).await), (Vec::new(), json!(0)));
    let by_carol = carol.tell(&group, "two").await;
    for text in ["three", "four"] {
        app.advance(std::time::Duration::from_secs(1));
        bob.tell(&group, text).await;
        let [item] = &of_group().await[..] else { panic!("one notification") };
        assert_eq!((&item["message_id"], &item["preview"]), (&by_carol["id"], &json!("two")));
        assert_eq!(item["actor"]["username"], "carol");
        assert_eq!(
            (&item["group_id"], &item["created_at"]),
            (&json!(group), &by_carol["created_at"])
        );
        assert_eq!(unread(&alice).await, 1);
    }
    // To others bob's messages tell as ever.
    assert_eq!(listed(&carol, "").await[0]["preview"], "four");
    read_up_to(&alice, &by_carol).await;
    assert_eq!((of_group().await, unread(&alice).await), (Vec::new(), json!(0)));
    bob.tell(&group, "five").await;
    assert_eq!((of_group().await, unread(&alice).await), (Vec::new(), json!(0)));
    assert_eq!(alice.get(&format!("/conversations/{group}")).await.ok(200)["unread_count"], 3);
}

#[tokio::test]
async fn what_marks_nothing_is_refused() {
    let app = TestApp::spawn().await;
    let bob = app.user("bob").await;
    let cases = [
        (json!({}), "ids"),
        (json!({"all": false}), "ids"),
        (json!({"all": true, "ids": []}), "all"),
        (json!({"ids": {"$ne": null}}), "ids"),
        (json!({"ids": [{"$ne": null}]}), "ids[0]"),
        (json!({"all": "true"}), "all"),
    ];
    for (body, field) in cases {
        let problem = bob.post("/notifications/read", body).await.problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    bob.get("/notifications?unread=maybe").await.invalid(&["unread"]);
    bob.get("/notifications?limit=0").await.invalid(&["limit"]);
    bob.get("/notifications?unread[$ne]=true").await.invalid(&["unread[$ne]"]);
    for what_else in ["", "&limit=0", "&unread=perhaps", "&page=2"] {
        let path = format!("/notifications?cursor=x{what_else}");
        bob.get(&path).await.problem(400, "invalid_cursor");
    }
}

#[tokio::test]
async fn pages_never_repeat_and_never_skip() {
    let app = TestApp::spawn().await;
    let bob = app.user("bob").await;
    for n in 0..7 {
        let friend = app.user(&format!("friend{n}")).await;
        friend.send(&bob, &n.to_string()).await;
        if n % 2 == 0 {
            app.advance(std::time::Duration::from_secs(1));
        }
    }
    let mut seen = Vec::new();
    let mut path = "/notifications?limit=2".to_owned();
    loop {
        let page = bob.get(&path).await.ok(200);
        assert_eq!(page["unread_count"], 7);
        let items = page["items"].as_array().expect("items").clone();
        seen.extend(items.iter().map(|item| item["preview"].as_str().expect("text").to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/notifications?limit=2&cursor={cursor}");
        app.user(&format!("late{}", seen.len())).await;
    }
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_request_that_is_taken_back_is_not_told_any_more() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let to_bob = json!({"friend_user_id": bob.id});
    alice.post("/friends/add", to_bob.clone()).await.ok(201);
    assert_eq!(listed(&bob, "").await[0]["type"], "friend_request");
    alice.post("/friends/remove", to_bob).await.ok(200);
    assert_eq!((listed(&bob, "").await, unread(&bob).await), (Vec::new(), json!(0)));
}
