//! Each service from what all are made from.

use std::sync::Arc;

use super::ServiceDeps;
use super::access::Access;
use super::access_revocation::AccessRevocation;
use super::accounts::Accounts;
use super::attachments::Attachments;
use super::blocks::Blocks;
use super::conversations::Conversations;
use super::deletion::Deletion;
use super::email_undo::EmailUndo;
use super::export::Exports;
use super::frames::Frames;
use super::friends::Friends;
use super::groups::Groups;
use super::inbox::Inbox;
use super::jobs::JobDeps;
use super::jobs::mail::MailDelivery;
use super::login_throttle::LoginThrottle;
use super::mail_rules::MailRules;
use super::messages::{Changes, Messages, View};
use super::networks::Networks;
use super::notifications::Notifications;
use super::outgoing::{Dispatch, Outgoing};
use super::password_changes::PasswordChanges;
use super::password_hasher::PasswordHasher;
use super::profile::Profile;
use super::session_cache::SessionCache;
use super::sessions::Sessions;
use super::sync::Sync;
use super::tokens::{MailTokens, RefreshTokens};
use super::unread::Unread;
use super::user_directory::UserDirectory;
use crate::cache::profiles::ProfileCache;
use crate::domain::page::Cursors;
use crate::error::{Error, Result};
use crate::mail::Mailer;
use crate::store::striped_locks::StripedLocks;

