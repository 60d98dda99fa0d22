//! One's own profile.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::{LINK_LIFETIME, letter};
use super::attachments::Attachments;
use super::outbox::Outbox;
use super::password::account_gone;
use super::tokens::MailTokens;
use crate::cache::profiles::ProfileCache;
use crate::domain::attachments::Attachment;
use crate::domain::clock::Clock;
use crate::domain::ids::{AttachmentId, UserId};
use crate::domain::mails::MailKind;
use crate::domain::text::{Email, Username};
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::repositories::accounts::{
    AccountChange, Accounts, EmailChange, Letter, email_taken, not_a_picture,
};
use crate::repositories::tokens::Tokens;
use crate::repositories::users::Users;

/// How long asking for the same address again mails nothing: nobody's mailbox is to be filled.
const MAIL_AGAIN: Duration = Duration::from_mins(1);

/// What someone wants changed; what is `None` stays.
#[derive(Debug, Default)]
pub struct ProfileChange {
    /// Another name.
    pub username: Option<Username>,
    /// Another address.
    pub email: Option<Email>,
    /// An image that they uploaded, or none.
    pub picture: Option<Option<AttachmentId>>,
}

/// The rules of one's own profile.
#[derive(Debug)]
pub struct Profile {
    pub(super) accounts: Accounts,
    pub(super) attachments: Arc<Attachments>,
    pub(super) users: Users,
    pub(super) links: Tokens,
    pub(super) tokens: MailTokens,
    pub(super) outbox: Arc<Outbox>,
    pub(super) cache: ProfileCache,
    pub(super) clock: Clock,
}

impl Profile {
    /// The account of someone who is signed in.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn get(&self, user: UserId) -> Result<User> {
        self.users.find(user, self.clock.now()).await?.ok_or_else(account_gone)
    }

    /// Changes what is to change, all or nothing. A new address gets a mail and counts once the
    /// link in it is used.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`, `validation_failed` for a picture that cannot be one; or
    /// the store is away.
    pub async fn change(&self, user: UserId, input: ProfileChange) -> Result<User> {
        let current = self.get(user).await?;
        let email = self.email_change(&current, input.email).await?;
        let picture = match input.picture {
            Some(Some(file)) => Some(Some(self.own_image(user, file).await?)),
            Some(None) => Some(None),
            None => None,
        };
        let username = input.username.filter(|name| name.as_str() != current.username);
        if username.is_none() && email.is_none() && picture.is_none() {
            return Ok(current);
        }
        let letter = self.letter(&current, email.as_ref());
        let change = AccountChange { username, email, picture };
        let changed = self.write(&current, &change, letter.as_ref()).await?;
        self.cache.forget(user).await;
        self.outbox.wake();
        Ok(changed)
    }

    /// What asking for an address comes to.
    async fn email_change(
        &self,
        current: &User,
        wanted: Option<Email>,
    ) -> Result<Option<EmailChange>> {
        let Some(wanted) = wanted else { return Ok(None) };
        let is = |email: &str| Email::parse(email).is_ok_and(|email| email.key() == wanted.key());
        if is(&current.email) {
            let same = wanted.as_str() == current.email && current.pending_email.is_none();
            return Ok((!same).then_some(EmailChange::Respell(wanted)));
        }
        if self.users.has_verified_email(&wanted).await? {
            return Err(email_taken());
        }
        if current.pending_email.as_deref().is_some_and(is) {
            let lately = self.clock.now().plus(LINK_LIFETIME).minus(MAIL_AGAIN);
            if self.links.lasts(current.id, &wanted, lately).await? {
                return Ok(None);
            }
        }
        Ok(Some(EmailChange::Await(wanted)))
    }

    fn letter(&self, current: &User, email: Option<&EmailChange>) -> Option<Letter> {
        let Some(EmailChange::Await(to)) = email else { return None };
        let (kind, name) = (MailKind::ConfirmEmail, current.username.as_str());
        Some(letter(&self.tokens, &self.clock, current.id, kind, to, name))
    }

    async fn write(
        &self,
        current: &User,
        change: &AccountChange,
        letter: Option<&Letter>,
    ) -> Result<User> {
        let now = self.clock.now();
        let email = Email::parse(&current.email).map_err(|broken| Error::internal(broken.code))?;
        let write = || self.accounts.change(current.id, &email, change, letter, now);
        let changed = match (write().await, &change.username) {
            (Err(error), Some(name)) if error.code() == "username_taken" => {
                if self.users.has_username(name, now).await? {
                    return Err(error);
                }
                self.users.free_name(name, now).await?;
                write().await?
            }
            (outcome, _) => outcome?,
        };
        // Its address changed in this very moment.
        changed.ok_or_else(Error::unavailable)
    }

    /// An image that this user uploaded, to be shown beside the name.
    async fn own_image(&self, user: UserId, file: AttachmentId) -> Result<Attachment> {
        self.attachments.picture_of(user, file).await?.ok_or_else(not_a_picture)
    }
}
