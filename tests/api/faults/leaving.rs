//! Instances that are told to stop: who is connected goes elsewhere, and nothing is lost by it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::devices::{Habit, Running};
use super::net::{Circle, Net, Service};
use super::storm::{end_all, switch_on, tell};
use super::{Rng, seed, setting};
use crate::support::TestApp;
use crate::support::app::PATIENCE;
use crate::support::instance::Instance;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_sent_away_one_after_the_other() {
    let app =
        TestApp::with(|settings| settings.server.drain_seconds = Duration::from_secs(5)).await;
    let mut sockets = Vec::new();
    for name in ["ada", "ben", "cleo"] {
        let person = app.user(name).await;
        for _ in 0..7 {
            sockets.push(person.socket().await);
        }
    }
    let late = app.user("late").await;
    let mut stranger = app.socket().await;
    let began = Instant::now();
    app.shutdown.begin();
    let closing = sockets.iter_mut().map(async |socket| (socket.closed().await, began.elapsed()));
    let closed = async { join_all(closing).await };
    let come = async {
        sleep(Duration::from_millis(200)).await;
        late.try_socket(None).await.is_some()
    };
    let (closed, came, stranger) = tokio::join!(closed, come, stranger.closed());
    assert_eq!(stranger, 1001, "of whom nobody knows who they are");
    assert!(!came, "let in while the server leaves");
    assert!(closed.iter().all(|(code, _)| *code == 1001), "{closed:?}");
    let mut times: Vec<Duration> = closed.iter().map(|(_, after)| *after).collect();
    times.sort();
    let (first, last) = (times[0], times[times.len() - 1]);
    assert!(last > first + Duration::from_secs(1), "not all at once: {times:?}");
    assert!(last < Duration::from_secs(5), "in time: {times:?}");
}

/// What a load balancer does: knows who is ready.
async fn balance(net: &Arc<Net>, urls: Vec<String>, app: &TestApp) -> tokio::task::JoinHandle<()> {
    let (net, http) = (net.clone(), app.http());
    let look = async move |net: &Net| {
        let asked = urls.iter().map(async |url| {
            let answer = http.get(format!("{url}/readyz")).timeout(Duration::from_secs(1)).send();
            answer.await.is_ok_and(|answer| answer.status() == 200).then(|| url.clone())
        });
        let ready: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
        if !ready.is_empty() {
            net.are(ready);
        }
    };
    look(&net).await;
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(50)).await;
            look(&net).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_event_and_no_request() {
    let (seed, rounds) = (seed(), setting("NATTER_FAULTS_KILLS", 20).div_ceil(20));
    println!("{rounds} rounds with NATTER_FAULTS_SEED={seed}");
    let app = TestApp::with(|settings| {
        settings.server.drain_delay_seconds = Duration::from_secs(1);
        settings.server.drain_seconds = Duration::from_secs(5);
    });
    let app = app.await;
    let circle = Circle::gather(&app).await;
    app.shutdown.abort();
    let mut rng = Rng(seed);
    let mut pair = [Instance::start(&app, "").await, Instance::start(&app, "").await];
    let net = Net::of(pair.iter().map(|instance| instance.url.clone()));
    let devices = switch_on(&net, &circle, [Habit::Loyal; 5], &mut rng).await;
    let talk = circle.talk(&net, Service::Unbroken, 30, seed);
    for _ in 0..rounds {
        for which in 0..2 {
            let urls = pair.iter().map(|instance| instance.url.clone()).collect();
            let balancer = balance(&net, urls, &app).await;
            talk.goes_on(30).await;
            pair[which].terminate();
            pair[which].left().await;
            balancer.abort();
            pair[which] = Instance::start(&app, "").await;
            assert!(!devices.iter().any(Running::has_failed), "a device found something wrong");
        }
    }
    net.are(pair.iter().map(|instance| instance.url.clone()).collect());
    talk.goes_on(30).await;
    let done = timeout(PATIENCE, talk.end()).await.expect("an end");
    let pasts = end_all(devices, &done).await;
    tell(&pasts);
    for past in &pasts {
        assert_eq!(past.lives.len(), 1, "{}: everyone recovers", past.name);
        assert!(past.recovered > 0, "{}: everyone was sent away", past.name);
    }
}
