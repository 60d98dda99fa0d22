//! The log: what is written, in which shape, and that panics are in it.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::queue::{Flush, dropped_lines};
use crate::config::{Log, LogFormat};

/// Sets up the log of a process: its lines wait in a queue for whoever reads standard error, so
/// that nobody waits for the reader, and panics are events. What this gives writes the lines that
/// wait when it is dropped.
pub fn init(log: &Log) -> Flush {
    let (queue, flush) = queue::to_stderr(log.format);
    subscribe_with(log, queue);
    log_panics();
    flush
}

/// Writes events to standard error from now on, as the settings say.
///
/// Standard output stays free for what commands print. Only the first call in a process has an
/// effect, so that every test may call it.
pub fn subscribe(log: &Log) {
    subscribe_with(log, std::io::stderr);
}

fn subscribe_with(log: &Log, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    // Settings have checked the directives; a `Log` made by hand gets what can be read of its own.
    let filter = EnvFilter::builder().parse_lossy(&log.level);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let installed = match log.format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => {
            let json = builder.json().flatten_event(true).with_span_list(false);
            json.finish().try_init()
        }
    };
    drop(installed);
}

/// Makes an event of every panic, with its message, place and thread.
///
/// The message is the panic's own: code must not put request bodies or secrets into one. With
/// `RUST_BACKTRACE=1` the event carries a backtrace too. Where no subscriber takes errors, the
/// hook that was there before reports the panic. Tests better leave this out: their harness
/// captures only what the standard hook prints.
pub fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if tracing::enabled!(tracing::Level::ERROR) {
            log_panic(info);
        } else {
            before(info);
        }
    }));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    let thread = std::thread::current();
    tracing::error!(
        panic.message = info.payload_as_str().unwrap_or("not a text"),
        panic.location = info.location().map(tracing::field::display),
        panic.thread = thread.name(),
        panic.backtrace = captured.then(|| tracing::field::display(&backtrace)),
        "panic"
    );
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::config::Settings;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn subscribing_twice_is_fine() {
        let log = Settings::defaults().log;
        subscribe(&log);
        subscribe(&Log { format: LogFormat::Json, ..log });
    }

    #[test]
    fn a_panic_is_an_event() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        // The hook is the whole process's: gone again before this test can fail.
        log_panics();
        tracing::subscriber::with_default(subscriber, || {
            std::panic::catch_unwind(|| panic!("seq went back")).unwrap_err();
        });
        drop(std::panic::take_hook());
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["level"], "ERROR");
        assert_eq!(event["message"], "panic");
        assert_eq!(event["panic.message"], "seq went back");
        assert!(event["panic.location"].as_str().unwrap().starts_with("src/telemetry.rs:"));
        assert_eq!(event["panic.thread"], "telemetry::tests::a_panic_is_an_event");
    }
}
