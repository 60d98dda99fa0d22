//! The words of mails.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{
    ContentTransferEncoding, ContentType, Date, HeaderName, HeaderValue,
};
use lettre::message::{Body, Mailbox};
use lettre::{Address, Message};

use crate::domain::clock::Timestamp;
use crate::domain::mails::{Mail, MailKind};

/// Subject and body of a mail, plain text both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub subject: &'static str,
    pub body: String,
}

/// What a mail says.
pub(super) fn of(mail: &Mail, link: Option<&str>) -> Text {
    let (name, link) = (mail.username.as_str(), link.unwrap_or_default());
    match mail.kind {
        MailKind::Verify | MailKind::Resend => verify(name, link),
        MailKind::ConfirmEmail => confirm_email(name, link),
        MailKind::ResetPassword => reset_password(name, link),
        MailKind::EmailChanged => email_changed(name),
    }
}

fn verify(name: &str, link: &str) -> Text {
    let body = format!(
        "Hello {name},\n\
         \n\
         welcome to natter. One step is left: open this link and confirm that this\n\
         address is yours.\n\
         \n\
         {link}\n\
         \n\
         The link works once, within 24 hours.\n\
         \n\
         If you did not sign up, ignore this mail: without the link the account is\n\
         removed after a day.\n"
    );
    Text { subject: "Welcome to natter: confirm your e-mail address", body }
}

fn confirm_email(name: &str, link: &str) -> Text {
    let body = format!(
        "Hello {name},\n\
         \n\
         you asked for this to be the e-mail address of your natter account. Open this\n\
         link to confirm it.\n\
         \n\
         {link}\n\
         \n\
         The link works once, within 24 hours. Until then your old address stays.\n\
         \n\
         If you did not ask for this, ignore this mail.\n"
    );
    Text { subject: "Confirm your new e-mail address", body }
}

fn reset_password(name: &str, link: &str) -> Text {
    let body = format!(
        "Hello {name},\n\
         \n\
         someone, probably you, asked for a new password for your natter account. Open\n\
         this link to choose one.\n\
         \n\
         {link}\n\
         \n\
         The link works once, within an hour. You will then have to sign in again on all\n\
         your devices.\n\
         \n\
         If you did not ask for this, ignore this mail: your password stays as it is.\n"
    );
    Text { subject: "Choose a new password", body }
}

fn email_changed(name: &str) -> Text {
    let body = format!(
        "Hello {name},\n\
         \n\
         your natter account has another e-mail address now, and mails no longer come\n\
         here.\n\
         \n\
         If that was not you, somebody else can use your account: contact the people\n\
         who run this service.\n"
    );
    Text { subject: "Your e-mail address was changed", body }
}

/// The mail as it is sent.
///
/// # Errors
/// When the recipient is not one that mail can be sent to.
pub(super) fn message(
    from: &Mailbox,
    mail: &Mail,
    text: &Text,
    reference: &str,
    at: Timestamp,
) -> Result<Message, Box<dyn std::error::Error + Send + Sync>> {
    let to: Address = mail.to.mailbox().parse()?;
    let date = UNIX_EPOCH + Duration::from_millis(at.millis().unsigned_abs());
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(text.subject)
        .header(Date::from(date))
        .message_id(Some(format!("<{reference}@{}>", from.email.domain())))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .header(ContentType::TEXT_PLAIN)
        .body(seven_bit(&text.body))?;
    Ok(message)
}

/// The text as it is. lettre would write lines over 76 characters, and so every link, as
/// quoted-printable, although mail takes 998 (RFC 5322 §2.1.1): then it could not be read, or
/// copied, where a mail is looked at as a file.
fn seven_bit(text: &str) -> Body {
    if !text.is_ascii() || text.lines().any(|line| line.len() > 998) {
        return Body::new(text.to_owned());
    }
    let lines = text.replace('\n', "\r\n").into_bytes();
    Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::Email;

    fn shown(kind: MailKind) -> String {
        let to = Email::parse("ada@example.com").expect("valid");
        let mail = Mail { kind, to, username: "Ada".to_owned(), nonce: None };
        let from = "natter <no-reply@example.org>".parse().expect("a mailbox");
        let text = of(&mail, Some("https://chat.example.org/verify?token=abc"));
        let at = Timestamp::from_millis(1_700_000_000_000);
        let message = message(&from, &mail, &text, "0123abcd", at).expect("a message").formatted();
        String::from_utf8(message).expect("ASCII").replace("\r\n", "\n")
    }

    #[test]
    fn mails_are_plain_and_friendly() {
        insta::assert_snapshot!(shown(MailKind::Verify));
        insta::assert_snapshot!(shown(MailKind::ConfirmEmail));
        insta::assert_snapshot!(shown(MailKind::EmailChanged));
        insta::assert_snapshot!(shown(MailKind::ResetPassword));
        assert_eq!(shown(MailKind::Resend), shown(MailKind::Verify));
    }

    #[test]
    fn no_address_writes_a_header() {
        for hostile in [
            "ada@example.com\r\nBcc: eve@example.com",
            "ada@example.com,eve@example.com",
            "ada@example.com>\nX: y",
            "\"ada\r\n\"@example.com",
        ] {
            assert!(Email::parse(hostile).is_err(), "{hostile:?}");
        }
    }
}
