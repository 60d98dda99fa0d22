//! What becomes of messages.

use natter::app::Beside;
use natter::internals::domain::{AddressedEvent, Event, NotificationId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Log, among, group_id, id, message_id, notified};
use crate::revisions::path;
use crate::support::{Actor, Answer, TestApp};

async fn on(actor: &Actor, method: &str, message: &Value, what: &str) -> Answer {
    Answer::of(actor.request(method, &format!("{}{what}", path(message)))).await
}

async fn edit(actor: &Actor, message: &Value, text: &str) -> Answer {
    Answer::of(actor.request("PATCH", &path(message)).json(&json!({"message": text}))).await
}

fn reaction(emoji: &str) -> String {
    format!("/reactions/{}", utf8_percent_encode(emoji, NON_ALPHANUMERIC))
}

#[tokio::test]
async fn a_message_and_what_becomes_of_it_is_told_to_its_conversation() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut log = Log::of(&app).await;
    let sent = alice.send(&bob, "hi").await;
    let message = message_id(&sent);
    let there = message.conversation;
    log.holds(among(there, [Event::MessageCreated { message }])).await;

    edit(&alice, &sent, "hi @bob").await.ok(200);
    edit(&alice, &sent, "hi @bob").await.ok(200);
    let updated = || among(there, [Event::MessageUpdated { message }]);
    let told = notified(NotificationId::mention(id(&bob), message));
    log.holds([updated(), vec![told]].concat()).await;
    for method in ["PUT", "DELETE"] {
        on(&bob, method, &sent, "/pin").await.ok(200);
        on(&alice, method, &sent, "/pin").await.ok(200);
        log.holds(updated()).await;
    }
    for _ in 0..2 {
        on(&alice, "DELETE", &sent, "").await.ok(204);
    }
    let at = app.clock().now();
    log.holds(among(there, [Event::MessageDeleted { message, at }])).await;
}

#[tokio::test]
async fn reactions_are_told_as_the_message_counts_them() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let sent = alice.send(&bob, "hi").await;
    let message = message_id(&sent);
    let mut log = Log::of(&app).await;
    let (plain, coloured) = (reaction("❤"), reaction("❤\u{FE0F}"));
    let emoji = || "❤".to_owned();
    for (actor, given, count) in [(&bob, &plain, 1), (&alice, &coloured, 2)] {
        for _ in 0..2 {
            on(actor, "PUT", &sent, given).await.ok(200);
        }
        let added = Event::ReactionAdded { message, user: id(actor), emoji: emoji(), count };
        log.holds(among(message.conversation, [added])).await;
    }
    for (actor, given, count) in [(&bob, &coloured, 1), (&alice, &plain, 0)] {
        for _ in 0..2 {
            on(actor, "DELETE", &sent, given).await.ok(200);
        }
        let removed = Event::ReactionRemoved { message, user: id(actor), emoji: emoji(), count };
        log.holds(among(message.conversation, [removed])).await;
    }
}

#[tokio::test]
async fn what_is_refused_is_told_to_nobody() {
    let app = TestApp::spawn().await;
    let (alice, bob, eve) = (app.user("alice").await, app.user("bob").await, app.user("eve").await);
    let sent = alice.send(&bob, "hi").await;
    let gone = alice.send(&bob, "oops").await;
    on(&alice, "DELETE", &gone, "").await.ok(204);
    // As many kinds as there may be.
    for n in 0..20 {
        let emoji = char::from_u32(0x1F600 + n).expect("a character").to_string();
        on(&bob, "PUT", &sent, &reaction(&emoji)).await.ok(200);
    }
    let mut log = Log::of(&app).await;
    on(&bob, "PUT", &sent, &reaction("👍")).await.invalid(&["emoji"]);
    on(&bob, "DELETE", &sent, &reaction("👍")).await.ok(200);
    edit(&bob, &sent, "mine").await.problem(403, "forbidden");
    edit(&alice, &sent, "").await.invalid(&["message"]);
    edit(&alice, &gone, "again").await.problem(409, "message_deleted");
    on(&bob, "DELETE", &sent, "").await.problem(403, "forbidden");
    on(&bob, "PUT", &gone, "/pin").await.problem(409, "message_deleted");
    on(&bob, "PUT", &gone, &reaction("👍")).await.problem(409, "message_deleted");
    on(&eve, "PUT", &sent, &reaction("👍")).await.problem(404, "not_found");
    let empty = json!({"recipient_user_id": bob.id, "message": ""});
    alice.post("/messages", empty).await.invalid(&["message"]);
    log.holds([]).await;
}

#[tokio::test]
async fn messages_that_are_stored_together_are_told_in_their_order() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("two", std::slice::from_ref(&bob)).await;
    let mut log = Log::of(&app).await;
    let there = other.seen_by(&bob);
    let sending = (0..80).map(|n| {
        let (actor, group) = (if n % 2 == 0 { &alice } else { &there }, group.as_str());
        async move { actor.tell(group, &format!("{n}, @alice")).await }
    });
    let sent = futures_util::future::join_all(sending).await;
    let told = log.events().await;
    let commits: std::collections::BTreeSet<u64> =
        told.iter().map(|it| it.position.commit).collect();
    assert!(commits.len() < sent.len(), "each message alone");
    let (created, mentions): (Vec<AddressedEvent>, Vec<AddressedEvent>) = told
        .into_iter()
        .map(|it| it.addressed)
        .partition(|it| matches!(it.event, Event::MessageCreated { .. }));
    let mut ids: Vec<_> = sent.iter().map(message_id).collect();
    ids.sort_unstable();
    let expected = ids.iter().map(|message| Event::MessageCreated { message: *message });
    let expected = expected.map(|event| AddressedEvent::among(group_id(&group), event));
    assert_eq!(created, expected.collect::<Vec<_>>());
    assert_eq!(mentions.len(), 40, "one for each message of the other");
}

#[tokio::test]
async fn a_population_is_told_to_nobody() {
    let app = TestApp::spawn().await;
    let mut log = Log::of(&app).await;
    let population =
        natter::internals::domain::Population { users: 50, messages: 500, random_seed: 7 };
    let made =
        natter::app::populate(app.settings(), population, Beside::RealAccounts, |_| {}).await;
    assert!(made.expect("a population").groups > 0);
    log.holds([]).await;
}
