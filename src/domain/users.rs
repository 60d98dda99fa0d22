//! People: how an account looks to its owner, and to everyone else.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attachments::Attachment;
use super::clock::Timestamp;
use super::ids::{JobId, UserId};
use super::text::{Email, Username};
use crate::error::Error;

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its public name.
    #[schema(value_type = Username)]
    pub username: String,
    /// The address that it signs in with.
    #[schema(value_type = Email)]
    pub email: String,
    /// The address that it will have once the link mailed there is used.
    pub pending_email: Option<String>,
    /// Whether the owner has shown to receive mail at `email`.
    #[schema(example = true)]
    pub verified: bool,
    /// An image of the four kinds that are shown.
    pub profile_picture: Option<Attachment>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An account as everyone else sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PublicUser {
    /// Its id.
    pub id: UserId,
    /// Its name; `None` once deleted.
    #[schema(example = "grace")]
    pub username: Option<String>,
    /// Its picture; `None` once deleted.
    pub profile_picture: Option<Attachment>,
    /// Whether its owner has deleted it: what it wrote stays.
    pub deleted: bool,
}

impl PublicUser {
    /// An account of which nothing is left but its id.
    #[must_use]
    pub fn gone(id: UserId) -> Self {
        Self { id, username: None, profile_picture: None, deleted: true }
    }
}

/// The picture that an account is to have cannot be one.
#[must_use]
pub fn not_a_picture() -> Error {
    Error::field(
        "profile_picture",
        "unknown",
        "must be an image that you uploaded: PNG, JPEG, GIF or WebP",
    )
}

/// A session that asks for something has ended, or its account is gone.
#[must_use]
pub fn account_gone() -> Error {
    Error::unauthenticated("session_revoked", "account was deleted")
}

/// The conflict of an address.
#[must_use]
pub fn email_taken() -> Error {
    Error::conflict("email_taken", "e-mail address is already in use")
}

/// The conflict of a name.
#[must_use]
pub fn username_taken() -> Error {
    Error::conflict("username_taken", "name is already in use")
}

/// For how long cleaning up after an account is left to the request that deletes an account.
pub const CLEANUP_HEAD_START: Duration = Duration::from_secs(5);

/// The job that removes what a deleted account has left elsewhere.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AccountCleanup {
    /// Whose account it was.
    pub user: UserId,
    /// Since when it is gone.
    pub deleted_at: Timestamp,
}

impl AccountCleanup {
    /// The one id that the job of an account has.
    #[must_use]
    pub fn id(&self) -> JobId {
        JobId::named(&["account_cleanup", &self.user.to_string()])
    }
}
