//! What every connection does while it is measured: four reads to one send, one after the other.

use std::time::Duration;

use futures_util::future::try_join_all;
use http::StatusCode;
use natter::internals::domain::random_bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::common::Result;
use super::common::client::{Connection, Connector};
use super::common::people::People;
use super::talks::{message, peer};

/// What is asked of natter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `GET /messages/{user_id}`
    History,
    /// `GET /notifications`
    Notifications,
    /// `POST /messages`
    Send,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::History, Self::Notifications, Self::Send];

    /// Two sends in ten, and as many of either read.
    fn of_turn(turn: usize) -> Self {
        match turn % 5 {
            0 => Self::Send,
            1 | 3 => Self::History,
            _ => Self::Notifications,
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    /// How long each connection waits between its requests, on average; `None`: not at all.
    pub think: Option<Duration>,
    /// For how long requests are begun.
    pub time: Duration,
}

/// What requests came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// How long each successful one took, by [`Kind`].
    pub times: [Vec<Duration>; 3],
    /// What the others got instead.
    pub errors: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (times, others) in self.times.iter_mut().zip(other.times) {
            times.extend(others);
        }
        self.errors.extend(other.errors);
    }
}

/// A connection and who is signed in on it.
pub struct Client {
    connection: Connection,
    people: People,
    number: usize,
    turn: usize,
}

impl Client {
    /// Opens so many connections at once; also returns how long each took.
    pub async fn open(
        connector: &Connector,
        people: &People,
        count: u32,
    ) -> Result<(Vec<Self>, Vec<Duration>)> {
        let opening = (0..count as usize).map(async |number| {
            let began = Instant::now();
            let connection = connector.open().await?;
            let people = people.clone();
            // Not all at the same point of the mix.
            Ok((Self { connection, people, number, turn: number }, began.elapsed()))
        });
        let opened: Result<Vec<_>> = try_join_all(opening).await;
        Ok(opened?.into_iter().unzip())
    }

    /// One request; returns what was refused, fails where the connection did.
    async fn request(&mut self, kind: Kind, pick: u8) -> Result<Option<String>> {
        let token = Some(&self.people.get(self.number).token);
        let peer = peer(&self.people, self.number, pick);
        let (answer, status) = match kind {
            Kind::History => {
                let path = format!("/messages/{}", peer.id);
                (self.connection.get(&path, token).await?, StatusCode::OK)
            }
            Kind::Notifications => {
                (self.connection.get("/notifications", token).await?, StatusCode::OK)
            }
            Kind::Send => {
                let message = message(peer);
                (self.connection.post("/messages", token, &message).await?, StatusCode::CREATED)
            }
        };
        Ok((answer.status != status).then(|| answer.refusal()))
    }

    /// Makes requests until the phase ends. A connection that breaks is not used again.
    async fn work(mut self, phase: Phase, began: Instant) -> (Option<Self>, Tally) {
        let mut tally = Tally::default();
        let end = began + phase.time;
        if let Some(think) = phase.think {
            // Somewhere in the first pause.
            sleep(think * u32::from(random_byte()) / 255).await;
        }
        while Instant::now() < end {
            let kind = Kind::of_turn(self.turn);
            self.turn += 1;
            let asked = Instant::now();
            match self.request(kind, random_byte()).await {
                Ok(None) => tally.times[kind as usize].push(asked.elapsed()),
                Ok(Some(refusal)) => tally.errors.push(format!("{kind:?}: {refusal}")),
                Err(error) => {
                    tally.errors.push(format!("{kind:?}: {error}"));
                    return (None, tally);
                }
            }
            if let Some(think) = phase.think {
                // From half of it to half as much again.
                let pause = think / 2 + think * u32::from(random_byte()) / 255;
                sleep_until((Instant::now() + pause).min(end)).await;
            }
        }
        (Some(self), tally)
    }
}

/// Runs a phase on every connection; returns those still good and what came of it all.
pub async fn run(clients: Vec<Client>, phase: Phase) -> Result<(Vec<Client>, Tally)> {
    let began = Instant::now();
    let mut working: JoinSet<_> =
        clients.into_iter().map(|client| client.work(phase, began)).collect();
    let (mut good, mut tally) = (Vec::new(), Tally::default());
    while let Some(done) = working.join_next().await {
        let (client, part) = done?;
        good.extend(client);
        tally.add(part);
    }
    Ok((good, tally))
}

fn random_byte() -> u8 {
    let [byte] = random_bytes();
    byte
}
