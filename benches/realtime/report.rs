//! What is printed of this tool's own.

use std::time::Duration;

use super::board::{Notes, shown};
use super::common::report::{busy, errors as print_errors, millis, percentile};
use super::stage::Measured;
use super::verdict::Verdict;

/// Times under one name.
pub struct Row(pub &'static str, pub Vec<Duration>);

pub fn title(what: &str) {
    println!("\n{what}");
}

pub fn rows(rows: Vec<Row>) {
    println!(
        "  {:<36} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "count", "p50 ms", "p99 ms", "p99.9 ms", "max ms"
    );
    for Row(name, mut times) in rows {
        times.sort_unstable();
        let [p50, p99, p999, max] = [500, 990, 999, 1000].map(|p| millis(percentile(&times, p)));
        println!("  {name:<36} {:>9} {p50:>9} {p99:>9} {p999:>9} {max:>9}", times.len());
    }
}

/// Prints what else there is to say of a phase; returns how many things went wrong.
pub fn phase(measured: &Measured) -> usize {
    let [before, most, after] = measured.memory;
    println!("  natter's RSS: {before} MiB before, {most} MiB at most, {after} MiB after");
    busy(&measured.cores);
    came(&measured.verdict) + errors(&measured.errors)
}

/// Prints what did not come as it was to; returns how many things that are.
pub fn came(verdict: &Verdict) -> usize {
    let Verdict { lost, doubled, astray, .. } = verdict;
    println!("  lost: {lost}, doubled: {doubled}, to the wrong socket: {astray}");
    verdict.wrong()
}

/// Prints errors, and returns how many there are.
pub fn errors(errors: &[String]) -> usize {
    print_errors(errors);
    errors.len()
}

/// Prints how sockets ended that had stalled, and returns how many did not end as they were to.
pub fn ends(stalled: usize, notes: &Notes) -> usize {
    let mut codes = notes.ends.clone();
    codes.sort_unstable();
    let groups = codes.chunk_by(|one, other| one == other);
    let groups: Vec<String> =
        groups.map(|codes| format!("{} with {}", codes.len(), shown(codes[0]))).collect();
    let closed = if groups.is_empty() { "none".to_owned() } else { groups.join(", ") };
    println!("\nof {stalled} sockets that stalled, closed: {closed}");
    print_errors(&notes.errors);
    stalled - codes.iter().filter(|code| **code == Some(4413)).count()
}
