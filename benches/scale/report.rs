//! What is printed.

use std::time::Duration;

use super::mix::{Kind, Tally};

pub fn machine(when: &str) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    println!("machine: {cores} cores, load average {} {when}", load.join(" "));
}

/// Prints both sides of each kind, and how many times as long the large one took.
pub fn table(populations: &[(u32, u32); 2], tallies: &[Tally; 2]) {
    let build = if cfg!(debug_assertions) { "dev build" } else { "optimised build" };
    let [(users, messages), (fewer, less)] = populations;
    println!("\nnatter {}, {build}", env!("CARGO_PKG_VERSION"));
    println!("large: {users} users, {messages} messages; small: {fewer} users, {less} messages\n");
    println!("| | requests | p50 ms, small | large | ratio | p99 ms, small | large | ratio |");
    println!("|---|---|---|---|---|---|---|---|");
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let [large, small] = tallies.each_ref().map(|tally| {
            let mut times = tally.times[at].clone();
            times.sort_unstable();
            times
        });
        let columns = [50, 99].map(|percent| {
            let [large, small] = [&large, &small].map(|times| millis(times, percent));
            format!("{small:.1} | {large:.1} | {:.2}", large / small)
        });
        println!("| {} | {} | {} |", name(kind), large.len(), columns.join(" | "));
    }
    for (side, tally) in ["large", "small"].iter().zip(tallies) {
        for error in tally.errors.iter().take(5) {
            println!("{side}: {error}");
        }
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Newest => "history, newest page",
        Kind::Older => "history, the page before",
        Kind::Inbox => "GET /conversations",
        Kind::Send => "POST /messages",
        Kind::Search => "GET /users?q=",
        Kind::Notifications => "GET /notifications",
    }
}

/// The time that `percent` of these, sorted, do not exceed, in milliseconds.
fn millis(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    let time = sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
    time.as_secs_f64() * 1000.0
}
