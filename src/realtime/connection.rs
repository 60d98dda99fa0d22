//! One connection, from its first frame to its last.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::Realtime;
use super::client_frame::{ClientFrame, Malformed};
use super::socket::{Close, Ending, Next, Socket};
use super::visit::Visit;
use super::wire::{Gone, Said, Wire};
use crate::domain::events::{Envelope, FrameKind};
use crate::domain::sessions::AuthenticatedSession;
use crate::error::Kind;
use crate::filters::handshake::WebSocket;
use crate::services::frames::frame;

/// How long a client has to show its token.
const TOKEN_WITHIN: Duration = Duration::from_secs(5);

/// How long a client may take to read what is sent to it.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(10);

/// How long one that was too slow may take to read on, and that it was.
const SLOW_READS_WITHIN: Duration = Duration::from_secs(30);

/// Someone at the door.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// Who it is, where a header said so.
    pub pass: Option<AuthenticatedSession>,
    /// The last event id that they have.
    pub since: Option<String>,
    /// Where they are.
    pub addr: IpAddr,
}

/// A connection that is being served.
struct Connection<'a> {
    realtime: &'a Realtime,
    wire: Wire,
    heard: Instant,
}

/// Serves a connection until it ends.
pub async fn serve(realtime: Arc<Realtime>, ws: WebSocket, request: ConnectRequest) {
    let wire = Wire::new(ws);
    let _arrival = match realtime.hub.arrive(request.addr) {
        Ok(arrival) => arrival,
        Err(close) => {
            realtime.metrics.closed(close.code().0);
            return wire.close(close, READ_WITHIN).await;
        }
    };
    let mut connection = Connection { realtime: &realtime, wire, heard: Instant::now() };
    match connection.run(request).await {
        Ok(()) => connection.wire.finish().await,
        Err(ending) => connection.close(ending).await,
    }
}

