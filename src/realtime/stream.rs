//! Events as server-sent events (WHATWG HTML, section 9.2), for clients without a WebSocket.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Realtime;
use super::connection::READ_TIMEOUT;
use super::hub::ConnectionPermit;
use super::socket::{Close, Ending, Next, Socket};
use super::socket_session::SocketSession;
use crate::domain::events::{Envelope, Position};
use crate::domain::sessions::AuthenticatedSession;

/// The wait of a client before it reconnects by itself.
const CLIENT_RETRY: Duration = Duration::from_secs(1);

/// Bytes of one chunk. A longer frame is a chunk of its own.
const CHUNK_BYTES: usize = 16 * 1024;

/// A stream that is being served.
struct Stream<'a> {
    realtime: &'a Realtime,
    pieces: &'a mpsc::Sender<Bytes>,
}

/// Opens a stream, whose chunks come through the receiver. Dropping the receiver ends the stream.
///
/// # Errors
/// How a WebSocket would be closed instead.
pub async fn open(
    realtime: Arc<Realtime>,
    pass: AuthenticatedSession,
    addr: IpAddr,
    since: Option<&str>,
) -> Result<mpsc::Receiver<Bytes>, Close> {
    let permit = realtime.hub.arrive(addr)?;
    let socket_session = realtime.admit(pass, since).await?;
    let (pieces, told) = mpsc::channel(1);
    tokio::spawn(serve(realtime, socket_session, permit, pieces));
    Ok(told)
}

async fn serve(
    realtime: Arc<Realtime>,
    mut socket_session: SocketSession,
    _arrival: ConnectionPermit,
    pieces: mpsc::Sender<Bytes>,
) {
    let stream = Stream { realtime: &realtime, pieces: &pieces };
    let ending = tokio::select! {
        outcome = stream.tell(&mut socket_session) => match outcome {
            Err(ending) => ending,
            Ok(never) => match never {},
        },
        () = pieces.closed() => return,
    };
    realtime.metrics.closed(ending.close.code().0);
    if let Some(last) = ending.last {
        // The stream ends, whether or not the client reads this.
        let _ = stream.send(event(&last, None)).await;
    }
}

impl Stream<'_> {
    async fn tell(&self, socket_session: &mut SocketSession) -> Result<Infallible, Ending> {
        let socket = socket_session.socket.clone();
        let ready = event(&socket_session.ready, socket_session.after);
        self.send(format!("retry: {}\n{ready}", CLIENT_RETRY.as_millis())).await?;
        while let Some(frames) = socket_session.past(self.realtime).await? {
            self.send_all(&socket, &frames).await?;
        }
        loop {
            tokio::select! {
                next = socket.next() => match next {
                    Next::Frames(frames) => self.send_all(&socket, &frames).await?,
                    Next::End(ending) => return Err(ending),
                },
                // A comment, so that both sides notice when the other is gone.
                () = sleep(self.realtime.heartbeat) => self.send(":\n\n".to_owned()).await?,
            }
        }
    }

    /// Sends frames until the stream must end.
    async fn send_all(&self, socket: &Socket, frames: &[Envelope]) -> Result<(), Ending> {
        let mut piece = String::new();
        for (n, frame) in frames.iter().enumerate() {
            piece.push_str(&event(frame, None));
            if piece.len() < CHUNK_BYTES && n + 1 < frames.len() {
                continue;
            }
            if let Some(ending) = socket.clearance().await {
                return Err(ending);
            }
            tokio::select! {
                sent = self.send(std::mem::take(&mut piece)) => sent?,
                ending = socket.ended() => return Err(ending),
            }
        }
        Ok(())
    }

    /// Sends a chunk: waits until the connection has taken it, and fails if the client does not read.
    async fn send(&self, piece: String) -> Result<(), Ending> {
        let sent = async {
            self.pieces.send(piece.into()).await.map_err(drop)?;
            self.pieces.reserve().await.map(drop).map_err(drop)
        };
        match timeout(READ_TIMEOUT, sent).await {
            Ok(Ok(())) => Ok(()),
            // The client disconnected: no one reads the reason.
            Ok(Err(())) => Err(Close::Leaving.into()),
            Err(_) => Err(Close::TooSlow.into()),
        }
    }
}

/// A frame as an event, with its own id or else with `id`. Without an id the client keeps the last
/// id that it received.
fn event(envelope: &Envelope, id: Option<Position>) -> String {
    let mut event = format!("event: {}\n", envelope.kind.name());
    if let Some(id) = envelope.position.or(id) {
        let _ = writeln!(event, "id: {id}");
    }
    // A frame is one line.
    let _ = write!(event, "data: {}\n\n", envelope.frame);
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::events::{EventKind, FrameKind};

    #[test]
    fn events_have_the_ids_of_frames_that_have_one() {
        let passing = |kind| Envelope::unlogged(kind, None, "{}".into());
        let typing = passing(FrameKind::Typing);
        assert_eq!(event(&typing, None), "event: typing\ndata: {}\n\n");
        let [own, other] = [10, 11].map(|nth| Position { commit: 0, nth });
        let kind = FrameKind::Event(EventKind::GroupDeleted);
        let logged = Envelope { position: Some(own), ..passing(kind) };
        let expected = format!("event: group.deleted\nid: {own}\ndata: {{}}\n\n");
        assert_eq!(event(&logged, None), expected);
        let expected = format!("event: ready\nid: {other}\ndata: {{}}\n\n");
        assert_eq!(event(&passing(FrameKind::Ready), Some(other)), expected);
    }
}
