//! Attachments: one row per file. The row is inserted before the bytes, so that a job can find and
//! remove the bytes that a crash leaves behind.
//!
//! The row has `unused_since` as long as nothing refers to the file. Every transaction that begins
//! or ends a use, and the one that retires the file, writes the row, even where only `changes`
//! counts up. Any two of them therefore conflict, and one runs again on the new state: a file is in
//! use or gone, never both.

use std::collections::BTreeSet;
use std::fmt::Write;

use mongodb::bson::{Binary, Document, doc};
use serde::Deserialize;

use crate::domain::attachments::Attachment;
use crate::domain::clock::Timestamp;
use crate::domain::files::{Preview, StoredFile};
use crate::domain::ids::{AttachmentId, UserId};
use crate::error::{Error, Result};
use crate::store::Table;
use crate::store::bson::{binary, date, id};
use crate::store::files::{CHUNK, FIRST_CHUNK};

/// A row of `attachments` whose file is ready. Before, it lacks the fields that the bytes tell.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id", with = "id")]
    id: AttachmentId,
    #[serde(with = "id")]
    uploader: UserId,
    filename: String,
    content_type: String,
    size: i64,
    sha256: Binary,
    width: Option<i32>,
    height: Option<i32>,
    preview: Option<PreviewRow>,
    chunk_size: Option<i32>,
    #[serde(with = "date")]
    created_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct PreviewRow {
    content_type: String,
    size: i64,
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "_id", with = "id")]
    id: AttachmentId,
}

#[derive(Deserialize)]
struct Uploader {
    #[serde(with = "id")]
    uploader: UserId,
}

#[derive(Deserialize)]
struct Sum {
    bytes: i64,
}

/// A file that has just been retired.
#[derive(Debug, Deserialize)]
pub struct Retired {
    /// Its uploader.
    #[serde(with = "id")]
    pub uploader: UserId,
    /// Its bytes.
    pub size: i64,
}

/// The properties of a file that its bytes determine.
#[derive(Debug, Clone)]
pub struct Content {
    /// The media type found in the bytes.
    pub content_type: String,
    /// The number of bytes.
    pub size: u64,
    /// The SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// Pixels across and down; only of images.
    pub dimensions: Option<(u32, u32)>,
    /// The stored preview; only of images.
    pub preview: Option<Preview>,
}

impl Content {
    /// The fields of a row whose file is ready.
    fn as_ready(&self, now: Timestamp) -> Result<Document> {
        let preview = self.preview.as_ref().map(|preview| {
            length(preview.size)
                .map(|size| doc! { "content_type": &preview.content_type, "size": size })
        });
        Ok(doc! {
            "state": "ready",
            "unused_since": now,
            "content_type": &self.content_type,
            "size": length(self.size)?,
            "sha256": binary(self.sha256),
            "width": self.dimensions.map(|(width, _)| side(width)).transpose()?,
            "height": self.dimensions.map(|(_, height)| side(height)).transpose()?,
            "preview": preview.transpose()?,
            "chunk_size": i32::try_from(CHUNK).map_err(Error::internal)?,
        })
    }
}

/// The collection `attachments`, for one command.
pub struct Attachments<'a>(Table<'a, Row>);

