//! Limits over hours and days, which the store counts in the transaction of the change that they
//! limit: they hold exactly, across instances, and outlive Redis.

use std::time::Duration;

use super::clock::Timestamp;

/// A subject of a limit: a keyed hash, so that the rows list neither addresses nor accounts.
pub type WindowKey = [u8; 32];

/// At most `most` times in any `window`, for one subject.
#[derive(Debug, Clone, Copy)]
pub struct RateRule {
    /// The subject.
    pub key: WindowKey,
    /// How many times; the row keeps as many moments.
    pub most: usize,
    /// In how long.
    pub window: Duration,
}

impl RateRule {
    /// Adds `now` to the moments that were counted, which leaves out those that are over; or says
    /// how long the subject has to wait, at least a second, where there are as many as may be.
    pub fn count(&self, times: &mut Vec<Timestamp>, now: Timestamp) -> Result<(), Duration> {
        times.retain(|at| *at > now.minus(self.window));
        if let Some(oldest) = times.first().filter(|_| times.len() >= self.most) {
            return Err(oldest.plus(self.window).since(now).max(Duration::from_secs(1)));
        }
        times.push(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides() {
        let rule = RateRule { key: [0; 32], most: 2, window: Duration::from_secs(10) };
        let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + 1000 * seconds);
        let mut times = Vec::new();
        assert_eq!(rule.count(&mut times, at(0)), Ok(()));
        assert_eq!(rule.count(&mut times, at(4)), Ok(()));
        assert_eq!(rule.count(&mut times, at(7)), Err(Duration::from_secs(3)));
        assert_eq!(times, [at(0), at(4)], "what is refused does not count");
        assert_eq!(rule.count(&mut times, at(10)), Ok(()));
        assert_eq!(times, [at(4), at(10)]);
        let short = Timestamp::from_millis(at(14).millis() - 1);
        assert_eq!(rule.count(&mut times, short), Err(Duration::from_secs(1)), "at least a second");
    }
}
