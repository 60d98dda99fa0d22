//! One HTTP/1.1 connection over TLS, kept open, and how it is opened.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::Result;

/// How long opening a connection, or one request, may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens connections to one natter on this machine.
pub struct Connector {
    addr: SocketAddr,
    name: ServerName<'static>,
    /// Its name and port, as requests give them.
    pub host: HeaderValue,
    tls: TlsConnector,
    h2: TlsConnector,
}

impl Connector {
    /// Connections to the host and port of this URL.
    pub fn new(url: &Url) -> Result<Self> {
        let name = url.host_str().ok_or("--url: a host is missing")?.to_owned();
        let port = url.port_or_known_default().ok_or("--url: a port is missing")?;
        let addrs = (name.trim_matches(['[', ']']), port).to_socket_addrs()?;
        // No other machine's certificate is taken unseen, and none is put under load by mistake.
        let addr = addrs.filter(|addr| addr.ip().is_loopback()).min_by_key(SocketAddr::is_ipv6);
        let addr = addr.ok_or_else(|| format!("--url: {name} is not this machine"))?;
        let host = HeaderValue::from_str(&format!("{name}:{port}"))?;
        let [tls, h2] = [tls_config(b"http/1.1")?, tls_config(b"h2")?]
            .map(|config| TlsConnector::from(Arc::new(config)));
        Ok(Self { addr, name: ServerName::try_from(name)?, host, tls, h2 })
    }

    /// Connects, by a whole TLS handshake.
    pub async fn connect(&self, way: Way) -> Result<TlsStream<TcpStream>> {
        let socket = if self.addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(bytes) = way.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = way.source {
            socket.bind((source, 0).into())?;
        }
        let stream = socket.connect(self.addr).await?;
        stream.set_nodelay(true)?;
        let tls = if way.is_http2 { &self.h2 } else { &self.tls };
        Ok(tls.connect(self.name.clone(), stream).await?)
    }

    /// Opens a connection; what comes back has been answered once.
    pub async fn open(&self) -> Result<Connection> {
        let opening = async {
            let (sender, driver) =
                handshake(TokioIo::new(self.connect(Way::default()).await?)).await?;
            // Its errors reach whoever waits for an answer.
            tokio::spawn(driver);
            let mut connection = Connection { sender, host: self.host.clone() };
            connection.get("/healthz", None).await?.expect(StatusCode::OK)?;
            Ok(connection)
        };
        timeout(PATIENCE, opening).await.map_err(|_| "connecting took too long")?
    }
}

/// How a connection differs from an ordinary one of HTTP/1.1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way {
    /// Bytes of its receive buffer; the system's choice by default.
    pub receive_buffer: Option<u32>,
    /// The address of this machine that it comes from.
    pub source: Option<Ipv4Addr>,
    pub is_http2: bool,
}

/// An open connection with no request on it.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Answer {
    /// The JSON of an answer with this status; any other is an error.
    pub fn expect(self, status: StatusCode) -> Result<Value> {
        if self.status == status {
            return Ok(serde_json::from_slice(&self.body)?);
        }
        Err(self.refusal().into())
    }

    /// What an answer that was not hoped for says: its status and its problem's code.
    pub fn refusal(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = problem["code"].as_str().map(str::to_owned);
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        format!("{} {text}", self.status.as_u16())
    }
}

impl Connection {
    pub async fn get(&mut self, path: &str, token: Option<&HeaderValue>) -> Result<Answer> {
        self.request(Method::GET, path, token, Bytes::new()).await
    }

    pub async fn post(
        &mut self,
        path: &str,
        token: Option<&HeaderValue>,
        body: &Value,
    ) -> Result<Answer> {
        self.request(Method::POST, path, token, Bytes::from(body.to_string())).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&HeaderValue>,
        body: Bytes,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, self.host.clone());
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body))?;
        let answering = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            Ok(Answer { status: head.status, body: body.collect().await?.to_bytes() })
        };
        timeout(PATIENCE, answering).await.map_err(|_| "the answer took too long")?
    }
}

fn tls_config(protocol: &[u8]) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    // Each connection stands for a client of its own, which has no session to take up.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes any certificate, as natter's own is self-signed; its signature is checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
