//! One's own profile.

use std::sync::Arc;
use std::time::Duration;

use super::account_mails::{LINK_LIFETIME, SecurityNotice, Verification, count_or_refuse};
use super::accounts::{conflict, names};
use super::attachments::Attachments;
use super::attachments::uses::let_go;
use super::login_throttle::LoginThrottle;
use super::mail_rules::MailRules;
use super::password_changes::{confirm, sign_in_address};
use crate::cache::profiles::ProfileCache;
use crate::domain::accounts::{Account, AccountChange, EmailWish};
use crate::domain::attachments::Attachment;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::events::{AddressedEvent, Audience, Event};
use crate::domain::ids::{AttachmentId, SessionId, UserId};
use crate::domain::mails::MailKind;
use crate::domain::rate_rules::RateRule;
use crate::domain::text::{Email, Username};
use crate::domain::users::{User, account_gone, email_taken, not_a_picture};
use crate::error::{Error, Result};
use crate::store::striped_locks::StripedLocks;
use crate::store::{Store, Tx};

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

/// A change of an account that is ready to be written.
#[derive(Debug, Clone)]
struct Prepared {
    change: AccountChange,
    /// The session that asks for an address, if one is asked for.
    session: Option<SessionId>,
    request: Option<EmailRequest>,
}

/// Mails and limits of a request for another address.
#[derive(Debug, Clone)]
struct EmailRequest {
    /// The mail to the address that is wanted.
    mail: Verification,
    /// How often the account may ask.
    rule: RateRule,
    /// The mail to the address that the account has.
    notice: SecurityNotice,
}

/// The rules of one's own profile.
#[derive(Debug)]
pub struct Profile {
    pub(super) store: Store,
    pub(super) attachments: Arc<Attachments>,
    /// Changes of one account are made one after another in an instance: each writes its row.
    pub(super) locks: StripedLocks,
    pub(super) rules: MailRules,
    pub(super) throttle: LoginThrottle,
    pub(super) cache: ProfileCache,
    pub(super) clock: Clock,
    pub(super) email_change_needs_password: bool,
}

