//! What natter talks about: ids, validated values, pages, time. No I/O.

pub mod accounts;
pub mod archives;
pub mod attachments;
pub mod clients;
pub mod clock;
pub mod common_passwords;
pub mod conversations;
pub mod emoji;
pub mod events;
pub mod files;
pub mod findings;
pub mod graphemes;
pub mod groups;
pub mod ids;
pub mod jobs;
pub mod lockouts;
pub mod mails;
pub mod media_type;
pub mod mentions;
pub mod messages;
pub mod notifications;
pub mod page;
pub mod population;
pub mod rate_rules;
pub mod relations;
pub mod search;
pub mod secrets;
pub mod sessions;
pub mod text;
pub mod users;
pub mod words;

mod reserved;
