//! Devices that are cut off and come back, and see to it that they were told everything once and
//! in order, or were told that they were not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Rng;
use super::net::Net;
use crate::support::Actor;
use crate::support::app::PATIENCE;
use crate::support::socket::Socket;

/// How long a device without a fault stays connected: longer than any test.
const FOR_GOOD: Duration = Duration::from_hours(1);

/// How a device behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It stays where it is, and nothing may part it.
    Steady,
    /// It stays, but comes back elsewhere when it is sent away.
    Loyal,
    /// It loses its connection after at most so many milliseconds, again and again.
    Cut(usize),
}

/// What a device was told from a beginning on, without a gap.
#[derive(Debug)]
pub struct Life {
    /// The id of the last event before it.
    start: String,
    /// Event ids and what each says.
    told: Vec<(String, String)>,
    /// Where the inbox was when it began.
    inbox: HashMap<String, u64>,
    /// The last message of each conversation that it was told of.
    last: HashMap<String, u64>,
}

/// What a device has lived through.
#[derive(Debug)]
pub struct Past {
    /// Whose it was, and which.
    pub name: String,
    pub lives: Vec<Life>,
    /// How often it came back and was told what it had missed.
    pub recovered: usize,
}

/// A device.
pub struct Device {
    actor: Actor,
    name: String,
    net: Arc<Net>,
    habit: Habit,
    rng: Rng,
    done: Arc<AtomicBool>,
}

/// A device that lives.
pub struct Running {
    task: JoinHandle<Past>,
    done: Arc<AtomicBool>,
}

impl Device {
    /// Switches a device on; gives it back when it has connected for the first time.
    pub async fn on(net: &Arc<Net>, actor: &Actor, habit: Habit, mut rng: Rng) -> Running {
        let name = format!("{}-{}", actor.name, rng.below(1000));
        let done = Arc::new(AtomicBool::new(false));
        let (actor, net) = (actor.clone(), net.clone());
        let mut device = Self { actor, name, net, habit, rng, done: done.clone() };
        let first = timeout(PATIENCE, device.arrive(None)).await.expect("a first connection");
        Running { task: tokio::spawn(device.live(first)), done }
    }

    /// Connects to an instance, whichever answers.
    async fn arrive(&mut self, since: Option<&str>) -> (Socket, Actor) {
        loop {
            let there = self.actor.at(&self.net.pick(&mut self.rng));
            let arriving = timeout(Duration::from_secs(5), there.try_socket(since));
            if let Ok(Some(socket)) = arriving.await {
                return (socket, there);
            }
            sleep(self.rng.millis(20, 100)).await;
        }
    }

    async fn live(mut self, first: (Socket, Actor)) -> Past {
        let mut past = Past { name: self.name.clone(), lives: Vec::new(), recovered: 0 };
        let (mut socket, mut there) = first;
        loop {
            if socket.ready["recovered"] == true {
                past.recovered += 1;
            } else if let Some(inbox) = inbox(&there).await {
                past.lives.push(Life::new(&socket.ready["last_event_id"], inbox));
            } else {
                // Nobody is left to ask: begin anew.
                (socket, there) = self.arrive(None).await;
                continue;
            }
            let life = past.lives.last_mut().expect("it begins with one");
            if self.listen(&mut socket, life).await {
                return past;
            }
            assert!(self.habit != Habit::Steady, "{}: parted from its instance", self.name);
            let since = life.told.last().map_or(&life.start, |(id, _)| id).clone();
            // Cut, not closed.
            drop(socket);
            sleep(self.rng.millis(0, 200)).await;
            (socket, there) = self.arrive(Some(&since)).await;
        }
    }

    /// Listens until the connection is gone; `true` when there is nothing more to come.
    async fn listen(&mut self, socket: &mut Socket, life: &mut Life) -> bool {
        let stay = match self.habit {
            Habit::Cut(longest) => self.rng.millis(1, longest),
            Habit::Steady | Habit::Loyal => FOR_GOOD,
        };
        let cut = Instant::now() + stay;
        let mut last_look = Instant::now();
        loop {
            let is_done = self.done.load(Ordering::SeqCst);
            if is_done && last_look.elapsed() > Duration::from_millis(100) {
                let whole = inbox(&self.actor.at(&self.net.pick(&mut self.rng))).await;
                if whole.is_some_and(|whole| life.has(&whole)) {
                    return true;
                }
                last_look = Instant::now();
            }
            tokio::select! {
                frame = socket.next_or_end() => match frame {
                    Ok(frame) => life.take(&frame, &self.name),
                    Err(_) => return false,
                },
                () = sleep_until(cut), if !is_done => return false,
                () = sleep(Duration::from_millis(50)) => {}
            }
        }
    }
}

