//! Types of single settings.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use url::Url;

/// A text that never shows in `Debug` output, and has no `Display`.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[debug("Secret(…)")]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// An Ed25519 private key that has been checked to be one. `Debug` shows nothing of it.
#[derive(derive_more::Debug, Clone, PartialEq, Eq)]
#[debug("SigningKey(…)")]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Reads the first `PRIVATE KEY` block of a PEM text; `None` unless it holds an Ed25519 key.
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        let der = der.secret_pkcs8_der();
        Ed25519KeyPair::from_pkcs8(der).ok()?;
        Some(Self(der.to_vec()))
    }

    /// The key as PKCS#8 DER (RFC 8410), version 1 or 2 as it was given.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.0
    }
}

/// Certificates of authorities, as PEM: at least one, and each fit to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities(Vec<u8>);

impl Authorities {
    /// Reads them from a file; why not, otherwise.
    pub(super) fn read(path: &str) -> Result<Self, String> {
        let pem = std::fs::read(path).map_err(|error| format!("{path:?}: {error}"))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| format!("{path:?}: {error}"))?;
            let added = roots.add(certificate);
            added
                .map_err(|error| format!("{path:?} holds a certificate nobody can use: {error}"))?;
        }
        if roots.is_empty() { Err(format!("{path:?} holds no certificate")) } else { Ok(Self(pem)) }
    }

    /// The text that was read.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        &self.0
    }
}

/// How many requests a window of time lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests per window.
    pub limit: NonZeroU32,
    /// Length of the window, one second to 24 hours, in whole seconds.
    pub window: Duration,
}

impl Quota {
    const LONGEST: Duration = Duration::from_hours(24);

    /// Reads `LIMIT/COUNT` followed by `s`, `m` or `h`, as in `20/1m`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (limit, window) = text.split_once('/')?;
        let unit = window.chars().next_back()?;
        let count: u64 = digits(window.strip_suffix(unit)?)?.into();
        let seconds = match unit {
            's' => count,
            'm' => count * 60,
            'h' => count * 3600,
            _ => return None,
        };
        let window = Duration::from_secs(seconds);
        let fits = !window.is_zero() && window <= Self::LONGEST;
        let limit = NonZeroU32::new(digits(limit)?)?;
        fits.then_some(Self { limit, window })
    }
}

/// Plain digits only: `u32::from_str` would also take `+20`.
fn digits(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Where mails go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailUrl {
    /// Into the log, for development: nothing is sent.
    Log,
    /// Into a directory, a file per mail.
    Files(PathBuf),
    /// To a mail server: an `smtp://` or `smtps://` URL as lettre's `from_url` takes it. It may
    /// hold a password.
    Smtp(Secret),
}

impl MailUrl {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "log:" {
            return Some(Self::Log);
        }
        let url = Url::parse(text).ok()?;
        match url.scheme() {
            // `Url` would take `file:dir` for `file:///dir`.
            "file" if text.starts_with("file:///") => url.to_file_path().ok().map(Self::Files),
            "smtp" | "smtps" => is_mail_server(&url).then(|| Self::Smtp(Secret::new(text))),
            _ => None,
        }
    }
}

/// Whether lettre will take the URL, and has no part it would silently ignore.
fn is_mail_server(url: &Url) -> bool {
    let query_fits = match url.query() {
        None => true,
        Some("tls=required" | "tls=opportunistic") => url.scheme() == "smtp",
        Some(_) => false,
    };
    let login_fits = url.username().is_empty() == url.password().is_none();
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    has_host && login_fits && query_fits && url.fragment().is_none()
}

/// Where proxies say whom they speak for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// In `X-Forwarded-For`, and in `Forwarded` where that is absent.
    #[default]
    Either,
    /// In `X-Forwarded-For`.
    XForwardedFor,
    /// In `Forwarded` (RFC 7239).
    Forwarded,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
