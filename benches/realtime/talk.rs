//! Sending on a schedule that does not wait for natter: where it is slow, messages become late,
//! and the lateness counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::common::Result;
use super::common::client::{Connection, Connector};
use super::common::people::People;

/// From the opening of the connections to the first message.
const START: Duration = Duration::from_millis(200);

/// A group and who is in it, by numbers below this.
#[derive(Debug, Clone)]
pub struct Group {
    pub id: String,
    pub members: usize,
}

/// To whom a message goes.
#[derive(Debug, Clone)]
pub enum To {
    /// Someone, by number.
    Person(usize),
    Group(Group),
}

/// A message that is to be sent.
#[derive(Debug, Clone)]
pub struct Planned {
    /// After the beginning.
    pub due: Duration,
    pub from: usize,
    pub to: To,
    /// What its text goes on with.
    pub text: Arc<str>,
}

impl Planned {
    /// Whether this person is to have it.
    pub fn concerns(&self, person: usize) -> bool {
        match &self.to {
            To::Person(to) => person == self.from || person == *to,
            To::Group(group) => person < group.members,
        }
    }

    fn body(&self, people: &People, number: u32) -> Value {
        let text = format!("{number} {}", self.text);
        let once = format!("realtime-{number}");
        let (field, id) = match &self.to {
            To::Person(to) => ("recipient_user_id", &people.get(*to).id),
            To::Group(group) => ("group_id", &group.id),
        };
        json!({ field: id, "message": text, "client_message_id": once })
    }
}

/// A message that was sent and acknowledged.
#[derive(Debug)]
pub struct Sent {
    pub number: u32,
    pub planned: Planned,
    pub due: Instant,
    pub answered: Instant,
}

/// What sending came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order of their numbers.
    pub sent: Vec<Sent>,
    pub errors: Vec<String>,
    pub elapsed: Duration,
}

/// Whoever sends: numbers the messages of the whole run.
pub struct Talk {
    pub connector: Arc<Connector>,
    pub people: People,
    lanes: usize,
    next: u32,
}

/// What the lanes work off together.
struct Work {
    people: People,
    plan: Vec<Planned>,
    first: u32,
    began: Instant,
    taken: AtomicUsize,
}

impl Talk {
    pub fn new(connector: Arc<Connector>, people: People, lanes: usize) -> Self {
        Self { connector, people, lanes, next: 0 }
    }

    /// Sends each of these, which are in the order of their times, when it is due; or as soon
    /// after as one of the connections is free.
    pub async fn send(&mut self, plan: Vec<Planned>) -> Result<Outcome> {
        let opening = (0..self.lanes.min(plan.len())).map(|_| self.connector.open());
        let lanes = try_join_all(opening).await?;
        let first = self.next;
        self.next += u32::try_from(plan.len())?;
        let (people, began) = (self.people.clone(), Instant::now() + START);
        let work = Arc::new(Work { people, plan, first, began, taken: AtomicUsize::new(0) });
        let mut lanes: JoinSet<_> =
            lanes.into_iter().map(|lane| work.clone().through(lane)).collect();
        let mut outcome = Outcome::default();
        while let Some(done) = lanes.join_next().await {
            let part = done?;
            outcome.sent.extend(part.sent);
            outcome.errors.extend(part.errors);
        }
        outcome.sent.sort_by_key(|sent| sent.number);
        outcome.elapsed = began.elapsed();
        Ok(outcome)
    }

    /// Makes a group of the first so many people, owned by one of them.
    pub async fn group(&self, members: usize) -> Result<Group> {
        let ids: Vec<&str> = (1..members).map(|number| &*self.people.get(number).id).collect();
        let body = json!({ "group_name": format!("{members} members"), "members": ids });
        let owner = Some(&self.people.get(0).token);
        let mut connection = self.connector.open().await?;
        let group = connection.post("/groups", owner, &body).await?.expect(StatusCode::CREATED)?;
        let id = group["id"].as_str().ok_or("a group without an id")?.to_owned();
        Ok(Group { id, members })
    }
}

impl Work {
    async fn through(self: Arc<Self>, mut lane: Connection) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let at = self.taken.fetch_add(1, Ordering::Relaxed);
            let Some(planned) = self.plan.get(at) else { return outcome };
            let due = self.began + planned.due;
            sleep_until(due).await;
            match self.send(&mut lane, at, planned).await {
                Ok(number) => outcome.sent.push(Sent {
                    number,
                    planned: planned.clone(),
                    due,
                    answered: Instant::now(),
                }),
                Err(error) => outcome.errors.push(error.to_string()),
            }
        }
    }

    async fn send(&self, lane: &mut Connection, at: usize, planned: &Planned) -> Result<u32> {
        let number = self.first + u32::try_from(at)?;
        let body = planned.body(&self.people, number);
        let token = Some(&self.people.get(planned.from).token);
        let answer = lane.post("/messages", token, &body).await?;
        if answer.status == StatusCode::CREATED {
            return Ok(number);
        }
        Err(format!("POST /messages: {}", answer.refusal()).into())
    }
}
