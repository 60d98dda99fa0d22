//! One connection, from its first frame to its last.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::Realtime;
use super::client_frame::{ClientFrame, Malformed};
use super::socket::{Close, Ending, Next, Socket};
use super::socket_session::SocketSession;
use super::wire::{Disconnected, Wire, WireMessage};
use crate::domain::events::{Envelope, FrameKind};
use crate::domain::sessions::AuthenticatedSession;
use crate::error::Kind;
use crate::filters::handshake::WebSocket;
use crate::services::frames::frame;

/// How long a client has to show its token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to read what is sent to it.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client that was too slow may take to read the rest and the close frame.
const SLOW_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A request for a connection.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// The session, if a header had its token.
    pub pass: Option<AuthenticatedSession>,
    /// The last event id that the client has.
    pub since: Option<String>,
    /// The address of the client.
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
        Ok(permit) => permit,
        Err(close) => {
            realtime.metrics.closed(close.code().0);
            return wire.close(close, READ_TIMEOUT).await;
        }
    };
    let mut connection = Connection { realtime: &realtime, wire, heard: Instant::now() };
    match connection.run(request).await {
        Ok(()) => connection.wire.finish().await,
        Err(ending) => connection.close(ending).await,
    }
}

impl Connection<'_> {
    /// `Ok` after the client disconnected.
    async fn run(&mut self, mut request: ConnectRequest) -> Result<(), Ending> {
        let Some(pass) = self.introduced(&mut request).await? else { return Ok(()) };
        let since = request.since.as_deref();
        let mut socket_session = self.realtime.admit(pass, since).await?;
        let (ready, socket) = (socket_session.ready.clone(), socket_session.socket.clone());
        self.send(&socket, &[ready]).await?;
        while let Some(frames) = socket_session.past(self.realtime).await? {
            self.send(&socket, &frames).await?;
        }
        self.stay(&socket_session).await
    }

    /// The session, from the header or the first frame; `None` if the client disconnects.
    async fn introduced(
        &mut self,
        request: &mut ConnectRequest,
    ) -> Result<Option<AuthenticatedSession>, Ending> {
        if request.pass.is_some() {
            return Ok(request.pass);
        }
        let closing = self.realtime.shutdown.closing();
        let shown = tokio::select! {
            shown = timeout(TOKEN_TIMEOUT, self.token()) => shown.map_err(|_| Close::NoToken)?,
            () = closing.cancelled() => return Err(Close::Leaving.into()),
        };
        let Some(shown) = shown else { return Ok(None) };
        let (pass, since) = shown?;
        request.since = since.or(request.since.take());
        Ok(Some(pass))
    }

    /// The session and `since` of the first `auth` frame; `None` if the client disconnects.
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

    async fn stay(&mut self, socket_session: &SocketSession) -> Result<(), Ending> {
        let heartbeat = self.realtime.heartbeat;
        let mut beat = Instant::now() + heartbeat;
        loop {
            tokio::select! {
                next = socket_session.socket.next() => match next {
                    Next::Frames(frames) => self.send(&socket_session.socket, &frames).await?,
                    Next::End(ending) => return Err(ending),
                },
                read = self.read() => match read {
                    None => return Ok(()),
                    Some(read) => self.answer(socket_session, read?).await?,
                },
                () = sleep_until(beat) => {
                    // The client missed two answers.
                    if self.heard.elapsed() > 2 * heartbeat + READ_TIMEOUT {
                        return Ok(());
                    }
                    beat = Instant::now() + heartbeat;
                    within_time(self.wire.ping()).await?;
                }
            }
        }
    }

    async fn answer(
        &mut self,
        socket_session: &SocketSession,
        said: ClientFrame,
    ) -> Result<(), Ending> {
        match said {
            ClientFrame::Ping => {
                let now = self.realtime.clock.now();
                let pong = frame(FrameKind::Pong, None, now, &serde_json::Map::new());
                let pong = pong.map_err(|_| Close::Leaving)?;
                let pong = Envelope::unlogged(FrameKind::Pong, None, pong);
                self.send(&socket_session.socket, &[pong]).await
            }
            ClientFrame::Auth { token, .. } => {
                let pass = check(self.realtime, &token).await?;
                if (pass.user, pass.session)
                    != (socket_session.socket.user, socket_session.socket.session)
                {
                    return Err(Close::Unauthenticated.into());
                }
                socket_session.socket.renew(pass.expires_at);
                Ok(())
            }
            ClientFrame::Typing(conversation) => {
                self.realtime.typists.types(socket_session.socket.user, conversation);
                Ok(())
            }
            ClientFrame::Delivered(conversation, seq) => {
                self.realtime.deliveries.note(socket_session.socket.user, conversation, seq);
                Ok(())
            }
            ClientFrame::Other => Ok(()),
        }
    }

    /// The next frame of the client; `None` if it disconnects.
    async fn read(&mut self) -> Option<Result<ClientFrame, Ending>> {
        loop {
            let said = match self.wire.next().await? {
                Ok(said) => said,
                Err(close) => return Some(Err(close.into())),
            };
            self.heard = Instant::now();
            let frame = match said {
                WireMessage::Heartbeat => continue,
                WireMessage::Binary => Err(Malformed),
                WireMessage::Text(text) => ClientFrame::parse(&text),
            };
            return Some(frame.map_err(|Malformed| Close::Malformed.into()));
        }
    }

    /// Sends frames until the connection must end; fails if the client does not read.
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

    /// Sends the last frame, if there is one, and the close frame.
    async fn close(mut self, ending: Ending) {
        self.realtime.metrics.closed(ending.close.code().0);
        let within = match ending.close {
            Close::TooSlow => SLOW_READ_TIMEOUT,
            Close::Leaving
            | Close::Protocol
            | Close::NotText
            | Close::TooBig
            | Close::Malformed
            | Close::Unauthenticated
            | Close::NoToken
            | Close::TooMany => READ_TIMEOUT,
        };
        if let Some(last) = &ending.last {
            let _ = timeout(within, self.wire.feed(&last.frame)).await;
        }
        self.wire.close(ending.close, within).await;
    }
}

/// A client that does not read in time is too slow. After it disconnected no one reads the reason.
async fn within_time(
    written: impl Future<Output = Result<(), Disconnected>>,
) -> Result<(), Ending> {
    match timeout(READ_TIMEOUT, written).await {
        Ok(written) => written.map_err(|Disconnected| Close::Leaving.into()),
        Err(_) => Err(Close::TooSlow.into()),
    }
}

async fn check(realtime: &Realtime, token: &str) -> Result<AuthenticatedSession, Ending> {
    let checked = realtime.access.check(token).await;
    checked.map_err(|error| match error.kind() {
        Kind::Unauthenticated => Close::Unauthenticated.into(),
        // The store is away: another instance may answer.
        _ => Close::Leaving.into(),
    })
}

impl From<Close> for Ending {
    fn from(close: Close) -> Self {
        Self { last: None, close }
    }
}
