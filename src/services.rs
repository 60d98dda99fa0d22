//! The rules: who may, what must hold, what changes, who is told. No queries, no HTTP.

pub mod access;
pub mod access_revocation;
mod account_mails;
pub mod accounts;
pub mod attachments;
pub mod blocks;
pub mod budget;
pub mod conversations;
pub mod deletion;
pub mod deliveries;
pub mod email_undo;
pub mod export;
pub mod frames;
pub mod friends;
mod group_rules;
pub mod groups;
pub mod inbox;
pub mod indexer;
pub mod jobs;
pub mod login_throttle;
pub mod mail_rules;
pub mod messages;
pub mod networks;
pub mod notifications;
pub mod outgoing;
pub mod password_changes;
pub mod password_hasher;
pub mod profile;
pub mod relay;
pub mod search;
pub mod seed;
pub mod session_cache;
pub mod sessions;
pub mod sync;
pub mod tokens;
pub mod typing;
pub mod unread;
pub mod upload;
pub mod user_directory;

mod bounded;
mod deps;
mod images;
mod storage_quota;

use std::sync::Arc;

use access::Access;
use accounts::Accounts;
use attachments::Attachments;
use blocks::Blocks;
use budget::UnreadAnswers;
use conversations::Conversations;
use deletion::Deletion;
use deps::Hashers;
use email_undo::EmailUndo;
use export::Exports;
use frames::Frames;
use friends::Friends;
use groups::Groups;
use inbox::Inbox;
use indexer::Indexer;
use jobs::JobDeps;
use messages::Messages;
use notifications::Notifications;
use outgoing::Dispatch;
use password_changes::PasswordChanges;
use profile::Profile;
use search::Search;
use session_cache::SessionCache;
use sessions::Sessions;
use sync::Sync;
use user_directory::UserDirectory;

use crate::bus::Bus;
use crate::cache::Redis;
use crate::cache::profiles::ProfileCache;
use crate::config::Settings;
use crate::domain::clock::Clock;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::store::Repositories;

/// Every service of an instance; cloning shares them.
#[derive(Debug, Clone)]
pub struct Services {
    /// Access tokens.
    pub access: Arc<Access>,
    /// Signing up and in.
    pub accounts: Arc<Accounts>,
    /// Files.
    pub attachments: Arc<Attachments>,
    /// Blocking, unblocking, listing.
    pub blocks: Arc<Blocks>,
    /// Who may look into a conversation, and read marks.
    pub conversations: Arc<Conversations>,
    /// Leaving for good; its task is to be run.
    pub deletion: Arc<Deletion>,
    /// Taking a change of address back.
    pub email_undo: Arc<EmailUndo>,
    /// All that someone has here.
    pub exports: Arc<Exports>,
    /// Asking, answering, ending, listing.
    pub friends: Arc<Friends>,
    /// What clients are sent of what happened.
    pub frames: Arc<Frames>,
    /// Making and changing groups.
    pub groups: Arc<Groups>,
    /// All of one's conversations.
    pub inbox: Arc<Inbox>,
    /// Makes messages found; its task is to be run.
    pub indexer: Arc<Indexer>,
    /// What background jobs work with.
    pub jobs: JobDeps,
    /// Sending and reading messages.
    pub messages: Arc<Messages>,
    /// What users are told of.
    pub notifications: Arc<Notifications>,
    /// Which sessions stand; its task is to be run.
    pub live: Arc<SessionCache>,
    /// Another password.
    pub passwords: Arc<PasswordChanges>,
    /// Whether a password to be may not be one of the most common.
    pub refuse_common_passwords: bool,
    /// One's own profile.
    pub profile: Arc<Profile>,
    /// How people look to others.
    pub profiles: Arc<UserDirectory>,
    /// Finding messages.
    pub search: Arc<Search>,
    /// Signed-in devices.
    pub sessions: Arc<Sessions>,
    /// Event logs.
    pub sync: Arc<Sync>,
    /// Answers that clients have yet to take.
    pub unread: Arc<UnreadAnswers>,
}

/// What the services of an instance are made from.
#[derive(Debug, Clone, Copy)]
pub struct ServiceDeps<'a> {
    /// All settings.
    pub settings: &'a Settings,
    /// PKCS#8 (DER); every other key derives from it.
    pub signing_key: &'a [u8],
    /// bcrypt's cost of the dearest hash that is stored.
    pub highest_cost: u32,
    /// The time.
    pub clock: &'a Clock,
    /// The truth.
    pub repositories: &'a Repositories,
    /// What may be lost.
    pub redis: &'a Redis,
    /// To the devices of all instances.
    pub bus: &'a Bus,
    /// What is measured.
    pub metrics: &'a Metrics,
    /// Answers that clients have yet to take.
    pub unread: &'a Arc<UnreadAnswers>,
}

impl Services {
    /// Services, and what writes the messages that are sent through them, to be run as a task.
    ///
    /// # Errors
    /// When the signing key or the URL for mail is not one.
    #[expect(clippy::too_many_lines, reason = "a line for each service")]
    pub fn new(deps: ServiceDeps<'_>) -> Result<(Self, Dispatch)> {
        let ServiceDeps { clock, repositories, redis, unread, .. } = deps;
        let live = Arc::new(SessionCache::new(repositories.active_sessions.clone(), clock));
        let access = Arc::new(deps.access(&live)?);
        let sessions = Arc::new(deps.sessions(&access, &live));
        let hashers = Hashers::new(&deps);
        let attachments = Arc::new(deps.attachments());
        let cache = ProfileCache::new(redis.clone());
        let profile = Arc::new(deps.profile(&attachments, &hashers.throttle, &cache));
        let profiles = Arc::new(deps.profiles(cache.clone()));
        let (outgoing, dispatch) = deps.outgoing();
        let conversations = Arc::new(Conversations::new(repositories, clock));
        let (friends, blocks, groups) = deps.company(&profiles, &attachments);
        let notifications = Arc::new(deps.notifications(&profiles));
        let (frames, sync) = deps.frames(&profiles, &notifications);
        let deletion = deps.deletion(hashers.throttle.clone(), &live, &cache, &groups);
        let deletion = Arc::new(deletion);
        let services = Self {
            exports: Arc::new(deps.exports(&profile, &sessions, &friends, &blocks, &groups)),
            accounts: Arc::new(deps.accounts(&hashers, &sessions)),
            passwords: Arc::new(deps.passwords(&hashers, &live)),
            email_undo: Arc::new(deps.email_undo(&live)),
            blocks,
            messages: Arc::new(deps.messages(&conversations, &attachments, outgoing)),
            frames,
            notifications,
            friends,
            groups,
            inbox: Arc::new(deps.inbox(&profiles)),
            indexer: Arc::new(Indexer::new(repositories, clock)),
            jobs: deps.jobs(&attachments, &deletion)?,
            deletion,
            search: Arc::new(Search::new(repositories, &conversations, deps.cursors())),
            access,
            attachments,
            conversations,
            live,
            refuse_common_passwords: deps.settings.accounts.refuse_common_passwords,
            profile,
            profiles,
            sessions,
            sync,
            unread: unread.clone(),
        };
        Ok((services, dispatch))
    }
}
