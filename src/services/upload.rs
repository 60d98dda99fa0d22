//! Receiving a file: its bytes go to the store as they come, a chunk at a time.

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::images::Images;
use crate::domain::attachments::Attachment;
use crate::domain::clock::Clock;
use crate::domain::files::{Filename, MAX_SIZE, Preview, Rendition};
use crate::domain::ids::{AttachmentId, UserId};
use crate::domain::media_type::{self, Image};
use crate::error::{Error, Kind, Result};
use crate::repositories::attachments::{Attachments, Content};
use crate::repositories::files::{CHUNK, Files};

/// A file that is being received. Unless it is finished, nothing stays of it.
///
/// What writes to the store is a task of its own: dropping this at any moment, in the middle of a
/// write too, lets it finish the one write and then clean up after itself.
#[derive(Debug)]
pub struct Upload {
    steps: mpsc::Sender<Step>,
    task: JoinHandle<Result<Attachment>>,
    size: u64,
}

#[derive(Debug)]
enum Step {
    Bytes(Bytes),
    /// That was all; somebody waits as long as the other end is there.
    End(oneshot::Sender<()>),
}

impl Upload {
    /// Takes the next bytes; waits while the store is slower than the client.
    ///
    /// # Errors
    /// `payload_too_large` past [`MAX_SIZE`]; or the store is away.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        if self.size > MAX_SIZE {
            return Err(Error::too_large(MAX_SIZE));
        }
        match self.steps.send(Step::Bytes(bytes)).await {
            Ok(()) => Ok(()),
            Err(_ended) => Err(failure(&mut self.task).await),
        }
    }

    /// Makes what was written an attachment; its preview is ready then, too.
    ///
    /// # Errors
    /// Nothing was written; `image_too_large`; or the store is away.
    pub async fn finish(mut self) -> Result<Attachment> {
        if self.size == 0 {
            return Err(Error::field("file", "too_short", "the file is empty"));
        }
        // Kept until the task has ended: so it learns when nobody waits any more.
        let (end, _waiting) = oneshot::channel();
        if self.steps.send(Step::End(end)).await.is_err() {
            return Err(failure(&mut self.task).await);
        }
        self.task.await.map_err(Error::internal)?
    }
}

async fn failure(task: &mut JoinHandle<Result<Attachment>>) -> Error {
    match task.await {
        Ok(Err(error)) => error,
        Ok(Ok(_)) => Error::internal("an upload ended before its end"),
        Err(panic) => Error::internal(panic),
    }
}

/// What an upload works with.
#[derive(Debug, Clone)]
pub(super) struct Stores {
    pub rows: Attachments,
    pub files: Files,
    pub images: Images,
    pub clock: Clock,
}

/// Begins to receive a file.
pub(super) fn begin(
    stores: Stores,
    id: AttachmentId,
    uploader: UserId,
    filename: Filename,
) -> Upload {
    let (steps, incoming) = mpsc::channel(1);
    let receiver = Receiver {
        stores,
        id,
        chunk: Vec::with_capacity(CHUNK),
        chunks: 0,
        head: Vec::new(),
        size: 0,
        sha256: digest::Context::new(&digest::SHA256),
    };
    let task = tokio::spawn(receiver.run(uploader, filename, incoming));
    Upload { steps, task, size: 0 }
}

struct Receiver {
    stores: Stores,
    id: AttachmentId,
    /// Bytes that are not stored yet, less than a chunk.
    chunk: Vec<u8>,
    /// Chunks that are stored.
    chunks: u32,
    /// The first bytes of all.
    head: Vec<u8>,
    size: u64,
    sha256: digest::Context,
}

impl Receiver {
    async fn run(
        mut self,
        uploader: UserId,
        filename: Filename,
        incoming: mpsc::Receiver<Step>,
    ) -> Result<Attachment> {
        let (stores, id) = (self.stores.clone(), self.id);
        let outcome = async {
            let now = stores.clock.now();
            stores.rows.begin(id, uploader, &filename.into_string(), now).await?;
            let waiting = self.receive(incoming).await?;
            self.complete(waiting).await
        };
        let outcome = outcome.await;
        if let Err(error) = &outcome {
            discard(&stores, id, error.kind()).await;
        }
        outcome
    }

    async fn receive(&mut self, mut incoming: mpsc::Receiver<Step>) -> Result<oneshot::Sender<()>> {
        loop {
            match incoming.recv().await {
                Some(Step::Bytes(bytes)) => self.take(bytes).await?,
                Some(Step::End(waiting)) => return Ok(waiting),
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
                let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
                self.append(chunk).await?;
            }
        }
        Ok(())
    }

    async fn append(&mut self, chunk: Vec<u8>) -> Result<()> {
        self.stores.files.append(self.id, Rendition::Original, self.chunks, chunk).await?;
        self.chunks += 1;
        Ok(())
    }

    async fn complete(mut self, waiting: oneshot::Sender<()>) -> Result<Attachment> {
        let rest = std::mem::take(&mut self.chunk);
        if !rest.is_empty() {
            self.append(rest).await?;
        }
        let (stores, id, size) = (&self.stores, self.id, self.size);
        stores.files.complete(id, Rendition::Original, size, stores.clock.now()).await?;
        let content = self.content().await?;
        if waiting.is_closed() {
            return Err(given_up());
        }
        let file = self.stores.rows.finish(self.id, &content).await?;
        file.map(|file| file.attachment).ok_or_else(given_up)
    }

    /// What the bytes tell; stores the preview of an image.
    async fn content(&self) -> Result<Content> {
        let Self { stores, id, size, .. } = self;
        let mut content_type = media_type::sniff(&self.head, *size);
        let mut image = None;
        if let Some(kind) = Image::of(content_type) {
            image = stores.images.examine(kind, self.read_back()).await?;
            if image.is_none() {
                content_type = media_type::UNKNOWN;
            }
        }
        let dimensions = image.as_ref().map(|image| image.dimensions);
        let mut preview = None;
        if let Some(small) = image.and_then(|image| image.thumbnail) {
            let size = small.bytes.len() as u64;
            for (n, chunk) in (0..).zip(small.bytes.chunks(CHUNK)) {
                stores.files.append(*id, Rendition::Thumbnail, n, chunk.to_vec()).await?;
            }
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

/// Removes what there is of a file. After a write whose outcome is unknown, which may still come
/// true, the row stays for [`super::attachments::Attachments::collect_abandoned`].
async fn discard(stores: &Stores, id: AttachmentId, failed_by: Kind) {
    let outcome = async {
        stores.files.remove(id).await?;
        if failed_by == Kind::Unavailable { Ok(()) } else { stores.rows.forget(id).await }
    };
    if let Err(error) = outcome.await {
        tracing::debug!(event = "upload_discard", %id, %error);
    }
}

fn given_up() -> Error {
    Error::malformed("malformed_multipart", "the upload was given up before its end")
}
