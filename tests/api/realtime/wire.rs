//! The handshake, and frames as RFC 6455 has them.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::socket::{Socket, refused, request};
use crate::support::{Actor, Answer, TestApp};

/// A ping of exactly so many bytes.
fn ping_of(bytes: usize) -> String {
    let empty = r#"{"type":"ping","pad":""}"#.len();
    format!(r#"{{"type":"ping","pad":"{}"}}"#, "x".repeat(bytes - empty))
}

/// Sends a text in frames of so many bytes.
async fn send_in_pieces(socket: &mut Socket, text: &str, bytes: usize) {
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(bytes).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let data = if n == 0 { Data::Text } else { Data::Continue };
        let is_last = n + 1 == pieces.len();
        let frame = Frame::message(piece.to_vec(), OpCode::Data(data), is_last);
        socket.send_raw(Message::Frame(frame)).await;
    }
}

#[tokio::test]
async fn a_frame_has_at_most_sixteen_kibibytes() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let mut socket = ada.socket().await;
    socket.send_raw(ping_of(16 * 1024)).await;
    socket.expect("pong").await;
    send_in_pieces(&mut socket, &ping_of(16 * 1024), 1000).await;
    socket.expect("pong").await;
    socket.send_raw(ping_of(16 * 1024 + 1)).await;
    assert_eq!(socket.closed().await, 1009);
    // Whoever sends much more reads the reason all the same.
    for bytes in [17 << 10, 300 << 10, 5 << 20] {
        let mut socket = ada.socket().await;
        socket.send_raw(ping_of(bytes)).await;
        assert_eq!(socket.closed().await, 1009, "{bytes}");
        let mut socket = ada.socket().await;
        send_in_pieces(&mut socket, &ping_of(bytes), 4096).await;
        assert_eq!(socket.closed().await, 1009, "{bytes} in pieces");
    }
    let mut socket = app.socket().await;
    socket.send_raw(vec![0; 300 << 10]).await;
    assert_eq!(socket.closed().await, 1009, "before the token");
}

#[tokio::test]
async fn more_than_thirty_frames_a_second_close() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let (mut calm, mut loud) = (ada.socket().await, ada.socket().await);
    for _ in 0..30 {
        calm.send(json!({"type": "ping"})).await;
    }
    for _ in 0..30 {
        calm.expect("pong").await;
    }
    for _ in 0..200 {
        loud.send_raw(r#"{"type":"ping"}"#).await;
    }
    assert_eq!(loud.closed().await, 4429);
    let mut pings = ada.socket().await;
    for _ in 0..200 {
        pings.send_raw(Message::Ping(b"x".to_vec().into())).await;
    }
    assert_eq!(pings.closed().await, 4429, "pings of the protocol are frames, too");
    tokio::time::sleep(Duration::from_secs(1)).await;
    calm.ping().await;
}

#[tokio::test]
async fn the_protocol_itself_is_kept() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    let mut socket = ada.socket().await;
    socket.send_raw(Message::Ping(b"are you there?".to_vec().into())).await;
    assert_eq!(socket.protocol_pong().await, b"are you there?");
    socket.send_raw(Message::Pong(b"unasked".to_vec().into())).await;
    socket.ping().await;
    let text = |bytes: &[u8]| Frame::message(bytes.to_vec(), OpCode::Data(Data::Text), true);
    let mut reserved = text(b"{}");
    reserved.header_mut().rsv1 = true;
    let continued = Frame::message(b"{}".to_vec(), OpCode::Data(Data::Continue), true);
    for (frame, code) in [(text(b"{\"type\":\"\xff\"}"), 1007), (reserved, 1002), (continued, 1002)]
    {
        let mut socket = ada.socket().await;
        socket.send_raw(Message::Frame(frame)).await;
        assert_eq!(socket.closed().await, code);
    }
    socket.send_raw(Message::Close(None)).await;
    socket.answered_close().await;
}

fn upgrade_required(answer: Answer) {
    assert_eq!(answer.header("sec-websocket-version"), "13");
    assert_eq!(answer.header("upgrade"), "websocket");
    answer.problem(426, "upgrade_required");
}

fn without(actor: &Actor, name: &'static str) -> reqwest::RequestBuilder {
    with(actor, name, None)
}

/// The request with one header changed or removed.
fn with(actor: &Actor, name: &'static str, value: Option<&str>) -> reqwest::RequestBuilder {
    let (client, request) = actor.socket_request("").build_split();
    let mut request = request.expect("a request");
    request.headers_mut().remove(name);
    if let Some(value) = value {
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    reqwest::RequestBuilder::from_parts(client, request)
}

#[tokio::test]
async fn only_a_handshake_opens_a_socket() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada").await;
    for name in ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
        upgrade_required(refused(without(&ada, name)).await);
    }
    upgrade_required(refused(with(&ada, "sec-websocket-version", Some("8"))).await);
    for key in ["abc", "not base64 at all", "AAAAAAAAAAAAAAAAAAAA"] {
        upgrade_required(refused(with(&ada, "sec-websocket-key", Some(key))).await);
    }
    upgrade_required(refused(with(&ada, "upgrade", Some("h2c"))).await);
    // Over HTTP/2, which has no such handshake.
    let answer = ada.get("/ws").await;
    assert_eq!(answer.header("connection"), "");
    answer.problem(426, "upgrade_required");
    app.get("/ws").await.problem(426, "upgrade_required");
    ada.post("/ws", json!({})).await.problem(405, "method_not_allowed");
    let mut listed = with(&ada, "connection", Some("keep-alive, Upgrade"));
    listed = listed.header("origin", "https://elsewhere.example");
    assert!(crate::support::socket::open(listed).await.is_ok(), "no cookies, so from anywhere");
}

#[tokio::test]
async fn what_a_client_offers_is_not_taken_up() {
    let app = TestApp::spawn().await;
    let response = request(&app.url, "")
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .header("sec-websocket-protocol", "chat, superchat")
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 101);
    for name in ["sec-websocket-extensions", "sec-websocket-protocol", "set-cookie"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
}
