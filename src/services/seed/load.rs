//! Loading: a fixture becomes accounts, files, friendships, groups and messages, by the ways that
//! requests take, and without doing anything twice.
//!
//! Each thing is looked for before it is made, by an id that follows from its reference or, for a
//! message, by the name under which it was sent. So a second load finds all there, and one after
//! a crash goes on where the first one stopped.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::fixture::{
    AttachmentEntry, Fixture, FixtureError, FriendshipEntry, GroupEntry, UserEntry,
};
use super::reference::UserRef;
use crate::domain::clock::Clock;
use crate::domain::groups::{GroupWish, NewGroup};
use crate::domain::relations::{RelationStatus, Standing};
use crate::error::{Error, Kind, Result};
use crate::services::Services;
use crate::services::accounts::SignUp;
use crate::services::profile::ProfileChange;
use crate::store::Repositories;

/// Entries of one file that are loaded at the same time.
const MAX_CONCURRENT_ENTRIES: usize = 16;

/// How long to retry while the store is away: MongoDB ends transactions after a minute.
const RETRY_TIMEOUT: Duration = Duration::from_secs(90);

/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// How much a load has made; what was there already does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    /// Accounts.
    pub users: usize,
    /// Files.
    pub attachments: usize,
    /// Friendships and requests.
    pub friendships: usize,
    /// Groups.
    pub groups: usize,
    /// Messages.
    pub messages: usize,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, attachments, friendships, groups, messages } = self;
        write!(
            f,
            "made {users} users, {attachments} files, {friendships} friendships and requests, \
             {groups} groups, {messages} messages"
        )
    }
}

/// Loads fixtures.
#[derive(Debug)]
pub struct Seeder {
    pub(super) services: Services,
    pub(super) repositories: Repositories,
    clock: Clock,
}

/// A fixture on its way into the store.
pub(super) struct Load<'a> {
    pub seeder: &'a Seeder,
    pub fixture: &'a Fixture,
}

impl Seeder {
    /// Loads through these; what empties the queue of messages must be running.
    #[must_use]
    pub fn new(services: Services, repositories: Repositories, clock: Clock) -> Self {
        Self { services, repositories, clock }
    }

    /// Makes what is not there yet. Loading the same fixture again changes nothing.
    ///
    /// # Errors
    /// The first thing that cannot be made, with its place in the fixture; what was made before
    /// it stays.
    pub async fn load(&self, fixture: &Fixture) -> Result<Made, FixtureError> {
        let load = Load { seeder: self, fixture };
        let Fixture { users, attachments, friendships, groups, conversations, .. } = fixture;
        let mut made = Made {
            users: count(users.iter().map(|entry| load.user(entry)).collect()).await?,
            attachments: count(attachments.iter().map(|entry| load.file(entry)).collect()).await?,
            ..Made::default()
        };
        count(users.iter().map(|entry| load.portrait(entry)).collect()).await?;
        let entries = friendships.iter().map(|entry| load.friends(entry)).collect();
        made.friendships = count(entries).await?;
        made.groups = count(groups.iter().map(|entry| load.group(entry)).collect()).await?;
        let entries = conversations.iter().map(|entry| load.talk(entry)).collect();
        made.messages = count(entries).await?;
        Ok(made)
    }
}

/// Runs the loading of entries, several at a time, and adds up what they made.
async fn count(
    entries: Vec<impl Future<Output = Result<usize, FixtureError>>>,
) -> Result<usize, FixtureError> {
    let made = stream::iter(entries).buffer_unordered(MAX_CONCURRENT_ENTRIES);
    made.try_fold(0, async |sum, made| Ok(sum + made)).await
}

