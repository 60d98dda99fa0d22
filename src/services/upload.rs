//! Receiving a file: its bytes go to the store as they come, a chunk at a time.

mod receiver;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::receiver::Receiver;
use super::images::Images;
use crate::admission;
use crate::domain::attachments::Attachment;
use crate::domain::clock::Clock;
use crate::domain::files::{Filename, MAX_SIZE};
use crate::domain::ids::{AttachmentId, UserId};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::files::Files;
use crate::store::striped_locks::StripedLocks;

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
    /// No more bytes will come.
    Close,
    /// That was all.
    End(Ending),
}

/// How an upload is to be finished.
#[derive(Debug)]
struct Ending {
    /// Somebody waits as long as the other end is there.
    waiting: oneshot::Sender<()>,
    /// Whether it must fit into what its uploader may store.
    within_quota: bool,
}

impl Upload {
    /// Takes the next bytes; waits while the store is slower than the client.
    ///
    /// # Errors
    /// `payload_too_large` past [`MAX_SIZE`]; `quota_exceeded`; or the store is away.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        if self.size > MAX_SIZE {
            return Err(Error::too_large(MAX_SIZE));
        }
        self.step(Step::Bytes(bytes)).await
    }

    /// No more bytes will come: what is still in memory goes to the store, so that many of these
    /// can wait to be finished.
    pub async fn close(&mut self) -> Result<()> {
        self.step(Step::Close).await
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    async fn step(&mut self, step: Step) -> Result<()> {
        match self.steps.send(step).await {
            Ok(()) => Ok(()),
            Err(_ended) => Err(failure(&mut self.task).await),
        }
    }

    /// Makes what was written an attachment; its preview is ready then, too.
    ///
    /// # Errors
    /// Nothing was written; `image_too_large`; `quota_exceeded`; or the store is away.
    pub async fn finish(self) -> Result<Attachment> {
        self.end(true).await
    }

    /// As [`finish`](Self::finish), however much its uploader stores: for the repeat of a message,
    /// whose files are only compared and then removed.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), but for `quota_exceeded`.
    pub async fn finish_repeat(self) -> Result<Attachment> {
        self.end(false).await
    }

    async fn end(mut self, within_quota: bool) -> Result<Attachment> {
        if self.size == 0 {
            return Err(Error::field("file", "too_short", "file is empty"));
        }
        // Kept until the task has ended: so it learns when nobody waits any more.
        let (waiting, _waits) = oneshot::channel();
        let ending = Ending { waiting, within_quota };
        if self.steps.send(Step::End(ending)).await.is_err() {
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
    pub store: Store,
    pub files: Files,
    pub images: Images,
    /// Uploads of one account end one after another in an instance: each writes its count.
    pub locks: StripedLocks,
    /// Bytes that one account may store.
    pub quota: Option<u64>,
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
    let receiver = Receiver::new(stores, id, uploader);
    let task = admission::spawn(receiver.run(filename, incoming));
    Upload { steps, task, size: 0 }
}
