//! Clients hang up at the same moment with a request under way; then one asks alone. And MongoDB
//! stands still under requests.

use std::process::Command;
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::{StreamExt, stream};
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use mongodb::bson::doc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use super::common::Result;
use super::common::client::{Connector, Way};
use super::common::people::People;

/// How long natter may take to serve again before the tool gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many handshakes are under way at once.
const OPENING: usize = 100;

/// Streams of each HTTP/2 connection, fewer than natter takes.
const STREAMS: usize = 50;

/// How long the lone request may take.
const LONE: Duration = Duration::from_secs(1);

/// How long MongoDB stands still, which is longer than the deadline of a request, and under how
/// many requests.
const FROZEN: Duration = Duration::from_millis(6500);
const UNDER_WAY: usize = 300;

/// How soon a request is served after MongoDB goes on.
const THAWED: Duration = Duration::from_secs(2);

/// What is under way when the clients hang up, and how they do.
#[derive(Debug, Clone, Copy)]
enum HangUp {
    /// `GET /messages/{user_id}`, a connection each, which is closed.
    History,
    /// The opening handshake of `GET /ws`, a connection each, which is closed.
    Socket,
    /// `GET /messages/{user_id}` over HTTP/2, each stream reset.
    Resets,
    /// `GET /messages/{user_id}` over HTTP/2, the connections closed.
    Streams,
}

/// Hangs up so many times in every way, and says how long the next request took each time; returns
/// how many took longer than they may.
pub async fn rounds(
    connector: &Connector,
    people: &People,
    connections: u32,
    rounds: u32,
) -> Result<usize> {
    let mut errors = 0;
    for way in [HangUp::History, HangUp::Socket, HangUp::Resets, HangUp::Streams] {
        for round in 1..=rounds {
            let clients = connections as usize;
            match way {
                HangUp::History => close(connector, people, clients, history).await?,
                HangUp::Socket => close(connector, people, clients, upgrade).await?,
                HangUp::Resets => streams(connector, people, clients, true).await?,
                HangUp::Streams => streams(connector, people, clients, false).await?,
            }
            let (status, took) = lone(connector, people).await?;
            println!(
                "{clients} hang-ups ({way:?}), round {round}: the next request was {status} after \
                 {} ms",
                took.as_millis()
            );
            errors += usize::from(status != StatusCode::OK || took > LONE);
        }
    }
    Ok(errors)
}

/// Stops MongoDB, which must be a process of this machine, under requests; returns 1 if natter
/// serves none in time after it goes on.
pub async fn frozen(connector: &Connector, people: &People, mongodb: &str) -> Result<usize> {
    let admin = mongodb::Client::with_uri_str(mongodb).await?.database("admin");
    let status = admin.run_command(doc! { "serverStatus": 1 }).await?;
    let pid = status.get_i64("pid")?;
    let asking = (0..UNDER_WAY).map(|n| async move {
        let mut connection = connector.open().await?;
        sleep(Duration::from_secs(1)).await;
        let (person, peer) = (people.get(n), people.get(n + 1));
        let path = format!("/messages/{}?limit=50", peer.id);
        connection.get(&path, Some(&person.token)).await
    });
    let freezing = async {
        sleep(Duration::from_millis(1050)).await;
        signal(pid, "-STOP")?;
        sleep(FROZEN).await;
        signal(pid, "-CONT")
    };
    let (answers, frozen) = join(join_all(asking), freezing).await;
    frozen?;
    let refused = answers.iter().flatten().filter(|it| it.status != StatusCode::OK).count();
    let began = Instant::now();
    while lone(connector, people).await?.0 != StatusCode::OK && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    println!(
        "MongoDB stood still for {} ms under {UNDER_WAY} requests, {refused} of them refused: \
         served again {} ms after it went on",
        FROZEN.as_millis(),
        took.as_millis()
    );
    Ok(usize::from(took > THAWED))
}

/// One request on a connection of its own.
async fn lone(connector: &Connector, people: &People) -> Result<(StatusCode, Duration)> {
    let began = Instant::now();
    let path = format!("/messages/{}?limit=50", people.get(1).id);
    let mut connection = connector.open().await?;
    let status = connection.get(&path, Some(&people.get(0).token)).await?.status;
    Ok((status, began.elapsed()))
}

fn signal(pid: i64, signal: &str) -> Result<()> {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status()?;
    if sent.success() { Ok(()) } else { Err(format!("kill {signal} {pid}: {sent}").into()) }
}

fn history(peer: &str) -> String {
    format!("GET /messages/{peer}?limit=50 HTTP/1.1\r\n")
}

fn upgrade(_: &str) -> String {
    "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        .to_owned()
}

/// Opens connections, begins a request on each, and closes them all.
async fn close(
    connector: &Connector,
    people: &People,
    clients: usize,
    head: fn(peer: &str) -> String,
) -> Result<()> {
    let host = connector.host.to_str()?;
    let opening = (0..clients).map(|_| connector.connect(Way::default()));
    let opened: Vec<_> = stream::iter(opening).buffer_unordered(OPENING).collect().await;
    let mut opened = opened.into_iter().collect::<Result<Vec<TlsStream<TcpStream>>>>()?;
    let mut asking = Vec::new();
    for (number, stream) in opened.iter_mut().enumerate() {
        let token = people.get(number).token.to_str()?;
        let begin = head(&people.get(number + 1).id);
        let head = format!("{begin}Host: {host}\r\nAuthorization: {token}\r\n\r\n");
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

/// Begins requests as streams of few connections, and resets each or closes the connections.
async fn streams(
    connector: &Connector,
    people: &People,
    clients: usize,
    is_reset: bool,
) -> Result<()> {
    let host = connector.host.to_str()?;
    let way = Way { is_http2: true, ..Way::default() };
    let (mut drivers, mut answers) = (JoinSet::new(), Vec::new());
    for first in (0..clients).step_by(STREAMS) {
        let (mut sender, driver) = h2::client::handshake(connector.connect(way).await?).await?;
        drivers.spawn(driver);
        for number in first..clients.min(first + STREAMS) {
            sender = sender.ready().await?;
            let peer = &people.get(number + 1).id;
            let request = Request::get(format!("https://{host}/messages/{peer}?limit=50"))
                .header(AUTHORIZATION, people.get(number).token.clone());
            answers.push(sender.send_request(request.body(())?, true)?);
        }
    }
    sleep(Duration::from_millis(50)).await;
    if is_reset {
        for (answer, mut stream) in answers {
            stream.send_reset(h2::Reason::CANCEL);
            drop(answer);
        }
        // The resets are sent.
        sleep(Duration::from_millis(50)).await;
    }
    drivers.shutdown().await;
    Ok(())
}
