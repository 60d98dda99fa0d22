//! Access tokens, refresh tokens, sessions.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

const HOUR: Duration = Duration::from_hours(1);

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.post("/token/refresh", json!({"refresh_token": token})).await
}

/// The profile as someone with this token gets it.
async fn profile(app: &TestApp, token: &str) -> Answer {
    Answer::of(app.request("GET", "/profile").bearer_auth(token)).await
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("Base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn an_access_token_is_a_jwt_that_anyone_can_check() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let (header, claims) = (part(&ada.token, 0), part(&ada.token, 1));
    let jwks = app.get("/.well-known/jwks.json").await.ok(200);
    assert_eq!((&header["alg"], &header["kid"]), (&json!("EdDSA"), &jwks["keys"][0]["kid"]));
    assert_eq!(claims["iss"], "https://localhost:8443");
    assert_eq!(claims["sub"], ada.id.as_str());
    let now = app.clock().now().seconds();
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(now), Some(now + 3600)));
    assert!(claims["jti"].is_string() && claims["sid"].is_string());
    assert_eq!(claims.as_object().map(serde_json::Map::len), Some(6));
}

/// The same claims under the same key id, signed by someone else.
fn signed_by_another(token: &str) -> String {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let pkcs8 = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = part(token, 0)["kid"].as_str().map(str::to_owned);
    let key = jsonwebtoken::EncodingKey::from_ed_der(pkcs8.as_ref());
    jsonwebtoken::encode(&header, &part(token, 1), &key).expect("a token")
}

/// The same claims, with the public key as if it were a shared secret.
fn signed_with(secret: &str, token: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = jsonwebtoken::Header::default();
    jsonwebtoken::encode(&header, &part(token, 1), &key).expect("a token")
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let [header, claims, signature] =
        <[&str; 3]>::try_from(ada.token.split('.').collect::<Vec<_>>()).expect("three parts");
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = encode(json!({"alg": "none", "typ": "JWT"}));
    let mut other = part(&ada.token, 1);
    other["exp"] = json!(i64::MAX);
    let other = encode(other);
    let public = app.get("/.well-known/jwks.json").await.ok(200)["keys"][0]["x"].to_string();
    let foreign = signed_by_another(&ada.token);
    let hmac = signed_with(public.trim_matches('"'), &ada.token);
    for token in [
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{header}.{other}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        foreign,
        hmac,
        ada.refresh_token.clone(),
        "x".repeat(8000),
    ] {
        let answer = profile(&app, &token).await;
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        answer.problem(401, "invalid_token");
    }
    app.get("/profile").await.problem(401, "missing_token");
    profile(&app, &ada.token).await.ok(200);
}

#[tokio::test]
async fn an_access_token_lasts_an_hour_to_the_second() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let expires = part(&ada.token, 1)["exp"].as_i64().expect("a number") * 1000;
    let left = u64::try_from(expires - app.clock().now().millis()).expect("the future");
    app.advance(Duration::from_millis(left - 1));
    ada.get("/profile").await.ok(200);
    app.advance(Duration::from_millis(1));
    ada.get("/profile").await.problem(401, "token_expired");
    let pair = refresh(&app, &ada.refresh_token).await.ok(200);
    profile(&app, pair["access_token"].as_str().expect("a token")).await.ok(200);
}

#[tokio::test]
async fn an_ended_session_is_refused_at_once_here_and_soon_elsewhere() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let elsewhere = second.seen_by(&ada);
    // Long enough for both streams to be open, and their copies in use.
    for _ in 0..20 {
        ada.get("/profile").await.ok(200);
        elsewhere.get("/profile").await.ok(200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ada.post("/logout", json!({})).await.ok(204);
    ada.get("/profile").await.problem(401, "session_revoked");
    let ended = tokio::time::Instant::now();
    while elsewhere.get("/profile").await.status == 200 {
        assert!(ended.elapsed() < Duration::from_secs(1));
    }
    elsewhere.get("/profile").await.problem(401, "session_revoked");
    refresh(&app, &ada.refresh_token).await.problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn a_refresh_token_is_good_once() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    app.advance(Duration::from_mins(5));
    let next = refresh(&app, &ada.refresh_token).await.ok(200);
    assert_ne!(next["refresh_token"], ada.refresh_token.as_str());
    assert_ne!(next["access_token"], ada.token.as_str());
    assert_eq!(next["expires_in"], 3600);
    // The old access token belongs to the same session.
    ada.get("/profile").await.ok(200);

    // A lost answer: the same pair again, on any instance.
    app.advance(Duration::from_secs(10));
    let second = app.second_instance().await;
    let again = refresh(&second, &ada.refresh_token).await.ok(200);
    assert_eq!(again["refresh_token"], next["refresh_token"]);
    assert_eq!(again["access_token"], next["access_token"]);

    app.advance(Duration::from_millis(1));
    let reused = refresh(&second, &ada.refresh_token).await;
    assert_eq!(reused.header("www-authenticate"), "Bearer");
    reused.problem(401, "refresh_token_reused");
    let newest = next["refresh_token"].as_str().expect("a token");
    refresh(&app, newest).await.problem(401, "invalid_refresh_token");
    refresh(&app, &ada.refresh_token).await.problem(401, "invalid_refresh_token");
    let access = next["access_token"].as_str().expect("a token");
    profile(&second, access).await.problem(401, "session_revoked");
}

#[tokio::test]
async fn within_the_grace_the_newest_pair_is_given_and_later_ones_still_count() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let one = refresh(&app, &ada.refresh_token).await.ok(200);
    app.advance(Duration::from_secs(3));
    let two = refresh(&app, one["refresh_token"].as_str().expect("a token")).await.ok(200);
    let again = refresh(&app, &ada.refresh_token).await.ok(200);
    assert_eq!(again["refresh_token"], two["refresh_token"]);
    // The first was replaced 10 s ago, the second only 7.
    app.advance(Duration::from_secs(7));
    refresh(&app, one["refresh_token"].as_str().expect("a token")).await.ok(200);
    refresh(&app, &ada.refresh_token).await.ok(200);
}

