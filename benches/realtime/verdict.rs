//! What was to come and what came.

use std::collections::HashMap;
use std::time::Duration;

use super::board::Arrival;
use super::crowd::Crowd;
use super::talk::{Planned, Sent};

/// How messages came to the devices of a crowd.
#[derive(Debug, Default)]
pub struct Verdict {
    /// From when a message was due to its arrival, at each device of those it was sent to.
    pub from_due: Vec<Duration>,
    /// The same from its acknowledgement; nothing where it came first.
    pub from_answer: Vec<Duration>,
    /// From when it was due until all devices had it that are to, the sender's too.
    pub whole: Vec<Duration>,
    /// From when it was due to its acknowledgement.
    pub answered: Vec<Duration>,
    /// How many did not come to a device that is to have them, or came to it again, or to another.
    pub lost: usize,
    pub doubled: usize,
    pub astray: usize,
}

impl Verdict {
    /// How many things are wrong.
    pub fn wrong(&self) -> usize {
        self.lost + self.doubled + self.astray
    }
}

/// How many arrivals there are to be.
pub fn expected(crowd: &Crowd, sent: &[Sent]) -> usize {
    sent.iter().map(|message| crowd.count(&message.planned)).sum()
}

/// Compares all that came to a crowd with what was sent; times only of those messages that are
/// to be measured.
pub fn judge(
    crowd: &Crowd,
    sent: &[Sent],
    arrivals: &[Arrival],
    is_measured: impl Fn(&Planned) -> bool,
) -> Verdict {
    let mut came: HashMap<u32, Vec<&Arrival>> = HashMap::new();
    for arrival in arrivals {
        came.entry(arrival.number).or_default().push(arrival);
    }
    let mut verdict = Verdict::default();
    for message in sent {
        let mut came = came.remove(&message.number).unwrap_or_default();
        came.sort_by_key(|arrival| (arrival.device, arrival.at));
        let all = came.len();
        came.dedup_by_key(|arrival| arrival.device);
        verdict.doubled += all - came.len();
        let distinct = came.len();
        came.retain(|arrival| message.planned.concerns(crowd.owners[arrival.device]));
        verdict.astray += distinct - came.len();
        verdict.lost += crowd.count(&message.planned) - came.len();
        if is_measured(&message.planned) {
            verdict.measure(crowd, message, &came);
        }
    }
    // Of messages that were refused, or of another phase.
    verdict.astray += came.values().map(Vec::len).sum::<usize>();
    verdict
}

impl Verdict {
    fn measure(&mut self, crowd: &Crowd, message: &Sent, came: &[&Arrival]) {
        self.answered.push(message.answered - message.due);
        for arrival in came {
            if crowd.owners[arrival.device] != message.planned.from {
                self.from_due.push(arrival.at - message.due);
                self.from_answer.push(arrival.at.saturating_duration_since(message.answered));
            }
        }
        if let Some(last) = came.iter().map(|arrival| arrival.at).max() {
            self.whole.push(last - message.due);
        }
    }
}
