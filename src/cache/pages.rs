//! The newest page of each active conversation.
//!
//! Its key holds the conversation's last number and revision, from the summary that the same
//! request has read: a page that is found is current, and an old one is never asked for again.

use std::time::Duration;

use super::Redis;
use crate::domain::conversations::Summary;
use crate::domain::messages::StoredMessage;

/// How many messages a cached page holds.
pub const PAGE: usize = 50;

/// How long a page is kept.
const TTL: Duration = Duration::from_mins(10);

/// The newest [`PAGE`] messages, newest first, from the cache or else from `load`.
///
/// # Errors
/// `load`'s own.
pub async fn newest<E>(
    redis: &Redis,
    summary: &Summary,
    load: impl Future<Output = Result<Vec<StoredMessage>, E>>,
) -> Result<Vec<StoredMessage>, E> {
    let key = format!("page:v2:{}:{}:{}", summary.id, summary.last_seq, summary.revision);
    if let Some(page) = redis.get(&key).await {
        return Ok(page);
    }
    let page = load.await?;
    redis.set(&key, &page, TTL).await;
    Ok(page)
}
