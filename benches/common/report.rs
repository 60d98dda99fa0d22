//! What every tool prints, and in which words.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::machine;
use super::machine::USERS;

/// How many different errors, or complaints in the log, are shown.
const LINES_SHOWN: usize = 5;

pub fn machine(when: &str) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = machine::load_average();
    println!("machine: {cores} cores, load average {load} {when}");
}

pub fn build() {
    let build = if cfg!(debug_assertions) { "dev build" } else { "optimised build" };
    println!("natter {}, {build}", env!("CARGO_PKG_VERSION"));
}

/// Prints how long it took to open connections, of this kind, all at once.
pub fn opened(kind: &str, elapsed: Duration, mut each: Vec<Duration>) {
    each.sort_unstable();
    println!(
        "connected: {} {kind} in {:.2} s (each: p50 {} ms, p99 {} ms, max {} ms)",
        each.len(),
        elapsed.as_secs_f64(),
        millis(percentile(&each, 500)),
        millis(percentile(&each, 990)),
        millis(percentile(&each, 1000)),
    );
}

pub fn memory(server: Option<u32>, when: &str) {
    if let Some((now, most)) = server.and_then(machine::memory) {
        println!("memory: natter's RSS {now} MiB {when}, at most {most} MiB so far");
    }
}

pub fn busy(cores: &[f64; USERS.len()]) {
    let known = USERS.iter().zip(cores).filter(|(_, cores)| **cores > 0.0);
    let busy = known.map(|(user, cores)| format!("{user} {cores:.2}"));
    println!("  cores busy: {}", busy.collect::<Vec<_>>().join(", "));
}

/// Prints how many errors there were, and which most.
pub fn errors(errors: &[String]) {
    println!("  errors: {}", errors.len());
    often(errors);
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

/// The time that so many in a thousand of these, sorted, do not exceed.
pub fn percentile(sorted: &[Duration], per_mille: usize) -> Duration {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

pub fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
