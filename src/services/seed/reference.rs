//! Named references: how entries of a fixture call each other, and the ids that follow from them.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::domain::ids::{AttachmentId, GroupId, UserId};

/// Reads what stands after the sigil and the kind: 1 to 32 of `a-z0-9-`.
fn name_of<'a>(text: &'a str, sigil: &str) -> Option<&'a str> {
    let name = text.strip_prefix(sigil)?;
    is_name(name).then_some(name)
}

/// Whether a text names a fixture or an entry: 1 to 32 of `a-z0-9-`.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=32).contains(&text.len()) && text.chars().all(allowed)
}

macro_rules! reference {
    ($(#[$doc:meta])* $name:ident, $sigil:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $sigil, self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let name = name_of(&text, $sigil).ok_or_else(|| {
                    let expected = concat!($sigil, "name, the name of a-z, 0-9 and '-'");
                    serde::de::Error::custom(format_args!("{text:?} is not {expected}"))
                })?;
                Ok(Self(name.to_owned()))
            }
        }
    };
}

reference! {
    /// `$user:ada`
    UserRef, "$user:"
}
reference! {
    /// `$attachment:engine`
    AttachmentRef, "$attachment:"
}
reference! {
    /// `$group:moon`
    GroupRef, "$group:"
}
reference! {
    /// `$conversation:engine`: names a conversation inside its fixture; the id in the store
    /// follows from who is in it.
    ConversationRef, "$conversation:"
}

impl ConversationRef {
    /// The name without its sigil.
    pub fn name(&self) -> &str {
        &self.0
    }
}

macro_rules! id {
    ($name:ident, $id:ident) => {
        impl $name {
            /// The id of this entry of a fixture: the same whenever it is loaded.
            #[must_use]
            pub fn id(&self, fixture: &str) -> $id {
                $id::named(&["natter/seed", fixture, &self.to_string()])
            }
        }
    };
}
id!(UserRef, UserId);
id!(AttachmentRef, AttachmentId);
id!(GroupRef, GroupId);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<UserRef, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn references_name_their_kind() {
        assert_eq!(read("$user:ada").unwrap().to_string(), "$user:ada");
        for bad in ["ada", "$user:", "$group:ada", "$user:Ada", "$user:a b", "$user:ä"] {
            let line = read(bad).unwrap_err().to_string();
            assert!(line.starts_with(&format!("{bad:?} is not $user:name")), "{line}");
        }
    }

    #[test]
    fn ids_follow_from_fixture_and_reference() {
        let ada = read("$user:ada").unwrap();
        assert_eq!(ada.id("demo"), ada.id("demo"));
        assert_ne!(ada.id("demo"), ada.id("other"));
        assert_ne!(ada.id("demo"), read("$user:grace").unwrap().id("demo"));
        // Version 8, as RFC 9562 asks of ids that are hashes.
        assert_eq!(ada.id("demo").bytes()[6] >> 4, 8);
    }
}
