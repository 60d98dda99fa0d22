//! How domain values are stored: ids as their raw bytes (`BinData`, subtype 0), times as dates.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime};

use crate::domain::clock::Timestamp;
use crate::domain::ids::{
    AttachmentId, ConversationId, GroupId, JobId, MessageId, SessionId, UserId,
};
use crate::domain::notifications::NotificationId;

/// An id as it is stored.
pub(super) trait StoredId: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_stored(bytes: &[u8]) -> Option<Self>;
}

macro_rules! stored {
    ($($id:ty),*) => {$(
        impl StoredId for $id {
            fn to_bytes(&self) -> Vec<u8> {
                self.bytes().to_vec()
            }

            fn from_stored(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_bytes)
            }
        }

        impl From<$id> for Bson {
            fn from(id: $id) -> Self {
                binary(id.bytes())
            }
        }
    )*};
}
stored!(AttachmentId, ConversationId, GroupId, JobId, MessageId, NotificationId, SessionId, UserId);

/// Raw bytes, subtype 0: what a field of a row holds.
pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.into() }
}

/// The same as a value of a query.
pub(super) fn binary(bytes: impl Into<Vec<u8>>) -> Bson {
    Bson::Binary(raw(bytes))
}

/// A part of a row as a value of an update; null only by a defect.
pub(super) fn serialized(value: &impl serde::Serialize) -> Bson {
    mongodb::bson::serialize_to_bson(value).unwrap_or_default()
}

/// A count or a message number as it is stored.
pub(super) fn int<N>(number: N) -> i64
where
    i64: TryFrom<N>,
{
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Two ids as one key, in this order.
pub(super) fn pair(first: &impl StoredId, second: &impl StoredId) -> Vec<u8> {
    [first.to_bytes(), second.to_bytes()].concat()
}

impl From<Timestamp> for Bson {
    fn from(at: Timestamp) -> Self {
        Self::DateTime(DateTime::from_millis(at.millis()))
    }
}

/// `#[serde(with = "id")]`: an id in a document.
pub(super) mod id {
    use mongodb::bson::Binary;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{StoredId, raw};

    pub fn serialize<S: Serializer>(id: &impl StoredId, to: S) -> Result<S::Ok, S::Error> {
        raw(id.to_bytes()).serialize(to)
    }

    pub fn deserialize<'de, I: StoredId, D: Deserializer<'de>>(from: D) -> Result<I, D::Error> {
        let binary = Binary::deserialize(from)?;
        I::from_stored(&binary.bytes).ok_or_else(|| D::Error::custom("an id of another length"))
    }
}

/// `#[serde(with = "optional_id", default)]`: an id or null.
pub(super) mod optional_id {
    use mongodb::bson::Binary;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{StoredId, raw};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(id: &Option<impl StoredId>, to: S) -> Result<S::Ok, S::Error> {
        id.as_ref().map(|id| raw(id.to_bytes())).serialize(to)
    }

    pub fn deserialize<'de, I: StoredId, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<I>, D::Error> {
        Option::<Binary>::deserialize(from)?
            .map(|binary| {
                I::from_stored(&binary.bytes)
                    .ok_or_else(|| D::Error::custom("an id of another length"))
            })
            .transpose()
    }
}

/// `#[serde(with = "date")]`: a time in a document.
pub(super) mod date {
    use mongodb::bson::DateTime;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::domain::clock::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        DateTime::from_millis(at.millis()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Ok(Timestamp::from_millis(DateTime::deserialize(from)?.timestamp_millis()))
    }
}

/// `#[serde(with = "optional_date", default)]`: a time or null.
pub(super) mod optional_date {
    use mongodb::bson::DateTime;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::domain::clock::Timestamp;

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        at.map(|at| DateTime::from_millis(at.millis())).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        let date = Option::<DateTime>::deserialize(from)?;
        Ok(date.map(|date| Timestamp::from_millis(date.timestamp_millis())))
    }
}