/// The last message of each conversation, as the inbox says; `None` where nobody answers.
pub async fn inbox(actor: &Actor) -> Option<HashMap<String, u64>> {
    let asked = actor.request("GET", "/conversations?limit=100");
    let answer = asked.timeout(Duration::from_secs(5)).send().await.ok()?;
    let page: Value = answer.error_for_status().ok()?.json().await.ok()?;
    let mut found = HashMap::new();
    for item in page["items"].as_array()? {
        let id = item["id"].as_str().expect("an id").to_owned();
        let last = item["last_seq"].as_u64().expect("a number");
        found.insert(id.clone(), last);
        // What the inbox names is in the history.
        let path = format!("/conversations/{id}/messages?limit=1");
        let asked = actor.request("GET", &path).timeout(Duration::from_secs(5));
        let history: Value = asked.send().await.ok()?.error_for_status().ok()?.json().await.ok()?;
        let newest = history["items"][0]["seq"].as_u64().unwrap_or(0);
        assert!(newest >= last, "an inbox at {last}, a history at {newest}");
    }
    Some(found)
}

impl Life {
    fn new(start: &Value, inbox: HashMap<String, u64>) -> Self {
        let start = start.as_str().expect("an id").to_owned();
        Self { start, told: Vec::new(), inbox, last: HashMap::new() }
    }

    /// Takes a frame; that ids grow, the socket has seen to.
    fn take(&mut self, frame: &Value, name: &str) {
        let Some(id) = frame["id"].as_str() else { return };
        let (kind, data) = (frame["type"].as_str().expect("a type"), &frame["data"]);
        let of = |field: &str| data[field].to_string();
        let what = match kind {
            "message.created" | "message.updated" => format!("{kind} {}", data["id"]),
            "message.deleted" => format!("{kind} {}", data["message_id"]),
            _ => format!("{kind} {} {} {}", of("conversation_id"), of("user_id"), of("seq")),
        };
        if kind == "message.created" {
            self.next(data, name);
        }
        self.told.push((id.to_owned(), what));
    }

    /// Messages come one after the other; the first joins on to the inbox.
    fn next(&mut self, message: &Value, name: &str) {
        let conversation = message["conversation_id"].as_str().expect("an id");
        let seq = message["seq"].as_u64().expect("a number");
        if let Some(last) = self.last.insert(conversation.to_owned(), seq) {
            assert_eq!(seq, last + 1, "{name}: in {conversation}");
        } else {
            let known = self.inbox.get(conversation).copied().unwrap_or(0);
            assert!(seq <= known + 1, "{name}: {seq} in {conversation}, known to {known}");
        }
    }

    /// Whether everything in an inbox has come.
    fn has(&self, whole: &HashMap<String, u64>) -> bool {
        whole.iter().all(|(conversation, last)| {
            let [known, told] = [&self.inbox, &self.last].map(|it| it.get(conversation).copied());
            known.max(told).unwrap_or(0) >= *last
        })
    }
}

impl Running {
    /// Ends it when everything has come to it.
    pub async fn end(self) -> Past {
        self.done.store(true, Ordering::SeqCst);
        timeout(2 * PATIENCE, self.task).await.expect("everything comes at last").expect("a device")
    }

    /// Whether it found something wrong.
    pub fn has_failed(&self) -> bool {
        self.task.is_finished()
    }
}

/// Two devices of the same person were told the same, wherever both were told all.
pub fn agree(one: &Past, other: &Past) {
    for one_life in &one.lives {
        for other_life in &other.lives {
            let ([Some(one_first), Some(other_first)], [Some(one_end), Some(other_end)]) = (
                [one_life, other_life].map(|life| life.told.first()),
                [one_life, other_life].map(|life| life.told.last()),
            ) else {
                continue;
            };
            // That nothing is missing before the first of them, the inbox has shown.
            let (start, end) = ((&one_first.0).max(&other_first.0), (&one_end.0).min(&other_end.0));
            let [mine, theirs] = [one_life, other_life].map(|life| {
                let within = life.told.iter().filter(|(id, _)| id >= start && id <= end);
                within.cloned().collect::<BTreeMap<_, _>>()
            });
            let names = (&one.name, &other.name);
            for (id, what) in &mine {
                assert_eq!(theirs.get(id), Some(what), "{id} on both of {names:?}");
            }
            assert_eq!(mine.len(), theirs.len(), "on {names:?}");
        }
    }
}

impl Past {
    /// How many events it was told.
    pub fn told(&self) -> usize {
        self.lives.iter().map(|life| life.told.len()).sum()
    }

    /// Whether it was told that something of this kind happened to a message.
    pub fn has(&self, kind: &str, message: &Value) -> bool {
        let what = format!("{kind} {message}");
        self.lives.iter().any(|life| life.told.iter().any(|(_, told)| *told == what))
    }
}
