//! How many mails a mailbox gets, and what owners are told of.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Actor, Answer, TestApp};

const CHANGED: &str = "Your password was changed";

const DEVICE: &str = "A new device";

async fn wants(actor: &Actor, email: &str) -> Answer {
    actor.put("/profile", json!({"email": email})).await
}

async fn sign_up(app: &TestApp, name: &str, email: &str) -> Answer {
    let input = json!({"username": name, "email": email, "password": "correct horse"});
    app.post("/signup", input).await
}

#[track_caller]
fn refused(answer: Answer, at_most: Duration) {
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!(wait > 0 && wait <= at_most.as_secs(), "{wait}");
    answer.problem(429, "rate_limited");
}

/// 120 addresses of one mailbox, as fast as it goes.
#[tokio::test]
async fn a_profile_is_no_mail_cannon() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for n in 0..120 {
        let answer = wants(&ada, &format!("Victim+{n}@example.com")).await;
        if n < 5 { drop(answer.ok(200)) } else { refused(answer, Duration::from_hours(24)) }
    }
    let sent = (0..120).map(|n| app.mails(&format!("Victim+{n}@example.com")).len());
    assert!(sent.sum::<usize>() <= 5);
    assert_eq!(ada.get("/profile").await.ok(200)["pending_email"], "Victim+4@example.com");
    // Neither withdrawing it nor other changes count.
    wants(&ada, &ada.email).await.ok(200);
    ada.put("/profile", json!({"username": "adela"})).await.ok(200);
    app.advance(Duration::from_hours(24));
    let ada = app.login(&ada.email, &ada.password).await;
    wants(&ada, "victim+again@example.com").await.ok(200);
}

/// Counted across accounts, instances and spellings, however many come at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_mails_to_one_mailbox_ten_are_sent() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let addresses: Vec<String> = (0..50)
        .map(|n| match n % 3 {
            0 => format!("box+{n}@example.com"),
            1 => format!("BOX+a+{n}@Example.com"),
            _ => format!("Box+{n}@EXAMPLE.COM"),
        })
        .collect();
    let mut signed_up = 0;
    let mut asked: Vec<usize> = (0..50).collect();
    // What could not be decided in time is asked again: it was not applied.
    while !asked.is_empty() {
        let (app, second, addresses) = (&app, &second, &addresses);
        let all = asked.iter().map(|n| async move {
            let instance = if n % 2 == 0 { app } else { second };
            (*n, sign_up(instance, &format!("user{n}"), &addresses[*n]).await)
        });
        let mut again = Vec::new();
        for (n, answer) in join_all(all).await {
            match answer.status {
                201 | 409 => signed_up += 1,
                503 => again.push(n),
                _ => refused(answer, Duration::from_hours(24)),
            }
        }
        asked = again;
    }
    assert_eq!(signed_up, 10);
    let ada = app.user("ada").await;
    refused(wants(&ada, "box@example.com").await, Duration::from_hours(24));
    assert_eq!(ada.get("/profile").await.ok(200)["pending_email"], serde_json::Value::Null);
    app.advance(Duration::from_hours(24));
    sign_up(&app, "later", "box@example.com").await.ok(201);
}

/// Where the answer tells nothing, nothing is told of a limit either.
#[tokio::test]
async fn past_the_limit_links_are_silently_not_mailed() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for n in 0..9 {
        sign_up(&app, &format!("user{n}"), &format!("ada+{n}@example.com")).await.ok(201);
    }
    refused(sign_up(&app, "late", "ada+late@example.com").await, Duration::from_hours(24));
    for path in ["/password/forgot", "/verify/resend"] {
        for email in ["ada@example.com", "ada+1@example.com"] {
            app.post(path, json!({"email": email})).await.ok(202);
        }
    }
    // What is queued after them is sent after them.
    let bob = app.user("bob").await;
    app.post("/password/forgot", json!({"email": bob.email})).await.ok(202);
    app.mail_about(&bob.email, "Choose a new password", 1).await;
    assert_eq!(app.mails("ada@example.com").len(), 1);
    assert_eq!(app.mails("ada+1@example.com").len(), 1);
    // Security mails are outside of it.
    let change = json!({"current_password": ada.password, "new_password": "a new password"});
    ada.put("/password", change).await.ok(204);
    app.mail_about("ada@example.com", CHANGED, 1).await;
}

