//! Frames that no client library sends, byte by byte: RFC 6455 as Autobahn tests it, and floods.

use std::time::Duration;

use crate::support::raw::Raw;
use crate::support::{Actor, TestApp};

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame with a masking key of zeros, which leaves the payload as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => frame.push(0x80 | short),
        (_, Ok(medium)) => {
            frame.push(0xfe);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(0xff);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// An open socket as bytes, past its first frame.
async fn open(app: &TestApp, actor: &Actor) -> Raw {
    let mut raw = Raw::connect(app, b"http/1.1").await;
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        authorization: Bearer {}\r\n\r\n",
        actor.token
    );
    raw.send(handshake.as_bytes()).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(answer.status, 101, "{}", answer.body);
    let (first, payload) = next(&mut raw).await.expect("a first frame");
    assert!(first == FIN | TEXT && payload.starts_with(b"{\"type\":\"ready\""), "{first}");
    raw
}

/// The next frame of natter: its first byte, its payload; `None` at the end.
async fn next(raw: &mut Raw) -> Option<(u8, Vec<u8>)> {
    loop {
        if let [first, short, rest @ ..] = raw.unread.as_slice() {
            let (length, start) = match (*short, rest) {
                (126, [high, low, ..]) => (usize::from(*high) << 8 | usize::from(*low), 4),
                (short @ ..126, _) => (usize::from(short), 2),
                _ => (usize::MAX - 4, 4),
            };
            if raw.unread.len() >= start + length {
                let found = (*first, raw.unread[start..start + length].to_vec());
                raw.unread.drain(..start + length);
                return Some(found);
            }
        }
        if !raw.read(Duration::from_secs(10)).await {
            return None;
        }
    }
}

/// The code with which natter closes, whatever it says before; 0 for none.
async fn closed(raw: &mut Raw) -> u16 {
    while let Some((first, payload)) = next(raw).await {
        if first == FIN | CLOSE {
            return payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
        }
    }
    panic!("an end without a close frame");
}

/// What a client sends, and the code with which natter closes.
type Rows = Vec<(String, Vec<u8>, u16)>;

fn row(name: impl Into<String>, bytes: Vec<u8>, code: u16) -> (String, Vec<u8>, u16) {
    (name.into(), bytes, code)
}

fn bad_headers() -> Rows {
    let mut rows = Rows::new();
    for bit in [0x40, 0x20, 0x10] {
        rows.push(row(format!("reserved bit {bit:x}"), frame(FIN | bit | TEXT, b"{}"), 1002));
        rows.push(row(format!("reserved bit {bit:x}, ping"), frame(FIN | bit | PING, b""), 1002));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rows.push(row(format!("opcode {opcode}"), frame(FIN | opcode, b""), 1002));
        rows.push(row(format!("opcode {opcode} in pieces"), frame(opcode, b"x"), 1002));
    }
    for opcode in [CLOSE, PING, PONG] {
        rows.push(row(format!("control frame {opcode} in pieces"), frame(opcode, b""), 1002));
        rows.push(row(
            format!("long control frame {opcode}"),
            frame(FIN | opcode, &[3; 126]),
            1002,
        ));
    }
    rows.push(row("no mask", vec![FIN | TEXT, 2, b'{', b'}'], 1002));
    rows.push(row("continuation of nothing", frame(FIN | CONTINUATION, b"{}"), 1002));
    let twice = [frame(TEXT, b"{"), frame(FIN | TEXT, b"}")].concat();
    rows.push(row("text in the middle", twice, 1002));
    for high in [0x80, 0x40] {
        let length = vec![FIN | TEXT, 0xff, high, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        rows.push(row(format!("length {high:x}00000000000000"), length, 1009));
    }
    rows.push(row("binary", frame(FIN | 2, b"{}"), 4400));
    rows
}

fn closes() -> Rows {
    let mut rows = Rows::new();
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        rows.push(row(format!("close code {code}"), close(code, b""), 1002));
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        rows.push(row(format!("close code {code}"), close(code, b"bye"), code));
    }
    rows.push(row("close of one byte", frame(FIN | CLOSE, b"x"), 1002));
    rows
}

