//! Time and randomness: the only place that asks the machine for either.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use tokio::time::Instant;
use utoipa::ToSchema;

/// How far the clocks of instances may be apart, or one be set, before more than a wait follows.
pub const CLOCK_TOLERANCE: Duration = Duration::from_mins(1);

/// A moment in milliseconds since the Unix epoch, UTC; written as RFC 3339 with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-03-01T09:30:00.000Z")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The latest moment that RFC 3339 can write: the end of the year 9999.
    const MAX: i64 = 253_402_300_799_999;

    /// A moment from milliseconds since the epoch; clamped to the years 1970 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, Self::MAX))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, as JWT's `NumericDate` counts (RFC 7519 §2).
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment that much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis_of(duration)))
    }

    /// The moment that much earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(millis_of(duration)))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// Reads RFC 3339 with any offset; `None` if it is not, or is outside the years 1970 to 9999.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()?;
        (0..=Self::MAX).contains(&millis).then_some(Self(millis))
    }
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|at| at.format(format).ok());
        f.write_str(text.as_deref().unwrap_or("1970-01-01T00:00:00.000Z"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("must be an RFC 3339 time"))
    }
}

/// Tells the time; a manual one stands still until a test moves it. Clones share the hands.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    /// The machine's clocks; the moment is where [`Clock::elapsed`] begins.
    System(Instant),
    /// Hands that only a test moves.
    Manual(Arc<Hands>),
}

/// The time of a manual clock, in milliseconds.
#[derive(Debug)]
struct Hands {
    /// The time of day at the start.
    start: i64,
    /// The time of day; a test may set it back.
    wall: AtomicI64,
    /// The time that passed; never goes back.
    elapsed: AtomicI64,
}

impl Clock {
    /// Follows the machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// Starts at the machine's time and moves only by [`Clock::advance`] and [`Clock::set_back`].
    #[must_use]
    pub fn manual() -> Self {
        let start = machine_millis();
        let (wall, elapsed) = (start.into(), 0.into());
        Self(Source::Manual(Arc::new(Hands { start, wall, elapsed })))
    }

    /// The present moment. An operator or NTP may set the machine's clock back: short intervals
    /// inside one process are measured with [`Clock::elapsed`].
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(match &self.0 {
            Source::System(_) => machine_millis(),
            Source::Manual(hands) => hands.wall.load(Ordering::SeqCst),
        })
    }

    /// The time that passed since some fixed moment before; never goes back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System(start) => start.elapsed(),
            Source::Manual(hands) => {
                let millis = hands.elapsed.load(Ordering::SeqCst);
                Duration::from_millis(u64::try_from(millis).unwrap_or(0))
            }
        }
    }

    /// The time of a store's own clock, which nobody sets back with an instance's: `None` for the
    /// system's, where the store tells the time itself.
    #[must_use]
    pub fn store_now(&self) -> Option<Timestamp> {
        match &self.0 {
            Source::System(_) => None,
            Source::Manual(hands) => Some(Timestamp::from_millis(hands.start).plus(self.elapsed())),
        }
    }

    /// Moves a manual clock forward; the system's cannot be moved and stays.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.wall.fetch_add(millis_of(by), Ordering::SeqCst);
            hands.elapsed.fetch_add(millis_of(by), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock's time of day back, as an operator may set a machine's.
    pub fn set_back(&self, by: Duration) {
        if let Source::Manual(hands) = &self.0 {
            hands.wall.fetch_sub(millis_of(by), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
fn machine_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis_of)
}

/// Bytes from the operating system's generator, fit for keys and tokens.
///
/// # Panics
/// When the operating system has no randomness to give: nothing safe could follow.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the randomness that everything else asks")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc_with_milliseconds() {
        let at = Timestamp::from_millis(1_700_000_000_007);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.007Z");
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20.007+01:00"), Some(at));
        assert_eq!(Timestamp::parse("2023-11-14 22:13"), None);
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), None);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual();
        let twin = clock.clone();
        let before = clock.now();
        twin.advance(Duration::from_secs(61));
        assert_eq!(clock.now().since(before), Duration::from_secs(61));
        assert_eq!(before.since(clock.now()), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_no_time_back() {
        let clock = Clock::manual();
        clock.advance(Duration::from_mins(5));
        let (before, elapsed) = (clock.now(), clock.elapsed());
        clock.set_back(Duration::from_hours(1));
        assert_eq!(before.since(clock.now()), Duration::from_hours(1));
        assert_eq!(clock.elapsed(), elapsed);
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.elapsed(), elapsed + Duration::from_secs(1));
    }
}
