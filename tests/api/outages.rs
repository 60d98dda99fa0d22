//! Redis or MongoDB away, in the middle of things, and back.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use natter::config::{Quota, Secret, Settings};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::support::app::PATIENCE;
use crate::support::servers::Server;
use crate::support::{Actor, Answer, TestApp};

/// Limits that are counted but never met.
fn generous(settings: &mut Settings) {
    let limit = NonZeroU32::new(1_000_000).expect("not zero");
    let quota = Some(Quota { limit, window: Duration::from_hours(1) });
    (settings.limits.auth, settings.limits.read, settings.limits.write) = (quota, quota, quota);
}

/// Someone new signs up, verifies, logs in, writes and reads: every answer as it must be.
async fn story(app: &TestApp, peer: &Actor) {
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let number = TOLD.fetch_add(1, Ordering::SeqCst);
    let someone = app.user(&format!("someone{number}")).await;
    let sent = someone.send(peer, "hello").await;
    let page = peer.get(&format!("/messages/{}", someone.id)).await.ok(200);
    assert_eq!(page["items"][0]["id"], sent["id"]);
    let read = json!({"message_id": sent["id"]});
    let conversation = sent["conversation_id"].as_str().expect("an id");
    peer.post(&format!("/conversations/{conversation}/read"), read).await.ok(200);
    someone.get("/notifications").await.ok(200);
    let again = app.post("/token/refresh", json!({"refresh_token": someone.refresh_token}));
    again.await.ok(200);
}

