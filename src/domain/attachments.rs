//! Attachments as clients see them.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::ids::AttachmentId;

/// A stored file and where to get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// The name it was sent under, without directories.
    pub filename: String,
    /// The media type found in its bytes.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// Pixels across; only of images.
    pub width: Option<u32>,
    /// Pixels down; only of images.
    pub height: Option<u32>,
    /// Path of the bytes.
    pub url: String,
    /// Path of the preview; only of images.
    pub thumbnail_url: Option<String>,
    /// When it was stored.
    pub created_at: Timestamp,
}
