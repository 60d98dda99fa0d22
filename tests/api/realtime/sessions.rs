//! A session that ends takes its sockets along, on every instance, and no others.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::socket::Socket;
use crate::support::{Actor, TestApp};

/// Someone with two sessions: the sockets of the one that ends, here and elsewhere, and of the
/// other.
struct Scene {
    ending: Actor,
    other: Actor,
    ends: Vec<Socket>,
    stays: Vec<Socket>,
}

impl Scene {
    async fn of(app: &TestApp, elsewhere: &TestApp, name: &str) -> Self {
        let ending = app.user(name).await;
        let other = app.login(&ending.email, &ending.password).await;
        let (mut ends, mut stays) = (Vec::new(), Vec::new());
        for instance in [app, elsewhere] {
            ends.push(instance.seen_by(&ending).socket().await);
            stays.push(instance.seen_by(&other).socket().await);
        }
        Self { ending, other, ends, stays }
    }

    /// Expects that these sockets end, with nothing told after the end but that.
    async fn ended(mut sockets: Vec<Socket>, friend: &Actor, whom: &Actor) {
        let since = Instant::now();
        let late = friend.send(whom, "after the end").await;
        for (n, socket) in sockets.iter_mut().enumerate() {
            let session = socket.ready["session_id"].clone();
            let frames = socket.frames_until(|frame| frame["type"] == "session.ended").await;
            let (last, before) = frames.split_last().expect("frames");
            assert_eq!(last["data"], json!({"session_id": session}));
            // Within a second on another instance, at once on this one.
            let told = before.iter().any(|frame| frame["data"]["id"] == late["id"]);
            assert!(n > 0 || !told, "{frames:?}");
            assert_eq!(socket.closed().await, 4401);
        }
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    }

    /// Expects that the sockets of the other session go on.
    async fn stays(mut self, friend: &Actor) {
        let sent = friend.send(&self.other, "still there").await;
        for socket in &mut self.stays {
            let is_last = |frame: &Value| frame["data"]["id"] == sent["id"];
            let frames = socket.frames_until(is_last).await;
            assert!(frames.iter().all(|it| it["type"] == "message.created"), "{frames:?}");
            socket.ping().await;
        }
    }
}

async fn session_of(actor: &Actor) -> String {
    let sessions = actor.get("/sessions").await.ok(200);
    let items = sessions["items"].as_array().expect("a list");
    let current = items.iter().find(|it| it["current"] == true).expect("one's own");
    current["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_ended_session_hears_that_and_nothing_more() {
    let app = TestApp::spawn().await;
    let elsewhere = app.second_instance().await;
    let friend = app.user("friend").await;
    for how in ["logout", "one", "others", "password", "reuse"] {
        let scene = Scene::of(&app, &elsewhere, &format!("user-{how}")).await;
        let (ending, other) = (scene.ending.clone(), scene.other.clone());
        match how {
            "logout" => drop(ending.post("/logout", json!({})).await.ok(204)),
            "one" => {
                let path = format!("/sessions/{}", session_of(&ending).await);
                other.delete(&path).await.ok(204);
            }
            "others" => drop(other.delete("/sessions").await.ok(204)),
            "password" => {
                let new = "another password";
                let input = json!({"current_password": other.password, "new_password": new});
                other.put("/password", input).await.ok(204);
            }
            _ => {
                let again = json!({"refresh_token": ending.refresh_token});
                app.post("/token/refresh", again.clone()).await.ok(200);
                app.advance(Duration::from_secs(11));
                let answer = app.post("/token/refresh", again).await;
                answer.problem(401, "refresh_token_reused");
            }
        }
        let Scene { ending, other, ends, stays } = scene;
        Scene::ended(ends, &friend, &other).await;
        Scene { ending, other, ends: Vec::new(), stays }.stays(&friend).await;
    }
}

#[tokio::test]
async fn a_reset_password_and_a_deleted_account_end_all() {
    let app = TestApp::spawn().await;
    let elsewhere = app.second_instance().await;
    let friend = app.user("friend").await;
    let ada = Scene::of(&app, &elsewhere, "ada").await;
    app.post("/password/forgot", json!({"email": ada.ending.email})).await.ok(202);
    let token = app.mail(&ada.ending.email, 2).await.token();
    let input = json!({"token": token, "password": "another password"});
    app.post("/password/reset", input).await.ok(204);
    let all = ada.ends.into_iter().chain(ada.stays).collect();
    Scene::ended(all, &friend, &ada.other).await;

    let bob = Scene::of(&app, &elsewhere, "bob").await;
    let password = json!({"password": bob.ending.password});
    let deleted = bob.ending.request("DELETE", "/profile").json(&password);
    crate::support::Answer::of(deleted).await.ok(204);
    for mut socket in bob.ends.into_iter().chain(bob.stays) {
        let frames = socket.frames_until(|frame| frame["type"] == "session.ended").await;
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(socket.closed().await, 4401);
    }
}

#[tokio::test]
async fn nothing_is_told_once_the_end_is_acknowledged() {
    let app = TestApp::spawn().await;
    let (friend, ada) = (app.user("friend").await, app.user("ada").await);
    for _ in 0..10 {
        let device = app.login(&ada.email, &ada.password).await;
        let mut socket = device.socket().await;
        let talk = async {
            for n in 0..10 {
                friend.send(&ada, &format!("message {n}")).await;
            }
        };
        tokio::join!(talk, async { device.post("/logout", json!({})).await.ok(204) });
        let late = friend.send(&ada, "after the end").await;
        let frames = socket.frames_until(|frame| frame["type"] == "session.ended").await;
        assert!(frames.iter().all(|frame| frame["data"]["id"] != late["id"]), "{frames:?}");
        assert_eq!(socket.closed().await, 4401);
    }
}
