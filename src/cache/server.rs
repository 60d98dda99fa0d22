//! Facts about the server that an operator checks before natter works with it.

use std::time::Duration;

use redis::{ErrorKind, RedisError};
use tokio::time::timeout;

use super::Redis;
use super::rights::MissingRights;
use crate::domain::clock::{Clock, Timestamp};

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// The server's own description.
#[derive(Debug, Clone)]
pub struct ServerReport {
    /// Rights that natter lacks there.
    pub missing: MissingRights,
    /// Its version; `None` where natter may not know.
    pub version: Option<String>,
    /// The eviction policy of full memory; `None` where natter may not read it.
    pub eviction: Option<String>,
    /// Its clock, where it may be asked, and ours at the same moment.
    pub clocks: Option<(Timestamp, Timestamp)>,
}

impl Redis {
    /// Asks the server about itself.
    ///
    /// # Errors
    /// It is away, or does not let natter in; as one line without the password.
    pub async fn report(&self) -> Result<ServerReport, String> {
        let asked = timeout(DEADLINE, self.ask_report()).await;
        asked.map_err(|_| "no answer in time".to_owned())?.map_err(|error| reason(&error))
    }

    async fn ask_report(&self) -> Result<ServerReport, RedisError> {
        let missing = self.missing_rights().await?;
        let mut connection = self.client.get_multiplexed_async_connection().await?;
        let info = redis::cmd("INFO").query_async::<String>(&mut connection).await.ok();
        let field = |name: &str| {
            let value = info.as_ref()?.lines().find_map(|line| line.strip_prefix(name));
            value.map(|value| value.trim().to_owned())
        };
        let time = redis::cmd("TIME").query_async::<(i64, i64)>(&mut connection).await.ok();
        let theirs = time.map(|(s, micros)| Timestamp::from_millis(s * 1000 + micros / 1000));
        Ok(ServerReport {
            missing,
            version: field("redis_version:"),
            eviction: field("maxmemory_policy:"),
            clocks: theirs.map(|theirs| (theirs, Clock::system().now())),
        })
    }
}

/// The error with its cause, which says what is wrong with a certificate.
fn reason(error: &RedisError) -> String {
    let hint = match error.kind() {
        ErrorKind::AuthenticationFailed => " (user or password of redis.url)",
        _ => "",
    };
    format!("{error}{hint}").replace('\n', " ")
}
