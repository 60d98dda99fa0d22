//! Metrics made and registered in one step.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Registers what was made: a name stands once in a registry.
pub(super) fn register<C>(all: &Registry, made: prometheus::Result<C>) -> prometheus::Result<C>
where
    C: Collector + Clone + 'static,
{
    let made = made?;
    all.register(Box::new(made.clone()))?;
    Ok(made)
}

pub(super) fn counter(all: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    register(all, IntCounter::new(name, help))
}

pub(super) fn counters(
    all: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    register(all, IntCounterVec::new(Opts::new(name, help), labels))
}

pub(super) fn gauge(all: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(all, IntGauge::new(name, help))
}

pub(super) fn gauges(
    all: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> prometheus::Result<IntGaugeVec> {
    register(all, IntGaugeVec::new(Opts::new(name, help), &[label]))
}

pub(super) fn histogram(
    all: &Registry,
    name: &str,
    help: &str,
    bounds: Vec<f64>,
) -> prometheus::Result<Histogram> {
    register(all, Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds)))
}

pub(super) fn histograms(
    all: &Registry,
    name: &str,
    help: &str,
    label: &str,
    bounds: &[f64],
) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(name, help).buckets(bounds.to_vec());
    register(all, HistogramVec::new(opts, &[label]))
}
