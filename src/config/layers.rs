//! Where settings come from: each source becomes layers that know their own names, so that a
//! complaint can say which file or variable to look at.

use std::path::Path;

use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::util::nest;
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};

use super::Settings;
use super::error::SettingsError;

const PREFIX: &str = "NATTER_";

/// Variables that tests and their harness keep for themselves.
const TEST_PREFIX: &str = "TEST_";

/// Settings that `…_FILE` in the environment may take from a file.
const SECRETS: [&str; 4] = ["auth.jwt_key", "mail.url", "mongodb.uri", "redis.url"];

/// Values from one place.
pub(super) struct Layer {
    origin: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

impl Layer {
    /// One value; the key is `section.name`.
    pub(super) fn single(origin: impl Into<String>, key: &str, text: &str) -> Self {
        let values = nest(key, text.into()).into_dict().unwrap_or_default();
        Self { origin: origin.into(), values }
    }

    /// A TOML text.
    pub(super) fn toml(origin: &str, text: &str) -> Result<Self, SettingsError> {
        let values = Toml::from_str(text).map_err(|error| {
            // Its `Display` would print the line at fault, and a secret with it.
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|&byte| byte == b'\n').count();
            let message = error.message().replace('\n', ", ");
            SettingsError::general(format!("{origin}, line {line}: {message}"))
        })?;
        Ok(Self { origin: origin.to_owned(), values })
    }

    /// A TOML file.
    pub(super) fn file(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            SettingsError::general(format!("settings file {}: {error}", path.display()))
        })?;
        Self::toml(&path.display().to_string(), &text)
    }

    /// One `section.name=value` of the command line.
    pub(super) fn flag(argument: &str) -> Result<Self, SettingsError> {
        match argument.split_once('=') {
            Some((key, value)) if key.contains('.') => Ok(Self::single("--set", key, value)),
            // Not quoted: what stands there instead may be a secret.
            _ => Err(SettingsError::general("--set takes section.name=value".into())),
        }
    }

    /// The content of a file that a variable names.
    fn secret(variable: &str, key: &str, path: &str) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            SettingsError::setting(key, format!("file {path:?}: {error}"), Some(variable.into()))
        })?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        Ok(Self::single(format!("{path}, by {variable}"), key, text))
    }
}

/// Layers of all variables that are settings.
///
/// Other `NATTER_` variables are left alone: Kubernetes sets `NATTER_PORT` and
/// `NATTER_REDIS_SERVICE_HOST` for services of those names.
pub(super) fn environment(variables: &[(String, String)]) -> Result<Vec<Layer>, SettingsError> {
    let mut layers = Vec::new();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if name.starts_with(TEST_PREFIX) {
            continue;
        }
        let name = name.to_ascii_lowercase();
        if !name.contains("__") {
            refuse_near_miss(variable, &name)?;
            continue;
        }
        let key = name.replace("__", ".");
        match key.strip_suffix("_file").filter(|key| SECRETS.contains(key)) {
            None => layers.push(Layer::single(variable, &key, value)),
            Some(_) if value.is_empty() => {}
            Some(key) => {
                refuse_both(variable, key, variables)?;
                layers.push(Layer::secret(variable, key, value)?);
            }
        }
    }
    Ok(layers)
}

/// `NATTER_SERVER_ADDR` would otherwise be ignored without a word.
fn refuse_near_miss(variable: &str, name: &str) -> Result<(), SettingsError> {
    let stem = name.strip_suffix("_file").unwrap_or(name);
    let meant = |key: &String| {
        let flat = key.replace('.', "_");
        flat == name || (flat == stem && SECRETS.contains(&key.as_str()))
    };
    let Some(key) = names().into_iter().find(meant) else {
        return Ok(());
    };
    let problem = "two underscores belong between section and name".to_owned();
    Err(SettingsError::setting(&key, problem, Some(variable.to_owned())))
}

fn refuse_both(
    variable: &str,
    key: &str,
    variables: &[(String, String)],
) -> Result<(), SettingsError> {
    let plain = variable.strip_suffix("_FILE").unwrap_or(variable);
    if variables.iter().all(|(name, _)| name != plain) {
        return Ok(());
    }
    let problem = format!("{plain} and {variable} are both given");
    Err(SettingsError::setting(key, problem, None))
}

/// Every setting as `section.name`, in the order of the structs.
pub(super) fn names() -> Vec<String> {
    let of_section = |section: &&'static str| {
        let section = *section;
        fields(&format!("{section}.?")).iter().map(move |name| format!("{section}.{name}"))
    };
    fields("?").iter().flat_map(of_section).collect()
}

/// Names of fields, from what serde says it would have taken instead of one that cannot be.
fn fields(impossible: &str) -> &'static [&'static str] {
    let figment = Figment::from(Layer::single("", impossible, ""));
    match figment.extract::<Settings>().map_err(|error| error.kind) {
        Err(Kind::UnknownField(_, expected)) => expected,
        _ => &[],
    }
}
