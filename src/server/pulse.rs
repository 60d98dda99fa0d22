//! What a connection is doing, and the moment at which it has done so for too long.
//!
//! hyper's `header_read_timeout` starts with the wait for a request, so it would close idle
//! connections as early as slow heads, and it knows HTTP/1 only. Here one clock serves both
//! protocols: [`Driver`](super::driver::Driver) asks [`Pulse::due`] and closes what is overdue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// How long a connection that was told to close may take once nothing is under way on it.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Bytes that must leave within the idle limit for an answer to count as moving.
///
/// More than an h2 client can make us send with a few pings, less than the slowest honest link
/// carries.
const PROGRESS: usize = 1024;

/// Bytes a second that a client takes of all answers on a connection together; each answer has an
/// equal share of it to keep. A mobile link at its slowest carries as much.
pub(super) const LEAST_RATE: u64 = 4 << 10;

/// Time limits of a connection after its TLS handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the first byte of a request head to its last; also from the start of the connection
    /// to the end of its first head.
    pub header: Duration,
    /// From one request's end to the next one's first byte; also for an answer that the client
    /// does not read.
    pub idle: Duration,
    /// How far an answer may fall behind [`LEAST_RATE`].
    pub behind: Duration,
}

/// Why a connection is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A request head was not complete in time.
    Header,
    /// No request for too long.
    Idle,
    /// The client stopped reading its answer.
    Stalled,
    /// The client reads one of its answers too slowly.
    Slow,
    /// The client ignores that the connection is closing.
    Lingering,
    /// The client sends more control frames of h2 than it may.
    Flooding,
}

/// Whether bytes that arrive between requests begin a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// HTTP/1: every byte between two requests belongs to the next head.
    Heads,
    /// HTTP/2: pings and settings arrive at any time.
    Frames,
}

/// Bytes of the client that nobody will read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excess {
    Nothing,
    /// The rest of a body, or of a head that is refused; more may come.
    Unread,
    /// More control frames of h2 than it may send.
    Flood,
}

/// The activity of one connection, shared by its socket, its requests and its driver.
#[derive(Debug)]
pub(super) struct Pulse {
    limits: Limits,
    framing: Framing,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests that wait for their answer's head.
    handling: usize,
    /// Answers that have not left completely, by the number of their request.
    answers: BTreeMap<u64, Progress>,
    /// The number of the next request.
    next: u64,
    /// Whether the client has yet to take what was written.
    blocked: bool,
    /// Begin of the request head that is being read.
    head: Option<Instant>,
    /// Last begin or end of anything, and last time an answer moved.
    moved: Instant,
    /// Bytes written since `moved`.
    written: usize,
    closing: bool,
    excess: Excess,
}

/// How far an answer has come.
#[derive(Debug, Default)]
struct Progress {
    /// Whether it has nothing to send now.
    waiting: bool,
    /// Bytes handed over.
    bytes: u64,
    /// How long the client has let them wait, and since when it does now.
    owed: Duration,
    since: Option<Instant>,
}

impl Progress {
    /// The moment at which the client has fallen too far behind, with so many answers to read at
    /// once; `None` while it is the server's turn.
    fn due(&self, answers: usize, behind: Duration) -> Option<Instant> {
        let millis = self.bytes.saturating_mul(1000) / LEAST_RATE;
        let granted = Duration::from_millis(millis.saturating_mul(answers as u64));
        Some(self.since? + (behind + granted).saturating_sub(self.owed))
    }
}

