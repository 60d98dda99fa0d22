//! A batch, and its parts where it cannot be written as one.

use std::sync::Arc;

use crate::domain::messages::{Draft, Sent};
use crate::error::Result;
use crate::store::give_up;

/// How often the transaction of a part of a batch is run again because of others, before it is
/// halved or, being a single conversation, given up; it has failed in larger parts before.
const AGAIN: u32 = 1;

/// As [`AGAIN`], of a batch with a single conversation: about a third of a second.
const AGAIN_ALONE: u32 = 8;

/// How often a part may be tried.
#[derive(Debug)]
pub(super) struct Tries {
    left: u32,
    all: u32,
    is_mixed: bool,
    /// Of a single conversation: the last number of the plan before this one. Where that moves,
    /// others are at work who will let us through; where it does not, a transaction holds the row
    /// and nobody may be there to end it.
    last_seq: Option<u64>,
}

impl Tries {
    /// The tries of a part of a batch of so many drafts.
    pub fn of(part: &Part, batch: usize) -> Self {
        let is_mixed = part.is_mixed();
        let is_whole = part.drafts.len() == batch;
        let again = if is_whole && !is_mixed { AGAIN_ALONE } else { AGAIN };
        Self { left: again + 1, all: again + 1, is_mixed, last_seq: None }
    }

    /// Takes one, for a plan that ends with this number.
    ///
    /// # Errors
    /// When none is left: the transaction then gives up.
    pub fn count(&mut self, last_seq: Option<u64>) -> Result<()> {
        let before = std::mem::replace(&mut self.last_seq, last_seq);
        if !self.is_mixed && before.is_some() && before != last_seq {
            self.left = self.all;
        }
        self.left = self.left.checked_sub(1).ok_or_else(give_up)?;
        Ok(())
    }
}

/// Drafts of a batch, in their order, each with its place in the batch.
#[derive(Debug)]
pub(super) struct Part {
    pub drafts: Arc<Vec<Draft>>,
    places: Vec<usize>,
}

impl Part {
    /// All of a batch.
    pub fn whole(drafts: Vec<Draft>) -> Self {
        Self { places: (0..drafts.len()).collect(), drafts: Arc::new(drafts) }
    }

    /// Whether there are drafts of several conversations.
    fn is_mixed(&self) -> bool {
        let mut conversations = self.drafts.iter().map(Draft::conversation);
        let first = conversations.next();
        conversations.any(|other| Some(other) != first)
    }

    /// Two parts of about half the conversations each; `None` where there is only one.
    pub fn by_conversation(&self) -> Option<(Self, Self)> {
        let mut conversations: Vec<_> = self.drafts.iter().map(Draft::conversation).collect();
        conversations.sort_unstable();
        conversations.dedup();
        let middle = *conversations.get(conversations.len() / 2)?;
        (conversations.len() > 1).then(|| self.split(|_, draft| draft.conversation() < middle))
    }

    /// Two halves, of different conversations where there are several; `None` for a single draft.
    pub fn in_half(&self) -> Option<(Self, Self)> {
        let middle = self.drafts.len() / 2;
        let halves = || (middle > 0).then(|| self.split(|at, _| at < middle));
        self.by_conversation().or_else(halves)
    }

    fn split(&self, is_first: impl Fn(usize, &Draft) -> bool) -> (Self, Self) {
        let half = |wanted: bool| {
            let all = self.drafts.iter().zip(&self.places).enumerate();
            let some = all.filter(|(at, (draft, _))| is_first(*at, draft) == wanted);
            let (drafts, places) = some.map(|(_, (draft, place))| (draft.clone(), *place)).unzip();
            Self { drafts: Arc::new(drafts), places }
        };
        (half(true), half(false))
    }

    /// Says what came of these drafts, by their places in the batch.
    pub fn answer(
        &self,
        outcome: Result<Vec<Result<Sent>>>,
        answer: &mut impl FnMut(usize, Result<Sent>),
    ) {
        let outcomes = match outcome {
            Ok(outcomes) => outcomes,
            Err(error) => self.places.iter().map(|_| Err(error.clone())).collect(),
        };
        for (place, outcome) in self.places.iter().zip(outcomes) {
            answer(*place, outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::conversations::Target;
    use crate::domain::ids::{MessageId, UserId};
    use crate::error::Error;

    /// The `n`th draft of a batch, to one of a few people.
    fn draft((n, to): (usize, u8)) -> Draft {
        Draft {
            sender: UserId::from_bytes([0; 16]),
            target: Target::User(UserId::from_bytes([to; 16])),
            text: n.to_string(),
            attachments: Vec::new(),
            reply_to: None,
            mentions: Vec::new(),
            told: Vec::new(),
            once: None,
            at: Timestamp::from_millis(0),
            token: [0; 16],
        }
    }

    /// A part's answers: the number in each draft's text, to tell where it ends up.
    fn echo(part: &Part) -> Vec<Result<Sent>> {
        let answer = |draft: &Draft| {
            let n = draft.text.parse().map_err(Error::internal)?;
            Ok(Sent::Before(MessageId::new(draft.conversation(), n)))
        };
        part.drafts.iter().map(answer).collect()
    }

    proptest! {
        #[test]
        fn halves_end_as_single_conversations_and_answers_in_their_places(
            to in proptest::collection::vec(1_u8..6, 1..40),
        ) {
            let batch: Vec<Draft> = to.iter().copied().enumerate().map(draft).collect();
            let mut answers: Vec<Option<Result<Sent>>> = batch.iter().map(|_| None).collect();
            let mut parts = vec![Part::whole(batch)];
            let mut alone = 0;
            while let Some(part) = parts.pop() {
                prop_assert!(part.drafts.is_sorted_by_key(|it| it.text.parse::<usize>().ok()));
                if let Some((first, second)) = part.by_conversation() {
                    prop_assert!(part.is_mixed() && !first.drafts.is_empty());
                    prop_assert_eq!(first.drafts.len() + second.drafts.len(), part.drafts.len());
                    parts.extend([second, first]);
                } else {
                    prop_assert!(!part.is_mixed());
                    let mut put = |place: usize, outcome| answers[place] = Some(outcome);
                    part.answer(Ok(echo(&part)), &mut put);
                    alone += 1;
                }
            }
            let several: std::collections::BTreeSet<u8> = to.iter().copied().collect();
            prop_assert_eq!(alone, several.len());
            for (n, answer) in answers.into_iter().enumerate() {
                let Some(Ok(Sent::Before(id))) = answer else { panic!("no answer to {n}") };
                prop_assert_eq!(id.seq, n as u64);
            }
        }

        #[test]
        fn halves_end_as_single_drafts(to in proptest::collection::vec(1_u8..4, 1..40)) {
            let mut parts = vec![Part::whole(to.iter().copied().enumerate().map(draft).collect())];
            let mut alone = 0;
            while let Some(part) = parts.pop() {
                match part.in_half() {
                    Some((first, second)) => parts.extend([second, first]),
                    None => alone += 1,
                }
            }
            prop_assert_eq!(alone, to.len());
        }
    }
}
