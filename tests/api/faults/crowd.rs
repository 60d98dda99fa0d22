//! People who write to each other and to groups, repeat what was not answered, and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Rng;
use crate::support::audit::{Acknowledged, Audit};
use crate::support::{Actor, TestApp};

/// How long one message may take to be taken: longer than any fault lasts.
const AT_LAST: Duration = Duration::from_mins(1);

/// The load, and what came of it.
pub struct Crowd {
    people: Vec<Actor>,
    groups: Vec<String>,
    http: reqwest::Client,
    /// Where instances are, as far as known; a dead one stays until it has a successor.
    urls: Mutex<Vec<String>>,
    done: AtomicBool,
    acknowledged: Mutex<Vec<Acknowledged>>,
    repeats: AtomicU64,
    reads: AtomicU64,
}

/// What a crowd does, while it does.
pub struct Busy {
    crowd: Arc<Crowd>,
    tasks: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Some people and two groups of them.
    pub async fn gather(app: &TestApp, urls: Vec<String>) -> Arc<Self> {
        let names = ["ada", "ben", "cleo", "dan", "eve", "finn"];
        let mut people = Vec::new();
        for name in names {
            people.push(app.user(name).await);
        }
        let groups = vec![
            people[0].group("everyone", &people[1..]).await,
            people[1].group("some", &people[2..4]).await,
        ];
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        Arc::new(Self {
            people,
            groups,
            http: http.timeout(Duration::from_secs(10)).build().expect("a client"),
            urls: Mutex::new(urls),
            done: AtomicBool::new(false),
            acknowledged: Mutex::default(),
            repeats: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        })
    }

    /// Everyone begins to write.
    pub fn begin(self: Arc<Self>, seed: u64) -> Busy {
        let tasks = (0..self.people.len()).map(|who| {
            let (crowd, rng) = (self.clone(), Rng(seed.wrapping_add(who as u64)));
            tokio::spawn(async move { crowd.write(who, rng).await })
        });
        Busy { tasks: tasks.collect(), crowd: self }
    }

    async fn write(&self, who: usize, mut rng: Rng) {
        let mut count = 0;
        while !self.done.load(Ordering::SeqCst) {
            count += 1;
            let body = self.message(who, count, &mut rng);
            match rng.below(10) {
                // Nobody knows what becomes of it, unless it is answered.
                0 => {
                    let mut unnamed = body;
                    unnamed.as_object_mut().expect("an object").remove("client_message_id");
                    let _ = self.attempt(who, &unnamed, &mut rng).await;
                }
                // Two tabs.
                1 => {
                    let (mut one, mut other) = (Rng(rng.next()), Rng(rng.next()));
                    let both = [&mut one, &mut other].map(|rng| self.deliver(who, &body, rng));
                    let both = join_all(both).await;
                    assert_eq!(both[0], both[1], "one name, two messages");
                }
                2 | 3 => {
                    let first = self.deliver(who, &body, &mut rng).await;
                    assert_eq!(self.deliver(who, &body, &mut rng).await, first, "sent twice");
                }
                4 | 5 => {
                    self.deliver(who, &body, &mut rng).await;
                    self.read(who, &mut rng).await;
                }
                _ => {
                    self.deliver(who, &body, &mut rng).await;
                }
            }
            sleep(rng.millis(1, 30)).await;
        }
    }

    /// The sender's next message, to someone or to a group.
    fn message(&self, who: usize, count: u64, rng: &mut Rng) -> Value {
        let name = format!("{who}-{count}");
        let text = format!("{name} {}", rng.next());
        let mut body = json!({"message": text, "client_message_id": name});
        if rng.below(3) == 0 {
            body["group_id"] =
                json!(if (1..4).contains(&who) { rng.pick(&self.groups) } else { &self.groups[0] });
        } else {
            body["recipient_user_id"] = json!(rng.pick(&self.people).id);
        }
        body
    }

    fn url(&self, rng: &mut Rng) -> String {
        let urls = self.urls.lock();
        rng.pick(&urls).clone()
    }

