//! Validated text: each type is made only by `parse`, and holds what was given, byte for byte.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::Serialize;
use utoipa::ToSchema;
use validator::ValidateEmail;

use super::reserved::is_reserved;

/// The rule that a text breaks: a stable code and a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// `too_short`, `too_long`, `invalid_format`, `reserved`, `blank`, …
    pub code: &'static str,
    /// What would be right.
    pub message: &'static str,
}

const fn violation<T>(code: &'static str, message: &'static str) -> Result<T, Violation> {
    Err(Violation { code, message })
}

/// A user's public name: 3 to 32 of `A-Za-z0-9._-`, the first a letter or digit; unique ignoring
/// case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(
    min_length = 3,
    max_length = 32,
    pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
    example = "ada"
)]
pub struct Username(String);

impl Username {
    /// Checks the rules for a name; nothing is trimmed.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.chars().count() < 3 {
            return violation("too_short", "must have at least 3 characters");
        }
        if text.chars().count() > 32 {
            return violation("too_long", "must have at most 32 characters");
        }
        if !text.chars().all(allowed) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return violation(
                "invalid_format",
                "must contain only letters, digits, '.', '_' and '-', and begin with a letter or \
                 digit",
            );
        }
        if is_reserved(text) {
            return violation("reserved", "name is reserved");
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as its owner spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What makes it unique: the name in lower case.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// An e-mail address, at most 254 bytes (RFC 5321 §4.5.3.1.3), valid as HTML defines it; unique
/// ignoring case. Its domain may be given in any script; it is compared and mailed as its A-label.
#[derive(derive_more::Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Email, max_length = 254, example = "ada@example.com")]
#[debug("Email(…)")]
pub struct Email(String);

impl Email {
    /// Checks the form of an address; nothing is trimmed.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        const INVALID: Violation = Violation {
            code: "invalid_format",
            message: "must be a valid e-mail address, such as ada@example.com",
        };
        if text.len() > 254 {
            return violation("too_long", "must have at most 254 bytes");
        }
        let mailbox = mailbox(text).ok_or(INVALID)?;
        if mailbox.len() > 254 {
            return violation(
                "too_long",
                "must have at most 254 bytes, with its domain as A-labels",
            );
        }
        if !mailbox.validate_email() || !is_mailable(&mailbox) {
            return Err(INVALID);
        }
        Ok(Self(text.to_owned()))
    }

    /// The address as its owner spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where mail goes: every relay takes it, those without SMTPUTF8 (RFC 6531) too.
    #[must_use]
    pub fn mailbox(&self) -> String {
        mailbox(&self.0).unwrap_or_else(|| self.0.clone())
    }

    /// The key without a `+tag`: what mail to one person is counted under.
    #[must_use]
    pub fn untagged_key(&self) -> String {
        let key = self.key();
        let Some((local, domain)) = key.rsplit_once('@') else { return key };
        format!("{}@{domain}", local.split('+').next().unwrap_or(local))
    }

    /// The unique key: the mailbox in lower case.
    #[must_use]
    pub fn key(&self) -> String {
        self.mailbox().to_lowercase()
    }

    /// All keys under which the store may have an address of this mailbox, the present one first.
    #[must_use]
    pub fn all_keys(&self) -> Vec<String> {
        [vec![self.key()], self.former_keys()].concat()
    }

    /// Keys that natter stored before domains were compared as A-labels: none where they are the
    /// same.
    #[must_use]
    pub fn former_keys(&self) -> Vec<String> {
        let key = self.key();
        let unicode = key
            .rsplit_once('@')
            .map(|(local, domain)| format!("{local}@{}", idna::domain_to_unicode(domain).0));
        let spelt = [Some(self.0.to_lowercase()), unicode];
        spelt.into_iter().flatten().filter(|it| *it != key).collect()
    }
}

/// An address with its domain as its A-label.
fn mailbox(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    Some(format!("{local}@{}", a_label(domain)?))
}

/// A domain as DNS and mail know it (UTS 46, non-transitional), in lower case; `None` for what is
/// none.
#[must_use]
pub fn a_label(domain: &str) -> Option<String> {
    let hyphens = Hyphens::CheckFirstLast;
    let ascii =
        Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, hyphens, DnsLength::Verify);
    ascii.ok().map(|ascii| ascii.to_ascii_lowercase())
}

