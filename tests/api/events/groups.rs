//! Groups: what they are, and who comes and goes.

use natter::internals::domain::{AddressedEvent, Audience, Event, GroupId, NotificationId, UserId};
use serde_json::{Value, json};

use super::{Log, among, group_id, id, notified};
use crate::attachments::picture;
use crate::support::{Actor, Answer, TestApp};

async fn people(app: &TestApp) -> [Actor; 4] {
    [app.user("anna").await, app.user("ben").await, app.user("cleo").await, app.user("dan").await]
}

async fn post(actor: &Actor, group: &str, what: &str, user: &Actor) -> Answer {
    actor.post(&format!("/groups/{group}/{what}"), json!({"user_id": user.id})).await
}

async fn leave(actor: &Actor, group: &str) -> Answer {
    Answer::of(actor.request("POST", &format!("/groups/{group}/leave"))).await
}

async fn give(actor: &Actor, group: &str, user: &Actor, role: &str) -> Answer {
    actor.put(&format!("/groups/{group}/members/{}", user.id), json!({"role": role})).await
}

/// That someone is not in a group any more, as those who are and they are told.
pub fn removed(group: GroupId, user: UserId) -> AddressedEvent {
    let audience = Audience::members(group).and(user);
    AddressedEvent { event: Event::MemberRemoved { group, user }, audience }
}

/// That someone who was alone in a group has left it, which is the last that they hear of it.
pub fn ended(group: GroupId, user: UserId) -> Vec<AddressedEvent> {
    vec![AddressedEvent::for_users([user], Event::MemberRemoved { group, user })]
}

#[tokio::test]
async fn a_group_is_made_changed_and_ended() {
    let app = TestApp::spawn().await;
    let [anna, ben, cleo, _] = people(&app).await;
    let mut log = Log::of(&app).await;
    let name = anna.group("three", &[ben.clone(), cleo.clone()]).await;
    let group = group_id(&name);
    let told = [&ben, &cleo].map(|user| notified(NotificationId::group_added(id(user), group)));
    log.holds(among(group, [Event::GroupCreated { group }]).into_iter().chain(told)).await;

    let picture = picture(&anna).await;
    let path = format!("/groups/{name}");
    for change in [
        json!({"group_name": "four"}),
        json!({"group_picture": picture}),
        json!({"group_name": "five", "group_picture": picture}),
        json!({"group_picture": null}),
    ] {
        let changed = anna.put(&path, change.clone()).await.ok(200);
        log.holds(among(group, [Event::GroupUpdated { group }])).await;
        // To what it is already: nothing happens.
        app.advance(std::time::Duration::from_secs(1));
        assert_eq!(anna.put(&path, change).await.ok(200), changed);
        assert_eq!(anna.put(&path, json!({})).await.ok(200), changed);
        log.holds([]).await;
    }

    anna.delete(&path).await.ok(204);
    let [AddressedEvent { event, mut audience }] = log.taken().await.try_into().expect("one event");
    let mut everyone = [&anna, &ben, &cleo].map(id);
    audience.users.sort_unstable();
    everyone.sort_unstable();
    assert_eq!((event, audience), (Event::GroupDeleted { group }, Audience::users(everyone)));
}

#[tokio::test]
async fn who_comes_and_goes_is_told_to_all_and_to_them() {
    let app = TestApp::spawn().await;
    let [anna, ben, cleo, dan] = people(&app).await;
    let name = anna.group("two", std::slice::from_ref(&ben)).await;
    let group = group_id(&name);
    let mut log = Log::of(&app).await;
    for user in [&cleo, &dan] {
        post(&anna, &name, "add", user).await.ok(201);
        let told = notified(NotificationId::group_added(id(user), group));
        let added = among(group, [Event::MemberAdded { group, user: id(user) }]);
        log.holds(added.into_iter().chain([told])).await;
    }
    post(&anna, &name, "remove", &ben).await.ok(200);
    log.holds([removed(group, id(&ben))]).await;
    post(&cleo, &name, "remove", &cleo).await.ok(200);
    log.holds([removed(group, id(&cleo))]).await;

    leave(&anna, &name).await.ok(200);
    let owner = Event::MemberUpdated { group, user: id(&dan) };
    let handed_over = among(group, [owner, Event::GroupUpdated { group }]);
    log.holds([vec![removed(group, id(&anna))], handed_over].concat()).await;
    leave(&dan, &name).await.ok(200);
    log.holds(ended(group, id(&dan))).await;
}

#[tokio::test]
async fn a_role_is_told_and_both_of_a_hand_over() {
    let app = TestApp::spawn().await;
    let [anna, ben, cleo, _] = people(&app).await;
    let name = anna.group("three", &[ben.clone(), cleo.clone()]).await;
    let group = group_id(&name);
    let mut log = Log::of(&app).await;
    let updated = |user: &Actor| Event::MemberUpdated { group, user: id(user) };
    for role in ["admin", "member"] {
        for _ in 0..2 {
            give(&anna, &name, &ben, role).await.ok(200);
        }
        log.holds(among(group, [updated(&ben)])).await;
    }
    give(&anna, &name, &cleo, "owner").await.ok(200);
    let all = [updated(&cleo), updated(&anna), Event::GroupUpdated { group }];
    log.holds(among(group, all)).await;
}

#[tokio::test]
async fn what_is_refused_is_told_to_nobody() {
    let app = TestApp::with(|settings| settings.groups.max_members = 3).await;
    let [anna, ben, cleo, dan] = people(&app).await;
    let name = anna.group("two", std::slice::from_ref(&ben)).await;
    let path = format!("/groups/{name}");
    let mut log = Log::of(&app).await;
    ben.put(&path, json!({"group_name": "mine"})).await.problem(403, "forbidden");
    anna.put(&path, json!({"group_name": ""})).await.invalid(&["group_name"]);
    post(&ben, &name, "add", &cleo).await.problem(403, "forbidden");
    post(&anna, &name, "add", &ben).await.problem(409, "already_member");
    post(&ben, &name, "remove", &anna).await.problem(403, "forbidden");
    post(&anna, &name, "remove", &cleo).await.problem(404, "not_found");
    give(&ben, &name, &ben, "owner").await.problem(403, "forbidden");
    give(&anna, &name, &anna, "member").await.invalid(&["role"]);
    ben.delete(&path).await.problem(403, "forbidden");
    leave(&cleo, &name).await.problem(404, "not_found");
    let unverified: Value = app.sign_up("zoe").await["id"].clone();
    let new = json!({"group_name": "new", "members": [ben.id, unverified]});
    anna.post("/groups", new).await.invalid(&["members[1]"]);
    log.holds([]).await;
    post(&anna, &name, "add", &cleo).await.ok(201);
    log.taken().await;
    post(&anna, &name, "add", &dan).await.problem(409, "group_full");
    log.holds([]).await;
}