impl Connection<'_> {
    /// `Ok` where the client has gone.
    async fn run(&mut self, mut request: ConnectRequest) -> Result<(), Ending> {
        let Some(pass) = self.introduced(&mut request).await? else { return Ok(()) };
        let since = request.since.as_deref();
        let mut visit = self.realtime.admit(pass, since).await?;
        let (ready, socket) = (visit.ready.clone(), visit.socket.clone());
        self.send(&socket, &[ready]).await?;
        while let Some(frames) = visit.past(self.realtime).await? {
            self.send(&socket, &frames).await?;
        }
        self.stay(&visit).await
    }

    /// Who it is, by the header or by the first frame; `None` where the client goes.
    async fn introduced(
        &mut self,
        request: &mut ConnectRequest,
    ) -> Result<Option<AuthenticatedSession>, Ending> {
        if request.pass.is_some() {
            return Ok(request.pass);
        }
        let closing = self.realtime.shutdown.closing();
        let shown = tokio::select! {
            shown = timeout(TOKEN_WITHIN, self.token()) => shown.map_err(|_| Close::NoToken)?,
            () = closing.cancelled() => return Err(Close::Leaving.into()),
        };
        let Some(shown) = shown else { return Ok(None) };
        let (pass, since) = shown?;
        request.since = since.or(request.since.take());
        Ok(Some(pass))
    }

    /// The token of the first frame that has one; `None` where the client goes.
    async fn token(&mut self) -> Option<Result<(AuthenticatedSession, Option<String>), Ending>> {
        loop {
            match self.read().await? {
                Err(ending) => return Some(Err(ending)),
                Ok(ClientFrame::Auth { token, since }) => {
                    return Some(check(self.realtime, &token).await.map(|pass| (pass, since)));
                }
                Ok(_) => {}
            }
        }
    }

    async fn stay(&mut self, visit: &Visit) -> Result<(), Ending> {
        let heartbeat = self.realtime.heartbeat;
        let mut beat = Instant::now() + heartbeat;
        loop {
            tokio::select! {
                next = visit.socket.next() => match next {
                    Next::Frames(frames) => self.send(&visit.socket, &frames).await?,
                    Next::End(ending) => return Err(ending),
                },
                read = self.read() => match read {
                    None => return Ok(()),
                    Some(read) => self.answer(visit, read?).await?,
                },
                () = sleep_until(beat) => {
                    // Two answers missed: nobody is there.
                    if self.heard.elapsed() > 2 * heartbeat + READ_WITHIN {
                        return Ok(());
                    }
                    beat = Instant::now() + heartbeat;
                    within_time(self.wire.ping()).await?;
                }
            }
        }
    }

    async fn answer(&mut self, visit: &Visit, said: ClientFrame) -> Result<(), Ending> {
        match said {
            ClientFrame::Ping => {
                let now = self.realtime.clock.now();
                let pong = frame(FrameKind::Pong, None, now, &serde_json::Map::new());
                let pong = pong.map_err(|_| Close::Leaving)?;
                let pong = Envelope::unlogged(FrameKind::Pong, None, pong);
                self.send(&visit.socket, &[pong]).await
            }
            ClientFrame::Auth { token, .. } => {
                let pass = check(self.realtime, &token).await?;
                if (pass.user, pass.session) != (visit.socket.user, visit.socket.session) {
                    return Err(Close::Unauthenticated.into());
                }
                visit.socket.renew(pass.expires_at);
                Ok(())
            }
            ClientFrame::Typing(conversation) => {
                self.realtime.typists.types(visit.socket.user, conversation);
                Ok(())
            }
            ClientFrame::Delivered(conversation, seq) => {
                self.realtime.deliveries.note(visit.socket.user, conversation, seq);
                Ok(())
            }
            ClientFrame::Other => Ok(()),
        }
    }

    /// What the client says next; `None` where it goes, or is gone.
    async fn read(&mut self) -> Option<Result<ClientFrame, Ending>> {
        loop {
            let said = match self.wire.next().await? {
                Ok(said) => said,
                Err(close) => return Some(Err(close.into())),
            };
            self.heard = Instant::now();
            let frame = match said {
                Said::Beat => continue,
                Said::Binary => Err(Malformed),
                Said::Text(text) => ClientFrame::parse(&text),
            };
            return Some(frame.map_err(|Malformed| Close::Malformed.into()));
        }
    }

    /// Sends frames, as long as the connection is not to end, and fails where the client does not
    /// read.
    async fn send(&mut self, socket: &Socket, frames: &[Envelope]) -> Result<(), Ending> {
        for Envelope { frame, .. } in frames {
            if let Some(ending) = socket.clearance().await {
                return Err(ending);
            }
            tokio::select! {
                fed = within_time(self.wire.feed(frame)) => fed?,
                ending = socket.ended() => return Err(ending),
            }
        }
        tokio::select! {
            flushed = within_time(self.wire.flush()) => flushed,
            ending = socket.ended() => Err(ending),
        }
    }

    /// Says why, with the last frame if there is one.
    async fn close(mut self, ending: Ending) {
        self.realtime.metrics.closed(ending.close.code().0);
        let within = match ending.close {
            Close::TooSlow => SLOW_READS_WITHIN,
            Close::Leaving
            | Close::Protocol
            | Close::NotText
            | Close::TooBig
            | Close::Malformed
            | Close::Unauthenticated
            | Close::NoToken
            | Close::TooMany => READ_WITHIN,
        };
        if let Some(last) = &ending.last {
            let _ = timeout(within, self.wire.feed(&last.frame)).await;
        }
        self.wire.close(ending.close, within).await;
    }
}

/// The client is too slow where it does not read in time. Where it is gone, what the end is called
/// makes no difference.
async fn within_time(written: impl Future<Output = Result<(), Gone>>) -> Result<(), Ending> {
    match timeout(READ_WITHIN, written).await {
        Ok(written) => written.map_err(|Gone| Close::Leaving.into()),
        Err(_) => Err(Close::TooSlow.into()),
    }
}

async fn check(realtime: &Realtime, token: &str) -> Result<AuthenticatedSession, Ending> {
    let checked = realtime.access.check(token).await;
    checked.map_err(|error| match error.kind() {
        Kind::Unauthenticated => Close::Unauthenticated.into(),
        // The store is away: another instance, or a moment, may help.
        _ => Close::Leaving.into(),
    })
}

impl From<Close> for Ending {
    fn from(close: Close) -> Self {
        Self { last: None, close }
    }
}
