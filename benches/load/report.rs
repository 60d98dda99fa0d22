//! What is printed of this tool's own.

use std::time::Duration;

use super::common::machine::USERS;
use super::common::report::{build, busy, errors, millis, percentile};
use super::mix::{Kind, Phase, Tally};
use super::talks::conversations;

pub fn prepared(people: usize, messages: usize, elapsed: Duration) {
    let (conversations, seconds) = (conversations(people), elapsed.as_secs_f64());
    build();
    println!(
        "prepared: {people} users, {conversations} conversations, {messages} messages \
         in {seconds:.1} s"
    );
}

/// Prints a phase's table, and returns how many errors it had.
pub fn phase(
    phase: Phase,
    connections: usize,
    tally: Tally,
    elapsed: Duration,
    cores: &[f64; USERS.len()],
) -> usize {
    let pace = match phase.think {
        Some(think) => format!("paced, {} s between requests", think.as_secs_f64()),
        None => "flat out, no pause between requests".to_owned(),
    };
    println!("\n{pace}: {connections} connections, {:.1} s", elapsed.as_secs_f64());
    println!(
        "  {:<24} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "requests", "per s", "p50 ms", "p95 ms", "p99 ms", "max ms"
    );
    let mut all = Vec::new();
    for (kind, times) in Kind::ALL.into_iter().zip(tally.times) {
        all.extend_from_slice(&times);
        row(name(kind), times, elapsed);
    }
    row("all", all, elapsed);
    busy(cores);
    errors(&tally.errors);
    tally.errors.len()
}

fn row(name: &str, mut times: Vec<Duration>, elapsed: Duration) {
    times.sort_unstable();
    let count = times.len();
    let rate = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64();
    let [p50, p95, p99, max] = [500, 950, 990, 1000].map(|p| millis(percentile(&times, p)));
    println!("  {name:<24} {count:>9} {rate:>8.0} {p50:>8} {p95:>8} {p99:>8} {max:>8}");
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::History => "GET /messages/{user_id}",
        Kind::Notifications => "GET /notifications",
        Kind::Send => "POST /messages",
    }
}
