//! What waits to be written, and what of it goes out when.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::ConversationId;

/// How many go out together; 128 of the longest texts stay far from MongoDB's 16 MiB.
const BATCH: usize = 128;

/// How many writes may be under way.
const WRITES: usize = 4;

/// A further write begins when so many could go out with it,
const MANY: usize = 64;

/// or when one of them has waited for so long.
const LONG: Duration = Duration::from_millis(50);

/// Waiting drafts, in the order in which they came.
#[derive(Debug)]
pub(super) struct BatchScheduler<T> {
    /// Of conversations that are in no write.
    ready: VecDeque<Entry<T>>,
    /// The conversations that are in one, each with what waits for its end.
    busy: HashMap<ConversationId, Vec<Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T> {
    conversation: ConversationId,
    /// Since when nothing but other conversations' writes is before it.
    since: Instant,
    what: T,
}

impl<T> Default for BatchScheduler<T> {
    fn default() -> Self {
        Self { ready: VecDeque::new(), busy: HashMap::new() }
    }
}

impl<T> BatchScheduler<T> {
    /// Takes what is about a conversation into the line.
    pub fn enter(&mut self, conversation: ConversationId, what: T, now: Instant) {
        self.push(Entry { conversation, since: now, what });
    }

    fn push(&mut self, waiting: Entry<T>) {
        match self.busy.get_mut(&waiting.conversation) {
            Some(behind) => behind.push(waiting),
            None => self.ready.push_back(waiting),
        }
    }

    /// When the next write is to begin at the latest, beside so many; `None` where only the end of
    /// one, or more to write, can be the reason.
    pub fn turn(&self, under_way: usize) -> Option<Instant> {
        let first = self.ready.front().filter(|_| under_way < WRITES)?;
        Some(if under_way == 0 { first.since } else { first.since + LONG })
    }

    /// What goes out now, beside so many writes: the conversations, and what is about them.
    pub fn next(
        &mut self,
        under_way: usize,
        now: Instant,
    ) -> Option<(Vec<ConversationId>, Vec<T>)> {
        let turn = self.turn(under_way)?;
        if now < turn && self.ready.len() < MANY {
            return None;
        }
        let number = self.ready.len().min(BATCH);
        let batch = self.ready.drain(..number).map(|waiting| (waiting.conversation, waiting.what));
        let (mut conversations, batch): (Vec<_>, Vec<_>) = batch.unzip();
        conversations.sort_unstable();
        conversations.dedup();
        self.busy.extend(conversations.iter().map(|it| (*it, Vec::new())));
        // The rest of what is about these now waits for the end of their write.
        for waiting in std::mem::take(&mut self.ready) {
            self.push(waiting);
        }
        Some((conversations, batch))
    }

    /// The write of these conversations has ended.
    pub fn ended(&mut self, conversations: &[ConversationId], now: Instant) {
        let behind = conversations.iter().filter_map(|it| self.busy.remove(it)).flatten();
        self.ready.extend(behind.map(|entry| Entry { since: now, ..entry }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn talk(n: u8) -> ConversationId {
        ConversationId::from_bytes([n; 16])
    }

    fn filled(
        numbers: impl IntoIterator<Item = (u8, usize)>,
        now: Instant,
    ) -> BatchScheduler<(u8, usize)> {
        let mut line = BatchScheduler::default();
        numbers.into_iter().for_each(|(to, n)| line.enter(talk(to), (to, n), now));
        line
    }

    #[test]
    fn the_first_goes_at_once_and_a_further_one_when_there_are_many_or_it_takes_long() {
        let now = Instant::now();
        let mut line = filled([(0, 0)], now);
        assert_eq!(line.next(0, now), Some((vec![talk(0)], vec![(0, 0)])));
        line.enter(talk(1), (1, 0), now);
        assert_eq!((line.turn(1), line.next(1, now)), (Some(now + LONG), None));
        assert_eq!((line.turn(WRITES), line.next(WRITES, now + LONG)), (None, None));
        assert_eq!(line.next(1, now + LONG), Some((vec![talk(1)], vec![(1, 0)])));
        (0..MANY).for_each(|n| line.enter(talk(2), (2, n), now));
        let batch = line.next(1, now).map(|(_, batch)| batch.len());
        assert_eq!(batch, Some(MANY), "many do not wait");
    }

    #[test]
    fn what_is_about_a_conversation_in_a_write_waits_for_its_end() {
        let now = Instant::now();
        let mut line = filled((0..BATCH + 2).map(|n| (0, n)), now);
        assert_eq!(line.next(0, now).map(|(_, batch)| batch.len()), Some(BATCH));
        line.enter(talk(0), (0, BATCH + 2), now);
        assert_eq!((line.turn(1), line.next(1, now + 2 * LONG)), (None, None));
        line.ended(&[talk(0)], now);
        let rest = [BATCH, BATCH + 1, BATCH + 2].map(|n| (0, n)).to_vec();
        assert_eq!(line.next(0, now), Some((vec![talk(0)], rest)));
    }

    proptest! {
        #[test]
        fn all_go_out_once_and_in_their_order_and_no_conversation_is_in_two_writes(
            to in proptest::collection::vec(0_u8..6, 1..400),
            ends in proptest::collection::vec(any::<prop::sample::Index>(), 400),
        ) {
            let now = Instant::now();
            let mut line = filled(to.iter().copied().zip(0..), now);
            let (mut writes, mut gone) = (Vec::new(), Vec::new());
            let mut ends = ends.into_iter();
            loop {
                while let Some((conversations, batch)) = line.next(writes.len(), now + LONG) {
                    let mut others = writes.iter().flatten();
                    prop_assert!(!others.any(|it| conversations.contains(it)));
                    gone.extend(batch);
                    writes.push(conversations);
                }
                if writes.is_empty() {
                    break;
                }
                let end = ends.next().map_or(0, |it| it.index(writes.len()));
                line.ended(&writes.swap_remove(end), now);
            }
            for talk in 0..6 {
                let is_its = |(n, it): (usize, &u8)| (*it == talk).then_some((talk, n));
                let came: Vec<_> = to.iter().enumerate().filter_map(is_its).collect();
                let went: Vec<_> = gone.iter().copied().filter(|it| it.0 == talk).collect();
                prop_assert_eq!(came, went);
            }
        }
    }
}
