//! The rules: who may, what must hold, what changes, who is told. No queries, no HTTP.

pub mod access;
pub mod accounts;
pub mod live;
pub mod outbox;
pub mod passwords;
pub mod profile;
pub mod profiles;
pub mod sessions;
pub mod tokens;

use std::sync::Arc;

use access::Access;
use accounts::Accounts;
use live::LiveSessions;
use outbox::Outbox;
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

impl Services {
    /// Services over these repositories. All keys derive from the signing key (PKCS#8, DER).
    ///
    /// # Errors
    /// When the signing key or the URL for mail is not one.
    pub fn new(
        settings: &Settings,
        signing_key: &[u8],
        clock: &Clock,
        repositories: &Repositories,
        redis: &Redis,
    ) -> Result<Self> {
        let public_url = settings.server.public_url.as_str().trim_end_matches('/');
        let users = repositories.users.clone();
        let rows = repositories.sessions.clone();
        let live = Arc::new(LiveSessions::new(rows.clone(), clock));
        let access = Arc::new(Access::new(public_url, signing_key, clock, live.clone())?);
        let sessions = Arc::new(Sessions {
            rows,
            users: users.clone(),
            access: access.clone(),
            live: live.clone(),
            refresh: RefreshTokens::new(signing_key),
            cursors: Cursors::new(signing_key),
            clock: clock.clone(),
        });
        let mailer = Mailer::new(&settings.mail).map_err(Error::internal)?;
        let tokens = MailTokens::new(signing_key);
        let outbox = Arc::new(Outbox {
            rows: repositories.outbox.clone(),
            users: users.clone(),
            links: repositories.tokens.clone(),
            mailer,
            tokens: tokens.clone(),
            public_url: public_url.to_owned(),
            clock: clock.clone(),
            queued: Notify::new(),
        });
        let accounts = Arc::new(Accounts {
            rows: repositories.accounts.clone(),
            users: users.clone(),
            passwords: Passwords::new(settings.auth.bcrypt_cost, settings.auth.hashers()),
            sessions: sessions.clone(),
            tokens: tokens.clone(),
            queue: repositories.outbox.clone(),
            outbox: outbox.clone(),
            clock: clock.clone(),
        });
        let cache = ProfileCache::new(redis.clone());
        let profile = Arc::new(Profile {
            accounts: repositories.accounts.clone(),
            users: users.clone(),
            links: repositories.tokens.clone(),
            tokens,
            outbox: outbox.clone(),
            cache: cache.clone(),
            clock: clock.clone(),
        });
        let cursors = Cursors::new(signing_key);
        let profiles = Arc::new(Profiles { users, cache, cursors });
        Ok(Self { access, accounts, live, outbox, profile, profiles, sessions })
    }
}
