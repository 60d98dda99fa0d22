//! Chance that can be repeated: `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom
//! number generators, 2014), one sequence for each thing that is made.
//!
//! Nothing but additions, multiplications and square roots is done with its numbers, which IEEE
//! 754 fixes to the last bit: so the same seed makes the same rows on every machine.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a sequence is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Who is in what, and how much is said where.
    Shape,
    /// A user.
    User,
    /// A pair of friends.
    Friends,
    /// A request.
    Request,
    /// A direct conversation.
    Direct,
    /// A group and its conversation.
    Group,
}

/// One sequence.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// The sequence of the `number`th thing of a population.
    pub fn new(random_seed: u32, purpose: Use, number: usize) -> Self {
        let purpose = mix(u64::from(random_seed) << 8 | purpose as u64);
        Self(mix(purpose ^ (number as u64).wrapping_mul(GOLDEN)))
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    pub fn bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_be_bytes());
        bytes
    }

    /// From 0 up to but not including `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.bits()) * end as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Whether something happens that does so this many times in a hundred.
    pub fn percent(&mut self, times: usize) -> bool {
        self.below(100) < times
    }

    /// From just above 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        let bits = u32::try_from(self.bits() >> 32).unwrap_or(u32::MAX);
        (f64::from(bits) + 1.0) / 4_294_967_296.0
    }

    /// From 0 up to but not including `end`, the low ones far more often: the n-th about as often
    /// as n to the power of -2/3, near what Zipf's law is for people's activity.
    pub fn low(&mut self, end: usize) -> usize {
        let unit = self.unit();
        part(end, unit * unit * unit)
    }

    /// At least 1, mostly near it and now and then very large: Pareto's distribution of exponent
    /// 4/3, as the sizes of groups and conversations have it.
    pub fn heavy(&mut self) -> f64 {
        let root = self.unit().sqrt();
        1.0 / (root * root.sqrt())
    }
}

/// The finalizer of `SplitMix64`.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The whole part of a number that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "truncating is what it is for, and `as` goes no further than the ends"
)]
pub(super) fn whole(number: f64) -> usize {
    number as usize
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2 to the power of 53")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}

/// Which of `end` things a part of 1 falls on.
pub(super) fn part(end: usize, of: f64) -> usize {
    whole(real(end) * of).min(end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_repeats_and_others_differ() {
        let first = |seed, purpose, number| Dice::new(seed, purpose, number).bits();
        assert_eq!(first(1, Use::User, 7), first(1, Use::User, 7));
        let others = [first(2, Use::User, 7), first(1, Use::Direct, 7), first(1, Use::User, 8)];
        assert!(!others.contains(&first(1, Use::User, 7)));
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs for the state 1234567, as published with its reference code.
        let mut dice = Dice(1_234_567);
        let first = [dice.bits(), dice.bits(), dice.bits()];
        let known =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, known);
    }

    #[test]
    fn low_ones_come_more_often() {
        let mut dice = Dice::new(0, Use::Shape, 0);
        let picks: Vec<usize> = (0..10_000).map(|_| dice.low(1000)).collect();
        assert!(picks.iter().all(|pick| *pick < 1000));
        let below = |end| picks.iter().filter(|pick| **pick < end).count();
        // The cube roots of 1/1000 and 1/8.
        assert!((900..1100).contains(&below(1)), "{}", below(1));
        assert!((4800..5200).contains(&below(125)), "{}", below(125));
    }
}