/// Waits until GET /readyz says this status.
async fn ready(app: &TestApp, status: &str) -> Answer {
    let waiting = async {
        loop {
            let answer = app.get("/readyz").await;
            if answer.json()["status"] == status {
                return answer;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = timeout(PATIENCE, waiting).await;
    answer.unwrap_or_else(|_| panic!("/readyz never said {status}"))
}

/// Tells stories one after the other until `done` is set.
async fn stories(app: &TestApp, peer: &Actor, done: &AtomicBool) -> u32 {
    let mut told = 0;
    while !done.load(Ordering::SeqCst) {
        story(app, peer).await;
        told += 1;
    }
    told
}

/// Kills, starts, freezes and thaws Redis, watching what /readyz says of it.
async fn come_and_go(app: &TestApp, redis: &mut Server, done: &AtomicBool) {
    ready(app, "ok").await;
    redis.kill();
    let answer = ready(app, "degraded").await;
    assert_eq!(answer.ok(200), json!({"status": "degraded", "mongodb": "ok", "redis": "down"}));
    sleep(Duration::from_millis(1500)).await;
    redis.start().await;
    let back = Instant::now();
    ready(app, "ok").await;
    assert!(back.elapsed() < Duration::from_secs(3), "back only after {:?}", back.elapsed());
    sleep(Duration::from_millis(500)).await;
    redis.freeze();
    ready(app, "degraded").await.ok(200);
    sleep(Duration::from_millis(1500)).await;
    redis.thaw();
    ready(app, "ok").await;
    sleep(Duration::from_millis(500)).await;
    done.store(true, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_come_and_go_and_no_request_fails() {
    let mut redis = Server::redis().await;
    let url = redis.url("redis");
    let app = TestApp::with(|settings| {
        settings.redis.url = Secret::new(url);
        generous(settings);
    })
    .await;
    let peer = app.user("peer").await;
    let done = AtomicBool::new(false);
    // Many at once, so that the pool holds more than one connection when Redis goes.
    let (one, two, three, ()) = tokio::join!(
        stories(&app, &peer, &done),
        stories(&app, &peer, &done),
        stories(&app, &peer, &done),
        come_and_go(&app, &mut redis, &done),
    );
    assert!(one.min(two).min(three) > 3, "{one}, {two} and {three} stories told");
}

#[tokio::test]
async fn natter_starts_without_redis() {
    let app = TestApp::with(|settings| {
        settings.redis.url = Secret::new("redis://127.0.0.1:1");
        generous(settings);
    })
    .await;
    ready(&app, "degraded").await.ok(200);
    let peer = app.user("peer").await;
    story(&app, &peer).await;
}

#[tokio::test]
async fn a_hundred_connections_lost_cost_one_time_out() {
    let mut redis = Server::redis().await;
    let url = redis.url("redis");
    let app = TestApp::with(|settings| {
        settings.redis.url = Secret::new(url);
        generous(settings);
    })
    .await;
    let ada = app.user("ada").await;
    let burst = (0..100).map(|_| ada.get("/notifications"));
    for answer in futures_util::future::join_all(burst).await {
        answer.ok(200);
    }
    redis.kill();
    redis.start().await;
    // Nobody asked while it was away: only now the connections turn out to be dead.
    ada.get("/notifications").await.ok(200);
    sleep(Duration::from_millis(1100)).await;
    let left = || async {
        let answer = ada.get("/notifications").await;
        let state = answer.header("ratelimit").to_owned();
        let left = state.split(';').find_map(|part| part.strip_prefix("r=")).expect("r=");
        left.parse::<u32>().expect("a number")
    };
    // The new Redis has counted nothing yet, while this instance's own counter has: what the
    // answers say tells which of the two was asked.
    assert_eq!((left().await, left().await), (999_999, 999_998));
    ready(&app, "ok").await;
}

/// Expects 503 with `Retry-After`, within the five seconds that are promised.
async fn unavailable(request: impl Future<Output = Answer>, what: &str) {
    let began = Instant::now();
    let answer = request.await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{what} took {took:?}");
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!(wait >= 1, "{what}");
    answer.problem(503, "unavailable");
}

/// Asks in many ways while MongoDB is away.
async fn everything_is_unavailable(app: &TestApp, ada: &Actor, bob: &Actor) {
    let login = json!({"email": ada.email, "password": ada.password});
    let hello = json!({"recipient_user_id": bob.id, "message": "hello?"});
    let sign_up =
        json!({"username": "late", "email": "late@example.com", "password": "late-password"});
    let path = format!("/messages/{}", bob.id);
    tokio::join!(
        unavailable(ada.get(&path), "fetching"),
        unavailable(ada.post("/messages", hello), "sending"),
        unavailable(ada.get("/notifications"), "notifications"),
        unavailable(app.post("/login", login), "logging in"),
        unavailable(app.post("/signup", sign_up), "signing up"),
        async {
            let began = Instant::now();
            let answer = ready(app, "unavailable").await;
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            let expected = json!({"status": "unavailable", "mongodb": "down", "redis": "ok"});
            assert_eq!(answer.ok(503), expected);
        },
    );
    app.get("/healthz").await.ok(200);
}

/// Sends one message after the other, each again under its own name until it is taken; gives
/// the ids in order.
async fn persist(ada: &Actor, bob: &Actor, done: Arc<AtomicBool>) -> Vec<String> {
    let mut sent = Vec::new();
    while !done.load(Ordering::SeqCst) {
        let name = format!("m{}", sent.len());
        let body = json!({"recipient_user_id": bob.id, "message": name, "client_message_id": name});
        let message = loop {
            let began = Instant::now();
            let answer = ada.post("/messages", body.clone()).await;
            assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
            if answer.status == 201 {
                break answer.json();
            }
            answer.problem(503, "unavailable");
            sleep(Duration::from_millis(100)).await;
        };
        sent.push(message["id"].as_str().expect("an id").to_owned());
        sleep(Duration::from_millis(10)).await;
    }
    sent
}

async fn history(ada: &Actor, bob: &Actor) -> Vec<String> {
    let (mut ids, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/messages/{}?limit=100{before}", bob.id);
        let page = ada.get(&path).await.ok(200);
        let items = page["items"].as_array().expect("items");
        ids.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        match page["older_cursor"].as_str() {
            Some(cursor) => before = format!("&before={cursor}"),
            None => break,
        }
    }
    ids.reverse();
    ids
}

async fn with_mongod() -> (Server, TestApp, Actor, Actor) {
    let mongod = Server::mongod().await;
    let uri = mongod.url("mongodb");
    let app = TestApp::with(|settings| settings.mongodb.uri = Secret::new(uri)).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    (mongod, app, ada, bob)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongod_may_crash_and_come_back() {
    let (mut mongod, app, ada, bob) = with_mongod().await;
    let done = Arc::new(AtomicBool::new(false));
    let sending = {
        let (ada, bob, done) = (ada.clone(), bob.clone(), done.clone());
        tokio::spawn(async move { persist(&ada, &bob, done).await })
    };
    sleep(Duration::from_millis(500)).await;
    mongod.kill();
    everything_is_unavailable(&app, &ada, &bob).await;
    mongod.start().await;
    ready(&app, "ok").await;
    sleep(Duration::from_secs(1)).await;
    done.store(true, Ordering::SeqCst);
    let sent = sending.await.expect("every message is sent");
    assert_eq!(history(&ada, &bob).await, sent, "each once, in order");
    story(&app, &bob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongod_may_freeze_and_go_on() {
    let (mongod, app, ada, bob) = with_mongod().await;
    let done = Arc::new(AtomicBool::new(false));
    let sending = {
        let (ada, bob, done) = (ada.clone(), bob.clone(), done.clone());
        tokio::spawn(async move { persist(&ada, &bob, done).await })
    };
    sleep(Duration::from_millis(500)).await;
    mongod.freeze();
    everything_is_unavailable(&app, &ada, &bob).await;
    everything_is_unavailable(&app, &ada, &bob).await;
    mongod.thaw();
    ready(&app, "ok").await;
    sleep(Duration::from_secs(1)).await;
    done.store(true, Ordering::SeqCst);
    let sent = sending.await.expect("every message is sent");
    assert_eq!(history(&ada, &bob).await, sent, "each once, in order");
    story(&app, &bob).await;
}
