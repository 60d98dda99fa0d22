//! The limits hold, and nothing is lost, however much happens at once.

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::json;

use super::{add, binary, check, count, leave, people, remove, seen, unread, uuid};
use crate::support::{Answer, TestApp};

#[tokio::test]
async fn fifty_adds_at_once_fill_the_last_three_places() {
    let app = TestApp::with(|settings| settings.groups.max_members = 5).await;
    let other = app.second_instance().await;
    let all = people(&app, 52).await;
    let (owner, there) = (&all[0], other.seen_by(&all[0]));
    let group = owner.group("five", &all[1..2]).await;
    let adds = all[2..].iter().enumerate().map(|(n, user)| {
        let by = if n % 2 == 0 { owner } else { &there };
        add(by, &group, user)
    });
    let answers = join_all(adds).await;
    let added = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(added, 3);
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        refused.problem(409, "group_full");
    }
    assert_eq!(check(&app, &group).await, 5);
    assert_eq!(seen(owner, &group).await["member_count"], 5);
    assert_eq!(count(&app, "users", doc! { "group_count": 1 }).await, 5);
    assert_eq!(count(&app, "notifications", doc! {}).await, 4);
}

#[tokio::test]
async fn fifty_adds_of_one_user_add_them_once() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 2).await;
    let there = other.seen_by(&all[0]);
    let group = all[0].group("two", &[]).await;
    let adds = (0..50).map(|n| add(if n % 2 == 0 { &all[0] } else { &there }, &group, &all[1]));
    let answers = join_all(adds).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        refused.problem(409, "already_member");
    }
    assert_eq!(check(&app, &group).await, 2);
    assert_eq!(count(&app, "users", doc! { "group_count": 1 }).await, 2);
    assert_eq!(all[1].get("/notifications").await.ok(200)["unread_count"], 1);
}

#[tokio::test]
async fn coming_and_going_at_once_never_loses_the_owner_or_the_count() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 12).await;
    let group = all[0].group("door", &all[1..8]).await;
    // The first six leave, one after another the owner; two are removed; four are added.
    let leaves = all[..6].iter().map(|one| leave(one, &group));
    let there = other.seen_by(&all[0]);
    let removes = all[6..8].iter().map(|one| remove(&there, &group, one));
    let adds = all[8..].iter().map(|one| add(&all[0], &group, one));
    let (left, removed, added) = tokio::join!(join_all(leaves), join_all(removes), join_all(adds));
    assert!(left.iter().all(|answer| answer.status == 200));
    let known = |answer: &Answer| [200, 201, 403, 404].contains(&answer.status);
    assert!(removed.iter().chain(&added).all(known));
    let out = removed.iter().filter(|answer| answer.status == 200).count();
    let new = added.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(check(&app, &group).await, (8 - 6 - out + new) as u64);
    assert_eq!(count(&app, "users", doc! { "group_count": 1 }).await, (2 - out + new) as u64);
}

#[tokio::test]
async fn a_person_is_in_five_hundred_groups_at_most() {
    let app = TestApp::spawn().await;
    let all = people(&app, 2).await;
    let [alice, bob] = &all[..] else { panic!("two") };
    let users = app.database().await.collection::<Document>("users");
    let almost = doc! { "$set": { "group_count": 499 } };
    users.update_one(doc! { "_id": binary(uuid(&bob.id)) }, almost).await.expect("an update");

    let first = alice.group("first", &[]).await;
    let second = alice.group("second", &[]).await;
    let adds = [&first, &second].map(|group| add(alice, group, bob));
    let mut statuses: Vec<u16> = join_all(adds).await.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let with_bob = json!({"group_name": "x", "members": [bob.id]});
    alice.post("/groups", with_bob.clone()).await.problem(409, "group_full");
    let own = json!({"group_name": "x", "members": []});
    bob.post("/groups", own).await.problem(409, "group_full");

    // A place that is given back can be taken again.
    let list = bob.get("/groups").await.ok(200);
    leave(bob, list["items"][0]["id"].as_str().expect("an id")).await.ok(200);
    alice.post("/groups", with_bob).await.ok(201);
}

#[tokio::test]
async fn who_joins_while_others_send_begins_at_an_exact_place() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let all = people(&app, 14).await;
    let group = all[0].group("busy", &all[1..4]).await;
    let sends = all[..4].iter().enumerate().map(|(n, one)| {
        let one = if n % 2 == 0 { one.clone() } else { other.seen_by(one) };
        let group = &group;
        async move {
            for k in 0..15 {
                one.tell(group, &format!("{n}/{k}")).await;
            }
        }
    });
    let there = other.seen_by(&all[0]);
    let adds = async {
        for (n, one) in all[4..].iter().enumerate() {
            add(if n % 2 == 0 { &all[0] } else { &there }, &group, one).await.ok(201);
        }
    };
    tokio::join!(join_all(sends), adds);
    let members = app.database().await.collection::<Document>("members");
    for one in &all[4..] {
        let key = doc! { "_id": binary([uuid(&group), uuid(&one.id)].concat()) };
        let row = members.find_one(key).await.expect("an answer").expect("a row");
        let joined = u64::try_from(row.get_i64("joined_seq").expect("a number")).expect("positive");
        assert_eq!(unread(one, &group).await, 60 - joined);
    }
    assert_eq!(check(&app, &group).await, 14);
}
