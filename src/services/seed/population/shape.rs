//! Who is in what, and how much is said where: all that one row of a population has to know of
//! others.

use std::collections::HashSet;
use std::ops::Range;

use super::dice::{Dice, Use, real, whole};
use crate::domain::groups::MAX_GROUPS_OF_A_USER;
use crate::domain::population::Population;

/// Members of the largest group.
const LARGEST_GROUP: usize = 1000;

/// Users for each group.
const USERS_PER_GROUP: usize = 20;

/// Messages of a direct conversation, on average.
const DIRECT_LENGTH: usize = 10;

/// Users for each request that nobody has answered.
const USERS_PER_REQUEST: usize = 5;

/// Rows of a block; one conversation is never divided.
const BLOCK: u64 = 5000;

/// A direct conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub one: usize,
    pub other: usize,
    pub messages: usize,
}

/// A group: its members, the owner first, and how much is said in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupShape {
    pub members: Vec<usize>,
    pub messages: usize,
}

/// A whole population; users are their numbers, the busiest first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub of: Population,
    pub pairs: Vec<Pair>,
    /// Who asked whom, without an answer; none of them is a pair.
    pub requests: Vec<(usize, usize)>,
    pub groups: Vec<GroupShape>,
    /// Groups of each user.
    pub group_counts: Vec<i32>,
}

/// Rows that are made together: numbers of users, of pairs and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    Users(Range<usize>),
    Pairs(Range<usize>),
    Requests(Range<usize>),
    Groups(Range<usize>),
}

impl Shape {
    pub fn new(of: Population) -> Self {
        let mut dice = Dice::new(of.random_seed, Use::Shape, 0);
        let (users, messages) = (of.users as usize, of.messages as usize);
        let direct = messages * 3 / 5;
        // Few enough of all that are possible to be found by trying.
        let possible = users.saturating_mul(users.saturating_sub(1)) / 2;
        let most = (possible / 8).max(1);
        let mut met = HashSet::new();
        let count = (direct / DIRECT_LENGTH).clamp(direct.min(1), most);
        let pairs = distinct(&mut dice, users, count, &mut met, true);
        let lengths = shares(&mut dice, direct, count, 1);
        let pairs = pairs.into_iter().zip(lengths);
        let pairs = pairs.map(|((one, other), messages)| Pair { one, other, messages }).collect();
        let asking = (users / USERS_PER_REQUEST).min(most);
        let requests = distinct(&mut dice, users, asking, &mut met, false);
        let mut group_counts = vec![0; users];
        let said = messages - if count == 0 { 0 } else { direct };
        let count = (users / USERS_PER_GROUP).max(1);
        let lengths = shares(&mut dice, said, count, 0);
        let groups = lengths.into_iter().enumerate().map(|(number, messages)| {
            let members = members(&mut dice, number, &mut group_counts);
            GroupShape { members, messages }
        });
        let groups = groups.collect();
        Self { of, pairs, requests, groups, group_counts }
    }

    /// The blocks in their order, each with the rows that it makes.
    pub fn blocks(&self) -> Vec<(Block, u64)> {
        let mut blocks = cut(vec![1; self.group_counts.len()], Block::Users);
        // Relation, two notifications, summary, two members; message and send.
        let pairs = self.pairs.iter().map(|pair| 6 + 2 * pair.messages as u64);
        blocks.extend(cut(pairs, Block::Pairs));
        blocks.extend(cut(self.requests.iter().map(|_| 2), Block::Requests));
        let rows = |group: &GroupShape| 2 + 2 * (group.members.len() + group.messages) as u64;
        blocks.extend(cut(self.groups.iter().map(rows), Block::Groups));
        blocks
    }
}

/// So many pairs of users who have not met; one in fifty, if they may, is someone with themselves.
fn distinct(
    dice: &mut Dice,
    users: usize,
    count: usize,
    met: &mut HashSet<(usize, usize)>,
    oneself: bool,
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::with_capacity(count);
    while pairs.len() < count {
        let one = dice.low(users);
        let other = match dice.below(50) {
            0 if oneself => one,
            1..25 => dice.low(users),
            _ => dice.below(users),
        };
        if (oneself || one != other) && met.insert((one.min(other), one.max(other))) {
            pairs.push((one, other));
        }
    }
    pairs
}

