//! Places where a test may end this process, or lose the answer of a call that was made.
//!
//! They are there only with the feature `failpoints`, which tests turn on and nothing else does;
//! without it a place is no code at all. The environment variable `FAILPOINTS` arms them when the
//! process starts: `apply.keys=return(kill)`, or `transaction.committed=1*return(lose)` for once.
//! What `tests/api/faults` lists is what there is; a test compares.

use std::io;
#[cfg(feature = "failpoints")]
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether any place is armed: a process that is measured pays one load for each.
#[cfg(feature = "failpoints")]
static ARMED: AtomicBool = AtomicBool::new(false);

/// Arms the places that the environment names.
///
/// # Panics
/// With the feature, when `FAILPOINTS` cannot be understood.
pub fn arm() {
    #[cfg(feature = "failpoints")]
    {
        // What it gives would disarm them when dropped.
        std::mem::forget(fail::FailScenario::setup());
        ARMED.store(!fail::list().is_empty(), Ordering::Relaxed);
    }
}

/// A place where the process may end, as by `kill -9`: nothing is flushed, closed or dropped.
pub fn reach(name: &str) {
    if action(name).as_deref() == Some("kill") {
        std::process::abort();
    }
}

/// As [`reach`]; or the answer of the call made here gets lost.
///
/// # Errors
/// What a broken connection gives, where a test wants it so.
pub fn lose(name: &str) -> io::Result<()> {
    match action(name).as_deref() {
        Some("kill") => std::process::abort(),
        Some("lose") => Err(io::ErrorKind::ConnectionReset.into()),
        _ => Ok(()),
    }
}

#[cfg(feature = "failpoints")]
fn action(name: &str) -> Option<String> {
    if ARMED.load(Ordering::Relaxed) {
        fail::fail_point!(name, |word| word);
    }
    None
}

#[cfg(not(feature = "failpoints"))]
fn action(_: &str) -> Option<String> {
    None
}
