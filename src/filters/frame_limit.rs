//! The frames of a WebSocket client, counted as they come.
//!
//! Counted below the protocol, because a message shows neither how many fragments it came in nor
//! those of one that never ends.

use std::io;
use std::io::IoSlice;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames of one client in a second, whatever their kind.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(30).expect("not zero");

/// The client has sent more frames than it may.
#[derive(Debug, thiserror::Error)]
#[error("too many frames")]
pub struct TooManyFrames;

impl TooManyFrames {
    /// Whether this is why reading failed.
    #[must_use]
    pub fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

/// A connection whose frames are counted. Reading fails once, with [`TooManyFrames`], where a
/// frame too many begins; what comes after that is no longer looked at.
pub struct FrameLimited<T> {
    io: T,
    limit: DefaultDirectRateLimiter,
    frame: Frame,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Counting,
    /// A frame too many has begun.
    Exceeded,
    /// The reader knows.
    Reported,
}

/// Where in a frame the next byte is (RFC 6455 §5.2).
#[derive(Debug)]
enum Frame {
    /// In the header, up to the end of the length.
    Header { bytes: [u8; 10], read: usize },
    /// In the masking key or the payload; so many bytes are left.
    Rest(u64),
}

impl Frame {
    const START: Self = Self::Header { bytes: [0; 10], read: 0 };

    /// Takes the next byte.
    fn step(&mut self, byte: u8) {
        match self {
            Self::Rest(left) => {
                *left -= 1;
            }
            Self::Header { bytes, read } => {
                bytes[*read] = byte;
                *read += 1;
                if let Some(rest) = rest(&bytes[..*read]) {
                    *self = Self::Rest(rest);
                }
            }
        }
        if matches!(self, Self::Rest(0)) {
            *self = Self::START;
        }
    }

    /// Skips what is left of the payload in `bytes`, or takes one byte of a header. Returns how
    /// many bytes that was.
    fn advance(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Rest(left) if *left > 1 => {
                let skipped = usize::try_from(*left - 1).unwrap_or(usize::MAX).min(bytes.len());
                *left -= skipped as u64;
                skipped
            }
            _ => {
                self.step(bytes[0]);
                1
            }
        }
    }

    fn is_start(&self) -> bool {
        matches!(self, Self::Header { read: 0, .. })
    }
}

/// How many bytes of masking key and payload follow a header; `None` until it is complete.
fn rest(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let length = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(header.get(2..4)?.try_into().ok()?)),
        127 => u64::from_be_bytes(header.get(2..10)?.try_into().ok()?),
        short => u64::from(short),
    };
    let key = if second & 0x80 == 0 { 0 } else { 4 };
    Some(length.saturating_add(key))
}

impl<T> FrameLimited<T> {
    /// Counts the frames that come over `io`.
    pub fn new(io: T) -> Self {
        let limit = RateLimiter::direct(Quota::per_second(PER_SECOND));
        Self { io, limit, frame: Frame::START, state: State::Counting }
    }

    /// How many of these bytes are within the limit.
    fn count(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.frame.is_start() && self.limit.check().is_err() {
                self.state = State::Exceeded;
                return at;
            }
            at += self.frame.advance(&bytes[at..]);
        }
        at
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for FrameLimited<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.state == State::Counting {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            let within = self.count(&buf.filled()[before..]);
            buf.set_filled(before + within);
            if within > 0 || self.state == State::Counting {
                return Poll::Ready(Ok(()));
            }
        }
        if self.state == State::Exceeded {
            self.state = State::Reported;
            return Poll::Ready(Err(io::Error::other(TooManyFrames)));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for FrameLimited<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// A frame with a masking key or without.
    fn frame(length: u64, is_masked: bool) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![0x81];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => frame.push(mask | short),
            (_, Ok(medium)) => {
                frame.push(mask | 0x7e);
                frame.extend(medium.to_be_bytes());
            }
            _ => {
                frame.push(mask | 0x7f);
                frame.extend(length.to_be_bytes());
            }
        }
        let rest = usize::try_from(length).expect("small") + if is_masked { 4 } else { 0 };
        frame.resize(frame.len() + rest, 0x55);
        frame
    }

    /// Whether reading everything that comes in pieces of this size fails, and how much came.
    async fn read_all(sent: &[u8], size: usize) -> (bool, usize) {
        let mut limited = FrameLimited::new(sent);
        let (mut space, mut got) = (vec![0; size], 0);
        loop {
            match limited.read(&mut space).await {
                Ok(0) => return (false, got),
                Ok(read) => got += read,
                Err(error) => {
                    assert!(TooManyFrames::is_cause_of(&error));
                    return (true, got);
                }
            }
        }
    }

    #[tokio::test]
    async fn the_frame_too_many_is_where_reading_fails() {
        for size in [1, 3, 100, 1 << 20] {
            let thirty: Vec<u8> = (0..30).flat_map(|_| frame(0, true)).collect();
            assert_eq!(read_all(&thirty, size).await, (false, thirty.len()));
            // The limit grows back while a slow machine reads.
            let (failed, got) = read_all(&frame(0, true).repeat(3000), size).await;
            assert!(failed && got >= thirty.len() && got % frame(0, true).len() == 0, "{got}");
        }
    }

    #[tokio::test]
    async fn what_comes_after_it_is_passed_on() {
        let sent = frame(0, true).repeat(3000);
        let mut limited = FrameLimited::new(sent.as_slice());
        let mut got = Vec::new();
        limited.read_to_end(&mut got).await.expect_err("too many");
        limited.read_to_end(&mut got).await.expect("no longer looked at");
    }

    proptest! {
        /// Frames of any length are told apart, however they come.
        #[test]
        fn frames_of_any_length_are_counted(
            lengths in proptest::collection::vec(
                prop_oneof![0..300_u64, Just(125), Just(126), Just(127), 65_530..65_540_u64],
                1..40,
            ),
            is_masked: bool,
            size in 1..5000_usize,
        ) {
            let sent: Vec<u8> =
                lengths.iter().flat_map(|length| frame(*length, is_masked)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let (failed, _) = runtime.block_on(read_all(&sent, size));
            prop_assert!(!failed || lengths.len() > 30);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            sent in proptest::collection::vec(any::<u8>(), 0..2000),
            size in 1..100_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(read_all(&sent, size));
        }
    }
}
