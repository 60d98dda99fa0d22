//! The socket as hyper sees it: noted by the pulse, holding its place, closed with patience.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::frames::FrameMeter;
use super::places::Place;
use super::pulse::{Framing, Limits, Pulse};
use crate::metrics::Counted;

/// How long, and how many bytes, a client that is still sending is listened to after its answer.
/// The idle limit bounds the time as well.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_BYTES: usize = 64 << 20;

/// How long such a client may pause. The limit on heads bounds it as well.
const LINGER_PAUSE: Duration = Duration::from_secs(5);

/// A connection's place under the limit, in what a stop waits for, and among those counted.
///
/// It travels with the socket, so that an upgraded connection keeps its place.
#[derive(Debug)]
pub(super) struct Lease {
    _place: Place,
    _token: TaskTrackerToken,
    _open: Counted,
}

impl Lease {
    pub fn new(place: Place, token: TaskTrackerToken, open: Counted) -> Self {
        Self { _place: place, _token: token, _open: open }
    }
}

/// A socket, plain or TLS, that tells its pulse what passes.
#[derive(Debug)]
pub(super) struct Socket<T> {
    io: T,
    pulse: Arc<Pulse>,
    linger: Option<Linger>,
    /// Over h2 only.
    meter: Option<FrameMeter>,
    _lease: Lease,
}

#[derive(Debug)]
struct Linger {
    /// The end of the present pause.
    alarm: Pin<Box<Sleep>>,
    until: Instant,
    left: usize,
}

impl Linger {
    fn begin(limits: Limits) -> Self {
        let now = Instant::now();
        let until = now + LINGER.min(limits.idle);
        let alarm = Box::pin(sleep_until(until.min(now + Self::pause(limits))));
        Self { alarm, until, left: LINGER_BYTES }
    }

    fn pause(limits: Limits) -> Duration {
        LINGER_PAUSE.min(limits.header)
    }

    /// Notes discarded bytes. Returns whether there may be more.
    fn discarded(&mut self, bytes: usize, limits: Limits) -> bool {
        let end = Instant::now() + Self::pause(limits);
        self.alarm.as_mut().reset(end.min(self.until));
        self.left = self.left.saturating_sub(bytes);
        bytes > 0 && self.left > 0
    }
}

impl<T> Socket<T> {
    pub fn new(io: T, pulse: Arc<Pulse>, lease: Lease) -> Self {
        let is_h2 = pulse.framing() == Framing::Frames;
        let meter = is_h2.then(|| FrameMeter::new(Instant::now()));
        Self { io, pulse, linger: None, meter, _lease: lease }
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.blocked(result.is_pending());
        if let Poll::Ready(Ok(bytes)) = result {
            self.pulse.wrote(bytes, Instant::now());
            if let Some(meter) = &mut self.meter {
                meter.wrote(bytes);
            }
        }
        result
    }
}

impl<T: AsyncRead + Unpin> Socket<T> {
    /// Discards what the client still sends, until it ends or patience does.
    ///
    /// Closing a socket that holds unread bytes resets it, and the reset can overtake an early
    /// answer, a 413 for one, in the client. Where nothing is expected any more, only bytes that
    /// are there already are discarded.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limits = self.pulse.limits();
        let linger = self.linger.get_or_insert_with(|| Linger::begin(limits));
        let mut space = [0; 8 << 10];
        while linger.alarm.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if linger.discarded(buf.filled().len(), limits) => {
                    self.pulse.leaves_unread();
                }
                Poll::Pending if self.pulse.has_unread() => return Poll::Pending,
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if result.is_ready() && buf.filled().len() > before {
            let now = Instant::now();
            self.pulse.read(now);
            let frames = &buf.filled()[before..];
            if self.meter.as_mut().is_some_and(|meter| !meter.read(frames, now)) {
                // The driver sees it when the connection has been polled, and drops it.
                self.pulse.flooded();
                return Poll::Pending;
            }
        }
        result
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.pulse.blocked(result.is_pending());
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}
