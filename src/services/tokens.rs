//! Opaque tokens: those of mailed links, and refresh tokens. Neither is kept anywhere.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::ids::SessionId;
use crate::domain::mails::MailKind;
use crate::domain::secrets::MacKey;

/// Tokens of mailed links. A token is made from a nonce and the service's key, so that a mail's
/// job keeps the nonce and the store of tokens a hash: neither is enough to use one.
#[derive(Debug, Clone)]
pub struct MailTokens(MacKey);

impl MailTokens {
    /// Tokens under the service's key for them.
    #[must_use]
    pub fn new(master: &[u8]) -> Self {
        Self(MacKey::derive(master, "mail-token"))
    }

    /// The token of a nonce: both its 16 bytes and 32 of authentication, in URL-safe Base64.
    #[must_use]
    pub fn token(&self, kind: MailKind, nonce: [u8; 16]) -> String {
        let code: [u8; 32] = self.0.mac(&[kind.name().as_bytes(), &nonce]);
        URL_SAFE_NO_PAD.encode([nonce.as_slice(), &code].concat())
    }

    /// What the store knows a token by: SHA-256 of its text.
    #[must_use]
    pub fn digest(token: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        bytes
    }
}

/// Refresh tokens: a session, a generation of it, and 32 bytes that only the service can make. So
/// the newest token of a session can be made again at any time, and none has to be stored.
#[derive(derive_more::Debug, Clone)]
#[debug("RefreshTokens(…)")]
pub struct RefreshTokens(MacKey);

impl RefreshTokens {
    /// Tokens under the service's key for them.
    #[must_use]
    pub fn new(master: &[u8]) -> Self {
        Self(MacKey::derive(master, "refresh"))
    }

    /// The token of one generation of a session.
    #[must_use]
    pub fn token(&self, session: SessionId, generation: u32) -> String {
        let (session, generation) = (session.bytes(), generation.to_be_bytes());
        let code: [u8; 32] = self.0.mac(&[&session, &generation]);
        URL_SAFE_NO_PAD.encode([session.as_slice(), &generation, &code].concat())
    }

    /// Which generation of which session the token is of; `None` for any other text.
    #[must_use]
    pub fn open(&self, token: &str) -> Option<(SessionId, u32)> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, code) = rest.split_first_chunk::<4>()?;
        let code: &[u8; 32] = code.try_into().ok()?;
        let known = self.0.verify(&[session, generation], code);
        known.then(|| (SessionId::from_bytes(*session), u32::from_be_bytes(*generation)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_tokens_are_ours_alone() {
        let tokens = RefreshTokens::new(b"master");
        let session = SessionId::random();
        let token = tokens.token(session, 7);
        assert_eq!(tokens.open(&token), Some((session, 7)));
        assert_eq!(RefreshTokens::new(b"other").open(&token), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(tokens.open(&String::from_utf8(changed).expect("ASCII")), None, "{at}");
        }
        for text in ["", "x", &token[1..], &format!("{token}AA")] {
            assert_eq!(tokens.open(text), None, "{text}");
        }
    }

    #[test]
    fn each_kind_of_mail_has_its_own_tokens() {
        let tokens = MailTokens::new(b"master");
        let token = |kind| tokens.token(kind, [7; 16]);
        assert_eq!(token(MailKind::Verify), token(MailKind::Verify));
        assert_ne!(token(MailKind::Verify), token(MailKind::ConfirmEmail));
    }
}
