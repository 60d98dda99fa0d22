//! Sending once: the idempotency keys that were used, and the messages that they stand for.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::messages::{Draft, IdempotencyKey, KeyUse};
use crate::error::{Error, Result};

/// How long an idempotency key is kept; clients are promised 24 hours.
const KEY_LIFETIME: Duration = Duration::from_hours(25);

/// Idempotency keys with their uses, expired ones included. Of several uses the first counts that
/// is not expired.
#[derive(Debug, Default)]
pub(in crate::services) struct KnownKeys(pub HashMap<IdempotencyKey, Vec<KeyUse>>);

impl KnownKeys {
    /// The message that a key stands for at this moment.
    pub fn used(&self, key: &IdempotencyKey, at: Timestamp) -> Option<KeyUse> {
        self.0.get(key)?.iter().copied().find(|it| it.expires_at > at)
    }

    /// The message that an earlier request of the same name has sent.
    ///
    /// # Errors
    /// `idempotency_key_reused` when that message was another.
    pub fn sent_before(&self, draft: &Draft) -> Result<Option<MessageId>> {
        let (Some(once), Some(key)) = (&draft.once, draft.idempotency_key()) else {
            return Ok(None);
        };
        match self.used(&key, draft.at) {
            Some(first) if first.fingerprint != once.fingerprint => Err(Error::invalid(
                "idempotency_key_reused",
                "client_message_id was already used for a different message",
            )),
            first => Ok(first.map(|first| first.message)),
        }
    }

    /// Adds the key of a draft that becomes this message.
    pub fn add(&mut self, draft: &Draft, message: MessageId) -> Option<(IdempotencyKey, KeyUse)> {
        let (once, key) = (draft.once.as_ref()?, draft.idempotency_key()?);
        let expires_at = draft.at.plus(KEY_LIFETIME);
        let first = KeyUse { message, fingerprint: once.fingerprint, expires_at };
        self.0.insert(key.clone(), vec![first]);
        Some((key, first))
    }
}
