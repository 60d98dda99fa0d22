//! The rules: who may, what must hold, what changes, who is told. No queries, no HTTP.

pub mod access;
pub mod accounts;
pub mod attachments;
pub mod conversations;
pub mod friends;
pub mod groups;
pub mod inbox;
pub mod live;
pub mod messages;
pub mod notifications;
pub mod outbox;
pub mod outgoing;
pub mod passwords;
pub mod profile;
pub mod profiles;
pub mod seed;
pub mod sessions;
pub mod tokens;
pub mod upload;

mod images;

use std::sync::Arc;

use access::Access;
use accounts::Accounts;
use attachments::Attachments;
use conversations::Conversations;
use friends::Friends;
use groups::Groups;
use inbox::Inbox;
use live::LiveSessions;
use messages::{Messages, View};
use notifications::Notifications;
use outbox::Outbox;
use outgoing::{Outgoing, ShardWriter};
use passwords::Passwords;
use profile::Profile;
use profiles::Profiles;
use sessions::Sessions;
use tokens::{MailTokens, RefreshTokens};
use tokio::sync::Notify;

use crate::cache::Redis;
use crate::cache::profiles::ProfileCache;
use crate::config::Settings;
use crate::domain::clock::Clock;
use crate::domain::page::Cursors;
use crate::error::{Error, Result};
use crate::mail::Mailer;
use crate::repositories::Repositories;

/// Every service of an instance; cloning shares them.
#[derive(Debug, Clone)]
pub struct Services {
    /// Access tokens.
    pub access: Arc<Access>,
    /// Signing up and in.
    pub accounts: Arc<Accounts>,
    /// Files.
    pub attachments: Arc<Attachments>,
    /// Who may look into a conversation, and read marks.
    pub conversations: Arc<Conversations>,
    /// Asking, answering, ending, listing.
    pub friends: Arc<Friends>,
    /// Making and changing groups.
    pub groups: Arc<Groups>,
    /// All of one's conversations.
    pub inbox: Arc<Inbox>,
    /// Sending and reading messages.
    pub messages: Arc<Messages>,
    /// What users are told of.
    pub notifications: Arc<Notifications>,
    /// Which sessions stand; its task is to be run.
    pub live: Arc<LiveSessions>,
    /// Mails on their way; its task is to be run.
    pub outbox: Arc<Outbox>,
    /// One's own profile.
    pub profile: Arc<Profile>,
    /// How people look to others.
    pub profiles: Arc<Profiles>,
    /// Signed-in devices.
    pub sessions: Arc<Sessions>,
}

/// What the services of an instance are made from.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// All settings.
    pub settings: &'a Settings,
    /// PKCS#8 (DER); every other key derives from it.
    pub signing_key: &'a [u8],
    /// The time.
    pub clock: &'a Clock,
    /// The truth.
    pub repositories: &'a Repositories,
    /// What may be lost.
    pub redis: &'a Redis,
}

impl Services {
    /// Services, and the writers of the message shards, to be run as tasks.
    ///
    /// # Errors
    /// When the signing key or the URL for mail is not one.
    pub fn new(ground: Ground<'_>) -> Result<(Self, Vec<ShardWriter>)> {
        let Ground { settings, signing_key, clock, repositories, redis } = ground;
        let live = Arc::new(LiveSessions::new(repositories.sessions.clone(), clock));
        let access = Access::new(ground.public_url(), signing_key, clock, live.clone())?;
        let access = Arc::new(access);
        let outbox = Arc::new(ground.outbox()?);
        let sessions = Arc::new(ground.sessions(&access, &live));
        let accounts = Arc::new(ground.accounts(&sessions, &outbox));
        let attachments = Arc::new(Attachments::new(repositories, clock));
        let cache = ProfileCache::new(redis.clone());
        let profile = Arc::new(ground.profile(&outbox, &attachments, &cache));
        let cursors = Cursors::new(signing_key);
        let users = repositories.users.clone();
        let profiles = Arc::new(Profiles { users, cache, cursors: cursors.clone() });
        let shards = settings.messages.shards as usize;
        let (outgoing, writers) = Outgoing::new(&repositories.writer, shards);
        let conversations = Arc::new(Conversations::new(repositories, clock));
        let services = Self {
            messages: Arc::new(ground.messages(conversations.clone(), outgoing)),
            notifications: Arc::new(ground.notifications(&profiles)),
            friends: Arc::new(Friends::new(repositories, profiles.clone(), cursors, clock)),
            groups: Arc::new(ground.groups(&profiles, &attachments)),
            inbox: Arc::new(ground.inbox(&conversations, &profiles)),
            access,
            accounts,
            attachments,
            conversations,
            live,
            outbox,
            profile,
            profiles,
            sessions,
        };
        Ok((services, writers))
    }
}

