//! What attacks on an instance's memory come to: connections that say nothing, downloads that
//! nobody reads, and images that are large to decode. Prints the resident memory at each step.

use std::io::Cursor;
use std::net::Ipv4Addr;
use std::time::Duration;

use flate2::Crc;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use http::HeaderValue;
use image::{ImageFormat, RgbaImage};
use natter::app::Failure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::common::Result;
use super::common::client::{Connector, Way};
use super::common::people::People;
use super::common::report::memory;

const SILENT: usize = 10_000;
const DOWNLOADS: usize = 1600;
const BOMBS: usize = 16;

/// Addresses that kept connections come from, each within its share of them.
const ADDRESSES: usize = 4;

/// How many handshakes are under way at once.
const OPENING: usize = 100;

/// Bytes that the system keeps for a client that does not read.
const RECEIVE_BUFFER: u32 = 4096;

/// How long an attack lasts, and how long the instance has to recover.
const PAUSE: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_mins(2);

type Stream = TlsStream<TcpStream>;

/// Attacks, one after the other; returns how many honest requests failed.
pub async fn attack(
    connector: &Connector,
    mails: &std::path::Path,
    server: Option<u32>,
) -> Result<usize> {
    let people = People::sign_up(connector, mails, BOMBS).await?;
    memory(server, "before");
    let address = connector.host.to_str()?.to_owned();
    let silent = (0..SILENT).map(|_| TcpStream::connect(&address));
    let silent: Vec<_> = join_all(silent).await.into_iter().flatten().collect();
    let served = connector.open().await.is_ok();
    println!("{} silent connections, a newcomer is served: {served}", silent.len());
    settle(server, "silent connections", silent).await;

    let quiet = quiet(connector).await;
    println!("{} connections that were served once and are kept", quiet.len());
    settle(server, "kept connections", quiet).await;

    let mut paths = Vec::new();
    for n in 0..people.len() {
        let answer = upload(connector, &people.get(n).token, vec![0x5a; 5 << 20]).await?;
        let id = answer.split_once("\"id\":\"").and_then(|(_, rest)| rest.split('"').next());
        paths.push(format!("/attachments/{}", id.ok_or("an answer without an id")?));
    }
    let asked = (0..DOWNLOADS).map(|n| {
        let n = n % people.len();
        ask(connector, &people.get(n).token, &paths[n])
    });
    let unread: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    println!("{} downloads that nobody reads", unread.len());
    settle(server, "unread downloads", unread).await;

    let bomb = bomb()?;
    let bombs = (0..BOMBS).map(|n| upload(connector, &people.get(n).token, bomb.clone()));
    let stored = join_all(bombs).await.iter().flatten().filter(|it| it.contains(" 201 ")).count();
    println!("{BOMBS} images of 40 megapixels with a profile of 160 MB: {stored} stored");
    settle(server, "images", ()).await;
    Ok(usize::from(!served))
}

/// As many connections as natter holds, from as many addresses as that takes, each served once.
async fn quiet(connector: &Connector) -> Vec<Stream> {
    let opening = (0..SILENT).map(async |n| {
        let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(n % ADDRESSES)?);
        let mut stream = connector.connect(Way { source: Some(source), ..Way::default() }).await?;
        let head = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", connector.host.to_str()?);
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        stream.read_u8().await?;
        Ok::<_, Failure>(stream)
    });
    let opened = stream::iter(opening).buffer_unordered(OPENING).collect::<Vec<_>>().await;
    opened.into_iter().flatten().collect()
}

/// Says what the attack takes, ends it, and says what is left.
async fn settle<T>(server: Option<u32>, name: &str, attack: T) {
    sleep(PAUSE).await;
    memory(server, &format!("under {name}"));
    drop(attack);
    sleep(2 * PAUSE).await;
    memory(server, &format!("after {name}"));
}

/// Sends the head of a request and its body.
async fn send(
    connector: &Connector,
    token: &HeaderValue,
    line: &str,
    body: &[u8],
) -> Result<Stream> {
    let way = Way { receive_buffer: Some(RECEIVE_BUFFER), ..Way::default() };
    let mut stream = connector.connect(way).await?;
    let (host, token) = (connector.host.to_str()?, token.to_str()?);
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\
         Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Asks for a file and leaves its bytes unread.
async fn ask(connector: &Connector, token: &HeaderValue, path: &str) -> Result<Stream> {
    send(connector, token, &format!("GET {path}"), &[]).await
}

/// Uploads a file and gives the answer as it came, its status first.
async fn upload(connector: &Connector, token: &HeaderValue, file: Vec<u8>) -> Result<String> {
    let head = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let body = [head.as_bytes(), &file, b"\r\n--x--\r\n"].concat();
    let mut stream = send(connector, token, "POST /attachments", &body).await?;
    let mut answer = Vec::new();
    let reading = async {
        while !answer.ends_with(b"}") {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    timeout(PATIENCE, reading).await.map_err(|_| "an upload took too long")??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A PNG of 40 megapixels whose profile inflates to as many bytes as its picture.
fn bomb() -> Result<Vec<u8>> {
    let mut image = Cursor::new(Vec::new());
    RgbaImage::new(8000, 5000).write_to(&mut image, ImageFormat::Png)?;
    let image = image.into_inner();
    let mut profile = b"iCCPa\0\0".to_vec();
    let mut rest = &image[8..];
    while let Some((length, chunk)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if let Some(data) = chunk.strip_prefix(b"IDAT") {
            profile.extend_from_slice(&data[..length]);
        }
        rest = &chunk[8 + length..];
    }
    let length = u32::try_from(profile.len() - 4)?.to_be_bytes();
    let mut crc = Crc::new();
    crc.update(&profile);
    Ok([&image[..33], &length, &profile, &crc.sum().to_be_bytes(), &image[33..]].concat())
}
