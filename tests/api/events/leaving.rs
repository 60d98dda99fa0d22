//! Leaving for good: groups left and handed over, friendships and requests ended.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use natter::internals::domain::Event;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::friends::{is_over, on};
use super::groups::{ended, removed};
use super::{Log, among, both, group_id, id};
use crate::support::app::PATIENCE;
use crate::support::{Answer, TestApp};

#[tokio::test]
async fn what_a_deleted_account_leaves_is_told_to_those_whom_it_leaves() {
    let app = TestApp::spawn().await;
    let (gone, ann) = (app.user("gone").await, app.user("ann").await);
    let (bob, cleo, eve) = (app.user("bob").await, app.user("cleo").await, app.user("eve").await);
    let mut groups = Vec::new();
    for (owner, other) in [(&gone, Some(&ann)), (&ann, Some(&gone)), (&gone, None)] {
        // The last one joined is the first one left.
        app.advance(Duration::from_secs(1));
        let others: Vec<_> = other.into_iter().cloned().collect();
        groups.push(group_id(&owner.group("some", &others).await));
    }
    gone.befriend(&ann).await;
    on(&gone, "add", &bob).await.ok(201);
    on(&cleo, "add", &gone).await.ok(201);
    eve.post("/blocks", json!({"user_id": gone.id})).await.ok(201);

    let mut log = Log::of(&app).await;
    let wrong = gone.request("DELETE", "/profile").json(&json!({"password": "wrong-password"}));
    Answer::of(wrong).await.problem(403, "forbidden");
    log.holds([]).await;
    let delete = gone.request("DELETE", "/profile").json(&json!({"password": gone.password}));
    Answer::of(delete).await.ok(204);
    let mut told = log.taken().await;
    let user = id(&gone);
    let over = told.split_off(told.len().saturating_sub(6));
    let owner = Event::MemberUpdated { group: groups[0], user: id(&ann) };
    let mut left = ended(groups[2], user);
    left.extend([removed(groups[1], user), removed(groups[0], user)]);
    left.extend(among(groups[0], [owner, Event::GroupUpdated { group: groups[0] }]));
    assert_eq!(told, left);
    for other in [&ann, &bob, &cleo] {
        let pair = both(&gone, other, is_over);
        assert!(over.chunks(2).any(|told| told == pair), "{}: {over:#?}", other.name);
    }

    // Cleaning once more, as others do in the minute after, is told to nobody.
    app.advance(Duration::from_mins(2));
    let users = app.database().await.collection::<Document>("users");
    let cleaned = async {
        while users.count_documents(doc! { "cleanup": true }).await.expect("a count") > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, cleaned).await.expect("cleaned in time");
    log.holds([]).await;
}
