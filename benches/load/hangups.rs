//! Every client hangs up at the same moment with a request under way; then one asks alone.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use super::common::Result;
use super::common::client::Connector;
use super::common::people::People;

/// How many handshakes are under way at once.
const OPENING: usize = 100;

/// How long the lone request may take.
const LONE: Duration = Duration::from_secs(1);

/// What is under way when they hang up.
#[derive(Debug, Clone, Copy)]
enum Request {
    /// `GET /messages/{user_id}`
    History,
    /// The opening handshake of `GET /ws`
    Socket,
}

impl Request {
    fn head(self, host: &str, token: &str, peer: &str) -> String {
        let (path, more) = match self {
            Self::History => (format!("/messages/{peer}?limit=50"), ""),
            Self::Socket => (
                "/ws".to_owned(),
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
        };
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n{more}\r\n")
    }
}

/// Hangs up so many times, and says how long the next request took; returns how many took longer
/// than they may.
pub async fn rounds(
    connector: &Connector,
    people: &People,
    connections: u32,
    rounds: u32,
) -> Result<usize> {
    let mut errors = 0;
    for request in [Request::History, Request::Socket] {
        for round in 1..=rounds {
            hang_up(connector, people, connections as usize, request).await?;
            let began = Instant::now();
            let person = people.get(0);
            let path = format!("/messages/{}?limit=50", people.get(1).id);
            let mut connection = connector.open().await?;
            let status = connection.get(&path, Some(&person.token)).await?.status;
            let took = began.elapsed();
            println!(
                "{connections} hang-ups with {request:?} under way, round {round}: \
                 the next request was {status} after {} ms",
                took.as_millis()
            );
            errors += usize::from(status != StatusCode::OK || took > LONE);
        }
    }
    Ok(errors)
}

async fn hang_up(
    connector: &Connector,
    people: &People,
    connections: usize,
    request: Request,
) -> Result<()> {
    let host = connector.host.to_str()?;
    let text = |token: &HeaderValue| token.to_str().map(str::to_owned);
    let opening = (0..connections).map(|_| connector.connect(None));
    let opened: Vec<_> = stream::iter(opening).buffer_unordered(OPENING).collect().await;
    let mut opened = opened.into_iter().collect::<Result<Vec<TlsStream<TcpStream>>>>()?;
    let mut asking = Vec::new();
    for (number, stream) in opened.iter_mut().enumerate() {
        let person = people.get(number);
        let peer = &people.get(number + 1).id;
        let head = request.head(host, &text(&person.token)?, peer);
        asking.push(async move {
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await
        });
    }
    for asked in join_all(asking).await {
        asked?;
    }
    sleep(Duration::from_millis(50)).await;
    drop(opened);
    Ok(())
}
