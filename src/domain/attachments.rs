//! Files that were uploaded.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::ids::AttachmentId;

/// An uploaded file, as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// Its name, without directories.
    pub filename: String,
    /// Its media type, sniffed from the bytes.
    pub content_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Width in pixels, of an image.
    pub width: Option<u32>,
    /// Height in pixels, of an image.
    pub height: Option<u32>,
    /// Where its bytes are.
    pub url: String,
    /// Where a small image of it is.
    pub thumbnail_url: Option<String>,
    /// When it was uploaded.
    pub created_at: Timestamp,
}
