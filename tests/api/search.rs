//! Finding messages by their words.

mod bounds;
mod indexing;
mod parts;

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{CollectionOptions, ReadConcern};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::revisions::path;
use crate::support::app::PATIENCE;
use crate::support::{Actor, Answer, TestApp};

/// Waits until every change is indexed.
pub async fn settled(app: &TestApp) {
    // As natter reads: what a majority has.
    let majority = CollectionOptions::builder().read_concern(ReadConcern::majority()).build();
    let database = app.database().await;
    let waiting = database.collection_with_options::<Document>("unindexed", majority);
    let settled = async {
        while waiting.count_documents(doc! {}).await.expect("a count") > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("all is indexed in time");
}

fn query(q: &str) -> String {
    format!("/search/messages?q={}", utf8_percent_encode(q, NON_ALPHANUMERIC))
}

/// The items of one page.
async fn page(actor: &Actor, path: &str) -> Vec<Value> {
    let page = actor.get(path).await.ok(200);
    page["items"].as_array().expect("a list").clone()
}

fn texts(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["message"].as_str().expect("a text")).collect()
}

/// Expects that someone finds messages of exactly these texts, in this order.
pub async fn finds(actor: &Actor, q: &str, expected: &[&str]) {
    let items = page(actor, &query(q)).await;
    assert_eq!(texts(&items), expected, "{q}");
}

async fn edit(actor: &Actor, message: &Value, text: &str) {
    let change = json!({"message": text});
    Answer::of(actor.request("PATCH", &path(message)).json(&change)).await.ok(200);
}

#[tokio::test]
async fn messages_are_found_by_their_words_whatever_these_contain() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let said = [
        "The quick brown Fox",
        "quick: brown \"fox\"",
        "Crème Brûlée 🍮!",
        "我在北京 привет Ёлка",
        "{\"$ne\": null} and $where",
        "-minus .*regex.* (a|b) 100%",
        "!!! ... ???",
    ];
    for text in said {
        app.advance(Duration::from_millis(1));
        alice.send(&bob, text).await;
    }
    settled(&app).await;
    for person in [&alice, &bob] {
        finds(person, "fox QUICK", &[said[1], said[0]]).await;
        finds(person, "quick fox bear", &[]).await;
        finds(person, "brule", &[]).await;
        finds(person, "BRULEE creme", &[said[2]]).await;
        finds(person, "🍮🍮", &[said[2]]).await;
        finds(person, "елка", &[said[3]]).await;
        finds(person, "北京", &[said[3]]).await;
    }
    finds(&bob, "$ne", &[said[4]]).await;
    finds(&bob, "{\"$ne\":null}", &[said[4]]).await;
    finds(&bob, "-minus", &[said[5]]).await;
    finds(&bob, "\"fox brown\"", &[said[1], said[0]]).await;
    finds(&bob, "regex\0minus", &[said[5]]).await;
    for nothing in [".*", "$gt", "[a-z]+", "^th", "$exists", "!!!", "\0\0", "\"\"", "--", "qui*"] {
        finds(&bob, nothing, &[]).await;
    }
}

