//! Requests, counted where their answers leave.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::{HistogramVec, IntCounterVec, Registry};

use super::register::{counters, histograms};

/// The route of a request whose path is in no row of the table.
const NO_ROUTE: &str = "none";

/// Bounds of answer times, in seconds: from what a cache answers to what `server.request_seconds`
/// allows.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counts requests.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl HttpMetrics {
    pub(super) fn new(all: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: counters(
                all,
                "natter_http_requests_total",
                "Requests answered, on the HTTPS and the admin listener.",
                &["method", "route", "status"],
            )?,
            durations: histograms(
                all,
                "natter_http_request_duration_seconds",
                "From the complete head of a request to the head of its answer.",
                "route",
                &SECONDS,
            )?,
        })
    }

    /// Counts a request whose answer's head is ready. `route` is the path of its row in the
    /// route table, `None` where there is none; `took` is the time since the request's head.
    pub fn answered(
        &self,
        method: &Method,
        route: Option<&'static str>,
        status: StatusCode,
        took: Duration,
    ) {
        let route = route.unwrap_or(NO_ROUTE);
        let labels = [name(method), route, status.as_str()];
        self.requests.with_label_values(&labels).inc();
        self.durations.with_label_values(&[route]).observe(took.as_secs_f64());
    }
}

/// The methods there are; clients may make up others, which must not become series.
fn name(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => name,
        _ => "other",
    }
}
