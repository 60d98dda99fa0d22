//! What changes an account together with its mailed tokens and its mails: one transaction each,
//! so that no account waits for a mail that was never queued.

mod notify;

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;

use super::bson::raw;
use super::devices::Devices;
use super::embedded::EmbeddedAttachment;
use super::held_names::HeldNames;
use super::lockouts::Lockouts;
use super::notices::Notice;
use super::rate_windows::{RateRule, RateWindows};
use super::sessions::Sessions;
use super::store::{Store, Tx, duplicate, give_up};
use super::striped_locks::StripedLocks;
use super::tokens;
use super::tokens::Tokens;
use super::unused_files;
use super::users;
use super::users::{Users, present};
use crate::domain::attachments::Attachment;
use crate::domain::clock::Timestamp;
use crate::domain::events::{AddressedEvent, Audience, Event};
use crate::domain::ids::{AttachmentId, SessionId, UserId};
use crate::domain::jobs::Enqueue;
use crate::domain::mails::Mail;
use crate::domain::text::{Email, Username};
use crate::domain::users::{User, account_gone, email_taken, not_a_picture, username_taken};
use crate::error::{Error, Result};

/// The collections `users` and `tokens` together, and what else an account's password opens or
/// closes.
#[derive(Debug, Clone)]
pub struct Accounts {
    pub(super) store: Store,
    pub(super) users: Users,
    pub(super) tokens: Tokens,
    pub(super) sessions: Sessions,
    pub(super) lockouts: Lockouts,
    /// Names that were given up.
    pub held_names: HeldNames,
    /// Changes of one account are made one after another in an instance: each writes its row.
    locks: StripedLocks,
    pub(super) windows: RateWindows,
    pub(super) devices: Devices,
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its id.
    pub id: UserId,
    /// Its name.
    pub username: Username,
    /// Its address.
    pub email: Email,
    /// bcrypt's own text form.
    pub password_hash: String,
}

/// What is to change of an account; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// Its name.
    pub username: Option<Username>,
    /// Its address.
    pub email: Option<EmailChange>,
    /// Its picture, or that it has none any more.
    pub picture: Option<Option<Attachment>>,
}

/// A change of address, as a session asks for it.
#[derive(Debug, Clone)]
pub struct EmailChange {
    /// Which session asks.
    pub session: SessionId,
    /// The wish.
    pub wish: EmailWish,
}

/// The wished-for address.
#[derive(Debug, Clone)]
pub enum EmailWish {
    /// The same address, perhaps in other case; no other is waited for any more.
    Respell(Email),
    /// Another, once the link mailed there is used.
    Await(Email),
}

/// A mail whose link verifies an address.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Whose token it is.
    pub user: UserId,
    /// What to send.
    pub mail: Mail,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// Until when the token is good, and sending the mail makes sense.
    pub expires_at: Timestamp,
    /// How many mails the mailbox may get.
    pub rule: RateRule,
}

/// Mails and limits of a request for another address.
#[derive(Debug, Clone)]
pub struct EmailRequest {
    /// The mail to the address that is wanted.
    pub letter: Letter,
    /// How often the account may ask.
    pub rule: RateRule,
    /// The mail to the address that the account has.
    pub notice: Notice,
}