impl Pulse {
    /// A connection that owes its first request from `now` on.
    pub fn new(limits: Limits, framing: Framing, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            limits,
            framing,
            state: Mutex::new(State {
                handling: 0,
                answers: BTreeMap::new(),
                next: 0,
                blocked: false,
                head: Some(now),
                moved: now,
                written: 0,
                closing: false,
                excess: Excess::Nothing,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The moment at which the connection is overdue if nothing happens, and why it will be.
    ///
    /// A request that is being handled does not make the connection overdue: layers above limit
    /// that. Nor do answers that have nothing to send, once the client has taken all that they had:
    /// a stream of events may be quiet for long. The moment returned then, and generally, is one
    /// to ask again at.
    pub fn due(&self, now: Instant) -> (Instant, Overdue) {
        let state = self.state();
        if state.excess == Excess::Flood {
            return (now, Overdue::Flooding);
        }
        let answers = state.answers.values();
        let slow = answers.filter_map(|it| it.due(state.answers.len(), self.limits.behind)).min();
        let other = self.due_as_a_whole(&state, now);
        match slow {
            Some(slow) if slow < other.0 => (slow, Overdue::Slow),
            _ => other,
        }
    }

    fn due_as_a_whole(&self, state: &State, now: Instant) -> (Instant, Overdue) {
        let is_answering = !state.answers.is_empty();
        let is_quiet = is_answering && state.answers.values().all(|it| it.waiting);
        if state.handling > 0 || (is_quiet && !state.blocked) {
            (now + self.limits.idle, Overdue::Stalled)
        } else if is_answering {
            (state.moved + self.limits.idle, Overdue::Stalled)
        } else if state.closing {
            (state.moved + CLOSE_GRACE, Overdue::Lingering)
        } else if let Some(begun) = state.head {
            (begun + self.limits.header, Overdue::Header)
        } else {
            (state.moved + self.limits.idle, Overdue::Idle)
        }
    }

    /// Notes bytes that the client sent.
    pub fn read(&self, now: Instant) {
        if self.framing == Framing::Heads {
            let mut state = self.state();
            if state.handling == 0 && state.answers.is_empty() {
                state.head.get_or_insert(now);
                state.note(Excess::Unread);
            }
        }
    }

    /// Notes bytes that the socket took for the client.
    ///
    /// Without an answer under way they are pongs, and do not keep a connection from being idle.
    pub fn wrote(&self, bytes: usize, now: Instant) {
        let mut state = self.state();
        if state.answers.is_empty() && !state.closing {
            return;
        }
        state.written = state.written.saturating_add(bytes);
        if state.written >= PROGRESS {
            state.move_on(now);
        }
    }

    /// Notes whether the socket takes no more until the client has read.
    pub fn blocked(&self, blocked: bool) {
        self.state().blocked = blocked;
    }

    /// Notes that the connection was told to close.
    pub fn closing(&self, now: Instant) {
        let mut state = self.state();
        state.closing = true;
        state.move_on(now);
    }

    /// Whether the client may still be sending bytes that nobody will read.
    pub fn has_unread(&self) -> bool {
        self.state().excess == Excess::Unread
    }

    /// Notes that the client sends too many control frames. The connection is overdue at once.
    pub fn flooded(&self) {
        self.state().note(Excess::Flood);
    }

    /// Notes that the client may still be sending bytes that nobody will read.
    pub fn leaves_unread(&self) {
        self.state().note(Excess::Unread);
    }

    /// How the connection is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The connection's time limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Notes a complete request head; the exchange lasts until it is dropped.
    pub fn begin(self: &Arc<Self>) -> Exchange {
        let mut state = self.state();
        state.head = None;
        state.handling += 1;
        let number = state.next;
        state.next += 1;
        state.note(Excess::Nothing);
        state.move_on(Instant::now());
        drop(state);
        Exchange { pulse: Arc::clone(self), number, answering: false }
    }
}

impl State {
    /// A flood stays one: streams that came before it may still begin.
    fn note(&mut self, excess: Excess) {
        if self.excess != Excess::Flood {
            self.excess = excess;
        }
    }

    fn move_on(&mut self, now: Instant) {
        self.moved = now;
        self.written = 0;
    }
}

/// A request under way, from its complete head until its answer has left.
#[derive(Debug)]
pub(super) struct Exchange {
    pulse: Arc<Pulse>,
    number: u64,
    answering: bool,
}

impl Exchange {
    /// Notes that the answer's head is there and its body begins.
    pub fn answer(&mut self) {
        if !self.answering {
            self.answering = true;
            let mut state = self.pulse.state();
            state.handling -= 1;
            let now = Instant::now();
            let progress = Progress { since: Some(now), ..Progress::default() };
            state.answers.insert(self.number, progress);
            state.move_on(now);
        }
    }

    /// Notes that the rest of the request's body will not be read.
    pub fn leaves_unread(&self) {
        self.pulse.leaves_unread();
    }

    /// Notes that the connection has room for more of the body.
    pub fn wanted(&self) {
        self.progress(|progress, now| {
            let since = progress.since.take().unwrap_or(now);
            progress.owed += now.saturating_duration_since(since);
        });
    }

    /// Notes that the body went on.
    pub fn moved(&self) {
        self.progress(|progress, _| progress.waiting = false);
        self.pulse.state().move_on(Instant::now());
    }

    /// Notes that the body has nothing to send now, though the connection would take it.
    pub fn waits(&self) {
        self.progress(|progress, _| progress.waiting = true);
    }

    /// Notes bytes of the body that are on their way to the client.
    pub fn handed_over(&self, bytes: usize) {
        self.progress(|progress, now| {
            progress.bytes = progress.bytes.saturating_add(bytes as u64);
            progress.since = Some(now);
        });
    }

    fn progress(&self, change: impl FnOnce(&mut Progress, Instant)) {
        let mut state = self.pulse.state();
        if let Some(progress) = state.answers.get_mut(&self.number) {
            change(progress, Instant::now());
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.pulse.state();
        if self.answering {
            state.answers.remove(&self.number);
        } else {
            state.handling -= 1;
        }
        state.move_on(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        header: Duration::from_secs(10),
        idle: Duration::from_mins(1),
        behind: Duration::from_mins(5),
    };

    fn pulse(framing: Framing) -> (Arc<Pulse>, Instant) {
        let start = Instant::now();
        (Pulse::new(LIMITS, framing, start), start)
    }

    #[test]
    fn first_head_is_due_from_the_start() {
        for framing in [Framing::Heads, Framing::Frames] {
            let (pulse, start) = pulse(framing);
            let later = start + Duration::from_secs(5);
            pulse.read(later);
            assert_eq!(pulse.due(later), (start + LIMITS.header, Overdue::Header));
        }
    }

    #[test]
    fn later_heads_are_due_from_their_first_byte() {
        let (pulse, start) = pulse(Framing::Heads);
        drop(pulse.begin());
        let (idle, why) = pulse.due(start);
        assert_eq!(why, Overdue::Idle);
        assert!(idle >= start + LIMITS.idle);
        let byte = start + Duration::from_secs(30);
        pulse.read(byte);
        pulse.read(byte + Duration::from_secs(1));
        assert_eq!(pulse.due(byte), (byte + LIMITS.header, Overdue::Header));
    }

    #[test]
    fn frames_between_requests_leave_an_h2_connection_idle() {
        let (pulse, start) = pulse(Framing::Frames);
        drop(pulse.begin());
        let before = pulse.due(start);
        let later = start + Duration::from_secs(30);
        pulse.read(later);
        pulse.wrote(2 * PROGRESS, later);
        assert_eq!(pulse.due(later), before);
    }

    #[test]
    fn a_request_being_handled_is_never_overdue() {
        let (pulse, start) = pulse(Framing::Heads);
        let _exchange = pulse.begin();
        let late = start + Duration::from_hours(1);
        assert!(pulse.due(late).0 > late);
        pulse.read(late);
        assert!(pulse.due(late).0 > late);
    }

    #[test]
    fn an_answer_is_due_unless_it_moves() {
        let (pulse, start) = pulse(Framing::Frames);
        let mut exchange = pulse.begin();
        exchange.answer();
        let later = start + Duration::from_secs(40);
        pulse.wrote(PROGRESS - 1, later);
        assert!(pulse.due(later).0 < later + LIMITS.idle);
        pulse.wrote(1, later);
        assert_eq!(pulse.due(later), (later + LIMITS.idle, Overdue::Stalled));
    }

    #[test]
    fn a_flood_is_overdue_whatever_begins_beside_it() {
        let (pulse, start) = pulse(Framing::Frames);
        let exchange = pulse.begin();
        pulse.flooded();
        let _other = pulse.begin();
        exchange.leaves_unread();
        assert_eq!(pulse.due(start), (start, Overdue::Flooding));
    }

    #[test]
    fn closing_waits_for_answers_and_then_only_briefly() {
        let (pulse, start) = pulse(Framing::Frames);
        let exchange = pulse.begin();
        pulse.closing(start);
        let late = start + Duration::from_hours(1);
        assert!(pulse.due(late).0 > late);
        drop(exchange);
        let (due, why) = pulse.due(late);
        assert_eq!(why, Overdue::Lingering);
        assert!(due < start + CLOSE_GRACE + LIMITS.header);
    }

    /// A pulse that lets a client fall behind for less time than it may be idle.
    fn impatient() -> Arc<Pulse> {
        let limits = Limits { behind: Duration::from_secs(30), ..LIMITS };
        Pulse::new(limits, Framing::Frames, Instant::now())
    }

    #[test]
    fn an_answer_is_slow_once_it_is_behind_the_least_rate() {
        let pulse = impatient();
        let mut exchange = pulse.begin();
        exchange.answer();
        exchange.handed_over(40 << 10);
        let (due, why) = pulse.due(Instant::now());
        assert_eq!(why, Overdue::Slow);
        // Ten seconds for the bytes, thirty to be behind.
        let left = due - Instant::now();
        assert!(left > Duration::from_secs(39) && left <= Duration::from_secs(40), "{left:?}");
        // Another request that is handled does not save it.
        let _other = pulse.begin();
        assert_eq!(pulse.due(Instant::now()), (due, Overdue::Slow));
    }

    #[test]
    fn answers_share_the_least_rate() {
        let pulse = impatient();
        let mut exchanges: Vec<_> = (0..2).map(|_| pulse.begin()).collect();
        for exchange in &mut exchanges {
            exchange.answer();
            exchange.handed_over(40 << 10);
        }
        let left = pulse.due(Instant::now()).0 - Instant::now();
        assert!(left > Duration::from_secs(49), "{left:?}");
    }

    #[test]
    fn an_answer_that_waits_for_the_server_is_not_slow() {
        let (pulse, _) = pulse(Framing::Frames);
        let mut exchange = pulse.begin();
        exchange.answer();
        exchange.handed_over(1);
        exchange.wanted();
        exchange.waits();
        let late = Instant::now() + Duration::from_hours(1);
        assert!(pulse.due(late).0 > late);
    }
}
