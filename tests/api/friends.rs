//! Asking to be friends, answering, ending it, and the lists.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

async fn on(actor: &Actor, action: &str, other: &Actor) -> Answer {
    actor.post(&format!("/friends/{action}"), json!({"friend_user_id": other.id})).await
}

/// Names in one of someone's lists, newest first.
async fn names(actor: &Actor, status: &str) -> Vec<String> {
    let page = actor.get(&format!("/friends?status={status}&limit=100")).await.ok(200);
    assert_eq!(page["next_cursor"], Value::Null);
    let items = page["items"].as_array().expect("items");
    items.iter().map(|item| item["user"]["username"].as_str().unwrap_or("?").to_owned()).collect()
}

/// Types of someone's notifications, newest first, with whether each was read.
async fn told(actor: &Actor) -> Vec<(String, String, bool)> {
    let page = actor.get("/notifications").await.ok(200);
    let items = page["items"].as_array().expect("items");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let told = items.iter().map(|item| {
        (text(&item["type"]), text(&item["actor"]["id"]), item["read"].as_bool().expect("a bool"))
    });
    told.collect()
}

#[tokio::test]
async fn a_request_is_made_and_accepted() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let asked = on(&alice, "add", &bob).await.ok(201);
    let expected = json!({"user_id": bob.id, "status": "pending", "direction": "outgoing"});
    assert_eq!(asked, expected);
    assert_eq!(names(&alice, "outgoing").await, ["bob"]);
    assert_eq!(names(&bob, "incoming").await, ["alice"]);
    assert_eq!(told(&bob).await, [("friend_request".into(), alice.id.clone(), false)]);
    on(&alice, "add", &bob).await.problem(409, "request_already_sent");

    app.advance(Duration::from_secs(5));
    let accepted = on(&bob, "accept", &alice).await.ok(200);
    let expected = json!({"user_id": alice.id, "status": "accepted", "direction": null});
    assert_eq!(accepted, expected);
    for (one, other) in [(&alice, "bob"), (&bob, "alice")] {
        assert_eq!(names(one, "accepted").await, [other]);
        assert_eq!(names(one, "incoming").await.len() + names(one, "outgoing").await.len(), 0);
    }
    assert_eq!(told(&alice).await, [("friend_accepted".into(), bob.id.clone(), false)]);
    // What was answered is read.
    assert_eq!(told(&bob).await, [("friend_request".into(), alice.id.clone(), true)]);

    let item = alice.get("/friends").await.ok(200)["items"][0].clone();
    let user = json!({"id": bob.id, "username": "bob", "profile_picture": null, "deleted": false});
    assert_eq!(item["user"], user);
    assert_eq!((&item["status"], &item["direction"]), (&json!("accepted"), &Value::Null));
    assert_eq!(item["since"], app.clock().now().to_string());

    on(&alice, "add", &bob).await.problem(409, "already_friends");
    on(&bob, "add", &alice).await.problem(409, "already_friends");
}

#[tokio::test]
async fn an_answer_that_was_lost_can_be_asked_for_again() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    on(&alice, "add", &bob).await.ok(201);
    let first = on(&bob, "accept", &alice).await.ok(200);
    let since = bob.get("/friends").await.ok(200);
    app.advance(Duration::from_secs(1));
    assert_eq!(on(&bob, "accept", &alice).await.ok(200), first);
    assert_eq!(bob.get("/friends").await.ok(200), since);
    assert_eq!(told(&alice).await.len(), 1);
}

#[tokio::test]
async fn requests_that_cross_make_friends() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    on(&alice, "add", &bob).await.ok(201);
    let crossed = on(&bob, "add", &alice).await.ok(201);
    let expected = json!({"user_id": alice.id, "status": "accepted", "direction": null});
    assert_eq!(crossed, expected);
    assert_eq!(names(&alice, "accepted").await, ["bob"]);
    assert_eq!(names(&bob, "accepted").await, ["alice"]);
    assert_eq!(told(&alice).await, [("friend_accepted".into(), bob.id.clone(), false)]);
}

