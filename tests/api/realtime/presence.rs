//! Presence: friends learn who comes and goes, wherever they are; nobody else does.

use std::time::Duration;

use futures_util::future::join_all;
use natter::config::Secret;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::actor::Actor;
use crate::support::app::TestApp;
use crate::support::instance::Instance;
use crate::support::servers::Server;
use crate::support::socket::{Socket, open};

/// Longer than it takes to tell someone that a friend is gone.
const WHILE: Duration = Duration::from_millis(3200);

fn online(who: &Actor) -> Value {
    json!({"user_id": who.id, "online": true, "last_seen_at": null})
}

fn offline(who: &Actor, at: impl serde::Serialize) -> Value {
    json!({"user_id": who.id, "online": false, "last_seen_at": at})
}

/// Makes them friends, and waits until they have been told.
async fn friends(one: &Actor, other: &Actor) {
    one.befriend(other).await;
    sleep(Duration::from_millis(500)).await;
}

async fn unfriend(one: &Actor, other: &Actor) {
    one.post("/friends/remove", json!({"friend_user_id": other.id})).await.ok(200);
}

/// What comes next of how friends are, whatever else comes before.
async fn presence(socket: &mut Socket) -> Value {
    let mut frames = socket.frames_until(|frame| frame["type"] == "presence").await;
    frames.pop().expect("a frame")["data"].take()
}

/// All of that within a while.
async fn all_presence(socket: &mut Socket) -> Vec<Value> {
    let (mut all, end) = (Vec::new(), Instant::now() + WHILE);
    while let Ok(data) = tokio::time::timeout_at(end, presence(socket)).await {
        all.push(data);
    }
    all
}

#[tokio::test]
async fn friends_learn_who_comes_and_goes() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let eve = app.user("eve").await;
    friends(&alice, &bob).await;
    eve.post("/friends/add", json!({"friend_user_id": bob.id})).await.ok(201);
    bob.send(&eve, "we talk, and are no friends").await;
    let (mut alices, mut eves) = (alice.socket().await, eve.socket().await);
    let there = other.seen_by(&bob);
    let mut bobs = there.socket().await;
    assert_eq!(alices.expect("presence").await, online(&bob));
    assert_eq!(bobs.expect("presence").await, online(&alice));
    let mut second = bob.socket().await;
    assert_eq!(second.expect("presence").await, online(&alice));
    drop(bobs);
    alices.quiet(WHILE).await;
    app.advance(Duration::from_mins(1));
    let left = app.clock().now();
    drop(second);
    sleep(Duration::from_millis(500)).await;
    app.advance(Duration::from_mins(1));
    assert_eq!(alices.expect("presence").await, offline(&bob, left));
    let mut third = there.socket().await;
    assert_eq!(alices.expect("presence").await, online(&bob));
    assert_eq!(third.expect("presence").await, online(&alice));
    for socket in [&mut alices, &mut third, &mut eves] {
        socket.quiet(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn who_comes_back_at_once_was_never_gone() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    friends(&alice, &bob).await;
    let mut alices = alice.socket().await;
    let mut bobs = bob.socket().await;
    assert_eq!(alices.expect("presence").await, online(&bob));
    let mut late = 0;
    for instance in [&other, &app, &app, &other] {
        let away = Instant::now();
        drop(bobs);
        sleep(Duration::from_millis(300)).await;
        bobs = instance.seen_by(&bob).socket().await;
        late += usize::from(away.elapsed() >= Duration::from_secs(2));
        assert_eq!(bobs.expect("presence").await, online(&alice));
    }
    // On a machine that takes so long, one is gone and comes back.
    let told = all_presence(&mut alices).await;
    assert!(told.len() <= 2 * late, "{told:?}, and {late} times away for long");
}

#[tokio::test]
async fn one_is_gone_two_seconds_after_the_last_connection_wherever_that_was() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    for n in 0..5 {
        let (alice, bob) =
            (app.user(&format!("alice{n}")).await, app.user(&format!("bob{n}")).await);
        friends(&alice, &bob).await;
        let mut alices = alice.socket().await;
        let first = other.seen_by(&bob).socket().await;
        assert_eq!(alices.expect("presence").await, online(&bob));
        drop(first);
        let began = Instant::now();
        sleep(Duration::from_millis(300)).await;
        let second = bob.socket().await;
        if began.elapsed() >= Duration::from_secs(2) {
            // On a machine that takes so long, bob was gone: once more, with others.
            continue;
        }
        // Now the first instance is about to say that its connection is gone.
        sleep(Duration::from_millis(1800).saturating_sub(began.elapsed())).await;
        drop(second);
        let left = Instant::now();
        assert_eq!(alices.expect("presence").await["online"], false);
        assert!(left.elapsed() > Duration::from_millis(1900), "after {:?}", left.elapsed());
        return;
    }
    panic!("nobody came back within two seconds");
}

