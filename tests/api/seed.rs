//! The demo: loaded whole, once, whatever happens on the way, and usable as if people had made it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use natter::app;
use natter::services::seed::load::Made;
use serde_json::Value;

use crate::support::{Actor, TestApp};

/// All that `fixtures/demo` has.
const ALL: Made = Made { users: 20, attachments: 3, friendships: 34, groups: 5, messages: 500 };

async fn seed(app: &TestApp) -> Result<Made, String> {
    let seeded = app::seed(app.settings().clone(), Path::new("demo")).await;
    seeded.map_err(|failure| failure.to_string())
}

/// One of the demo's people, signed in.
async fn person(app: &TestApp, name: &str) -> Actor {
    let (email, password) = (format!("{name}@example.com"), format!("correct horse {name}"));
    let body = serde_json::json!({ "email": email, "password": password });
    let login = app.post("/login", body).await.ok(200);
    Actor::new(app, &email, &password, &login)
}

async fn items(actor: &Actor, path: &str) -> Vec<Value> {
    actor.get(path).await.ok(200)["items"].as_array().expect("items").clone()
}

/// Every document of the database, by collection.
async fn everything(app: &TestApp) -> BTreeMap<String, Vec<Document>> {
    let database = app.database().await;
    let mut all = BTreeMap::new();
    for name in database.list_collection_names().await.expect("names") {
        let collection = database.collection::<Document>(&name);
        let rows = collection.find(doc! {}).sort(doc! { "_id": 1 }).await;
        let rows: Vec<Document> = rows.expect("rows").try_collect().await.expect("rows");
        all.insert(name, rows);
    }
    all
}

fn count(all: &BTreeMap<String, Vec<Document>>, prefix: &str) -> usize {
    let collections = all.iter().filter(|(name, _)| name.starts_with(prefix));
    collections.map(|(_, rows)| rows.len()).sum()
}

#[tokio::test]
async fn loading_again_changes_nothing() {
    let app = TestApp::spawn().await;
    assert_eq!(seed(&app).await, Ok(ALL));
    let before = everything(&app).await;
    assert_eq!(seed(&app).await, Ok(Made::default()));
    assert_eq!(everything(&app).await, before);
    // Not by their exactly-once keys alone, which are only kept for a day.
    app.database().await.collection::<Document>("message_keys").drop().await.expect("dropped");
    assert_eq!(seed(&app).await, Ok(Made::default()));
    assert_eq!(count(&everything(&app).await, "messages_"), 500);
}

#[tokio::test]
async fn a_load_that_was_cut_short_is_completed() {
    let app = TestApp::spawn().await;
    let mut interrupted = 0;
    let longer = |before: &Duration| Some(*before * 7 / 5);
    for patience in std::iter::successors(Some(Duration::from_millis(50)), longer) {
        match tokio::time::timeout(patience, seed(&app)).await {
            Ok(outcome) => {
                outcome.expect("a load");
                break;
            }
            Err(_) => interrupted += 1,
        }
    }
    assert!(interrupted > 3, "only {interrupted} were cut short");
    assert_eq!(seed(&app).await, Ok(Made::default()));
    let all = everything(&app).await;
    for (prefix, rows) in [
        ("users", 20),
        ("attachments", 3),
        ("relations", 34),
        ("groups", 5),
        ("messages_", 500),
        ("sends", 500),
        ("conversations", 18),
        ("outbox", 0),
        ("tokens", 0),
    ] {
        assert_eq!(count(&all, prefix), rows, "{prefix}");
    }
}

#[tokio::test]
async fn the_demo_looks_as_if_people_had_made_it() {
    let app = TestApp::spawn().await;
    seed(&app).await.expect("a load");
    let (ada, grace) = (person(&app, "ada").await, person(&app, "grace").await);
    what_is_said_is_there_in_its_order(&ada).await;
    friends_stand_in_every_state(&ada).await;
    files_are_attached(&ada, &grace).await;
    groups_have_roles_and_pictures(&grace).await;
}

async fn what_is_said_is_there_in_its_order(ada: &Actor) {
    let fixture = include_str!("../../fixtures/demo/conversations.json");
    let told: Vec<Value> = serde_json::from_str(fixture).expect("JSON");
    let groups: Vec<String> = items(ada, "/groups")
        .await
        .iter()
        .map(|group| group["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(groups.len(), 2);
    let mut seen = 0;
    for group in groups {
        let page = ada.get(&format!("/conversations/{group}/messages?limit=100")).await.ok(200);
        let mut texts: Vec<&Value> =
            page["items"].as_array().expect("items").iter().map(|m| &m["message"]).collect();
        texts.reverse();
        let same = told.iter().any(|conversation| {
            let messages = conversation["messages"].as_array().expect("messages");
            messages.iter().map(|message| &message["text"]).eq(texts.iter().copied())
        });
        assert!(same, "{texts:?}");
        seen += texts.len();
    }
    assert_eq!(seen, 63 + 51);
}

async fn friends_stand_in_every_state(ada: &Actor) {
    for (status, names) in [
        ("accepted", vec!["alan", "grace", "konrad"]),
        ("incoming", vec!["edsger", "hedy", "kathleen"]),
        ("outgoing", vec!["katherine", "lynn"]),
    ] {
        let friends = items(ada, &format!("/friends?status={status}")).await;
        let mut found: Vec<_> =
            friends.iter().filter_map(|friend| friend["user"]["username"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, names, "{status}");
    }
}

async fn files_are_attached(ada: &Actor, grace: &Actor) {
    let history = items(grace, &format!("/messages/{}?limit=100", ada.id)).await;
    assert_eq!(history.len(), 41);
    let drawing = history.iter().find(|m| m["attachments"][0].is_object()).expect("a drawing");
    let answer = history.iter().find(|m| m["reply_to"].is_string()).expect("an answer");
    assert_eq!(answer["reply_to"], drawing["id"]);
    let file = &drawing["attachments"][0];
    assert_eq!(file["filename"], "Analytical Engine – mill & store.png");
    let bytes = grace.get(file["url"].as_str().expect("a url")).await;
    assert_eq!(bytes.body, include_bytes!("../../fixtures/demo/files/engine.png"));
    let profile = ada.get("/profile").await.ok(200);
    assert_eq!(profile["profile_picture"]["content_type"], "image/jpeg");
}

async fn groups_have_roles_and_pictures(grace: &Actor) {
    let groups = items(grace, "/groups").await;
    let moon = groups.iter().find(|group| group["group_picture"].is_object()).expect("a picture");
    assert_eq!(moon["group_picture"]["content_type"], "image/webp");
    let moon = grace.get(&format!("/groups/{}", moon["id"].as_str().expect("an id"))).await.ok(200);
    let role = |name: &str| {
        let members = moon["members"].as_array().expect("members");
        let member = members.iter().find(|member| member["user"]["username"] == name);
        member.expect("a member")["role"].clone()
    };
    assert_eq!([role("katherine"), role("annie"), role("grace")], ["owner", "admin", "member"]);
}

#[tokio::test]
async fn a_name_that_somebody_has_is_named() {
    let app = TestApp::spawn().await;
    let input = serde_json::json!({
        "username": "Grace", "email": "other@example.com", "password": "correct horse",
    });
    app.post("/signup", input).await.ok(201);
    let line = seed(&app).await.expect_err("refused");
    let expected = "fixture demo: users.json, $user:grace: username_taken: another account has \
                    this name";
    assert_eq!(line, expected);
}