#[tokio::test]
async fn what_is_found_is_a_message_as_everywhere_else() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("g", std::slice::from_ref(&bob)).await;
    let told = alice.tell(&group, "lunch @bob?").await;
    bob.put(&format!("{}/reactions/%F0%9F%91%8D", path(&told)), json!({})).await.ok(200);
    bob.put(&format!("{}/pin", path(&told)), json!({})).await.ok(200);
    app.advance(Duration::from_secs(1));
    alice.send(&bob, "lunch!").await;
    settled(&app).await;
    let found = page(&bob, &query("lunch")).await;
    let direct = bob.get(&format!("/messages/{}", alice.id)).await.ok(200);
    let there = bob.get(&format!("/conversations/{group}/messages")).await.ok(200);
    assert_eq!(found, [direct["items"][0].clone(), there["items"][0].clone()]);
    assert_eq!(
        (&found[1]["pinned"], &found[1]["reactions"][0]["reacted"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn only_ones_own_conversations_are_searched() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) = (app.user("alice").await, app.user("bob").await, app.user("eve").await);
    let group = alice.group("g", &[bob.clone(), eve.clone()]).await;
    let sent = alice.send(&bob, "secret direct").await;
    app.advance(Duration::from_millis(1));
    alice.tell(&group, "secret group").await;
    app.advance(Duration::from_millis(1));
    alice.send(&alice, "secret note").await;
    settled(&app).await;
    finds(&alice, "secret", &["secret note", "secret group", "secret direct"]).await;
    finds(&bob, "secret", &["secret group", "secret direct"]).await;
    finds(&eve, "secret", &["secret group"]).await;
    let direct = sent["conversation_id"].as_str().expect("an id");
    let within = |id: &str| format!("{}&conversation_id={id}", query("secret"));
    assert_eq!(texts(&page(&bob, &within(direct)).await), ["secret direct"]);
    assert_eq!(texts(&page(&bob, &within(&group)).await), ["secret group"]);
    eve.get(&within(direct)).await.problem(404, "not_found");
    eve.get(&format!("/search/messages?q=--&conversation_id={direct}"))
        .await
        .problem(404, "not_found");
    let nowhere = natter::internals::domain::ConversationId::random().to_string();
    eve.get(&within(&nowhere)).await.problem(404, "not_found");
    let member = json!({"user_id": eve.id});
    alice.post(&format!("/groups/{group}/remove"), member.clone()).await.ok(200);
    finds(&eve, "secret", &[]).await;
    eve.get(&within(&group)).await.problem(404, "not_found");
    alice.post(&format!("/groups/{group}/add"), member).await.ok(201);
    finds(&eve, "secret", &["secret group"]).await;
    bob.post(&format!("/groups/{group}/leave"), Value::Null).await.ok(200);
    finds(&bob, "secret", &["secret direct"]).await;
}

#[tokio::test]
async fn edited_messages_are_found_by_their_new_words_and_deleted_ones_not_at_all() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "apple pie").await;
    let gone = alice.send(&bob, "apple cake").await;
    settled(&app).await;
    finds(&bob, "apple", &["apple cake", "apple pie"]).await;
    edit(&alice, &sent, "cherry pie").await;
    alice.delete(&path(&gone)).await.ok(204);
    // At once, however far the index is.
    finds(&bob, "apple", &[]).await;
    finds(&bob, "cake", &[]).await;
    settled(&app).await;
    finds(&bob, "apple", &[]).await;
    finds(&bob, "pie", &["cherry pie"]).await;
    finds(&bob, "cherry", &["cherry pie"]).await;
    let words = app.database().await.collection::<Document>("message_words");
    assert_eq!(words.count_documents(doc! {}).await.expect("a count"), 1);
    for text in ["one", "two", "three", "four"] {
        edit(&alice, &sent, text).await;
    }
    settled(&app).await;
    finds(&bob, "three", &[]).await;
    finds(&bob, "four", &["four"]).await;
}

#[tokio::test]
async fn pages_go_on_without_repeats_while_more_is_sent() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("g", std::slice::from_ref(&bob)).await;
    let mut expected = Vec::new();
    for n in 0..24 {
        // Several of the same moment, in different conversations.
        app.advance(Duration::from_millis(u64::from(n % 4 == 0)));
        let text = format!("red balloon {n}");
        let sent = match n % 3 {
            0 => alice.send(&bob, &text).await,
            1 => alice.tell(&group, &text).await,
            _ => bob.send(&bob, &text).await,
        };
        expected.push((sent["created_at"].clone(), sent["id"].clone()));
        alice.send(&bob, "red herring").await;
    }
    settled(&app).await;
    let start = format!("{}&limit=5", query("Balloon red"));
    let (mut found, mut path) = (Vec::new(), start.clone());
    loop {
        let page = bob.get(&path).await.ok(200);
        let items = page["items"].as_array().expect("a list");
        found.extend(items.iter().map(|it| (it["created_at"].clone(), it["id"].clone())));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert_eq!(items.len(), 5);
        for other in
            [query("Balloon blue"), format!("{}&conversation_id={group}", query("red balloon"))]
        {
            bob.get(&format!("{other}&cursor={cursor}")).await.problem(400, "invalid_cursor");
        }
        alice.get(&format!("{start}&cursor={cursor}")).await.problem(400, "invalid_cursor");
        app.advance(Duration::from_millis(1));
        alice.send(&bob, "another red balloon").await;
        path = format!("{}&limit=5&cursor={cursor}", query("red, balloon!"));
    }
    let times: Vec<&str> = found.iter().filter_map(|(at, _)| at.as_str()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    let by_id = |(_, id): &(Value, Value)| id.as_str().map(str::to_owned);
    found.sort_by_key(by_id);
    expected.sort_by_key(by_id);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_query_has_2_to_200_characters_and_no_other_words() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for bad in ["", "x", "ö", &"ö".repeat(201)] {
        ada.get(&query(bad)).await.invalid(&["q"]);
    }
    ada.get("/search/messages").await.invalid(&["q"]);
    ada.get("/search/messages?q[$ne]=xx").await.invalid(&["q", "q[$ne]"]);
    ada.get("/search/messages?q=xx&from=bob").await.invalid(&["from"]);
    ada.get("/search/messages?q=x&limit=0&conversation_id=1").await.invalid(&[
        "conversation_id",
        "limit",
        "q",
    ]);
    ada.get("/search/messages?q=xx&q=yy").await.problem(400, "invalid_query");
    ada.get("/search/messages?q=xx&cursor=x").await.problem(400, "invalid_cursor");
    for fine in ["öö", &"ö".repeat(200), "--", "玩", "ก", "の", "한"] {
        let empty = json!({"items": [], "next_cursor": null});
        assert_eq!(ada.get(&query(fine)).await.ok(200), empty, "{fine}");
    }
}
