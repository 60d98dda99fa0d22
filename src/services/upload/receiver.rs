//! The writing half of an upload: a task that stores what comes, and looks into it at the end.

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::{Ending, Step, Stores};
use crate::domain::archives;
use crate::domain::attachments::Attachment;
use crate::domain::files::{Filename, Preview, Rendition};
use crate::domain::ids::{AttachmentId, UserId};
use crate::domain::media_type;
use crate::domain::media_type::Image;
use crate::error::{Error, Kind, Result};
use crate::services::storage_quota;
use crate::store::Tx;
use crate::store::files::{BATCH, CHUNK};
use crate::store::rows::attachments::Content;

/// What one upload has come to.
pub(super) struct Receiver {
    stores: Stores,
    id: AttachmentId,
    uploader: UserId,
    /// Bytes that are not stored yet, less than a chunk.
    chunk: Vec<u8>,
    /// Whole chunks that are not stored yet, less than a batch.
    batch: Vec<Vec<u8>>,
    /// Chunks that are stored.
    chunks: u32,
    /// The first bytes of all.
    head: Vec<u8>,
    size: u64,
    sha256: digest::Context,
}

impl Receiver {
    /// Nothing has come yet.
    pub fn new(stores: Stores, id: AttachmentId, uploader: UserId) -> Self {
        Self {
            stores,
            id,
            uploader,
            chunk: Vec::new(),
            batch: Vec::new(),
            chunks: 0,
            head: Vec::new(),
            size: 0,
            sha256: digest::Context::new(&digest::SHA256),
        }
    }

    /// Takes all steps of an upload; unless they come to their end, nothing stays of it.
    pub async fn run(
        mut self,
        filename: Filename,
        incoming: mpsc::Receiver<Step>,
    ) -> Result<Attachment> {
        let (stores, id, uploader) = (self.stores.clone(), self.id, self.uploader);
        let outcome = async {
            let now = stores.clock.now();
            let filename = filename.into_string();
            stores.store.attachments().begin(id, uploader, &filename, now).await?;
            let ending = self.receive(incoming).await?;
            self.complete(ending).await
        };
        let outcome = outcome.await;
        if let Err(error) = &outcome {
            discard(&stores, id, error.kind()).await;
        }
        outcome
    }

