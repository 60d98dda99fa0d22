//! GET /metrics: on the operators' listener, and nowhere else.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use natter::config::{Secret, Settings};
use serde_json::json;

use crate::support::TestApp;
use crate::support::app::PATIENCE;

fn with_admin(settings: &mut Settings) {
    settings.admin.addr = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
}

async fn ask_admin(app: &TestApp, method: &str, path: &str) -> reqwest::Response {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let url = format!("{}{path}", app.admin.as_ref().expect("an admin listener"));
    app.http().request(method, url).send().await.expect("an answer")
}

/// What one look at the metrics has shown.
struct Scrape(String);

impl Scrape {
    async fn of(app: &TestApp) -> Self {
        let answer = ask_admin(app, "GET", "/metrics").await;
        assert_eq!(answer.status(), 200);
        Self(answer.text().await.expect("a body"))
    }

    /// The sample of this name and these labels; 0 where there is none.
    fn sample(&self, name: &str) -> f64 {
        let found = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// As soon as this sample is so.
    async fn once(app: &TestApp, name: &str, value: u32) -> Self {
        let waiting = async {
            loop {
                let now = Self::of(app).await;
                if (now.sample(name) - f64::from(value)).abs() < 1e-9 {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        found.unwrap_or_else(|_| panic!("{name} is not {value} in time"))
    }

    #[track_caller]
    fn is(&self, name: &str, value: u32) {
        let found = self.sample(name);
        assert!((found - f64::from(value)).abs() < 1e-9, "{name} is {found}, not {value}");
    }

    /// Names and kinds, by the `# TYPE` lines.
    fn kinds(&self) -> BTreeSet<String> {
        let kinds = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        kinds.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn only_the_admin_listener_shows_metrics() {
    let app = TestApp::with(with_admin).await;
    let alice = app.user("alice").await;
    app.get("/metrics").await.problem(404, "not_found");
    alice.get("/metrics").await.problem(404, "not_found");

    let answer = ask_admin(&app, "GET", "/metrics").await;
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().expect("ASCII");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(ask_admin(&app, "HEAD", "/metrics").await.status(), 200);
    let refused = ask_admin(&app, "POST", "/metrics").await;
    assert_eq!(refused.status(), 405);
    assert_eq!(refused.headers()["allow"], "GET, HEAD, OPTIONS");
    assert_eq!(ask_admin(&app, "GET", "/profile").await.status(), 404);
}

#[tokio::test]
async fn requests_count_under_the_path_of_their_route() {
    let app = TestApp::with(with_admin).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    for _ in 0..3 {
        alice.get(&format!("/users/{}", bob.id)).await.ok(200);
    }
    alice.request("HEAD", &format!("/users/{}", bob.id)).send().await.expect("an answer");
    alice.get(&format!("/users/{}", uuid(7))).await.problem(404, "not_found");
    alice.get("/profile/../users").await;
    for n in 0..5 {
        app.get(&format!("/nowhere/{n}")).await.problem(404, "not_found");
    }
    let made_up = app.request("PROPFIND", "/profile").send().await.expect("an answer");
    assert_eq!(made_up.status(), 405);

    let now = Scrape::of(&app).await;
    let users = |method, status| {
        format!(
            "natter_http_requests_total{{method=\"{method}\",route=\"/users/{{user_id}}\",status=\"{status}\"}}"
        )
    };
    now.is(&users("GET", 200), 3);
    now.is(&users("HEAD", 200), 1);
    now.is(&users("GET", 404), 1);
    now.is(r#"natter_http_requests_total{method="GET",route="none",status="404"}"#, 5);
    now.is(r#"natter_http_requests_total{method="other",route="/profile",status="405"}"#, 1);
    let times = r#"natter_http_request_duration_seconds_count{route="/users/{user_id}"}"#;
    now.is(times, 5);
    assert!(!now.0.contains(&bob.id) && !now.0.contains("nowhere"), "{}", now.0);
}

fn uuid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

#[tokio::test]
async fn messages_and_connections_are_counted() {
    let app = TestApp::with(with_admin).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let body = json!({"recipient_user_id": bob.id, "message": "hi", "client_message_id": "1"});
    for _ in 0..2 {
        alice.post("/messages", body.clone()).await.ok(201);
    }
    bob.send(&alice, "hello").await;

    let now = Scrape::of(&app).await;
    now.is("natter_messages_written_total", 2);
    // The repeat, too, goes the way of a message before it is known to be one.
    now.is("natter_message_batch_size_sum", 3);
    now.is("natter_message_batch_size_count", 3);
    assert!(now.0.contains("\nnatter_messages_queued 0\n"), "{}", now.0);
    assert!(now.sample(r#"natter_connections_open{listener="https"}"#) >= 1.0, "{}", now.0);
    now.is(r#"natter_connections_open{listener="admin"}"#, 1);
    now.is("natter_redis_away", 0);
    let started = now.sample("process_start_time_seconds");
    let clock = app.clock().now().seconds();
    assert!((started - f64::from(u32::try_from(clock).expect("this century"))).abs() < 2.0);
    now.is(&format!("natter_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1);
}

#[tokio::test]
async fn sockets_and_events_are_counted() {
    let app = TestApp::with(with_admin).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = alice.socket().await;
    let mut other = alice.socket().await;
    bob.send(&alice, "hello").await;
    socket.expect("message.created").await;
    other.expect("message.created").await;
    // Counted once it is told, so maybe after it has come.
    let now = Scrape::once(&app, "natter_event_delay_seconds_count", 1).await;
    now.is("natter_sockets_open", 2);
    now.is("natter_relay_held", 1);
    now.is("natter_events_relayed_total", 1);
    now.is("natter_events_missed_total", 0);
    socket.send_raw("no JSON").await;
    assert_eq!(socket.closed().await, 4400);
    Scrape::once(&app, r#"natter_sockets_closed_total{code="4400"}"#, 1).await;
    drop(other);
    Scrape::once(&app, "natter_sockets_open", 0).await;
}

#[tokio::test]
async fn connections_that_found_no_place_are_counted() {
    let app = TestApp::with(|settings| {
        with_admin(settings);
        settings.server.max_connections = 1;
    })
    .await;
    let address = app.url.replace("https://localhost", "127.0.0.1");
    let ada = app.user("ada").await;
    // Takes the place of the connection that signed up, and is busy as long as it lasts.
    let _held = ada.socket().await;
    Scrape::of(&app)
        .await
        .is(r#"natter_connections_evicted_total{listener="https",reason="full"}"#, 1);
    let turned_away = r#"natter_connections_turned_away_total{listener="https",reason="full"}"#;
    let counted = async {
        while Scrape::of(&app).await.sample(turned_away) < 1.0 {
            let _another = tokio::net::TcpStream::connect(&address).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.expect("turned away and counted");
    Scrape::of(&app).await.is(r#"natter_connections_open{listener="https"}"#, 1);
}

#[tokio::test]
async fn a_redis_that_is_away_shows() {
    let app = TestApp::with(|settings| {
        with_admin(settings);
        settings.redis.url = Secret::new("redis://127.0.0.1:1");
    })
    .await;
    app.get("/readyz").await.ok(200);
    let now = Scrape::of(&app).await;
    now.is("natter_redis_away", 1);
    assert!(now.sample("natter_redis_failures_total") >= 1.0, "{}", now.0);
}

#[tokio::test]
async fn what_there_is_to_see_is_documented() {
    let app = TestApp::with(with_admin).await;
    app.user("alice").await;
    let there = Scrape::of(&app).await.kinds();
    let words = include_str!("../../docs/operations.md");
    let rows = words.lines().filter_map(|line| line.strip_prefix("| `"));
    let metrics = rows.filter(|row| row.starts_with("natter_") || row.starts_with("process_"));
    let documented: BTreeSet<String> = metrics
        .filter_map(|row| {
            let (name, rest) = row.split_once(['{', '`'])?;
            Some(format!("{name} {}", rest.split('|').nth(1)?.trim()))
        })
        .collect();
    assert_eq!(documented, there, "docs/operations.md");
}
