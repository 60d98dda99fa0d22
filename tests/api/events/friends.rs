//! Friendships, requests and blocks.

use natter::internals::domain::{AddressedEvent, Event, NotificationId, UserId};
use serde_json::json;

use super::{Log, both, id, notified};
use crate::support::{Actor, Answer, TestApp};

pub async fn on(actor: &Actor, action: &str, other: &Actor) -> Answer {
    actor.post(&format!("/friends/{action}"), json!({"friend_user_id": other.id})).await
}

async fn block(actor: &Actor, other: &Actor) {
    actor.post("/blocks", json!({"user_id": other.id})).await.ok(201);
}

pub fn is_over(user: UserId) -> Event {
    Event::FriendRemoved { user }
}

/// That someone asks someone.
fn asks(user: &Actor, other: &Actor) -> Vec<AddressedEvent> {
    let event = Event::FriendRequested { user: id(user) };
    let told = notified(NotificationId::friend_request(id(other), id(user)));
    vec![AddressedEvent::for_users([id(other)], event), told]
}

/// That someone accepts.
fn accepts(user: &Actor, other: &Actor) -> Vec<AddressedEvent> {
    let mut all = both(user, other, |user| Event::FriendAccepted { user });
    all.push(notified(NotificationId::friend_accepted(id(other), id(user))));
    all
}

#[tokio::test]
async fn both_sides_are_told_how_they_stand() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut log = Log::of(&app).await;
    let step = || app.advance(std::time::Duration::from_secs(1));
    // Asked and accepted, or asked by both; and in the end removed, by either.
    for (second, status, ending) in [("accept", 200, &alice), ("add", 201, &bob)] {
        step();
        on(&alice, "add", &bob).await.ok(201);
        log.holds(asks(&alice, &bob)).await;
        step();
        on(&bob, second, &alice).await.ok(status);
        on(&bob, "accept", &alice).await.ok(200);
        log.holds(accepts(&bob, &alice)).await;
        let other = if ending.id == alice.id { &bob } else { &alice };
        on(ending, "remove", other).await.ok(200);
        log.holds(both(ending, other, is_over)).await;
    }
    // Declined, refused, taken back.
    for (action, ending) in [("decline", &bob), ("remove", &bob), ("remove", &alice)] {
        step();
        on(&alice, "add", &bob).await.ok(201);
        log.holds(asks(&alice, &bob)).await;
        let other = if ending.id == alice.id { &bob } else { &alice };
        on(ending, action, other).await.ok(200);
        log.holds(both(ending, other, is_over)).await;
    }
}

#[tokio::test]
async fn what_is_refused_is_told_to_nobody() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) = (app.user("alice").await, app.user("bob").await, app.user("eve").await);
    on(&alice, "add", &bob).await.ok(201);
    block(&eve, &alice).await;
    let mut log = Log::of(&app).await;
    on(&alice, "add", &bob).await.problem(409, "request_already_sent");
    on(&alice, "accept", &bob).await.problem(404, "not_found");
    on(&alice, "decline", &bob).await.problem(404, "not_found");
    for action in ["accept", "decline", "remove"] {
        on(&bob, action, &eve).await.problem(404, "not_found");
    }
    for action in ["add", "accept"] {
        on(&alice, action, &eve).await.problem(403, "recipient_unavailable");
        on(&eve, action, &alice).await.problem(403, "recipient_unavailable");
    }
    on(&alice, "add", &alice).await.problem(422, "cannot_friend_self");
    log.holds([]).await;
    on(&bob, "accept", &alice).await.ok(200);
    log.taken().await;
    on(&alice, "add", &bob).await.problem(409, "already_friends");
    log.holds([]).await;
}

#[tokio::test]
async fn a_block_ends_what_there_was_and_is_told_as_that_alone() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut log = Log::of(&app).await;
    block(&alice, &bob).await;
    log.holds([]).await;
    for state in ["friends", "asked", "asking"] {
        for (one, other) in [(&alice, &bob), (&bob, &alice)] {
            one.delete(&format!("/blocks/{}", other.id)).await.ok(204);
        }
        match state {
            "friends" => alice.befriend(&bob).await,
            "asked" => drop(on(&bob, "add", &alice).await.ok(201)),
            _ => drop(on(&alice, "add", &bob).await.ok(201)),
        }
        log.taken().await;
        block(&alice, &bob).await;
        log.holds(both(&alice, &bob, is_over)).await;
        block(&alice, &bob).await;
        block(&bob, &alice).await;
        log.holds([]).await;
    }
}
