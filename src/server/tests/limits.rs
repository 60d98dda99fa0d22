//! Time limits and the limit on connections.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::support::{
    GET, H1, H2, H2_GET, H2_HELLO, Rig, answer, closed, exchange, frames, millis, soon,
};

const GOAWAY: u8 = 7;

#[tokio::test]
async fn silent_handshake_is_dropped() {
    let rig = Rig::start(|options| options.handshake_timeout = millis(100));
    let mut stream = rig.tcp().await;
    let start = Instant::now();
    assert!(closed(&mut stream).await.is_empty());
    assert!(start.elapsed() >= millis(90));
}

#[tokio::test]
async fn trickled_handshake_takes_no_longer() {
    let rig = Rig::start(|options| options.handshake_timeout = millis(200));
    let mut stream = rig.tcp().await;
    // A record of a ClientHello of 16 KiB, whose bytes come one by one.
    stream.write_all(&[22, 3, 1, 63, 255, 1, 0, 63, 251]).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let trickle = async {
        while writer.write_all(&[3]).await.is_ok() {
            sleep(millis(10)).await;
        }
    };
    soon(async {
        tokio::select! {
            _ = closed(&mut reader) => {}
            () = trickle => {}
        }
    })
    .await;
}

#[tokio::test]
async fn first_head_is_due_in_both_protocols() {
    let rig = Rig::start(|options| options.header_timeout = millis(100));
    for (alpn, hello) in [(H1, &b""[..]), (H1, b"GET / HT"), (H2, b""), (H2, H2_HELLO)] {
        let mut stream = rig.tls(alpn).await;
        stream.write_all(hello).await.unwrap();
        closed(&mut stream).await;
    }
}

#[tokio::test]
async fn trickled_head_takes_no_longer() {
    let rig = Rig::start(|options| options.header_timeout = millis(200));
    let mut stream = rig.tls(H1).await;
    // The limit holds for every head of a connection, not only the first.
    exchange(&mut stream, GET).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let trickle = async {
        writer.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        while writer.write_all(b"y").await.is_ok() && writer.flush().await.is_ok() {
            sleep(millis(10)).await;
        }
    };
    soon(async {
        tokio::select! {
            _ = closed(&mut reader) => {}
            () = trickle => {}
        }
    })
    .await;
}

#[tokio::test]
async fn idle_connection_outlives_the_head_limit_and_is_closed_gently() {
    let rig = Rig::start(|options| {
        options.header_timeout = millis(100);
        options.idle_timeout = millis(600);
    });
    let mut stream = rig.tls(H1).await;
    exchange(&mut stream, GET).await;
    sleep(millis(250)).await;
    assert!(exchange(&mut stream, GET).await.starts_with("HTTP/1.1 200 "));
    let mut rest = Vec::new();
    // An end without close_notify would be an error.
    assert_eq!(soon(stream.read_to_end(&mut rest)).await.unwrap(), 0);
}

#[tokio::test]
async fn idle_h2_connection_is_told_to_go_away() {
    let rig = Rig::start(|options| options.idle_timeout = millis(100));
    let mut stream = rig.tls(H2).await;
    stream.write_all(&[H2_HELLO, H2_GET].concat()).await.unwrap();
    // The client never acknowledges the goodbye, and is dropped for it.
    let got = closed(&mut stream).await;
    assert!(frames(&got).contains(&GOAWAY), "{:?}", frames(&got));
}

#[tokio::test]
async fn request_under_way_is_not_idle() {
    let rig = Rig::start(|options| {
        options.header_timeout = millis(50);
        options.idle_timeout = millis(50);
    });
    for client in [rig.client(), rig.client().http1_only()] {
        let request = client.build().unwrap().get(rig.url("/slow")).send();
        let request = tokio::spawn(request);
        sleep(millis(300)).await;
        rig.toy.gate.add_permits(1);
        let response = soon(request).await.unwrap().unwrap();
        assert!(response.headers().get("connection").is_none());
        assert_eq!(response.text().await.unwrap(), "slow");
    }
}

#[tokio::test]
async fn client_that_does_not_read_its_answer_is_dropped() {
    let h1 = b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n";
    // SETTINGS with INITIAL_WINDOW_SIZE 0, then GET /endless, its path as a literal.
    let h2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0\
        \0\0\x0f\x01\x05\0\0\0\x01\x82\x87\x41\x01a\x04\x08/endless";
    for (alpn, request) in [(H1, &h1[..]), (H2, h2)] {
        let rig = Rig::start(|options| {
            options.idle_timeout = millis(300);
            options.max_connections = 1;
        });
        let mut stream = rig.tls(alpn).await;
        stream.write_all(request).await.unwrap();
        rig.called(1).await;
        assert!(closed(&mut rig.tcp().await).await.is_empty());
        // Reading would make the answer move: the freed place shows the end.
        soon(rig.place()).await;
    }
}

#[tokio::test]
async fn slow_reader_that_keeps_reading_is_served() {
    let rig = Rig::start(|options| options.idle_timeout = millis(400));
    let mut stream = rig.tls(H1).await;
    let endless = b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(endless).await.unwrap();
    let start = Instant::now();
    let mut space = vec![0; 1 << 20];
    while start.elapsed() < millis(1200) {
        assert_ne!(soon(stream.read(&mut space)).await.unwrap(), 0);
        sleep(millis(1)).await;
    }
}

#[tokio::test]
async fn upgraded_connection_keeps_its_place() {
    let rig = Rig::start(|options| options.max_connections = 1);
    let mut stream = rig.tls(H1).await;
    let request = b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    exchange(&mut stream, request).await;
    stream.write_all(b"x").await.unwrap();
    let mut back = [0; 1];
    soon(stream.read_exact(&mut back)).await.unwrap();
    assert!(closed(&mut rig.tcp().await).await.is_empty());
}

#[tokio::test]
async fn admin_listener_has_places_of_its_own() {
    let rig = Rig::start(|options| options.max_connections = 1);
    let mut taken = rig.tls(H1).await;
    taken.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    rig.called(1).await;
    let mut admin = tokio::net::TcpStream::connect(rig.admin).await.unwrap();
    assert!(exchange(&mut admin, GET).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn oversized_head_is_answered_431() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(17 << 10));
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 431 "));
}
