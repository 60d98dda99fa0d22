//! What an instance does again and again beside its requests.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::filters::rate_limit::RateLimits;
use crate::services::attachments::Attachments;

/// How often counters that are back at a full quota are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_mins(1);

/// How often files are looked for that never ended, or that nothing refers to.
const COLLECT_INTERVAL: Duration = Duration::from_mins(10);

/// Forgets counters, until told to stop.
pub(super) async fn forget_idle(limits: Arc<RateLimits>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(FORGET_INTERVAL);
    loop {
        tokio::select! {
            _ = tick.tick() => limits.forget_idle(),
            () = stop.cancelled() => return,
        }
    }
}

/// Collects files, until told to stop.
pub(super) async fn collect_files(attachments: Arc<Attachments>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(COLLECT_INTERVAL);
    let round = async || {
        match attachments.collect_abandoned().await {
            Ok(0) => {}
            Ok(uploads) => tracing::info!(event = "uploads_collected", uploads),
            Err(error) => tracing::warn!(event = "uploads_collected", %error),
        }
        match attachments.collect_unused().await {
            Ok(0) => {}
            Ok(files) => tracing::info!(event = "attachments_collected", files),
            Err(error) => tracing::warn!(event = "attachments_collected", %error),
        }
    };
    loop {
        tokio::select! {
            _ = tick.tick() => round().await,
            () = stop.cancelled() => return,
        }
    }
}
