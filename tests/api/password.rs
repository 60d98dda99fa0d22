//! Changing a password, and getting a new one by mail.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::{Actor, Answer, TestApp};

const NEW: &str = "a new password";

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    app.post("/login", json!({"email": email, "password": password})).await
}

async fn forgot(app: &TestApp, email: &str) {
    let answer = app.post("/password/forgot", json!({"email": email})).await;
    assert_eq!((answer.status, answer.text().as_str()), (202, ""));
}

async fn reset(app: &TestApp, token: &str, password: &str) -> Answer {
    app.post("/password/reset", json!({"token": token, "password": password})).await
}

async fn change(actor: &Actor, current: &str, new: &str) -> Answer {
    actor.put("/password", json!({"current_password": current, "new_password": new})).await
}

async fn refresh(app: &TestApp, actor: &Actor) -> Answer {
    app.post("/token/refresh", json!({"refresh_token": actor.refresh_token})).await
}

#[tokio::test]
async fn changing_it_ends_the_other_sessions_and_keeps_this_one() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let tablet = app.login(&ada.email, &ada.password).await;
    let answer = change(&ada, &ada.password, NEW).await;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    ada.get("/profile").await.ok(200);
    tablet.get("/profile").await.problem(401, "session_revoked");
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.seen_by(&tablet).get("/profile").await.problem(401, "session_revoked");
    refresh(&app, &tablet).await.problem(401, "invalid_refresh_token");
    refresh(&app, &ada).await.ok(200);
    login(&app, &ada.email, &ada.password).await.problem(401, "invalid_credentials");
    login(&app, &ada.email, NEW).await.ok(200);
}

#[tokio::test]
async fn a_wrong_one_or_a_bad_new_one_changes_nothing() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    change(&ada, "wrong password", NEW).await.problem(403, "forbidden");
    change(&ada, &ada.password, "short").await.invalid(&["new_password"]);
    change(&ada, &ada.password, &"x".repeat(73)).await.invalid(&["new_password"]);
    ada.put("/password", json!({})).await.invalid(&["current_password", "new_password"]);
    let objects = json!({"current_password": {"$ne": null}, "new_password": {"$gt": ""}});
    ada.put("/password", objects).await.invalid(&["current_password", "new_password"]);
    login(&app, &ada.email, &ada.password).await.ok(200);
}

#[tokio::test]
async fn a_mailed_link_sets_a_new_one_once_and_ends_every_session() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    forgot(&app, "ADA@example.com").await;
    let mail = app.mail(&ada.email, 2).await;
    assert!(mail.raw.contains("\r\nhttps://localhost:8443/password/reset?token="));
    forgot(&app, &ada.email).await;
    let other = app.mail(&ada.email, 3).await.token();
    let token = mail.token();
    assert_ne!(token, other);
    reset(&app, &token, "short").await.invalid(&["password"]);
    let answer = reset(&app, &token, NEW).await;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    ada.get("/profile").await.problem(401, "session_revoked");
    refresh(&second, &ada).await.problem(401, "invalid_refresh_token");
    for used in [token.as_str(), &other, "", "x"] {
        reset(&second, used, "yet another one").await.problem(422, "invalid_or_expired_token");
    }
    login(&app, &ada.email, &ada.password).await.problem(401, "invalid_credentials");
    login(&app, &ada.email, NEW).await.ok(200);
}

#[tokio::test]
async fn a_link_is_good_for_an_hour_and_for_nothing_else() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    forgot(&app, &ada.email).await;
    let token = app.mail(&ada.email, 2).await.token();
    app.post("/verify", json!({"token": token})).await.problem(422, "invalid_or_expired_token");
    app.advance(Duration::from_millis(3_599_999));
    let rows = app.database().await.collection::<Document>("tokens");
    let row = rows.find_one(doc! {"kind": "reset"}).await.expect("a read").expect("a row");
    assert!(!row.to_string().contains(&token));
    app.advance(Duration::from_millis(1));
    reset(&app, &token, NEW).await.problem(422, "invalid_or_expired_token");
    login(&app, &ada.email, &ada.password).await.ok(200);

    app.sign_up("bob").await;
    let verification = app.mail("bob@example.com", 1).await.token();
    reset(&app, &verification, NEW).await.problem(422, "invalid_or_expired_token");
}

