//! What an account's password opens and closes. Each is one transaction that writes the account's
//! row, so that those which run at once come one after the other: nobody is signed in by a
//! password that was replaced in the meantime.

use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::accounts::Accounts;
use super::bson::{binary, raw};
use super::lockouts::LockoutKey;
use super::outbox::Claim;
use super::sessions::SessionRoom;
use super::store::Abort;
use super::users::{Credentials, NetworkKey, present};
use super::{sessions, tokens};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
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
    /// Begins a session of someone whose password this hash was found to be of; `None` if it is
    /// not any more. If the account then had more sessions than it may, those used longest ago end:
    /// which.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn start_session(
        &self,
        known: &Credentials,
        sign_in: SignIn,
        now: Timestamp,
    ) -> Result<Option<(Session, Vec<SessionId>)>> {
        let user = known.user.id;
        let row = sessions::Row::new(user, &sign_in.device, now);
        let (this, unchanged) = (self.clone(), known.unchanged(now));
        self.store
            .transact(async move |session: &mut ClientSession| {
                let counted = signed_in_from(sign_in.network);
                let update = this.users.rows.update_one(unchanged.clone(), counted);
                if update.session(&mut *session).await?.matched_count == 0 {
                    return Ok(None);
                }
                // Written above, so that of many at once each sees those before it.
                let ended = match &sign_in.room {
                    Some(room) => this.sessions.make_room(session, user, room, now).await?,
                    None => Vec::new(),
                };
                this.sessions.rows.insert_one(&row).session(session).await?;
                Ok(Some((row.clone().into(), ended)))
            })
            .await
    }

    /// Replaces a password, and ends all sessions but `kept` and all links that would replace it
    /// again; `false` if it is not this one any more.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn change_password(
        &self,
        known: &Credentials,
        password_hash: &str,
        kept: SessionId,
        now: Timestamp,
    ) -> Result<bool> {
        let user = known.user.id;
        let (this, unchanged) = (self.clone(), known.unchanged(now));
        let replaced = doc! { "$set": { "password_hash": password_hash } };
        self.store
            .transact(async move |session: &mut ClientSession| {
                let update = this.users.rows.update_one(unchanged.clone(), replaced.clone());
                if update.session(&mut *session).await?.matched_count == 0 {
                    return Ok(false);
                }
                let resets = doc! { "user_id": user, "kind": tokens::RESET };
                this.tokens.rows.delete_many(resets).session(&mut *session).await?;
                let others = doc! { "user_id": user, "_id": { "$ne": kept } };
                this.sessions.rows.delete_many(others).session(session).await?;
                Ok(true)
            })
            .await
    }

    /// Uses a token to set a new password: whose it is. All sessions end, and all links: also one
    /// to another address, which whoever got in may have asked for. The token shows as well that
    /// the address is theirs, so the account is verified, and nobody is locked out of it. `None`
    /// if the token is not good, or the account has another address by now.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn reset_password(
        &self,
        digest: [u8; 32],
        password_hash: &str,
        lockout: LockoutKey,
        now: Timestamp,
    ) -> Result<Option<UserId>> {
        let (this, password_hash) = (self.clone(), password_hash.to_owned());
        self.store
            .transact(async move |session: &mut ClientSession| {
                let token = tokens::good(tokens::RESET, digest, now);
                let token = this.tokens.rows.find_one(token).session(&mut *session).await?;
                let Some(token) = token else { return Ok(None) };
                let owner = doc! { "_id": token.user_id, "email_key": &token.email_key };
                let set = doc! { "$set": {
                    "password_hash": &password_hash, "verified": true, "pending_email": Bson::Null,
                } };
                let update = this.users.rows.update_one(present(owner, now), set);
                if update.session(&mut *session).await?.matched_count == 0 {
                    return Ok(None);
                }
                this.close(token.user_id, session).await?;
                let locked = doc! { "_id": binary(lockout) };
                this.lockouts.rows.delete_one(locked).session(session).await?;
                Ok(Some(token.user_id))
            })
            .await
    }

    /// Ends all sessions and links of an account.
    pub(super) async fn close(
        &self,
        user: UserId,
        session: &mut ClientSession,
    ) -> Result<(), Abort> {
        let theirs = doc! { "user_id": user };
        self.tokens.rows.delete_many(theirs.clone()).session(&mut *session).await?;
        self.sessions.rows.delete_many(theirs).session(session).await?;
        Ok(())
    }

    /// Makes the link of a mail that was asked for good, and the mail the account's; `false` if it
    /// has another address by now, or as many links as it may have.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn keep_link(
        &self,
        claim: &Claim,
        kind: LinkKind,
        digest: [u8; 32],
        user: UserId,
        now: Timestamp,
    ) -> Result<bool> {
        let email_key = claim.mail.to.key();
        let token = tokens::Row {
            digest: raw(digest),
            kind: kind.name().to_owned(),
            user_id: user,
            email_key: email_key.clone(),
            expires_at: claim.expires_at,
        };
        let owner = present(doc! { "_id": user, "email_key": email_key }, now);
        let (this, mail) = (self.clone(), doc! { "_id": claim.id.clone() });
        self.store
            .transact(async move |session: &mut ClientSession| {
                // Written, so that of many at once each counts those before it.
                let counted = doc! { "$inc": { "links": 1_i64 } };
                let update = this.users.rows.update_one(owner.clone(), counted);
                if update.session(&mut *session).await?.matched_count == 0 {
                    return Ok(false);
                }
                let good = doc! {
                    "user_id": user, "kind": kind.name(), "expires_at": { "$gt": now },
                };
                let good = this.tokens.rows.count_documents(good).session(&mut *session).await?;
                if good >= kind.most() {
                    return Ok(false);
                }
                this.tokens.rows.insert_one(&token).session(&mut *session).await?;
                let whose = doc! { "$set": { "user_id": user } };
                this.outbox.rows.update_one(mail.clone(), whose).session(session).await?;
                Ok(true)
            })
            .await
    }
}
