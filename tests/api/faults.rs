//! What is promised of messages and events when instances and databases fail in the middle of
//! things.
//!
//! `make test` runs all of it briefly, `make faults` for as long as `NATTER_FAULTS_KILLS` says.

mod crowd;
mod devices;
mod elections;
mod failpoints;
mod forgetting;
mod full;
mod hangups;
mod held;
mod kills;
mod leaving;
mod members;
mod net;
mod outage;
mod relaying;
mod storm;
mod unknown;

use std::time::Duration;

use natter::internals::domain::random_bytes;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::app::PATIENCE;
use crate::support::{Actor, Answer};

/// A number from the environment of a long run.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).unwrap_or_default();
    if text.is_empty() { default } else { text.parse().expect("a number") }
}

/// Where the random choices of this run begin.
fn seed() -> u64 {
    setting("NATTER_FAULTS_SEED", u64::from(u32::from_be_bytes(random_bytes())))
}

/// Random numbers that can be had again: `SplitMix64`.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("less than a usize")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }
}

/// Sends a message again and again, as a client does that got no answer, until it is taken.
async fn persist(actor: &Actor, body: &Value) -> Answer {
    let began = Instant::now();
    loop {
        let answer = actor.post("/messages", body.clone()).await;
        if answer.status == 201 {
            return answer;
        }
        answer.problem(503, "unavailable");
        assert!(began.elapsed() < PATIENCE, "not taken in {PATIENCE:?}: {body}");
        sleep(Duration::from_millis(50)).await;
    }
}
