//! Closes connections when their session ends, their token expires or the server shuts down.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Realtime;
use super::socket::Close;
use crate::domain::events::{Envelope, FrameKind};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::sessions::{ACCESS_LIFETIME, AuthenticatedSession};
use crate::services::frames::data::SessionEnded;
use crate::services::frames::frame;
use crate::services::session_cache::Ended;

/// How often the instance checks the expiry of tokens, and sessions that the store did not answer for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The part of the shutdown time, in percent, over which the instance closes connections. The rest is
/// for clients to finish.
const CLOSE_SPREAD_PERCENT: u32 = 60;

/// The longest pause between two closes.
const MAX_CLOSE_PAUSE: Duration = Duration::from_millis(100);

impl Realtime {
    pub(super) async fn keep(&self, stop: CancellationToken) {
        tokio::select! {
            () = self.watch() => {}
            () = self.send_away() => {}
            () = stop.cancelled() => {}
        }
        for socket in self.hub.close() {
            socket.end(Close::Leaving);
        }
    }

    async fn watch(&self) {
        let mut ends = self.live.ends();
        let mut look = interval(POLL_INTERVAL);
        // Sessions that may have ended, until the store answers.
        let mut suspects: HashSet<(SessionId, UserId)> = HashSet::new();
        loop {
            tokio::select! {
                ended = ends.recv() => {
                    let ended = match ended {
                        Ok(ended) => ended,
                        Err(RecvError::Lagged(_)) => Ended::Any,
                        Err(RecvError::Closed) => return,
                    };
                    let here = self.hub.sockets().into_iter();
                    let met = here.filter(|socket| match ended {
                        Ended::Session(session) => socket.session == session,
                        Ended::Of(user) => socket.user == user,
                        Ended::Any => true,
                    });
                    suspects.extend(met.map(|socket| (socket.session, socket.user)));
                }
                _ = look.tick() => self.hub.expire(self.clock.now()),
            }
            self.end_ended(&mut suspects).await;
        }
    }

    /// Asks the store for each suspect, and closes or releases its connections.
    async fn end_ended(&self, suspects: &mut HashSet<(SessionId, UserId)>) {
        for (session, user) in suspects.clone() {
            let here = self.hub.sockets().into_iter().filter(|it| it.session == session);
            let held: Vec<_> = here.map(|socket| (socket.holds(), socket)).collect();
            // As if issued now: an answer from before does not count.
            let pass = AuthenticatedSession {
                user,
                session,
                expires_at: self.clock.now().plus(ACCESS_LIFETIME),
            };
            match self.live.is_alive(pass).await {
                Ok(true) => held.iter().for_each(|(holds, socket)| socket.release(*holds)),
                Ok(false) => {
                    let data = SessionEnded { session_id: session };
                    self.hub.end_session(session, |id| {
                        let kind = FrameKind::SessionEnded;
                        let frame = frame(kind, Some(id), self.clock.now(), &data).ok()?;
                        Some(Envelope {
                            position: Some(id),
                            ..Envelope::unlogged(kind, None, frame)
                        })
                    });
                }
                // The next tick asks again.
                Err(_) => return,
            }
            suspects.remove(&(session, user));
        }
    }

    /// Closes connections one after the other when the server shuts down, so that clients do not all
    /// reconnect to the next instance at once.
    async fn send_away(&self) {
        self.shutdown.closing().cancelled().await;
        let sockets = self.hub.close();
        let count = u32::try_from(sockets.len()).unwrap_or(u32::MAX).max(1);
        let pause = (self.shutdown.time_to_leave() * CLOSE_SPREAD_PERCENT / 100 / count)
            .min(MAX_CLOSE_PAUSE);
        for socket in sockets {
            socket.end(Close::Leaving);
            sleep(pause).await;
        }
        std::future::pending::<()>().await;
    }
}
