//! Mentions, and what they tell.

use serde_json::{Value, json};

use crate::revisions::path;
use crate::support::{Actor, Answer, TestApp};

async fn mentions_of(actor: &Actor) -> Vec<Value> {
    let page = actor.get("/notifications").await.ok(200);
    let items = page["items"].as_array().expect("items").clone();
    items.into_iter().filter(|item| item["type"] == "mention").collect()
}

#[tokio::test]
async fn members_are_mentioned_by_name_whatever_its_case() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) =
        (app.user("alice").await, app.user("bob.b").await, app.user("eve").await);
    let group = alice.group("g", std::slice::from_ref(&bob)).await;
    let text = "hi @BOB.b. and @alice, not me@bob.b, @eve or @nobody";
    let sent = alice.tell(&group, text).await;
    assert_eq!(sent["mentions"], json!([bob.id, alice.id]));
    assert_eq!(sent["message"], text);
    assert_eq!(bob.get(&path(&sent)).await.ok(200), sent);
    let told = mentions_of(&bob).await;
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["message_id"], &told[0]["preview"]), (&sent["id"], &json!(text)));
    assert_eq!((&told[0]["group_id"], &told[0]["conversation_id"]), (&json!(group), &json!(group)));
    assert_eq!((&told[0]["actor"]["id"], &told[0]["read"]), (&json!(alice.id), &json!(false)));
    assert_eq!(mentions_of(&alice).await.len(), 0);
    assert_eq!(mentions_of(&eve).await.len(), 0);
    let direct = alice.send(&eve, "@eve @bob.b").await;
    assert_eq!(direct["mentions"], json!([eve.id]));
    assert_eq!(mentions_of(&eve).await.len(), 1);
}

#[tokio::test]
async fn a_mention_is_read_with_its_message_and_goes_with_it() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("g", std::slice::from_ref(&bob)).await;
    let first = alice.tell(&group, "@bob one").await;
    let second = alice.tell(&group, "@bob two").await;
    let read = json!({"message_id": first["id"]});
    bob.post(&format!("/conversations/{group}/read"), read).await.ok(200);
    let told = mentions_of(&bob).await;
    let read = |message: &Value| {
        told.iter()
            .find(|item| item["message_id"] == message["id"])
            .map(|item| item["read"].clone())
    };
    assert_eq!((read(&first), read(&second)), (Some(json!(true)), Some(json!(false))));
    alice.delete(&path(&second)).await.ok(204);
    assert_eq!(mentions_of(&bob).await.len(), 1);
    let edit = async |text: &str| {
        let request = alice.request("PATCH", &path(&first)).json(&json!({"message": text}));
        Answer::of(request).await.ok(200)
    };
    assert_eq!(edit("nobody").await["mentions"], json!([]));
    assert_eq!(mentions_of(&bob).await.len(), 0);
    assert_eq!(edit("now @bob").await["mentions"], json!([bob.id]));
    assert_eq!(mentions_of(&bob).await.len(), 1);
    alice.post(&format!("/groups/{group}/remove"), json!({"user_id": bob.id})).await.ok(200);
    let told = bob.get("/notifications").await.ok(200);
    assert_eq!((&told["items"], &told["unread_count"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn who_has_muted_a_conversation_is_told_of_nothing_there() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("g", std::slice::from_ref(&bob)).await;
    let direct = alice.send(&bob, "zero").await;
    let direct = direct["conversation_id"].as_str().expect("an id");
    bob.post("/notifications/read", json!({"all": true})).await.ok(200);
    let until = app.clock().now().plus(std::time::Duration::from_hours(1));
    for conversation in [group.as_str(), direct] {
        let mute = format!("/conversations/{conversation}/mute");
        let muted = bob.put(&mute, json!({"muted_until": until})).await.ok(200);
        assert_eq!(muted["muted_until"], json!(until));
    }
    alice.tell(&group, "@bob one").await;
    alice.send(&bob, "@bob two").await;
    let told = bob.get("/notifications?unread=true").await.ok(200);
    assert_eq!((&told["items"], &told["unread_count"]), (&json!([]), &json!(0)));
    let seen = bob.get(&format!("/conversations/{group}")).await.ok(200);
    assert_eq!(seen["unread_count"], 1);
    app.advance(std::time::Duration::from_hours(2));
    let bob = app.login(&bob.email, &bob.password).await;
    let seen = bob.get(&format!("/conversations/{group}")).await.ok(200);
    assert_eq!(seen["muted_until"], Value::Null);
    let told = bob.get("/notifications?unread=true").await.ok(200);
    assert_eq!(told["unread_count"], 2);
}

#[tokio::test]
async fn members_are_mentioned_beside_markup_and_never_in_links_or_code() {
    let app = TestApp::spawn().await;
    let (alice, ada) = (app.user("alice").await, app.user("ada").await);
    let dotted = app.user("ada.b").await;
    let group = alice.group("g", &[ada.clone(), dotted.clone()]).await;
    let long = "a path, ".repeat(30);
    let cases = [
        ("_@ada_ (＠ADA) @ada.Thanks".to_owned(), vec![&ada]),
        ("@ada.b. and 「@ada」さん".to_owned(), vec![&dotted, &ada]),
        ("https://x.example/@ada (https://x.example/@ada) ada@x.example".to_owned(), vec![]),
        ("`@ada` and\n```\n@ada.b\n```".to_owned(), vec![]),
        (format!("{long} @ada.B"), vec![&dotted]),
    ];
    for (text, expected) in cases {
        let sent = alice.tell(&group, &text).await;
        let expected: Vec<&str> = expected.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(sent["mentions"], json!(expected), "{text}");
    }
}

#[tokio::test]
async fn previews_end_between_graphemes() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let family = "👩\u{200D}👩\u{200D}👧\u{200D}👦";
    alice.send(&bob, &format!("@bob {}", family.repeat(30))).await;
    let told = bob.get("/notifications").await.ok(200);
    let expected = format!("@bob {}", family.repeat(19));
    for item in told["items"].as_array().expect("items") {
        assert_eq!(item["preview"], expected, "{item}");
    }
}
