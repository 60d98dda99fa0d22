//! Attachments as clients see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clock::Timestamp;
use super::ids::AttachmentId;

/// A stored file and where to get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// The name it was sent under, without directories.
    #[schema(example = "portrait.png")]
    pub filename: String,
    /// The media type found in its bytes.
    #[schema(example = "image/png")]
    pub content_type: String,
    /// Bytes.
    #[schema(example = 48213)]
    pub size: u64,
    /// SHA-256 of the bytes, in lower-case hexadecimal.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub sha256: String,
    /// Pixels across; only of images.
    #[schema(example = 640)]
    pub width: Option<u32>,
    /// Pixels down; only of images.
    #[schema(example = 480)]
    pub height: Option<u32>,
    /// Path of the bytes.
    #[schema(example = "/attachments/7c9e6679-7425-40de-944b-e07fc1f90ae7")]
    pub url: String,
    /// Path of the preview; only of images.
    #[schema(example = "/attachments/7c9e6679-7425-40de-944b-e07fc1f90ae7/thumbnail")]
    pub thumbnail_url: Option<String>,
    /// When it was stored.
    pub created_at: Timestamp,
}
