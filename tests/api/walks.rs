//! Walking lists page by page while they change: what kept its place is found once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::{Value, json};

use crate::revisions::path;
use crate::support::{Actor, TestApp};

const MESSAGES: u64 = 5000;

/// Fills a conversation as fast as four senders can.
async fn fill(people: &[Actor], group: &str) {
    let sends = (0..MESSAGES).map(|n| {
        let sender = &people[usize::try_from(n % 4).expect("small")];
        async move { sender.tell(group, &n.to_string()).await }
    });
    iter(sends).buffer_unordered(64).for_each(|_| async {}).await;
}

/// Sends a hundred messages a second and deletes some, until told to stop; how many it deleted.
async fn go_on(sender: Actor, group: String, stop: Arc<AtomicBool>) -> BTreeSet<u64> {
    let mut deleted = BTreeSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let sent = sender.tell(&group, "more").await;
        let seq = sent["seq"].as_u64().expect("a number");
        if seq % 10 == 0 {
            sender.delete(&path(&sent)).await.ok(204);
            deleted.insert(seq);
        }
    }
    deleted
}

/// The numbers found from the newest page back to the first.
async fn walk_back(reader: &Actor, base: &str) -> Vec<u64> {
    let (mut path, mut found) = (format!("{base}?limit=7"), Vec::new());
    loop {
        let page = reader.get(&path).await.ok(200);
        let items = page["items"].as_array().expect("items").iter();
        found.extend(items.filter_map(|item| item["seq"].as_u64()));
        let Some(next) = page["older_cursor"].as_str() else { return found };
        path = format!("{base}?limit=7&before={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_walked_both_ways_while_it_grows() {
    let app = TestApp::spawn().await;
    let mut people = Vec::new();
    for n in 0..4 {
        people.push(app.user(&format!("person{n}")).await);
    }
    let group = people[0].group("busy", &people[1..]).await;
    fill(&people, &group).await;
    let oldest = people[1].get(&format!("/conversations/{group}/messages?limit=1")).await.ok(200);
    let last = oldest["items"][0]["seq"].as_u64().expect("a number");
    assert_eq!(last, MESSAGES);
    let stop = Arc::new(AtomicBool::new(false));
    let growing = tokio::spawn(go_on(people[0].clone(), group.clone(), stop.clone()));

    let history = format!("/conversations/{group}/messages");
    let back = walk_back(&people[1], &history).await;
    let from = back[0];
    assert!(from >= MESSAGES);
    assert_eq!(back, (1..=from).rev().collect::<Vec<u64>>());

    let first = natter::internals::domain::MessageId::new(group.parse().expect("an id"), 1);
    let walked = walk_forward(&people[2], &history, &first.to_string(), &stop).await;
    let deleted = growing.await.expect("the sender");
    let to = *walked.last().expect("some");
    assert_eq!(walked, (2..=to).collect::<Vec<u64>>());
    assert!(to > MESSAGES && !deleted.is_empty(), "{to}");
    for seq in deleted.iter().take(5) {
        let id = natter::internals::domain::MessageId::new(group.parse().expect("an id"), *seq);
        let gone = people[3].get(&format!("/conversations/{group}/messages/{id}")).await.ok(200);
        assert_eq!((&gone["seq"], &gone["message"]), (&json!(seq), &json!("")));
    }
}

/// Walks to the newest; once that is past what was there at first, nothing more is sent.
async fn walk_forward(reader: &Actor, base: &str, first: &str, stop: &AtomicBool) -> Vec<u64> {
    let (mut path, mut found) = (format!("{base}?limit=7&after={first}"), Vec::new());
    loop {
        let page = reader.get(&path).await.ok(200);
        let items = page["items"].as_array().expect("items").iter();
        found.extend(items.rev().filter_map(|item| item["seq"].as_u64()));
        if found.last().is_some_and(|seq| *seq > MESSAGES) {
            stop.store(true, Ordering::Relaxed);
        }
        let Some(next) = page["newer_cursor"].as_str() else { return found };
        path = format!("{base}?limit=7&after={next}");
    }
}

/// The ids that a walk finds in pages of 7; after each page something happens.
async fn ids(reader: &Actor, list: &str, mut between: impl AsyncFnMut(usize)) -> Vec<Value> {
    let (mut path, mut found) = (format!("{list}?limit=7"), Vec::new());
    for n in 0.. {
        let page = reader.get(&path).await.ok(200);
        found.extend(page["items"].as_array().expect("items").iter().map(|it| it["id"].clone()));
        between(n).await;
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("{list}?limit=7&cursor={next}");
    }
    found
}

#[tokio::test]
async fn conversations_and_notifications_are_walked_while_they_change() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut people = Vec::new();
    for n in 0..40 {
        let person = app.user(&format!("person{n}")).await;
        person.send(&alice, "hi").await;
        if n % 4 == 0 {
            person.group("g", std::slice::from_ref(&alice)).await;
        }
        if n % 3 == 0 {
            app.advance(Duration::from_millis(1));
        }
        people.push(person);
    }
    for (list, expected) in [("/conversations", 50), ("/notifications", 50)] {
        let before = ids(&alice, list, async |_| {}).await;
        assert_eq!(before.len(), expected, "{list}");
        // What is moved is at either end of what is still to come.
        let walked = ids(&alice, list, async |n| {
            app.advance(Duration::from_millis(1));
            people[n].send(&alice, "again").await;
            people[39 - n].send(&alice, "again").await;
        })
        .await;
        let unique: BTreeSet<String> = walked.iter().map(Value::to_string).collect();
        assert_eq!(unique.len(), walked.len(), "{list}: something twice");
        let after = ids(&alice, list, async |_| {}).await;
        let moved: Vec<&Value> = after.iter().take(16).collect();
        let kept = before.iter().filter(|id| !moved.contains(id));
        let missing: Vec<&Value> = kept.filter(|id| !walked.contains(id)).collect();
        assert_eq!(missing, Vec::<&Value>::new(), "{list}");
    }
}
