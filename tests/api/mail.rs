//! Mails, over a real mail server that is not always there.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::json;

use crate::support::TestApp;
use crate::support::app::PATIENCE;
use crate::support::smtp;
use crate::support::smtp::Inbox;

async fn app_with_server(addr: std::net::SocketAddr) -> TestApp {
    TestApp::with(|settings| {
        let url = format!("smtp://{addr}");
        settings.mail.url = natter::config::MailUrl::Smtp(natter::config::Secret::new(url));
        settings.mail.from = "natter <no-reply@example.org>".parse().expect("a mailbox");
    })
    .await
}

async fn waiting(app: &TestApp) -> Vec<Document> {
    use futures_util::TryStreamExt;
    let rows = app.database().await.collection::<Document>("jobs");
    rows.find(doc! { "kind": "mail" })
        .await
        .expect("a cursor")
        .try_collect()
        .await
        .expect("all of it")
}

/// Waits, the clock of the test going on, until that many mails have arrived.
async fn arrive(app: &TestApp, inbox: &Inbox, count: usize) {
    let arriving = async {
        while inbox.mails().len() < count {
            app.advance(Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arriving).await.expect("all mails in time");
}

#[tokio::test]
async fn a_mail_server_that_is_down_loses_no_mail() {
    let (socket, addr) = smtp::reserve();
    let app = app_with_server(addr).await;
    for name in ["ada", "bob", "carol"] {
        app.sign_up(name).await;
    }
    // Each was tried at least once, in vain, and is still there.
    let tried = async {
        while !waiting(&app).await.iter().all(|mail| mail.get_i32("attempts").unwrap_or(0) > 0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, tried).await.expect("tried in time");
    assert_eq!(waiting(&app).await.len(), 3);

    // Back, but busy at first.
    let inbox = Inbox::default();
    let server = smtp::serve(socket, &inbox, 2);
    arrive(&app, &inbox, 3).await;
    let mut to: Vec<_> = inbox.mails().iter().flat_map(|mail| mail.to.clone()).collect();
    to.sort();
    assert_eq!(to, ["ada", "bob", "carol"].map(|name| format!("RCPT TO:<{name}@example.com>")));

    let mail = inbox.mails().into_iter().find(|mail| mail.to[0].contains("ada@")).expect("Ada's");
    assert!(mail.from.starts_with("MAIL FROM:<no-reply@example.org>"));
    assert!(mail.data.contains("To: ada@example.com\n") && mail.data.contains("Hello ada,\n"));
    let token = mail.data.split("?token=").nth(1).and_then(|rest| rest.lines().next());
    app.post("/verify", json!({"token": token})).await.ok(200);
    assert_eq!(waiting(&app).await.len(), 0);
    server.abort();
}

#[tokio::test]
async fn instances_share_the_outbox_and_send_each_mail_once() {
    let (socket, addr) = smtp::reserve();
    let inbox = Inbox::default();
    let server = smtp::serve(socket, &inbox, 0);
    let app = app_with_server(addr).await;
    let second = app.second_instance().await;
    join_all((0..20).map(|n| {
        let app = if n % 2 == 0 { &app } else { &second };
        async move { app.sign_up(&format!("user{n}")).await }
    }))
    .await;
    let sent = async {
        while inbox.mails().len() < 20 || !waiting(&app).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.expect("all mails in time");
    let mut to: Vec<_> = inbox.mails().iter().flat_map(|mail| mail.to.clone()).collect();
    to.sort();
    to.dedup();
    assert_eq!((to.len(), inbox.mails().len()), (20, 20));
    server.abort();
}

/// A moment so many seconds from now.
fn at(app: &TestApp, seconds: u64) -> mongodb::bson::DateTime {
    let at = app.clock().now().plus(Duration::from_secs(seconds));
    mongodb::bson::DateTime::from_millis(at.millis())
}

fn binary(bytes: Vec<u8>) -> mongodb::bson::Binary {
    mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes }
}

#[tokio::test]
async fn a_mail_that_was_claimed_and_never_sent_is_sent_by_the_next() {
    let app = TestApp::spawn().await;
    let jobs = app.database().await.collection::<Document>("jobs");
    // As an instance leaves it that is killed in the middle.
    let mail = doc! {
        "kind": "email_changed", "to": "ada@example.com", "username": "ada", "nonce": null,
    };
    let row = doc! {
        "_id": binary(vec![7; 16]), "kind": "mail", "payload": mail, "state": "running",
        "attempts": 1, "fence": binary(vec![1; 16]), "due_at": at(&app, 60),
        "enqueued_at": at(&app, 0), "expires_at": at(&app, 3600),
    };
    jobs.insert_one(row).await.expect("a row");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(app.mails("ada@example.com").len(), 0);
    app.advance(Duration::from_mins(1));
    app.mail("ada@example.com", 1).await;
}

/// As an instance of an earlier version leaves them, or goes on to queue them beside this one.
#[tokio::test]
async fn mails_that_an_earlier_version_has_queued_are_sent_once() {
    let app = TestApp::spawn().await;
    let outbox = app.database().await.collection::<Document>("outbox");
    let row = |n: u8, due: u64| {
        doc! {
            "_id": binary(vec![n; 16]), "kind": "email_changed", "to": format!("ada{n}@example.com"),
            "username": "ada", "nonce": null, "attempts": 1, "next_attempt_at": at(&app, due),
            "created_at": at(&app, 0), "expires_at": at(&app, 3600),
        }
    };
    // One is due; one is in the hands of an instance that is killed; two cannot be read.
    let mut unreadable = [row(3, 0), row(4, 0)];
    unreadable[0].insert("kind", "unheard_of");
    unreadable[1].insert("to", "nowhere");
    let rows = [row(1, 0), row(2, 90)].into_iter().chain(unreadable);
    outbox.insert_many(rows).await.expect("rows");
    let second = app.second_instance().await;
    app.advance(Duration::from_mins(1));
    let first = app.mail("ada1@example.com", 1).await;
    // It is known by what it was known by before.
    assert!(first.raw.contains(&"01".repeat(16)), "{}", first.raw);
    assert_eq!(app.mails("ada2@example.com").len(), 0);
    let moved = async {
        while outbox.count_documents(doc! {}).await.expect("a count") > 0
            || !waiting(&second).await.is_empty()
        {
            app.advance(Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.expect("moved in time");
    assert_eq!(
        ["ada1", "ada2"].map(|name| app.mails(&format!("{name}@example.com")).len()),
        [1, 1]
    );
}
