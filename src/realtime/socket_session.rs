//! The session of a connection: its first frame, and the events that its client missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Realtime;
use super::hub::{Entered, Hub};
use super::presence::CountedConnection;
use super::socket::{Close, Socket};
use crate::bus::log::MAX_LOG_ENTRIES;
use crate::domain::events::{Envelope, FrameKind, Position};
use crate::domain::ids::UserId;
use crate::domain::sessions::AuthenticatedSession;
use crate::error::Result;
use crate::metrics::Counted;
use crate::services::frames::data::Ready;
use crate::services::frames::{LoggedEvent, frame};

/// How long a connection waits for the end of the log. After that it receives events from now on,
/// as soon as Redis is back.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// Missed events that become frames together.
const REPLAY_BATCH: usize = 100;

/// An admitted connection; dropping this removes it from the hub.
#[derive(Debug)]
pub struct SocketSession {
    /// Its queue.
    pub socket: Arc<Socket>,
    /// Its first frame.
    pub ready: Envelope,
    /// The position up to which the client has all events once it has read the first frame; `None` if
    /// missed events follow.
    pub after: Option<Position>,
    missed: std::vec::IntoIter<LoggedEvent>,
    _stay: HubEntry,
    _present: CountedConnection,
}

#[derive(Debug)]
struct HubEntry {
    hub: Arc<Hub>,
    socket: Arc<Socket>,
    _counted: Counted,
}

impl Drop for HubEntry {
    fn drop(&mut self) {
        self.hub.leave(&self.socket);
    }
}

impl Realtime {
    /// Admits a connection: it receives all events after its first frame.
    ///
    /// # Errors
    /// The reason to close the connection instead.
    pub async fn admit(
        &self,
        pass: AuthenticatedSession,
        since: Option<&str>,
    ) -> Result<SocketSession, Close> {
        let socket = Arc::new(Socket::new(pass.user, pass.session, pass.expires_at));
        let known = self.hub.expect(&socket)?;
        let (hub, counted) = (self.hub.clone(), self.metrics.connected());
        let stay = HubEntry { hub, socket: socket.clone(), _counted: counted };
        let present = self.presence.join(pass.user).await?;
        let entered = self.enter(&socket, &known).await?;
        self.stands(pass).await?;
        self.presence.look(pass.user);
        let (recovered, missed) = match since {
            None => (None, Vec::new()),
            Some(since) => match self.missed(pass.user, since, entered).await {
                None => {
                    // The client reads the present state over REST, which may be ahead of the log.
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
        Ok(SocketSession { socket, ready, after, missed, _stay: stay, _present: present })
    }

    /// Whether the session is still active: it may have ended before the hub had the connection.
    async fn stands(&self, pass: AuthenticatedSession) -> Result<(), Close> {
        match self.live.is_alive(pass).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Close::Unauthenticated),
            Err(_) => Err(Close::Leaving),
        }
    }

    /// Waits until the link has read the end of the log.
    async fn enter(&self, socket: &Arc<Socket>, known: &Notify) -> Result<Entered, Close> {
        let deadline = Instant::now() + LOG_TIMEOUT;
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

    /// All events between `since` and the position where the connection begins; `None` if the log no
    /// longer has all of them.
    async fn missed(
        &self,
        user: UserId,
        since: &str,
        entered: Entered,
    ) -> Option<(Position, Vec<LoggedEvent>)> {
        let since: Position = since.parse().ok()?;
        let past =
            self.bus.past(user, Some(since), MAX_LOG_ENTRIES + 1, self.clock.now()).await.ok()?;
        // After a timeout the log may end before the first live event.
        if !past.is_whole || entered.complete_to > past.end {
            return None;
        }
        let entries = past.entries.into_iter();
        let missed = entries.take_while(|entry| entry.position <= entered.complete_to);
        Some((since, missed.map(Into::into).collect()))
    }
}

impl SocketSession {
    /// The next frames of missed events; `None` after the last.
    ///
    /// # Errors
    /// The reason to close the connection if they cannot be read.
    pub async fn past(&mut self, realtime: &Realtime) -> Result<Option<Vec<Envelope>>, Close> {
        self.socket.is_sending(false);
        let some: Vec<LoggedEvent> = self.missed.by_ref().take(REPLAY_BATCH).collect();
        if some.is_empty() {
            return Ok(None);
        }
        // A revocation waits from here until they are sent.
        self.socket.is_sending(true);
        let shown = realtime.frames.past(self.socket.user, &some).await;
        shown.map(Some).map_err(|_| Close::Leaving)
    }
}
