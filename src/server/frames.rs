//! The frames of an h2 client: those that no request and no answer gives a reason for are counted.
//!
//! h2 bounds by itself empty and tiny `DATA`, `CONTINUATION`, streams that it must reset, and
//! streams that are reset before they are taken up. It answers any number of `PING` and `SETTINGS`,
//! and takes any number of `PRIORITY`, `WINDOW_UPDATE`, `RST_STREAM` and unknown frames.

use std::time::Duration;

use tokio::time::Instant;

/// The connection preface and a frame's header (RFC 9113, 3.4 and 4.1).
const PREFACE: usize = 24;
const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;

/// Control frames of a client: at once, and in a second, beyond those that have a reason.
const CONTROL: Rate = Rate { at_once: 1000, per_second: 100 };

/// Streams that a client resets: at once, and in a second.
const RESETS: Rate = Rate { at_once: 500, per_second: 50 };

/// Control frames that a request is a reason for: window updates, priorities, a ping.
const PER_REQUEST: u64 = 4;

/// Bytes that were sent to the client, of which each lot is a reason for a window update.
const PER_UPDATE: usize = 512;

/// How often something may happen.
#[derive(Debug, Clone, Copy)]
struct Rate {
    at_once: u64,
    per_second: u64,
}

/// The rest of an allowance, in thousandths.
#[derive(Debug)]
struct Budget {
    rate: Rate,
    left: u64,
    since: Instant,
}

impl Budget {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: rate.at_once * 1000, since: now }
    }

    fn add(&mut self, times: u64) {
        self.left = self.left.saturating_add(times * 1000).min(self.rate.at_once * 1000);
    }

    /// Takes one. Returns whether there was one.
    fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.since);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.since += Duration::from_millis(millis);
        let refill = millis.saturating_mul(self.rate.per_second);
        self.left = self.left.saturating_add(refill).min(self.rate.at_once * 1000);
        self.left.checked_sub(1000).map(|left| self.left = left).is_some()
    }
}

/// Counts the frames of one client.
#[derive(Debug)]
pub(super) struct FrameMeter {
    /// Bytes until the next frame begins.
    skip: usize,
    header: [u8; HEADER],
    filled: usize,
    control: Budget,
    resets: Budget,
    /// Bytes sent that are not yet a reason for a window update.
    sent: usize,
}

impl FrameMeter {
    /// A meter for a connection that begins now, with its preface.
    pub fn new(now: Instant) -> Self {
        Self {
            skip: PREFACE,
            header: [0; HEADER],
            filled: 0,
            control: Budget::new(CONTROL, now),
            resets: Budget::new(RESETS, now),
            sent: 0,
        }
    }

    /// Notes bytes that were sent to the client.
    pub fn wrote(&mut self, bytes: usize) {
        self.sent += bytes;
        self.control.add((self.sent / PER_UPDATE) as u64);
        self.sent %= PER_UPDATE;
    }

    /// Notes bytes that came from the client. Returns whether its frames are within what it may.
    pub fn read(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        let mut is_within = true;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + wanted].copy_from_slice(&bytes[..wanted]);
            self.filled += wanted;
            bytes = &bytes[wanted..];
            if self.filled == HEADER {
                self.filled = 0;
                let [a, b, c, kind, ..] = self.header;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                is_within &= self.takes(kind, now);
            }
        }
        is_within
    }

    fn takes(&mut self, kind: u8, now: Instant) -> bool {
        match kind {
            DATA | CONTINUATION => true,
            HEADERS => {
                self.control.add(PER_REQUEST);
                true
            }
            RST_STREAM => self.resets.take(now),
            _ => self.control.take(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        frame.resize(HEADER + usize::from(length), 0xff);
        frame
    }

    fn meter() -> (FrameMeter, Instant) {
        let now = Instant::now();
        let mut meter = FrameMeter::new(now);
        assert!(meter.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now));
        (meter, now)
    }

    /// How many of these frames come before one too many.
    fn taken(meter: &mut FrameMeter, kind: u8, length: u8, now: Instant) -> usize {
        (0..100_000).take_while(|_| meter.read(&frame(kind, length), now)).count()
    }

    #[test]
    fn control_frames_are_counted_in_pieces_of_any_size() {
        for kind in [2, 4, 6, 8, 16, 200] {
            for size in [1, 2, 7, 1000] {
                let (mut meter, now) = meter();
                let flood = frame(kind, 8).repeat(1000);
                assert!(flood.chunks(size).all(|piece| meter.read(piece, now)), "{kind}");
                assert!(!meter.read(&frame(kind, 8), now), "{kind} in pieces of {size}");
            }
        }
    }

    #[test]
    fn time_requests_and_answers_are_reasons_for_more() {
        let (mut meter, now) = meter();
        assert_eq!(taken(&mut meter, 8, 4, now), 1000);
        assert_eq!(taken(&mut meter, 8, 4, now + Duration::from_millis(500)), 50);
        assert!(meter.read(&frame(HEADERS, 100), now));
        assert_eq!(taken(&mut meter, 8, 4, now), 4);
        for _ in 0..16 {
            meter.wrote(100);
        }
        assert_eq!(taken(&mut meter, 8, 4, now), 3);
        let late = now + Duration::from_hours(1);
        assert_eq!(taken(&mut meter, 6, 8, late), 1000, "no more than at first");
    }

    #[test]
    fn resets_are_counted_apart_and_data_is_not() {
        let (mut meter, now) = meter();
        assert_eq!(taken(&mut meter, DATA, 200, now), 100_000);
        for _ in 0..500 {
            assert!(meter.read(&frame(HEADERS, 50), now));
            assert!(meter.read(&frame(RST_STREAM, 4), now));
        }
        assert!(!meter.read(&frame(RST_STREAM, 4), now));
        assert_eq!(taken(&mut meter, 6, 8, now), 1000);
    }
}
