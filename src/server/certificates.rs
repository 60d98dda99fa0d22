//! The certificate and its key: read and checked, or made for this machine.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use aws_lc_rs::digest::SHA256;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem};
use rustls::sign::CertifiedKey;
use tracing::warn;

const CERT: &str = "server.tls_cert";
const KEY: &str = "server.tls_key";

/// Names that the certificate made at start is for.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// PEM files: the certificate chain, the server's own first, and its private key.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// `server.tls_cert`.
    pub cert: PathBuf,
    /// `server.tls_key`.
    pub key: PathBuf,
}

/// Why a certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}: {source}", path.display())]
    Read {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not the PEM it should be.
    #[error("{setting}: {} holds no usable {what}: {reason}", path.display())]
    Content {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the file should hold.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Both files are well-formed but cannot serve TLS together.
    #[error("server.tls_key: cannot be used with server.tls_cert: {0}")]
    Pair(rustls::Error),
    /// The certificate for local use, or TLS itself, cannot be set up.
    #[error("server.tls_cert: cannot set up TLS: {0}")]
    Setup(String),
}

/// The bytes of both files.
pub(super) struct Content {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Content {
    pub fn read(files: &TlsFiles) -> Result<Self, CertificateError> {
        let read = |setting, path: &PathBuf| {
            std::fs::read(path).map_err(|source| CertificateError::Read {
                setting,
                path: path.clone(),
                source,
            })
        };
        Ok(Self { cert: read(CERT, &files.cert)?, key: read(KEY, &files.key)? })
    }

    pub fn digest(&self) -> Vec<u8> {
        let mut context = digest::Context::new(&SHA256);
        context.update(&self.cert);
        context.update(&[0]);
        context.update(&self.key);
        context.finish().as_ref().to_vec()
    }

    pub fn certified_key(&self, files: &TlsFiles) -> Result<CertifiedKey, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| match chain.len() {
                0 => Err(pem::Error::NoItemsFound),
                _ => Ok(chain),
            })
            .map_err(|error| content_error(CERT, &files.cert, "certificate", &error))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| content_error(KEY, &files.key, "private key", &error))?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(CertificateError::Pair)
    }
}

fn content_error(
    setting: &'static str,
    path: &Path,
    what: &'static str,
    reason: &pem::Error,
) -> CertificateError {
    CertificateError::Content { setting, path: path.to_owned(), what, reason: reason.to_string() }
}

pub(super) fn self_signed() -> Result<CertifiedKey, CertificateError> {
    let made = rcgen::generate_simple_self_signed(LOCAL_NAMES.map(String::from))
        .map_err(|error| CertificateError::Setup(error.to_string()))?;
    warn!(
        event = "certificate_self_signed",
        names = LOCAL_NAMES.join(" "),
        sha256 = fingerprint(made.cert.der()),
        "no server.tls_cert configured, using a self-signed certificate made just now"
    );
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    CertifiedKey::from_der(vec![made.cert.der().clone()], key.into(), &default_provider())
        .map_err(CertificateError::Pair)
}

/// SHA-256 of a certificate in hex, as `openssl x509 -fingerprint -sha256` shows it.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = digest::digest(&SHA256, certificate);
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use crate::server::tests::support::{Pair, TempDir};
    use crate::server::{Tls, TlsFiles};

    fn message(files: &TlsFiles) -> String {
        let message = Tls::load(Some(files.clone())).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }

    #[test]
    fn missing_file_is_named_with_its_setting() {
        let dir = TempDir::new();
        let files = dir.write(&Pair::new("a.example"));
        std::fs::remove_file(&files.key).unwrap();
        let message = message(&files);
        assert!(message.starts_with("server.tls_key: cannot read"), "{message}");
        assert!(message.contains(files.key.to_str().unwrap()), "{message}");
    }

    #[test]
    fn file_without_a_certificate_is_refused() {
        let dir = TempDir::new();
        let files = dir.write(&Pair::new("a.example"));
        std::fs::write(&files.cert, "not PEM").unwrap();
        let message = message(&files);
        assert!(message.contains("holds no usable certificate"), "{message}");
    }

    #[test]
    fn certificate_that_is_pem_but_not_der_is_refused() {
        let dir = TempDir::new();
        let files = dir.write(&Pair::new("a.example"));
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&files.cert, pem).unwrap();
        assert!(message(&files).starts_with("server.tls_key"));
    }

    #[test]
    fn key_of_another_certificate_is_refused() {
        let dir = TempDir::new();
        let (one, other) = (Pair::new("a.example"), Pair::new("b.example"));
        let files = dir.write(&Pair { key: other.key, ..one });
        let message = message(&files);
        assert!(message.starts_with("server.tls_key: cannot be used"), "{message}");
    }
}
