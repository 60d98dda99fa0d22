//! Attachments: who may upload, read and use which file; how files end is in `collection`.

mod collection;
pub(super) mod uses;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::budget::{Share, UnreadAnswers, held};
use super::images::Images;
use super::storage_quota;
use super::upload;
use super::upload::{Stores, Upload};
use crate::domain::attachments::Attachment;
use crate::domain::clients::Subject;
use crate::domain::clock::Clock;
use crate::domain::files::{Filename, Rendition, StoredFile};
use crate::domain::ids::{AttachmentId, UserId};
use crate::domain::media_type::Image;
use crate::error::{Error, Result};
use crate::store::Repositories;
use crate::store::files::Files;
use crate::store::striped_locks::StripedLocks;

/// Bytes of a download that are in memory at most: the chunk that is being sent, and the next.
const IN_MEMORY: u64 = 128 * 1024;

/// How long a download waits for others to go on.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Conversations that membership is asked for in one go.
const CONVERSATIONS: usize = 50;

/// The files of all users.
#[derive(Debug, Clone)]
pub struct Attachments {
    stores: Stores,
    unread: Arc<UnreadAnswers>,
}

impl Attachments {
    /// The files of these repositories.
    #[must_use]
    pub fn new(repositories: &Repositories, clock: &Clock, unread: &Arc<UnreadAnswers>) -> Self {
        let stores = Stores {
            store: repositories.store.clone(),
            files: repositories.files.clone(),
            images: Images::new(),
            locks: StripedLocks::new(),
            quota: None,
            clock: clock.clone(),
        };
        Self { stores, unread: unread.clone() }
    }

    /// The same files, of which one account may store this many bytes.
    #[must_use]
    pub fn with_quota(mut self, bytes: Option<u64>) -> Self {
        self.stores.quota = bytes;
        self
    }

    /// Whether someone may upload at all: spares the bytes of a file that would be refused at its
    /// end.
    ///
    /// # Errors
    /// `quota_exceeded` if they store as much as they may; or the store is away.
    pub async fn check_quota(&self, uploader: UserId) -> Result<()> {
        storage_quota::check(&self.stores.store, uploader, self.stores.quota).await
    }

    /// Begins to receive a file; `filename` is what the client calls it.
    #[must_use]
    pub fn begin(&self, uploader: UserId, filename: &str) -> Upload {
        let id = AttachmentId::random();
        upload::begin(self.stores.clone(), id, uploader, Filename::clean(filename))
    }

    /// Stores a whole file under a given id, unless it is there already.
    ///
    /// # Errors
    /// It is empty or too large; `image_too_large`; or the store is away.
    pub async fn put(
        &self,
        id: AttachmentId,
        uploader: UserId,
        filename: &str,
        bytes: Bytes,
    ) -> Result<Attachment> {
        if let Some(there) = self.stores.store.attachments().own(uploader, &[id]).await?.pop() {
            return Ok(there);
        }
        // What an attempt that did not come to its end has left.
        self.stores.files.remove(id).await?;
        self.stores.store.attachments().forget(id).await?;
        let filename = Filename::clean(filename);
        let mut upload = upload::begin(self.stores.clone(), id, uploader, filename);
        upload.write(bytes).await?;
        upload.finish().await
    }

    /// A file, or its preview, to be read by whoever may.
    ///
    /// # Errors
    /// `not_found` if it is not there or `reader` may not know that it is; or the store is away.
    pub async fn open(
        &self,
        reader: UserId,
        id: AttachmentId,
        rendition: Rendition,
    ) -> Result<OpenFile> {
        let file = self.stores.store.attachments().find(id).await?.ok_or_else(Error::not_found)?;
        if !self.may_read(reader, &file).await? {
            return Err(Error::not_found());
        }
        let StoredFile { attachment: original, preview, chunk_size, .. } = file;
        let (files, unread) = (self.stores.files.clone(), self.unread.clone());
        let (content_type, size, tag) = match rendition {
            Rendition::Original => (original.content_type, original.size, original.sha256),
            Rendition::Thumbnail => {
                let preview = preview.ok_or_else(Error::not_found)?;
                (preview.content_type, preview.size, format!("{}-thumbnail", original.sha256))
            }
        };
        Ok(OpenFile {
            id,
            rendition,
            filename: original.filename,
            content_type,
            size,
            tag,
            chunk_size,
            reader,
            files,
            unread,
        })
    }

