//! The people of a population, and who of them are friends.

use super::dice::{Dice, Use, real, whole};
use super::shape::{Pair, Shape};
use super::words::{FIRST_NAMES, LAST_NAMES};
use crate::domain::accounts::NewAccount;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::population::Population;
use crate::domain::text::{Email, Username, Violation};
use crate::error::{Error, Result};
use crate::store::bulk::{Acquaintance, Resident};

/// When everything in a population has happened: 2025-01-01T00:00:00Z.
const END: usize = 1_735_689_600_000;

const DAY: usize = 24 * 60 * 60 * 1000;

/// The time in which people came, and the one after it in which they wrote.
const YEAR: usize = 365 * DAY;

pub(super) fn at(millis: usize) -> Timestamp {
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// `count` moments, the last ones mostly near the end of the population, in bursts.
pub(super) fn moments(dice: &mut Dice, count: usize) -> Vec<Timestamp> {
    let first = END - whole(real(YEAR) * dice.unit());
    let unit = dice.unit();
    let span = real(END - first) * (1.0 - unit * unit * unit);
    let gaps: Vec<f64> = (1..count).map(|_| dice.heavy()).collect();
    let all: f64 = gaps.iter().sum();
    let mut passed = 0.0;
    let mut moments = Vec::with_capacity(count);
    moments.push(at(first));
    moments.extend(gaps.into_iter().map(|gap| {
        passed += gap;
        at(first + whole(span * (passed / all)))
    }));
    moments
}

/// The id of a user of a population.
pub(super) fn id(of: Population, number: usize) -> UserId {
    let Population { random_seed, .. } = of;
    UserId::named(&["natter/population", "user", &format!("{random_seed}/{number}")])
}

pub(super) fn address(number: impl std::fmt::Display) -> String {
    format!("user{number}@population.example")
}

/// A user, in as many groups as the shape says.
pub(super) fn resident(shape: &Shape, number: usize, password_hash: &str) -> Result<Resident> {
    let mut dice = Dice::new(shape.of.random_seed, Use::User, number);
    let first = FIRST_NAMES[dice.below(FIRST_NAMES.len())];
    let last = LAST_NAMES[dice.below(LAST_NAMES.len())];
    let invalid = |rule: Violation| Error::internal(rule.message);
    let account = NewAccount {
        id: id(shape.of, number),
        username: Username::parse(&format!("{first}.{last}{number}")).map_err(invalid)?,
        email: Email::parse(&address(number)).map_err(invalid)?,
        password_hash: password_hash.to_owned(),
    };
    // Those who came first are not those who write most.
    let created_at = at(END - 2 * YEAR + dice.below(YEAR - DAY));
    Ok(Resident { account, group_count: shape.group_counts[number], created_at })
}

/// The friendship of two who write to each other, if they are friends.
pub(super) fn friends(shape: &Shape, number: usize) -> Option<Acquaintance> {
    let Pair { one, other, .. } = shape.pairs[number];
    let mut dice = Dice::new(shape.of.random_seed, Use::Friends, number);
    let are_friends = dice.percent(60) && one != other;
    are_friends.then(|| Acquaintance {
        from: id(shape.of, one),
        to: id(shape.of, other),
        accepted: true,
        since: at(END - 1 - dice.below(YEAR)),
        seen: dice.percent(90),
    })
}

/// A request without an answer.
pub(super) fn request(shape: &Shape, number: usize) -> Acquaintance {
    let (from, to) = shape.requests[number];
    let mut dice = Dice::new(shape.of.random_seed, Use::Request, number);
    Acquaintance {
        from: id(shape.of, from),
        to: id(shape.of, to),
        accepted: false,
        since: at(END - 1 - dice.below(YEAR)),
        seen: dice.percent(60),
    }
}
