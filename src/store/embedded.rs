//! Attachments inside other documents, so that showing them needs no join.

use serde::{Deserialize, Serialize};

use super::bson::{date, id};
use crate::domain::attachments::Attachment;
use crate::domain::clock::Timestamp;
use crate::domain::ids::AttachmentId;

/// All of an [`Attachment`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct EmbeddedAttachment {
    #[serde(with = "id")]
    pub id: AttachmentId,
    filename: String,
    content_type: String,
    size: i64,
    sha256: String,
    width: Option<i32>,
    height: Option<i32>,
    url: String,
    thumbnail_url: Option<String>,
    #[serde(with = "date")]
    created_at: Timestamp,
}

impl From<&Attachment> for EmbeddedAttachment {
    fn from(it: &Attachment) -> Self {
        let pixels = |side: Option<u32>| side.and_then(|side| side.try_into().ok());
        Self {
            id: it.id,
            filename: it.filename.clone(),
            content_type: it.content_type.clone(),
            size: it.size.try_into().unwrap_or(i64::MAX),
            sha256: it.sha256.clone(),
            width: pixels(it.width),
            height: pixels(it.height),
            url: it.url.clone(),
            thumbnail_url: it.thumbnail_url.clone(),
            created_at: it.created_at,
        }
    }
}

impl From<EmbeddedAttachment> for Attachment {
    fn from(row: EmbeddedAttachment) -> Self {
        let pixels = |side: Option<i32>| side.and_then(|side| side.try_into().ok());
        Self {
            id: row.id,
            filename: row.filename,
            content_type: row.content_type,
            size: row.size.try_into().unwrap_or_default(),
            sha256: row.sha256,
            width: pixels(row.width),
            height: pixels(row.height),
            url: row.url,
            thumbnail_url: row.thumbnail_url,
            created_at: row.created_at,
        }
    }
}
