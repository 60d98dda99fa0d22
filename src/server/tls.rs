//! The server's side of TLS, and its certificate's change under open connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::select;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::certificates::{CertificateError, Content, TlsFiles, fingerprint, self_signed};
use crate::lifecycle::Shutdown;

/// The ALPN name of HTTP/2 over TLS (RFC 9113).
pub(super) const H2: &[u8] = b"h2";
/// The ALPN name of HTTP/1.1 (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";

/// The server's side of TLS, whose certificate can change under open connections.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    files: Option<TlsFiles>,
    /// Digest of the files' content, or the error instead of it, when they were last tried.
    tried: Mutex<Vec<u8>>,
}

impl Tls {
    /// Reads and checks the pair, or makes a self-signed one for this machine without files.
    ///
    /// # Errors
    /// A file that cannot be read or used, with its setting; a key that is not the certificate's.
    pub fn load(files: Option<TlsFiles>) -> Result<Self, CertificateError> {
        let (key, tried) = match &files {
            Some(files) => {
                let content = Content::read(files)?;
                (content.certified_key(files)?, content.digest())
            }
            None => (self_signed()?, Vec::new()),
        };
        let current = Arc::new(Current(RwLock::new(Arc::new(key))));
        Ok(Self {
            config: Arc::new(config(Arc::clone(&current))?),
            current,
            files,
            tried: Mutex::new(tried),
        })
    }

    /// The certificate that new connections get, in DER.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        // A pair without a certificate is never stored.
        self.current.get().cert[0].clone()
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Takes up changed files, every `interval` and when a reload is asked for.
    ///
    /// Content is compared rather than times: renewals swap links and copy files with the
    /// times they like. A broken pair, or one half-written, leaves the old one in place.
    pub(super) async fn watch(&self, interval: Duration, shutdown: &Shutdown) -> Infallible {
        let Some(files) = &self.files else {
            return std::future::pending().await;
        };
        loop {
            let asked = select! {
                () = sleep(interval) => false,
                () = shutdown.reload_asked() => true,
            };
            let read = {
                let files = files.clone();
                spawn_blocking(move || Content::read(&files)).await
            };
            if let Ok(read) = read {
                self.take_up(files, read, asked);
            }
        }
    }

    /// Puts what was read into use, unless it is what was tried before.
    fn take_up(&self, files: &TlsFiles, read: Result<Content, CertificateError>, asked: bool) {
        let found = match &read {
            Ok(content) => content.digest(),
            Err(error) => error.to_string().into_bytes(),
        };
        let before = {
            let mut tried = self.tried.lock();
            std::mem::replace(&mut *tried, found.clone())
        };
        if before == found && !asked {
            return;
        }
        match read.and_then(|content| content.certified_key(files)) {
            Ok(key) => {
                self.current.set(key);
                let sha256 = fingerprint(&self.certificate());
                info!(event = "certificate_loaded", sha256, "certificate loaded");
            }
            Err(error) => {
                warn!(event = "certificate_refused", %error, "keeping the present certificate");
            }
        }
    }
}

/// The pair that new handshakes use.
#[derive(derive_more::Debug)]
#[debug("Current")]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read())
    }

    fn set(&self, key: CertifiedKey) {
        *self.0.write() = Arc::new(key);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

fn config(certificates: Arc<Current>) -> Result<ServerConfig, CertificateError> {
    let setup = |error: rustls::Error| CertificateError::Setup(error.to_string());
    // Named rather than taken from the process, which may have none installed yet.
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(setup)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
    config.ticketer = Ticketer::new().map_err(setup)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::support::{Pair, TempDir};

    #[test]
    fn broken_pair_leaves_the_old_one_and_the_next_good_one_is_taken() {
        let dir = TempDir::new();
        let first = Pair::new("a.example");
        let files = dir.write(&first);
        let tls = Tls::load(Some(files.clone())).unwrap();
        std::fs::write(&files.cert, Pair::new("b.example").cert).unwrap();
        tls.take_up(&files, Content::read(&files), false);
        assert_eq!(tls.certificate(), first.der);
        let second = Pair::new("c.example");
        dir.write(&second);
        tls.take_up(&files, Content::read(&files), false);
        assert_eq!(tls.certificate(), second.der);
    }

    #[test]
    fn without_files_a_certificate_for_this_machine_is_made() {
        let tls = Tls::load(None).unwrap();
        assert!(!tls.certificate().is_empty());
    }
}
