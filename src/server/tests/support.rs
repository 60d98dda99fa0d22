//! A server on free ports with a toy application, and clients for it.

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::domain::clock::Clock;
use crate::domain::ids::SessionId;
use crate::lifecycle::{Drain, Shutdown};
use crate::metrics::Metrics;
use crate::server::{Addresses, Listeners, Peer, RequestBody, ServerOptions, Tls, TlsFiles, serve};

/// What must happen happens within this time, on the slowest machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Longer than any test takes.
pub const NEVER: Duration = Duration::from_hours(1);

/// Waits for what must happen.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("did not happen in time")
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A self-signed certificate and its key, as PEM and DER.
pub struct Pair {
    pub cert: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

impl Pair {
    pub fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Self {
            cert: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }
}

/// A directory that is removed with the value.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("natter-{}", SessionId::random()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Writes the pair, over an earlier one.
    pub fn write(&self, pair: &Pair) -> TlsFiles {
        let files = TlsFiles { cert: self.0.join("cert.pem"), key: self.0.join("key.pem") };
        std::fs::write(&files.cert, &pair.cert).unwrap();
        std::fs::write(&files.key, &pair.key).unwrap();
        files
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// `/slow` waits for a permit, `/endless` never ends, `/refuse` answers 413 before the body, `/panic` panics,
/// `/echo` upgrades; everything else answers with its peer.
#[derive(Clone)]
pub struct Toy {
    pub gate: Arc<Semaphore>,
    pub called: Arc<AtomicUsize>,
}

impl Toy {
    async fn answer(self, mut request: Request<RequestBody>) -> Response<Body> {
        self.called.fetch_add(1, Ordering::SeqCst);
        let peer = request.extensions().get::<Peer>().unwrap().0;
        let mut response = Response::new(text(peer.to_string()));
        match request.uri().path() {
            "/slow" => {
                self.gate.acquire().await.unwrap().forget();
                *response.body_mut() = text("slow".to_owned());
            }
            "/endless" => {
                let piece = || Ok(Frame::data(Bytes::from(vec![b'x'; 16 << 10])));
                let pieces = futures_util::stream::repeat_with(piece);
                *response.body_mut() = StreamBody::new(pieces).boxed_unsync();
            }
            "/panic" => panic!("asked for"),
            "/refuse" => *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE,
            "/echo" => {
                tokio::spawn(echo(hyper::upgrade::on(&mut request)));
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                *response.body_mut() = text(String::new());
                let upgrade = header::HeaderValue::from_static("echo");
                response.headers_mut().insert(header::UPGRADE, upgrade);
            }
            _ => {}
        }
        response
    }
}

fn text(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed_unsync()
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let socket = TokioIo::new(upgrade.await.unwrap());
    let (mut reader, mut writer) = tokio::io::split(socket);
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

impl Service<Request<RequestBody>> for Toy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async move {
            Ok(AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
                let mut response = Response::new(text(String::new()));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }))
        })
    }
}

/// A running server.
pub struct Rig {
    pub https: SocketAddr,
    pub redirect: SocketAddr,
    pub admin: SocketAddr,
    pub toy: Toy,
    pub shutdown: Shutdown,
    pub served: JoinHandle<()>,
    pub pair: Pair,
    pub dir: TempDir,
}

impl Rig {
    /// A server whose limits are out of reach, but for what `change` makes of them.
    pub fn start(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let drain = Drain { delay: Duration::ZERO, limit: NEVER };
        Self::start_draining(drain, change)
    }

    pub fn start_draining(drain: Drain, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let mut options = ServerOptions {
            public_url: "https://chat.example".to_owned(),
            max_connections: 100,
            connections_per_address: 100,
            trusted_proxies: Arc::default(),
            handshake_timeout: NEVER,
            header_timeout: NEVER,
            idle_timeout: NEVER,
            slow_client: NEVER,
            certificate_interval: NEVER,
        };
        change(&mut options);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let addresses = Addresses { https: any, redirect: Some(any), admin: Some(any) };
        let listeners = Listeners::bind(&addresses).unwrap();
        let https = listeners.https.local_addr().unwrap();
        let redirect = listeners.redirect.as_ref().unwrap().local_addr().unwrap();
        let admin = listeners.admin.as_ref().unwrap().local_addr().unwrap();
        let (dir, pair) = (TempDir::new(), Pair::new("localhost"));
        let tls = Tls::load(Some(dir.write(&pair))).unwrap();
        let toy = Toy { gate: Arc::new(Semaphore::new(0)), called: Arc::default() };
        let shutdown = Shutdown::new(drain);
        let (app, handle) = (toy.clone(), shutdown.clone());
        let metrics = Metrics::new(Clock::manual().now()).unwrap();
        let served = async move {
            serve(listeners, tls, options, app.clone(), app, handle, &metrics).await;
        };
        Self { https, redirect, admin, toy, shutdown, served: tokio::spawn(served), pair, dir }
    }

