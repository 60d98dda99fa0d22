//! Accounts as the rules of names, addresses and passwords see them.

use std::time::Duration;

use super::attachments::Attachment;
use super::clock::Timestamp;
use super::ids::UserId;
use super::text::{Email, Username};
use super::users::User;

/// How long an account may stay unverified; after that it counts as absent.
pub const UNVERIFIED: Duration = Duration::from_hours(24);

/// How long nobody else may have a name that was given up, by renaming or with its account.
pub const NAME_HELD: Duration = Duration::from_hours(30 * 24);

/// How long a change of address can be undone; the account holds the old address for that long.
pub const UNDO_WINDOW: Duration = Duration::from_hours(7 * 24);

/// How long after a change only the old address can set a new password.
const RESET_BY_OLD: Duration = Duration::from_hours(72);

/// The key of a network: a keyed hash, so that the store holds no list of addresses.
pub type NetworkKey = [u8; 16];

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

/// An account with all its addresses.
#[derive(Debug, Clone)]
pub struct Account {
    /// The account as its owner sees it.
    pub user: User,
    /// The unique key of its name.
    pub username_key: String,
    /// Its address, and those that it gave up lately.
    pub emails: Emails,
    /// How often someone signed in.
    pub sign_ins: i64,
}

impl Account {
    /// The address that it waits for.
    #[must_use]
    pub fn pending(&self) -> Option<Email> {
        Email::parse(self.user.pending_email.as_deref()?).ok()
    }
}

/// The credentials that an account is recognised by.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Their account.
    pub user: User,
    /// bcrypt's own text form.
    pub password_hash: String,
}

/// A change of an account; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// Its name.
    pub username: Option<Username>,
    /// Its address.
    pub email: Option<EmailWish>,
    /// Its picture, or that it has none any more.
    pub picture: Option<Option<Attachment>>,
}

/// A wished-for address.
#[derive(Debug, Clone)]
pub enum EmailWish {
    /// The same address, perhaps in other case; the account waits for no other any more.
    Respell(Email),
    /// Another, once the link mailed there is used.
    Await(Email),
}

/// An address that was replaced by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerEmail {
    /// As its owner spelt it.
    pub email: String,
    /// The unique key.
    pub key: String,
    /// Since when.
    pub replaced_at: Timestamp,
}

/// The addresses of an account: nobody else can have any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emails {
    /// The address that it signs in with, as its owner spelt it.
    pub email: String,
    /// The unique key of `email`.
    pub key: String,
    /// Addresses that it gave up lately, the one replaced first at the beginning.
    pub former: Vec<FormerEmail>,
}

impl Emails {
    /// The address whose owner can set a new password, and its key. Of several that were replaced
    /// lately it is the first one: whoever changed an address in bad faith came after its owner.
    #[must_use]
    pub fn recovery(&self, now: Timestamp) -> (&str, &str) {
        let since = now.minus(RESET_BY_OLD);
        let former = self.former.iter().find(|former| former.replaced_at > since);
        former.map_or((&self.email, &self.key), |former| (&former.email, &former.key))
    }

    /// The keys that the account holds, each once, its own first.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys = vec![self.key.clone()];
        for former in &self.former {
            if !keys.contains(&former.key) {
                keys.push(former.key.clone());
            }
        }
        keys
    }

    /// The addresses after another has replaced the present one.
    #[must_use]
    pub fn replaced_by(&self, new: &Email, now: Timestamp) -> Self {
        let mut former = self.held(now);
        let (email, key) = (self.email.clone(), self.key.clone());
        former.push(FormerEmail { email, key, replaced_at: now });
        Self { email: new.as_str().to_owned(), key: new.key(), former }
    }

    /// The addresses after the owner of the one with this key has undone its change: those given up
    /// before it stay held, as they are the older owner's. `None` if the account has nothing of
    /// this address any more.
    #[must_use]
    pub fn restored(&self, key: &str, now: Timestamp) -> Option<Self> {
        let mut former = self.held(now);
        if let Some(first) = former.iter().position(|former| former.key == key) {
            let FormerEmail { email, key, .. } = former.swap_remove(first);
            former.truncate(first);
            return Some(Self { email, key, former });
        }
        let own = self.key == key;
        own.then(|| Self { email: self.email.clone(), key: key.to_owned(), former })
    }

    /// Addresses that can still be had back, the one replaced first at the beginning.
    fn held(&self, now: Timestamp) -> Vec<FormerEmail> {
        let since = now.minus(UNDO_WINDOW);
        self.former.iter().filter(|former| former.replaced_at > since).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn emails(own: &str, former: &[(&str, u64)]) -> Emails {
        let former = former.iter().map(|(key, hours_ago)| FormerEmail {
            email: (*key).to_owned(),
            key: (*key).to_owned(),
            replaced_at: now().minus(Duration::from_hours(*hours_ago)),
        });
        Emails { email: own.to_owned(), key: own.to_owned(), former: former.collect() }
    }

    fn restored(emails: &Emails, by: &str) -> Option<(String, Vec<String>)> {
        let restored = emails.restored(by, now())?;
        Some((restored.email, restored.former.into_iter().map(|former| former.key).collect()))
    }

    /// The first address wins over all later changes, and nothing of a thief's outlives it.
    #[test]
    fn the_address_given_up_first_wins() {
        let held = emails("c@x.test", &[("a@x.test", 3), ("b@x.test", 2)]);
        assert_eq!(restored(&held, "a@x.test"), Some(("a@x.test".to_owned(), vec![])));
        let by_thief = Some(("b@x.test".to_owned(), vec!["a@x.test".to_owned()]));
        assert_eq!(restored(&held, "b@x.test"), by_thief);
        let back = emails("a@x.test", &[("a@x.test", 3), ("b@x.test", 2)]);
        assert_eq!(restored(&back, "a@x.test"), Some(("a@x.test".to_owned(), vec![])));
        assert_eq!(restored(&back, "b@x.test"), by_thief);
        assert_eq!(restored(&back, "c@x.test"), None);
        assert_eq!(restored(&emails("b@x.test", &[("a@x.test", 169)]), "a@x.test"), None);
    }

    #[test]
    fn for_72_hours_the_first_old_address_alone_sets_a_password() {
        let by = |emails: &Emails| emails.recovery(now()).1.to_owned();
        assert_eq!(by(&emails("c@x.test", &[])), "c@x.test");
        assert_eq!(by(&emails("c@x.test", &[("a@x.test", 71), ("b@x.test", 1)])), "a@x.test");
        assert_eq!(by(&emails("c@x.test", &[("a@x.test", 73), ("b@x.test", 1)])), "b@x.test");
        assert_eq!(by(&emails("c@x.test", &[("a@x.test", 73), ("b@x.test", 72)])), "c@x.test");
    }
}
