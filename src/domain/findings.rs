//! Findings that an operator reads before natter serves.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could.
    Warn,
    /// Does not work.
    Fail,
}

/// One line of `natter check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The subject: a setting, or a part of a store.
    pub what: &'static str,
    /// The result, without secrets.
    pub says: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(what: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, says: says.into() }
    }

    /// Works, but not as well as it could.
    pub fn warn(what: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, says: says.into() }
    }

    /// Does not work.
    pub fn fail(what: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Fail, what, says: says.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        };
        // One line, whatever a server said.
        let says = self.says.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{level:<4}  {:<20}  {says}", self.what)
    }
}
