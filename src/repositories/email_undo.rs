//! Taking a change of address back: before it is made by what shows that the owner is there, and
//! afterwards by the link that was mailed to the old address.

use mongodb::bson::{Bson, doc};

use super::accounts::{Accounts, conflict};
use super::addresses::keys;
use super::bson::serialized;
use super::embedded::FormerEmail;
use super::rate_windows::WindowKey;
use super::store::Tx;
use super::users::present;
use super::{tokens, users};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::error::Result;

/// The state of an account after its undo link was used.
struct Undone {
    email: String,
    email_key: String,
    /// Addresses given up before the one that is restored: their links stay good, as they are the
    /// older owner's.
    former: Vec<FormerEmail>,
}

impl Undone {
    /// `None` if the account has nothing of this address any more.
    fn of(row: &users::Row, email_key: &str, now: Timestamp) -> Option<Self> {
        let mut former = row.held(now);
        if let Some(first) = former.iter().position(|former| former.key == email_key) {
            let FormerEmail { email, key, .. } = former.swap_remove(first);
            former.truncate(first);
            return Some(Self { email, email_key: key, former });
        }
        let own = row.email_key == email_key;
        own.then(|| Self { email: row.email.clone(), email_key: email_key.to_owned(), former })
    }
}

impl Accounts {
    /// Uses the token of a link that undoes a change of address: whose it is. The account has the
    /// address back that the link was mailed to. Its sessions end, no password opens it until a
    /// new one is set by that address, and all links are worthless but those that were mailed to
    /// addresses given up earlier. `asked` is counted anew, so that the next change is told again.
    /// `None` if the token is not good, or the address was given up too long ago.
    pub async fn undo_email(
        &self,
        digest: [u8; 32],
        asked: WindowKey,
        now: Timestamp,
    ) -> Result<Option<UserId>> {
        let this = self.clone();
        let body = async move |tx: &mut Tx| {
            let token = tokens::good(tokens::UNDO, digest, now);
            let token = this.tokens.rows.find_one(token).session(tx.session()).await?;
            let Some(token) = token else { return Ok(None) };
            let owner = present(doc! { "_id": token.user_id }, now);
            let owner = this.users.rows.find_one(owner).session(tx.session()).await?;
            let undone = owner.and_then(|row| Undone::of(&row, &token.email_key, now));
            let Some(undone) = undone else { return Ok(None) };
            this.restore(token.user_id, undone, tx).await?;
            this.windows.release(asked, tx).await?;
            Ok(Some(token.user_id))
        };
        self.store.transact(body).await
    }

    async fn restore(&self, user: UserId, undone: Undone, tx: &mut Tx) -> Result<()> {
        let earlier: Vec<&str> = undone.former.iter().map(|former| former.key.as_str()).collect();
        let kept = doc! { "kind": tokens::UNDO, "email_key": { "$in": earlier } };
        let set = doc! {
            "email": &undone.email,
            "address_keys": keys(&undone.email_key, &undone.former),
            "email_key": undone.email_key,
            "former_emails": serialized(&undone.former),
            "pending_email": Bson::Null,
        };
        let change = doc! { "$set": set, "$unset": { "password_hash": "" } };
        let update = self.users.rows.update_one(doc! { "_id": user }, change);
        update.session(tx.session()).await.map_err(conflict)?;
        let links = doc! { "user_id": user, "$nor": [kept] };
        self.tokens.rows.delete_many(links).session(tx.session()).await?;
        self.sessions.rows.delete_many(doc! { "user_id": user }).session(tx.session()).await?;
        Ok(())
    }

    /// Ends all sessions of a user but one, and withdraws a change of address that waits for its
    /// link.
    pub async fn end_other_sessions(&self, user: UserId, kept: SessionId) -> Result<()> {
        let this = self.clone();
        let body = async move |tx: &mut Tx| {
            // The count makes it a write, so that a change asked for by a session that ends here
            // comes before, or meets the end of its session.
            let withdrawn = doc! {
                "$set": { "pending_email": Bson::Null }, "$inc": { "links": 1_i64 },
            };
            let update = this.users.rows.update_one(doc! { "_id": user }, withdrawn);
            update.session(tx.session()).await?;
            let links = doc! { "user_id": user, "kind": tokens::VERIFY };
            this.tokens.rows.delete_many(links).session(tx.session()).await?;
            let others = doc! { "user_id": user, "_id": { "$ne": kept } };
            this.sessions.rows.delete_many(others).session(tx.session()).await?;
            Ok(())
        };
        self.store.transact(body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::text::{Email, Username};
    use crate::repositories::accounts::{NewAccount, row};

    const NOW: i64 = 1_700_000_000_000;

    fn account(own: &str, former: &[(&str, i64)]) -> users::Row {
        let account = NewAccount {
            id: UserId::random(),
            username: Username::parse("ada").expect("a name"),
            email: Email::parse(own).expect("an address"),
            password_hash: String::new(),
        };
        let mut row = row(&account, true, Timestamp::from_millis(NOW));
        row.former_emails = former
            .iter()
            .map(|(key, hours_ago)| FormerEmail {
                email: (*key).to_owned(),
                key: (*key).to_owned(),
                replaced_at: Timestamp::from_millis(NOW - hours_ago * 3_600_000),
            })
            .collect();
        row
    }

    fn undone(row: &users::Row, by: &str) -> Option<(String, Vec<String>)> {
        let undone = Undone::of(row, by, Timestamp::from_millis(NOW))?;
        Some((undone.email, undone.former.into_iter().map(|former| former.key).collect()))
    }

    /// The first address wins over all later changes, and nothing of a thief's outlives it.
    #[test]
    fn the_address_given_up_first_wins() {
        let row = account("c@x.test", &[("a@x.test", 3), ("b@x.test", 2)]);
        assert_eq!(undone(&row, "a@x.test"), Some(("a@x.test".to_owned(), vec![])));
        let by_thief = Some(("b@x.test".to_owned(), vec!["a@x.test".to_owned()]));
        assert_eq!(undone(&row, "b@x.test"), by_thief);
        let back = account("a@x.test", &[("a@x.test", 3), ("b@x.test", 2)]);
        assert_eq!(undone(&back, "a@x.test"), Some(("a@x.test".to_owned(), vec![])));
        assert_eq!(undone(&back, "b@x.test"), by_thief);
        assert_eq!(undone(&back, "c@x.test"), None);
        assert_eq!(undone(&account("b@x.test", &[("a@x.test", 169)]), "a@x.test"), None);
    }

    #[test]
    fn for_72_hours_the_first_old_address_alone_sets_a_password() {
        let by = |row: &users::Row| row.recovery(Timestamp::from_millis(NOW)).1.to_owned();
        assert_eq!(by(&account("c@x.test", &[])), "c@x.test");
        assert_eq!(by(&account("c@x.test", &[("a@x.test", 71), ("b@x.test", 1)])), "a@x.test");
        assert_eq!(by(&account("c@x.test", &[("a@x.test", 73), ("b@x.test", 1)])), "b@x.test");
        assert_eq!(by(&account("c@x.test", &[("a@x.test", 73), ("b@x.test", 72)])), "c@x.test");
    }
}
