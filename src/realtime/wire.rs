//! The WebSocket protocol (RFC 6455) on an upgraded connection: frames in bounded memory, and a close
//! frame that the client can read.

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

/// Bytes of the longest message of a client, over all its frames.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Bytes of the read and the write buffer: most connections are idle, and there are many.
const BUFFER_BYTES: usize = 4 * 1024;

/// How long a client may take to answer the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that are read of a client after the close frame: closing a TCP connection with unread bytes
/// may discard the close frame.
const MAX_DRAINED_BYTES: usize = 16 << 20;

/// The limits of the protocol.
#[must_use]
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

/// A WebSocket connection.
#[derive(derive_more::Debug)]
#[debug("Wire")]
pub(super) struct Wire {
    ws: WebSocket,
    /// Frames can no longer be read.
    is_broken: bool,
}

/// A frame of a client, before it is parsed.
#[derive(Debug)]
pub(super) enum WireMessage {
    /// A message.
    Text(Utf8Bytes),
    /// Bytes.
    Binary,
    /// A ping, which is answered, or the answer to one.
    Heartbeat,
}

/// The client disconnected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disconnected;

impl Wire {
    /// The server's side of a connection on which the handshake was answered, by
    /// [these rules](config).
    pub fn new(ws: WebSocket) -> Self {
        Self { ws, is_broken: false }
    }

    /// The next frame of the client, or the reason to close; `None` if it disconnects.
    pub async fn next(&mut self) -> Option<Result<WireMessage, Close>> {
        let message = self.ws.next().await?;
        self.is_broken = message.is_err();
        match message {
            Ok(Message::Text(text)) => Some(Ok(WireMessage::Text(text))),
            Ok(Message::Binary(_)) => Some(Ok(WireMessage::Binary)),
            Ok(Message::Ping(_) | Message::Pong(_)) => Some(Ok(WireMessage::Heartbeat)),
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

    /// Adds a frame to the write buffer; waits while the client does not read.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn feed(&mut self, frame: &str) -> Result<(), Disconnected> {
        self.ws.feed(Message::text(frame)).await.map_err(|_| Disconnected)
    }

    /// Writes the buffer.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn flush(&mut self) -> Result<(), Disconnected> {
        self.ws.flush().await.map_err(|_| Disconnected)
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn ping(&mut self) -> Result<(), Disconnected> {
        self.ws.send(Message::Ping(Vec::new().into())).await.map_err(|_| Disconnected)
    }

    /// Sends the close frame within a time limit, then waits a moment for the close frame of the client.
    pub async fn close(mut self, close: Close, within: Duration) {
        let (code, reason) = close.code();
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let said = timeout(within, self.ws.send(Message::Close(Some(frame)))).await;
        if let Ok(Ok(())) = said {
            let _ = timeout(CLOSE_TIMEOUT, self.read_on()).await;
        }
        let _ = timeout(CLOSE_TIMEOUT, self.ws.get_mut().shutdown()).await;
    }

    /// Ends a connection after the client closed it or disconnected.
    pub async fn finish(mut self) {
        let end = async {
            // The answer to its close frame.
            let _ = self.ws.flush().await;
            let _ = self.ws.get_mut().shutdown().await;
        };
        let _ = timeout(CLOSE_TIMEOUT, end).await;
    }

    async fn read_on(&mut self) {
        while !self.is_broken {
            match self.ws.next().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => self.is_broken = true,
                None => return,
            }
        }
        let (mut space, mut left) = (vec![0; BUFFER_BYTES], MAX_DRAINED_BYTES);
        while let Ok(count @ 1..) = self.ws.get_mut().read(&mut space).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    }
}
