//! Where every device writes down what came to it, and when.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};

/// How often it is looked at by those who wait for something on it.
const LOOK: Duration = Duration::from_millis(5);

/// A message that came to a device.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub device: usize,
    /// Which message.
    pub number: u32,
    pub at: Instant,
}

/// What is on it.
#[derive(Debug, Default)]
pub struct Notes {
    pub arrivals: Vec<Arrival>,
    /// How long the openings took, and when each was done.
    pub openings: Vec<(Duration, Instant)>,
    /// The codes that sockets were closed with.
    pub ends: Vec<Option<u16>>,
    /// What else should not be.
    pub errors: Vec<String>,
}

impl Notes {
    /// All errors, with unexpected ends among them.
    pub fn complaints(&self) -> Vec<String> {
        let ends = self.ends.iter().map(|code| format!("closed with {}", shown(*code)));
        ends.chain(self.errors.iter().cloned()).collect()
    }
}

/// A close code, or that there was none.
pub fn shown(code: Option<u16>) -> String {
    code.map_or_else(|| "no code".to_owned(), |code| code.to_string())
}

/// Notes that many devices take.
#[derive(Debug, Default)]
pub struct Board(Mutex<Notes>);

impl Board {
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock()
    }

    /// Wipes it and gives what was on it.
    pub fn take(&self) -> Notes {
        std::mem::take(&mut self.notes())
    }

    /// Waits until something is so; not longer than this.
    pub async fn wait(&self, patience: Duration, is_so: impl Fn(&Notes) -> bool) -> bool {
        let looking = async {
            while !is_so(&self.notes()) {
                sleep(LOOK).await;
            }
        };
        timeout(patience, looking).await.is_ok()
    }
}
