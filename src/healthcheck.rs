//! Asks the instance on this machine whether it is alive, for container health checks.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Server;

const DEADLINE: Duration = Duration::from_secs(3);

/// Why an instance counts as not alive.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// The port is taken at start, so nobody else can know it.
    #[error("server.addr has port 0: nobody knows which port was taken")]
    NoPort,
    /// No connection, no TLS, or no HTTP on it.
    #[error("{0}: {1}")]
    Broken(SocketAddr, Box<dyn std::error::Error + Send + Sync>),
    /// It answered, but not with 200.
    #[error("{0} answered {1}")]
    Status(SocketAddr, StatusCode),
    /// No answer in time.
    #[error("{0} did not answer within {1:?}")]
    Late(SocketAddr, Duration),
}

/// Gets `/healthz` from the configured address; a wildcard address means loopback.
///
/// # Errors
/// Anything but a 200 within three seconds.
pub async fn run(server: &Server) -> Result<(), Unhealthy> {
    within(DEADLINE, server).await
}

async fn within(deadline: Duration, server: &Server) -> Result<(), Unhealthy> {
    let addr = reachable(server.addr);
    if addr.port() == 0 {
        return Err(Unhealthy::NoPort);
    }
    let answer = tokio::time::timeout(deadline, ask(addr)).await;
    match answer.map_err(|_| Unhealthy::Late(addr, deadline))? {
        Ok(StatusCode::OK) => Ok(()),
        Ok(status) => Err(Unhealthy::Status(addr, status)),
        Err(error) => Err(Unhealthy::Broken(addr, error)),
    }
}

/// Where a listener on `addr` can be reached from the same machine.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

async fn ask(addr: SocketAddr) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let tcp = TcpStream::connect(addr).await?;
    let connector = TlsConnector::from(Arc::new(trusting()?));
    let tls = connector.connect(ServerName::from(addr.ip()), tcp).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    // What goes wrong with the connection is the request's error too.
    tokio::spawn(connection);
    let request = Request::get("/healthz")
        .header(header::HOST, addr.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?.status())
}

/// A client that takes any certificate.
///
/// The question goes to the process on this very machine, carries nothing secret and expects
/// nothing but a status, while the certificate is made out for a public name, self-signed, or
/// just expired, which must not get a working instance killed.
fn trusting() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Trusting(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::config::Settings;

    /// Serves one connection with a certificate nobody signed; returns what was asked.
    async fn answering(answer: &'static str) -> (Server, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Settings::defaults().server;
        server.addr.set_port(listener.local_addr().unwrap().port());
        let made = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let task = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut tls = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.unwrap();
            let mut asked = vec![0; 1024];
            let read = tls.read(&mut asked).await.unwrap();
            tls.write_all(answer.as_bytes()).await.unwrap();
            tls.shutdown().await.unwrap();
            String::from_utf8_lossy(&asked[..read]).into_owned()
        });
        (server, task)
    }

    #[tokio::test]
    async fn alive_is_a_200() {
        let (server, task) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        run(&server).await.unwrap();
        assert!(task.await.unwrap().starts_with("GET /healthz HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn anything_else_is_not_alive() {
        let (server, _task) = answering("HTTP/1.1 503 Gone\r\ncontent-length: 0\r\n\r\n").await;
        let line = run(&server).await.unwrap_err().to_string();
        let port = server.addr.port();
        assert_eq!(line, format!("127.0.0.1:{port} answered 503 Service Unavailable"));

        let (server, _task) = answering("").await;
        assert!(matches!(run(&server).await, Err(Unhealthy::Broken(..))));
    }

    #[tokio::test]
    async fn nobody_there_is_not_alive() {
        let mut server = Settings::defaults().server;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        server.addr.set_port(listener.local_addr().unwrap().port());
        drop(listener);
        assert!(matches!(run(&server).await, Err(Unhealthy::Broken(..))));
        server.addr.set_port(0);
        assert!(matches!(run(&server).await, Err(Unhealthy::NoPort)));
    }

    #[tokio::test]
    async fn silence_is_not_alive() {
        let mut server = Settings::defaults().server;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        server.addr.set_port(listener.local_addr().unwrap().port());
        let asked = within(Duration::from_millis(20), &server).await;
        assert!(matches!(asked, Err(Unhealthy::Late(..))));
    }

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:8443", "127.0.0.1:8443"),
            ("[::]:8443", "[::1]:8443"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
