//! Why settings could not be had.

use std::fmt;

/// Why settings could not be had: one line that names the setting and where its value came
/// from, and never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    setting: Option<String>,
    problem: String,
    origin: Option<String>,
}

impl SettingsError {
    /// A complaint about one setting.
    pub(super) fn setting(name: &str, problem: String, origin: Option<String>) -> Self {
        Self { setting: Some(name.to_owned()), problem, origin }
    }

    /// A complaint about no setting in particular.
    pub(super) fn general(problem: String) -> Self {
        Self { setting: None, problem, origin: None }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(setting) = &self.setting {
            write!(f, "setting {setting}: ")?;
        }
        f.write_str(&self.problem)?;
        match &self.origin {
            Some(origin) => write!(f, " (from {origin})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SettingsError {}