/// Divides `total` into `count` shares of at least `least`, a few of them very large.
fn shares(dice: &mut Dice, total: usize, count: usize, least: usize) -> Vec<usize> {
    let weights: Vec<f64> = (0..count).map(|_| dice.heavy()).collect();
    let sum: f64 = weights.iter().sum();
    let free = total.saturating_sub(least * count);
    let mut shares: Vec<usize> =
        weights.iter().map(|weight| least + whole(real(free) * weight / sum)).collect();
    let left = total.saturating_sub(shares.iter().sum());
    // Rounding leaves less than one for each.
    shares.iter_mut().take(left).for_each(|share| *share += 1);
    shares
}

/// The members of a group, each counted into one more; the first group is as large as may be.
fn members(dice: &mut Dice, number: usize, group_counts: &mut [i32]) -> Vec<usize> {
    let users = group_counts.len();
    let most = LARGEST_GROUP.min(users / 2).max(1);
    let size = if number == 0 { most } else { whole(3.0 * dice.heavy()).min(most) };
    let full = i32::try_from(MAX_GROUPS_OF_A_USER).unwrap_or(i32::MAX);
    let (mut members, mut inside) = (Vec::with_capacity(size), HashSet::with_capacity(size));
    while members.len() < size {
        let user = dice.low(users);
        if group_counts[user] < full && inside.insert(user) {
            group_counts[user] += 1;
            members.push(user);
        }
    }
    members
}

/// Puts things of so many rows each into blocks.
fn cut(
    rows: impl IntoIterator<Item = u64>,
    block: impl Fn(Range<usize>) -> Block,
) -> Vec<(Block, u64)> {
    let (mut blocks, mut first, mut sum, mut end) = (Vec::new(), 0, 0, 0);
    for rows in rows {
        (end, sum) = (end + 1, sum + rows);
        if sum >= BLOCK {
            blocks.push((block(first..end), sum));
            (first, sum) = (end, 0);
        }
    }
    if first < end {
        blocks.push((block(first..end), sum));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(users: u32, messages: u32, random_seed: u32) -> Shape {
        Shape::new(Population { users, messages, random_seed })
    }

    #[test]
    fn the_same_numbers_make_the_same_population() {
        assert_eq!(shape(500, 4000, 1), shape(500, 4000, 1));
        assert_ne!(shape(500, 4000, 1).pairs, shape(500, 4000, 2).pairs);
    }

    #[test]
    fn counts_are_exact_at_every_size() {
        for (users, messages) in [(2, 0), (2, 1), (3, 50), (40, 7), (300, 6000), (5000, 100)] {
            let shape = shape(users, messages, 3);
            let direct: usize = shape.pairs.iter().map(|pair| pair.messages).sum();
            let groups: usize = shape.groups.iter().map(|group| group.messages).sum();
            assert_eq!(direct + groups, messages as usize, "{users} {messages}");
            assert!(shape.pairs.iter().all(|pair| pair.messages > 0));
            let members: usize = shape.groups.iter().map(|group| group.members.len()).sum();
            let counted: i32 = shape.group_counts.iter().sum();
            assert_eq!(usize::try_from(counted), Ok(members));
        }
    }

    #[test]
    fn sizes_are_skewed() {
        let shape = shape(20_000, 100_000, 1);
        let mut lengths: Vec<usize> = shape.pairs.iter().map(|pair| pair.messages).collect();
        lengths.sort_unstable();
        let (median, longest) = (lengths[lengths.len() / 2], lengths[lengths.len() - 1]);
        assert!(median < 10 && longest > 500, "{median} {longest}");
        let mut sizes: Vec<usize> = shape.groups.iter().map(|g| g.members.len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes[sizes.len() - 1], LARGEST_GROUP);
        assert!(sizes[sizes.len() / 2] < 10);
        let full = i32::try_from(MAX_GROUPS_OF_A_USER).unwrap();
        assert!(shape.group_counts.iter().all(|count| *count <= full));
    }

    #[test]
    fn blocks_have_everything_once() {
        let shape = shape(7000, 20_000, 1);
        let blocks = shape.blocks();
        let mut ends = [0; 4];
        for (block, _) in blocks {
            let (kind, range) = match block {
                Block::Users(range) => (0, range),
                Block::Pairs(range) => (1, range),
                Block::Requests(range) => (2, range),
                Block::Groups(range) => (3, range),
            };
            assert_eq!(range.start, ends[kind]);
            ends[kind] = range.end;
        }
        let all = [7000, shape.pairs.len(), shape.requests.len(), shape.groups.len()];
        assert_eq!(ends, all);
    }
}
