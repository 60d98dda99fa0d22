//! Layers put together, read as one, and what is said when that fails.

use std::path::PathBuf;

use figment::Figment;
use figment::error::Kind;
use url::{Host, Url};

use super::error::SettingsError;
use super::layers;
use super::layers::Layer;
use super::{MailUrl, Settings};

const DEFAULTS: &str = include_str!("../../config/default.toml");

/// What to load settings from, besides the built-in defaults.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// A TOML file; `NATTER_CONFIG` of the environment counts when this is `None`.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `NATTER_` are ignored.
    pub environment: Vec<(String, String)>,
    /// `section.name=value`, each winning over the ones before it.
    pub set: Vec<String>,
}

impl LoadOptions {
    /// Options with the environment of this process.
    ///
    /// Bytes that are no UTF-8 become replacement characters, which no setting accepts
    /// silently: a path is then not found, a secret not valid.
    #[must_use]
    pub fn from_process(file: Option<PathBuf>, set: Vec<String>) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (lossy(name), lossy(value)))
            .filter(|(name, _)| name.starts_with("NATTER_"))
            .collect();
        Self { file, environment, set }
    }

    fn file(&self) -> Option<PathBuf> {
        let variable =
            |(name, value): &&(String, String)| name == "NATTER_CONFIG" && !value.is_empty();
        let named = || self.environment.iter().find(variable).map(|(_, path)| path.into());
        self.file.clone().or_else(named)
    }
}

impl Settings {
    /// Reads all sources and checks every setting.
    ///
    /// # Errors
    /// The first thing wrong: an unreadable file, an unknown setting, a bad value, settings that
    /// do not go together.
    pub fn load(options: &LoadOptions) -> Result<Self, SettingsError> {
        let mut figment = Figment::from(Layer::toml("the built-in defaults", DEFAULTS)?);
        if let Some(path) = options.file() {
            figment = figment.merge(Layer::file(&path)?);
        }
        for layer in layers::environment(&options.environment)? {
            figment = figment.merge(layer);
        }
        for argument in &options.set {
            figment = figment.merge(Layer::flag(argument)?);
        }
        let settings: Self = figment.extract().map_err(|error| explain(&figment, error))?;
        settings.check(&figment)?;
        Ok(settings)
    }

    /// The settings of `config/default.toml` alone, for tests to start from.
    ///
    /// # Panics
    /// Never: the file is part of the binary, and a test loads it.
    #[must_use]
    pub fn defaults() -> Self {
        Self::load(&LoadOptions::default()).expect("the built-in defaults are valid: tested")
    }

    /// What no setting can know alone.
    fn check(&self, figment: &Figment) -> Result<(), SettingsError> {
        if self.redis.tls_ca.is_some() && !self.redis.url.expose().starts_with("rediss:") {
            let problem = "redis.url is without TLS: it must begin with rediss://".to_owned();
            let name = "redis.tls_ca";
            return Err(SettingsError::setting(name, problem, origin(figment, name)));
        }
        let (given, other) = match (&self.server.tls_cert, &self.server.tls_key) {
            (Some(_), None) => ("server.tls_cert", "server.tls_key"),
            (None, Some(_)) => ("server.tls_key", "server.tls_cert"),
            _ => return self.check_mail(figment),
        };
        let problem = format!("{other} must be given as well");
        Err(SettingsError::setting(given, problem, origin(figment, given)))
    }

    /// The links in a log would let its readers set anyone's password.
    fn check_mail(&self, figment: &Figment) -> Result<(), SettingsError> {
        if self.mail.url != MailUrl::Log || is_localhost(&self.server.public_url) {
            return Ok(());
        }
        let problem = "log: would show links that open accounts, so server.public_url must be \
                       localhost with it; give a mail server like smtp://host:25"
            .to_owned();
        Err(SettingsError::setting("mail.url", problem, origin(figment, "mail.url")))
    }
}

/// Whether a URL leads to the machine itself: localhost, its subdomains (RFC 6761 §6.3) and
/// loopback addresses.
fn is_localhost(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// Turns figment's error into ours. Of its kinds only our own messages are quoted: the others
/// would print whatever value they stumbled over.
fn explain(figment: &Figment, error: figment::Error) -> SettingsError {
    let mut path = error.path;
    let problem = match error.kind {
        Kind::Message(message) => message,
        // The path ends with the unknown name.
        Kind::UnknownField(..) if path.len() < 2 => "there is no such section".to_owned(),
        Kind::UnknownField(..) => "there is no such setting".to_owned(),
        Kind::MissingField(name) => {
            path.push(name.into_owned());
            "a value is missing".to_owned()
        }
        _ => "a section is expected here, with names and values in it".to_owned(),
    };
    let name = path.join(".");
    SettingsError::setting(&name, problem, origin(figment, &name))
}

fn origin(figment: &Figment, name: &str) -> Option<String> {
    figment.find_metadata(name).map(|metadata| metadata.name.to_string())
}
