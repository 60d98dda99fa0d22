//! Background jobs, and the workers that run for as long as the instance.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::register::{counters, gauges, histograms, register};
use crate::domain::clock::Timestamp;
use crate::domain::jobs::{JobCount, JobState};

/// Seconds that a run takes.
const DURATIONS: [f64; 8] = [0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0];

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// The job is done.
    Done,
    /// There is more to do.
    Again,
    /// It failed, and is tried again.
    Failed,
    /// It failed for good.
    Dead,
    /// Its time was over before it succeeded.
    Expired,
    /// Another instance took it over.
    Lost,
}

impl RunOutcome {
    const ALL: [Self; 6] =
        [Self::Done, Self::Again, Self::Failed, Self::Dead, Self::Expired, Self::Lost];

    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again => "again",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Lost => "lost",
        }
    }
}

/// Counts jobs and their runs; cloning shares it.
#[derive(Debug, Clone)]
pub struct JobMetrics {
    jobs: IntGaugeVec,
    oldest: IntGaugeVec,
    runs: IntCounterVec,
    durations: HistogramVec,
}

impl JobMetrics {
    pub(super) fn new(all: &Registry) -> prometheus::Result<Self> {
        let jobs = Opts::new("natter_jobs", "Background jobs of all instances, by their state.");
        Ok(Self {
            jobs: register(all, IntGaugeVec::new(jobs, &["kind", "state"]))?,
            oldest: gauges(
                all,
                "natter_job_oldest_due_seconds",
                "For how long the job of a kind has been due that has been due longest.",
                "kind",
            )?,
            runs: counters(
                all,
                "natter_job_runs_total",
                "Runs of background jobs that ended.",
                &["kind", "outcome"],
            )?,
            durations: histograms(
                all,
                "natter_job_run_seconds",
                "How long runs of background jobs took.",
                "kind",
                &DURATIONS,
            )?,
        })
    }

    /// Shows a kind from now on, with nothing counted.
    pub fn begin(&self, kind: &str) {
        for outcome in RunOutcome::ALL {
            self.runs.with_label_values(&[kind, outcome.name()]);
        }
        self.durations.with_label_values(&[kind]);
        self.clear(kind);
    }

    fn clear(&self, kind: &str) {
        for state in JobState::ALL {
            self.jobs.with_label_values(&[kind, state.name()]).set(0);
        }
        self.oldest.with_label_values(&[kind]).set(0);
    }

    /// Counts a run.
    pub fn ran(&self, kind: &str, outcome: RunOutcome, took: Duration) {
        self.runs.with_label_values(&[kind, outcome.name()]).inc();
        self.durations.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    /// Shows how many jobs of these kinds there are.
    pub fn counted<'a>(
        &self,
        kinds: impl IntoIterator<Item = &'a str>,
        counts: &[JobCount],
        now: Timestamp,
    ) {
        for kind in kinds {
            self.clear(kind);
            let mut first_due: Option<Timestamp> = None;
            for count in counts.iter().filter(|count| count.kind == kind) {
                let jobs = i64::try_from(count.count).unwrap_or(i64::MAX);
                self.jobs.with_label_values(&[kind, count.state.name()]).add(jobs);
                if count.state == JobState::Waiting {
                    first_due = [first_due, count.first_due].into_iter().flatten().min();
                }
            }
            let age = first_due.map_or(0, |due| now.since(due).as_secs());
            self.oldest.with_label_values(&[kind]).set(i64::try_from(age).unwrap_or(i64::MAX));
        }
    }
}

/// Counts what the supervisor sees; cloning shares it.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    stuck: IntGaugeVec,
    restarts: IntCounterVec,
}

impl WorkerMetrics {
    pub(super) fn new(all: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            stuck: gauges(
                all,
                "natter_worker_stuck",
                "1 if a worker gives no sign of life, else 0.",
                "worker",
            )?,
            restarts: counters(
                all,
                "natter_worker_restarts_total",
                "Times that a worker panicked or ended, and was started again.",
                &["worker"],
            )?,
        })
    }

    /// Shows a worker from now on.
    pub fn begin(&self, worker: &str) {
        self.restarts.with_label_values(&[worker]);
        self.stuck(worker, false);
    }

    /// Shows whether a worker is stuck.
    pub fn stuck(&self, worker: &str, is_stuck: bool) {
        self.stuck.with_label_values(&[worker]).set(is_stuck.into());
    }

    /// Counts a restart.
    pub fn restarted(&self, worker: &str) {
        self.restarts.with_label_values(&[worker]).inc();
    }
}
