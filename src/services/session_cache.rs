//! Which sessions stand: asked by every request, so answered from a copy in this instance, as
//! long as a change stream proves the copy fresh. Without the proof the store is asked, once for
//! all who ask of the same session. One that has ended never stands again: the store is asked of
//! it once.

mod lookup;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

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
use crate::repositories::session_ends::Ends;
use crate::repositories::sessions::{Sessions, Standing};

/// For how long the stream's word counts. Together with the time that word takes, a session that
/// was ended elsewhere is refused here within a second.
const PROOF_LASTS: Duration = Duration::from_millis(600);

/// How long whoever asks of a session waits for the store.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(4);

/// The wait before a stream that broke is opened again.
const REOPEN: Duration = Duration::from_millis(500);

/// Sessions remembered at most, of those that stand and of those that ended.
const MAX_CACHED_SESSIONS: usize = 100_000;

/// How much later than it says a session may have been used.
const USE_SHOWN: Duration = Duration::from_mins(1);

/// How often uses are written down, all of them in one update.
const WRITE_USES: Duration = Duration::from_secs(5);

/// How many ends may wait for whoever listens.
const ENDS: usize = 1024;

/// What may have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A session.
    Session(SessionId),
    /// Sessions of a user.
    Of(UserId),
    /// Any: what ended meanwhile was not told.
    Any,
}

/// The sessions that stand, as this instance knows.
pub struct SessionCache {
    rows: Sessions,
    clock: Clock,
    known: Mutex<Known>,
    ends: broadcast::Sender<Ended>,
    gate: OnceLock<Gate>,
}

/// What is called with an end before whoever asked for it learns that it is done.
type Gate = Box<dyn Fn(Ended) + Send + Sync>;

struct Known {
    copies: BoundedMap<SessionId, Standing>,
    /// Sessions that ended, each until the tokens that were asked about expire.
    ended: BoundedMap<SessionId, Timestamp>,
    lookups: Lookups,
    /// When a call began that then told every end before it.
    proof: Option<Instant>,
    /// Counts what made copies worthless: a row read before is not to be kept after.
    forgotten: u64,
    /// Sessions whose use is to be written down.
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
    /// The copy of a session, while it is to be trusted.
    fn get(&mut self, session: SessionId, now: Timestamp) -> Option<Standing> {
        let fresh = self.proof.is_some_and(|proof| proof.elapsed() < PROOF_LASTS);
        let copy = self.copies.get_mut(&session).filter(|copy| fresh && now < copy.expires_at);
        copy.map(|copy| {
            if note_use(copy, now) {
                self.used.insert(session);
            }
            *copy
        })
    }

    /// Something has ended: a row that was read before is neither kept nor given to later callers.
    fn forget_lookups(&mut self) {
        self.forgotten += 1;
        self.lookups.clear();
    }
}

/// Whether a use now is worth writing down.
fn note_use(standing: &mut Standing, now: Timestamp) -> bool {
    standing.used_here = Some(now);
    let worth = now.since(standing.last_used_at) >= USE_SHOWN;
    if worth {
        standing.last_used_at = now;
    }
    worth
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionCache")
    }
}

impl SessionCache {
    /// Copies of these sessions; none, until [`SessionCache::run`] runs.
    #[must_use]
    pub fn new(rows: Sessions, clock: &Clock) -> Self {
        let (ends, _) = broadcast::channel(ENDS);
        let (known, gate) = Default::default();
        Self { rows, clock: clock.clone(), known, ends, gate }
    }

    /// Calls this with each end before whoever asked for it learns that it is done; it must not
    /// wait. The first that is given stays.
    pub fn guard(&self, gate: impl Fn(Ended) + Send + Sync + 'static) {
        let _ = self.gate.set(Box::new(gate));
    }

    /// What may have ended, as this instance learns of it. Who lags behind must ask of all.
    pub fn ends(&self) -> broadcast::Receiver<Ended> {
        self.ends.subscribe()
    }

    /// Whether the session of a token that was checked stands; if so, it is in use now.
    ///
    /// # Errors
    /// When the store is away and the copy cannot be trusted.
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
        let standing = lookup.answer(self.read(session, lookup.forgotten)).await;
        self.known().lookups.leave(session.session, &lookup);
        Ok(standing?.is_some_and(|standing| standing.user == session.user))
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
    ) -> Result<Option<Standing>> {
        let now = self.clock.now();
        let issued = session.expires_at.minus(ACCESS_LIFETIME);
        let found = {
            // All who ask of this session wait for it.
            let rows = self.rows.clone();
            let read = async move { rows.standing(session.session, issued, now).await };
            for_all(LOOKUP_PATIENCE, read).await??
        };
        let mut known = self.known();
        let Some(mut standing) = found else {
            known.ended.insert(session.session, session.expires_at, |until| *until > now);
            return Ok(None);
        };
        if note_use(&mut standing, now) {
            known.used.insert(session.session);
        }
        if known.forgotten == forgotten {
            known.copies.insert(session.session, standing, |copy| copy.expires_at > now);
        }
        Ok(Some(standing))
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
        if let Some(gate) = self.gate.get() {
            gate(ended);
        }
        // Nobody listening is no failure.
        let _ = self.ends.send(ended);
    }

    /// Follows the stream and writes uses down, until told to stop.
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
                // What ended between two streams was told by neither.
                self.forget_all();
                let error = self.listen(ends).await;
                tracing::warn!(event = "session_stream_lost", %error);
            }
            sleep(REOPEN).await;
        }
    }

    /// Takes what the stream tells, until it breaks.
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
            sleep(WRITE_USES).await;
            self.write_used().await;
        }
    }

    async fn write_used(&self) {
        let used: Vec<_> = self.known().used.drain().collect();
        if used.is_empty() {
            return;
        }
        if let Err(error) = self.rows.mark_used(&used, self.clock.now()).await {
            tracing::warn!(event = "session_uses_lost", count = used.len(), %error);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