#[tokio::test]
async fn a_changed_password_is_told_once_an_hour() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let change = |from: &str, to: &str| json!({"current_password": from, "new_password": to});
    ada.put("/password", change(&ada.password, "password 1")).await.ok(204);
    let mail = app.mail_about(&ada.email, CHANGED, 1).await;
    assert!(mail.body().starts_with("Hello ada,") && !mail.raw.contains("token"));
    second.seen_by(&ada).put("/password", change("password 1", "password 2")).await.ok(204);
    app.post("/password/forgot", json!({"email": ada.email})).await.ok(202);
    let token = app.mail_about(&ada.email, "Choose a new password", 1).await.token();
    let reset = json!({"token": token, "password": "password 3"});
    app.post("/password/reset", reset).await.ok(204);
    app.advance(Duration::from_hours(1));
    let ada = app.login(&ada.email, "password 3").await;
    ada.put("/password", change("wrong password", "password 4")).await.problem(403, "forbidden");
    app.post("/password/forgot", json!({"email": ada.email})).await.ok(202);
    let token = app.mail_about(&ada.email, "Choose a new password", 2).await.token();
    let reset = json!({"token": token, "password": "password 4"});
    app.post("/password/reset", reset).await.ok(204);
    app.mail_about(&ada.email, CHANGED, 2).await;
    let told = app.mails(&ada.email).into_iter().filter(|mail| mail.is_about(CHANGED)).count();
    assert_eq!(told, 2);
}

async fn login_from(app: &TestApp, ada: &Actor, ip: &str, agent: &str) -> Actor {
    let request = app.request("POST", "/login");
    let request = request.header("X-Forwarded-For", ip).header("User-Agent", agent);
    let input = json!({"email": ada.email, "password": ada.password});
    let answer = Answer::of(request.json(&input)).await.ok(200);
    Actor::new(app, &ada.email, &ada.password, &answer)
}

#[tokio::test]
async fn a_sign_in_from_a_new_device_is_told() {
    let behind_proxy = |settings: &mut natter::config::Settings| {
        settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    };
    let app = TestApp::with(behind_proxy).await;
    app.sign_up("ada").await;
    let token = app.mail("ada@example.com", 1).await.token();
    app.post("/verify", json!({"token": token})).await.ok(200);
    let ada = app.post("/login", json!({"email": "ada@example.com", "password": "ada-password"}));
    let ada = Actor::new(&app, "ada@example.com", "ada-password", &ada.await.ok(200));
    let told = || app.mails(&ada.email).iter().filter(|mail| mail.is_about(DEVICE)).count();
    // The same network, or the same user agent.
    login_from(&app, &ada, "203.0.113.7", "phone").await;
    app.mail_about(&ada.email, DEVICE, 1).await;
    app.advance(Duration::from_mins(61));
    login_from(&app, &ada, "203.0.113.200", "tablet").await;
    login_from(&app, &ada, "2001:db8:1:1::7", "phone").await;
    login_from(&app, &ada, "2001:db8:1:2::9", "laptop").await;
    // An ended session is known as well.
    app.login(&ada.email, &ada.password).await.delete("/sessions").await.ok(204);
    login_from(&app, &ada, "203.0.113.9", "phone").await;
    // Another network and another user agent: once an hour.
    login_from(&app, &ada, "203.0.114.7", "thief").await;
    let mail = app.mail_about(&ada.email, DEVICE, 2).await;
    assert!(!mail.raw.contains("thief") && !mail.raw.contains("token"));
    login_from(&app, &ada, "2001:db8:2::1", "another thief").await;
    // 90 days later none of them is known.
    app.advance(Duration::from_hours(90 * 24));
    login_from(&app, &ada, "203.0.113.9", "phone").await;
    app.mail_about(&ada.email, DEVICE, 3).await;
    assert_eq!(told(), 3);

    // The first sign-in ever is nobody else's.
    app.sign_up("bob").await;
    let token = app.mail("bob@example.com", 1).await.token();
    app.post("/verify", json!({"token": token})).await.ok(200);
    let bob = app.post("/login", json!({"email": "bob@example.com", "password": "bob-password"}));
    let bob = Actor::new(&app, "bob@example.com", "bob-password", &bob.await.ok(200));
    login_from(&app, &bob, "203.0.113.7", "phone").await;
    app.mail_about(&bob.email, DEVICE, 1).await;
    assert_eq!(app.mails(&bob.email).len(), 2);
    // The record goes with the account.
    let delete = bob.request("DELETE", "/profile").json(&json!({"password": bob.password}));
    Answer::of(delete).await.ok(204);
    let rows = app.database().await.collection::<mongodb::bson::Document>("devices");
    assert_eq!(rows.count_documents(mongodb::bson::doc! {}).await.expect("a count"), 1);
}