#[tokio::test]
async fn fifty_crossing_requests_make_one_relation() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    for round in 0..3 {
        let alice = app.user(&format!("alice{round}")).await;
        let bob = app.user(&format!("bob{round}")).await;
        let (there_alice, there_bob) = (other.seen_by(&alice), other.seen_by(&bob));
        let requests = (0..50).map(|n| {
            let (from, to) = match n % 4 {
                0 => (&alice, &bob),
                1 => (&there_bob, &alice),
                2 => (&there_alice, &bob),
                _ => (&bob, &alice),
            };
            on(from, "add", to)
        });
        let answers = futures_util::future::join_all(requests).await;
        let mut statuses: Vec<Value> = answers
            .iter()
            .filter(|a| a.status == 201)
            .map(|a| a.json()["status"].clone())
            .collect();
        statuses.sort_by_key(Value::to_string);
        assert_eq!(statuses, [json!("accepted"), json!("pending")]);
        for refused in answers.into_iter().filter(|answer| answer.status != 201) {
            let code = refused.json()["code"].clone();
            assert!(code == "already_friends" || code == "request_already_sent", "{code}");
            assert_eq!(refused.status, 409);
        }
        assert_eq!(names(&alice, "accepted").await, [bob.name.as_str()]);
        assert_eq!(names(&bob, "accepted").await, [alice.name.as_str()]);
        let both = [told(&alice).await, told(&bob).await].concat();
        let mut kinds: Vec<&str> = both.iter().map(|(kind, ..)| kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["friend_accepted", "friend_request"]);
    }
    let relations = app.database().await.collection::<Document>("relations");
    assert_eq!(relations.count_documents(doc! {}).await.expect("a count"), 3);
    let accepted = relations.count_documents(doc! { "status": "accepted" }).await;
    assert_eq!(accepted.expect("a count"), 3);
}

#[tokio::test]
async fn accepting_and_taking_back_at_once_leaves_both_sides_agreeing() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let there = other.seen_by(&bob);
    for _ in 0..10 {
        on(&alice, "add", &bob).await.ok(201);
        let (removed, accepted) =
            tokio::join!(on(&alice, "remove", &bob), on(&there, "accept", &alice));
        removed.ok(200);
        assert!(accepted.status == 200 || accepted.status == 404, "{}", accepted.text());
        for status in ["accepted", "incoming", "outgoing"] {
            assert!(names(&alice, status).await.is_empty());
            assert!(names(&bob, status).await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_request_can_be_declined_and_made_again() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    on(&alice, "add", &bob).await.ok(201);
    on(&alice, "decline", &bob).await.problem(404, "not_found");
    let declined = on(&bob, "decline", &alice).await.ok(200);
    assert_eq!(declined, json!({"user_id": alice.id, "removed": true}));
    on(&bob, "decline", &alice).await.problem(404, "not_found");
    on(&bob, "accept", &alice).await.problem(404, "not_found");
    assert!(told(&bob).await.is_empty(), "a request that is gone is not told of");
    assert!(names(&alice, "outgoing").await.is_empty());

    on(&alice, "add", &bob).await.ok(201);
    assert_eq!(told(&bob).await.len(), 1);
}

#[tokio::test]
async fn removing_ends_a_friendship_and_takes_back_a_request() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    on(&alice, "remove", &bob).await.problem(404, "not_found");

    on(&alice, "add", &bob).await.ok(201);
    let removed = on(&alice, "remove", &bob).await.ok(200);
    assert_eq!(removed, json!({"user_id": bob.id, "removed": true}));
    assert!(told(&bob).await.is_empty());
    on(&bob, "accept", &alice).await.problem(404, "not_found");

    on(&alice, "add", &bob).await.ok(201);
    on(&bob, "remove", &alice).await.ok(200);
    assert!(told(&bob).await.is_empty());

    alice.befriend(&bob).await;
    on(&bob, "decline", &alice).await.problem(404, "not_found");
    on(&bob, "remove", &alice).await.ok(200);
    on(&alice, "remove", &bob).await.problem(404, "not_found");
    for one in [&alice, &bob] {
        assert!(names(one, "accepted").await.is_empty());
    }
    // A request after that is told of anew.
    app.advance(Duration::from_secs(1));
    on(&alice, "add", &bob).await.ok(201);
    assert_eq!(told(&bob).await, [("friend_request".into(), alice.id.clone(), false)]);
}

#[tokio::test]
async fn one_cannot_befriend_oneself_or_who_is_not_there() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for action in ["add", "accept", "decline", "remove"] {
        on(&alice, action, &alice).await.problem(422, "cannot_friend_self");
    }
    let unverified = app.sign_up("zoe").await["id"].clone();
    for nobody in [json!("7f8a0d2e-92be-4d33-a6bb-1e93ba0a7b5b"), unverified] {
        for action in ["add", "accept", "decline", "remove"] {
            let path = format!("/friends/{action}");
            let body = json!({"friend_user_id": nobody});
            alice.post(&path, body).await.problem(404, "not_found");
        }
    }
    let bob = app.user("bob").await;
    let users = app.database().await.collection::<Document>("users");
    let deleted = doc! { "$set": { "deleted_at": mongodb::bson::DateTime::from_millis(1) } };
    users.update_one(doc! { "username": "bob" }, deleted).await.expect("an update");
    on(&alice, "add", &bob).await.problem(404, "not_found");
}

