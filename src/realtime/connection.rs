//! One connection, from its first frame to its last.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as SocketError};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

use super::Realtime;
use super::client_frame::{ClientFrame, Malformed};
use super::socket::{Close, Ending, Next};
use super::visit::Visit;
use crate::error::Kind;
use crate::filters::handshake::WebSocket;
use crate::services::access::Pass;
use crate::services::frames::{Frame, frame};

/// How long a client has to show its token.
const TOKEN_WITHIN: Duration = Duration::from_secs(5);

/// How long a client may take to read what is sent to it.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// How long a client has to answer that it closes too.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Longest frame of a client, in bytes.
const LONGEST: usize = 16 * 1024;

/// Longest that is read, so that the one which is too long is answered with a code.
const LONGEST_READ: usize = 256 * 1024;

/// What a connection reads at once, and gathers before it writes: most are quiet, and there are
/// many.
const BUFFER: usize = 4 * 1024;

/// Frames of one client in a second.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(30).expect("not zero");

/// How the protocol is spoken.
#[must_use]
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(LONGEST_READ))
        .max_frame_size(Some(LONGEST_READ))
}

/// Someone at the door.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// Who it is, where a header said so.
    pub pass: Option<Pass>,
    /// The last event id that they have.
    pub since: Option<String>,
    /// Where they are.
    pub addr: IpAddr,
}

/// A connection that is being served.
struct Connection<'a> {
    realtime: &'a Realtime,
    ws: WebSocket,
    frames: DefaultDirectRateLimiter,
    heard: Instant,
}

/// Serves a connection until it ends.
pub async fn serve(realtime: Arc<Realtime>, ws: WebSocket, entrance: Entrance) {
    let frames = RateLimiter::direct(Quota::per_second(PER_SECOND));
    let mut connection = Connection { realtime: &realtime, ws, frames, heard: Instant::now() };
    let ending = match connection.run(entrance).await {
        Ok(()) => return,
        Err(ending) => ending,
    };
    connection.close(ending).await;
}

impl Connection<'_> {
    /// `Ok` where the client has gone.
    async fn run(&mut self, mut entrance: Entrance) -> Result<(), Ending> {
        let pass = match entrance.pass {
            Some(pass) => pass,
            None => match timeout(TOKEN_WITHIN, self.token()).await {
                Err(_) => return Err(Close::NoToken.into()),
                Ok(None) => return Ok(()),
                Ok(Some(shown)) => {
                    let (pass, since) = shown?;
                    entrance.since = since.or(entrance.since);
                    pass
                }
            },
        };
        let since = entrance.since.as_deref();
        let mut visit = self.realtime.admit(pass, entrance.addr, since).await?;
        let ready = visit.ready.clone();
        self.send(vec![ready]).await?;
        while let Some(frames) = visit.past(self.realtime).await? {
            self.send(frames).await?;
        }
        self.stay(&visit).await
    }

    /// The token of the first frame that has one; `None` where the client goes.
    async fn token(&mut self) -> Option<Result<(Pass, Option<String>), Ending>> {
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
                    Next::Frames(frames) => self.send(frames).await?,
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
                    self.write(vec![Message::Ping(Bytes::new())]).await?;
                }
            }
        }
    }

    async fn answer(&mut self, visit: &Visit, said: ClientFrame) -> Result<(), Ending> {
        match said {
            ClientFrame::Ping => {
                let now = self.realtime.clock.now();
                let pong = frame("pong", None, now, &serde_json::Map::new());
                self.send(vec![pong.map_err(|_| Close::Leaving)?]).await
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
            let message = match self.ws.next().await? {
                Ok(message) => message,
                Err(SocketError::Capacity(CapacityError::MessageTooLong { .. })) => {
                    return Some(Err(Close::TooBig.into()));
                }
                Err(_) => return None,
            };
            self.heard = Instant::now();
            if message.is_close() {
                return None;
            }
            if message.len() > LONGEST {
                return Some(Err(Close::TooBig.into()));
            }
            if self.frames.check().is_err() {
                return Some(Err(Close::TooMany.into()));
            }
            if message.is_ping() || message.is_pong() {
                continue;
            }
            let said = message.to_text().map_err(|_| Malformed).and_then(ClientFrame::parse);
            return Some(said.map_err(|Malformed| Close::Malformed.into()));
        }
    }

    async fn send(&mut self, frames: Vec<Frame>) -> Result<(), Ending> {
        self.write(frames.into_iter().map(|frame| Message::text(&*frame)).collect()).await
    }

    /// Writes together, and fails where the client does not read.
    async fn write(&mut self, messages: Vec<Message>) -> Result<(), Ending> {
        let ws = &mut self.ws;
        let written = async {
            for message in messages {
                ws.feed(message).await?;
            }
            ws.flush().await
        };
        match timeout(READ_WITHIN, written).await {
            Ok(Ok(())) => Ok(()),
            // The client is gone: what the end is called makes no difference.
            Ok(Err(_)) => Err(Close::Leaving.into()),
            Err(_) => Err(Close::TooSlow.into()),
        }
    }

    /// Says why, and waits a moment for the client to close too, so that it has read it.
    async fn close(mut self, ending: Ending) {
        let mut messages: Vec<Message> =
            ending.last.iter().map(|frame| Message::text(&**frame)).collect();
        let (code, reason) = ending.close.code();
        messages
            .push(Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() })));
        if self.write(messages).await.is_ok() {
            let rest = async { while let Some(Ok(_)) = self.ws.next().await {} };
            let _ = timeout(CLOSE_WITHIN, rest).await;
        }
    }
}

async fn check(realtime: &Realtime, token: &str) -> Result<Pass, Ending> {
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