impl Ground<'_> {
    fn public_url(&self) -> &str {
        self.settings.server.public_url.as_str().trim_end_matches('/')
    }

    fn cursors(&self) -> Cursors {
        Cursors::new(self.signing_key)
    }

    fn outbox(&self) -> Result<Outbox> {
        Ok(Outbox {
            rows: self.repositories.outbox.clone(),
            users: self.repositories.users.clone(),
            links: self.repositories.tokens.clone(),
            mailer: Mailer::new(&self.settings.mail).map_err(Error::internal)?,
            tokens: MailTokens::new(self.signing_key),
            public_url: self.public_url().to_owned(),
            clock: self.clock.clone(),
            queued: Notify::new(),
        })
    }

    fn sessions(&self, access: &Arc<Access>, live: &Arc<LiveSessions>) -> Sessions {
        Sessions {
            rows: self.repositories.sessions.clone(),
            users: self.repositories.users.clone(),
            access: access.clone(),
            live: live.clone(),
            refresh: RefreshTokens::new(self.signing_key),
            cursors: self.cursors(),
            clock: self.clock.clone(),
        }
    }

    fn accounts(&self, sessions: &Arc<Sessions>, outbox: &Arc<Outbox>) -> Accounts {
        let auth = &self.settings.auth;
        Accounts {
            rows: self.repositories.accounts.clone(),
            users: self.repositories.users.clone(),
            passwords: Passwords::new(auth.bcrypt_cost, auth.hashers()),
            sessions: sessions.clone(),
            tokens: MailTokens::new(self.signing_key),
            queue: self.repositories.outbox.clone(),
            outbox: outbox.clone(),
            clock: self.clock.clone(),
        }
    }

    fn profile(
        &self,
        outbox: &Arc<Outbox>,
        attachments: &Arc<Attachments>,
        cache: &ProfileCache,
    ) -> Profile {
        Profile {
            accounts: self.repositories.accounts.clone(),
            attachments: attachments.clone(),
            users: self.repositories.users.clone(),
            links: self.repositories.tokens.clone(),
            tokens: MailTokens::new(self.signing_key),
            outbox: outbox.clone(),
            cache: cache.clone(),
            clock: self.clock.clone(),
        }
    }

    fn messages(&self, conversations: Arc<Conversations>, outgoing: Outgoing) -> Messages {
        Messages::new(
            self.repositories,
            conversations,
            outgoing,
            self.redis.clone(),
            self.cursors(),
            self.clock,
            self.settings.messages.require_friendship,
        )
    }

    fn notifications(&self, profiles: &Arc<Profiles>) -> Notifications {
        Notifications::new(self.repositories, profiles.clone(), self.cursors(), self.clock)
    }

    fn inbox(&self, conversations: &Arc<Conversations>, profiles: &Arc<Profiles>) -> Inbox {
        Inbox {
            repositories: self.repositories.clone(),
            conversations: conversations.clone(),
            profiles: profiles.clone(),
            view: View::new(self.repositories),
            cursors: self.cursors(),
            clock: self.clock.clone(),
        }
    }

    fn groups(&self, profiles: &Arc<Profiles>, attachments: &Arc<Attachments>) -> Groups {
        Groups::new(
            self.repositories,
            profiles.clone(),
            attachments.clone(),
            self.cursors(),
            self.clock,
            self.settings.groups.max_members,
        )
    }
}
