//! Redis fails under load, in each of the ways that it can. Nothing that anyone sends depends on
//! it, nobody who is connected is parted, and in the end everyone was told everything.

use std::time::Duration;

use natter::config::Secret;
use tokio::time::{Instant, sleep};

use super::devices::{Habit, Running};
use super::net::{Circle, Net, Service};
use super::storm::{end_all, switch_on, tell};
use super::{Rng, seed, setting};
use crate::support::TestApp;
use crate::support::servers::Server;

/// What happens to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is killed, and comes back with nothing.
    Kill,
    /// It hangs (SIGSTOP), and goes on where it was.
    Freeze,
    /// It is killed, and comes back as it was some time before.
    GoBack,
    /// Somebody empties it.
    Flush,
    /// It throws everything away that can be thrown away, for want of memory.
    Evict,
}

async fn ask(server: &Server, words: &[&str]) {
    let client = redis::Client::open(server.url("redis")).expect("a client");
    let connection = client.get_multiplexed_async_connection().await;
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let () = command.query_async(&mut connection.expect("a connection")).await.expect("an answer");
}

/// Leaves it no memory for a moment.
async fn evict(server: &Server, policy: &str) {
    ask(server, &["CONFIG", "SET", "maxmemory-policy", policy]).await;
    ask(server, &["CONFIG", "SET", "maxmemory", "100kb"]).await;
    sleep(Duration::from_millis(300)).await;
    ask(server, &["CONFIG", "SET", "maxmemory", "0"]).await;
}

impl Fault {
    /// Does it, and undoes it after a time.
    async fn happen(self, server: &mut Server, time: Duration) {
        match self {
            Self::Kill => {
                server.kill();
                sleep(time).await;
                server.start().await;
            }
            Self::Freeze => {
                server.freeze();
                sleep(time).await;
                server.thaw();
            }
            Self::GoBack => {
                ask(server, &["SAVE"]).await;
                sleep(time).await;
                server.kill();
                server.start().await;
            }
            Self::Flush => ask(server, &["FLUSHALL"]).await,
            Self::Evict => evict(server, "allkeys-lru").await,
        }
    }
}

/// Everyone talks and listens, and Redis fails so often, each time for so long.
async fn fails(fault: Fault, time: Duration, times: u64) {
    let seed = seed();
    println!("{fault:?} {times} times for {time:?} with NATTER_FAULTS_SEED={seed}");
    let mut rng = Rng(seed);
    let mut server = Server::redis().await;
    let url = server.url("redis");
    let app = TestApp::with(|settings| settings.redis.url = Secret::new(url)).await;
    let other = app.second_instance().await;
    let circle = Circle::gather(&app).await;
    let net = Net::of([app.url.clone(), other.url.clone()]);
    let habits = [Habit::Steady, Habit::Steady, Habit::Steady, Habit::Cut(1000), Habit::Cut(3000)];
    let devices = switch_on(&net, &circle, habits, &mut rng).await;
    let talk = circle.talk(&net, Service::Unbroken, 40, seed);
    for _ in 0..times {
        talk.goes_on(50).await;
        sleep(rng.millis(0, 500)).await;
        let began = Instant::now();
        fault.happen(&mut server, time).await;
        println!("back after {:?}", began.elapsed());
        talk.goes_on(50).await;
        sleep(Duration::from_secs(2)).await;
        assert!(!devices.iter().any(Running::has_failed), "a device found something wrong");
    }
    let done = talk.end().await;
    let pasts = end_all(devices, &done).await;
    tell(&pasts);
}

/// How long an outage is, and how many there are: more of longer ones in `make faults`.
fn extent() -> (Duration, u64) {
    let kills = setting("NATTER_FAULTS_KILLS", 0);
    if kills == 0 { (Duration::from_secs(3), 1) } else { (Duration::from_secs(10), kills / 50 + 1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed() {
    let (time, times) = extent();
    fails(Fault::Kill, time, times).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_frozen() {
    let (time, times) = extent();
    fails(Fault::Freeze, time, times).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_as_it_was_before() {
    let (time, times) = extent();
    fails(Fault::GoBack, time, times).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_emptied() {
    let (time, times) = extent();
    fails(Fault::Flush, time, times).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_out_of_memory() {
    let (time, times) = extent();
    fails(Fault::Evict, time, times).await;
}

/// Someone to whom nothing has happened for long stays when Redis is lost, and is told what comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_quiet_stays_when_redis_is_lost() {
    let mut server = Server::redis().await;
    let url = server.url("redis");
    let app = TestApp::with(|settings| settings.redis.url = Secret::new(url)).await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let carol = app.user("carol").await;
    let mut quiet = other.seen_by(&bob).socket().await;
    alice.send(&bob, "first").await;
    quiet.expect("message.created").await;
    let seen = quiet.last_id();
    // Logs that are made anew reach back 10 s before what an instance knew, which may be 5 s old.
    sleep(Duration::from_secs(21)).await;
    let mut carols = carol.socket().await;
    alice.send(&carol, "to another").await;
    carols.expect("message.created").await;
    server.kill();
    server.start().await;
    let sent = alice.send(&bob, "second").await;
    assert_eq!(quiet.expect("message.created").await, sent);
    // The one before is in no log any more: who comes back with it is told so.
    let back = bob.socket_since(&seen).await;
    assert_eq!(back.ready["recovered"], false);
    let mut back = bob.socket_since(&quiet.last_id()).await;
    assert_eq!(back.ready["recovered"], true);
    let sent = alice.send(&bob, "third").await;
    for socket in [&mut quiet, &mut back] {
        assert_eq!(socket.expect("message.created").await, sent);
    }
}

/// A log that was thrown away is not taken for one in which nothing has happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_evicted_is_not_an_empty_one() {
    let server = Server::redis().await;
    let url = server.url("redis");
    let app = TestApp::with(|settings| settings.redis.url = Secret::new(url)).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    alice.send(&bob, "seen").await;
    socket.expect("message.created").await;
    let seen = socket.last_id();
    drop(socket);
    alice.send(&bob, "missed").await;
    let again = bob.socket_since(&seen).await;
    assert_eq!(again.ready["recovered"], true);
    // What all logs have in common has no time to live.
    evict(&server, "volatile-lru").await;
    assert_eq!(bob.socket_since(&seen).await.ready["recovered"], false);
}
