//! The instance that relays ends at each place of its way in turn; another goes on.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::devices::{Habit, agree};
use super::net::{Circle, Net, Service};
use super::storm::{end_all, switch_on, tell};
use super::{Rng, persist};
use crate::support::app::PATIENCE;
use crate::support::instance::Instance;
use crate::support::{Actor, TestApp};

/// Every failpoint of the relay, in the order of its way.
pub const POINTS: [&str; 4] = ["relay.heard", "relay.rendered", "relay.appended", "relay.raised"];

/// How soon another instance goes on, with time for a busy machine.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(8);

/// Does something with the lease on the relay.
async fn lease<T: redis::FromRedisValue>(app: &TestApp, verb: &str, rest: &[&str]) -> T {
    let redis = &app.settings().redis;
    let client = redis::Client::open(redis.url.expose()).expect("a client");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut command = redis::cmd(verb);
    command.arg(format!("{}relay", redis.prefix)).arg(rest);
    command.query_async(&mut connection).await.expect("an answer")
}

/// Waits until some instance has the relay, or none.
async fn relayed(app: &TestApp, is_relayed: bool) {
    let waiting = async {
        loop {
            if lease::<bool>(app, "EXISTS", &[]).await == is_relayed {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("a change of who relays");
}

/// An instance that has the relay, and ends at this failpoint.
async fn relaying(app: &TestApp, failpoint: &str) -> Instance {
    relayed(app, false).await;
    let instance = Instance::start(app, failpoint).await;
    relayed(app, true).await;
    instance
}

fn to(person: &Actor, text: &str) -> serde_json::Value {
    serde_json::json!({
        "recipient_user_id": person.id, "message": text, "client_message_id": text,
    })
}

/// The first message is the last thing that the relay hears; everyone is told of it all the same.
async fn killed_at(point: &str) {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    app.shutdown.abort();
    let mut relay = relaying(&app, &format!("{point}=return(kill)")).await;
    let other = Instance::start(&app, "").await;
    let (alice, bob) = (other.seen_by(&alice), other.seen_by(&bob));
    let mut sockets = [alice.socket().await, bob.socket().await, bob.socket().await];
    let first = persist(&alice, &to(&bob, "first")).await.ok(201);
    relay.died(point).await;
    let died = Instant::now();
    let second = persist(&alice, &to(&bob, "second")).await.ok(201);
    for socket in &mut sockets {
        assert_eq!(socket.expect("message.created").await, first, "{point}");
        let took = died.elapsed();
        assert!(took < TAKEN_OVER_WITHIN, "{point}: taken over after {took:?}");
        assert_eq!(socket.expect("message.created").await, second, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_goes_on_wherever_the_relay_was_killed() {
    for point in POINTS {
        Box::pin(killed_at(point)).await;
    }
}

/// Killed in the middle of much, at the twentieth batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_nothing_is_told_twice() {
    let app = TestApp::spawn().await;
    let circle = Circle::gather(&app).await;
    app.shutdown.abort();
    for (seed, point) in [(1, "relay.rendered"), (100, "relay.appended")] {
        let mut relay = relaying(&app, &format!("{point}=20*off->return(kill)")).await;
        let other = Instance::start(&app, "").await;
        let net = Net::of([other.url.clone()]);
        let mut rng = Rng(seed);
        let habits = [Habit::Steady, Habit::Steady, Habit::Steady, Habit::Cut(1000), Habit::Steady];
        let devices = switch_on(&net, &circle, habits, &mut rng).await;
        let talk = circle.talk(&net, Service::Unbroken, 20, seed);
        relay.died(point).await;
        talk.goes_on(100).await;
        let done = talk.end().await;
        let pasts = end_all(devices, &done).await;
        tell(&pasts);
        agree(&pasts[2], &pasts[3]);
        assert!(pasts.iter().all(|past| past.lives.len() == 1), "{point}: nobody lost anything");
    }
}

/// While nobody relays, logs are behind what can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_not_recovered_is_told_nothing_of_the_past() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut here = bob.socket().await;
    let first = alice.send(&bob, "first").await;
    assert_eq!(here.expect("message.created").await, first);
    let () = lease(&app, "SET", &["nobody", "PX", "60000"]).await;
    // Longer than it takes to notice.
    sleep(Duration::from_secs(1)).await;
    let second = alice.send(&bob, "second").await;
    here.quiet(Duration::from_millis(300)).await;
    let mut lost = bob.socket_since("of another service").await;
    assert_eq!(lost.ready["recovered"], false);
    // Of this one the log knows.
    let mut back = bob.socket_since(&here.last_id()).await;
    assert_eq!(back.ready["recovered"], true);
    let () = lease(&app, "DEL", &[]).await;
    let third = alice.send(&bob, "third").await;
    for socket in [&mut here, &mut back] {
        assert_eq!(socket.expect("message.created").await, second);
    }
    for socket in [&mut here, &mut back, &mut lost] {
        assert_eq!(socket.expect("message.created").await, third);
    }
}
