//! Other people: looking at them, finding them.

use serde_json::{Value, json};

use crate::support::{Actor, TestApp};

async fn find(actor: &Actor, query: &str) -> Vec<String> {
    let page = actor.get(&format!("/users?{query}")).await.ok(200);
    let items = page["items"].as_array().expect("a list");
    items.iter().map(|item| item["username"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn a_profile_is_what_everyone_may_see() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let stranger = app.sign_up("carol").await;
    let profile = json!({
        "id": bob.id, "username": "bob", "profile_picture": null, "deleted": false,
    });
    for _ in 0..2 {
        assert_eq!(ada.get(&format!("/users/{}", bob.id)).await.ok(200), profile);
    }
    let id = stranger["id"].as_str().expect("an id");
    ada.get(&format!("/users/{id}")).await.problem(404, "not_found");
    ada.get(&format!("/users/{}", natter::internals::domain::UserId::random()))
        .await
        .problem(404, "not_found");
    ada.get("/users/me").await.problem(404, "not_found");
    let token = app.mail("carol@example.com", 1).await.token();
    app.post("/verify", json!({"token": token})).await.ok(200);
    ada.get(&format!("/users/{id}")).await.ok(200);
}

#[tokio::test]
async fn a_changed_name_shows_at_once() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let path = format!("/users/{}", bob.id);
    ada.get(&path).await.ok(200);
    bob.put("/profile", json!({"username": "Robert"})).await.ok(200);
    assert_eq!(ada.get(&path).await.ok(200)["username"], "Robert");
    assert_eq!(second.seen_by(&ada).get(&path).await.ok(200)["username"], "Robert");
}

#[tokio::test]
async fn people_are_found_by_how_their_name_begins() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for name in ["Bob", "bobby", "bo.b", "rob"] {
        app.user(name).await;
    }
    app.sign_up("bobcat").await;
    assert_eq!(find(&ada, "q=bo").await, ["bo.b", "Bob", "bobby"]);
    assert_eq!(find(&ada, "q=BOB").await, ["Bob", "bobby"]);
    for nothing in [
        "q=.*",
        "q=b.b",
        "q=%5Ebo",
        "q=bob%00",
        "q=b%C3%B6",
        "q=zz",
        &format!("q={}", "b".repeat(99)),
    ] {
        assert_eq!(find(&ada, nothing).await, Vec::<String>::new(), "{nothing}");
    }
    for short in ["/users", "/users?q=", "/users?q=b", "/users?q=%C3%B6", "/users?q[$ne]=bob"] {
        let answer = ada.get(short).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (422, Some("validation_failed")),
            "{short}"
        );
    }
}

#[tokio::test]
async fn a_search_goes_on_where_it_stopped() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for n in 0..7 {
        app.user(&format!("Bob{n}")).await;
    }
    let (mut found, mut query) = (Vec::new(), "/users?q=bob&limit=3".to_owned());
    loop {
        let page = ada.get(&query).await.ok(200);
        let items = page["items"].as_array().expect("a list");
        found.extend(items.iter().map(|item| item["username"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        ada.get(&format!("/users?q=bo&cursor={cursor}")).await.problem(400, "invalid_cursor");
        query = format!("/users?q=BOB&limit=3&cursor={cursor}");
    }
    assert_eq!(found, (0..7).map(|n| Value::from(format!("Bob{n}"))).collect::<Vec<_>>());
}
