//! Where instances are, and people who talk to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::Rng;
use crate::support::app::PATIENCE;
use crate::support::{Actor, TestApp};

/// Where instances are; a dead one stays until it has a successor.
pub struct Net {
    urls: Mutex<Vec<String>>,
}

impl Net {
    pub fn of(urls: impl IntoIterator<Item = String>) -> Arc<Self> {
        Arc::new(Self { urls: Mutex::new(urls.into_iter().collect()) })
    }

    pub fn pick(&self, rng: &mut Rng) -> String {
        rng.pick(&self.urls.lock()).clone()
    }

    /// Instances are here now.
    pub fn are(&self, urls: Vec<String>) {
        *self.urls.lock() = urls;
    }

    /// An instance has gone elsewhere.
    pub fn moved(&self, instance: usize, url: &str) {
        url.clone_into(&mut self.urls.lock()[instance]);
    }
}

/// Whether every request has to be taken at once, or is repeated until it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Unbroken,
    Broken,
}

/// Three people with a group.
pub struct Circle {
    pub people: [Actor; 3],
    group: String,
}

/// What they did that has to be told to everyone.
#[derive(Debug, Default)]
pub struct Done {
    pub sent: Vec<Value>,
    pub edited: Vec<Value>,
    pub deleted: Vec<Value>,
}

/// People who talk.
pub struct Talk {
    tasks: Vec<JoinHandle<Done>>,
    enough: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
}

struct Talker {
    who: usize,
    circle: Arc<Circle>,
    net: Arc<Net>,
    service: Service,
    rng: Rng,
    done: Done,
    taken: Arc<AtomicUsize>,
}

impl Circle {
    pub async fn gather(app: &TestApp) -> Arc<Self> {
        let people = [app.user("alice").await, app.user("bob").await, app.user("carol").await];
        let group = people[0].group("us", &people[1..]).await;
        Arc::new(Self { people, group })
    }

    /// They begin to talk, with so many milliseconds at most between two of each.
    pub fn talk(
        self: &Arc<Self>,
        net: &Arc<Net>,
        service: Service,
        pause: usize,
        seed: u64,
    ) -> Talk {
        let (enough, taken) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let tasks = (0..3).map(|who| {
            let talker = Talker {
                who,
                circle: self.clone(),
                net: net.clone(),
                service,
                rng: Rng(seed.wrapping_add(who as u64)),
                done: Done::default(),
                taken: Arc::clone(&taken),
            };
            tokio::spawn(talker.talk(pause, enough.clone()))
        });
        let tasks = tasks.collect();
        Talk { tasks, enough, taken }
    }
}

impl Talker {
    async fn talk(mut self, pause: usize, enough: Arc<AtomicBool>) -> Done {
        let mut count = 0;
        while !enough.load(Ordering::SeqCst) {
            count += 1;
            let (who, text) = (self.who, format!("{}-{count}-{}", self.who, self.rng.next()));
            let mut body = json!({"message": text, "client_message_id": text});
            match self.rng.below(3) {
                0 => body["group_id"] = json!(self.circle.group),
                n => body["recipient_user_id"] = json!(self.circle.people[(who + n) % 3].id),
            }
            let message = self.ask("POST", "/messages", Some(&body)).await;
            self.done.sent.push(message["id"].clone());
            self.taken.fetch_add(1, Ordering::SeqCst);
            self.revise(&message).await;
            sleep(self.rng.millis(1, pause)).await;
        }
        self.done
    }

    /// Now and then they change their mind.
    async fn revise(&mut self, message: &Value) {
        let text = |field: &str| message[field].as_str().expect("a text").to_owned();
        let path = format!("/conversations/{}/messages/{}", text("conversation_id"), text("id"));
        match self.rng.below(16) {
            0 => {
                self.ask("PATCH", &path, Some(&json!({"message": "changed"}))).await;
                self.done.edited.push(message["id"].clone());
            }
            1 => {
                self.ask("DELETE", &path, None).await;
                self.done.deleted.push(message["id"].clone());
            }
            2 => {
                self.ask("PUT", &format!("{path}/reactions/%E2%9D%A4"), Some(&json!({}))).await;
            }
            3 => {
                let read = format!("/conversations/{}/read", text("conversation_id"));
                self.ask("POST", &read, Some(&json!({"message_id": message["id"]}))).await;
            }
            _ => {}
        }
    }

    /// Asks any instance until one has done it.
    async fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let began = Instant::now();
        loop {
            let url = self.net.pick(&mut self.rng);
            let mut request = self.circle.people[self.who].at(&url).request(method, path);
            request = request.timeout(Duration::from_secs(10));
            if let Some(body) = body {
                request = request.json(body);
            }
            let failed = match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    let text = answer.text().await.unwrap_or_default();
                    return serde_json::from_str(&text).unwrap_or_default();
                }
                // It was done by a request of which the answer was lost.
                Ok(answer) if method == "DELETE" && answer.status() == StatusCode::NOT_FOUND => {
                    return Value::Null;
                }
                Ok(answer) => {
                    let status = answer.status();
                    let text = answer.text().await.unwrap_or_default();
                    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{method} {path}: {text}");
                    text
                }
                Err(error) => format!("{error:?}"),
            };
            assert!(self.service == Service::Broken, "{method} {path} at {url}: {failed}");
            assert!(began.elapsed() < PATIENCE, "{method} {path}: never done: {failed}");
            sleep(self.rng.millis(10, 60)).await;
        }
    }
}

impl Talk {
    /// Waits until so many more messages were taken.
    pub async fn goes_on(&self, more: usize) {
        let goal = self.taken.load(Ordering::SeqCst) + more;
        let waiting = async {
            while self.taken.load(Ordering::SeqCst) < goal {
                assert!(!self.tasks.iter().any(JoinHandle::is_finished), "someone gave up");
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(2 * PATIENCE, waiting).await.expect("messages are taken");
    }

    /// Everyone finishes what they are at; gives what they did.
    pub async fn end(self) -> Done {
        self.enough.store(true, Ordering::SeqCst);
        let mut all = Done::default();
        for task in self.tasks {
            let done = task.await.expect("no broken promise");
            all.sent.extend(done.sent);
            all.edited.extend(done.edited);
            all.deleted.extend(done.deleted);
        }
        all
    }
}
