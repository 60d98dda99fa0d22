//! The lease of the relay.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use super::bounds::{EVICTED, EVICTED_KEYS};
use super::{Bus, EVENT_FORMAT, away};
use crate::error::Result;

/// The duration of the lease; after a crash it expires.
const LEASE_DURATION: Duration = Duration::from_secs(2);

/// Takes the relay, if no other has it: lease; holder, milliseconds.
const TAKE: &str = r"
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// Keeps the relay, if one still has it: lease; holder, milliseconds.
const KEEP: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

/// Gives the relay up, if it is one's own: lease; holder.
const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
";

/// The lease of the relay. It saves work only: two relays at once write the same logs.
#[derive(derive_more::Debug)]
#[debug("Lease")]
pub struct Lease {
    connection: MultiplexedConnection,
    bus: Bus,
    evicted: Option<String>,
}

impl Lease {
    pub(super) fn new(connection: MultiplexedConnection, bus: Bus) -> Self {
        Self { connection, bus, evicted: None }
    }

    /// Takes the relay for two seconds; `false` while another instance has it, or while an instance
    /// of an earlier version lives: that one relays in a form that both can read.
    pub async fn take(&mut self) -> Result<bool> {
        // On the connection of the relay: after a loss of Redis it is there before the shared one.
        let listing = self.bus.list_instances();
        let alive: Vec<String> = listing.query_async(&mut self.connection).await.map_err(away)?;
        let is_mixed = alive.iter().any(|instance| !instance.starts_with(EVENT_FORMAT));
        Ok(!is_mixed && self.run(TAKE).await?)
    }

    /// Renews the lease for two seconds; `false` if another instance has it, or Redis lost it.
    pub async fn keep(&mut self) -> Result<bool> {
        let kept = self.run(KEEP).await?;
        self.note_evicted().await?;
        Ok(kept)
    }

    /// Releases the lease; after a failure it expires.
    pub async fn release(mut self) {
        let _ = self.run(RELEASE).await;
    }

    async fn run(&mut self, script: &str) -> Result<bool> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(1).arg(self.bus.names.relay());
        command.arg(&*self.bus.holder).arg(LEASE_DURATION.as_millis().to_string());
        let done: u8 = command.query_async(&mut self.connection).await.map_err(away)?;
        Ok(done == 1)
    }

    /// Notes evictions in the metadata of the logs: Redis counts them, but not across restarts.
    async fn note_evicted(&mut self) -> Result<()> {
        let mut command = redis::cmd("EVAL");
        let evicted = command.arg(EVICTED_KEYS).arg(0);
        let evicted = evicted.query_async::<String>(&mut self.connection).await.map_err(away)?;
        if self.evicted.as_ref().is_some_and(|before| *before != evicted) {
            let mut command = redis::cmd("EVAL");
            command.arg(EVICTED).arg(1).arg(self.bus.names.logs());
            let () = command.query_async(&mut self.connection).await.map_err(away)?;
        }
        self.evicted = Some(evicted);
        Ok(())
    }
}
