//! Redis: what may be lost. Every answer may be "don't know": an error is a miss, never a failure.

pub mod pages;
mod pool;
pub mod profiles;
pub mod rate_limit;
mod rights;
pub mod server;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisError, TlsCertificates};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use self::pool::{Era, Manager};
use self::rights::Rights;
use crate::admission::Admission;
use crate::config;
use crate::metrics::{Metrics, RedisMetrics};

/// Connections for commands; one more is there for the question whether Redis answers.
const CONNECTIONS: u32 = 32;

/// How long a command may wait for a connection, and again for its answer.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(100);

/// How long Redis is left alone after it failed: a dead cache must not cost each request a wait.
const TIME_OUT: Duration = Duration::from_secs(1);

/// The pool of connections for commands, with the prefix that all its keys have.
#[derive(Clone)]
pub struct Redis {
    pool: bb8::Pool<Manager>,
    /// For a connection beside the pool.
    client: Client,
    rights: Arc<Rights>,
    admission: Admission,
    prefix: Arc<str>,
    away_until: Arc<Mutex<Option<Instant>>>,
    era: Era,
    metrics: RedisMetrics,
}

impl Redis {
    /// A pool for the server in the settings; connects when it is first used, so that natter starts
    /// without Redis. What becomes of it is counted in `metrics`.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn new(settings: &config::Redis, metrics: &Metrics) -> Result<Self, RedisError> {
        let url = settings.url.expose();
        let client = match &settings.tls_ca {
            None => Client::open(url)?,
            Some(authorities) => {
                let root_cert = Some(authorities.pem().to_vec());
                Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert })?
            }
        };
        let era = Era::default();
        let pool = bb8::Pool::builder()
            .max_size(CONNECTIONS + 1)
            .connection_timeout(COMMAND_TIMEOUT)
            .test_on_check_out(false)
            .error_sink(Box::new(bb8::NopErrorSink))
            .build_unchecked(Manager { client: client.clone(), era: era.clone() });
        Ok(Self {
            pool,
            client,
            rights: Arc::default(),
            admission: Admission::new(CONNECTIONS, metrics.pools.pool("redis")),
            prefix: settings.prefix.as_str().into(),
            away_until: Arc::new(Mutex::new(None)),
            era,
            metrics: metrics.redis.clone(),
        })
    }

    /// A client of the same server, for connections beside the pool.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The full key of a name.
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether the server answers, and lets natter do what it needs; asks it even while it is left
    /// alone.
    pub async fn is_up(&self) -> bool {
        self.ask::<String>(&redis::cmd("PING")).await.is_ok() && self.has_rights().await
    }

    /// The value of a key, as JSON; `None` where it is absent, unreadable, or Redis is away.
    async fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let value: Option<Vec<u8>> = self.send(redis::cmd("GET").arg(self.key(name))).await?;
        serde_json::from_slice(&value?).ok()
    }

    /// Keeps a value as JSON for a time; nothing happens if Redis is away.
    async fn set(&self, name: &str, value: &impl Serialize, ttl: Duration) {
        let Ok(json) = serde_json::to_vec(value) else { return };
        let mut command = redis::cmd("SET");
        command.arg(self.key(name)).arg(json).arg("EX").arg(ttl.as_secs());
        let _: Option<()> = self.send(&command).await;
    }

    /// Sends some commands together and waits for all; whether they arrived.
    async fn send_all(&self, commands: &Pipeline) -> bool {
        match self.attempt::<()>(commands).await {
            Ok(()) => true,
            Err(Failure::Refused(error)) => {
                tracing::warn!(event = "redis_command_refused", %error, "Redis refused a command");
                false
            }
            Err(Failure::Away) => false,
        }
    }

    /// Sends one command; `None` when Redis is away, slow, or answers with an error.
    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        match self.attempt(command).await {
            Ok(answer) => Some(answer),
            Err(Failure::Refused(error)) => {
                tracing::warn!(event = "redis_command_refused", %error, "Redis refused a command");
                None
            }
            Err(Failure::Away) => None,
        }
    }

    /// Runs a script by its hash; sends its text where the server has not seen it yet, which
    /// makes it known there.
    async fn script<T: FromRedisValue>(
        &self,
        script: &redis::Script,
        text: &str,
        key: &str,
        arguments: &[i64],
    ) -> Option<T> {
        let command = |name: &str, body: &str| {
            let mut command = redis::cmd(name);
            command.arg(body).arg(1).arg(self.key(key)).arg(arguments);
            command
        };
        match self.attempt(&command("EVALSHA", script.get_hash())).await {
            Ok(answer) => Some(answer),
            Err(Failure::Refused(_)) => self.send(&command("EVAL", text)).await,
            Err(Failure::Away) => None,
        }
    }

    /// Asks, unless Redis failed a moment ago or too many ask already.
    async fn attempt<T: FromRedisValue>(&self, command: &impl Question) -> Result<T, Failure> {
        if self.away_until().is_some_and(|until| Instant::now() < until) {
            return Err(Failure::Away);
        }
        let place = self.admission.place(Instant::now() + COMMAND_TIMEOUT).await;
        let _place = place.map_err(|_| Failure::Away)?;
        match self.ask(command).await {
            Err(AskError::Away(error)) => {
                if self.away_until().is_none_or(|until| until < Instant::now()) {
                    tracing::warn!(event = "redis_unavailable", error, "Redis does not answer");
                }
                *self.away_until() = Some(Instant::now() + TIME_OUT);
                Err(Failure::Away)
            }
            Err(AskError::Refused(error)) => Err(Failure::Refused(error)),
            Ok(answer) => Ok(answer),
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &impl Question) -> Result<T, AskError> {
        let answer = self.exchange(command).await;
        self.metrics.asked(!matches!(answer, Err(AskError::Away(_))));
        answer
    }

    async fn exchange<T: FromRedisValue>(&self, command: &impl Question) -> Result<T, AskError> {
        let mut connection = self.connection().await?;
        let error = match timeout(COMMAND_TIMEOUT, command.put(&mut connection.wire)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if is_from_server(&error) => return Err(AskError::Refused(error)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.era.end(connection.era);
        Err(AskError::Away(error))
    }

    /// A connection of this era; those of an earlier one are dropped on the way.
    async fn connection(&self) -> Result<bb8::PooledConnection<'_, Manager>, AskError> {
        loop {
            let connection = self.pool.get().await;
            let connection = connection.map_err(|error| AskError::Away(error.to_string()))?;
            if self.era.is(connection.era) {
                return Ok(connection);
            }
        }
    }

    fn away_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away_until.lock()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", self.prefix)
    }
}

/// What can be asked of the server in one go.
trait Question: Sync {
    fn put<T: FromRedisValue>(
        &self,
        wire: &mut MultiplexedConnection,
    ) -> impl Future<Output = Result<T, RedisError>> + Send;
}

impl Question for Cmd {
    async fn put<T: FromRedisValue>(
        &self,
        wire: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        self.query_async(wire).await
    }
}

impl Question for Pipeline {
    async fn put<T: FromRedisValue>(
        &self,
        wire: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        self.query_async(wire).await
    }
}

enum Failure {
    /// The server answered, with an error.
    Refused(RedisError),
    /// The server could not be reached, did not answer, or is left alone.
    Away,
}

enum AskError {
    Refused(RedisError),
    Away(String),
}

fn is_from_server(error: &RedisError) -> bool {
    !(error.is_io_error() || error.is_connection_dropped() || error.is_timeout())
}