    /// The uploader; anyone, of the uploader's profile picture; members of a conversation where it
    /// was sent in a message that stands, or whose picture it is.
    async fn may_read(&self, reader: UserId, file: &StoredFile) -> Result<bool> {
        let id = file.attachment.id;
        if file.uploader == reader
            || self.stores.store.users().has_picture(file.uploader, id).await?
        {
            return Ok(true);
        }
        let (store, mut after) = (&self.stores.store, None);
        loop {
            let conversations = uses::conversations_of(store, id, after, CONVERSATIONS).await?;
            if conversations.is_empty() {
                return Ok(false);
            }
            if store.members().any_of(&conversations, reader).await? {
                return Ok(true);
            }
            if conversations.len() < CONVERSATIONS {
                return Ok(false);
            }
            after = conversations.last().copied();
        }
    }

    /// A file that someone may show as a picture, of themselves or a group: their own, ready, and
    /// one of the four image types; `None` otherwise.
    pub async fn picture_of(
        &self,
        uploader: UserId,
        id: AttachmentId,
    ) -> Result<Option<Attachment>> {
        let own = self.stores.store.attachments().own(uploader, &[id]).await?.pop();
        Ok(own.filter(|file| Image::of(&file.content_type).is_some()))
    }
}

/// A file that its reader may have.
#[derive(Debug)]
pub struct OpenFile {
    id: AttachmentId,
    rendition: Rendition,
    /// Its name, harmless.
    pub filename: String,
    /// The media type found in its bytes.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// Changes whenever the bytes do: hexadecimal digits and the like.
    pub tag: String,
    chunk_size: usize,
    reader: UserId,
    files: Files,
    unread: Arc<UnreadAnswers>,
}

impl OpenFile {
    /// Whether it may be shown in place.
    #[must_use]
    pub fn is_image(&self) -> bool {
        Image::of(&self.content_type).is_some()
    }

    /// The bytes of `range`, which lies within the file, read as they are asked for: a chunk of
    /// the store at a time, and none but those that the range is in.
    ///
    /// # Errors
    /// `unavailable` where too many downloads, of this reader or in all, are not read.
    pub async fn read(
        self,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static> {
        let Range { start, end } = range;
        let most = (end - start).min(IN_MEMORY.max(2 * self.chunk_size as u64)).div_ceil(1024);
        let most = u32::try_from(most).map_err(Error::internal)?;
        let share = self.unread.acquire(Subject::Account(self.reader), most, READ_TIMEOUT).await;
        let share =
            share.ok_or_else(|| Error::unavailable().with_source("too many unread downloads"))?;
        Ok(stream::try_unfold(
            (self, Arc::new(share), start),
            move |(file, share, at)| async move {
                if at >= end {
                    return Ok(None);
                }
                let bytes = file.piece(at..end, share.clone()).await?;
                let next = at + bytes.len() as u64;
                Ok(Some((bytes, (file, share, next))))
            },
        ))
    }

    /// The bytes of `range` as far as one chunk has them.
    async fn piece(&self, range: Range<u64>, share: Arc<Share<Subject>>) -> Result<Bytes> {
        let size = self.chunk_size as u64;
        let within = |at: u64| usize::try_from(at).map_err(Error::internal);
        let (n, skip) = (range.start / size, within(range.start % size)?);
        let n = u32::try_from(n).map_err(Error::internal)?;
        let chunk = self.files.chunk(self.id, self.rendition, n).await?;
        let stop = chunk.len().min(skip.saturating_add(within(range.end - range.start)?));
        if stop <= skip {
            return Err(Error::internal(format!("chunk {n} of file {} is short", self.id)));
        }
        Ok(held(chunk, share).slice(skip..stop))
    }
}
