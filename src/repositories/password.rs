//! What an account's password opens and closes. Each is one transaction that writes the account's
//! row, so that those which run at once come one after the other: nobody is signed in by a
//! password that was replaced in the meantime.

use mongodb::bson::{Bson, Document, doc};

use super::accounts::{Accounts, Letter};
use super::bson::{binary, raw};
use super::lockouts::LockoutKey;
use super::notices::Notice;
use super::sessions::SessionRoom;
use super::store::Tx;
use super::users::{Credentials, NetworkKey, present};
use super::{sessions, tokens, users};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{JobId, SessionId, UserId};
use crate::domain::sessions::{Device, Session};
use crate::error::Result;

/// What a link that is mailed on request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// To verify the address of a new account.
    Verify,
    /// To set a new password.
    Reset,
}

impl LinkKind {
    fn name(self) -> &'static str {
        match self {
            Self::Verify => tokens::VERIFY,
            Self::Reset => tokens::RESET,
        }
    }

    /// Whether an address may have such a link of an account.
    fn is_for(self, row: &users::Row, email_key: &str, now: Timestamp) -> bool {
        match self {
            Self::Verify => row.email_key == email_key,
            Self::Reset => row.recovery(now).1 == email_key,
        }
    }

    /// How many can be good at once for one account: more are not mailed, so that nobody's
    /// mailbox is filled.
    fn most(self) -> u64 {
        match self {
            Self::Verify => 10,
            Self::Reset => 5,
        }
    }
}

/// A session that is to begin.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Where it is used from.
    pub device: Device,
    /// The network of that.
    pub network: NetworkKey,
    /// How many sessions there may be; `None` means any number.
    pub room: Option<SessionRoom>,
}

/// Networks that an account is known to sign in from: the latest ones.
const NETWORKS: i32 = 8;

/// Counts a sign-in, and remembers where it came from.
fn signed_in_from(network: NetworkKey) -> Vec<Document> {
    let network = binary(network);
    let others = doc! { "$filter": {
        "input": { "$ifNull": ["$networks", []] }, "as": "it",
        "cond": { "$ne": ["$$it", network.clone()] },
    } };
    let networks = doc! { "$concatArrays": [[network], others] };
    vec![doc! { "$set": {
        "sign_ins": { "$add": [{ "$ifNull": ["$sign_ins", 0_i64] }, 1_i64] },
        "networks": { "$slice": [networks, NETWORKS] },
    } }]
}

