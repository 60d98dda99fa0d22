//! The rules: who may, what must hold, what changes, who is told. No queries, no HTTP.

pub mod access;
pub mod accounts;
pub mod attachments;
pub mod conversations;
pub mod friends;
pub mod groups;
pub mod messages;
pub mod notifications;
pub mod outbox;
pub mod outgoing;
pub mod passwords;
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
use messages::Messages;
use notifications::Notifications;
use outbox::Outbox;
use outgoing::{Outgoing, ShardWriter};
use passwords::Passwords;
use profiles::Profiles;
use sessions::Sessions;
use tokens::{MailTokens, RefreshTokens};

use crate::cache::Redis;
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
    /// Sending and reading messages.
    pub messages: Arc<Messages>,
    /// What users are told of.
    pub notifications: Arc<Notifications>,
    /// Mails on their way; its task is to be run.
    pub outbox: Arc<Outbox>,
    /// How people look to others.
    pub profiles: Arc<Profiles>,
    /// Signed-in devices.
    pub sessions: Arc<Sessions>,
}

impl Services {
    /// Services over these repositories, and the writers of the message shards, to be run as
    /// tasks. All keys derive from the signing key (PKCS#8, DER).
    ///
    /// # Errors
    /// When the signing key or the URL for mail is not one.
    pub fn new(
        settings: &Settings,
        signing_key: &[u8],
        clock: &Clock,
        repositories: &Repositories,
        redis: &Redis,
    ) -> Result<(Self, Vec<ShardWriter>)> {
        let public_url = settings.server.public_url.as_str().trim_end_matches('/');
        let users = repositories.users.clone();
        let rows = repositories.sessions.clone();
        let access = Arc::new(Access::new(public_url, signing_key, clock, rows.clone())?);
        let refresh = RefreshTokens::new(signing_key);
        let sessions = Sessions::new(rows, users.clone(), access.clone(), refresh, clock);
        let sessions = Arc::new(sessions);
        let mailer = Mailer::new(&settings.mail).map_err(Error::internal)?;
        let tokens = MailTokens::new(signing_key);
        let rows = repositories.outbox.clone();
        let outbox = Arc::new(Outbox::new(rows, mailer, tokens.clone(), public_url, clock));
        let accounts = Arc::new(Accounts {
            rows: repositories.accounts.clone(),
            users: users.clone(),
            passwords: Passwords::new(settings.auth.bcrypt_cost, settings.auth.hashers()),
            sessions: sessions.clone(),
            tokens,
            outbox: outbox.clone(),
            clock: clock.clone(),
        });
        let profiles = Arc::new(Profiles::new(users));
        let cursors = Cursors::new(signing_key);
        let shards = settings.messages.shards as usize;
        let (outgoing, writers) = Outgoing::new(&repositories.writer, shards);
        let conversations = Arc::new(Conversations::new(repositories));
        let messages = Arc::new(Messages::new(
            repositories,
            conversations.clone(),
            outgoing,
            redis.clone(),
            clock,
            settings.messages.require_friendship,
        ));
        let notifications =
            Arc::new(Notifications::new(repositories, profiles.clone(), cursors.clone()));
        let friends = Friends::new(repositories, profiles.clone(), cursors.clone(), clock);
        let groups = Groups::new(
            repositories,
            profiles.clone(),
            cursors,
            clock,
            settings.groups.max_members,
        );
        let services = Self {
            access,
            accounts,
            attachments: Arc::new(Attachments::new(repositories, clock)),
            conversations,
            friends: Arc::new(friends),
            groups: Arc::new(groups),
            messages,
            notifications,
            outbox,
            profiles,
            sessions,
        };
        Ok((services, writers))
    }
}
