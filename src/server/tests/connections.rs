//! Protocols, certificates, addresses.

use std::io::ErrorKind;

use http::{StatusCode, Version};
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{
    GET, H1, H2, H2_GET, H2_HELLO, Pair, Rig, answer, exchange, frames, millis, soon,
};

#[tokio::test]
async fn both_tls_versions_agree_on_what_the_client_offers() {
    let rig = Rig::start(|_| ());
    for version in [&TLS12, &TLS13] {
        for alpn in [H1, H2, None] {
            let stream = rig.try_tls(&rig.pair, &[version], alpn).await.unwrap();
            let session = stream.get_ref().1;
            let expected = match version.version {
                ProtocolVersion::TLSv1_2 => ProtocolVersion::TLSv1_2,
                _ => ProtocolVersion::TLSv1_3,
            };
            assert_eq!(session.protocol_version(), Some(expected));
            assert_eq!(session.alpn_protocol(), alpn);
        }
    }
}

#[tokio::test]
async fn unknown_protocol_ends_the_handshake() {
    let rig = Rig::start(|_| ());
    let error = rig.try_tls(&rig.pair, &[&TLS13], Some(b"spdy/3")).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn requests_are_answered_in_both_protocols() {
    let rig = Rig::start(|_| ());
    let newest = rig.client().build().unwrap();
    let older = rig.client().http1_only().build().unwrap();
    for (client, version) in [(newest, Version::HTTP_2), (older, Version::HTTP_11)] {
        for _ in 0..2 {
            let response = client.get(rig.url("/")).send().await.unwrap();
            assert_eq!(response.version(), version);
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.text().await.unwrap().starts_with("127.0.0.1:"));
        }
    }
}

#[tokio::test]
async fn h2_is_never_guessed() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(None).await;
    stream.write_all(H2_HELLO).await.unwrap();
    let mut first = [0; 1];
    let read = soon(stream.read(&mut first)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "answered an h2 preface without ALPN");

    let mut stream = rig.tls(H2).await;
    stream.write_all(&[H2_HELLO, H2_GET].concat()).await.unwrap();
    let mut got = Vec::new();
    soon(async {
        while !frames(&got).contains(&1) {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn peer_is_the_other_end_of_the_connection() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    let own = stream.get_ref().0.local_addr().unwrap().to_string();
    assert!(exchange(&mut stream, GET).await.ends_with(&own));
    let mut stream = TcpStream::connect(rig.admin).await.unwrap();
    let own = stream.local_addr().unwrap().to_string();
    assert!(exchange(&mut stream, GET).await.ends_with(&own));
}

#[tokio::test]
async fn plain_http_is_redirected_to_the_public_url() {
    let rig = Rig::start(|_| ());
    let mut stream = TcpStream::connect(rig.redirect).await.unwrap();
    let request =
        b"POST /a/b?c=d HTTP/1.1\r\nhost: evil.example\r\nx-forwarded-host: evil.example\r\n\r\n";
    let answer = exchange(&mut stream, request).await;
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(answer.contains("\r\nlocation: https://chat.example/a/b?c=d\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(!answer.contains("evil"), "{answer}");
    let mut rest = Vec::new();
    assert_eq!(soon(stream.read_to_end(&mut rest)).await.unwrap(), 0);
}

#[tokio::test]
async fn certificate_changes_under_an_open_connection() {
    for asked in [true, false] {
        let rig = Rig::start(|options| {
            if !asked {
                options.certificate_interval = millis(20);
            }
        });
        let mut old = rig.tls(H1).await;
        exchange(&mut old, GET).await;

        let renewed = Pair::new("localhost");
        rig.dir.write(&renewed);
        if asked {
            rig.shutdown.ask_reload();
        }
        soon(async {
            while rig.try_tls(&renewed, &[&TLS13], H1).await.is_err() {
                tokio::time::sleep(millis(5)).await;
            }
        })
        .await;
        let error = rig.try_tls(&rig.pair, &[&TLS13], H1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(exchange(&mut old, GET).await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn early_answer_reaches_a_client_that_is_still_sending() {
    let rig = Rig::start(|_| ());
    let stream = rig.tls(H1).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let head = b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n";
    writer.write_all(head).await.unwrap();
    let sent = tokio::spawn(async move {
        for _ in 0..400 {
            writer.write_all(&[b'x'; 10_000]).await?;
            tokio::task::yield_now().await;
        }
        std::io::Result::Ok(())
    });
    // Sent completely before the answer is looked at: a reset would have taken it away.
    soon(sent).await.unwrap().unwrap();
    assert!(answer(&mut reader).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn upgraded_connections_pass_bytes_both_ways() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    let request = b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let answer = exchange(&mut stream, request).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    soon(stream.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"hello");
}
