//! The reactions of a deleted account go with it.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::revisions::path;
use crate::support::app::PATIENCE;
use crate::support::socket::Socket;
use crate::support::{Actor, Answer, TestApp};

const THUMB: &str = "%F0%9F%91%8D";

async fn react(actor: &Actor, message: &Value, emoji: &str) -> Answer {
    actor.put(&format!("{}/reactions/{emoji}", path(message)), json!({})).await
}

async fn delete(actor: &Actor) {
    let body = json!({"password": actor.password});
    Answer::of(actor.request("DELETE", "/profile").json(&body)).await.ok(204);
}

async fn reactions(reader: &Actor, message: &Value) -> Value {
    reader.get(&path(message)).await.ok(200)["reactions"].take()
}

async fn left(app: &TestApp) -> u64 {
    let rows = app.database().await.collection::<Document>("reactions");
    rows.count_documents(doc! {}).await.expect("a count")
}

/// Waits until so many reactions are left.
async fn only(app: &TestApp, count: u64) {
    let waiting = async {
        while left(app).await != count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{} are left", left(app).await);
}

/// What so many `reaction.removed` of someone say.
async fn removed(device: &mut Socket, by: &Actor, count: usize) -> Vec<(Value, Value, Value)> {
    let mut told = Vec::new();
    while told.len() < count {
        let frame = device.next().await;
        if frame["type"] == "reaction.removed" {
            let data = &frame["data"];
            assert_eq!(data["user_id"], by.id);
            told.push((data["message_id"].clone(), data["emoji"].clone(), data["count"].clone()));
        }
    }
    told
}

#[tokio::test]
async fn they_are_gone_everywhere_with_what_they_count_and_others_hear_of_it() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let carol = app.user("carol").await;
    let group = bob.group("all", &[ada.clone(), carol.clone()]).await;
    let past = bob.group("left since", &[ada.clone(), carol.clone()]).await;
    let ended = ada.group("ended", &[]).await;
    let (direct, grouped) = (bob.send(&ada, "direct").await, bob.tell(&group, "group").await);
    let (former, alone) = (bob.tell(&past, "past").await, ada.tell(&ended, "alone").await);
    let gone = bob.tell(&group, "deleted").await;
    for message in [&direct, &grouped, &former, &alone, &gone] {
        for emoji in [THUMB, "%E2%9D%A4"] {
            react(&ada, message, emoji).await.ok(200);
        }
    }
    react(&carol, &grouped, THUMB).await.ok(200);
    react(&carol, &former, "%E2%9D%A4%EF%B8%8F").await.ok(200);
    bob.delete(&path(&gone)).await.ok(204);
    ada.post(&format!("/groups/{past}/leave"), Value::Null).await.ok(200);
    bob.get(&format!("/conversations/{group}/messages")).await.ok(200);

    let mut device = carol.socket().await;
    delete(&ada).await;
    only(&app, 2).await;
    let counted = |emoji: &str| json!([{"emoji": emoji, "count": 1, "reacted": true}]);
    assert_eq!(reactions(&bob, &direct).await, json!([]));
    assert_eq!(reactions(&carol, &grouped).await, counted("👍"));
    assert_eq!(reactions(&carol, &former).await, counted("❤"));
    let history = carol.get(&format!("/conversations/{group}/messages")).await.ok(200);
    assert_eq!(history["items"][1]["reactions"], counted("👍"), "no page of before is shown");
    let told = removed(&mut device, &ada, 4).await;
    for (message, thumbs, hearts) in [(&grouped, 1, 0), (&former, 0, 1)] {
        for (emoji, count) in [("👍", thumbs), ("❤", hearts)] {
            let one = (message["id"].clone(), json!(emoji), json!(count));
            assert!(told.contains(&one), "{one:?} is not among {told:?}");
        }
    }
}

/// So many messages of someone, each with so many reactions of another.
async fn reacted_to(app: &TestApp, by: &Actor, group: &str, writer: &Actor) -> Vec<Value> {
    let face = |n: u32| char::from_u32(0x1F600 + n).expect("a face").to_string();
    let emojis: Vec<String> = (0..16).map(face).collect();
    let mut sent = Vec::new();
    for n in 0..30 {
        let message = writer.tell(group, &format!("{n}")).await;
        let all = emojis.iter().map(async |emoji| {
            let emoji = utf8_percent_encode(emoji, NON_ALPHANUMERIC).to_string();
            react(by, &message, &emoji).await
        });
        for answer in join_all(all).await {
            answer.ok(200);
        }
        sent.push(message);
    }
    // As an earlier natter stored them.
    let rows = app.database().await.collection::<Document>("reactions");
    let unnamed = doc! { "$unset": { "user_id": "" } };
    let updated = rows.update_many(doc! {}, unnamed).await.expect("as before");
    assert_eq!(updated.modified_count, 480);
    sent
}

/// Waits until nothing of a deleted account is left.
async fn finished(app: &TestApp) {
    let users = app.database().await.collection::<Document>("users");
    let waiting = async {
        while users.count_documents(doc! { "cleanup": true }).await.expect("a count") > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("finished in time");
}

/// More than one request takes away, of a database that an earlier natter wrote, while others react.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_they_are_taken_away_by_whoever_comes_to_it() {
    let app = TestApp::spawn().await;
    let _second = app.second_instance().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let group = bob.group("all", std::slice::from_ref(&ada)).await;
    let sent = reacted_to(&app, &ada, &group, &bob).await;
    let storm = async {
        for message in &sent[..10] {
            react(&ada, message, THUMB).await;
            react(&bob, message, THUMB).await.ok(200);
        }
    };
    tokio::join!(storm, delete(&ada));
    // Others go on with what a request that ended has left.
    app.advance(Duration::from_secs(6));
    only(&app, 10).await;
    for (n, message) in sent.iter().enumerate() {
        let thumb = json!([{"emoji": "👍", "count": 1, "reacted": true}]);
        let expected = if n < 10 { thumb } else { json!([]) };
        assert_eq!(reactions(&bob, message).await, expected, "{n}");
    }
    app.advance(Duration::from_mins(1));
    finished(&app).await;

    // An account whose deletion an earlier natter has finished is taken up again.
    let rows = app.database().await.collection::<Document>("reactions");
    let row = rows.find_one(doc! {}).await.expect("an answer").expect("a row");
    let mut bytes = row.get_binary_generic("_id").expect("a key").clone();
    let id: natter::internals::domain::UserId = ada.id.parse().expect("an id");
    bytes[16..32].copy_from_slice(&id.bytes());
    let subtype = mongodb::bson::spec::BinarySubtype::Generic;
    let key = mongodb::bson::Binary { subtype, bytes };
    let at = mongodb::bson::DateTime::from_millis(1);
    rows.insert_one(doc! { "_id": key, "emoji": "👍", "at": at }).await.expect("as before");
    app.advance(Duration::from_secs(5));
    only(&app, 10).await;
    finished(&app).await;
}
