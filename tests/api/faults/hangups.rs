//! Many clients hang up at the same moment, with a request under way each; and MongoDB stands
//! still under many requests. Afterwards natter serves the next one as if nothing had been.
//!
//! `make test` does a round of each with few clients, `make faults` five with a thousand.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::setting;
use crate::support::app::{PATIENCE, client};
use crate::support::servers::Server;
use crate::support::socket;
use crate::support::wire::Wire;
use crate::support::{Actor, TestApp};
use natter::config::Secret;

/// How long a lone request may take after all have gone.
const LONE: Duration = Duration::from_secs(1);

/// How soon a database that goes on is used again.
const BACK: Duration = Duration::from_secs(2);

/// How many hang up at once, and how often.
fn extent() -> (usize, u64) {
    if setting("NATTER_FAULTS_KILLS", 0) == 0 { (200, 1) } else { (1000, 5) }
}

/// Two who write to each other, on an instance with a mongod of its own, so that no other test
/// waits for it.
struct Scene {
    mongod: Server,
    app: TestApp,
    ada: Actor,
    bob: Actor,
}

impl Scene {
    async fn new() -> Self {
        let mongod = Server::mongod().await;
        let uri = mongod.url("mongodb");
        let app = TestApp::with(|settings| settings.mongodb.uri = Secret::new(uri)).await;
        let (ada, bob) = (app.user("ada").await, app.user("bob").await);
        for n in 0..50 {
            ada.send(&bob, &format!("message {n}")).await;
        }
        Self { mongod, app, ada, bob }
    }

    /// The history, over this client and this way.
    fn read(&self, http: &reqwest::Client, url: &str) -> reqwest::RequestBuilder {
        let url = format!("{url}/messages/{}?limit=50", self.bob.id);
        http.get(url).bearer_auth(&self.ada.token)
    }

    /// What is asked next is answered in time: a read, a message, and whether natter is ready.
    async fn is_well(&self, within: Duration) {
        let began = Instant::now();
        self.ada.get(&format!("/messages/{}?limit=50", self.bob.id)).await.ok(200);
        assert!(began.elapsed() < within, "a read took {:?}", began.elapsed());
        let began = Instant::now();
        self.ada.send(&self.bob, "still there?").await;
        assert!(began.elapsed() < within, "a message took {:?}", began.elapsed());
        let began = Instant::now();
        self.app.get("/readyz").await.ok(200);
        assert!(began.elapsed() < within, "/readyz took {:?}", began.elapsed());
    }
}

/// Requests under way, given up by dropping them.
async fn begin(requests: impl Iterator<Item = reqwest::RequestBuilder>) -> JoinSet<()> {
    let mut under_way = JoinSet::new();
    for request in requests {
        under_way.spawn(async move { drop(request.send().await) });
    }
    sleep(Duration::from_millis(50)).await;
    under_way
}

