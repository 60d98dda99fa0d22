//! Markers of messages that search has yet to take up: one for each change, written with it.

use mongodb::bson::{Binary, doc};
use serde::{Deserialize, Serialize};

use crate::domain::clock::{Timestamp, random_bytes};
use crate::domain::ids::MessageId;
use crate::error::{Error, Result};
use crate::store::bson::{binary, raw};
use crate::store::{Table, again_if_taken};

/// Milliseconds since the epoch, a message's key, random bytes.
const LENGTH: usize = 8 + 24 + 8;

/// That a message was sent, edited or deleted: a row of `unindexed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker([u8; LENGTH]);

impl Marker {
    fn new(message: MessageId, at: Timestamp) -> Self {
        let mut key = [0; LENGTH];
        key[..8].copy_from_slice(&at.millis().to_be_bytes());
        key[8..32].copy_from_slice(&message.bytes());
        key[32..].copy_from_slice(&random_bytes::<8>());
        Self(key)
    }

    /// The first that could be of this moment.
    fn first_at(at: Timestamp) -> Self {
        let mut key = [0; LENGTH];
        key[..8].copy_from_slice(&at.millis().to_be_bytes());
        Self(key)
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> MessageId {
        let mut id = [0; 24];
        id.copy_from_slice(&self.0[8..32]);
        MessageId::from_bytes(id)
    }

    /// When it was changed.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        let mut millis = [0; 8];
        millis.copy_from_slice(&self.0[..8]);
        Timestamp::from_millis(i64::from_be_bytes(millis))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    #[serde(rename = "_id")]
    key: Binary,
}

/// The collection `unindexed`, for one command.
pub struct Unindexed<'a>(Table<'a, Row>);

impl<'a> Unindexed<'a> {
    pub(super) fn new(table: Table<'a, Row>) -> Self {
        Self(table)
    }

    /// Marks messages as changed.
    pub async fn add(
        self,
        changed: impl IntoIterator<Item = (MessageId, Timestamp)>,
    ) -> Result<()> {
        let row = |(message, at)| Row { key: stored(&Marker::new(message, at)) };
        self.0.insert_all(changed.into_iter().map(row).collect()).await.map_err(again_if_taken)
    }

    /// Up to `count` markers from this moment on, the oldest first.
    pub async fn from(self, at: Timestamp, count: usize) -> Result<Vec<Marker>> {
        let last = binary([0xff; LENGTH]);
        let wanted = doc! { "_id": { "$gte": stored(&Marker::first_at(at)), "$lte": last } };
        let rows = self.0.sorted(doc! { "_id": 1 }).first(count).all(wanted).await?;
        let marker = |row: Row| row.key.bytes.try_into().map(Marker);
        let markers: Result<_, Vec<u8>> = rows.into_iter().map(marker).collect();
        markers.map_err(|_| Error::internal("a marker of another length"))
    }

    /// Removes markers, which are in order.
    pub async fn remove(self, markers: &[Marker]) -> Result<()> {
        let (Some(first), Some(last)) = (markers.first(), markers.last()) else { return Ok(()) };
        let keys: Vec<Binary> = markers.iter().map(stored).collect();
        // Without its bounds, an `$in` on a clustered key reads the whole collection.
        let range = doc! { "$gte": stored(first), "$lte": stored(last), "$in": keys };
        self.0.delete_all(doc! { "_id": range }).await.map(|_| ())
    }
}

fn stored(marker: &Marker) -> Binary {
    raw(marker.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::ConversationId;

    proptest! {
        #[test]
        fn markers_sort_by_time_and_know_their_message(
            conversation: [u8; 16],
            seq: u64,
            [one, other] in [0_i64..1 << 47, 0_i64..1 << 47],
        ) {
            let message = MessageId::new(ConversationId::from_bytes(conversation), seq);
            let [one, other] = [one, other].map(Timestamp::from_millis);
            let marker = Marker::new(message, one);
            prop_assert_eq!((marker.message(), marker.at()), (message, one));
            prop_assert!(Marker::first_at(one) <= marker);
            if one != other {
                prop_assert_eq!(marker.cmp(&Marker::new(message, other)), one.cmp(&other));
            }
        }
    }
}