impl<'a> Attachments<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Notes that bytes will follow.
    ///
    /// # Errors
    /// When the store is away; the row may then be there or not.
    pub async fn begin(
        self,
        id: AttachmentId,
        uploader: UserId,
        filename: &str,
        now: Timestamp,
    ) -> Result<()> {
        let row = doc! {
            "_id": id, "uploader": uploader, "state": "uploading",
            "filename": filename, "created_at": now,
        };
        self.0.of::<Document>().insert(row).await
    }

    /// Makes a file whose bytes are all stored readable; nothing refers to it yet. `None`: it was
    /// given up meanwhile.
    pub async fn finish(
        self,
        id: AttachmentId,
        content: &Content,
        now: Timestamp,
    ) -> Result<Option<StoredFile>> {
        let uploading = doc! { "_id": id, "state": "uploading" };
        let ready = doc! { "$set": content.as_ready(now)? };
        self.0.change(uploading, ready).await?.map(StoredFile::try_from).transpose()
    }

    /// Forgets a file that did not become ready.
    pub async fn forget(self, id: AttachmentId) -> Result<()> {
        self.0.delete(doc! { "_id": id, "state": "uploading" }).await.map(|_| ())
    }

    /// Files that began before `before` and did not become ready; at most `limit`.
    pub async fn abandoned(self, before: Timestamp, limit: usize) -> Result<Vec<AttachmentId>> {
        self.keys(doc! { "state": "uploading", "created_at": { "$lt": before } }, limit).await
    }

    /// Files that nothing has referred to since before `before`, the longest unused first; at most
    /// `limit`.
    pub async fn unused(self, before: Timestamp, limit: usize) -> Result<Vec<AttachmentId>> {
        let unused = doc! { "state": "ready", "unused_since": { "$lt": before } };
        Self(self.0.sorted(doc! { "unused_since": 1, "_id": 1 })).keys(unused, limit).await
    }

    /// Files that were retired, and whose bytes may still be there; at most `limit`.
    pub async fn retired(self, limit: usize) -> Result<Vec<AttachmentId>> {
        self.keys(doc! { "state": "deleting" }, limit).await
    }

    /// Forgets a file that was retired, once its bytes are gone.
    pub async fn erase(self, id: AttachmentId) -> Result<()> {
        self.0.delete(doc! { "_id": id, "state": "deleting" }).await.map(|_| ())
    }

    async fn keys(self, filter: Document, limit: usize) -> Result<Vec<AttachmentId>> {
        let keys = self.0.only::<Key>(doc! { "_id": 1 }).first(limit).all(filter).await?;
        Ok(keys.into_iter().map(|key| key.id).collect())
    }

    /// A file that is ready.
    pub async fn find(self, id: AttachmentId) -> Result<Option<StoredFile>> {
        let ready = self.0.one(doc! { "_id": id, "state": "ready" }).await?;
        ready.map(StoredFile::try_from).transpose()
    }

    /// Those of `ids` that are ready and this user's own, in this order.
    pub async fn own(self, uploader: UserId, ids: &[AttachmentId]) -> Result<Vec<Attachment>> {
        let own = doc! { "_id": { "$in": ids.to_vec() }, "uploader": uploader, "state": "ready" };
        let mut rows = self.0.all(own).await?;
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.id));
        as_seen(rows)
    }

    /// Up to `count` files that a user has uploaded, in the order of their ids, from the one after
    /// `after` on.
    pub async fn uploaded(
        self,
        uploader: UserId,
        after: Option<AttachmentId>,
        count: usize,
    ) -> Result<Vec<Attachment>> {
        let mut own = doc! { "uploader": uploader, "state": "ready" };
        if let Some(after) = after {
            own.insert("_id", doc! { "$gt": after });
        }
        as_seen(self.0.sorted(doc! { "_id": 1 }).first(count).all(own).await?)
    }

    /// The bytes of all ready files of a user.
    pub async fn bytes_of(self, uploader: UserId) -> Result<i64> {
        let own = doc! { "$match": { "uploader": uploader, "state": "ready" } };
        let sum = doc! { "$group": { "_id": null, "bytes": { "$sum": { "$toLong": "$size" } } } };
        let sums = self.0.of::<Sum>().aggregate(vec![own, sum]).await?;
        Ok(sums.first().map_or(0, |sum| sum.bytes))
    }

    /// The uploader of a file in any state.
    pub async fn uploader(self, id: AttachmentId) -> Result<Option<UserId>> {
        let row = self.0.only::<Uploader>(doc! { "uploader": 1 }).one(doc! { "_id": id }).await?;
        Ok(row.map(|row| row.uploader))
    }

    /// Those of some files that can be used: ready, and not about to be removed.
    pub async fn ready(
        self,
        files: impl IntoIterator<Item = AttachmentId>,
    ) -> Result<BTreeSet<AttachmentId>> {
        let files: BTreeSet<AttachmentId> = files.into_iter().collect();
        if files.is_empty() {
            return Ok(files);
        }
        let keys = self.0.only::<Key>(doc! { "_id": 1 }).all(usable(&files)).await?;
        Ok(keys.into_iter().map(|key| key.id).collect())
    }

    /// Keeps files from being collected, for a use that begins in this transaction. `false` if one
    /// is not there any more: the transaction must then end.
    pub async fn hold(self, files: impl IntoIterator<Item = AttachmentId>) -> Result<bool> {
        let files: BTreeSet<AttachmentId> = files.into_iter().collect();
        if files.is_empty() {
            return Ok(true);
        }
        Ok(self.0.update_all(usable(&files), used()).await? == files.len() as u64)
    }

    /// Notes since when nothing refers to a file; `None`: it is in use.
    pub async fn set_unused_since(self, id: AttachmentId, since: Option<Timestamp>) -> Result<()> {
        let change = match since {
            Some(at) => doc! { "$set": { "unused_since": at }, "$inc": { "changes": 1_i64 } },
            None => used(),
        };
        self.0.update(doc! { "_id": id, "state": "ready" }, change).await.map(|_| ())
    }

    /// Notes that a file is in use whose row says that nothing has referred to it since before
    /// `before`.
    pub async fn correct_unused(self, id: AttachmentId, before: Timestamp) -> Result<()> {
        self.0.update(unused(id, before), used()).await.map(|_| ())
    }

    /// Retires a file whose row says that nothing has referred to it since before `before`: from
    /// then on nobody can read or use it, and its bytes can be removed. `None` if there is no such
    /// file.
    pub async fn retire(self, id: AttachmentId, before: Timestamp) -> Result<Option<Retired>> {
        let change = doc! {
            "$set": { "state": "deleting" },
            "$unset": { "unused_since": "" },
            "$inc": { "changes": 1_i64 },
        };
        let fields = doc! { "uploader": 1, "size": 1 };
        self.0.only::<Retired>(fields).change(unused(id, before), change).await
    }
}