impl Accounts {
    /// The accounts of a store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            users: Users::new(store),
            tokens: Tokens::new(store),
            sessions: Sessions::new(store),
            lockouts: Lockouts::new(store),
            held_names: HeldNames::new(store),
            locks: StripedLocks::new(),
            windows: RateWindows::new(store),
            devices: Devices::new(store),
        }
    }

    /// Makes an unverified account, its token and its mail, all or none.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`, as the unique keys say; `rate_limited` past the mails that
    /// the mailbox may get; or the store is away.
    pub async fn sign_up(
        &self,
        account: &NewAccount,
        letter: &Letter,
        now: Timestamp,
    ) -> Result<User> {
        let row = row(account, false, now);
        let (this, letter, inserted) = (self.clone(), letter.clone(), row.clone());
        let (name, user) = (account.username.clone(), account.id);
        let body = async move |tx: &mut Tx| {
            this.held_names.claim(tx, &name, user, now).await?;
            let insert = this.users.rows.insert_one(&inserted).session(tx.session()).await;
            insert.map_err(conflict)?;
            this.post(&letter, now, tx).await
        };
        self.store.transact(body).await?;
        Ok(row.into())
    }

    /// Makes a verified account; `false` if it is there already.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`, as the unique keys say; or the store is away.
    pub async fn admit(&self, account: &NewAccount, now: Timestamp) -> Result<bool> {
        let (this, inserted) = (self.clone(), row(account, true, now));
        let (name, user) = (account.username.clone(), account.id);
        let body = async move |tx: &mut Tx| {
            this.held_names.claim(tx, &name, user, now).await?;
            let insert = this.users.rows.insert_one(&inserted).session(tx.session()).await;
            match insert {
                Ok(_) => Ok(true),
                // A failed insert ends the transaction; nothing else is written in it.
                Err(error) if duplicate(&error).as_deref() == Some("_id_") => Err(give_up()),
                Err(error) => Err(conflict(error)),
            }
        };
        Ok(self.store.transact_or_give_up(body).await?.unwrap_or(false))
    }

    /// Queues a letter, its token good from now on; refused past what its mailbox may get.
    async fn post(&self, letter: &Letter, now: Timestamp, tx: &mut Tx) -> Result<()> {
        self.windows.take_or_refuse(&letter.rule, now, tx).await?;
        let token = tokens::Row {
            digest: raw(letter.digest),
            kind: tokens::VERIFY.to_owned(),
            user_id: letter.user,
            email_key: letter.mail.to.key(),
            expires_at: letter.expires_at,
        };
        self.tokens.rows.insert_one(token).session(tx.session()).await?;
        let how = Enqueue::now(now).of_user(letter.user).expires_at(letter.expires_at);
        tx.jobs().enqueue(&letter.mail, how).await.map(drop)
    }

    /// Changes an account whose address is still `email`, and queues the mails that go with
    /// it, all or nothing; `None` if it has another address now, or is gone.
    ///
    /// # Errors
    /// `email_taken`, `username_taken`; `validation_failed` for a picture that is gone by now;
    /// `rate_limited` past the mails, requests or names that there may be; `session_revoked` if the
    /// session that asks for an address has ended; or the store is away.
    pub async fn change(
        &self,
        user: UserId,
        email: &Email,
        change: &AccountChange,
        request: Option<&EmailRequest>,
        now: Timestamp,
    ) -> Result<Option<User>> {
        let (this, request, change) = (self.clone(), request.cloned(), change.clone());
        let as_read = present(doc! { "_id": user, "email_key": email.key() }, now);
        let _turn = self.locks.lock(user.bytes()).await;
        let body = async move |tx: &mut Tx| {
            let before = this.users.rows.find_one(as_read.clone()).session(tx.session()).await?;
            if let (Some(before), Some(name)) = (&before, &change.username) {
                this.rename(tx, before, name, now).await?;
            }
            let update = doc! { "$set": change.as_update() };
            let row = this.users.rows.find_one_and_update(as_read.clone(), update);
            let row = row.return_document(ReturnDocument::After).session(tx.session()).await;
            let Some(row) = row.map_err(conflict)? else { return Ok(None) };
            let shown = [before.as_ref(), Some(&row)].map(|row| Some(row?.picture.as_ref()?.id));
            show(tx, shown, now).await?;
            if before.is_some_and(|before| before.username != row.username) || shown[0] != shown[1]
            {
                let event = Event::ProfileUpdated { user };
                let told = AddressedEvent { event, audience: Audience::with_friends(user) };
                tx.events().add([told], now).await?;
            }
            if let Some(email) = &change.email {
                this.ask_for_email(&row, email, request.as_ref(), now, tx).await?;
            }
            Ok(Some(row.into()))
        };
        self.store.transact(body).await
    }

    /// Withdraws the links to addresses that are not wanted any more; mails the one that is, and
    /// tells the address that the account has.
    async fn ask_for_email(
        &self,
        row: &users::Row,
        change: &EmailChange,
        request: Option<&EmailRequest>,
        now: Timestamp,
        tx: &mut Tx,
    ) -> Result<()> {
        // A recovery of the account writes its row and ends its sessions: requests of earlier
        // sessions come to nothing.
        if !self.sessions.stands(change.session, tx).await? {
            return Err(account_gone());
        }
        let wanted = row.pending().map(|email| email.key());
        let withdrawn = doc! {
            "user_id": row.id, "kind": tokens::VERIFY, "email_key": { "$ne": wanted },
        };
        self.tokens.rows.delete_many(withdrawn).session(tx.session()).await?;
        let Some(request) = request else { return Ok(()) };
        self.windows.take_or_refuse(&request.rule, now, tx).await?;
        self.post(&request.letter, now, tx).await?;
        self.notify(row, &request.notice, now, tx).await
    }

    /// Takes the new name, and holds the old one for its owner.
    async fn rename(
        &self,
        tx: &mut Tx,
        before: &users::Row,
        name: &Username,
        now: Timestamp,
    ) -> Result<()> {
        if before.username_key == name.key() {
            return Ok(());
        }
        self.held_names.claim(tx, name, before.id, now).await?;
        self.held_names.hold(tx, &before.username_key, before.id, now).await
    }
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
    unused_files::let_go(tx, before, now).await
}

impl AccountChange {
    fn as_update(&self) -> Document {
        let mut set = Document::new();
        if let Some(name) = &self.username {
            set.insert("username", name.as_str());
            set.insert("username_key", name.key());
        }
        match self.email.as_ref().map(|change| &change.wish) {
            Some(EmailWish::Respell(email)) => {
                set.insert("email", email.as_str());
                set.insert("pending_email", Bson::Null);
            }
            Some(EmailWish::Await(email)) => {
                set.insert("pending_email", email.as_str());
            }
            None => {}
        }
        if let Some(picture) = &self.picture {
            let picture = picture.as_ref().map(EmbeddedAttachment::from);
            set.insert("picture", mongodb::bson::serialize_to_bson(&picture).unwrap_or_default());
        }
        set
    }
}

/// The row of a new account.
pub(super) fn row(account: &NewAccount, verified: bool, now: Timestamp) -> users::Row {
    users::Row {
        id: account.id,
        username: account.username.as_str().to_owned(),
        username_key: account.username.key(),
        email: account.email.as_str().to_owned(),
        email_key: account.email.key(),
        pending_email: None,
        address_keys: vec![account.email.key()],
        former_emails: Vec::new(),
        verified,
        password_hash: account.password_hash.clone(),
        picture: None,
        group_count: 0,
        sign_ins: 0,
        created_at: now,
        deleted_at: None,
    }
}

/// The unique key that stood against a write of an account.
pub(super) fn conflict(error: mongodb::error::Error) -> Error {
    match duplicate(&error).as_deref() {
        Some("email_key" | "address_keys") => email_taken(),
        Some("username_key") => username_taken(),
        Some(_) => Error::internal(error),
        None => error.into(),
    }
}