#[tokio::test]
async fn what_is_no_id_is_refused_by_field() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    on(&bob, "add", &alice).await.ok(201);
    let wrong = [
        json!({}),
        json!({"friend_user_id": null}),
        json!({"friend_user_id": {"$ne": null}}),
        json!({"friend_user_id": {"$gt": ""}}),
        json!({"friend_user_id": [bob.id]}),
        json!({"friend_user_id": 7}),
        json!({"friend_user_id": ""}),
        json!({"friend_user_id": format!("{{{}}}", bob.id)}),
    ];
    for action in ["add", "accept", "decline", "remove"] {
        for body in &wrong {
            alice
                .post(&format!("/friends/{action}"), body.clone())
                .await
                .invalid(&["friend_user_id"]);
        }
    }
    assert_eq!(names(&alice, "incoming").await, ["bob"], "nothing was matched");

    alice.get("/friends?status=blocked").await.invalid(&["status"]);
    alice.get("/friends?status[$ne]=accepted&limit=0").await.invalid(&["limit", "status[$ne]"]);
    alice.get("/friends?limit=101").await.invalid(&["limit"]);
    alice.get("/friends?status=incoming&status=incoming").await.problem(400, "invalid_query");
}

#[tokio::test]
async fn the_lists_are_paged_newest_first_while_others_change_them() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut people = Vec::new();
    for n in 0..9 {
        let one = app.user(&format!("user{n}")).await;
        on(&one, "add", &alice).await.ok(201);
        people.push(one);
        // Some in the same millisecond, some not.
        app.advance(Duration::from_millis(n % 2));
    }
    let mut seen = Vec::new();
    let mut path = "/friends?status=incoming&limit=2".to_owned();
    loop {
        let page = alice.get(&path).await.ok(200);
        let items = page["items"].as_array().expect("items");
        assert!(items.iter().all(|item| item["direction"] == "incoming"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        seen.extend(
            items.iter().map(|item| (text(&item["since"]), text(&item["user"]["username"]))),
        );
        if seen.len() == 2 {
            // One already seen goes, one not yet seen goes, and a new one comes in front.
            app.advance(Duration::from_secs(1));
            on(&alice, "decline", &people[8]).await.ok(200);
            on(&alice, "accept", &people[0]).await.ok(200);
            on(&app.user("late").await, "add", &alice).await.ok(201);
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/friends?status=incoming&limit=2&cursor={cursor}");
    }
    let mut names: Vec<&str> = seen.iter().map(|(_, name)| name.as_str()).collect();
    assert!(seen.windows(2).all(|pair| pair[0].0 >= pair[1].0), "{seen:?}");
    names.sort_unstable();
    let expected: Vec<String> = (1..9).map(|n| format!("user{n}")).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_list_only() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    for n in 0..2 {
        let one = app.user(&format!("user{n}")).await;
        on(&one, "add", &alice).await.ok(201);
    }
    let page = alice.get("/friends?status=incoming&limit=1").await.ok(200);
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    alice.get(&format!("/friends?status=incoming&cursor={cursor}")).await.ok(200);
    for (who, path) in [
        (&alice, format!("/friends?cursor={cursor}")),
        (&alice, format!("/friends?status=outgoing&cursor={cursor}")),
        (&alice, format!("/groups?cursor={cursor}")),
        (&alice, format!("/friends?status=incoming&cursor={cursor}A")),
        (&alice, "/friends?cursor=".to_owned()),
        (&bob, format!("/friends?status=incoming&cursor={cursor}")),
    ] {
        who.get(&path).await.problem(400, "invalid_cursor");
    }
}
