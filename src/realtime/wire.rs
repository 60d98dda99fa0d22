//! The protocol of sockets (RFC 6455) on an upgraded connection: frames in bounded memory, and
//! an end that the client gets to read.

use std::fmt;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::socket::Close;
use crate::filters::frame_limit::TooManyFrames;
use crate::filters::handshake::WebSocket;

/// Longest message of a client, in bytes, in however many frames it comes.
const LONGEST: usize = 16 * 1024;

/// What a connection reads at once, and gathers before it writes: most are quiet, and there are
/// many.
const BUFFER: usize = 4 * 1024;

/// How long a client has to answer that it closes too.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How much more is read of a client that goes on talking, so that it comes to read why the
/// connection ends: what is unread when a connection ends can cost it that.
const READ_ON: usize = 16 << 20;

/// How the protocol is spoken.
#[must_use]
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST))
}

/// A connection that speaks in frames.
pub(super) struct Wire {
    ws: WebSocket,
    /// What comes cannot be read as frames any more.
    is_broken: bool,
}

/// What a client says.
#[derive(Debug)]
pub(super) enum Said {
    /// A message.
    Text(Utf8Bytes),
    /// Bytes.
    Binary,
    /// A ping, which is answered, or the answer to one.
    Beat,
}

/// The client is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    /// The server's side of a connection on which the handshake was answered, by
    /// [these rules](config).
    pub fn new(ws: WebSocket) -> Self {
        Self { ws, is_broken: false }
    }

    /// What the client says next, or how it is to be closed; `None` where it goes, or is gone.
    pub async fn next(&mut self) -> Option<Result<Said, Close>> {
        let message = self.ws.next().await?;
        self.is_broken = message.is_err();
        match message {
            Ok(Message::Text(text)) => Some(Ok(Said::Text(text))),
            Ok(Message::Binary(_)) => Some(Ok(Said::Binary)),
            Ok(Message::Ping(_) | Message::Pong(_)) => Some(Ok(Said::Beat)),
            Err(Error::Capacity(_)) => Some(Err(Close::TooBig)),
            Err(Error::Io(error)) if TooManyFrames::is_cause_of(&error) => {
                Some(Err(Close::TooMany))
            }
            Err(Error::Utf8(_)) => Some(Err(Close::NotText)),
            Err(Error::Protocol(error)) if error != ProtocolError::ResetWithoutClosingHandshake => {
                Some(Err(Close::Protocol))
            }
            Ok(Message::Close(_) | Message::Frame(_)) | Err(_) => None,
        }
    }

    /// Adds a frame to what is written; waits where the client does not read.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn feed(&mut self, frame: &str) -> Result<(), Gone> {
        self.ws.feed(Message::text(frame)).await.map_err(|_| Gone)
    }

    /// Writes what was added.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        self.ws.flush().await.map_err(|_| Gone)
    }

    /// Asks whether anybody is there.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn ping(&mut self) -> Result<(), Gone> {
        self.ws.send(Message::Ping(Vec::new().into())).await.map_err(|_| Gone)
    }

    /// Says why the connection ends, for as long as the client may take to read it; then waits a
    /// moment for the client to close too, so that it has read it.
    pub async fn close(mut self, close: Close, within: Duration) {
        let (code, reason) = close.code();
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let said = timeout(within, self.ws.send(Message::Close(Some(frame)))).await;
        if let Ok(Ok(())) = said {
            let _ = timeout(CLOSE_WITHIN, self.read_on()).await;
        }
        let _ = timeout(CLOSE_WITHIN, self.ws.get_mut().shutdown()).await;
    }

    /// Ends a connection that the client has closed, or that is gone.
    pub async fn finish(mut self) {
        let end = async {
            // What it said last is answered.
            let _ = self.ws.flush().await;
            let _ = self.ws.get_mut().shutdown().await;
        };
        let _ = timeout(CLOSE_WITHIN, end).await;
    }

    async fn read_on(&mut self) {
        while !self.is_broken {
            match self.ws.next().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => self.is_broken = true,
                None => return,
            }
        }
        let (mut space, mut left) = (vec![0; BUFFER], READ_ON);
        while let Ok(count @ 1..) = self.ws.get_mut().read(&mut space).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    }
}
