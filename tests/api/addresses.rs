//! Addresses whose domain is of another script: one mailbox is one account, and every relay takes
//! its mail.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use crate::support::app::PATIENCE;
use crate::support::smtp;
use crate::support::smtp::Inbox;
use crate::support::{Answer, TestApp};

const A_LABEL: &str = "x@xn--bcher-kva.test";
const SPELLINGS: [&str; 5] =
    ["x@bücher.test", A_LABEL, "X@BÜCHER.TEST", "x@bücher。test", "x@bu\u{308}cher.test"];

async fn sign_up(app: &TestApp, name: &str, email: &str) -> Answer {
    app.post("/signup", json!({"username": name, "email": email, "password": "correct horse"}))
        .await
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> Answer {
    app.post("/login", json!({"email": email, "password": password})).await
}

async fn verified(app: &TestApp, name: &str, email: &str) -> Value {
    sign_up(app, name, email).await.ok(201);
    let token = app.mail(A_LABEL, 1).await.token();
    app.post("/verify", json!({"token": token})).await.ok(200)
}

#[tokio::test]
async fn one_mailbox_is_one_account_however_it_is_spelt() {
    let app = TestApp::spawn().await;
    let user = verified(&app, "xavier", "x@bücher.test").await;
    assert_eq!(user["email"], "x@bücher.test", "as its owner spells it");
    for email in SPELLINGS {
        sign_up(&app, "other", email).await.problem(409, "email_taken");
        let signed_in = log_in(&app, email, "correct horse").await.ok(200);
        assert_eq!(signed_in["user"], user);
        app.post("/verify/resend", json!({"email": email})).await.ok(202);
    }
    sign_up(&app, "other", "x@buecher.test").await.ok(201);
    let bad =
        ["x@xn--a.test", "x@bücher..test", "x@-bücher.test", "x@bü cher.test", "pä@bücher.test"];
    for email in bad {
        sign_up(&app, "another", email).await.invalid(&["email"]);
    }
    // One's own address in another spelling is one's own.
    let xavier = app.login(A_LABEL, "correct horse").await;
    let respelt = xavier.put("/profile", json!({"email": A_LABEL})).await.ok(200);
    assert_eq!((&respelt["email"], &respelt["pending_email"]), (&json!(A_LABEL), &Value::Null));
}

#[tokio::test]
async fn of_many_at_once_one_has_the_mailbox() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let signups = (0..50).map(|n| {
        let app = if n % 2 == 0 { &app } else { &second };
        async move { sign_up(app, &format!("user{n}"), SPELLINGS[n % 5]).await.status }
    });
    let statuses = join_all(signups).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn wrong_passwords_count_for_the_mailbox() {
    let app = TestApp::spawn().await;
    for email in SPELLINGS {
        log_in(&app, email, "wrong password").await.problem(401, "invalid_credentials");
    }
    for email in SPELLINGS {
        log_in(&app, email, "wrong password").await.problem(429, "account_locked");
    }
}

#[tokio::test]
async fn an_account_of_an_earlier_version_keeps_its_mailbox() {
    let app = TestApp::spawn().await;
    let user = verified(&app, "xavier", "x@bücher.test").await;
    let users = app.database().await.collection::<Document>("users");
    let former = doc! { "$set": { "email_key": "x@bücher.test" } };
    let updated = users.update_one(doc! { "email_key": A_LABEL }, former).await;
    assert_eq!(updated.expect("as before").modified_count, 1);
    for email in SPELLINGS {
        assert_eq!(log_in(&app, email, "correct horse").await.ok(200)["user"], user);
        sign_up(&app, "other", email).await.problem(409, "email_taken");
    }
    // The next instance that starts renews it.
    let _second = app.second_instance().await;
    let renewed = async {
        while users.count_documents(doc! { "email_key": A_LABEL }).await.expect("a count") == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("renewed in time");
    let xavier = app.login(A_LABEL, "correct horse").await;
    xavier.put("/profile", json!({"username": "francis"})).await.ok(200);
}

#[tokio::test]
async fn a_relay_without_smtputf8_gets_the_mail() {
    let (socket, addr) = smtp::reserve();
    let inbox = Inbox::default();
    let _server = smtp::serve(socket, &inbox, 0);
    let app = TestApp::with(|settings| {
        let url = natter::config::Secret::new(format!("smtp://{addr}"));
        settings.mail.url = natter::config::MailUrl::Smtp(url);
        settings.mail.from = "natter <no-reply@bücher.test>".parse().expect("a mailbox");
    })
    .await;
    sign_up(&app, "xavier", "x@bücher.test").await.ok(201);
    let arrived = async {
        while inbox.mails().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.expect("a mail in time");
    let mail = inbox.mails().remove(0);
    assert_eq!(mail.to, [format!("RCPT TO:<{A_LABEL}>")]);
    assert!(mail.from.starts_with("MAIL FROM:<no-reply@xn--bcher-kva.test>"), "{}", mail.from);
    assert!(!mail.from.contains("SMTPUTF8") && mail.data.is_ascii(), "{}", mail.data);
    assert!(mail.data.contains(&format!("To: {A_LABEL}")), "{}", mail.data);
}