#[tokio::test]
async fn an_unknown_address_gets_the_same_answer_and_no_mail() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    forgot(&app, "nobody@example.com").await;
    forgot(&app, &ada.email).await;
    app.mail(&ada.email, 2).await;
    assert_eq!(app.mails("nobody@example.com").len(), 0);
    app.post("/password/forgot", json!({"email": "ada@"})).await.invalid(&["email"]);
    app.post("/password/forgot", json!({"email": {"$ne": null}})).await.invalid(&["email"]);
    app.post("/password/reset", json!({})).await.invalid(&["password", "token"]);
}

#[tokio::test]
async fn asking_again_and_again_fills_nobodys_mailbox() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let asked = (0..30).map(|n| forgot(if n % 2 == 0 { &app } else { &second }, &ada.email));
    join_all(asked).await;
    let outbox = app.database().await.collection::<Document>("jobs");
    let emptied = async {
        while outbox.count_documents(doc! {"kind": "mail"}).await.expect("a count") > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), emptied).await.expect("an empty outbox");
    // The first is the one that verified the address.
    assert_eq!(app.mails(&ada.email).len(), 1 + 5);
    app.advance(Duration::from_hours(1));
    forgot(&app, &ada.email).await;
    let token = app.mail(&ada.email, 1 + 5 + 1).await.token();
    reset(&app, &token, NEW).await.ok(204);
}

#[tokio::test]
async fn of_many_uses_of_one_link_at_once_one_succeeds() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    forgot(&app, &ada.email).await;
    let token = app.mail(&ada.email, 2).await.token();
    let passwords: Vec<String> = (0..50).map(|n| format!("new password {n}")).collect();
    let uses = passwords
        .iter()
        .enumerate()
        .map(|(n, password)| reset(if n % 2 == 0 { &app } else { &second }, &token, password));
    let answers = join_all(uses).await;
    let won: Vec<_> = answers.iter().zip(&passwords).filter(|(a, _)| a.status == 204).collect();
    assert_eq!(won.len(), 1);
    login(&app, &ada.email, won[0].1).await.ok(200);
    for answer in answers.iter().filter(|answer| answer.status != 204) {
        answer.clone().problem(422, "invalid_or_expired_token");
    }
}

/// The link shows that the address is one's own, as the other one would have.
#[tokio::test]
async fn a_reset_verifies_an_account_that_waits_for_it() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let first = app.mail("ada@example.com", 1).await.token();
    forgot(&app, "ada@example.com").await;
    let token = app.mail("ada@example.com", 2).await.token();
    reset(&app, &token, NEW).await.ok(204);
    let user = login(&app, "ada@example.com", NEW).await.ok(200)["user"].clone();
    assert_eq!((&user["username"], &user["verified"]), (&json!("ada"), &json!(true)));
    login(&app, "ada@example.com", "ada-password").await.problem(401, "invalid_credentials");
    app.post("/verify", json!({"token": first})).await.problem(422, "invalid_or_expired_token");
}

#[tokio::test]
async fn a_reset_ends_a_lockout() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for _ in 0..5 {
        login(&app, &ada.email, "wrong password").await.problem(401, "invalid_credentials");
    }
    login(&app, &ada.email, &ada.password).await.problem(429, "account_locked");
    forgot(&app, &ada.email).await;
    let token = app.mail(&ada.email, 2).await.token();
    reset(&app, &token, NEW).await.ok(204);
    login(&app, &ada.email, NEW).await.ok(200);
}

/// Whoever has got in must not stay: neither by an address that they asked for, nor by a link to
/// one that is the account's no longer.
#[tokio::test]
async fn other_links_are_worthless_after_a_new_password() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    ada.put("/profile", json!({"email": "eve@example.com"})).await.ok(200);
    let theirs = app.mail("eve@example.com", 1).await.token();
    forgot(&app, &ada.email).await;
    let token = app.mail_about(&ada.email, "Choose a new", 1).await.token();
    reset(&app, &token, NEW).await.ok(204);
    app.post("/verify", json!({"token": theirs})).await.problem(422, "invalid_or_expired_token");
    let ada = app.login(&ada.email, NEW).await;
    assert_eq!(ada.get("/profile").await.ok(200)["pending_email"], Value::Null);

    // Changing it ends links to reset it.
    forgot(&app, &ada.email).await;
    let token = app.mail_about(&ada.email, "Choose a new", 2).await.token();
    change(&ada, NEW, "the third password").await.ok(204);
    reset(&app, &token, NEW).await.problem(422, "invalid_or_expired_token");

    // Another address ends those that were mailed to the old one.
    forgot(&app, &ada.email).await;
    let token = app.mail_about(&ada.email, "Choose a new", 3).await.token();
    ada.put("/profile", json!({"email": "ada@new.example"})).await.ok(200);
    let verify = app.mail("ada@new.example", 1).await.token();
    app.post("/verify", json!({"token": verify})).await.ok(200);
    reset(&app, &token, NEW).await.problem(422, "invalid_or_expired_token");
}

