//! The queue between events and standard error. A pipe that nobody reads takes 64 KiB; whoever wrote
//! to it then would wait for ever. So one thread writes, and events never wait: a line that finds
//! the queue full is dropped and counted.

use std::io;
use std::io::{Stderr, Write};
use std::sync::OnceLock;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::config::LogFormat;
use crate::domain::clock::Clock;

/// Most lines that wait: seconds of a busy instance, and about 2 MiB.
const LINES: usize = 8192;

/// The count of dropped lines of this process.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Writes the lines that wait when it is dropped; gives up after 1.1 s if nobody reads them.
#[derive(Debug)]
#[must_use]
pub struct Flush(#[expect(dead_code, reason = "its drop is its use")] WorkerGuard);

/// Number of lines that this process has dropped because nobody read the log.
#[must_use]
pub fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    u64::try_from(dropped).unwrap_or(u64::MAX)
}

pub(super) fn to_stderr(format: LogFormat) -> (NonBlocking, Flush) {
    let writer = Lines { stderr: io::stderr(), format, reported: 0 };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES);
    let (queue, guard) = builder.thread_name("log").finish(writer);
    let _ = DROPPED.set(queue.error_counter());
    (queue, Flush(guard))
}

/// Standard error, with a line where others were dropped.
struct Lines {
    stderr: Stderr,
    format: LogFormat,
    reported: u64,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.stderr.write_all(line)?;
        let dropped = dropped_lines();
        if dropped > self.reported {
            self.stderr.write_all(report(self.format, dropped - self.reported).as_bytes())?;
            self.reported = dropped;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stderr.flush()
    }
}

/// Not an event: that would go through the queue, which may be full.
fn report(format: LogFormat, lines: u64) -> String {
    let millis = i128::from(Clock::system().now().millis());
    let at = OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).ok();
    let at = at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
    let (event, message) = ("log_lines_dropped", "nobody read the log");
    match format {
        LogFormat::Text => {
            format!("{at}  WARN natter::telemetry: {message} event=\"{event}\" lines={lines}\n")
        }
        LogFormat::Json => format!(
            "{}\n",
            serde_json::json!({
                "timestamp": at, "level": "WARN", "message": message, "event": event,
                "lines": lines, "target": "natter::telemetry",
            })
        ),
    }
}
