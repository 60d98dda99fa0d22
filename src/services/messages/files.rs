//! The files of a message: those that it names, and those that come with it.

use super::{Delivery, Messages, NewMessage};
use crate::domain::attachments::Attachment;
use crate::domain::files::MAX_TOGETHER;
use crate::domain::ids::{AttachmentId, UserId};
use crate::domain::messages::{IdempotencyKey, unknown_attachments};
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::services::upload::Upload;

impl Messages {
    /// Sends a message with files that come with it, after those that it names. Of a message that
    /// is refused, or was sent before, no file stays.
    ///
    /// # Errors
    /// As [`Messages::send`]; `image_too_large`, `quota_exceeded`.
    pub async fn send_with(
        &self,
        sender: UserId,
        new: NewMessage,
        uploads: Vec<Upload>,
    ) -> Result<Delivery> {
        failpoint::reach("send.asked");
        self.check_may_write(sender, new.target).await?;
        failpoint::reach("send.allowed");
        let mut uploaded = Vec::with_capacity(uploads.len());
        let outcome = async {
            let is_repeat = !uploads.is_empty() && self.is_used(sender, &new).await?;
            for upload in uploads {
                uploaded.push(if is_repeat {
                    upload.finish_repeat().await?
                } else {
                    upload.finish().await?
                });
            }
            self.deliver(sender, &new, &uploaded).await
        };
        let outcome = outcome.await;
        let left_over = match &outcome {
            Ok(delivery) => delivery.replayed,
            // It may still be sent: what nothing refers to then is collected.
            Err(error) => error.kind() != Kind::Unavailable,
        };
        if left_over {
            let files: Vec<AttachmentId> = uploaded.iter().map(|file| file.id).collect();
            self.attachments.discard(sender, &files).await;
        }
        outcome
    }

    /// Whether the sender's name for a message stands for one already. Its repeat is answered even
    /// where the files of the first one took the last bytes that the sender may store.
    async fn is_used(&self, sender: UserId, new: &NewMessage) -> Result<bool> {
        let Some(client_message_id) = new.client_message_id.clone() else { return Ok(false) };
        let conversation = new.target.conversation(sender);
        let key = IdempotencyKey { conversation, sender, client_message_id };
        let known = self.known_key(key.clone()).await?;
        Ok(known.used(&key, self.clock.now()).is_some())
    }

    /// The files that a message names, the sender's own and complete, and those that come with
    /// it: together not too large.
    pub(super) async fn files(
        &self,
        sender: UserId,
        ids: &[AttachmentId],
        uploaded: &[Attachment],
    ) -> Result<Vec<Attachment>> {
        let mut wanted: Vec<AttachmentId> = Vec::with_capacity(ids.len());
        for id in ids {
            if !wanted.contains(id) {
                wanted.push(*id);
            }
        }
        let mut files = Vec::new();
        if !wanted.is_empty() {
            files = self.repositories.store.attachments().own(sender, &wanted).await?;
            if files.len() < wanted.len() {
                let is_unknown = |id: &AttachmentId| files.iter().all(|file| file.id != *id);
                let unknown = ids.iter().enumerate().filter(|(_, id)| is_unknown(id));
                let fields = unknown.map(|(index, _)| format!("attachments[{index}]"));
                return Err(unknown_attachments(fields));
            }
        }
        files.extend_from_slice(uploaded);
        if files.iter().map(|file| file.size).sum::<u64>() > MAX_TOGETHER {
            let message = "the files of one message may have at most 5 MiB in all";
            return Err(Error::field("attachments", "too_large", message));
        }
        Ok(files)
    }
}
