//! Frames of h2 that cost a client nothing (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2024-27316).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use super::support::{GET, H1, H2, H2_GET, H2_HELLO, Rig, exchange, frames, millis, soon};

/// A frame of this kind, with these flags, on this stream (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS of a complete GET of `/`, as [`H2_GET`], on this stream.
fn get(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &H2_GET[9..])
}

async fn open(rig: &Rig) -> TlsStream<TcpStream> {
    let mut stream = rig.tls(H2).await;
    stream.write_all(H2_HELLO).await.unwrap();
    stream
}

/// The frames of a flood by their number.
type Frames = fn(u32) -> Vec<u8>;

/// Sends frames as fast as they are taken, and reads. Returns how many were sent before the
/// server ended the connection; `None` where it took them all.
async fn flood(rig: &Rig, first: &[u8], frame: Frames) -> Option<u32> {
    let (mut reader, mut writer) = tokio::io::split(open(rig).await);
    let read = tokio::spawn(async move {
        let mut space = vec![0; 1 << 16];
        while reader.read(&mut space).await.is_ok_and(|read| read > 0) {}
    });
    writer.write_all(first).await.unwrap();
    for sent in (0..200_000).step_by(100) {
        let frames: Vec<u8> = (sent..sent + 100).flat_map(frame).collect();
        let written = soon(async {
            writer.write_all(&frames).await?;
            writer.flush().await
        });
        if read.is_finished() || written.await.is_err() {
            return Some(sent);
        }
    }
    let begun = Instant::now();
    while !read.is_finished() && begun.elapsed() < millis(3000) {
        sleep(millis(10)).await;
    }
    read.is_finished().then_some(200_000)
}

/// Each of these ends the connection. What was on its way then may be some thousand frames more
/// than were looked at; `FrameMeter` has the exact bounds.
#[tokio::test]
async fn floods_of_frames_end_the_connection() {
    let rig = Rig::start(|_| ());
    let floods: [(&str, Vec<u8>, Frames); 12] = [
        ("PING", vec![], |_| frame(6, 0, 0, &[0; 8])),
        ("PING ACK", vec![], |_| frame(6, 1, 0, &[0; 8])),
        ("SETTINGS", vec![], |_| frame(4, 0, 0, &[])),
        ("SETTINGS with a value", vec![], |_| frame(4, 0, 0, &[0, 4, 0, 0, 1, 0])),
        ("PRIORITY", vec![], |n| frame(2, 0, 2 * n + 1, &[0, 0, 0, 0, 9])),
        ("WINDOW_UPDATE", vec![], |_| frame(8, 0, 0, &[0, 0, 0, 1])),
        ("unknown", vec![], |_| frame(99, 0, 0, b"x")),
        ("empty DATA", post(), |_| frame(0, 0, 1, &[])),
        ("DATA of a byte", post(), |_| frame(0, 0, 1, b"x")),
        ("CONTINUATION", frame(1, 1, 1, &H2_GET[9..]), |_| frame(9, 0, 1, &[])),
        ("headers without end", frame(1, 1, 1, &H2_GET[9..]), header),
        ("rapid reset", vec![], |n| reset(2 * n + 1)),
    ];
    for (name, first, frame) in floods {
        let sent = flood(&rig, &first, frame).await;
        assert!(sent.is_some_and(|sent| sent < 100_000), "{name}: {sent:?}");
        // The others do not notice.
        let mut other = rig.tls(H1).await;
        assert!(exchange(&mut other, GET).await.starts_with("HTTP/1.1 200 "), "{name}");
    }
}

/// The head of a POST whose body is to come.
fn post() -> Vec<u8> {
    frame(1, 4, 1, b"\x83\x84\x87\x41\x01a")
}

/// A CONTINUATION with a header field of its own.
fn header(n: u32) -> Vec<u8> {
    frame(9, 0, 1, format!("\x40\x0ax-{n:08}\x01y").as_bytes())
}

/// A request that is taken back at once.
fn reset(stream: u32) -> Vec<u8> {
    [get(stream), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
}

/// The same, of a request that is not answered by itself.
fn slow_reset(n: u32) -> Vec<u8> {
    let stream = 2 * n + 1;
    let head = frame(1, 5, stream, b"\x82\x87\x41\x01a\x04\x05/slow");
    [head, frame(3, 0, stream, &[0, 0, 0, 8])].concat()
}

#[tokio::test]
async fn a_request_that_is_taken_back_leaves_nothing() {
    let rig = Rig::start(|options| options.max_connections = 1);
    let sent = flood(&rig, &[], slow_reset).await;
    assert!(sent.is_some_and(|sent| sent < 100_000), "{sent:?}");
    soon(rig.place()).await;
}

/// How many answers have begun: frames of kind HEADERS.
fn answers(got: &[u8]) -> usize {
    frames(got).into_iter().filter(|kind| *kind == 1).count()
}

/// Traffic of busy clients: many requests, an update of each window for each piece of an answer,
/// priorities, and a ping now and then.
#[tokio::test]
async fn busy_clients_are_not_taken_for_floods() {
    let rig = Rig::start(|_| ());
    let mut stream = open(&rig).await;
    let mut got = Vec::new();
    for n in 0..2000_u32 {
        let id = 2 * n + 1;
        let mut sent = get(id);
        sent.extend(frame(2, 0, id, &[0, 0, 0, 0, 9]));
        sent.extend(frame(8, 0, id, &[0, 0, 1, 0]));
        sent.extend(frame(8, 0, 0, &[0, 0, 1, 0]));
        if n % 4 == 0 {
            sent.extend(frame(6, 0, 0, &[0; 8]));
        }
        stream.write_all(&sent).await.unwrap();
        if n % 20 == 19 {
            stream.flush().await.unwrap();
            soon(async {
                while answers(&got) <= n as usize {
                    assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0, "after {n}");
                }
            })
            .await;
        }
    }
}
