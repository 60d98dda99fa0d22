//! Where the scenarios play: the people, their devices, and what is done with them again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::board::Notes;
use super::common::Result;
use super::common::machine::{USERS, Usage, memory};
use super::crowd::Crowd;
use super::talk::{Group, Outcome, Planned, Talk, To};
use super::verdict::{Verdict, expected, judge};

/// How long messages may be on their way once all are acknowledged.
const PATIENCE: Duration = Duration::from_mins(1);

/// For how long more is listened, as something may come twice.
const LINGER: Duration = Duration::from_millis(500);

/// How often natter's memory is looked at.
const SAMPLE: Duration = Duration::from_millis(100);

/// Of the words that people write.
const TEXT: &str = "Shall we meet at the station at half past six? The train is late.";

/// All that the scenarios need.
pub struct Stage {
    pub talk: Talk,
    pub crowd: Crowd,
    /// natter's process id.
    pub server: u32,
    /// A group of all people, once there is one.
    group: Option<Group>,
}

/// What a phase came to.
#[derive(Debug, Default)]
pub struct Measured {
    pub verdict: Verdict,
    pub errors: Vec<String>,
    /// natter's resident memory before, at most and after, in MiB.
    pub memory: [u64; 3],
    pub cores: [f64; USERS.len()],
}

impl Measured {
    /// How many things went wrong.
    pub fn wrong(&self) -> usize {
        self.verdict.wrong() + self.errors.len()
    }
}

impl Stage {
    pub fn new(talk: Talk, crowd: Crowd, server: u32) -> Self {
        Self { talk, crowd, server, group: None }
    }

    pub fn people(&self) -> usize {
        self.talk.people.len()
    }

    /// How many pairs of people write to each other.
    pub fn pairs(&self) -> usize {
        self.people() / 2
    }

    /// So many messages a second, from one of a pair to the other, pair after pair and in turn.
    pub fn direct(&self, count: usize, rate: u32) -> Vec<Planned> {
        let text: Arc<str> = TEXT.into();
        let message = |number: usize| {
            let (pair, turn) = (number % self.pairs(), number / self.pairs() % 2);
            let (from, to) = (2 * pair + turn, 2 * pair + 1 - turn);
            Planned { due: nth(number, rate), from, to: To::Person(to), text: text.clone() }
        };
        (0..count).map(message).collect()
    }

    /// So many messages a second to a group, from the last of its members.
    pub fn to_group(group: &Group, count: usize, rate: u32, text: Option<&str>) -> Vec<Planned> {
        let text: Arc<str> = text.unwrap_or(TEXT).into();
        let message = |number: usize| Planned {
            due: nth(number, rate),
            from: group.members - 1,
            to: To::Group(group.clone()),
            text: text.clone(),
        };
        (0..count).map(message).collect()
    }

    /// The group of all people; makes it, and waits until everyone has heard of it.
    pub async fn group(&mut self) -> Result<Group> {
        if let Some(group) = &self.group {
            return Ok(group.clone());
        }
        let group = self.talk.group(self.people()).await?;
        self.settle(Self::to_group(&group, 1, 1, None)).await?;
        Ok(self.group.insert(group).clone())
    }

    /// Sends, and waits until all is there; fails where anything goes wrong. For what must have
    /// been before something is measured.
    pub async fn settle(&mut self, plan: Vec<Planned>) -> Result<()> {
        let measured = self.phase(plan, |_| false).await?;
        if measured.wrong() == 0 {
            return Ok(());
        }
        let (verdict, errors) = (&measured.verdict, &measured.errors);
        let Verdict { lost, doubled, astray, .. } = verdict;
        let first = errors.first().map_or("", String::as_str);
        Err(format!("before measuring: {lost} lost, {doubled} doubled, {astray} astray; {first}")
            .into())
    }

    /// Sends, waits until all is there, and says how it came.
    pub async fn phase(
        &mut self,
        plan: Vec<Planned>,
        is_measured: impl Fn(&Planned) -> bool,
    ) -> Result<Measured> {
        let (usage, began) = (Usage::now(Some(self.server)), Instant::now());
        let sampling = Sampling::start(self.server);
        let outcome = self.talk.send(plan).await?;
        let notes = self.arrived(&outcome).await;
        let cores = usage.since(began.elapsed());
        let verdict = judge(&self.crowd, &outcome.sent, &notes.arrivals, is_measured);
        let mut errors = outcome.errors;
        errors.extend(notes.complaints());
        Ok(Measured { verdict, errors, memory: sampling.end(), cores })
    }

    /// Waits until all that was sent has arrived, and takes the notes.
    pub async fn arrived(&self, outcome: &Outcome) -> Notes {
        let expected = expected(&self.crowd, &outcome.sent);
        self.crowd.board.wait(PATIENCE, |notes| notes.arrivals.len() >= expected).await;
        sleep(LINGER).await;
        self.crowd.board.take()
    }
}

/// When the message of this number is due, at so many a second.
fn nth(number: usize, rate: u32) -> Duration {
    Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate
}

/// A look at natter's memory, again and again.
struct Sampling {
    server: u32,
    before: u64,
    task: JoinHandle<()>,
    most: Arc<AtomicU64>,
}

impl Sampling {
    fn start(server: u32) -> Self {
        let before = resident(server);
        let most = Arc::new(AtomicU64::new(before));
        let highest = most.clone();
        let task = tokio::spawn(async move {
            loop {
                sleep(SAMPLE).await;
                highest.fetch_max(resident(server), Ordering::Relaxed);
            }
        });
        Self { server, before, task, most }
    }

    fn end(self) -> [u64; 3] {
        self.task.abort();
        let after = resident(self.server);
        let most = self.most.load(Ordering::Relaxed);
        [self.before, most.max(after), after]
    }
}

fn resident(server: u32) -> u64 {
    memory(server).map_or(0, |(now, _)| now)
}