impl ServiceDeps<'_> {
    pub(super) fn public_url(&self) -> &str {
        self.settings.server.public_url.as_str().trim_end_matches('/')
    }

    pub(super) fn cursors(&self) -> Cursors {
        Cursors::new(self.signing_key)
    }

    fn revocation(&self) -> AccessRevocation {
        AccessRevocation::new(self.bus, &self.repositories.events)
    }

    pub(super) fn access(&self, live: &Arc<SessionCache>) -> Result<Access> {
        Access::new(self.public_url(), self.signing_key, self.clock, live.clone())
    }

    fn friends(&self, profiles: &Arc<UserDirectory>) -> Friends {
        let quota = self.settings.quotas.pending_requests;
        Friends::new(self.repositories, profiles.clone(), self.cursors(), self.clock, quota)
    }

    fn blocks(&self, profiles: &Arc<UserDirectory>) -> Blocks {
        Blocks::new(
            self.repositories,
            profiles.clone(),
            self.revocation(),
            self.cursors(),
            self.clock,
        )
    }

    fn networks(&self) -> Networks {
        Networks::new(&self.repositories.store, self.signing_key, self.clock)
    }

    pub(super) fn attachments(&self) -> Attachments {
        let quota = self.settings.quotas.storage_bytes();
        Attachments::new(self.repositories, self.clock, self.unread).with_quota(quota)
    }

    pub(super) fn jobs(
        &self,
        attachments: &Arc<Attachments>,
        deletion: &Arc<Deletion>,
    ) -> Result<JobDeps> {
        let mails = MailDelivery {
            store: self.repositories.store.clone(),
            mailer: Mailer::new(&self.settings.mail).map_err(Error::internal)?,
            tokens: MailTokens::new(self.signing_key),
            rules: self.mail_rules(),
            public_url: self.public_url().to_owned(),
            clock: self.clock.clone(),
        };
        Ok(JobDeps {
            repositories: self.repositories.clone(),
            attachments: attachments.clone(),
            deletion: deletion.clone(),
            mails: Arc::new(mails),
            clock: self.clock.clone(),
        })
    }

    pub(super) fn sessions(&self, access: &Arc<Access>, live: &Arc<SessionCache>) -> Sessions {
        Sessions {
            store: self.repositories.store.clone(),
            access: access.clone(),
            live: live.clone(),
            rules: self.mail_rules(),
            refresh: RefreshTokens::new(self.signing_key),
            cursors: self.cursors(),
            clock: self.clock.clone(),
            networks: self.networks(),
            locks: StripedLocks::new(),
            quota: self.settings.quotas.sessions,
        }
    }

    pub(super) fn accounts(&self, hashers: &Hashers, sessions: &Arc<Sessions>) -> Accounts {
        Accounts {
            passwords: hashers.passwords.clone(),
            throttle: hashers.throttle.clone(),
            networks: self.networks(),
            sessions: sessions.clone(),
            rules: self.mail_rules(),
            store: self.repositories.store.clone(),
            clock: self.clock.clone(),
        }
    }

    pub(super) fn passwords(&self, hashers: &Hashers, live: &Arc<SessionCache>) -> PasswordChanges {
        PasswordChanges {
            passwords: hashers.passwords.clone(),
            throttle: hashers.throttle.clone(),
            live: live.clone(),
            rules: self.mail_rules(),
            store: self.repositories.store.clone(),
            clock: self.clock.clone(),
        }
    }

    fn mail_rules(&self) -> MailRules {
        MailRules::new(self.signing_key)
    }

    pub(super) fn email_undo(&self, live: &Arc<SessionCache>) -> EmailUndo {
        EmailUndo {
            store: self.repositories.store.clone(),
            rules: self.mail_rules(),
            live: live.clone(),
            clock: self.clock.clone(),
        }
    }

    pub(super) fn deletion(
        &self,
        throttle: LoginThrottle,
        live: &Arc<SessionCache>,
        cache: &ProfileCache,
        groups: &Arc<Groups>,
    ) -> Deletion {
        Deletion {
            repositories: self.repositories.clone(),
            changes: Changes::new(self.repositories),
            groups: groups.clone(),
            throttle,
            live: live.clone(),
            cache: cache.clone(),
            clock: self.clock.clone(),
        }
    }

    pub(super) fn exports(
        &self,
        profile: &Arc<Profile>,
        sessions: &Arc<Sessions>,
        friends: &Arc<Friends>,
        blocks: &Arc<Blocks>,
        groups: &Arc<Groups>,
    ) -> Exports {
        Exports {
            repositories: self.repositories.clone(),
            profile: profile.clone(),
            sessions: sessions.clone(),
            friends: friends.clone(),
            blocks: blocks.clone(),
            groups: groups.clone(),
            unread: self.unread.clone(),
        }
    }

    pub(super) fn profiles(&self, cache: ProfileCache) -> UserDirectory {
        UserDirectory { store: self.repositories.store.clone(), cache, cursors: self.cursors() }
    }

    pub(super) fn profile(
        &self,
        attachments: &Arc<Attachments>,
        throttle: &LoginThrottle,
        cache: &ProfileCache,
    ) -> Profile {
        Profile {
            store: self.repositories.store.clone(),
            attachments: attachments.clone(),
            locks: StripedLocks::new(),
            rules: self.mail_rules(),
            throttle: throttle.clone(),
            cache: cache.clone(),
            clock: self.clock.clone(),
            email_change_needs_password: self.settings.accounts.email_change_needs_password,
        }
    }

    pub(super) fn messages(
        &self,
        conversations: &Arc<Conversations>,
        attachments: &Arc<Attachments>,
        outgoing: Outgoing,
    ) -> Messages {
        Messages {
            repositories: self.repositories.clone(),
            conversations: conversations.clone(),
            attachments: attachments.clone(),
            changes: Changes::new(self.repositories),
            outgoing,
            redis: self.redis.clone(),
            view: View::new(self.repositories),
            cursors: self.cursors(),
            clock: self.clock.clone(),
            require_friendship: self.settings.messages.require_friendship,
        }
    }

    pub(super) fn notifications(&self, profiles: &Arc<UserDirectory>) -> Notifications {
        Notifications::new(self.repositories, profiles.clone(), self.cursors(), self.clock)
    }

    pub(super) fn inbox(&self, profiles: &Arc<UserDirectory>) -> Inbox {
        Inbox {
            repositories: self.repositories.clone(),
            unread: Unread::new(&self.repositories.store),
            profiles: profiles.clone(),
            view: View::new(self.repositories),
            cursors: self.cursors(),
            clock: self.clock.clone(),
        }
    }

    pub(super) fn company(
        &self,
        profiles: &Arc<UserDirectory>,
        attachments: &Arc<Attachments>,
    ) -> (Arc<Friends>, Arc<Blocks>, Arc<Groups>) {
        let (friends, blocks) = (self.friends(profiles), self.blocks(profiles));
        let groups = self.groups(profiles, attachments);
        (Arc::new(friends), Arc::new(blocks), Arc::new(groups))
    }

    pub(super) fn frames(
        &self,
        profiles: &Arc<UserDirectory>,
        notifications: &Arc<Notifications>,
    ) -> (Arc<Frames>, Arc<Sync>) {
        let frames = Arc::new(Frames::new(self.repositories, profiles, notifications));
        let sync = Sync::new(&frames, self.bus, self.clock);
        (frames, Arc::new(sync))
    }

    pub(super) fn outgoing(&self) -> (Outgoing, Dispatch) {
        Outgoing::new(self.repositories, &self.metrics.messages)
    }

    fn groups(&self, profiles: &Arc<UserDirectory>, attachments: &Arc<Attachments>) -> Groups {
        Groups::new(
            self.repositories,
            profiles.clone(),
            attachments.clone(),
            self.revocation(),
            self.cursors(),
            self.clock,
            self.settings.groups.max_members,
        )
        .with_quota(self.settings.quotas.groups_per_day)
    }
}

/// What works with passwords: one pool for all, and one count of wrong ones.
pub(super) struct Hashers {
    pub(super) passwords: PasswordHasher,
    pub(super) throttle: LoginThrottle,
}

impl Hashers {
    pub(super) fn new(deps: &ServiceDeps<'_>) -> Self {
        let auth = &deps.settings.auth;
        let passwords = PasswordHasher::new(auth.bcrypt_cost, deps.highest_cost, auth.hashers());
        let ServiceDeps { repositories, signing_key, clock, .. } = deps;
        let throttle =
            LoginThrottle::new(&repositories.store, passwords.clone(), signing_key, clock);
        Self { passwords, throttle }
    }
}