fn usable(files: &BTreeSet<AttachmentId>) -> Document {
    let files: Vec<AttachmentId> = files.iter().copied().collect();
    doc! { "_id": { "$in": files }, "state": "ready" }
}

fn unused(id: AttachmentId, before: Timestamp) -> Document {
    doc! { "_id": id, "state": "ready", "unused_since": { "$lt": before } }
}

fn used() -> Document {
    doc! { "$unset": { "unused_since": "" }, "$inc": { "changes": 1_i64 } }
}

fn as_seen(rows: Vec<Row>) -> Result<Vec<Attachment>> {
    rows.into_iter().map(|row| StoredFile::try_from(row).map(|file| file.attachment)).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn length(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(Error::internal)
}

fn side(side: u32) -> Result<i32> {
    i32::try_from(side).map_err(Error::internal)
}

impl TryFrom<Row> for StoredFile {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let size = |size: i64| u64::try_from(size).map_err(Error::internal);
        let side = |side: Option<i32>| side.map(u32::try_from).transpose().map_err(Error::internal);
        let preview = row.preview.map(|preview| {
            size(preview.size).map(|size| Preview { content_type: preview.content_type, size })
        });
        let preview = preview.transpose()?;
        let chunk_size = row.chunk_size.map_or(Ok(FIRST_CHUNK), usize::try_from);
        let chunk_size = chunk_size.map_err(Error::internal)?;
        let attachment = Attachment {
            id: row.id,
            filename: row.filename,
            content_type: row.content_type,
            size: size(row.size)?,
            sha256: hexadecimal(&row.sha256.bytes),
            width: side(row.width)?,
            height: side(row.height)?,
            url: format!("/attachments/{}", row.id),
            thumbnail_url: preview.as_ref().map(|_| format!("/attachments/{}/thumbnail", row.id)),
            created_at: row.created_at,
        };
        Ok(Self { uploader: row.uploader, attachment, preview, chunk_size })
    }
}
