//! Loading: a fixture becomes accounts, files, friendships, groups and messages, by the ways that
//! requests take, and without doing anything twice.
//!
//! Each thing is looked for before it is made, by an id that follows from its reference or, for a
//! message, by the name under which it was sent. So a second load finds all there, and one after
//! a crash goes on where the first one stopped.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::fixture::{
    AttachmentEntry, ConversationEntry, Fixture, FixtureError, FriendshipEntry, GroupEntry,
    MessageEntry, UserEntry,
};
use crate::domain::clock::Clock;
use crate::domain::groups::{GroupWish, NewGroup};
use crate::domain::ids::{ConversationId, MessageId, UserId};
use crate::domain::messages::Target;
use crate::domain::relations::{RelationStatus, Standing};
use crate::error::{Error, Result};
use crate::repositories::Repositories;
use crate::services::Services;
use crate::services::accounts::SignUp;
use crate::services::messages::NewMessage;

/// Entries of one file that are loaded at the same time.
const AT_ONCE: usize = 16;

/// Messages that are looked through at a time.
const PAGE: usize = 100;

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
    services: Services,
    repositories: Repositories,
    clock: Clock,
}

/// A fixture on its way into the store.
struct Load<'a> {
    seeder: &'a Seeder,
    fixture: &'a Fixture,
}

impl Seeder {
    /// Loads through these; the writers of the message shards must be running.
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
        let (users, files) = (&fixture.users, &fixture.attachments);
        let (friendships, groups) = (&fixture.friendships, &fixture.groups);
        Ok(Made {
            users: count(users.iter().map(|entry| load.user(entry)).collect()).await?,
            attachments: count(files.iter().map(|entry| load.file(entry)).collect()).await?,
            friendships: count(friendships.iter().map(|entry| load.friends(entry)).collect())
                .await?,
            groups: count(groups.iter().map(|entry| load.group(entry)).collect()).await?,
            messages: count(fixture.conversations.iter().map(|c| load.talk(c)).collect()).await?,
        })
    }
}

/// Runs the loading of entries, several at a time, and adds up what they made.
async fn count(
    entries: Vec<impl Future<Output = Result<usize, FixtureError>>>,
) -> Result<usize, FixtureError> {
    let made = stream::iter(entries).buffer_unordered(AT_ONCE);
    made.try_fold(0, async |sum, made| Ok(sum + made)).await
}

/// What an operator is told of an error; its cause, too, since nobody else logs it.
fn reason(error: &Error) -> String {
    let fields = error.field_errors().iter().map(|bad| format!("; {}: {}", bad.field, bad.message));
    let source = std::error::Error::source(error).map(|source| format!(" ({source})"));
    format!("{error}{}{}", fields.collect::<String>(), source.unwrap_or_default())
}

