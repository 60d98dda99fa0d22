//! Whether a session is active: one read by its key, and a second one only where the first could be
//! wrong about a session that is not there.

mod ends;

use std::sync::Arc;

use mongodb::bson::doc;
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria};
use parking_lot::Mutex;
use serde::Deserialize;

pub use self::ends::Ends;
use super::bson::{date, id};
use super::rows::sessions;
use super::{Collection, PrimaryWatch, Store, within};
use crate::domain::clock::{CLOCK_TOLERANCE, Timestamp};
use crate::domain::ids::{SessionId, UserId};
use crate::error::Result;

/// As much of a session as every request needs.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ActiveSession {
    /// Whose it is.
    #[serde(rename = "user_id", with = "id")]
    pub user: UserId,
    /// When it was last marked as used.
    #[serde(with = "date")]
    pub last_used_at: Timestamp,
    /// From when on it is not valid.
    #[serde(with = "date")]
    pub expires_at: Timestamp,
    /// When it was last used at this instance, which is written down to within a minute only.
    #[serde(skip)]
    pub used_here: Option<Timestamp>,
}

/// The last linearizable read that was answered.
#[derive(Debug, Default)]
struct Confirmation(Mutex<Option<Confirmed>>);

#[derive(Debug, Clone, Copy)]
struct Confirmed {
    primary: u64,
    at: Timestamp,
}

impl Confirmation {
    /// Whether this primary has shown, well after `issued`, that it is one and has caught up with
    /// the majority: then it knows of every session that was there at that time.
    fn covers(&self, primary: Option<u64>, issued: Timestamp, now: Timestamp) -> bool {
        let confirmed = *self.0.lock();
        confirmed.is_some_and(|last| {
            // Later than now: the clock was set back, and compares with nothing before.
            let is_before = issued.plus(CLOCK_TOLERANCE) < last.at && last.at <= now;
            is_before && Some(last.primary) == primary
        })
    }

    fn note(&self, primary: Option<u64>, at: Timestamp) {
        let confirmed = primary.map(|primary| Confirmed { primary, at });
        *self.0.lock() = confirmed;
    }
}

/// Tells active sessions from ended ones.
#[derive(Debug, Clone)]
pub struct ActiveSessions {
    rows: Collection<ActiveSession>,
    store: Store,
    primary: PrimaryWatch,
    confirmation: Arc<Confirmation>,
}

impl ActiveSessions {
    /// The sessions of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            rows: sessions::Sessions::collection(store),
            store: store.clone(),
            primary: store.primary().clone(),
            confirmation: Arc::default(),
        }
    }

    /// A session and how long it is valid; `None` once it has ended. `issued` is when a token of
    /// the session was given out, and so not before it began.
    pub async fn find(
        &self,
        session: SessionId,
        issued: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ActiveSession>> {
        let fields = doc! { "user_id": 1, "last_used_at": 1, "expires_at": 1 };
        let valid = sessions::valid(doc! { "_id": session }, now);
        // A secondary, which the URI may name for reads, can lag behind by any time.
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let find = || {
            let find = self.rows.find_one(valid.clone()).projection(fields.clone());
            find.selection_criteria(primary.clone())
        };
        within(&self.rows, async {
            if let Some(active) = find().await? {
                return Ok(Some(active));
            }
            // A primary elected a moment ago may not show yet what the majority has, and one that
            // was deposed does not know what began since: they would end sessions that are valid. A
            // linearizable read waits until neither is possible, at the price of a write.
            let primary = self.primary.number();
            if self.confirmation.covers(primary, issued, now) {
                return Ok(None);
            }
            let active = find().read_concern(ReadConcern::linearizable()).await?;
            self.confirmation.note(primary, now);
            Ok(active)
        })
        .await
    }

    /// Notes that these sessions were in use at `now`.
    pub async fn mark_used(&self, sessions: &[SessionId], now: Timestamp) -> Result<()> {
        self.store.sessions().mark_used(sessions, now).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_confirmation_is_of_one_primary_and_of_what_was_before_it() {
        let (confirmation, now) = (Confirmation::default(), Timestamp::from_millis(1 << 40));
        let old = now.minus(CLOCK_TOLERANCE + Duration::from_millis(1));
        assert!(!confirmation.covers(Some(1), old, now), "nothing was confirmed");
        confirmation.note(Some(1), now);
        assert!(confirmation.covers(Some(1), old, now));
        let young = now.minus(CLOCK_TOLERANCE);
        assert!(!confirmation.covers(Some(1), young, now), "may have begun since");
        assert!(!confirmation.covers(Some(2), old, now), "an election");
        assert!(!confirmation.covers(None, old, now), "no primary");
        let before = now.minus(Duration::from_millis(1));
        assert!(!confirmation.covers(Some(1), old, before), "a clock that was set back");
        confirmation.note(None, now);
        assert!(!confirmation.covers(None, old, now), "a primary that nobody sees");
    }
}