/// Nobody is signed in by a password that was replaced in the meantime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_while_the_password_changes_leaves_no_session_behind() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let logins = (0..20).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &second };
        login(instance, &ada.email, &ada.password)
    });
    let (answers, changed) =
        tokio::join!(join_all(logins), change(&ada, &ada.password, "replaced password"));
    changed.ok(204);
    for answer in answers {
        assert!([200, 401, 429].contains(&answer.status), "{}", answer.text());
    }
    assert_eq!(ada.get("/sessions").await.ok(200)["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn of_changes_at_once_one_wins() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let ada = app.user("ada").await;
    let elsewhere = second.seen_by(&ada);
    let passwords: Vec<String> = (0..10).map(|n| format!("new password {n}")).collect();
    let changes = passwords
        .iter()
        .enumerate()
        .map(|(n, new)| change(if n % 2 == 0 { &ada } else { &elsewhere }, &ada.password, new));
    let answers = join_all(changes).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
    let won = answers.iter().zip(&passwords).find(|(answer, _)| answer.status == 204);
    // The others have found it replaced, which may count as wrong.
    app.advance(Duration::from_mins(15));
    login(&app, &ada.email, won.expect("one").1).await.ok(200);
}

#[tokio::test]
async fn the_mailed_link_is_a_page_that_posts() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    forgot(&app, &ada.email).await;
    let token = app.mail(&ada.email, 2).await.token();
    for path in [
        format!("/password/reset?token={token}"),
        "/password/reset".to_owned(),
        "/password/reset?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&utm_source=mail".to_owned(),
    ] {
        let page = app.get(&path).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        let policy = page.header("content-security-policy");
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next());
        let nonce = nonce.expect("a nonce");
        assert!(policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self'"));
        assert!(policy.contains("form-action 'none'"));
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        let text = page.text();
        assert!(text.contains("<form") && text.contains("type=\"password\""));
        assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        assert!(!text.contains(&token) && !text.contains("alert(1)") && !text.contains("utm_"));
    }
    // Looking at the page uses nothing up.
    reset(&app, &token, NEW).await.ok(204);
}

#[tokio::test]
async fn common_passwords_are_refused_where_the_service_says_so() {
    let app = TestApp::spawn().await;
    let strict = app.instance_with(|settings| settings.accounts.refuse_common_passwords = true);
    let strict = strict.await;
    let input = |name: &str, password: &str| {
        let email = format!("{name}@example.com");
        json!({"username": name, "email": email, "password": password})
    };
    let refused = |answer: Answer, field: &str| {
        let problem = answer.invalid(&[field]);
        assert_eq!(problem["errors"][0]["code"], "too_common", "{problem}");
    };
    app.post("/signup", input("ada", "password1")).await.ok(201);
    for common in ["password1", "Password1", "12345678", "QWERTYUIOP"] {
        refused(strict.post("/signup", input("bob", common)).await, "password");
    }
    // Each bad field is named, and each once.
    strict.post("/signup", input("x", "iloveyou")).await.invalid(&["password", "username"]);
    let problem = strict.post("/signup", input("bob", "1234567")).await.invalid(&["password"]);
    assert_eq!(problem["errors"][0]["code"], "too_short");
    strict.post("/signup", input("bob", "password1 of bob")).await.ok(201);

    // A common one that is in use still opens the account.
    let token = app.mail("ada@example.com", 1).await.token();
    app.post("/verify", json!({"token": token})).await.ok(200);
    let ada = strict.login("ada@example.com", "password1").await;
    refused(change(&ada, "password1", "sunshine1").await, "new_password");
    refused(change(&ada, "wrong password", "sunshine1").await, "new_password");
    forgot(&strict, &ada.email).await;
    let token = app.mail(&ada.email, 2).await.token();
    refused(reset(&strict, &token, "PRINCESS1").await, "password");
    refused(reset(&strict, "no token", "princess1").await, "password");
    assert_eq!(reset(&strict, &token, NEW).await.status, 204);
    // Elsewhere they are taken.
    let ada = app.login(&ada.email, NEW).await;
    change(&ada, NEW, "sunshine1").await.ok(204);
}
