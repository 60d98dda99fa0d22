//! Mails that a test was sent.

use std::path::PathBuf;
use std::time::Duration;

use super::app::{PATIENCE, TestApp};

/// A mail as it was written to its file.
#[derive(Debug, Clone)]
pub struct Mail {
    pub raw: String,
}

impl Mail {
    /// A header's value; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        let head = self.raw.split("\r\n\r\n").next().unwrap_or_default();
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default()
    }

    /// Whether its subject has these words.
    pub fn is_about(&self, subject: &str) -> bool {
        self.header("Subject").contains(subject)
    }

    /// The text after the headers.
    pub fn body(&self) -> &str {
        self.raw.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The token of its link.
    #[track_caller]
    pub fn token(&self) -> String {
        let (_, rest) = self.raw.split_once("?token=").expect("a link with a token");
        rest.split_whitespace().next().expect("a token").to_owned()
    }
}

impl TestApp {
    /// The mails to an address so far, oldest first.
    pub fn mails(&self, to: &str) -> Vec<Mail> {
        let files = std::fs::read_dir(self.mail_dir()).expect("the directory for mails");
        let paths = files.map(|file| file.expect("a file").path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension() == Some("eml".as_ref())).collect();
        let written = |path: &PathBuf| path.metadata().and_then(|file| file.modified());
        paths.sort_by_cached_key(|path| written(path).expect("a time"));
        let mails =
            paths.iter().map(|path| Mail { raw: std::fs::read_to_string(path).expect("a mail") });
        mails.filter(|mail| mail.header("To") == to).collect()
    }

    /// Waits for that many mails to an address, and gives the last.
    pub async fn mail(&self, to: &str, count: usize) -> Mail {
        self.mail_about(to, "", count).await
    }

    /// Waits for that many mails to an address with these words in the subject, and gives the last.
    pub async fn mail_about(&self, to: &str, subject: &str, count: usize) -> Mail {
        let waiting = async {
            loop {
                let mut mails = self.mails(to).into_iter().filter(|mail| mail.is_about(subject));
                if let Some(mail) = mails.nth(count - 1) {
                    return mail;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let mail = tokio::time::timeout(PATIENCE, waiting).await;
        mail.unwrap_or_else(|_| panic!("mail {count} {subject:?} to {to} never came"))
    }
}
