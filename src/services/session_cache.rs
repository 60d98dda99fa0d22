//! Active sessions. Every request checks its session, so the instance keeps copies, which count as long
//! as a change stream proves them fresh. Without the proof it asks the store, once for all concurrent
//! requests of a session. An ended session never becomes active again: the store is asked once.

mod lookup;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::lookup::Lookups;
use super::bounded::BoundedMap;
use crate::admission::for_all;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::sessions::{ACCESS_LIFETIME, AuthenticatedSession};
use crate::error::Result;
use crate::store::active_sessions::{ActiveSession, ActiveSessions, Ends};

/// How long an answer of the stream proves copies fresh. Together with the latency of the stream, an
/// instance refuses a session that ended at another one within a second.
const PROOF_LIFETIME: Duration = Duration::from_millis(600);

/// How long a request waits for the store.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);

/// The wait before a broken stream is opened again.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);

/// Sessions in each cache: of active and of ended sessions.
const MAX_CACHED_SESSIONS: usize = 100_000;

/// The precision of the time of last use.
const LAST_USE_PRECISION: Duration = Duration::from_mins(1);

/// How often the instance writes times of last use, all in one update.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// Ends that may wait for a slow receiver.
const MAX_QUEUED_ENDS: usize = 1024;

/// Sessions that may have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A session.
    Session(SessionId),
    /// Sessions of a user.
    Of(UserId),
    /// Any session: the stream was interrupted.
    Any,
}

/// The cache of sessions of this instance.
#[derive(derive_more::Debug)]
#[debug("SessionCache")]
pub struct SessionCache {
    rows: ActiveSessions,
    clock: Clock,
    known: Mutex<Known>,
    ends: broadcast::Sender<Ended>,
    on_revoked: OnceLock<OnRevoked>,
}

/// A function that runs with each end before the request that ended the session is answered.
type OnRevoked = Box<dyn Fn(Ended) + Send + Sync>;

struct Known {
    copies: BoundedMap<SessionId, ActiveSession>,
    /// Sessions that ended, each until the tokens that were asked about expire.
    ended: BoundedMap<SessionId, Timestamp>,
    lookups: Lookups,
    /// When the last successful call of the stream began; it returned every end before that.
    proof: Option<Instant>,
    /// Counts invalidations: a row that was read before one is not kept after it.
    forgotten: u64,
    /// Sessions whose time of last use is to be written.
    used: HashSet<SessionId>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            copies: BoundedMap::new(MAX_CACHED_SESSIONS),
            ended: BoundedMap::new(MAX_CACHED_SESSIONS),
            lookups: Lookups::default(),
            proof: None,
            forgotten: 0,
            used: HashSet::new(),
        }
    }
}

impl Known {
    /// The copy of a session while it is fresh.
    fn get(&mut self, session: SessionId, now: Timestamp) -> Option<ActiveSession> {
        let fresh = self.proof.is_some_and(|proof| proof.elapsed() < PROOF_LIFETIME);
        let copy = self.copies.get_mut(&session).filter(|copy| fresh && now < copy.expires_at);
        copy.map(|copy| {
            if note_use(copy, now) {
                self.used.insert(session);
            }
            *copy
        })
    }

    /// A session ended: a row that was read before is neither kept nor returned to later callers.
    fn forget_lookups(&mut self) {
        self.forgotten += 1;
        self.lookups.clear();
    }
}

/// Notes a use; whether it must be written.
fn note_use(active: &mut ActiveSession, now: Timestamp) -> bool {
    active.used_here = Some(now);
    let worth = now.since(active.last_used_at) >= LAST_USE_PRECISION;
    if worth {
        active.last_used_at = now;
    }
    worth
}

impl SessionCache {
    /// Copies of these sessions; none, until [`SessionCache::run`] runs.
    #[must_use]
    pub fn new(rows: ActiveSessions, clock: &Clock) -> Self {
        let (ends, _) = broadcast::channel(MAX_QUEUED_ENDS);
        let (known, on_revoked) = Default::default();
        Self { rows, clock: clock.clone(), known, ends, on_revoked }
    }

    /// Sets the function that runs with each end before the request that ended the session is answered.
    /// The function must not block. Only the first call has an effect.
    pub fn on_revoked(&self, on_revoked: impl Fn(Ended) + Send + Sync + 'static) {
        let _ = self.on_revoked.set(Box::new(on_revoked));
    }

    /// The ends of sessions. A receiver that lags must check all sessions.
    pub fn ends(&self) -> broadcast::Receiver<Ended> {
        self.ends.subscribe()
    }

