//! Attachments: one row per file, there before its bytes are, so that whatever a crash leaves of
//! them can be found again.

pub(super) mod storage;

use std::fmt::Write;

use mongodb::bson::{Binary, Document, doc};
use serde::Deserialize;

use super::bson::{binary, date, id};
use super::files::{CHUNK, FIRST_CHUNK};
use super::store::{Collection, Store, Tx, all, within};
use super::striped_locks::StripedLocks;
use crate::domain::attachments::Attachment;
use crate::domain::clock::Timestamp;
use crate::domain::files::{Preview, StoredFile};
use crate::domain::ids::{AttachmentId, UserId};
use crate::error::{Error, Result};

pub(super) const FILES: &str = "attachments";

/// The collection `attachments`.
#[derive(Debug, Clone)]
pub struct Attachments {
    store: Store,
    rows: Collection<Row>,
    /// Uploads of one account end one after another in an instance: each writes its count.
    locks: StripedLocks,
}

/// A row whose file is ready; before, it has neither of what the bytes tell.
#[derive(Debug, Deserialize)]
struct Row {
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

/// What became of a file's bytes.
#[derive(Debug, Clone)]
pub struct Content {
    /// The media type found in them.
    pub content_type: String,
    /// How many they are.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// Pixels across and down; only of images.
    pub dimensions: Option<(u32, u32)>,
    /// What is stored of the preview; only of images.
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

impl Attachments {
    /// The attachments of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), rows: store.collection(FILES), locks: StripedLocks::new() }
    }

    /// Waits for a turn at the count of what an account stores.
    pub async fn turn(&self, uploader: UserId) -> Option<impl Drop> {
        self.locks.lock(uploader.bytes()).await
    }

    /// Whether an account stores as many bytes as it may, so that no upload need begin. Exact is
    /// only [`finish`](Self::finish).
    pub async fn is_full(&self, uploader: UserId, quota: u64) -> Result<bool> {
        let counted = self.store.users().storage_bytes(uploader).await?;
        Ok(counted.unwrap_or(0).max(0).unsigned_abs() >= quota)
    }

    /// Notes that bytes will follow.
    ///
    /// # Errors
    /// When the store is away; the row may then be there or not.
    pub async fn begin(
        &self,
        id: AttachmentId,
        uploader: UserId,
        filename: &str,
        now: Timestamp,
    ) -> Result<()> {
        let row = doc! {
            "_id": id, "uploader": uploader, "state": "uploading",
            "filename": filename, "created_at": now,
        };
        within(&self.rows, self.rows.clone_with_type::<Document>().insert_one(row)).await?;
        Ok(())
    }

    /// Makes a file whose bytes are all stored readable, and counts it among what its uploader
    /// stores; nothing refers to it yet. `None`: it was given up meanwhile.
    ///
    /// # Errors
    /// `quota_exceeded` if the uploader would then store more than `quota` bytes; or the store is
    /// away.
    pub async fn finish(
        &self,
        id: AttachmentId,
        uploader: UserId,
        content: &Content,
        quota: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<StoredFile>> {
        let (ready, added) = (doc! { "$set": content.as_ready(now)? }, length(content.size)?);
        let uploading = doc! { "_id": id, "state": "uploading" };
        let _turn = self.turn(uploader).await;
        let row = self.store.transact(async move |tx: &mut Tx| {
            let row = tx.table::<Row>(FILES).change(uploading.clone(), ready.clone()).await?;
            if row.is_some() {
                let stored = storage::change(tx, uploader, added).await?;
                if quota.is_some_and(|quota| stored > quota) {
                    return Err(quota_exceeded());
                }
            }
            Ok(row)
        });
        row.await?.map(StoredFile::try_from).transpose()
    }

    /// Forgets a file that did not become ready.
    pub async fn forget(&self, id: AttachmentId) -> Result<()> {
        within(&self.rows, self.rows.delete_one(doc! { "_id": id, "state": "uploading" })).await?;
        Ok(())
    }

    /// Files that began before `before` and did not become ready; at most `limit`.
    pub async fn abandoned(&self, before: Timestamp, limit: i64) -> Result<Vec<AttachmentId>> {
        let abandoned = doc! { "state": "uploading", "created_at": { "$lt": before } };
        self.keys(abandoned, limit).await
    }

    /// Files that ended, and whose bytes may still be there; at most `limit`.
    pub async fn ended(&self, limit: i64) -> Result<Vec<AttachmentId>> {
        self.keys(doc! { "state": "deleting" }, limit).await
    }

    /// Forgets a file that ended, once its bytes are gone.
    pub async fn erase(&self, id: AttachmentId) -> Result<()> {
        within(&self.rows, self.rows.delete_one(doc! { "_id": id, "state": "deleting" })).await?;
        Ok(())
    }

    async fn keys(&self, filter: Document, limit: i64) -> Result<Vec<AttachmentId>> {
        #[derive(Deserialize)]
        struct Key {
            #[serde(rename = "_id", with = "id")]
            id: AttachmentId,
        }
        let keys = self.rows.clone_with_type::<Key>();
        let keys = keys.find(filter).projection(doc! { "_id": 1 }).limit(limit);
        Ok(all(&self.rows, keys).await?.into_iter().map(|key| key.id).collect())
    }

    /// A file that is ready.
    pub async fn find(&self, id: AttachmentId) -> Result<Option<StoredFile>> {
        let row =
            within(&self.rows, self.rows.find_one(doc! { "_id": id, "state": "ready" })).await?;
        row.map(StoredFile::try_from).transpose()
    }

    /// Those of `ids` that are ready and this user's own, in this order.
    pub async fn own(&self, uploader: UserId, ids: &[AttachmentId]) -> Result<Vec<Attachment>> {
        let own: Document =
            doc! { "_id": { "$in": ids.to_vec() }, "uploader": uploader, "state": "ready" };
        let mut rows = all(&self.rows, self.rows.find(own)).await?;
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.id));
        let files = rows.into_iter().map(StoredFile::try_from);
        files.map(|file| file.map(|file| file.attachment)).collect()
    }

    /// Up to `count` files that a user has uploaded, in the order of their ids, from the one after
    /// `after` on.
    pub async fn uploaded(
        &self,
        uploader: UserId,
        after: Option<AttachmentId>,
        count: i64,
    ) -> Result<Vec<Attachment>> {
        let mut own = doc! { "uploader": uploader, "state": "ready" };
        if let Some(after) = after {
            own.insert("_id", doc! { "$gt": after });
        }
        let rows =
            all(&self.rows, self.rows.find(own).sort(doc! { "_id": 1 }).limit(count)).await?;
        let files = rows.into_iter().map(StoredFile::try_from);
        files.map(|file| file.map(|file| file.attachment)).collect()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An account stores as many bytes as it may.
#[must_use]
pub fn quota_exceeded() -> Error {
    Error::over_quota("storage quota exceeded; delete files to free space")
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
