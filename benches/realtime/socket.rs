//! One WebSocket: how it is opened, and what comes on it.

use futures_util::StreamExt;
use http::{HeaderValue, header};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::common::Result;
use super::common::client::{Connector, Way};

/// Bytes read at once: a thousand sockets of 128 KiB each would be the tool's memory, not natter's.
const READ_BUFFER: usize = 8 * 1024;

/// An open connection.
pub struct Socket(WebSocketStream<TlsStream<TcpStream>>);

/// What natter says first.
#[derive(Debug)]
pub struct Ready {
    /// Whether it goes on after the event that was named; `None` where none was.
    pub recovered: Option<bool>,
    /// The event before those that are to come.
    pub last: Option<String>,
}

/// What comes on a socket.
#[derive(Debug)]
pub enum Came {
    /// An event; with the number at the beginning of its text, where it is a message of this tool.
    Event { id: String, number: Option<u32> },
    /// What is no event, such as a heartbeat.
    Nothing,
    /// The end, with the code that natter gave.
    End(Option<u16>),
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    message: Option<String>,
    recovered: Option<bool>,
    last_event_id: Option<String>,
}

impl Socket {
    /// Connects as someone, who may have seen the events up to one, and reads the first frame.
    pub async fn open(
        connector: &Connector,
        token: &HeaderValue,
        since: Option<&str>,
        buffer: Option<u32>,
    ) -> Result<(Self, Ready)> {
        let query = since.map(|since| format!("?since={since}")).unwrap_or_default();
        let url = format!("wss://{}/ws{query}", connector.host.to_str()?);
        let mut request = url.into_client_request()?;
        request.headers_mut().insert(header::AUTHORIZATION, token.clone());
        let stream = connector.connect(Way { receive_buffer: buffer, ..Way::default() }).await?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (mut stream, _) = client_async_with_config(request, stream, Some(config)).await?;
        let first = stream.next().await.ok_or("the connection ended before its first frame")??;
        let frame: Frame = serde_json::from_str(first.to_text()?)?;
        if frame.kind != "ready" {
            return Err(format!("the first frame is {}", frame.kind).into());
        }
        let data = frame.data.ok_or("a ready that says nothing")?;
        let ready = Ready { recovered: data.recovered, last: data.last_event_id };
        Ok((Self(stream), ready))
    }

    /// Waits for what comes next.
    pub async fn next(&mut self) -> Result<Came> {
        let message = match self.0.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(close))) => {
                return Ok(Came::End(close.map(|close| close.code.into())));
            }
            Some(Ok(_)) => return Ok(Came::Nothing),
            Some(Err(_)) | None => return Ok(Came::End(None)),
        };
        let frame: Frame = serde_json::from_str(&message)?;
        let Some(id) = frame.id else { return Ok(Came::Nothing) };
        let is_message = frame.kind == "message.created";
        let text = frame.data.and_then(|data| data.message).filter(|_| is_message);
        let number = text.and_then(|text| text.split(' ').next()?.parse().ok());
        Ok(Came::Event { id, number })
    }
}
