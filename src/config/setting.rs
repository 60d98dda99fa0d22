//! How each type of setting is read from its text.
//!
//! Errors are halves of sentences that [`load`](super::load) completes. They quote the value,
//! except where it may be secret.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::HeaderValue;
use ipnet::IpNet;
use lettre::message::Mailbox;
use url::Url;

use super::value::{ForwardedHeader, LogFormat, MailUrl, SigningKey};

/// What is wrong with a value, as the end of a sentence that begins with the setting's name.
pub(super) type Complaint = String;

/// A type whose settings all read alike.
pub(super) trait Setting: Sized {
    /// Reads a value from its text.
    fn parse(text: &str) -> Result<Self, Complaint>;
}

impl Setting for SocketAddr {
    fn parse(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|_| format!("{} is not an address like 0.0.0.0:8443", quoted(text)))
    }
}

impl Setting for PathBuf {
    fn parse(text: &str) -> Result<Self, Complaint> {
        Ok(text.into())
    }
}

impl Setting for IpNet {
    fn parse(text: &str) -> Result<Self, Complaint> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(|network| network.trunc()).map_err(|_| {
            format!("{} is not an address, and no network like 10.0.0.0/8", quoted(text))
        })
    }
}

/// An origin of CORS.
impl Setting for HeaderValue {
    fn parse(text: &str) -> Result<Self, Complaint> {
        if text == "*" {
            return Err(
                r#""*" would open the API to the pages of any site: name each origin"#.into()
            );
        }
        let wrong = || format!("{} is not an origin like https://chat.example.org", quoted(text));
        let url = Url::parse(text).map_err(|_| wrong())?;
        let origin = url.origin().ascii_serialization();
        match url.scheme() {
            "http" | "https" if origin == text => Self::from_str(text).map_err(|_| wrong()),
            "http" | "https" => Err(format!("{}, which browsers send as {origin:?}", wrong())),
            _ => Err(wrong()),
        }
    }
}

impl Setting for bool {
    fn parse(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|_| format!("{} is neither true nor false", quoted(text)))
    }
}

impl Setting for SigningKey {
    fn parse(text: &str) -> Result<Self, Complaint> {
        Self::from_pem(text)
            .ok_or_else(|| "its value is not an Ed25519 private key (PKCS#8, PEM)".into())
    }
}

impl Setting for MailUrl {
    fn parse(text: &str) -> Result<Self, Complaint> {
        Self::parse(text).ok_or_else(|| {
            "its value is not like smtp://host:25, smtps://user:password@host, file:///dir or log:"
                .into()
        })
    }
}

impl Setting for Mailbox {
    fn parse(text: &str) -> Result<Self, Complaint> {
        text.parse().map_err(|_| {
            format!("{} is not a sender like natter <no-reply@example.org>", quoted(text))
        })
    }
}

impl Setting for ForwardedHeader {
    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "either" => Ok(Self::Either),
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(format!("{} is not either, x-forwarded-for or forwarded", quoted(text))),
        }
    }
}

impl Setting for LogFormat {
    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{} is neither text nor json", quoted(text))),
        }
    }
}

/// The value for a message: one line, and short whatever was pasted.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}