/// Whether a mail can be sent there: dots stand between characters (RFC 5321 §4.1.2, `Dot-string`),
/// and the domain has a name.
fn is_mailable(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.split('.').any(str::is_empty) && !domain.starts_with('[')
    })
}

/// A new password: at least 8 characters, at most the 72 bytes that bcrypt reads, no NUL (where
/// bcrypt would stop). Never shown.
#[derive(derive_more::Debug, Clone, ToSchema)]
#[schema(value_type = String, format = Password, min_length = 8, max_length = 72, example = "correct horse ada")]
#[debug("Password(…)")]
pub struct Password(String);

impl Password {
    /// Checks the rules for a new password.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        if text.chars().count() < 8 {
            return violation("too_short", "must have at least 8 characters");
        }
        if text.len() > 72 {
            return violation("too_long", "must have at most 72 bytes");
        }
        if text.contains('\0') {
            return violation("invalid_format", "must not contain NUL characters");
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, for hashing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What a group is called: 1 to 100 characters, not all of them blank, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(min_length = 1, max_length = 100, example = "Analytical engines")]
pub struct GroupName(String);

impl GroupName {
    /// Checks the rules for a group's name; nothing is trimmed.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        if text.is_empty() {
            return violation("too_short", "must have at least 1 character");
        }
        if text.chars().count() > 100 {
            return violation("too_long", "must have at most 100 characters");
        }
        if text.chars().any(char::is_control) {
            return violation("invalid_format", "must not contain control characters");
        }
        if text.chars().all(is_blank) {
            return violation("blank", "must contain at least one visible character");
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text of a message: at most 8000 characters, kept byte for byte; empty only beside an
/// attachment, otherwise with at least one visible character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(max_length = 8000, example = "Hello, Grace!")]
pub struct MessageText(String);

impl MessageText {
    /// Most characters (Unicode scalar values) a message takes.
    pub const MAX_CHARS: usize = 8000;

    /// Checks the rules for a message's text.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn parse(text: &str, has_attachments: bool) -> Result<Self, Violation> {
        if text.is_empty() && !has_attachments {
            return violation("too_short", "must have at least 1 character");
        }
        if text.chars().count() > Self::MAX_CHARS {
            return violation("too_long", "must have at most 8000 characters");
        }
        if text.contains('\0') {
            return violation("invalid_format", "must not contain NUL characters");
        }
        if !text.is_empty() && text.chars().all(is_blank) {
            return violation("blank", "must contain at least one visible character");
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character leaves no mark by itself: white space, control and format characters,
/// and those of Unicode's `Default_Ignorable_Code_Point` (UAX #44) and blank glyphs.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D159}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames() {
        for good in ["ada", "A.d-a_1", "0xy", &"a".repeat(32)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        let bad = [
            ("ab", "too_short"),
            (".ada", "invalid_format"),
            ("ada ", "invalid_format"),
            ("adä", "invalid_format"),
            ("Admin", "reserved"),
            ("a\u{200B}da", "invalid_format"),
        ];
        for (name, code) in bad {
            assert_eq!(Username::parse(name).map_err(|v| v.code), Err(code), "{name}");
        }
        assert_eq!(Username::parse(&"a".repeat(33)).map_err(|v| v.code), Err("too_long"));
    }

    #[test]
    fn tags_lead_to_one_mailbox() {
        let mailbox = |text: &str| Email::parse(text).expect("an address").untagged_key();
        for same in ["ada@example.com", "ADA+x@Example.COM", "ada+x+y@example.com"] {
            assert_eq!(mailbox(same), "ada@example.com");
        }
        assert_ne!(mailbox("a.da@example.com"), mailbox("ada@example.com"));
        assert_ne!(mailbox("ada@mail.example.com"), mailbox("ada@example.com"));
    }

    #[test]
    fn emails() {
        let longest = format!(
            "{}@{}.{}.{}.com",
            "l".repeat(60),
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(61)
        );
        assert_eq!(longest.len(), 254);
        assert!(Email::parse(&longest).is_ok());
        assert_eq!(Email::parse(&format!("x{longest}")).map_err(|v| v.code), Err("too_long"));
        for bad in [
            "",
            "ada",
            "ada@",
            "@example.com",
            " ada@example.com",
            "ada@example.com\n",
            ".ada@example.com",
            "ada.@example.com",
            "a..da@example.com",
            "ada@[127.0.0.1]",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Email::parse("Ada@Example.COM").map(|e| e.key()), Ok("ada@example.com".into()));
    }

    #[test]
    fn domains_are_compared_as_a_labels() {
        let same = [
            "x@bücher.test",
            "X@BÜCHER.test",
            "x@bu\u{308}cher.test",
            "x@xn--bcher-kva.test",
            "x@XN--BCHER-KVA.TEST",
            "x@bücher。test",
            "x@ｂücher．test",
        ];
        for text in same {
            let email = Email::parse(text).expect(text);
            assert_eq!(email.key(), "x@xn--bcher-kva.test", "{text}");
            assert_eq!(email.as_str(), text);
            assert!(email.mailbox().is_ascii() && email.mailbox().ends_with("@xn--bcher-kva.test"));
        }
        assert_eq!(
            Email::parse("X@faß.test").map(|it| it.mailbox()),
            Ok("X@xn--fa-hia.test".into())
        );
        assert_eq!(
            Email::parse("a@例え.テスト").map(|it| it.key()),
            Ok("a@xn--r8jz45g.xn--zckzah".into())
        );
    }

    #[test]
    fn what_is_no_domain_is_refused_and_former_keys_are_known() {
        let bad = [
            "x@xn--a.test",
            "x@xn--.test",
            "x@-bücher.test",
            "x@bücher-.test",
            "x@bü cher.test",
            "x@bü_cher.test",
            "x@bücher..test",
            "x@.test",
            "x@bücher.test.",
            "x@\u{200d}.test",
            "x@a\u{338}.test\u{2260}/",
            "x@bü\u{202e}cher.test",
            "pä@bücher.test",
            "x@א1a.test",
        ];
        for text in bad {
            assert_eq!(Email::parse(text).map_err(|it| it.code), Err("invalid_format"), "{text:?}");
        }
        let long = format!("x@{}.test", "ü".repeat(56));
        assert!(Email::parse(&long).is_ok_and(|it| it.mailbox().len() < 254));
        let labels = vec!["ü".repeat(50); 4].join(".");
        assert_eq!(Email::parse(&format!("x@{labels}")).map_err(|it| it.code), Err("too_long"));
        let former = |text: &str| Email::parse(text).expect(text).former_keys();
        assert_eq!(former("Ada@Example.COM"), Vec::<String>::new());
        assert_eq!(former("X@BÜCHER.test"), ["x@bücher.test", "x@bücher.test"]);
        assert_eq!(former("x@xn--bcher-kva.test"), ["x@bücher.test"]);
    }

    #[test]
    fn passwords_end_where_bcrypt_does() {
        assert_eq!(Password::parse("7 chars").map(|_| ()).map_err(|v| v.code), Err("too_short"));
        assert!(Password::parse(&"x".repeat(72)).is_ok());
        assert!(Password::parse(&"ä".repeat(36)).is_ok());
        assert_eq!(
            Password::parse(&"x".repeat(73)).map(|_| ()).map_err(|v| v.code),
            Err("too_long")
        );
        assert!(Password::parse(&format!("{}x", "ä".repeat(36))).is_err());
        assert!(Password::parse("nul\0 inside").is_err());
    }

    #[test]
    fn messages_say_something() {
        for good in ["x", " x ", "\u{1F469}\u{200D}\u{1F680}", "<script>", "{\"$ne\":null}"] {
            assert_eq!(MessageText::parse(good, false).map(|t| t.0), Ok(good.to_owned()));
        }
        for blank in [" ", "\n\t", "\u{200B}\u{FEFF}", "\u{3164}", "\u{2800}", "\u{FE0F}"] {
            assert_eq!(MessageText::parse(blank, true).map_err(|v| v.code), Err("blank"));
        }
        assert!(MessageText::parse("", false).is_err());
        assert!(MessageText::parse("", true).is_ok());
        assert!(MessageText::parse("a\0b", false).is_err());
        assert!(MessageText::parse(&"\u{1F600}".repeat(8000), false).is_ok());
        assert!(MessageText::parse(&"x".repeat(8001), false).is_err());
    }
}