fn http1() -> reqwest::Client {
    let http = reqwest::Client::builder().http1_only().tls_danger_accept_invalid_certs(true);
    http.timeout(PATIENCE).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_up_connections_cost_the_next_request_nothing() {
    let (scene, (clients, rounds)) = (Scene::new().await, extent());
    for _ in 0..rounds {
        let (wire, http) = (Wire::to(&scene.app.url).await, http1());
        // Each opens its own connection. Some are cut in their handshake, some in their request.
        let reads = (0..clients).map(|_| scene.read(&http, &wire.url));
        let mut under_way = begin(reads).await;
        sleep(Duration::from_millis(300)).await;
        wire.cut();
        under_way.abort_all();
        scene.is_well(LONE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_streams_cost_the_next_request_nothing() {
    let (scene, (clients, rounds)) = (Scene::new().await, extent());
    let connections: Vec<_> = (0..4).map(|_| client()).collect();
    for http in &connections {
        scene.read(http, &scene.app.url).send().await.expect("an answer");
    }
    for _ in 0..rounds {
        for _ in 0..5 {
            let reads = (0..clients).map(|n| scene.read(&connections[n % 4], &scene.app.url));
            let mut under_way = begin(reads).await;
            under_way.abort_all();
            while under_way.join_next().await.is_some() {}
        }
        scene.is_well(LONE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_of_many_streams_cost_the_next_request_nothing() {
    let (scene, (clients, rounds)) = (Scene::new().await, extent());
    for _ in 0..rounds {
        let wire = Wire::to(&scene.app.url).await;
        let connections: Vec<_> = (0..4).map(|_| client()).collect();
        for http in &connections {
            scene.read(http, &wire.url).send().await.expect("an answer");
        }
        let reads = (0..clients).map(|n| scene.read(&connections[n % 4], &wire.url));
        let mut under_way = begin(reads).await;
        wire.cut();
        under_way.abort_all();
        scene.is_well(LONE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_those_who_hang_up_are_written_whole_or_not_at_all() {
    let (scene, (clients, rounds)) = (Scene::new().await, extent());
    for _ in 0..rounds {
        let (wire, http) = (Wire::to(&scene.app.url).await, client());
        scene.read(&http, &wire.url).send().await.expect("an answer");
        let sends = (0..clients).map(|n| {
            let body = json!({"recipient_user_id": scene.bob.id, "message": format!("{n}")});
            let url = format!("{}/messages", wire.url);
            http.post(url).bearer_auth(&scene.ada.token).json(&body)
        });
        let mut under_way = begin(sends).await;
        wire.cut();
        under_way.abort_all();
        scene.is_well(LONE).await;
    }
    crate::support::audit::Audit::of(&scene.app.database().await)
        .await
        .is_what_they_see(&scene.bob)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_up_sockets_cost_the_next_request_nothing() {
    let (scene, (clients, rounds)) = (Scene::new().await, extent());
    let mut first = scene.ada.socket().await;
    scene.bob.send(&scene.ada, "an event to come back for").await;
    first.expect("message.created").await;
    let since = format!("?since={}", first.last_id());
    drop(first);
    for _ in 0..rounds {
        let (wire, http) = (Wire::to(&scene.app.url).await, http1());
        // Some are refused as too many; all have looked up their session.
        let upgrades = (0..clients).map(|_| {
            let upgrade = socket::upgrade(&http, &wire.url, &since);
            upgrade.bearer_auth(&scene.ada.token)
        });
        let mut under_way = begin(upgrades).await;
        sleep(Duration::from_millis(300)).await;
        wire.cut();
        under_way.abort_all();
        scene.is_well(LONE).await;
        let mut back = scene.bob.socket().await;
        back.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_arrived_and_is_not_answered_in_time_is_503() {
    let mongod = Server::mongod().await;
    let uri = mongod.url("mongodb");
    let app = TestApp::with(|settings| {
        settings.mongodb.uri = Secret::new(uri);
        settings.server.request_seconds = Duration::from_secs(1);
    })
    .await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    mongod.freeze();
    let body = json!({"recipient_user_id": bob.id, "message": "now?"});
    let (sent, read) = tokio::join!(ada.post("/messages", body), ada.get("/conversations"));
    mongod.thaw();
    for answer in [sent, read] {
        assert_eq!(answer.header("retry-after"), "1");
        answer.problem(503, "unavailable");
    }
}

/// Freezes MongoDB under so many requests, for longer than their deadline, and asks again.
async fn thawed(scene: &Scene, requests: usize) {
    // A connection each: over h2, the client would keep some back until others are answered.
    let client = scene.ada.through(http1(), scene.app.url.clone());
    let work = (0..requests).map(|n| {
        let (ada, bob) = (client.clone(), scene.bob.clone());
        async move {
            sleep(Duration::from_millis(100)).await;
            let (began, path) = (Instant::now(), format!("/messages/{}", bob.id));
            let answer = if n % 3 == 0 {
                let body = json!({"recipient_user_id": bob.id, "message": "now?"});
                ada.post("/messages", body).await
            } else {
                ada.get(&path).await
            };
            assert!(matches!(answer.status, 200 | 201 | 503), "{}", answer.status);
            let took = began.elapsed();
            assert!(took < Duration::from_secs(6), "{} after {took:?}", answer.status);
        }
    });
    let frozen = async {
        sleep(Duration::from_millis(110)).await;
        scene.mongod.freeze();
        sleep(Duration::from_millis(6500)).await;
        scene.mongod.thaw();
    };
    tokio::join!(join_all(work), frozen);
    // The members of the set find each other again.
    let thawed = Instant::now();
    let well = timeout(BACK, async {
        while scene.ada.get(&format!("/messages/{}", scene.bob.id)).await.status != 200 {
            sleep(Duration::from_millis(50)).await;
        }
    });
    well.await.unwrap_or_else(|_| panic!("no read in time after {requests} requests"));
    println!("{requests} requests: served again {:?} after SIGCONT", thawed.elapsed());
    // No transaction of before stands in the way.
    scene.is_well(LONE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stood_still_under_many_requests_is_used_at_once() {
    let scene = Scene::new().await;
    let is_long = setting("NATTER_FAULTS_KILLS", 0) > 0;
    let sizes: &[usize] = if is_long { &[60, 100, 200, 300] } else { &[300] };
    for requests in sizes {
        thawed(&scene, *requests).await;
    }
    crate::support::audit::Audit::of(&scene.app.database().await)
        .await
        .is_what_they_see(&scene.bob)
        .await;
}
