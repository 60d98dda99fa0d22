//! One's own profile.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::{LINK_LIFETIME, letter};
use super::attachments::Attachments;
use super::login_throttle::LoginThrottle;
use super::mail_rules::MailRules;
use super::password_changes::confirm;
use super::tokens::MailTokens;
use crate::cache::profiles::ProfileCache;
use crate::domain::attachments::Attachment;
use crate::domain::clock::Clock;
use crate::domain::ids::{AttachmentId, SessionId, UserId};
use crate::domain::mails::MailKind;
use crate::domain::text::{Email, Username};
use crate::domain::users::{User, account_gone, email_taken, not_a_picture};
use crate::error::{Error, Result};
use crate::repositories::accounts::{
    AccountChange, Accounts, EmailChange, EmailRequest, EmailWish,
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
    pub email: Option<AskedEmail>,
    /// An image that they uploaded, or none.
    pub picture: Option<Option<AttachmentId>>,
    /// The password, where they were asked for it.
    pub current_password: Option<String>,
}

/// An address that a session asks for.
#[derive(Debug)]
pub struct AskedEmail {
    /// The address.
    pub email: Email,
    /// Which session asks.
    pub session: SessionId,
}

/// The rules of one's own profile.
#[derive(Debug)]
pub struct Profile {
    pub(super) accounts: Accounts,
    pub(super) attachments: Arc<Attachments>,
    pub(super) users: Users,
    pub(super) links: Tokens,
    pub(super) tokens: MailTokens,
    pub(super) rules: MailRules,
    pub(super) throttle: LoginThrottle,
    pub(super) cache: ProfileCache,
    pub(super) clock: Clock,
    pub(super) email_change_needs_password: bool,
}

impl Profile {
    /// The account of someone who is signed in.
    pub async fn get(&self, user: UserId) -> Result<User> {
        self.users.find(user, self.clock.now()).await?.ok_or_else(account_gone)
    }

    /// Changes what is to change, all or nothing. A new address gets a mail and counts once the
    /// link in it is used; the present one is told at once.
    ///
    /// # Errors
    /// `forbidden` if a password is given and wrong, which counts like signing in with it;
    /// `account_locked`; `email_taken`, `username_taken`, `validation_failed` for a picture that
    /// cannot be one, or a password that is needed; `rate_limited` past the changes or mails that
    /// there may be; or the store is away.
    pub async fn change(&self, user: UserId, input: ProfileChange) -> Result<User> {
        let current = self.get(user).await?;
        self.check_password(&current, input.email.as_ref(), input.current_password).await?;
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
        let request = self.email_request(&current, email.as_ref());
        let change = AccountChange { username, email, picture };
        let changed = self.write(&current, &change, request.as_ref()).await?;
        self.cache.forget(user).await;
        Ok(changed)
    }

    /// Checks a password that is given, and that one is given where an address needs it.
    async fn check_password(
        &self,
        current: &User,
        asked: Option<&AskedEmail>,
        given: Option<String>,
    ) -> Result<()> {
        if let Some(given) = given {
            let (throttle, users) = (&self.throttle, &self.users);
            return confirm(throttle, users, &self.clock, current.id, given).await.map(drop);
        }
        let changes = asked.is_some_and(|asked| asked.email.as_str() != current.email);
        if changes && self.email_change_needs_password {
            let message = "field is required to change the e-mail address";
            return Err(Error::field("current_password", "required", message));
        }
        Ok(())
    }

    /// What asking for an address comes to.
    async fn email_change(
        &self,
        current: &User,
        asked: Option<AskedEmail>,
    ) -> Result<Option<EmailChange>> {
        let Some(AskedEmail { email: wanted, session }) = asked else { return Ok(None) };
        let change = |wish| Ok(Some(EmailChange { session, wish }));
        let is = |email: &str| Email::parse(email).is_ok_and(|email| email.key() == wanted.key());
        if is(&current.email) {
            let same = wanted.as_str() == current.email && current.pending_email.is_none();
            return if same { Ok(None) } else { change(EmailWish::Respell(wanted)) };
        }
        if self.users.others_have_email(current.id, &wanted, self.clock.now()).await? {
            return Err(email_taken());
        }
        if current.pending_email.as_deref().is_some_and(is) {
            let lately = self.clock.now().plus(LINK_LIFETIME).minus(MAIL_AGAIN);
            if self.links.lasts(current.id, &wanted, lately).await? {
                return Ok(None);
            }
        }
        change(EmailWish::Await(wanted))
    }

    fn email_request(&self, current: &User, email: Option<&EmailChange>) -> Option<EmailRequest> {
        let EmailWish::Await(to) = &email?.wish else { return None };
        let (kind, name) = (MailKind::ConfirmEmail, current.username.as_str());
        let (user, mailbox) = (current.id, self.rules.mailbox(to));
        Some(EmailRequest {
            letter: letter(&self.tokens, mailbox, &self.clock, user, kind, to, name),
            rule: self.rules.email_requests(user),
            notice: self.rules.email_requested(user, self.clock.now()),
        })
    }

    async fn write(
        &self,
        current: &User,
        change: &AccountChange,
        request: Option<&EmailRequest>,
    ) -> Result<User> {
        let now = self.clock.now();
        let email = Email::parse(&current.email).map_err(|broken| Error::internal(broken.code))?;
        let write = || self.accounts.change(current.id, &email, change, request, now);
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
