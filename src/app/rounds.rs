//! What an instance does again and again beside its requests.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::filters::rate_limit::RateLimits;

/// How often counters that are back at a full quota are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_mins(1);

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
