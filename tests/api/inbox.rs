//! The inbox.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Actor, TestApp};

async fn inbox(actor: &Actor, query: &str) -> Vec<Value> {
    let page = actor.get(&format!("/conversations{query}")).await.ok(200);
    page["items"].as_array().expect("items").clone()
}

#[tokio::test]
async fn the_latest_activity_comes_first() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    assert_eq!(inbox(&alice, "").await, Vec::<Value>::new());
    bob.send(&alice, "first").await;
    app.advance(Duration::from_secs(1));
    let group = carol.group("chess", std::slice::from_ref(&alice)).await;
    app.advance(Duration::from_secs(1));
    let last = alice.send(&carol, "to carol").await;
    let items = inbox(&alice, "").await;
    let types: Vec<&Value> = items.iter().map(|item| &item["type"]).collect();
    assert_eq!(types, ["direct", "group", "direct"]);
    assert_eq!((&items[0]["peer"]["id"], &items[0]["group"]), (&json!(carol.id), &Value::Null));
    assert_eq!((&items[0]["last_message"], &items[0]["unread_count"]), (&last, &json!(0)));
    assert_eq!((&items[0]["last_seq"], &items[0]["read_seq"]), (&json!(1), &json!(0)));
    assert_eq!(items[0]["updated_at"], last["created_at"]);
    let brief =
        json!({"id": group, "group_name": "chess", "group_picture": null, "member_count": 2});
    assert_eq!((&items[1]["group"], &items[1]["last_message"]), (&brief, &Value::Null));
    assert_eq!((&items[2]["unread_count"], &items[2]["muted_until"]), (&json!(1), &Value::Null));
    app.advance(Duration::from_secs(1));
    carol.tell(&group, "hello").await;
    let again = inbox(&alice, "").await;
    assert_eq!((&again[0]["id"], &again[0]["unread_count"]), (&json!(group), &json!(1)));
    let one = alice.get(&format!("/conversations/{group}")).await.ok(200);
    assert_eq!(one, again[0]);
    bob.get(&format!("/conversations/{group}")).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_direct_conversation_is_there_from_its_first_message_on() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let empty = alice.get(&format!("/messages/{}", bob.id)).await.ok(200);
    let id = empty["conversation_id"].as_str().expect("an id").to_owned();
    alice.get(&format!("/conversations/{id}")).await.problem(404, "not_found");
    let mute = format!("/conversations/{id}/mute");
    alice.put(&mute, json!({"muted_until": null})).await.problem(404, "not_found");
    alice.send(&bob, "now").await;
    assert_eq!(alice.get(&format!("/conversations/{id}")).await.ok(200)["id"], id);
    assert_eq!(alice.put(&mute, json!({})).await.ok(200)["muted_until"], Value::Null);
    alice.put(&mute, json!({"muted_until": "tomorrow"})).await.invalid(&["muted_until"]);
    let own = alice.send(&alice, "note").await;
    let notes = format!("/conversations/{}", own["conversation_id"].as_str().expect("an id"));
    assert_eq!(alice.get(&notes).await.ok(200)["peer"]["id"], alice.id);
}

#[tokio::test]
async fn a_walk_finds_what_kept_its_place_once() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut people = Vec::new();
    for n in 0..12 {
        let person = app.user(&format!("person{n}")).await;
        person.send(&alice, "hi").await;
        if n % 3 == 0 {
            person.group("g", std::slice::from_ref(&alice)).await;
        }
        // Some at the same moment.
        if n % 2 == 0 {
            app.advance(Duration::from_millis(1));
        }
        people.push(person);
    }
    let all = inbox(&alice, "?limit=100").await;
    assert_eq!(all.len(), 16);
    let (mut walked, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = alice.get(&format!("/conversations?limit=3{cursor}")).await.ok(200);
        walked.extend(page["items"].as_array().expect("items").iter().map(|it| it["id"].clone()));
        // One that is behind already comes to the front: it is not found again.
        people[11].send(&alice, "more").await;
        app.advance(Duration::from_millis(1));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let ids: Vec<Value> = all.iter().map(|item| item["id"].clone()).collect();
    assert_eq!(walked, ids);
}

#[tokio::test]
async fn an_inbox_is_of_its_reader_alone() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("g", std::slice::from_ref(&bob)).await;
    alice.tell(&group, "hi").await;
    alice.send(&bob, "hi").await;
    assert_eq!(inbox(&bob, "").await.len(), 2);
    bob.post(&format!("/groups/{group}/leave"), json!({})).await.ok(200);
    assert_eq!(inbox(&bob, "").await.len(), 1);
    bob.get(&format!("/conversations/{group}")).await.problem(404, "not_found");
    let page = alice.get("/conversations?limit=1").await.ok(200);
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    let theirs = format!("/conversations?cursor={cursor}");
    bob.get(&theirs).await.problem(400, "invalid_cursor");
}