impl Load<'_> {
    fn name(&self) -> &str {
        &self.fixture.name
    }

    /// An error with the place of what it stood against.
    fn at(&self, file: &str, entry: impl fmt::Display) -> impl Fn(Error) -> FixtureError {
        let (fixture, place) = (self.name().to_owned(), format!("{file}, {entry}"));
        move |error| FixtureError {
            fixture: fixture.clone(),
            place: place.clone(),
            problem: reason(&error),
        }
    }

    async fn user(&self, entry: &UserEntry) -> Result<usize, FixtureError> {
        let id = entry.id.id(self.name());
        let made = async {
            if !self.seeder.repositories.users.public(&[id]).await?.is_empty() {
                return Ok(false);
            }
            let UserEntry { username, email, password, .. } = entry.clone();
            self.seeder.services.accounts.admit(id, SignUp { username, email, password }).await
        };
        made.await.map(usize::from).map_err(self.at("users.json", &entry.id))
    }

    async fn file(&self, entry: &AttachmentEntry) -> Result<usize, FixtureError> {
        let (id, uploader) = (entry.id.id(self.name()), entry.uploader.id(self.name()));
        let bytes = Bytes::copy_from_slice(&self.fixture.files[&entry.file]);
        let made = async {
            if self.seeder.repositories.attachments.find(id).await?.is_some() {
                return Ok(0);
            }
            let files = &self.seeder.services.attachments;
            files.put(id, uploader, &entry.filename, bytes).await.map(|_| 1)
        };
        made.await.map_err(self.at("attachments.json", &entry.id))
    }

    async fn friends(&self, entry: &FriendshipEntry) -> Result<usize, FixtureError> {
        let (from, to) = (entry.from.id(self.name()), entry.to.id(self.name()));
        let place = format_args!("{} and {}", entry.from, entry.to).to_string();
        let made = async {
            let friends = &self.seeder.services.friends;
            let stand = self.seeder.repositories.relations.between(from, to).await?;
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
        };
        made.await.map_err(self.at("friendships.json", place))
    }

    async fn group(&self, entry: &GroupEntry) -> Result<usize, FixtureError> {
        let (id, owner) = (entry.id.id(self.name()), entry.owner.id(self.name()));
        let made = async {
            let there = self.seeder.repositories.groups.find(id).await?;
            let made = usize::from(there.is_none());
            let group = match there {
                Some(group) => group,
                None => self.seeder.repositories.groups.create(&self.new_group(entry)).await?,
            };
            if let (Some(picture), None) = (&entry.picture, group.picture) {
                let picture = Some(Some(picture.id(self.name())));
                let wish = GroupWish { name: None, picture };
                self.seeder.services.groups.update(owner, id, wish).await?;
            }
            Ok(made)
        };
        made.await.map_err(self.at("groups.json", &entry.id))
    }

    fn new_group(&self, entry: &GroupEntry) -> NewGroup {
        let id = |user: &super::reference::UserRef| user.id(self.name());
        NewGroup {
            id: entry.id.id(self.name()),
            name: entry.group_name.clone(),
            owner: id(&entry.owner),
            others: entry.everyone().skip(1).map(id).collect(),
            admins: entry.admins.iter().map(id).collect(),
            at: self.seeder.clock.now(),
        }
    }

    /// Sends what of a conversation was not sent yet, in its order.
    async fn talk(&self, entry: &ConversationEntry) -> Result<usize, FixtureError> {
        let at = self.at("conversations.json", &entry.id);
        let mut sent = self.sent(entry).await.map_err(at)?;
        let mut made = 0;
        for (n, message) in (1..).zip(&entry.messages) {
            if sent.contains_key(&n) {
                continue;
            }
            let place = format!("{}: message {n}", entry.id);
            let id = self.send(entry, n, message, &sent).await;
            sent.insert(n, id.map_err(self.at("conversations.json", place))?);
            made += 1;
        }
        Ok(made)
    }

    async fn send(
        &self,
        entry: &ConversationEntry,
        n: usize,
        message: &MessageEntry,
        sent: &HashMap<usize, MessageId>,
    ) -> Result<MessageId> {
        let sender = message.from.id(self.name());
        let new = NewMessage {
            target: self.target(entry, sender)?,
            text: message.text.clone(),
            attachments: message.attachments.iter().map(|file| file.id(self.name())).collect(),
            reply_to: message.reply_to.and_then(|answered| sent.get(&answered).copied()),
            client_message_id: Some(entry.client_message_id(self.name(), n)),
        };
        let delivery = self.seeder.services.messages.send(sender, new).await?;
        Ok(delivery.message.id)
    }

    fn target(&self, entry: &ConversationEntry, sender: UserId) -> Result<Target> {
        match (&entry.between, &entry.group) {
            (Some([one, other]), _) => {
                let (one, other) = (one.id(self.name()), other.id(self.name()));
                Ok(Target::User(if one == sender { other } else { one }))
            }
            (None, Some(group)) => Ok(Target::Group(group.id(self.name()))),
            (None, None) => Err(Error::internal("a conversation of nobody")),
        }
    }

    /// The messages that are there already, by their numbers in the fixture. They are among the
    /// first of their conversation, unless people wrote before; it is read to its end only where
    /// some are missing.
    async fn sent(&self, entry: &ConversationEntry) -> Result<HashMap<usize, MessageId>> {
        let mut missing: HashMap<(UserId, String), usize> = (1..)
            .zip(&entry.messages)
            .map(|(n, message)| {
                let name = entry.client_message_id(self.name(), n);
                ((message.from.id(self.name()), name), n)
            })
            .collect();
        let mut sent = HashMap::new();
        let Some(first) = entry.messages.first() else { return Ok(sent) };
        let sender = first.from.id(self.name());
        let conversation: ConversationId = self.target(entry, sender)?.conversation(sender);
        let Repositories { conversations, messages, .. } = &self.seeder.repositories;
        let last = conversations.find(conversation).await?.map_or(0, |summary| summary.last_seq);
        let mut next = 1;
        while next <= last && !missing.is_empty() {
            let page = messages.oldest(conversation, (next, last), PAGE).await?;
            let Some(newest) = page.first() else { break };
            next = newest.id.seq + 1;
            for message in page {
                let Some(name) = message.client_message_id else { continue };
                if let Some(n) = missing.remove(&(message.sender, name)) {
                    sent.insert(n, message.id);
                }
            }
        }
        Ok(sent)
    }
}