fn bad_texts() -> Rows {
    let mut rows = Rows::new();
    let sequences: [&[u8]; 7] = [
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xce",
        b"\xf0\x9f\x92",
        b"\x80",
    ];
    for bad in sequences {
        let whole = frame(FIN | TEXT, &[b"\"", bad, b"\""].concat());
        rows.push(row(format!("text {bad:x?}"), whole, 1007));
        let pieces = [frame(TEXT, &bad[..1]), frame(FIN | CONTINUATION, &bad[1..])].concat();
        rows.push(row(format!("text {bad:x?} in pieces"), pieces, 1007));
        rows.push(row(format!("reason {bad:x?}"), close(1000, bad), 1007));
    }
    rows
}

/// Some who take turns: a socket counts against its account until natter has seen its end.
async fn people(app: &TestApp) -> Vec<Actor> {
    let mut people = Vec::new();
    for name in ["ada", "bob", "cleo", "dora", "emil"] {
        people.push(app.user(name).await);
    }
    people
}

#[tokio::test]
async fn what_rfc_6455_forbids_closes_the_socket() {
    let app = TestApp::spawn().await;
    let people = people(&app).await;
    let cases = [bad_headers(), closes(), bad_texts()].concat();
    for ((name, bytes, code), one) in cases.into_iter().zip(people.iter().cycle()) {
        let mut raw = open(&app, one).await;
        raw.send(&bytes).await;
        assert_eq!(closed(&mut raw).await, code, "{name}");
    }
}

#[tokio::test]
async fn what_rfc_6455_allows_is_taken() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let mut raw = open(&app, &ada).await;
    let split = [
        frame(TEXT, b"{\"type\":"),
        frame(FIN | PING, b"between"),
        frame(CONTINUATION, b""),
        frame(FIN | PONG, &[b'x'; 125]),
        frame(CONTINUATION, b"\"pi"),
        frame(FIN | CONTINUATION, b"ng\",\"x\":\"\xf0\x9f\x92\x96\"}"),
    ];
    for byte in split.concat() {
        raw.send(&[byte]).await;
    }
    assert_eq!(next(&mut raw).await, Some((FIN | PONG, b"between".to_vec())));
    let (first, pong) = next(&mut raw).await.expect("a pong");
    assert!(first == FIN | TEXT && pong.starts_with(b"{\"type\":\"pong\""), "{first}");
    raw.send(&frame(FIN | CLOSE, b"")).await;
    assert_eq!(closed(&mut raw).await, 0);
}

/// Every frame counts against the thirty in a second: control frames, and pieces of a message that
/// never ends.
#[tokio::test]
async fn floods_of_frames_of_any_kind_are_4429() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let ping = br#"{"type":"ping"}"#;
    for (name, first, frame) in [
        ("empty continuations", frame(TEXT, b""), frame(CONTINUATION, b"")),
        ("continuations of a byte", frame(TEXT, b""), frame(CONTINUATION, b" ")),
        ("pings", Vec::new(), frame(FIN | PING, b"x")),
        ("pongs", Vec::new(), frame(FIN | PONG, b"")),
        ("pings in a message", frame(TEXT, b"{"), frame(FIN | PING, b"")),
        ("texts", Vec::new(), frame(FIN | TEXT, ping)),
    ] {
        for size in [1000, 1] {
            let mut raw = open(&app, &ada).await;
            raw.send(&first).await;
            for frames in frame.repeat(1000).chunks(frame.len() * size) {
                raw.send(frames).await;
            }
            assert_eq!(closed(&mut raw).await, 4429, "{name}, {size} at once");
        }
    }
    let mut calm = open(&app, &ada).await;
    for _ in 0..29 {
        calm.send(&frame(FIN | PING, b"")).await;
        assert_eq!(next(&mut calm).await, Some((FIN | PONG, Vec::new())));
    }
}
