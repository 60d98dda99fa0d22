//! What is printed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::machine::{self, USERS};
use super::mix::{Kind, Phase, Tally};
use super::people::conversations;

/// How many different errors, or complaints in the log, are shown.
const LINES_SHOWN: usize = 5;

pub fn machine(when: &str) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = machine::load_average();
    println!("machine: {cores} cores, load average {load} {when}");
}

pub fn prepared(people: usize, messages: usize, elapsed: Duration) {
    let (conversations, seconds) = (conversations(people), elapsed.as_secs_f64());
    let build = if cfg!(debug_assertions) { "dev build" } else { "optimised build" };
    println!("natter {}, {build}", env!("CARGO_PKG_VERSION"));
    println!(
        "prepared: {people} users, {conversations} conversations, {messages} messages \
         in {seconds:.1} s"
    );
}

pub fn connected(count: usize, elapsed: Duration, mut each: Vec<Duration>) {
    each.sort_unstable();
    println!(
        "connected: {count} TLS connections, opened at once, all open and answered in {:.2} s \
         (each: p50 {} ms, p99 {} ms, max {} ms)",
        elapsed.as_secs_f64(),
        millis(percentile(&each, 50)),
        millis(percentile(&each, 99)),
        millis(percentile(&each, 100)),
    );
}

pub fn memory(server: Option<u32>, when: &str) {
    if let Some((now, most)) = server.and_then(machine::memory) {
        println!("memory: natter's RSS {now} MiB {when}, at most {most} MiB so far");
    }
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
    let known = USERS.iter().zip(cores).filter(|(_, cores)| **cores > 0.0);
    let busy = known.map(|(user, cores)| format!("{user} {cores:.2}"));
    println!("  cores busy: {}", busy.collect::<Vec<_>>().join(", "));
    println!("  errors: {}", tally.errors.len());
    often(&tally.errors);
    tally.errors.len()
}

fn row(name: &str, mut times: Vec<Duration>, elapsed: Duration) {
    times.sort_unstable();
    let count = times.len();
    let rate = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64();
    let [p50, p95, p99, max] = [50, 95, 99, 100].map(|p| millis(percentile(&times, p)));
    println!("  {name:<24} {count:>9} {rate:>8.0} {p50:>8} {p95:>8} {p99:>8} {max:>8}");
}

/// Prints the most frequent of these lines, and how often each is there.
pub fn often(lines: &[String]) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        *times.entry(line).or_default() += 1;
    }
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_by_key(|(_, times)| Reverse(*times));
    for (line, times) in times.into_iter().take(LINES_SHOWN) {
        println!("    {times} × {line}");
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::History => "GET /messages/{user_id}",
        Kind::Notifications => "GET /notifications",
        Kind::Send => "POST /messages",
    }
}

/// The time that `percent` of these, sorted, do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
