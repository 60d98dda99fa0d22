//! Mails: what they are about. Their words are in `mail::texts`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clock::Timestamp;
use super::ids::UserId;
use super::text::Email;

/// Why a mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailKind {
    /// A new account: its link shows that the address is its owner's.
    Verify,
    /// Someone asked for [`MailKind::Verify`] once more. Whether anyone waits for it at that
    /// address is looked up only when it is about to be sent, so that the answer to the request
    /// cannot tell.
    Resend,
    /// An account that wants this address: the same, for the change.
    ConfirmEmail,
    /// Someone asked for a new password, with this address. Looked up like [`MailKind::Resend`].
    ResetPassword,
    /// To the old address, once it is replaced: a warning, without a link.
    EmailChanged,
    /// To the address of an account that asks for another: a warning, with a link that undoes it.
    EmailChangeRequested,
    /// The password was changed, or set by a mailed link.
    PasswordChanged,
    /// Someone signed in from a device that the account was not used from lately.
    NewDevice,
}

impl MailKind {
    /// Its stable name, as it is stored and logged.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Resend => "resend",
            Self::ConfirmEmail => "confirm_email",
            Self::ResetPassword => "reset_password",
            Self::EmailChanged => "email_changed",
            Self::EmailChangeRequested => "email_change_requested",
            Self::PasswordChanged => "password_changed",
            Self::NewDevice => "new_device",
        }
    }

    /// The path that its link leads to.
    #[must_use]
    pub fn page(self) -> &'static str {
        match self {
            Self::ResetPassword => "/password/reset",
            Self::EmailChangeRequested => "/email/undo",
            Self::Verify
            | Self::Resend
            | Self::ConfirmEmail
            | Self::EmailChanged
            | Self::PasswordChanged
            | Self::NewDevice => "/verify",
        }
    }
}

/// The purpose of a mailed link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// To show that an address is its owner's.
    Verify,
    /// To set a new password.
    Reset,
    /// To undo a change of address.
    Undo,
}

/// A mailed link that is unused: the token in it is known by its hash alone.
#[derive(Debug, Clone)]
pub struct MailedLink {
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// Its purpose.
    pub kind: LinkKind,
    /// The account.
    pub user: UserId,
    /// The key of the address that it was mailed to; using the link proves that address.
    pub email_key: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// A mail that waits to be sent. It holds no token: its link is made from the nonce when it goes
/// out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Why.
    pub kind: MailKind,
    /// Where to.
    #[serde(deserialize_with = "email")]
    pub to: Email,
    /// Whom it addresses.
    pub username: String,
    /// What the token of its link is made from, where it has one.
    #[serde(with = "nonce", default)]
    pub nonce: Option<[u8; 16]>,
}

fn email<'de, D: Deserializer<'de>>(from: D) -> Result<Email, D::Error> {
    let text = String::deserialize(from)?;
    Email::parse(&text).map_err(|broken| D::Error::custom(broken.code))
}

/// A nonce as text: URL-safe Base64.
mod nonce {
    use super::{Deserialize, Deserializer, Engine, Error, Serialize, Serializer, URL_SAFE_NO_PAD};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(nonce: &Option<[u8; 16]>, to: S) -> Result<S::Ok, S::Error> {
        nonce.map(|nonce| URL_SAFE_NO_PAD.encode(nonce)).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[u8; 16]>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let bytes = |text| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok();
        let nonce = text.map(|text| bytes(text).ok_or_else(|| D::Error::custom("no nonce")));
        nonce.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_stored_and_read_back() {
        let to = Email::parse("Ada@example.com").unwrap();
        let kind = MailKind::ConfirmEmail;
        for nonce in [None, Some([7; 16])] {
            let mail = Mail { kind, to: to.clone(), username: "ada".to_owned(), nonce };
            let stored = serde_json::to_value(&mail).unwrap();
            assert_eq!(
                (&stored["kind"], &stored["to"]),
                (&kind.name().into(), &"Ada@example.com".into())
            );
            assert_eq!(serde_json::from_value::<Mail>(stored).unwrap(), mail);
        }
    }
}
