//! Idempotency keys: a row for each `client_message_id` of the last 25 hours, with the message that
//! it stands for.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use mongodb::bson::{Binary, doc};
use serde::Deserialize;

use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::messages::{IdempotencyKey, KeyUse};
use crate::error::{Error, Result};
use crate::store::bson::{date, id, raw};
use crate::store::{RowUpdate, Table};

/// A row of `message_keys`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id")]
    key: Binary,
    #[serde(with = "id")]
    message: MessageId,
    fingerprint: Binary,
    #[serde(with = "date")]
    expires_at: Timestamp,
}

impl TryFrom<Row> for KeyUse {
    type Error = Error;

    fn try_from(Row { message, fingerprint, expires_at, .. }: Row) -> Result<Self> {
        let fingerprint = fingerprint.bytes.try_into();
        let fingerprint =
            fingerprint.map_err(|_: Vec<u8>| Error::internal("a fingerprint of another length"))?;
        Ok(Self { message, fingerprint, expires_at })
    }
}

/// The collection `message_keys`, for one command.
pub struct MessageKeys<'a>(Table<'a, Row>);

impl<'a> MessageKeys<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// The uses of some keys, expired ones included. Each key has up to two: that of its row, then
    /// that of the row of an earlier natter.
    pub async fn find(
        self,
        keys: &[IdempotencyKey],
    ) -> Result<HashMap<IdempotencyKey, Vec<KeyUse>>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<Binary> = keys.iter().flat_map(|key| [stored(key), former(key)]).collect();
        let mut uses = HashMap::new();
        for row in self.0.all(doc! { "_id": { "$in": &ids } }).await? {
            uses.insert(row.key.bytes.clone(), KeyUse::try_from(row)?);
        }
        let of_key = |(key, ids): (&IdempotencyKey, &[Binary])| {
            let uses = ids.iter().filter_map(|id| uses.get(&id.bytes).copied());
            // A row of an earlier natter may be about another conversation of its sender.
            let uses = uses.filter(|it| it.message.conversation == key.conversation);
            (key.clone(), uses.collect())
        };
        Ok(keys.iter().zip(ids.chunks(2)).map(of_key).collect())
    }

    /// Notes what keys stand for, in place of uses that are expired.
    pub async fn put(self, uses: &[(IdempotencyKey, KeyUse)]) -> Result<()> {
        let updates = uses.iter().map(|(key, KeyUse { message, fingerprint, expires_at })| {
            let (key, fingerprint) = (stored(key), raw(*fingerprint));
            let row = doc! {
                "_id": &key, "message": *message, "fingerprint": fingerprint,
                "expires_at": *expires_at,
            };
            RowUpdate::of(doc! { "_id": key }, row).or_insert()
        });
        self.0.update_each(updates.collect()).await
    }
}

/// The id of a key's row: the conversation's id, then the first 16 bytes of the SHA-256 over the
/// sender's id and `client_message_id`.
fn stored(key: &IdempotencyKey) -> Binary {
    let name = [key.sender.bytes().as_slice(), key.client_message_id.as_bytes()].concat();
    raw([key.conversation.bytes(), half_hash(&name)].concat())
}

/// The id that an earlier natter gave the row, which counted keys per sender in all conversations:
/// the sender's id, then the first 16 bytes of the SHA-256 over `client_message_id`.
fn former(key: &IdempotencyKey) -> Binary {
    raw([key.sender.bytes(), half_hash(key.client_message_id.as_bytes())].concat())
}

fn half_hash(bytes: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..16]);
    half
}
