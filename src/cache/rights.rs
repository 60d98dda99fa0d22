//! Rights of natter's user at the server, found by trying, since `ACL` itself may be refused.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use tokio::time::{Instant, timeout};

use super::Redis;
use crate::domain::clock::random_bytes;

/// How long trying may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long an answer is believed that all is allowed.
const BELIEVED: Duration = Duration::from_secs(30);

/// All commands that natter sends, and those of its scripts, harmless: `KEY` holds a text for a
/// moment, so that commands on other types are refused for its type only. Subscribing is tried
/// apart.
const COMMANDS: [&[&str]; 30] = [
    &["PING"],
    &["SET", "KEY", "1", "PX", "1000"],
    &["SETEX", "KEY", "1", "1"],
    &["GET", "KEY"],
    &["MGET", "KEY"],
    &["INCR", "KEY"],
    &["EXISTS", "KEY"],
    &["EXPIRE", "KEY", "1"],
    &["PEXPIRE", "KEY", "1000"],
    &["PTTL", "KEY"],
    &["HGET", "KEY", "1"],
    &["HSET", "KEY", "1", "1"],
    &["HMGET", "KEY", "1"],
    &["XADD", "KEY", "*", "1", "1"],
    &["XLEN", "KEY"],
    &["XRANGE", "KEY", "-", "+"],
    &["XREVRANGE", "KEY", "+", "-"],
    &["ZADD", "KEY", "1", "1"],
    &["ZCARD", "KEY"],
    &["ZCOUNT", "KEY", "0", "1"],
    &["ZRANGE", "KEY", "0", "-1"],
    &["ZREM", "KEY", "1"],
    &["ZREMRANGEBYSCORE", "KEY", "0", "1"],
    &["TIME"],
    &["EVAL", "return 1", "0"],
    &["EVALSHA", "0000000000000000000000000000000000000000", "0"],
    &["SCRIPT", "LOAD", "return 1"],
    &["PUBLISH", "CHANNEL", ""],
    &["DEL", "KEY"],
    INFO,
];

/// Tells whether keys were evicted. Without it clients are told more often that they may have
/// missed something; all else works.
const INFO: &[&str] = &["INFO", "stats"];

/// The latest finding.
#[derive(Debug, Default)]
pub(super) struct Rights(Mutex<Option<(Instant, MissingRights)>>);

/// Missing rights, as the ACL rules that would grant them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingRights {
    /// Without these it cannot work with Redis.
    pub needed: Vec<String>,
    /// Without these it does less.
    pub useful: Vec<String>,
}

impl Redis {
    /// Whether natter may do all that it needs; asks the server from time to time, and says in the
    /// log what is missing when that changes.
    pub async fn has_rights(&self) -> bool {
        let known = self.rights.0.lock().clone();
        let is_fresh = |at: &Instant| at.elapsed() < BELIEVED;
        if let Some((at, missing)) = &known
            && missing.needed.is_empty()
            && is_fresh(at)
        {
            return true;
        }
        let Ok(missing) = self.missing_rights().await else { return false };
        if known.is_none_or(|(_, known)| known != missing) {
            if !missing.needed.is_empty() {
                let missing = missing.needed.join(" ");
                tracing::warn!(
                    event = "redis_permissions_missing",
                    missing,
                    "Redis refuses commands"
                );
            } else if !missing.useful.is_empty() {
                let missing = missing.useful.join(" ");
                tracing::info!(
                    event = "redis_permissions_optional",
                    missing,
                    "Redis refuses a command"
                );
            }
        }
        let may_work = missing.needed.is_empty();
        *self.rights.0.lock() = Some((Instant::now(), missing));
        may_work
    }

    /// Tries every command that natter sends.
    pub async fn missing_rights(&self) -> Result<MissingRights, RedisError> {
        let connection = self.client.get_multiplexed_async_connection().await?;
        let key = format!("{}rights:{:016x}", self.prefix, u64::from_be_bytes(random_bytes()));
        let tried = COMMANDS.iter().map(|command| self.missing(&connection, command, &key));
        let refused = timeout(DEADLINE, join_all(tried)).await.map_err(slow)?;
        let mut missing = MissingRights::default();
        for (command, refused) in COMMANDS.iter().zip(refused) {
            let Some(rule) = refused? else { continue };
            if command[0] == "INFO" { &mut missing.useful } else { &mut missing.needed }.push(rule);
        }
        let subscribing = timeout(DEADLINE, self.subscribing()).await.map_err(slow)??;
        missing.needed.extend(subscribing);
        // Each once: a key that is refused is so for every command.
        let mut seen = BTreeSet::new();
        missing.needed.retain(|rule| seen.insert(rule.clone()));
        Ok(missing)
    }

    /// The rule that one command lacks.
    async fn missing(
        &self,
        connection: &MultiplexedConnection,
        command: &[&str],
        key: &str,
    ) -> Result<Option<String>, RedisError> {
        let mut cmd = redis::Cmd::new();
        for part in command {
            match *part {
                "KEY" => cmd.arg(key),
                "CHANNEL" => cmd.arg(self.key("rights")),
                part => cmd.arg(part),
            };
        }
        let name = match command {
            ["SCRIPT", subcommand, ..] => format!("script|{}", subcommand.to_lowercase()),
            _ => command[0].to_lowercase(),
        };
        let answer = cmd.query_async::<Value>(&mut connection.clone()).await;
        self.rule(answer.map(drop), &name)
    }

    async fn subscribing(&self) -> Result<Vec<String>, RedisError> {
        let mut connection = self.client.get_async_pubsub().await?;
        let channel = self.key("rights");
        let subscribed = self.rule(connection.subscribe(&channel).await, "subscribe")?;
        let left = self.rule(connection.unsubscribe(&channel).await, "unsubscribe")?;
        Ok(subscribed.into_iter().chain(left).collect())
    }

    /// The rule that a refusal asks for: other errors are none of rights.
    fn rule(
        &self,
        answer: Result<(), RedisError>,
        command: &str,
    ) -> Result<Option<String>, RedisError> {
        let Err(error) = answer else { return Ok(None) };
        if !super::is_from_server(&error) {
            return Err(error);
        }
        if error.code() != Some("NOPERM") {
            return Ok(None);
        }
        let reason = error.to_string();
        Ok(Some(if reason.contains("channel") {
            format!("&{}*", self.prefix)
        } else if reason.contains(" key") {
            format!("~{}*", self.prefix)
        } else {
            format!("+{command}")
        }))
    }
}

fn slow(_: tokio::time::error::Elapsed) -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
