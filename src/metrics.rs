//! What an instance counts and measures, for `GET /metrics`.
//!
//! One [`Metrics`] for each instance, made where all is put together, so that two instances in one
//! process count apart. Whoever counts gets a handle that knows only what it may count: label
//! values come from this program, never from a client, so the number of series is bounded.

mod http;
mod jobs;
mod listeners;
mod messages;
mod pools;
mod realtime;
mod redis;
mod register;

use prometheus::{IntCounter, IntGauge, Opts, Registry, TextEncoder};

pub use self::http::HttpMetrics;
pub use self::jobs::{JobMetrics, RunOutcome, WorkerMetrics};
pub use self::listeners::ListenerMetrics;
use self::listeners::Listeners;
pub use self::messages::MessageMetrics;
pub use self::pools::{PoolMetrics, PoolsMetrics};
pub use self::realtime::RealtimeMetrics;
pub use self::redis::RedisMetrics;
use self::register::{counter, gauge, register};
use crate::domain::clock::Timestamp;
use crate::error::{Error, Result};
use crate::telemetry;

/// Everything that an instance measures; cloning shares it.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    listeners: Listeners,
    /// Requests.
    pub http: HttpMetrics,
    /// Background jobs.
    pub jobs: JobMetrics,
    /// Messages on their way to the store.
    pub messages: MessageMetrics,
    /// The pools of connections to the stores.
    pub pools: PoolsMetrics,
    /// Sockets.
    pub realtime: RealtimeMetrics,
    /// The way to Redis.
    pub redis: RedisMetrics,
    /// Workers.
    pub workers: WorkerMetrics,
    dropped_log_lines: IntCounter,
}

impl Metrics {
    /// Metrics of an instance that started at this moment, all at zero.
    ///
    /// # Errors
    /// When two have one name, or one has none that Prometheus takes.
    pub fn new(started: Timestamp) -> Result<Self> {
        Self::registered(started).map_err(Error::internal)
    }

    fn registered(started: Timestamp) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let build = Opts::new("natter_build_info", "1; the label says which natter this is.");
        let build = build.const_label("version", env!("CARGO_PKG_VERSION"));
        register(&registry, IntGauge::with_opts(build))?.set(1);
        let about = "When the instance started, in Unix time.";
        gauge(&registry, "process_start_time_seconds", about)?.set(started.seconds());
        Ok(Self {
            listeners: Listeners::new(&registry)?,
            http: HttpMetrics::new(&registry)?,
            jobs: JobMetrics::new(&registry)?,
            messages: MessageMetrics::new(&registry)?,
            pools: PoolsMetrics::new(&registry)?,
            realtime: RealtimeMetrics::new(&registry)?,
            redis: RedisMetrics::new(&registry)?,
            workers: WorkerMetrics::new(&registry)?,
            dropped_log_lines: counter(
                &registry,
                "natter_log_lines_dropped_total",
                "Lines of the log that were dropped because nobody read it.",
            )?,
            registry,
        })
    }

    /// All of it, as Prometheus reads it (text exposition format 0.0.4).
    ///
    /// # Errors
    /// [`Error::internal`] when a metric cannot be written.
    pub fn text(&self) -> Result<String> {
        let (dropped, told) = (telemetry::dropped_lines(), self.dropped_log_lines.get());
        self.dropped_log_lines.inc_by(dropped.saturating_sub(told));
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(Error::internal)
    }

    /// What the listener of this name counts.
    #[must_use]
    pub fn listener(&self, name: &'static str) -> ListenerMetrics {
        self.listeners.of(name)
    }
}

/// Something that is counted as long as it is there.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    fn by(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::http::{Method, StatusCode};

    use super::*;
    use crate::domain::clock::Clock;

    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = metrics.text().unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn has(metrics: &Metrics, line: &str) -> bool {
        lines(metrics).iter().any(|other| other == line)
    }

    #[test]
    fn words_of_clients_become_no_series() {
        let metrics = Metrics::new(Clock::manual().now()).unwrap();
        for n in 0..100 {
            let method = Method::from_bytes(format!("MADEUP{n}").as_bytes()).unwrap();
            metrics.http.answered(&method, None, StatusCode::NOT_FOUND, Duration::from_millis(2));
        }
        let line = r#"natter_http_requests_total{method="other",route="none",status="404"} 100"#;
        assert!(has(&metrics, line), "{:?}", lines(&metrics));
    }

    #[test]
    fn what_is_open_is_counted_until_it_is_dropped() {
        let metrics = Metrics::new(Clock::manual().now()).unwrap();
        let listener = metrics.listener("https");
        let held = (listener.open(), listener.open());
        assert!(has(&metrics, r#"natter_connections_open{listener="https"} 2"#));
        drop(held);
        assert!(has(&metrics, r#"natter_connections_open{listener="https"} 0"#));
    }

    #[test]
    fn two_instances_count_apart() {
        let [one, other] = [(), ()].map(|()| Metrics::new(Clock::manual().now()).unwrap());
        one.messages.written();
        assert!(has(&one, "natter_messages_written_total 1"));
        assert!(has(&other, "natter_messages_written_total 0"));
    }
}