#[tokio::test]
async fn refreshing_at_once_makes_one_pair() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let calls =
        (0..20).map(|n| refresh(if n % 2 == 0 { &app } else { &second }, &ada.refresh_token));
    let answers = futures_util::future::join_all(calls).await;
    let pairs: Vec<Value> = answers.into_iter().map(|answer| answer.ok(200)).collect();
    assert!(pairs.windows(2).all(|two| two[0] == two[1]));
    let sessions = app.database().await.collection::<mongodb::bson::Document>("sessions");
    let row = sessions.find_one(mongodb::bson::doc! {}).await.expect("a read").expect("a row");
    assert_eq!(row.get_i32("generation").ok(), Some(2));
}

#[tokio::test]
async fn a_session_stands_thirty_days_from_its_last_refresh() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    app.advance(Duration::from_millis(30 * 24 * 3_600_000 - 1));
    let next = refresh(&app, &ada.refresh_token).await.ok(200);
    let next = next["refresh_token"].as_str().expect("a token");
    app.advance(HOUR * 24 * 30);
    refresh(&app, next).await.problem(401, "invalid_refresh_token");
    refresh(&app, "").await.problem(401, "invalid_refresh_token");
}

/// Someone signs in on one more device, a minute later.
async fn one_more(app: &TestApp, actor: &Actor) -> Actor {
    app.advance(Duration::from_mins(1));
    app.login(&actor.email, &actor.password).await
}

#[tokio::test]
async fn devices_are_listed_and_ended() {
    let app = TestApp::spawn().await;
    let phone = app.user("ada").await;
    let laptop = one_more(&app, &phone).await;
    let tablet = one_more(&app, &phone).await;
    let bob = app.user("bob").await;

    let list = laptop.get("/sessions").await.ok(200);
    let items = list["items"].as_array().expect("a list").clone();
    assert_eq!((items.len(), &list["next_cursor"]), (3, &Value::Null));
    let current: Vec<_> = items.iter().map(|item| item["current"].as_bool()).collect();
    assert_eq!(current, [Some(false), Some(true), Some(false)]);
    let now = app.clock().now().to_string();
    assert_eq!(
        items[0],
        json!({
            "id": part(&tablet.token, 1)["sid"], "created_at": now, "last_used_at": now,
            "ip": "127.0.0.1", "user_agent": null, "current": false,
        })
    );

    let first = laptop.get("/sessions?limit=2").await.ok(200);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let rest = laptop.get(&format!("/sessions?limit=2&cursor={cursor}")).await.ok(200);
    assert_eq!(rest, json!({"items": [items[2]], "next_cursor": null}));
    bob.get(&format!("/sessions?cursor={cursor}")).await.problem(400, "invalid_cursor");
    laptop.get("/sessions?limit=0").await.invalid(&["limit"]);

    let phones = items[2]["id"].as_str().expect("an id");
    bob.delete(&format!("/sessions/{phones}")).await.problem(404, "not_found");
    laptop.delete(&format!("/sessions/{phones}")).await.ok(204);
    laptop.delete(&format!("/sessions/{phones}")).await.problem(404, "not_found");
    laptop.delete("/sessions/x").await.problem(404, "not_found");
    phone.get("/profile").await.problem(401, "session_revoked");
    tablet.get("/profile").await.ok(200);

    laptop.delete("/sessions").await.ok(204);
    tablet.get("/profile").await.problem(401, "session_revoked");
    refresh(&app, &tablet.refresh_token).await.problem(401, "invalid_refresh_token");
    laptop.get("/profile").await.ok(200);
    bob.get("/profile").await.ok(200);
}

#[tokio::test]
async fn a_session_shows_when_it_was_last_used() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    app.advance(Duration::from_mins(2));
    let now = app.clock().now().to_string();
    let shown = async {
        while ada.get("/sessions").await.ok(200)["items"][0]["last_used_at"] != now.as_str() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), shown).await.expect("written down");
}
