//! How many connections there may be, of whom and from where.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use natter::config::Quota;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::app::PATIENCE;
use crate::support::socket::{Socket, open, refused, request};
use crate::support::{Actor, TestApp};

/// A socket that natter may close at once, with nothing read.
async fn door(actor: &Actor) -> Socket {
    let opened = open(actor.socket_request("")).await;
    opened.unwrap_or_else(|it| panic!("{} {}", it.status, it.text()))
}

/// Waits until natter lets one more in.
async fn place(actor: &Actor) -> Socket {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut socket = door(actor).await;
        match socket.next_or_end().await {
            Ok(frame) if frame["type"] == "ready" => return socket,
            Err(Some(4429)) if Instant::now() < end => sleep(Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_account_has_ten_sockets() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let tablet = app.login(&ada.email, &ada.password).await;
    let mut sockets = join_all((0..10).map(|_| ada.socket())).await;
    for actor in [&ada, &tablet] {
        assert_eq!(door(actor).await.closed().await, 4429, "the eleventh");
    }
    let mut anonymous = app.socket().await;
    anonymous.send(json!({"type": "auth", "token": ada.token})).await;
    assert_eq!(anonymous.closed().await, 4429, "by a frame, too");
    bob.socket().await;
    for socket in &mut sockets {
        socket.ping().await;
    }
    // Gone without a word.
    drop(sockets.pop());
    let mut late = place(&tablet).await;
    assert_eq!(door(&ada).await.closed().await, 4429);
    let sent = bob.send(&ada, "to all ten").await;
    for socket in sockets.iter_mut().chain([&mut late]) {
        assert_eq!(socket.expect("message.created").await, sent);
    }
}

#[tokio::test]
async fn an_address_has_so_many_sockets() {
    let app = TestApp::with(|settings| settings.realtime.sockets_per_address = 3).await;
    let ada = app.user("ada").await;
    let mut kept = ada.socket().await;
    let (silent, other) = (app.socket().await, app.socket().await);
    assert_eq!(door(&ada).await.closed().await, 4429, "silent ones count");
    assert_eq!(app.socket().await.closed().await, 4429);
    drop((silent, other));
    place(&ada).await;
    kept.ping().await;
}

#[tokio::test]
async fn upgrades_are_rate_limited() {
    let app = TestApp::with(|settings| {
        let limit = NonZeroU32::new(3).expect("not zero");
        settings.limits.socket = Some(Quota { limit, window: Duration::from_mins(1) });
    })
    .await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    for left in ["2", "1", "0"] {
        let socket = ada.socket().await;
        let headers = &socket.headers;
        assert!(headers["ratelimit"].to_str().expect("ASCII").contains(&format!("r={left}")));
        assert!(headers.contains_key("ratelimit-policy"));
    }
    let answer = ada.socket_refused("").await;
    assert!(answer.header("ratelimit").contains("r=0"));
    assert!(!answer.header("retry-after").is_empty());
    answer.problem(429, "rate_limited");
    bob.socket().await;
    // Nobody, and who has a bad token, by the address.
    for _ in 0..2 {
        app.socket().await;
    }
    let bad = || request(&app.url, "").bearer_auth("nonsense");
    refused(bad()).await.problem(401, "invalid_token");
    refused(bad()).await.problem(429, "rate_limited");
    refused(request(&app.url, "")).await.problem(429, "rate_limited");
    app.advance(Duration::from_mins(1));
    ada.socket().await;
    app.socket().await;
}

#[tokio::test]
async fn open_sockets_are_connections() {
    let app = TestApp::with(|settings| settings.server.max_connections = 5).await;
    let ada = app.user("ada").await;
    let mut sockets = Vec::new();
    // The last takes the place of the connection that signed up.
    for _ in 0..5 {
        sockets.push(ada.socket().await);
    }
    let stranger = || request(&app.url, "").timeout(Duration::from_secs(5)).send();
    stranger().await.expect_err("a sixth connection");
    for socket in &mut sockets {
        socket.ping().await;
    }
    sockets.clear();
    let end = Instant::now() + PATIENCE;
    while stranger().await.is_err() {
        assert!(Instant::now() < end, "their places are free");
        sleep(Duration::from_millis(50)).await;
    }
}
