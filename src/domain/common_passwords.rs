//! Passwords that are guessed first: the 10 000 most common ones of those found in breaches.
//!
//! The list is Django's (`django/contrib/auth/common-passwords.txt.gz`, licence beside the list),
//! most common first, in lower case; made by Royce Williams from the passwords behind Pwned
//! Passwords. Of its first 10 000 entries those are kept that have 8 characters or more, which are
//! 3903: no password of natter can equal another. `dev/common-passwords` makes it anew.

use std::collections::HashSet;
use std::sync::LazyLock;

static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("common_passwords/list.txt").lines().collect());

/// Whether a password is one of them. Case is ignored: `PassWord1` is tried right after `password1`.
#[must_use]
pub fn is_common(password: &str) -> bool {
    COMMON.contains(password.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_common_are_common_in_any_case() {
        for common in ["password", "12345678", "qwertyuiop", "iloveyou", "Password1", "SUNSHINE"] {
            assert!(is_common(common), "{common}");
        }
        for other in ["", "correct horse ada", "password ", " password", "natter-password"] {
            assert!(!is_common(other), "{other}");
        }
    }

    #[test]
    fn the_list_is_whole_and_could_match() {
        assert_eq!(COMMON.len(), 3903);
        for entry in COMMON.iter() {
            assert!(entry.chars().count() >= 8, "{entry}");
            assert_eq!(*entry, entry.to_lowercase());
        }
    }
}
