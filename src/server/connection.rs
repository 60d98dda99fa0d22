//! One connection: TLS handshake, protocol and what is allowed in it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::{Instant, Timeout, timeout};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};
use tracing::debug;

use super::driver::{Driver, Ending};
use super::exchange::{Application, Connected};
use super::places::{Activity, Evicted};
use super::pulse::{Framing, Limits, Pulse};
use super::socket::{Lease, Socket};
use super::tls::{H2, Tls};

/// Request line and header fields together, in both protocols. Past it, hyper answers 431.
const MAX_HEAD: u32 = 16 << 10;
/// Bytes buffered for a connection in HTTP/1, and for a stream in h2.
const MAX_BUFFER: usize = 64 << 10;
/// Requests that an h2 client may have under way on one connection.
const MAX_STREAMS: u32 = 100;
/// Unread upload bytes that an h2 client may have under way: a stream, and a connection.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 512 << 10;
/// A silent h2 client is pinged this often, and gone if it does not answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How a listener's connections speak.
pub(super) struct Protocols {
    tls: Option<(TlsAcceptor, Duration)>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    /// HTTP/1.1 without TLS.
    pub fn plain() -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // The pulse limits heads and idle time apart.
            .header_read_timeout(None)
            .max_header_size(MAX_HEAD as usize)
            .max_buf_size(MAX_BUFFER);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_BUFFER)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { tls: None, http1, http2 }
    }

    /// HTTP/1.1 or h2 over TLS, as ALPN agrees; the handshake takes `limit` at most.
    pub fn tls(tls: &Tls, limit: Duration) -> Self {
        Self { tls: Some((tls.acceptor(), limit)), ..Self::plain() }
    }

    /// One request for each connection.
    pub fn without_keep_alive(mut self) -> Self {
        self.http1.keep_alive(false);
        self
    }
}

/// A connection that was accepted, apart from its socket.
pub(super) struct Connection<S> {
    pub peer: SocketAddr,
    pub protocols: Arc<Protocols>,
    pub limits: Limits,
    pub service: S,
    pub activity: Activity,
    pub evicted: Evicted,
    pub lease: Lease,
    pub ending: Ending,
}

impl<S: Application> Connection<S> {
    /// Serves the connection until it ends, or is upgraded.
    pub async fn run(mut self, stream: TcpStream) {
        let protocols = Arc::clone(&self.protocols);
        let Some((acceptor, limit)) = &protocols.tls else {
            return self.http1(&protocols.http1, stream).await;
        };
        let handshake = timeout(*limit, acceptor.accept(stream));
        let Some(stream) = handshaken(self.peer, &self.ending, &mut self.evicted, handshake).await
        else {
            return;
        };
        if stream.get_ref().1.alpn_protocol() == Some(H2) {
            self.http2(&protocols.http2, stream).await;
        } else {
            self.http1(&protocols.http1, stream).await;
        }
    }

    async fn http1<T>(self, builder: &http1::Builder, io: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (socket, service, driver) = self.split(io, Framing::Heads);
        let conn = builder.serve_connection(socket, service).with_upgrades();
        driver.drive(conn, http1::UpgradeableConnection::graceful_shutdown).await;
    }

    async fn http2<T>(self, builder: &http2::Builder<TokioExecutor>, io: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (socket, service, driver) = self.split(io, Framing::Frames);
        let conn = builder.serve_connection(socket, service);
        driver.drive(conn, http2::Connection::graceful_shutdown).await;
    }

    fn split<T>(self, io: T, framing: Framing) -> (TokioIo<Socket<T>>, Connected<S>, Driver) {
        let pulse = Pulse::new(self.limits, framing, Instant::now());
        let driver = Driver {
            pulse: Arc::clone(&pulse),
            peer: self.peer,
            evicted: self.evicted,
            ending: self.ending,
        };
        let service = Connected {
            service: self.service,
            peer: self.peer,
            pulse: Arc::clone(&pulse),
            activity: self.activity,
        };
        (TokioIo::new(Socket::new(io, pulse, self.lease)), service, driver)
    }
}

/// Waits for a handshake, its time limit, the loss of its place, or the ending.
async fn handshaken(
    peer: SocketAddr,
    ending: &Ending,
    evicted: &mut Evicted,
    handshake: Timeout<Accept<TcpStream>>,
) -> Option<TlsStream<TcpStream>> {
    let result = select! {
        biased;
        // Nothing was asked yet, so nothing is lost.
        () = ending.closing.cancelled() => return None,
        _ = evicted.wait() => return None,
        result = handshake => result,
    };
    match result {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            debug!(event = "tls_handshake_failed", %peer, %error, "handshake failed");
            None
        }
        Err(_) => {
            debug!(event = "tls_handshake_failed", %peer, "handshake took too long");
            None
        }
    }
}
