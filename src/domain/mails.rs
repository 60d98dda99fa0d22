//! Mails: what they are about. Their words are in `mail::texts`.

use super::text::Email;

/// Why a mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Verify,
            Self::Resend,
            Self::ConfirmEmail,
            Self::ResetPassword,
            Self::EmailChanged,
            Self::EmailChangeRequested,
            Self::PasswordChanged,
            Self::NewDevice,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
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

/// A mail that waits to be sent. It holds no token: its link is made from the nonce when it goes
/// out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Why.
    pub kind: MailKind,
    /// Where to.
    pub to: Email,
    /// Whom it addresses.
    pub username: String,
    /// What the token of its link is made from, where it has one.
    pub nonce: Option<[u8; 16]>,
}