    /// Whether the session of a verified token is active; the call counts as a use.
    ///
    /// # Errors
    /// When the store is away and the copy is not fresh.
    pub async fn is_alive(&self, session: AuthenticatedSession) -> Result<bool> {
        let now = self.clock.now();
        let lookup = {
            let mut known = self.known();
            if let Some(copy) = known.get(session.session, now) {
                return Ok(copy.user == session.user);
            }
            if known.ended.get(&session.session).is_some() {
                return Ok(false);
            }
            let forgotten = known.forgotten;
            known.lookups.join(session.session, forgotten)
        };
        let active = lookup.answer(self.read(session, lookup.forgotten)).await;
        self.known().lookups.leave(session.session, &lookup);
        Ok(active?.is_some_and(|active| active.user == session.user))
    }

    /// When this session was last used at this instance, if there is a copy of it.
    pub fn last_use(&self, session: SessionId) -> Option<Timestamp> {
        self.known().copies.get(&session)?.used_here
    }

    /// Whether a session is known to have ended, without asking anyone.
    #[must_use]
    pub fn has_ended(&self, session: SessionId) -> bool {
        self.known().ended.get(&session).is_some()
    }

    async fn read(
        &self,
        session: AuthenticatedSession,
        forgotten: u64,
    ) -> Result<Option<ActiveSession>> {
        let now = self.clock.now();
        let issued = session.expires_at.minus(ACCESS_LIFETIME);
        let found = {
            // All concurrent requests of this session wait for it.
            let rows = self.rows.clone();
            let read = async move { rows.find(session.session, issued, now).await };
            for_all(LOOKUP_TIMEOUT, read).await??
        };
        let mut known = self.known();
        let Some(mut active) = found else {
            known.ended.insert(session.session, session.expires_at, |until| *until > now);
            return Ok(None);
        };
        if note_use(&mut active, now) {
            known.used.insert(session.session);
        }
        if known.forgotten == forgotten {
            known.copies.insert(session.session, active, |copy| copy.expires_at > now);
        }
        Ok(Some(active))
    }

    /// Forgets a session that has ended.
    pub fn forget(&self, session: SessionId) {
        let mut known = self.known();
        known.copies.remove(&session);
        known.forget_lookups();
        self.tell(Ended::Session(session));
    }

    /// Forgets all sessions of a user but one.
    pub fn forget_others(&self, user: UserId, kept: SessionId) {
        let mut known = self.known();
        known.copies.retain(|id, copy| copy.user != user || *id == kept);
        known.forget_lookups();
        self.tell(Ended::Of(user));
    }

    /// Forgets all sessions of a user.
    pub fn forget_user(&self, user: UserId) {
        let mut known = self.known();
        known.copies.retain(|_, copy| copy.user != user);
        known.forget_lookups();
        self.tell(Ended::Of(user));
    }

    fn forget_all(&self) {
        let mut known = self.known();
        known.copies.clear();
        known.proof = None;
        known.forget_lookups();
        self.tell(Ended::Any);
    }

    fn tell(&self, ended: Ended) {
        if let Some(on_revoked) = self.on_revoked.get() {
            on_revoked(ended);
        }
        // An end without receivers is no error.
        let _ = self.ends.send(ended);
    }

    /// Follows the stream and writes times of last use until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let both = async { tokio::join!(self.follow(), self.write_uses()) };
        tokio::select! {
            _ = both => {}
            () = stop.cancelled() => self.write_used().await,
        }
    }

    async fn follow(&self) {
        loop {
            if let Ok(ends) = self.rows.watch().await {
                // Neither stream has the ends between them.
                self.forget_all();
                let error = self.listen(ends).await;
                tracing::warn!(event = "session_stream_lost", %error, "session cache paused");
            }
            sleep(RECONNECT_DELAY).await;
        }
    }

    /// Applies the ends of the stream until it breaks.
    async fn listen(&self, mut ends: Ends) -> crate::error::Error {
        loop {
            let asked = Instant::now();
            match ends.next().await {
                Ok(Some(session)) => self.forget(session),
                Ok(None) => self.known().proof = Some(asked),
                Err(error) => return error,
            }
        }
    }

    async fn write_uses(&self) {
        loop {
            sleep(WRITE_INTERVAL).await;
            self.write_used().await;
        }
    }

    async fn write_used(&self) {
        let used: Vec<_> = self.known().used.drain().collect();
        if used.is_empty() {
            return;
        }
        if let Err(error) = self.rows.mark_used(&used, self.clock.now()).await {
            let count = used.len();
            tracing::warn!(event = "session_uses_lost", count, %error, "last uses not written");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}
