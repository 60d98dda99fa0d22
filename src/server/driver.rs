//! The end of a connection: its own, in time, or the server's.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::select;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::places::{Evicted, Eviction};
use super::pulse::{Overdue, Pulse};
use crate::lifecycle::Shutdown;

/// The tokens that end connections, and the tracker that waits for them.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// Finish what is under way, accept nothing new.
    pub closing: CancellationToken,
    /// Drop everything.
    pub hard: CancellationToken,
    /// Holds every connection and every upgraded socket.
    pub tracker: TaskTracker,
}

impl Ending {
    pub fn new(closing: &CancellationToken, shutdown: &Shutdown, tracker: &TaskTracker) -> Self {
        Self { closing: closing.clone(), hard: shutdown.hard().clone(), tracker: tracker.clone() }
    }
}

/// Polls a connection and ends it in time.
pub(super) struct Driver {
    pub pulse: Arc<Pulse>,
    pub peer: SocketAddr,
    pub evicted: Evicted,
    pub ending: Ending,
}

enum Event {
    Done(hyper::Result<()>),
    Overdue(Overdue),
    Close,
    Evicted(Eviction),
}

impl Driver {
    /// Drives `conn` to its end; `close` tells it to finish what is under way and end then.
    pub async fn drive<C>(mut self, conn: C, close: impl Fn(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let peer = self.peer;
        let mut conn = pin!(conn);
        let mut alarm = pin!(sleep_until(self.pulse.due(Instant::now()).0));
        let mut closing = false;
        loop {
            let event = select! {
                biased;
                () = self.ending.hard.cancelled() => return,
                () = self.ending.closing.cancelled(), if !closing => Event::Close,
                eviction = self.evicted.wait() => Event::Evicted(eviction),
                event = poll_fn(|cx| poll(&self.pulse, conn.as_mut(), alarm.as_mut(), cx)) => event,
            };
            match event {
                Event::Done(Ok(())) => return,
                Event::Done(Err(error)) => {
                    return debug!(event = "connection_closed", %peer, %error, "connection failed");
                }
                Event::Evicted(Eviction::AtOnce) => {
                    return debug!(event = "connection_closed", %peer, "connection evicted");
                }
                Event::Overdue(Overdue::Idle) | Event::Close | Event::Evicted(Eviction::Gently) => {
                    closing = true;
                    self.pulse.closing(Instant::now());
                    close(conn.as_mut());
                }
                Event::Overdue(reason) => {
                    return debug!(event = "connection_closed", %peer, ?reason, "connection dropped");
                }
            }
        }
    }
}

/// Polls the connection, and asks its pulse whether it is overdue.
fn poll<C>(
    pulse: &Pulse,
    conn: Pin<&mut C>,
    mut alarm: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<Event>
where
    C: Future<Output = hyper::Result<()>>,
{
    if let Poll::Ready(result) = conn.poll(cx) {
        return Poll::Ready(Event::Done(result));
    }
    // The alarm is only ever moved forward here, and asked again when it rings too early:
    // most requests do not touch it.
    loop {
        let now = Instant::now();
        let (due, reason) = pulse.due(now);
        if due <= now {
            return Poll::Ready(Event::Overdue(reason));
        }
        if due < alarm.deadline() || alarm.is_elapsed() {
            alarm.as_mut().reset(due);
        }
        ready!(alarm.as_mut().poll(cx));
    }
}
