//! The clock is set back by an hour, as operators and NTP do: nobody who was active has to wait.

use std::num::NonZeroU32;
use std::time::Duration;

use natter::config::Quota;
use serde_json::json;

use crate::support::{Answer, TestApp};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn whoever_was_active_goes_on_after_the_clock_is_set_back() {
    let quota = |limit: u32| {
        NonZeroU32::new(limit).map(|limit| Quota { limit, window: Duration::from_mins(1) })
    };
    let app = TestApp::with(|settings| {
        let limits = &mut settings.limits;
        (limits.read, limits.write, limits.auth) = (quota(4), quota(4), quota(20));
    })
    .await;
    let ada = app.user("ada").await;
    for _ in 0..4 {
        ada.get("/profile").await.ok(200);
    }
    ada.get("/profile").await.problem(429, "rate_limited");
    app.set_back(HOUR);
    let answer = ada.get("/profile").await;
    assert_eq!(answer.header("retry-after"), "15");
    answer.problem(429, "rate_limited");
    app.advance(Duration::from_secs(15));
    ada.get("/profile").await.ok(200);
    ada.put("/profile", json!({})).await.ok(200);
    app.login(&ada.email, &ada.password).await.get("/friends").await;
}

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    app.post("/login", json!({"email": email, "password": password})).await
}

#[tokio::test]
async fn a_lockout_never_lasts_longer_than_the_longest_pause() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for _ in 0..5 {
        login(&app, &ada.email, "wrong password").await.problem(401, "invalid_credentials");
    }
    login(&app, &ada.email, &ada.password).await.problem(429, "account_locked");
    app.set_back(HOUR);
    // The wrong ones are remembered: one more, and the pause begins anew.
    let answer = login(&app, &ada.email, "wrong password").await;
    assert_eq!(answer.header("retry-after"), "30");
    answer.problem(429, "account_locked");
    login(&app, &ada.email, &ada.password).await.problem(429, "account_locked");
    app.advance(Duration::from_secs(30));
    login(&app, &ada.email, &ada.password).await.ok(200);
}

#[tokio::test]
async fn an_old_refresh_token_stays_an_old_one() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let refresh = |token: &str| app.post("/token/refresh", json!({"refresh_token": token}));
    app.advance(HOUR);
    let next = refresh(&ada.refresh_token).await.ok(200);
    app.set_back(HOUR / 2);
    refresh(&ada.refresh_token).await.problem(401, "refresh_token_reused");
    let next = next["refresh_token"].as_str().expect("a token");
    refresh(next).await.problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn mails_and_search_go_on() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    app.set_back(HOUR);
    app.user("eve").await;
    let sent = ada.send(&bob, "aardvark").await;
    let found = async {
        loop {
            let page = bob.get("/search/messages?q=aardvark").await.ok(200);
            if page["items"][0]["id"] == sent["id"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("found");
}
