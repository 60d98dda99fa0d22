//! The bytes of files, as GridFS lays them out (`fs.files`, `fs.chunks`), so that any tool that
//! knows GridFS reads them. The driver's own streams are not used: they take no deadline, clean up
//! behind a dropped upload while its last write may still be under way, and cannot seek.

use bytes::Bytes;
use mongodb::bson::{Bson, Document, doc};
use serde::Deserialize;

use super::bson::binary;
use super::{Collection, Store, within};
use crate::domain::clock::Timestamp;
use crate::domain::files::Rendition;
use crate::domain::ids::AttachmentId;
use crate::error::{Error, Result};

/// Bytes of every chunk but the last. A download holds a chunk for as long as its client takes to
/// read it, so they are smaller than GridFS' own default.
pub const CHUNK: usize = 64 * 1024;

/// Bytes of a chunk where the file's row does not say it.
pub const FIRST_CHUNK: usize = 255 * 1024;

/// Chunks that are written together.
pub const BATCH: usize = 4;

/// The collections `fs.files` and `fs.chunks`.
#[derive(Debug, Clone)]
pub struct Files {
    files: Collection<Document>,
    chunks: Collection<Document>,
}

#[derive(Deserialize)]
struct Chunk {
    data: mongodb::bson::Binary,
}

impl Files {
    /// The files of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { files: store.collection("fs.files"), chunks: store.collection("fs.chunks") }
    }

    /// Stores the chunks from `first` on, counted from 0: each of [`CHUNK`] bytes, the last of a
    /// file of what is left.
    ///
    /// # Errors
    /// When the store is away; each chunk may then be there or not.
    pub async fn append(
        &self,
        id: AttachmentId,
        part: Rendition,
        first: u32,
        chunks: Vec<Vec<u8>>,
    ) -> Result<()> {
        let chunk = |(n, bytes)| -> Result<Document> {
            Ok(doc! { "files_id": key(id, part), "n": number(n)?, "data": binary(bytes) })
        };
        let chunks: Vec<_> = (first..).zip(chunks).map(chunk).collect::<Result<_>>()?;
        within(&self.chunks, self.chunks.insert_many(chunks)).await?;
        Ok(())
    }

    /// Notes that all chunks of a file are there.
    pub async fn complete(
        &self,
        id: AttachmentId,
        part: Rendition,
        length: u64,
        now: Timestamp,
    ) -> Result<()> {
        let file = doc! {
            "_id": key(id, part),
            "length": i64::try_from(length).map_err(Error::internal)?,
            "chunkSize": i32::try_from(CHUNK).map_err(Error::internal)?,
            "uploadDate": now,
        };
        within(&self.files, self.files.insert_one(file)).await?;
        Ok(())
    }

    /// Chunk `n` of a file.
    ///
    /// # Errors
    /// When the store is away; or there is no such chunk: a defect.
    pub async fn chunk(&self, id: AttachmentId, part: Rendition, n: u32) -> Result<Bytes> {
        let chunks = self.chunks.clone_with_type::<Chunk>();
        let wanted = doc! { "files_id": key(id, part), "n": number(n)? };
        let chunk =
            within(&self.chunks, chunks.find_one(wanted).projection(doc! { "_id": 0, "data": 1 }));
        match chunk.await? {
            Some(chunk) => Ok(chunk.data.bytes.into()),
            None => Err(Error::internal(format!("chunk {n} of file {id} is missing"))),
        }
    }

    /// Removes whatever is there of a file and its preview.
    pub async fn remove(&self, id: AttachmentId) -> Result<()> {
        let keys = vec![key(id, Rendition::Original), key(id, Rendition::Thumbnail)];
        within(&self.files, self.files.delete_many(doc! { "_id": { "$in": keys.clone() } }))
            .await?;
        within(&self.chunks, self.chunks.delete_many(doc! { "files_id": { "$in": keys } })).await?;
        Ok(())
    }
}

/// The file's key in GridFS: the attachment's own, and of the preview one byte more.
fn key(id: AttachmentId, part: Rendition) -> Bson {
    let mut bytes = id.bytes().to_vec();
    if part == Rendition::Thumbnail {
        bytes.push(1);
    }
    binary(bytes)
}

fn number(n: u32) -> Result<i32> {
    i32::try_from(n).map_err(Error::internal)
}