    /// Repeats a message until it is taken; gives its id.
    async fn deliver(&self, who: usize, body: &Value, rng: &mut Rng) -> String {
        let persist = async {
            loop {
                if let Some(id) = self.attempt(who, body, rng).await {
                    return id;
                }
                self.repeats.fetch_add(1, Ordering::SeqCst);
                sleep(rng.millis(10, 60)).await;
            }
        };
        timeout(AT_LAST, persist).await.unwrap_or_else(|_| panic!("never taken: {body}"))
    }

    /// Sends a message once; gives its id if it was taken.
    async fn attempt(&self, who: usize, body: &Value, rng: &mut Rng) -> Option<String> {
        let (status, answer) = self.ask(who, "/messages", Some(body), rng).await?;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        assert_eq!(
            (status, &answer["message"]),
            (StatusCode::CREATED, &body["message"]),
            "{answer}"
        );
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let id = text(&answer["id"]);
        let one = Acknowledged {
            id: id.clone(),
            sender: self.people[who].id.clone(),
            text: text(&body["message"]),
        };
        self.acknowledged.lock().push(one);
        Some(id)
    }

    /// Reads a page and marks something on it as read; a fault in between is as well.
    async fn read(&self, who: usize, rng: &mut Rng) -> Option<()> {
        let path = match rng.below(3) {
            0 => format!("/conversations/{}/messages?limit=5", self.groups[0]),
            _ => format!("/messages/{}?limit=5", rng.pick(&self.people).id),
        };
        let (status, page) = self.ask(who, &path, None, rng).await?;
        let items = page["items"].as_array().filter(|items| !items.is_empty())?;
        assert_eq!(status, StatusCode::OK);
        let path = format!("/conversations/{}/read", page["conversation_id"].as_str()?);
        let mark = json!({"message_id": rng.pick(items)["id"]});
        let (status, answer) = self.ask(who, &path, Some(&mark), rng).await?;
        let fine = [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        assert!(fine, "{status} {answer}");
        self.reads.fetch_add(1, Ordering::SeqCst);
        Some(())
    }

    /// One request to any instance; `None` if it was not answered.
    async fn ask(
        &self,
        who: usize,
        path: &str,
        body: Option<&Value>,
        rng: &mut Rng,
    ) -> Option<(StatusCode, Value)> {
        let url = format!("{}{path}", self.url(rng));
        let request = match body {
            Some(body) => self.http.post(url).json(body),
            None => self.http.get(url),
        };
        let answer = request.bearer_auth(&self.people[who].token).send().await.ok()?;
        let status = answer.status();
        Some((status, answer.json().await.ok()?))
    }
}

impl Busy {
    /// How many messages were taken so far, repeats included.
    pub fn taken(&self) -> usize {
        self.crowd.acknowledged.lock().len()
    }

    /// Where an instance has gone.
    pub fn moved(&self, instance: usize, url: &str) {
        let mut urls = self.crowd.urls.lock();
        url.clone_into(&mut urls[instance]);
    }

    /// Waits until so many more messages were taken.
    pub async fn goes_on(&self, more: usize) {
        let enough = self.taken() + more;
        let waiting = async {
            while self.taken() < enough {
                assert!(!self.tasks.iter().any(JoinHandle::is_finished), "someone gave up");
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(AT_LAST, waiting).await.expect("messages are taken");
    }

    /// Everyone finishes the message in their hands; then everything must add up.
    pub async fn end(self, app: &TestApp) {
        self.crowd.done.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("no broken promise");
        }
        let audit = Audit::of(&app.database().await).await;
        let acknowledged = self.crowd.acknowledged.lock().clone();
        audit.holds(&acknowledged);
        for person in &self.crowd.people {
            audit.is_what_they_see(&app.seen_by(person)).await;
        }
        let [repeats, reads] =
            [&self.crowd.repeats, &self.crowd.reads].map(|count| count.load(Ordering::SeqCst));
        println!("{} messages taken, {repeats} repeats, {reads} reads", acknowledged.len());
    }
}
