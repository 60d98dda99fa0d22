//! A connection that is let in: what it is told first, and what it has missed.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Realtime;
use super::hub::{Entered, Hub};
use super::presence::Present;
use super::socket::{Close, Socket};
use crate::bus::log::KEPT;
use crate::domain::events::{Envelope, FrameKind, Position};
use crate::domain::ids::UserId;
use crate::domain::sessions::AuthenticatedSession;
use crate::error::Result;
use crate::metrics::Counted;
use crate::services::frames::data::Ready;
use crate::services::frames::{LoggedEvent, frame};

/// How long the log may take to say how far it is. Without it, what happens from now on is told
/// as soon as Redis is back.
const LOG_WITHIN: Duration = Duration::from_secs(1);

/// How many events of the past are shown together.
const TOGETHER: usize = 100;

/// A connection that is let in; it leaves when this is dropped.
#[derive(Debug)]
pub struct Visit {
    /// Its queue.
    pub socket: Arc<Socket>,
    /// Its first frame.
    pub ready: Envelope,
    /// Up to where its client has everything once it has read that; `None` where what it has
    /// missed is still to come.
    pub after: Option<Position>,
    missed: std::vec::IntoIter<LoggedEvent>,
    _stay: Stay,
    _present: Present,
}

#[derive(Debug)]
struct Stay {
    hub: Arc<Hub>,
    socket: Arc<Socket>,
    _counted: Counted,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.hub.leave(&self.socket);
    }
}

impl Realtime {
    /// Lets a connection in: from its first frame on, it misses nothing.
    ///
    /// # Errors
    /// How it is to be closed instead.
    pub async fn admit(
        &self,
        pass: AuthenticatedSession,
        since: Option<&str>,
    ) -> Result<Visit, Close> {
        let socket = Arc::new(Socket::new(pass.user, pass.session, pass.expires_at));
        let known = self.hub.expect(&socket)?;
        let (hub, counted) = (self.hub.clone(), self.metrics.connected());
        let stay = Stay { hub, socket: socket.clone(), _counted: counted };
        let present = self.presence.join(pass.user).await?;
        let entered = self.enter(&socket, &known).await?;
        self.stands(pass).await?;
        self.presence.look(pass.user);
        let (recovered, missed) = match since {
            None => (None, Vec::new()),
            Some(since) => match self.missed(pass.user, since, entered).await {
                None => {
                    // What there is by now the client reads: the log may be behind that.
                    if let Ok(now) = self.events.now().await {
                        socket.begin_after(now);
                    }
                    (Some(false), Vec::new())
                }
                Some((since, missed)) => {
                    socket.begin_after(since);
                    (Some(true), missed)
                }
            },
        };
        let last = entered.last.unwrap_or(entered.complete_to);
        let after = (recovered != Some(true)).then_some(last);
        let ready = Ready {
            user_id: pass.user,
            session_id: pass.session,
            last_event_id: last.to_string(),
            heartbeat_seconds: self.heartbeat.as_secs(),
            recovered,
        };
        let ready = frame(FrameKind::Ready, None, self.clock.now(), &ready);
        let ready = ready.map_err(|_| Close::Leaving)?;
        let ready = Envelope::unlogged(FrameKind::Ready, None, ready);
        let missed = missed.into_iter();
        Ok(Visit { socket, ready, after, missed, _stay: stay, _present: present })
    }

    /// Whether the session still stands: its end was not told to a connection that was not yet one
    /// of the hub's.
    async fn stands(&self, pass: AuthenticatedSession) -> Result<(), Close> {
        match self.live.is_alive(pass).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Close::Unauthenticated),
            Err(_) => Err(Close::Leaving),
        }
    }

    /// Waits until it is known how far the log is.
    async fn enter(&self, socket: &Arc<Socket>, known: &Notify) -> Result<Entered, Close> {
        let deadline = Instant::now() + LOG_WITHIN;
        loop {
            let arrived = known.notified();
            if let Some(entered) = self.hub.enter(socket) {
                return Ok(entered);
            }
            if timeout_at(deadline, arrived).await.is_err() {
                let now = self.events.now().await.map_err(|_| Close::Leaving)?;
                self.hub.assume(socket.user, now);
            }
        }
    }

    /// All that happened between what a client has and where it was let in; `None` where that is
    /// not to be had whole.
    async fn missed(
        &self,
        user: UserId,
        since: &str,
        entered: Entered,
    ) -> Option<(Position, Vec<LoggedEvent>)> {
        let since: Position = since.parse().ok()?;
        let past = self.bus.past(user, Some(since), KEPT + 1, self.clock.now()).await.ok()?;
        // Where nobody could say how far the log was, it may not be as far as what comes live.
        if !past.is_whole || entered.complete_to > past.end {
            return None;
        }
        let entries = past.entries.into_iter();
        let missed = entries.take_while(|entry| entry.position <= entered.complete_to);
        Some((since, missed.map(Into::into).collect()))
    }
}

impl Visit {
    /// The next frames of what was missed; `None` after the last.
    ///
    /// # Errors
    /// How the connection is to be closed where they are not to be had.
    pub async fn past(&mut self, realtime: &Realtime) -> Result<Option<Vec<Envelope>>, Close> {
        self.socket.is_sending(false);
        let some: Vec<LoggedEvent> = self.missed.by_ref().take(TOGETHER).collect();
        if some.is_empty() {
            return Ok(None);
        }
        // From before they are read until they are sent.
        self.socket.is_sending(true);
        let shown = realtime.frames.past(self.socket.user, &some).await;
        shown.map(Some).map_err(|_| Close::Leaving)
    }
}
