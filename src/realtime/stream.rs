//! What happens as server-sent events (WHATWG HTML, section 9.2), for clients without a WebSocket.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Realtime;
use super::connection::READ_WITHIN;
use super::hub::Arrival;
use super::socket::{Close, Ending, Next, Socket};
use super::visit::Visit;
use crate::domain::events::{Envelope, Position};
use crate::domain::sessions::AuthenticatedSession;

/// After how long a client whose stream ended comes back by itself.
const COME_BACK: Duration = Duration::from_secs(1);

/// Bytes that are handed over together, but for a frame that is longer by itself.
const PIECE: usize = 16 * 1024;

/// A stream that is being told.
struct Stream<'a> {
    realtime: &'a Realtime,
    pieces: &'a mpsc::Sender<Bytes>,
}

/// Lets a client in; what it is sent comes piece by piece, until the stream is to end. Dropping
/// the receiver lets it go.
///
/// # Errors
/// How a WebSocket would be closed instead.
pub async fn open(
    realtime: Arc<Realtime>,
    pass: AuthenticatedSession,
    addr: IpAddr,
    since: Option<&str>,
) -> Result<mpsc::Receiver<Bytes>, Close> {
    let arrival = realtime.hub.arrive(addr)?;
    let visit = realtime.admit(pass, since).await?;
    let (pieces, told) = mpsc::channel(1);
    tokio::spawn(serve(realtime, visit, arrival, pieces));
    Ok(told)
}

async fn serve(
    realtime: Arc<Realtime>,
    mut visit: Visit,
    _arrival: Arrival,
    pieces: mpsc::Sender<Bytes>,
) {
    let stream = Stream { realtime: &realtime, pieces: &pieces };
    let ending = tokio::select! {
        outcome = stream.tell(&mut visit) => match outcome {
            Err(ending) => ending,
            Ok(never) => match never {},
        },
        () = pieces.closed() => return,
    };
    realtime.metrics.closed(ending.close.code().0);
    if let Some(last) = ending.last {
        // Whether it is read or not, this is the end.
        let _ = stream.send(event(&last, None)).await;
    }
}

impl Stream<'_> {
    async fn tell(&self, visit: &mut Visit) -> Result<Infallible, Ending> {
        let socket = visit.socket.clone();
        let ready = event(&visit.ready, visit.after);
        self.send(format!("retry: {}\n{ready}", COME_BACK.as_millis())).await?;
        while let Some(frames) = visit.past(self.realtime).await? {
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

    /// Sends frames, as long as the stream is not to end.
    async fn send_all(&self, socket: &Socket, frames: &[Envelope]) -> Result<(), Ending> {
        let mut piece = String::new();
        for (n, frame) in frames.iter().enumerate() {
            piece.push_str(&event(frame, None));
            if piece.len() < PIECE && n + 1 < frames.len() {
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

    /// Sends a piece: waits until the connection has taken it, and fails where the client does not
    /// read.
    async fn send(&self, piece: String) -> Result<(), Ending> {
        let sent = async {
            self.pieces.send(piece.into()).await.map_err(drop)?;
            self.pieces.reserve().await.map(drop).map_err(drop)
        };
        match timeout(READ_WITHIN, sent).await {
            Ok(Ok(())) => Ok(()),
            // The client is gone: what the end is called makes no difference.
            Ok(Err(())) => Err(Close::Leaving.into()),
            Err(_) => Err(Close::TooSlow.into()),
        }
    }
}

/// A frame as an event: under its own id, if it is in the log, else under this one, if any.
/// Without one, what a client says when it comes back stays as it is.
fn event(envelope: &Envelope, id: Option<Position>) -> String {
    let mut event = format!("event: {}\n", envelope.kind.name());
    if let Some(id) = envelope.position.or(id) {
        let _ = writeln!(event, "id: {id}");
    }
    // JSON of ours is one line.
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
