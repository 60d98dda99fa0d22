//! A made-up population of any size, skewed as real ones are, put into the store in bulk.
//!
//! All of it follows from its size and its seed. Who is in what, and how much is said where, is
//! decided first (`shape`); that alone is held in memory. The rest is made block by block, each
//! from its own numbers, so that blocks can be made in any order, again, and by another process.
//! The store remembers how many are there.

mod dice;
mod people;
mod shape;
mod talk;
mod words;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio_util::task::AbortOnDropHandle;

use self::shape::{Block, Shape};
use super::load::patiently;
use crate::domain::population::Population;
use crate::domain::text::Password;
use crate::error::{Error, Result};
use crate::services::accounts::conflict;
use crate::services::password_hasher::{Lane, PasswordHasher};
use crate::store::bulk::{Begun, Bulk};

/// Everybody's password.
pub const PASSWORD: &str = "correct horse population";

/// To be raised when the same numbers would make other rows.
const VERSION: u32 = 1;

/// Blocks that are written at the same time.
const MAX_CONCURRENT_BLOCKS: usize = 4;

/// How far it is, in rows of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows that are there.
    pub done: u64,
    /// Rows there will be.
    pub of: u64,
}

/// What is there in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Populated {
    /// Accounts.
    pub users: u32,
    /// Direct conversations.
    pub conversations: usize,
    /// Groups.
    pub groups: usize,
    /// Friendships and requests.
    pub relations: usize,
    /// Messages.
    pub messages: u32,
}

impl fmt::Display for Populated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, conversations, groups, relations, messages } = self;
        write!(
            f,
            "{users} users, {relations} friendships and requests, {conversations} direct \
             conversations, {groups} groups, {messages} messages"
        )
    }
}

/// The address that someone of a population signs in with, counted from 0, the busiest first.
#[must_use]
pub fn address(number: u32) -> String {
    people::address(number)
}

/// Makes populations.
#[derive(Debug)]
pub struct Populator {
    rows: Bulk,
    passwords: PasswordHasher,
}

impl Populator {
    /// Makes them in these rows, with passwords of this cost.
    #[must_use]
    pub fn new(rows: Bulk, bcrypt_cost: u32) -> Self {
        Self { rows, passwords: PasswordHasher::new(bcrypt_cost, bcrypt_cost, NonZeroUsize::MIN) }
    }

    /// Makes a population, or what is missing of it, and reports after each block. What is left
    /// halfway is completed by the next call; once all is there, another changes nothing.
    ///
    /// # Errors
    /// The store has another population; someone else has one of its names; the store is away.
    pub async fn make(
        &self,
        population: Population,
        mut report: impl FnMut(Progress),
    ) -> Result<Populated> {
        let begun = self.begin(population).await?;
        let shape = Arc::new(Shape::new(population));
        let blocks = shape.blocks();
        let of = blocks.iter().map(|(_, rows)| rows).sum();
        let (there, rest): (Vec<_>, Vec<_>) =
            (1..).zip(blocks).partition(|(number, _)| *number <= begun.done);
        let done = there.iter().map(|(_, (_, rows))| rows).sum();
        let mut progress = Progress { done, of };
        report(progress);
        let hash: Arc<str> = begun.password_hash.into();
        let mut making = stream::iter(rest)
            .map(|(number, (block, rows))| {
                let (rows_there, shape, hash) = (self.rows.clone(), shape.clone(), hash.clone());
                let put =
                    move || put(rows_there.clone(), shape.clone(), hash.clone(), block.clone());
                let made = AbortOnDropHandle::new(tokio::spawn(patiently(put)));
                async move { made.await.map_err(Error::internal)?.map(|()| (number, rows)) }
            })
            .buffered(MAX_CONCURRENT_BLOCKS);
        while let Some(made) = making.next().await {
            let (number, rows) = made?;
            patiently(async || self.rows.reached(number).await).await?;
            progress.done += rows;
            report(progress);
        }
        Ok(populated(&shape))
    }

    /// What the store remembers of this population; its first row, where there is none.
    async fn begin(&self, population: Population) -> Result<Begun> {
        let begun = if let Some(begun) = self.rows.begun().await? {
            begun
        } else {
            let password = Password::parse(PASSWORD);
            let password = password.map_err(|rule| Error::internal(rule.message))?;
            let password_hash =
                self.passwords.acquire(Lane::Stranger).await?.hash(password).await?;
            let new = Begun { population, version: VERSION, password_hash, done: 0 };
            self.rows.begin(new).await?
        };
        if (begun.population, begun.version) == (population, VERSION) {
            return Ok(begun);
        }
        let Population { users, messages, random_seed } = begun.population;
        Err(Error::internal(format!(
            "this database has another population: --users {users} --messages {messages} \
             --random-seed {random_seed}, version {}",
            begun.version
        )))
    }
}

/// Makes a block and puts it there. All of it is its own, as it runs as a task.
async fn put(rows: Bulk, shape: Arc<Shape>, hash: Arc<str>, block: Block) -> Result<()> {
    match block {
        Block::Users(numbers) => {
            let residents = numbers.map(|number| people::resident(&shape, number, &hash));
            rows.users(&residents.collect::<Result<Vec<_>>>()?).await.map_err(conflict)
        }
        Block::Requests(numbers) => {
            let asked: Vec<_> = numbers.map(|number| people::request(&shape, number)).collect();
            rows.acquaintances(&asked).await
        }
        Block::Pairs(numbers) => {
            let friends = numbers.clone().filter_map(|number| people::friends(&shape, number));
            rows.acquaintances(&friends.collect::<Vec<_>>()).await?;
            let talks = numbers.map(|number| talk::direct(&shape, number));
            rows.talks(&talks.collect::<Result<Vec<_>>>()?).await
        }
        Block::Groups(numbers) => {
            let talks = numbers.map(|number| talk::group(&shape, number));
            rows.talks(&talks.collect::<Result<Vec<_>>>()?).await
        }
    }
}

/// What a population of this shape has.
fn populated(shape: &Shape) -> Populated {
    let friends = (0..shape.pairs.len()).filter_map(|number| people::friends(shape, number));
    Populated {
        users: shape.of.users,
        conversations: shape.pairs.len(),
        groups: shape.groups.len(),
        relations: friends.count() + shape.requests.len(),
        messages: shape.of.messages,
    }
}