#[tokio::test]
async fn an_instance_that_leaves_takes_nobody_along() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob, carol) =
        (app.user("alice").await, app.user("bob").await, app.user("carol").await);
    friends(&alice, &bob).await;
    friends(&alice, &carol).await;
    let mut alices = alice.socket().await;
    let mut bobs = other.seen_by(&bob).socket().await;
    assert_eq!(alices.expect("presence").await, online(&bob));
    let mut carols = other.seen_by(&carol).socket().await;
    assert_eq!(alices.expect("presence").await, online(&carol));
    other.shutdown.begin();
    assert_eq!(bobs.closed().await, 1001);
    let _back = bob.socket().await;
    assert_eq!(carols.closed().await, 1001);
    assert_eq!(alices.expect("presence").await["user_id"], carol.id);
    alices.quiet(WHILE).await;
}

#[tokio::test]
async fn presence_ends_with_the_friendship_and_begins_with_it() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let there = other.seen_by(&bob);
    let (mut alices, mut bobs) = (alice.socket().await, there.socket().await);
    let block = json!({"user_id": alice.id});
    for parting in ["remove", "block"] {
        friends(&alice, &bob).await;
        assert_eq!(presence(&mut alices).await, online(&bob));
        assert_eq!(presence(&mut bobs).await, online(&alice));
        match parting {
            "remove" => unfriend(&alice, &bob).await,
            _ => drop(bob.post("/blocks", block.clone()).await.ok(201)),
        }
        drop(bobs);
        // Nobody is told of a friend of old, nor greeted by one.
        assert_eq!(all_presence(&mut alices).await, [Value::Null; 0], "{parting}");
        bobs = there.socket().await;
        alices = alice.socket().await;
        for socket in [&mut alices, &mut bobs] {
            socket.quiet(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test]
async fn who_was_on_an_instance_that_died_is_gone() {
    let app = TestApp::spawn().await;
    let mut instance = Instance::start(&app, "").await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let carol = app.user("carol").await;
    friends(&alice, &bob).await;
    friends(&alice, &carol).await;
    let mut alices = alice.socket().await;
    let _bobs = instance.seen_by(&bob).socket().await;
    assert_eq!(alices.expect("presence").await, online(&bob));
    let _carols = carol.socket().await;
    assert_eq!(alices.expect("presence").await, online(&carol));
    // Until here it is renewed.
    alices.quiet(Duration::from_secs(8)).await;
    instance.kill().await;
    let gone = alices.expect("presence").await;
    assert_eq!((&gone["user_id"], &gone["online"]), (&json!(bob.id), &json!(false)));
    assert!(gone["last_seen_at"].is_string(), "{gone}");
    alices.quiet(WHILE).await;
}

#[tokio::test]
async fn presence_is_right_again_after_redis_was_lost() {
    let mut redis = Server::redis().await;
    let url = redis.url("redis");
    let app = TestApp::with(|settings| settings.redis.url = Secret::new(url)).await;
    let other = app.second_instance().await;
    let mut people = Vec::new();
    for name in ["alice", "stays", "goes", "comes"] {
        people.push(app.user(name).await);
    }
    let [alice, stays, goes, comes] = &people[..] else { panic!("four") };
    for friend in [stays, goes, comes] {
        friends(alice, friend).await;
    }
    let mut alices = alice.socket().await;
    let _stays = other.seen_by(stays).socket().await;
    assert_eq!(presence(&mut alices).await, online(stays));
    let goner = other.seen_by(goes).socket().await;
    assert_eq!(presence(&mut alices).await, online(goes));
    redis.kill();
    drop(goner);
    let _comes = other.seen_by(comes).socket().await;
    sleep(Duration::from_secs(5)).await;
    redis.start().await;
    let mut told = [presence(&mut alices).await, presence(&mut alices).await];
    told.sort_by_key(|data| data["online"] == false);
    assert_eq!(told[0], online(comes));
    assert_eq!((&told[1]["user_id"], &told[1]["online"]), (&json!(goes.id), &json!(false)));
    alices.quiet(Duration::from_secs(12)).await;
}

#[tokio::test]
async fn ten_sockets_of_an_account_are_all_over_all_instances() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let bob = app.user("bob").await;
    let there = other.seen_by(&bob);
    let requests = (0..12).map(|n| if n % 2 == 0 { &bob } else { &there });
    let opened = join_all(requests.map(|it| open(it.socket_request("")))).await;
    let mut sockets: Vec<Socket> = opened
        .into_iter()
        .map(|it| it.unwrap_or_else(|answer| panic!("{}", answer.text())))
        .collect();
    let closed = sockets.iter_mut().map(|socket| timeout(WHILE, socket.closed()));
    let closed: Vec<Option<u16>> = join_all(closed).await.into_iter().map(Result::ok).collect();
    let refused = closed.iter().flatten().collect::<Vec<_>>();
    assert_eq!(refused, [&4429, &4429]);
    let stays = closed.iter().position(Option::is_none).expect("one that stays");
    drop(sockets.swap_remove(stays));
    sleep(Duration::from_secs(1)).await;
    bob.socket().await;
}