impl Accounts {
    /// Begins a session of someone whose password this hash was found to be of, and tells them if
    /// it is from a device that is not known; `None` if it is not their password any more. If the
    /// account then had more sessions than it may, those used longest ago end: which.
    pub async fn start_session(
        &self,
        known: &Credentials,
        sign_in: SignIn,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<Option<(Session, Vec<SessionId>)>> {
        let (user, notice) = (known.user.id, notice.clone());
        let row = sessions::Row::new(user, &sign_in.device, now);
        let (this, unchanged) = (self.clone(), known.unchanged(now));
        self.store
            .transact(async move |tx: &mut Tx| {
                let counted = signed_in_from(sign_in.network);
                let update = this.users.rows.find_one_and_update(unchanged.clone(), counted);
                let Some(before) = update.session(tx.session()).await? else { return Ok(None) };
                if this.is_new_device(&before, &sign_in.device, now, tx).await? {
                    this.notify(&before, &notice, now, tx).await?;
                }
                // Written above, so that of many at once each sees those before it.
                let ended = match &sign_in.room {
                    Some(room) => this.sessions.make_room(tx, user, room, now).await?,
                    None => Vec::new(),
                };
                this.sessions.rows.insert_one(&row).session(tx.session()).await?;
                Ok(Some((row.clone().into(), ended)))
            })
            .await
    }

    /// Whether a device is new to an account, which remembers it; the first one ever is not.
    async fn is_new_device(
        &self,
        row: &users::Row,
        device: &Device,
        now: Timestamp,
        tx: &mut Tx,
    ) -> Result<bool> {
        let is_new = self.devices.remember(row.id, device, now, tx).await?;
        Ok(is_new
            && row.sign_ins > 0
            && self.sessions.are_elsewhere(row.id, device, now, tx).await?)
    }

    /// Replaces a password, ends all sessions but `kept` and all links that would replace it
    /// again, withdraws a change of address that waits for its link, and tells the owner; `false`
    /// if it is not this one any more.
    pub async fn change_password(
        &self,
        known: &Credentials,
        password_hash: &str,
        kept: SessionId,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<bool> {
        let user = known.user.id;
        let (this, unchanged) = (self.clone(), known.unchanged(now));
        let notice = notice.clone();
        let replaced =
            doc! { "$set": { "password_hash": password_hash, "pending_email": Bson::Null } };
        self.store
            .transact(async move |tx: &mut Tx| {
                let update =
                    this.users.rows.find_one_and_update(unchanged.clone(), replaced.clone());
                let Some(before) = update.session(tx.session()).await? else { return Ok(false) };
                this.end_links(user, tx).await?;
                this.notify(&before, &notice, now, tx).await?;
                let others = doc! { "user_id": user, "_id": { "$ne": kept } };
                this.sessions.rows.delete_many(others).session(tx.session()).await?;
                Ok(true)
            })
            .await
    }

    /// Uses a token to set a new password: whose it is, who is told. All sessions end, and all
    /// links: also one to another address, which whoever got in may have asked for. The token shows
    /// as well that the address is theirs, so the account is verified, and nobody is locked out of
    /// it. `None` if the token is not good, or its address may not set a password now.
    pub async fn reset_password(
        &self,
        digest: [u8; 32],
        password_hash: &str,
        lockout: LockoutKey,
        notice: &Notice,
        now: Timestamp,
    ) -> Result<Option<UserId>> {
        let (this, password_hash) = (self.clone(), password_hash.to_owned());
        let notice = notice.clone();
        self.store
            .transact(async move |tx: &mut Tx| {
                let token = tokens::good(tokens::RESET, digest, now);
                let token = this.tokens.rows.find_one(token).session(tx.session()).await?;
                let Some(token) = token else { return Ok(None) };
                let owner = present(doc! { "_id": token.user_id }, now);
                let owner = this.users.rows.find_one(owner).session(tx.session()).await?;
                let owner = owner.filter(|row| row.recovery(now).1 == token.email_key);
                let Some(owner) = owner else { return Ok(None) };
                let set = doc! { "$set": {
                    "password_hash": &password_hash, "verified": true, "pending_email": Bson::Null,
                } };
                let update = this.users.rows.update_one(doc! { "_id": owner.id }, set);
                update.session(tx.session()).await?;
                this.end_links(owner.id, tx).await?;
                this.notify(&owner, &notice, now, tx).await?;
                let sessions = doc! { "user_id": owner.id };
                this.sessions.rows.delete_many(sessions).session(tx.session()).await?;
                let locked = doc! { "_id": binary(lockout) };
                this.lockouts.rows.delete_one(locked).session(tx.session()).await?;
                Ok(Some(token.user_id))
            })
            .await
    }

    /// Ends the links that verify an address or set a password. Those that undo a change of
    /// address stay: whoever made the change may have the password, too.
    async fn end_links(&self, user: UserId, tx: &mut Tx) -> Result<()> {
        let links = doc! { "user_id": user, "kind": { "$in": [tokens::VERIFY, tokens::RESET] } };
        self.tokens.rows.delete_many(links).session(tx.session()).await?;
        Ok(())
    }

    /// Ends all sessions and links of an account, and forgets its devices.
    pub(super) async fn close(&self, user: UserId, tx: &mut Tx) -> Result<()> {
        let theirs = doc! { "user_id": user };
        self.tokens.rows.delete_many(theirs.clone()).session(tx.session()).await?;
        self.sessions.rows.delete_many(theirs).session(tx.session()).await?;
        self.devices.forget(user, tx).await
    }

    /// Makes the link of a mail that was asked for good, and the mail's job the account's; `false`
    /// if the address is not its own by now, or it has as many links as it may have, or the mailbox
    /// got as many mails.
    pub async fn keep_link(
        &self,
        letter: &Letter,
        job: JobId,
        kind: LinkKind,
        now: Timestamp,
    ) -> Result<bool> {
        let (user, rule) = (letter.user, letter.rule);
        let token = tokens::Row {
            digest: raw(letter.digest),
            kind: kind.name().to_owned(),
            user_id: user,
            email_key: letter.mail.to.key(),
            expires_at: letter.expires_at,
        };
        let owner = present(doc! { "_id": user }, now);
        let this = self.clone();
        self.store
            .transact(async move |tx: &mut Tx| {
                // Written, so that of many at once each counts those before it.
                let counted = doc! { "$inc": { "links": 1_i64 } };
                let update = this.users.rows.find_one_and_update(owner.clone(), counted);
                let row = update.session(tx.session()).await?;
                if !row.is_some_and(|row| kind.is_for(&row, &token.email_key, now)) {
                    return Ok(false);
                }
                let good = doc! {
                    "user_id": user, "kind": kind.name(), "expires_at": { "$gt": now },
                };
                let good = this.tokens.rows.count_documents(good).session(tx.session()).await?;
                if good >= kind.most() {
                    return Ok(false);
                }
                if this.windows.take(&rule, now, tx).await?.is_some() {
                    return Ok(false);
                }
                this.tokens.rows.insert_one(&token).session(tx.session()).await?;
                tx.jobs().give_to(job, user).await?;
                Ok(true)
            })
            .await
    }
}
