//! Who fills the index, and how soon.

use std::time::Duration;

use futures_util::future::join_all;
use mongodb::bson::{DateTime, Document, doc};
use natter::internals::domain::{Clock, ConversationId, MessageId, hashes_of};
use natter::internals::store::schema::{self, By};
use natter::internals::store::{Batch, Indexed, Repositories};
use tokio::time::Instant;

use super::{finds, page, query, settled};
use crate::support::{Scratch, TestApp};

/// How soon a message is found.
const PROMISED: Duration = Duration::from_secs(2);

#[tokio::test]
async fn messages_are_found_within_two_seconds_of_a_burst() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let group = alice.group("g", std::slice::from_ref(&bob)).await;
    let send = async |n: usize| {
        let text = format!("burst number{n} {}", "and some more words ".repeat(n % 20));
        if n.is_multiple_of(2) {
            alice.tell(&group, &text).await
        } else {
            alice.send(&bob, &text).await
        };
    };
    for n in 0..10 {
        join_all((0..30).map(|m| send(30 * n + m))).await;
    }
    let sent = Instant::now();
    settled(&app).await;
    assert!(sent.elapsed() < PROMISED, "{:?}", sent.elapsed());
    assert_eq!(page(&bob, &query("number299")).await.len(), 1);
    let (mut found, mut path) = (0, format!("{}&limit=100", query("burst")));
    loop {
        let page = bob.get(&path).await.ok(200);
        found += page["items"].as_array().expect("a list").len();
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{}&limit=100&cursor={cursor}", query("burst"));
    }
    assert_eq!(found, 300);
}

#[tokio::test]
async fn another_instance_goes_on_when_one_stops() {
    let app = TestApp::spawn().await;
    let second = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    alice.send(&bob, "before").await;
    settled(&app).await;
    app.shutdown.begin();
    let alice = second.seen_by(&alice);
    alice.send(&bob, "after").await;
    settled(&second).await;
    finds(&alice, "after", &["after"]).await;
    finds(&alice, "before", &["before"]).await;
}

#[tokio::test]
async fn what_a_crash_leaves_is_indexed_when_its_lease_has_ended() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    alice.send(&bob, "before").await;
    settled(&app).await;
    // Another instance took the lease, and was never heard of again.
    let meta = app.database().await.collection::<Document>("meta");
    let until = DateTime::from_millis(app.clock().now().plus(Duration::from_secs(5)).millis());
    let taken = doc! {
        "$inc": { "fence": 1_i64, "holder.fence": 1_i64 }, "$set": { "until": until },
    };
    meta.update_one(doc! { "_id": "search" }, taken).await.expect("an update");
    alice.send(&bob, "meanwhile").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    finds(&alice, "meanwhile", &[]).await;
    app.advance(Duration::from_secs(5));
    settled(&app).await;
    finds(&alice, "meanwhile", &["meanwhile"]).await;
}

#[tokio::test]
async fn whoever_was_overtaken_writes_nothing() {
    let scratch = Scratch::new().await;
    let clock = Clock::manual();
    schema::apply(scratch.store(), 4, &clock, By::Start).await.expect("a schema");
    let indexing = Repositories::new(scratch.store(), 4).indexing;
    let takes = join_all((0..50).map(|_| indexing.take(clock.now()))).await;
    let mut taken = takes.into_iter().filter_map(|lease| lease.expect("an answer"));
    let (Some(first), None) = (taken.next(), taken.next()) else { panic!("one has the lease") };
    clock.advance(Duration::from_secs(4));
    assert!(indexing.renew(first, clock.now()).await.expect("an answer"));
    clock.advance(Duration::from_secs(4));
    assert!(indexing.take(clock.now()).await.expect("an answer").is_none());
    clock.advance(Duration::from_secs(1));
    let second = indexing.take(clock.now()).await.expect("an answer").expect("it had ended");
    assert!(!indexing.renew(first, clock.now()).await.expect("an answer"));
    let batch = |text| Batch {
        found: vec![Indexed {
            message: MessageId::new(ConversationId::from_bytes([1; 16]), 1),
            at: clock.now(),
            words: hashes_of(text),
        }],
        ..Batch::default()
    };
    assert!(indexing.write(second, batch("new"), clock.now()).await.expect("an answer"));
    assert!(!indexing.write(first, batch("old"), clock.now()).await.expect("an answer"));
    let row = scratch.database().collection::<Document>("message_words").find_one(doc! {}).await;
    let words = row.expect("an answer").expect("a row");
    let new: Vec<i64> = hashes_of("new").into_iter().collect();
    assert_eq!(words.get_array("words").expect("words")[0].as_i64(), Some(new[0]));
}

#[tokio::test]
async fn rows_of_an_instance_that_wrote_other_terms_are_made_anew() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let gone = alice.send(&bob, "Łódź gone").await;
    for n in 0..300 {
        alice.send(&bob, &format!("number{n} Łódź")).await;
    }
    alice.send(&bob, "한국어를").await;
    settled(&app).await;
    // As an older instance, which has taken the lease since, has written all of it.
    let database = app.database().await;
    let words = database.collection::<Document>("message_words");
    let none = doc! { "$set": { "words": [7_i64] } };
    words.update_many(doc! {}, none).await.expect("an update");
    alice.delete(&crate::revisions::path(&gone)).await.ok(204);
    finds(&bob, "lodz", &[]).await;
    let until = DateTime::from_millis(app.clock().now().plus(Duration::from_secs(5)).millis());
    let taken = doc! { "$inc": { "fence": 1_i64 }, "$set": { "until": until } };
    let meta = database.collection::<Document>("meta");
    meta.update_one(doc! { "_id": "search" }, taken).await.expect("an update");
    let again = async {
        while page(&bob, &query("lodz number299")).await.is_empty()
            || page(&bob, &query("국어")).await.is_empty()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("all is indexed again");
    finds(&bob, "number0", &["number0 Łódź"]).await;
    assert_eq!(words.count_documents(doc! { "words": 7_i64 }).await.expect("a count"), 0);
    assert_eq!(words.count_documents(doc! {}).await.expect("a count"), 301);
    // What is sent from now on is found as soon as ever.
    alice.send(&bob, "玩").await;
    settled(&app).await;
    finds(&bob, "玩", &["玩"]).await;
}