    async fn receive(&mut self, mut incoming: mpsc::Receiver<Step>) -> Result<Ending> {
        loop {
            match incoming.recv().await {
                Some(Step::Bytes(bytes)) => self.take(bytes).await?,
                Some(Step::Close) => self.append_rest().await?,
                Some(Step::End(ending)) => return Ok(ending),
                None => return Err(given_up()),
            }
        }
    }

    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        self.sha256.update(&bytes);
        let missing = media_type::HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(CHUNK - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            rest = later;
            if self.chunk.len() == CHUNK {
                self.batch.push(std::mem::take(&mut self.chunk));
                if self.batch.len() == BATCH {
                    self.append().await?;
                }
            }
        }
        Ok(())
    }

    async fn append(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let stored = u32::try_from(batch.len()).map_err(Error::internal)?;
        self.stores.files.append(self.id, Rendition::Original, self.chunks, batch).await?;
        self.chunks += stored;
        Ok(())
    }

    /// Stores the last chunks, unless there are none or they are stored already.
    async fn append_rest(&mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.chunk);
        if !rest.is_empty() {
            self.batch.push(rest);
        }
        if self.batch.is_empty() { Ok(()) } else { self.append().await }
    }

    async fn complete(mut self, ending: Ending) -> Result<Attachment> {
        self.append_rest().await?;
        let (stores, id, size) = (&self.stores, self.id, self.size);
        stores.files.complete(id, Rendition::Original, size, stores.clock.now()).await?;
        let content = self.content(self.uploader).await?;
        if ending.waiting.is_closed() {
            return Err(given_up());
        }
        let quota = self.stores.quota.filter(|_| ending.within_quota);
        self.publish(content, quota).await
    }

    /// Makes the file readable and counts it among the files that its uploader stores; nothing
    /// refers to it yet.
    async fn publish(&self, content: Content, quota: Option<u64>) -> Result<Attachment> {
        let Self { id, uploader, .. } = *self;
        let Stores { store, locks, clock, .. } = &self.stores;
        let now = clock.now();
        let _turn = locks.lock(uploader.bytes()).await;
        store
            .transact(async move |tx: &mut Tx| {
                let file = tx.attachments().finish(id, &content, now).await?;
                let file = file.ok_or_else(given_up)?;
                storage_quota::charge(tx, uploader, content.size, quota).await?;
                Ok(file.attachment)
            })
            .await
    }

    /// What the bytes tell; stores the preview of an image.
    async fn content(&self, uploader: UserId) -> Result<Content> {
        let Self { stores, id, size, .. } = self;
        let mut content_type = media_type::sniff(&self.head, *size);
        if content_type == archives::ZIP {
            content_type = archives::type_of(self, *size).await?;
        }
        let mut image = None;
        if let Some(kind) = Image::of(content_type) {
            image = stores.images.examine(kind, uploader, self.read_back()).await?;
            if image.is_none() {
                content_type = media_type::UNKNOWN;
            }
        }
        let dimensions = image.as_ref().map(|image| image.dimensions);
        let mut preview = None;
        if let Some(small) = image.and_then(|image| image.thumbnail) {
            let size = small.bytes.len() as u64;
            let chunks = small.bytes.chunks(CHUNK).map(<[u8]>::to_vec).collect();
            stores.files.append(*id, Rendition::Thumbnail, 0, chunks).await?;
            let now = stores.clock.now();
            stores.files.complete(*id, Rendition::Thumbnail, size, now).await?;
            preview = Some(Preview { content_type: small.content_type.to_owned(), size });
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(self.sha256.clone().finish().as_ref());
        Ok(Content {
            content_type: content_type.to_owned(),
            size: *size,
            sha256,
            dimensions,
            preview,
        })
    }

    /// All bytes again: they were not kept, since most files are not images.
    async fn read_back(&self) -> Result<Bytes> {
        let mut all = BytesMut::new();
        for n in 0..self.chunks {
            all.extend_from_slice(&self.stores.files.chunk(self.id, Rendition::Original, n).await?);
        }
        Ok(all.freeze())
    }
}

/// The stored file, read in parts: an archive is not kept in memory either.
impl archives::Source for Receiver {
    async fn range(&self, from: u64, to: u64) -> Result<Vec<u8>> {
        let to = to.min(self.size);
        let mut bytes = Vec::with_capacity(usize::try_from(to.saturating_sub(from)).unwrap_or(0));
        let chunk = CHUNK as u64;
        for n in from / chunk..to.div_ceil(chunk) {
            let number = u32::try_from(n).map_err(Error::internal)?;
            let stored = self.stores.files.chunk(self.id, Rendition::Original, number).await?;
            let within = |at: u64| usize::try_from(at.saturating_sub(n * chunk)).unwrap_or(CHUNK);
            let part = within(from).min(stored.len())..within(to).min(stored.len());
            bytes.extend_from_slice(&stored[part]);
        }
        Ok(bytes)
    }
}

/// Removes what there is of a file. After a write whose outcome is unknown, which may still come
/// true, the row stays for [`collect_abandoned`](crate::services::attachments::Attachments::collect_abandoned).
async fn discard(stores: &Stores, id: AttachmentId, failed_by: Kind) {
    let outcome = async {
        stores.files.remove(id).await?;
        if failed_by == Kind::Unavailable {
            Ok(())
        } else {
            stores.store.attachments().forget(id).await
        }
    };
    if let Err(error) = outcome.await {
        tracing::debug!(event = "upload_discard_failed", %id, %error, "collected later");
    }
}

fn given_up() -> Error {
    Error::malformed("malformed_multipart", "the upload was given up before its end")
}
