//! Bytes over TLS, for what no HTTP client would send.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::TestApp;
use super::app::PATIENCE;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, and what came over it that nobody has looked at.
pub struct Raw {
    stream: Box<dyn Stream>,
    pub unread: Vec<u8>,
}

/// An answer over HTTP/1.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl RawAnswer {
    /// A header, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|line| line.0.eq_ignore_ascii_case(name))
            .map(|line| line.1)
            .next_back()
            .unwrap_or_default()
    }

    /// Expects a problem document, as every refusal is one.
    pub fn problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, "application/problem+json")
        );
        let problem: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()));
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(self.header("strict-transport-security").starts_with("max-age="));
    }
}

impl Raw {
    /// A connection to the HTTPS listener that speaks this protocol.
    pub async fn connect(app: &TestApp, protocol: &[u8]) -> Self {
        let provider = Arc::new(default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let addr = app.url.replace("https://localhost", "127.0.0.1");
        let tcp = TcpStream::connect(addr).await.expect("a connection");
        tcp.set_nodelay(true).expect("no delay");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
        Self { stream: Box::new(stream), unread: Vec::new() }
    }

    /// A connection without TLS.
    pub async fn plain(url: &str) -> Self {
        let tcp = TcpStream::connect(url.trim_start_matches("http://")).await;
        Self { stream: Box::new(tcp.expect("a connection")), unread: Vec::new() }
    }

    /// Sends bytes in a packet of their own; natter may have closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let _ = timeout(PATIENCE, sent).await.expect("natter reads on");
    }

    /// Reads some more, for so long at most. Returns whether there may be more.
    pub async fn read(&mut self, time: Duration) -> bool {
        let read = timeout(time, self.stream.read_buf(&mut self.unread)).await;
        matches!(read, Ok(Ok(1..)))
    }

    /// The next answer over HTTP/1, whose length its head says; `None` at the end.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        loop {
            if let Some(answer) = self.take() {
                return Some(answer);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
            if !matches!(read.expect("an answer in time"), Ok(1..)) {
                assert_eq!(String::from_utf8_lossy(&self.unread), "", "half an answer");
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<RawAnswer> {
        let end = self.unread.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        let status = head.get(9..12)?.parse().expect("a status");
        let mut answer = RawAnswer { status, head, body: String::new() };
        let length = answer.header("content-length").parse().unwrap_or(0);
        let body = self.unread.get(end..end + length)?;
        answer.body = String::from_utf8_lossy(body).into_owned();
        self.unread.drain(..end + length);
        Some(answer)
    }

    /// Waits until natter ends the connection, and expects nothing before.
    pub async fn ended(&mut self) {
        assert!(self.answer().await.is_none(), "an end was expected");
    }
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
