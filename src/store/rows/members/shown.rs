//! A member's marks as others see them while a block hides how they move.
//!
//! The first mark that moves under a block keeps in the row what was to be seen before; `shown` is
//! in a row exactly while it hides something. Rows of blocks that an earlier natter made need
//! nothing: their marks are kept when they move next.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use serde::Deserialize;

use super::{Members, key};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{ConversationId, UserId};
use crate::error::Result;
use crate::store::bson::optional_date;

/// After which nobody is still about to look whether the block under which a mark moved has been
/// taken back meanwhile: what is kept then, without a block, an instance that ended has left.
const LEFT_BEHIND: Duration = Duration::from_mins(1);

/// The marks that others are shown.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(in crate::store) struct Shown {
    pub read_seq: u64,
    #[serde(with = "optional_date", default)]
    pub read_at: Option<Timestamp>,
    pub delivered_seq: u64,
    #[serde(with = "optional_date", default)]
    pub delivered_at: Option<Timestamp>,
}

/// The stage of an update under a block that comes before the marks move. What `hidden_moves`
/// counts nobody reads: that it changed tells the stream of events whom the change concerns.
pub(in crate::store) fn hide(at: Timestamp) -> Document {
    doc! { "$set": {
        "shown": { "$ifNull": ["$shown", {
            "read_seq": "$read_seq", "read_at": "$read_at",
            "delivered_seq": "$delivered_seq", "delivered_at": "$delivered_at",
            "at": at,
        }] },
        "hidden_moves": { "$add": [{ "$ifNull": ["$hidden_moves", 0_i64] }, 1_i64] },
    } }
}

/// The stage of an update that no block hides: shows again what was left hidden.
pub(in crate::store) fn reveal(at: Timestamp) -> Document {
    let is_left = doc! { "$lt": ["$shown.at", Bson::from(at.minus(LEFT_BEHIND))] };
    doc! { "$set": { "shown": { "$cond": [is_left, "$$REMOVE", "$shown"] } } }
}

impl Members<'_> {
    /// Shows two users again how far the other is in their conversation, as no block is left.
    pub async fn show_marks(self, one: UserId, other: UserId) -> Result<()> {
        let conversation = ConversationId::direct(one, other);
        let both = vec![key(conversation, one), key(conversation, other)];
        let hidden = doc! { "_id": { "$in": both }, "shown": { "$exists": true } };
        self.0.update_all(hidden, shown()).await.map(|_| ())
    }

    /// Shows again how far a member is.
    pub async fn show_marks_of(self, conversation: ConversationId, user: UserId) -> Result<()> {
        self.0.update(doc! { "_id": key(conversation, user) }, shown()).await.map(|_| ())
    }
}

fn shown() -> Document {
    doc! { "$unset": { "shown": "", "hidden_moves": "" } }
}
