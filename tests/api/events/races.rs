//! What happens at once is told as it came to be: each change once, and together with its other
//! half.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use natter::internals::domain::{Event, UserId};
use natter::internals::store::SequencedEvent;

use super::friends::on;
use super::{Log, id};
use crate::support::{Actor, Answer, TestApp};

/// How two stand, as the events that one has seen say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Strangers,
    /// Who asked.
    Asked(UserId),
    Friends,
}

/// Follows the events between two, each of which must follow from those before: how they stand in
/// the end, and how often each happened.
fn replayed(events: &[SequencedEvent]) -> (Standing, BTreeMap<&'static str, usize>) {
    let (mut standing, mut counts) = (Standing::Strangers, BTreeMap::new());
    let mut events = events.iter();
    while let Some(one) = events.next() {
        let reader = one.addressed.audience.users[0];
        *counts.entry(one.addressed.event.kind().name()).or_default() += 1;
        let (about, after) = match (&one.addressed.event, standing) {
            (Event::FriendRequested { user }, Standing::Strangers) => {
                standing = Standing::Asked(*user);
                continue;
            }
            // The first to be told of a friendship is who accepted.
            (Event::FriendAccepted { user }, Standing::Asked(by)) if by == *user => {
                (*user, Standing::Friends)
            }
            (Event::FriendRemoved { user }, Standing::Asked(_) | Standing::Friends) => {
                (*user, Standing::Strangers)
            }
            (event, standing) => panic!("{event:?} after {standing:?}"),
        };
        let other = events.next().expect("what the other is told");
        assert_eq!(other.position.commit, one.position.commit);
        assert_eq!(other.addressed.event.kind().name(), one.addressed.event.kind().name());
        assert_eq!(other.addressed.audience.users, [about]);
        let mirrored = match &other.addressed.event {
            Event::FriendAccepted { user } | Event::FriendRemoved { user } => *user,
            event => panic!("{event:?}"),
        };
        assert_eq!(mirrored, reader);
        standing = after;
    }
    (standing, counts)
}

/// How many answers say that something happened.
fn done(answers: &[(&str, Answer)], action: &str, says: &str) -> usize {
    let done = answers.iter().filter(|(asked, answer)| *asked == action && answer.status < 300);
    done.filter(|(_, answer)| answer.text().contains(says)).count()
}

async fn stands(alice: &Actor, bob: &Actor) -> Standing {
    for status in ["accepted", "outgoing", "incoming"] {
        let list = alice.get(&format!("/friends?status={status}")).await.ok(200);
        if list["items"].as_array().expect("items").is_empty() {
            continue;
        }
        return match status {
            "accepted" => Standing::Friends,
            "outgoing" => Standing::Asked(id(alice)),
            _ => Standing::Asked(id(bob)),
        };
    }
    Standing::Strangers
}

#[tokio::test]
async fn fifty_who_ask_accept_and_remove_at_once_are_told_what_came_of_it() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (alice_there, bob_there) = (other.seen_by(&alice), other.seen_by(&bob));
    let mut log = Log::of(&app).await;
    let asked = (0..50).map(|n| {
        let action = ["add", "accept", "add", "remove", "accept", "decline"][n % 6];
        let (by, to) = match n % 4 {
            0 => (&alice, &bob),
            1 => (&bob_there, &alice),
            2 => (&alice_there, &bob),
            _ => (&bob, &alice),
        };
        async move { (action, on(by, action, to).await) }
    });
    let answers = join_all(asked).await;
    let mut events = log.events().await;
    events.retain(|it| !matches!(it.addressed.event, Event::NotificationCreated { .. }));
    let (standing, counts) = replayed(&events);
    assert_eq!(standing, stands(&alice, &bob).await);
    let count = |name| counts.get(name).copied().unwrap_or(0);
    assert_eq!(count("friend.requested"), done(&answers, "add", "pending"));
    let ended = done(&answers, "remove", "") + done(&answers, "decline", "");
    assert_eq!(count("friend.removed"), ended);
    // Who accepts again is told so again, and nobody else is told anything.
    let crossed = done(&answers, "add", "accepted");
    let accepted = done(&answers, "accept", "");
    assert!((crossed..=crossed + accepted).contains(&count("friend.accepted")), "{counts:?}");
    assert!(count("friend.requested") > 0, "nothing happened");
}

#[tokio::test]
async fn fifty_who_join_and_leave_at_once_are_told_what_came_of_it() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (alice_there, bob_there) = (other.seen_by(&alice), other.seen_by(&bob));
    let name = alice.group("two", &[]).await;
    let mut log = Log::of(&app).await;
    let asked = (0..50).map(|n| {
        let (by, what) = [(&alice, "add"), (&bob_there, "leave"), (&alice_there, "remove")][n % 3];
        let path = format!("/groups/{name}/{what}");
        let body = serde_json::json!({"user_id": bob.id});
        async move {
            let request = by.request("POST", &path);
            let request = if what == "leave" { request } else { request.json(&body) };
            (what, Answer::of(request).await)
        }
    });
    let answers = join_all(asked).await;
    let (mut is_in, mut changes) = (false, 0);
    for addressed in log.taken().await {
        let comes = match addressed.event {
            Event::MemberAdded { user, .. } if user == id(&bob) => true,
            Event::MemberRemoved { user, .. } if user == id(&bob) => false,
            Event::NotificationCreated { .. } => continue,
            event => panic!("{event:?}"),
        };
        assert_ne!(is_in, comes, "twice the same");
        (is_in, changes) = (comes, changes + 1);
    }
    let done = ["add", "leave", "remove"].map(|what| done(&answers, what, ""));
    assert_eq!(changes, done.into_iter().sum::<usize>());
    assert_eq!(is_in, bob.get(&format!("/groups/{name}")).await.status == 200);
}
