//! Security mails that are to be: what kind, within which limit, with which link.

use super::rate_windows::RateRule;
use crate::domain::clock::Timestamp;
use crate::domain::mails::MailKind;

/// A security mail to be.
#[derive(Debug, Clone)]
pub struct Notice {
    /// The kind of mail.
    pub kind: MailKind,
    /// Past it there is no mail, and the change goes on.
    pub rule: RateRule,
    /// Until when sending it makes sense.
    pub expires_at: Timestamp,
    /// The link that takes the change back, where the mail has one.
    pub undo: Option<UndoLink>,
}

/// The link that undoes a change of address.
#[derive(Debug, Clone)]
pub struct UndoLink {
    /// The nonce that its token is made from.
    pub nonce: [u8; 16],
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// Until when it is good.
    pub expires_at: Timestamp,
}
