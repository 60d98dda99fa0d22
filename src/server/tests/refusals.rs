//! Answers before the end of the request's body.

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;

use super::support::{GET, H1, H2, Rig, answer, closed, exchange, millis, soon};

/// Sends pieces in packets of their own, and reads one answer.
async fn ask(stream: &mut TlsStream<TcpStream>, pieces: &[&[u8]]) -> String {
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        sleep(millis(2)).await;
    }
    answer(stream).await
}

fn head(more: &str) -> Vec<u8> {
    format!("POST /refuse HTTP/1.1\r\nhost: a\r\n{more}\r\n\r\n").into_bytes()
}

/// A body in chunks of so many bytes (RFC 9112, 7.1), with a trailer.
fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for chunk in body.chunks(size) {
        sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        sent.extend_from_slice(chunk);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\nx-end: yes\r\n\r\n");
    sent
}

fn is_refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 413 ") && !answer.contains("\r\nconnection:")
}

fn is_refused_and_closed(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 413 ") && answer.contains("\r\nconnection: close\r\n")
}

#[tokio::test]
async fn a_short_rest_leaves_the_connection_in_use() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    for round in 0..30 {
        for size in [1, 100, 70_000, 1 << 20] {
            let body = vec![b'x'; size];
            let length = head(&format!("content-length: {size}"));
            let got = ask(&mut stream, &[&length, &body]).await;
            assert!(is_refused(&got), "{round}, {size}: {got}");
            assert!(exchange(&mut stream, GET).await.starts_with("HTTP/1.1 200 "), "{round}");
            if round % 10 == 0 {
                let pieces = chunked(&body, 1 + size / 7);
                let got = ask(&mut stream, &[&head("transfer-encoding: chunked"), &pieces]).await;
                assert!(is_refused(&got), "{round}, {size} in chunks: {got}");
                assert!(exchange(&mut stream, GET).await.starts_with("HTTP/1.1 200 "));
            }
        }
    }
}