    /// Waits until the application has been called this often.
    pub async fn called(&self, times: usize) {
        soon(async {
            while self.toy.called.load(Ordering::SeqCst) < times {
                tokio::time::sleep(millis(1)).await;
            }
        })
        .await;
    }

    pub async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.https).await.unwrap()
    }

    /// A connection from another address of this machine: `127.0.0.2` and the like.
    pub async fn tcp_from(&self, host: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
        socket.connect(self.https).await.unwrap()
    }

    /// A TLS connection from another address of this machine.
    pub async fn tls_from(&self, host: u8, alpn: Option<&[u8]>) -> TlsStream<TcpStream> {
        let tcp = self.tcp_from(host).await;
        soon(handshake(&self.pair, rustls::ALL_VERSIONS, alpn, tcp)).await.unwrap()
    }

    /// A TLS connection that offers one protocol, or none.
    pub async fn tls(&self, alpn: Option<&[u8]>) -> TlsStream<TcpStream> {
        soon(self.try_tls(&self.pair, rustls::ALL_VERSIONS, alpn)).await.unwrap()
    }

    /// A TLS connection that trusts only `pair`.
    pub async fn try_tls(
        &self,
        pair: &Pair,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: Option<&[u8]>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        handshake(pair, versions, alpn, self.tcp().await).await
    }

    /// Waits until the limit leaves a place for another connection.
    pub async fn place(&self) {
        let versions = rustls::ALL_VERSIONS;
        while self.try_tls(&self.pair, versions, None).await.is_err() {
            tokio::time::sleep(millis(5)).await;
        }
    }

    /// A client of the usual kind, and the address for it.
    pub fn client(&self) -> reqwest::ClientBuilder {
        let certificate = reqwest::Certificate::from_der(&self.pair.der).unwrap();
        reqwest::Client::builder().tls_certs_only([certificate]).resolve("localhost", self.https)
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https.port())
    }
}

async fn handshake(
    pair: &Pair,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: Option<&[u8]>,
    tcp: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(pair.der.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

pub const H1: Option<&[u8]> = Some(b"http/1.1");
pub const H2: Option<&[u8]> = Some(b"h2");

/// Preface, empty SETTINGS (RFC 9113, 3.4).
pub const H2_HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// HEADERS of a complete GET of `/` on stream 1: three indexed fields and an authority.
pub const H2_GET: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x84\x87\x41\x01a";

pub const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Sends a request and reads its answer to the end of what has a known end.
pub async fn exchange<T>(stream: &mut T, request: &[u8]) -> String
where
    T: AsyncRead + AsyncWriteExt + Unpin,
{
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    answer(stream).await
}

/// Reads one HTTP/1.1 answer with a content-length.
pub async fn answer<T: AsyncRead + Unpin>(stream: &mut T) -> String {
    let mut got = Vec::new();
    soon(async {
        loop {
            let text = String::from_utf8_lossy(&got).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    return text;
                }
            }
            let read = stream.read_buf(&mut got).await.unwrap();
            assert_ne!(read, 0, "connection closed after {text:?}");
        }
    })
    .await
}

/// Reads until the other side ends the connection, gently or not.
pub async fn closed<T: AsyncRead + Unpin>(stream: &mut T) -> Vec<u8> {
    let mut got = Vec::new();
    let _ = soon(stream.read_to_end(&mut got)).await;
    got
}

/// The types of the complete h2 frames in `bytes` (RFC 9113, 6).
pub fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, kind, ..] = *bytes {
        types.push(kind);
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        bytes = bytes.get(9 + length..).unwrap_or_default();
    }
    types
}
