//! Mail: to a server by SMTP, into files, or into the log.

mod texts;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use url::Url;

use crate::config;
use crate::config::{Authorities, MailUrl};
use crate::domain::clock::Timestamp;
use crate::domain::mails::Mail;
use crate::domain::text::a_label;

/// How long the server may take for each step of a conversation.
const STEP: Duration = Duration::from_secs(10);

/// Why a mail could not be handed over. Its text names no recipient of ours.
#[derive(Debug)]
pub struct MailError {
    /// Whether the server says that trying again is useless.
    pub is_final: bool,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl MailError {
    /// Nothing happened for too long.
    #[must_use]
    pub fn slow() -> Self {
        Self { is_final: false, source: "the mail server did not answer in time".into() }
    }
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for MailError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Hands mails over, as the settings say.
#[derive(Debug)]
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Files(PathBuf),
    Log,
}

impl Mailer {
    /// A mailer that connects when it first has a mail.
    ///
    /// # Errors
    /// When lettre cannot use the URL.
    pub fn new(settings: &config::Mail) -> Result<Self, SmtpError> {
        let way = match &settings.url {
            MailUrl::Log => Way::Log,
            MailUrl::Files(directory) => Way::Files(directory.clone()),
            MailUrl::Smtp(url) => {
                let mut transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose())?;
                if let Some(authorities) = &settings.tls_ca {
                    transport = transport.tls(tls(url.expose(), authorities)?);
                }
                Way::Smtp(transport.timeout(Some(STEP)).build())
            }
        };
        Ok(Self { from: as_mailed(&settings.from), way })
    }

    /// Connects to the mail server as for a mail, login included, and sends none; makes sure that
    /// the directory of mails can be written to. What was tried, in a few words.
    ///
    /// # Errors
    /// When a mail could not be handed over either.
    pub async fn probe(&self) -> Result<&'static str, MailError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| MailError {
            is_final: false,
            source,
        };
        match &self.way {
            Way::Log => Ok("mails are shown in the log, and not sent"),
            Way::Files(directory) => {
                let path = directory.join(format!(".natter-check-{}", std::process::id()));
                let written = async {
                    tokio::fs::create_dir_all(directory).await?;
                    tokio::fs::write(&path, "").await?;
                    tokio::fs::remove_file(&path).await
                };
                written.await.map_err(|error| failed(error.into()))?;
                Ok("mails are written to files, and not sent")
            }
            Way::Smtp(transport) => match transport.test_connection().await {
                Ok(true) => Ok("the server is ready to take mails"),
                Ok(false) => Err(failed("the server closed the connection".into())),
                Err(error) => Err(failed(error.into())),
            },
        }
    }

    /// Hands one mail over, written at `at`, with its link where it has one. `reference` is the
    /// same whenever this mail is handed over again, so that a second copy can be told.
    ///
    /// # Errors
    /// When the server, or the directory, does not take it now.
    pub async fn send(
        &self,
        mail: &Mail,
        link: Option<&str>,
        reference: &str,
        at: Timestamp,
    ) -> Result<(), MailError> {
        let text = texts::of(mail, link);
        if let Way::Log = &self.way {
            tracing::info!(event = "mail_shown", to = mail.to.as_str(), "{}", text.body);
            return Ok(());
        }
        let message = texts::message(&self.from, mail, &text, reference, at)
            .map_err(|source| MailError { is_final: true, source })?;
        match &self.way {
            Way::Log => {}
            Way::Files(directory) => {
                let path = directory.join(format!("{}-{reference}.eml", at.millis()));
                let written = write(&path, &message).await;
                written.map_err(|error| MailError { is_final: false, source: error.into() })?;
                tracing::info!(event = "mail_written", path = %path.display(), "mail written to a file");
            }
            Way::Smtp(transport) => {
                let sent = transport.send(message).await;
                sent.map_err(|error| MailError {
                    is_final: error.is_permanent(),
                    source: error.into(),
                })?;
            }
        }
        Ok(())
    }
}

/// How the URL wants TLS, with these authorities in the place of the public ones.
fn tls(url: &str, authorities: &Authorities) -> Result<Tls, SmtpError> {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let parameters = TlsParameters::builder(host.to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(Certificate::from_pem(authorities.pem())?)
        .build()?;
    Ok(match url.as_ref().map(|url| (url.scheme(), url.query())) {
        Some(("smtps", _)) => Tls::Wrapper(parameters),
        Some((_, Some("tls=required"))) => Tls::Required(parameters),
        Some((_, Some("tls=opportunistic"))) => Tls::Opportunistic(parameters),
        _ => Tls::None,
    })
}

/// A mailbox that every relay takes: its domain as A-labels, where it is one.
fn as_mailed(from: &Mailbox) -> Mailbox {
    let domain = a_label(from.email.domain());
    let email = domain.and_then(|domain| Address::new(from.email.user(), domain).ok());
    Mailbox::new(from.name.clone(), email.unwrap_or_else(|| from.email.clone()))
}

/// Writes a mail; it has its name only once it is whole.
async fn write(path: &Path, message: &Message) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        tokio::fs::create_dir_all(directory).await?;
    }
    let part = path.with_extension("part");
    tokio::fs::write(&part, message.formatted()).await?;
    tokio::fs::rename(&part, path).await
}