#[tokio::test]
async fn a_panic_leaves_the_connection_in_use() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    for _ in 0..3 {
        let head = b"POST /panic HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
        let got = ask(&mut stream, &[head, b"hello"]).await;
        assert!(got.starts_with("HTTP/1.1 500 ") && !got.contains("\r\nconnection:"), "{got}");
        assert!(exchange(&mut stream, GET).await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn requests_behind_a_refused_body_are_answered() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    let body = b"content-length: 11\r\n\r\nhello world";
    let refused = [b"POST /refuse HTTP/1.1\r\nhost: a\r\n".as_slice(), body].concat();
    stream.write_all(&[&refused, GET, &refused, GET].concat()).await.unwrap();
    for status in ["413", "200", "413", "200"] {
        // One after the other, so that each is read apart.
        let mut got = Vec::new();
        soon(async {
            while !got.ends_with(b"\r\n\r\n") {
                got.push(stream.read_u8().await.unwrap());
            }
        })
        .await;
        let text = String::from_utf8(got).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
    }
}

#[tokio::test]
async fn a_long_rest_gets_its_answer_and_the_end_of_the_connection() {
    let rig = Rig::start(|_| ());
    let body = vec![b'x'; 6 << 20];
    for (head, body) in [
        (head(&format!("content-length: {}", body.len())), body.clone()),
        (head("transfer-encoding: chunked"), chunked(&body, 10_000)),
    ] {
        let mut stream = rig.tls(H1).await;
        // Everything is sent before the answer is looked at: a reset would take it away.
        soon(stream.write_all(&head)).await.unwrap();
        for piece in body.chunks(100_000) {
            soon(stream.write_all(piece)).await.unwrap();
        }
        stream.flush().await.unwrap();
        let mut got = Vec::new();
        // An end without close_notify would be an error.
        soon(stream.read_to_end(&mut got)).await.unwrap();
        let got = String::from_utf8(got).unwrap();
        assert!(is_refused_and_closed(&got), "{got}");
    }
}

/// The client is told before it sends anything, and a body that it sends all the same is never
/// taken for a request.
#[tokio::test]
async fn who_expects_to_be_asked_is_refused_without() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    let smuggled = [GET, GET].concat();
    let length = format!("Expect: 100-Continue\r\ncontent-length: {}", smuggled.len());
    let got = ask(&mut stream, &[&head(&length)]).await;
    assert!(is_refused_and_closed(&got), "{got}");
    let _ = stream.write_all(&smuggled).await;
    assert!(closed(&mut stream).await.is_empty());
    assert_eq!(rig.toy.called.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_rest_that_does_not_come_is_not_waited_for_long() {
    let rig = Rig::start(|options| {
        options.max_connections = 1;
        options.header_timeout = millis(300);
        options.idle_timeout = millis(600);
    });
    let mut stream = rig.tls(H1).await;
    let begun = Instant::now();
    let mut sent = head("content-length: 1000");
    sent.extend_from_slice(b"some of it");
    let got = ask(&mut stream, &[&sent]).await;
    assert!(is_refused_and_closed(&got), "{got}");
    assert!(begun.elapsed() < millis(8000), "{:?}", begun.elapsed());
    // Its place is free soon after, though the client neither sends nor closes.
    soon(rig.place()).await;
    assert!(begun.elapsed() < millis(9000), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_body_that_breaks_ends_the_connection_with_the_answer() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    let chunked = head("transfer-encoding: chunked");
    let got = ask(&mut stream, &[&chunked, b"5\r\nhello\r\nnonsense\r\n"]).await;
    assert!(is_refused_and_closed(&got), "{got}");
    assert!(closed(&mut stream).await.is_empty());
}

#[tokio::test]
async fn an_oversized_head_that_is_still_coming_gets_its_answer() {
    let rig = Rig::start(|_| ());
    let mut stream = rig.tls(H1).await;
    let sent = async {
        stream.write_all(b"GET / HTTP/1.1\r\nx: ").await?;
        for _ in 0..200 {
            stream.write_all(&[b'y'; 10_000]).await?;
        }
        stream.flush().await
    };
    soon(sent).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 431 "));
}

/// Sends so many bytes on a stream, as its window allows.
async fn send(body: &mut h2::SendStream<Bytes>, mut left: usize) {
    while left > 0 {
        body.reserve_capacity(left);
        let ready = soon(std::future::poll_fn(|cx| body.poll_capacity(cx))).await;
        let ready = ready.expect("no reset").unwrap().min(left);
        left -= ready;
        body.send_data(Bytes::from(vec![b'x'; ready]), left == 0).unwrap();
    }
}

/// Over h2 the answer comes with the end of the body, or before it where the body does not come,
/// and the stream ends without a reset, so that the connection goes on.
#[tokio::test]
async fn a_stream_that_is_refused_is_not_reset() {
    let rig = Rig::start(|_| ());
    let stream = rig.tls(H2).await;
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    for (size, is_late) in [(10, false), (60_000, false), (3 << 20, false), (3 << 20, true)] {
        let mut request = Request::post("https://a/refuse");
        if is_late {
            request = request.header("expect", "100-continue");
        }
        let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        if !is_late {
            send(&mut body, size).await;
        }
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let mut answer = response.into_body();
        while let Some(piece) = soon(answer.data()).await {
            piece.unwrap();
        }
        if is_late {
            send(&mut body, size).await;
        }
    }
    let request = Request::get("https://a/").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), StatusCode::OK);
    drop(client);
    soon(connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_without_end_is_read_for_a_while_only() {
    let rig = Rig::start(|_| ());
    let stream = rig.tls(H2).await;
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("https://a/refuse").body(()).unwrap();
    let (response, mut body) = client.send_request(request, false).unwrap();
    let mut sent = 0;
    let end = soon(async {
        loop {
            body.reserve_capacity(100_000);
            match std::future::poll_fn(|cx| body.poll_capacity(cx)).await {
                Some(Ok(ready)) => {
                    sent += ready;
                    if body.send_data(Bytes::from(vec![b'x'; ready]), false).is_err() {
                        return std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
                    }
                }
                _ => return std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap(),
            }
        }
    })
    .await;
    assert_eq!(end, h2::Reason::NO_ERROR);
    assert_eq!(soon(response).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!((16 << 20..34 << 20).contains(&sent), "{sent}");
}

#[tokio::test]
async fn the_redirect_listener_refuses_and_reads_alike() {
    let rig = Rig::start(|_| ());
    for (head, length, status) in [
        ("POST / HTTP/1.1\r\nhost: a\r\n", 100, 308),
        ("POST / HTTP/1.1\r\nhost: a\r\n", 3_000_000, 308),
        ("POST / HTTP/1.1\r\n", 100, 400),
        ("POST / HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 3_000_000, 400),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n", 0, 404),
        ("OPTIONS * HTTP/1.0\r\n", 100, 308),
    ] {
        let mut stream = TcpStream::connect(rig.redirect).await.unwrap();
        let sent = format!("{head}content-length: {length}\r\n\r\n");
        soon(stream.write_all(sent.as_bytes())).await.unwrap();
        sleep(millis(2)).await;
        soon(stream.write_all(&vec![b'x'; length])).await.unwrap();
        let mut got = String::new();
        // A reset would be an error.
        soon(stream.read_to_string(&mut got)).await.unwrap();
        assert!(got.get(9..12) == Some(&status.to_string()), "{head}{got}");
        assert!(head.contains("1.0") || got.contains("\r\nconnection: close\r\n"), "{got}");
    }
}
