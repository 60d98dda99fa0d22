//! Admission to the places of connections, and eviction from them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::support::{
    GET, H1, H2, H2_GET, H2_HELLO, Rig, answer, closed, exchange, frames, millis, soon,
};

const GOAWAY: u8 = 7;
const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";

/// How many of these the server has not closed.
async fn open(streams: Vec<TcpStream>) -> usize {
    let mut open = 0;
    for mut stream in streams {
        open += usize::from(timeout(millis(20), stream.read_u8()).await.is_err());
    }
    open
}

#[tokio::test]
async fn one_address_does_not_take_all_places() {
    let rig = Rig::start(|options| {
        options.max_connections = 60;
        options.connections_per_address = 5;
    });
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(rig.tcp().await);
    }
    let mut newcomer = rig.tls_from(2, H1).await;
    assert!(exchange(&mut newcomer, GET).await.starts_with("HTTP/1.1 200 "));
    // A neighbour at the address of the flood gets in as well: its oldest silent connection goes.
    let mut neighbour = rig.tls(H1).await;
    assert!(exchange(&mut neighbour, GET).await.starts_with("HTTP/1.1 200 "));
    assert!(open(silent).await <= 5);
}

#[tokio::test]
async fn trusted_proxies_bring_as_many_as_there_are_places() {
    let rig = Rig::start(|options| {
        options.connections_per_address = 1;
        options.trusted_proxies = ["127.0.0.1/32".parse().unwrap()].into();
    });
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(rig.tls(H1).await);
    }
    for stream in &mut held {
        exchange(stream, GET).await;
    }
}

#[tokio::test]
async fn silent_connections_have_a_share_of_the_places() {
    let rig = Rig::start(|options| options.max_connections = 12);
    let mut used = rig.tls_from(2, H1).await;
    exchange(&mut used, GET).await;
    let mut silent = Vec::new();
    for host in 10..40 {
        silent.push(rig.tcp_from(host).await);
    }
    // Neither from a connection that was used nor from a newcomer do they take a place.
    let mut newcomer = rig.tls_from(3, H2).await;
    newcomer.write_all(&[H2_HELLO, H2_GET].concat()).await.unwrap();
    let mut got = Vec::new();
    soon(async {
        while !frames(&got).contains(&1) {
            assert_ne!(newcomer.read_buf(&mut got).await.unwrap(), 0);
        }
    })
    .await;
    assert!(exchange(&mut used, GET).await.starts_with("HTTP/1.1 200 "));
    assert!(open(silent).await <= 3);
}

#[tokio::test]
async fn the_longest_idle_one_goes_and_not_the_newcomer() {
    let rig = Rig::start(|options| options.max_connections = 3);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = rig.tls(H1).await;
        exchange(&mut stream, GET).await;
        held.push(stream);
    }
    let [mut first, mut second, mut third] = <[_; 3]>::try_from(held).unwrap();
    exchange(&mut first, GET).await;
    let mut newcomer = rig.tls(H1).await;
    exchange(&mut newcomer, GET).await;
    let mut rest = Vec::new();
    // An end without close_notify would be an error.
    assert_eq!(soon(second.read_to_end(&mut rest)).await.unwrap(), 0);
    for stream in [&mut first, &mut third, &mut newcomer] {
        assert!(exchange(stream, GET).await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn an_idle_h2_connection_is_told_to_go() {
    let rig = Rig::start(|options| options.max_connections = 1);
    let mut stream = rig.tls(H2).await;
    stream.write_all(&[H2_HELLO, H2_GET].concat()).await.unwrap();
    let mut got = Vec::new();
    soon(async {
        while !frames(&got).contains(&0) {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
        }
    })
    .await;
    exchange(&mut rig.tls(H1).await, GET).await;
    soon(async {
        while !frames(&got).contains(&GOAWAY) {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_busy_one_stays_and_the_newcomer_is_turned_away() {
    let rig = Rig::start(|options| options.max_connections = 1);
    let mut busy = rig.tls(H1).await;
    busy.write_all(SLOW).await.unwrap();
    rig.called(1).await;
    for host in [1, 2] {
        assert!(closed(&mut rig.tcp_from(host).await).await.is_empty());
    }
    rig.toy.gate.add_permits(1);
    assert!(answer(&mut busy).await.ends_with("slow"));
    drop(busy);
    soon(rig.place()).await;
}

#[tokio::test]
async fn an_address_whose_connections_are_all_busy_is_turned_away() {
    let rig = Rig::start(|options| options.connections_per_address = 1);
    let mut busy = rig.tls(H1).await;
    busy.write_all(SLOW).await.unwrap();
    rig.called(1).await;
    assert!(closed(&mut rig.tcp().await).await.is_empty());
    exchange(&mut rig.tls_from(2, H1).await, GET).await;
    rig.toy.gate.add_permits(1);
    assert!(answer(&mut busy).await.ends_with("slow"));
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_the_connection_whatever_else_it_asks() {
    // SETTINGS with INITIAL_WINDOW_SIZE 1, then GET /endless, its path as a literal.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x01\
        \0\0\x0f\x01\x05\0\0\0\x01\x82\x87\x41\x01a\x04\x08/endless";
    let rig = Rig::start(|options| options.slow_client = millis(300));
    let mut stream = rig.tls(H2).await;
    stream.write_all(hello).await.unwrap();
    rig.called(1).await;
    let asks = async {
        // GET / on streams 3, 5, 7 …, each of which is answered.
        for stream_id in (3..u8::MAX).step_by(2) {
            let mut get = H2_GET.to_vec();
            get[8] = stream_id;
            if stream.write_all(&get).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            sleep(millis(50)).await;
        }
        panic!("still open");
    };
    soon(asks).await;
}
