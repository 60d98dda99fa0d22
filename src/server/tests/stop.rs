//! The stop: what finishes, what is refused, what is cut.

use std::io::ErrorKind;
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::support::{GET, H1, H2, H2_HELLO, NEVER, Rig, answer, closed, exchange, millis, soon};
use crate::lifecycle::Drain;

#[tokio::test]
async fn request_under_way_finishes_and_new_ones_are_refused() {
    let rig = Rig::start(|_| ());
    let h2 = rig.client().build().unwrap().get(rig.url("/slow")).send();
    let h2 = tokio::spawn(h2);
    let mut h1 = rig.tls(H1).await;
    let slow = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
    h1.write_all(slow).await.unwrap();
    rig.called(2).await;

    rig.shutdown.begin();
    soon(async {
        while TcpStream::connect(rig.https).await.is_ok() {
            sleep(millis(5)).await;
        }
    })
    .await;
    let refused = TcpStream::connect(rig.https).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(!rig.served.is_finished());
    // Operators still see in.
    let mut admin = TcpStream::connect(rig.admin).await.unwrap();
    assert!(exchange(&mut admin, GET).await.starts_with("HTTP/1.1 200 "));

    rig.toy.gate.add_permits(2);
    let response = soon(h2).await.unwrap().unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.text().await.unwrap(), "slow");
    let answer = answer(&mut h1).await;
    assert!(answer.ends_with("slow"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    soon(rig.served).await.unwrap();
    assert!(!rig.shutdown.hard().is_cancelled());
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_stop() {
    let rig = Rig::start(|_| ());
    let mut used = rig.tls(H1).await;
    exchange(&mut used, GET).await;
    let mut unused = rig.tls(H1).await;
    let handshaking = rig.tcp().await;
    let pooled = rig.client().build().unwrap();
    pooled.get(rig.url("/")).send().await.unwrap();
    // Deaf: it will not acknowledge the goodbye.
    let mut deaf = rig.tls(H2).await;
    deaf.write_all(H2_HELLO).await.unwrap();

    rig.shutdown.begin();
    soon(rig.served).await.unwrap();
    assert!(!rig.shutdown.hard().is_cancelled());
    for stream in [&mut used, &mut unused] {
        let mut rest = Vec::new();
        assert_eq!(soon(stream.read_to_end(&mut rest)).await.unwrap(), 0);
    }
    drop((handshaking, deaf));
}

#[tokio::test]
async fn deadline_cuts_what_is_left() {
    let drain = Drain { delay: Duration::ZERO, limit: millis(200) };
    let rig = Rig::start_draining(drain, |_| ());
    let mut stuck = rig.tls(H1).await;
    let slow = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
    stuck.write_all(slow).await.unwrap();
    let mut upgraded = rig.tls(H1).await;
    let request = b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    exchange(&mut upgraded, request).await;
    rig.called(2).await;
    rig.shutdown.begin();
    soon(rig.served).await.unwrap();
    assert!(rig.shutdown.hard().is_cancelled());
    assert!(closed(&mut stuck).await.is_empty());
}

#[tokio::test]
async fn upgraded_connection_holds_the_stop_until_it_ends() {
    let rig = Rig::start(|_| ());
    let mut upgraded = rig.tls(H1).await;
    let request = b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    exchange(&mut upgraded, request).await;
    rig.shutdown.begin();
    sleep(millis(200)).await;
    assert!(!rig.served.is_finished());
    upgraded.shutdown().await.unwrap();
    soon(rig.served).await.unwrap();
}

#[tokio::test]
async fn during_the_delay_everything_goes_on() {
    let drain = Drain { delay: NEVER, limit: NEVER };
    let rig = Rig::start_draining(drain, |_| ());
    rig.shutdown.begin();
    assert!(rig.shutdown.is_draining());
    let mut stream = rig.tls(H1).await;
    let answer = exchange(&mut stream, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The second signal.
    rig.shutdown.abort();
    soon(rig.served).await.unwrap();
}
