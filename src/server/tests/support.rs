//! A server on a free port with short limits, and clients for it.
use std::path::PathBuf;

use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use crate::server::TlsFiles;

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
        let path = std::env::temp_dir().join(format!("natter-{}", Uuid::new_v4()));
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
