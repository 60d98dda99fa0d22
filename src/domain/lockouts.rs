//! Lockouts: how many wrong passwords in a row are taken, and how long the pauses are then.

use std::time::Duration;

/// How many wrong passwords in a row have no pause between them.
pub const FREE_ATTEMPTS: u32 = 5;

/// The pause after the last of those, doubled by each further one …
const FIRST: Duration = Duration::from_secs(15);

/// … up to this.
const LONGEST: Duration = Duration::from_mins(15);

/// For how long the last wrong password is remembered.
pub const REMEMBERED: Duration = Duration::from_hours(24);

/// The pauses after the [`FREE_ATTEMPTS`]th wrong password in a row, the one after it, and so on; the last
/// of them holds for all that follow.
#[must_use]
pub fn pauses() -> Vec<Duration> {
    let longer = |pause: &Duration| (*pause < LONGEST).then(|| (*pause * 2).min(LONGEST));
    std::iter::successors(Some(FIRST), longer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_quarter_of_an_hour() {
        let seconds: Vec<u64> = pauses().iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [15, 30, 60, 120, 240, 480, 900]);
    }
}