/// Tries again while the store cannot take it. A process that was killed leaves transactions open,
/// which hold on to what they touched until the server ends them.
pub(super) async fn patiently<T>(work: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + RETRY_TIMEOUT;
    loop {
        match work().await {
            Err(error) if error.kind() == Kind::Unavailable && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// What an operator is told of an error; its cause, too, since nobody else logs it.
fn reason(error: &Error) -> String {
    let fields = error.field_errors().iter().map(|bad| format!("; {}: {}", bad.field, bad.message));
    let source = std::error::Error::source(error).map(|source| format!(" ({source})"));
    format!("{error}{}{}", fields.collect::<String>(), source.unwrap_or_default())
}

impl Load<'_> {
    pub(super) fn name(&self) -> &str {
        &self.fixture.name
    }

    /// An error with the place of what it stood against.
    pub(super) fn at(
        &self,
        file: &str,
        entry: impl fmt::Display,
    ) -> impl Fn(Error) -> FixtureError {
        let (fixture, place) = (self.name().to_owned(), format!("{file}, {entry}"));
        move |error| FixtureError {
            fixture: fixture.clone(),
            place: place.clone(),
            problem: reason(&error),
        }
    }

    async fn user(&self, entry: &UserEntry) -> Result<usize, FixtureError> {
        let id = entry.id.id(self.name());
        let made = patiently(async || {
            if !self.seeder.repositories.store.users().public(&[id]).await?.is_empty() {
                return Ok(false);
            }
            let UserEntry { username, email, password, .. } = entry.clone();
            self.seeder.services.accounts.admit(id, SignUp { username, email, password }).await
        });
        made.await.map(usize::from).map_err(self.at("users.json", &entry.id))
    }

    async fn file(&self, entry: &AttachmentEntry) -> Result<usize, FixtureError> {
        let (id, uploader) = (entry.id.id(self.name()), entry.uploader.id(self.name()));
        let bytes = Bytes::copy_from_slice(&self.fixture.files[&entry.file]);
        let made = patiently(async || {
            if self.seeder.repositories.store.attachments().find(id).await?.is_some() {
                return Ok(0);
            }
            let files = &self.seeder.services.attachments;
            files.put(id, uploader, &entry.filename, bytes.clone()).await.map(|_| 1)
        });
        made.await.map_err(self.at("attachments.json", &entry.id))
    }

    /// Shows the picture of someone who shows none.
    async fn portrait(&self, entry: &UserEntry) -> Result<usize, FixtureError> {
        let Some(picture) = &entry.picture else { return Ok(0) };
        let (user, picture) = (entry.id.id(self.name()), picture.id(self.name()));
        let made = patiently(async || {
            let profile = &self.seeder.services.profile;
            if profile.get(user).await?.profile_picture.is_some() {
                return Ok(0);
            }
            let change = ProfileChange { picture: Some(Some(picture)), ..ProfileChange::default() };
            profile.change(user, change).await.map(|_| 1)
        });
        made.await.map_err(self.at("users.json", &entry.id))
    }

    async fn friends(&self, entry: &FriendshipEntry) -> Result<usize, FixtureError> {
        let (from, to) = (entry.from.id(self.name()), entry.to.id(self.name()));
        let place = format_args!("{} and {}", entry.from, entry.to).to_string();
        let made = patiently(async || {
            let friends = &self.seeder.services.friends;
            let stand = self.seeder.repositories.store.relations().between(from, to).await?;
            match (stand, entry.status) {
                (None, RelationStatus::Pending) => friends.add(from, to).await.map(|_| 1),
                (None, RelationStatus::Accepted) => {
                    friends.add(from, to).await?;
                    friends.accept(to, from).await.map(|_| 1)
                }
                // Where an earlier load was cut short.
                (Some(Standing::Outgoing), RelationStatus::Accepted) => {
                    friends.accept(to, from).await.map(|_| 1)
                }
                (Some(_), _) => Ok(0),
            }
        });
        made.await.map_err(self.at("friendships.json", place))
    }

    async fn group(&self, entry: &GroupEntry) -> Result<usize, FixtureError> {
        let (id, owner) = (entry.id.id(self.name()), entry.owner.id(self.name()));
        let made = patiently(async || {
            let there = self.seeder.repositories.store.groups().find(id).await?;
            let made = usize::from(there.is_none());
            let group = match there {
                Some(group) => group,
                None => {
                    self.seeder.services.groups.rules.create(&self.new_group(entry), None).await?
                }
            };
            if let (Some(picture), None) = (&entry.picture, group.picture) {
                let picture = Some(Some(picture.id(self.name())));
                let wish = GroupWish { name: None, picture };
                self.seeder.services.groups.update(owner, id, wish).await?;
            }
            Ok(made)
        });
        made.await.map_err(self.at("groups.json", &entry.id))
    }

    fn new_group(&self, entry: &GroupEntry) -> NewGroup {
        let id = |user: &UserRef| user.id(self.name());
        NewGroup {
            id: entry.id.id(self.name()),
            name: entry.group_name.clone(),
            owner: id(&entry.owner),
            others: entry.everyone().skip(1).map(id).collect(),
            admins: entry.admins.iter().map(id).collect(),
            at: self.seeder.clock.now(),
        }
    }
}