impl Profile {
    /// The account of someone who is signed in.
    pub async fn get(&self, user: UserId) -> Result<User> {
        let account = self.store.users().find(user, self.clock.now()).await?;
        account.map(|account| account.user).ok_or_else(account_gone)
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
        let session = input.email.as_ref().map(|asked| asked.session);
        let email = match input.email {
            Some(asked) => self.email_wish(&current, asked.email).await?,
            None => None,
        };
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
        let session = session.filter(|_| email.is_some());
        let change = AccountChange { username, email, picture };
        let changed = self.write(&current, Prepared { change, session, request }).await?;
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
            let (throttle, store) = (&self.throttle, &self.store);
            return confirm(throttle, store, &self.clock, current.id, given).await.map(drop);
        }
        let changes = asked.is_some_and(|asked| asked.email.as_str() != current.email);
        if changes && self.email_change_needs_password {
            let message = "field is required to change the e-mail address";
            return Err(Error::field("current_password", "required", message));
        }
        Ok(())
    }

    /// The change that asking for an address comes to.
    async fn email_wish(&self, current: &User, wanted: Email) -> Result<Option<EmailWish>> {
        let (now, store) = (self.clock.now(), &self.store);
        let is = |email: &str| Email::parse(email).is_ok_and(|email| email.key() == wanted.key());
        if is(&current.email) {
            let same = wanted.as_str() == current.email && current.pending_email.is_none();
            return Ok((!same).then_some(EmailWish::Respell(wanted)));
        }
        if store.users().others_have_email(current.id, &wanted, now).await? {
            return Err(email_taken());
        }
        if current.pending_email.as_deref().is_some_and(is) {
            let lately = now.plus(LINK_LIFETIME).minus(MAIL_AGAIN);
            if store.tokens().lasts(current.id, &wanted, lately).await? {
                return Ok(None);
            }
        }
        Ok(Some(EmailWish::Await(wanted)))
    }

    fn email_request(&self, current: &User, email: Option<&EmailWish>) -> Option<EmailRequest> {
        let EmailWish::Await(to) = email? else { return None };
        let (now, owner) = (self.clock.now(), (current.id, current.username.as_str()));
        Some(EmailRequest {
            mail: self.rules.verification(MailKind::ConfirmEmail, owner, to, now),
            rule: self.rules.email_requests(current.id),
            notice: self.rules.email_requested(current.id, now),
        })
    }

    async fn write(&self, current: &User, prepared: Prepared) -> Result<User> {
        let now = self.clock.now();
        let changed = match (self.write_once(current, &prepared).await, &prepared.change.username) {
            (Err(error), Some(name)) if error.code() == "username_taken" => {
                if self.store.users().has_username(name, now).await? {
                    return Err(error);
                }
                names::free(&self.store, name, now).await?;
                self.write_once(current, &prepared).await?
            }
            (outcome, _) => outcome?,
        };
        // Its address changed in this very moment.
        changed.ok_or_else(Error::unavailable)
    }

    /// Changes an account that still has the address of `current`, and enqueues the mails that go
    /// with it, all or nothing; `None` if it has another address now, or is gone.
    async fn write_once(&self, current: &User, prepared: &Prepared) -> Result<Option<User>> {
        let (user, key) = (current.id, sign_in_address(current)?.key());
        let (prepared, now) = (prepared.clone(), self.clock.now());
        let _turn = self.locks.lock(user.bytes()).await;
        self.store
            .transact(async move |tx: &mut Tx| {
                let before = tx.users().find(user, now).await?;
                let Some(before) = before.filter(|account| account.emails.key == key) else {
                    return Ok(None);
                };
                if let Some(name) = &prepared.change.username {
                    rename(tx, &before, name, now).await?;
                }
                let after = tx.users().set(user, &prepared.change).await.map_err(conflict)?;
                let Some(after) = after else { return Ok(None) };
                let pictures = [&before, &after].map(|it| it.user.profile_picture.as_ref());
                let pictures = pictures.map(|picture| picture.map(|picture| picture.id));
                show(tx, pictures, now).await?;
                if before.user.username != after.user.username || pictures[0] != pictures[1] {
                    let event = Event::ProfileUpdated { user };
                    let told = AddressedEvent { event, audience: Audience::with_friends(user) };
                    tx.events().add([told], now).await?;
                }
                if let Some(session) = prepared.session {
                    ask_for_email(tx, &after, session, prepared.request.as_ref(), now).await?;
                }
                Ok(Some(after.user))
            })
            .await
    }

    /// An image that this user uploaded, to be shown beside the name.
    async fn own_image(&self, user: UserId, file: AttachmentId) -> Result<Attachment> {
        self.attachments.picture_of(user, file).await?.ok_or_else(not_a_picture)
    }
}

/// Takes the new name, and holds the old one for its owner.
async fn rename(tx: &mut Tx, before: &Account, name: &Username, now: Timestamp) -> Result<()> {
    if before.username_key == name.key() {
        return Ok(());
    }
    let user = before.user.id;
    names::claim(tx, name, user, now).await?;
    names::hold(tx, before.username_key.clone(), user, now).await
}

/// Keeps the new picture, and lets the old one go.
async fn show(
    tx: &mut Tx,
    [before, after]: [Option<AttachmentId>; 2],
    now: Timestamp,
) -> Result<()> {
    if before == after {
        return Ok(());
    }
    if !tx.attachments().hold(after).await? {
        return Err(not_a_picture());
    }
    let_go(tx, before, now).await
}

/// Withdraws the links to addresses that are not wanted any more; mails the one that is, and tells
/// the address that the account has.
async fn ask_for_email(
    tx: &mut Tx,
    account: &Account,
    session: SessionId,
    request: Option<&EmailRequest>,
    now: Timestamp,
) -> Result<()> {
    // A recovery of the account writes its row and ends its sessions: requests of earlier sessions
    // come to nothing.
    if !tx.sessions().exists(session).await? {
        return Err(account_gone());
    }
    let wanted = account.pending().map(|email| email.key());
    tx.tokens().withdraw_of_other_addresses(account.user.id, wanted).await?;
    let Some(request) = request else { return Ok(()) };
    count_or_refuse(tx, &request.rule, now).await?;
    request.mail.enqueue(tx, now).await?;
    request.notice.enqueue(tx, account, now).await
}
