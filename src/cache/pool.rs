//! What the pool knows of its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};

/// Counts the failures of Redis. When one connection fails, the server or the way to it does, and
/// so do all others that were opened before: found out one by one, each would cost a time-out
/// after Redis is back.
#[derive(Debug, Clone, Default)]
pub(super) struct Era(Arc<AtomicU64>);

impl Era {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub fn is(&self, era: u64) -> bool {
        self.now() == era
    }

    /// Ends that era, unless it has ended already.
    pub fn end(&self, era: u64) {
        let _ = self.0.compare_exchange(era, era + 1, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Opens connections; knows of each whether it is past its era, so that the pool drops it
/// without a PING.
pub(super) struct Manager {
    pub client: Client,
    pub era: Era,
}

pub(super) struct Connection {
    pub wire: MultiplexedConnection,
    pub era: u64,
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Connection, RedisError> {
        // Read before connecting: whatever fails from then on ends this connection too.
        let era = self.era.now();
        Ok(Connection { wire: self.client.get_multiplexed_async_connection().await?, era })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), RedisError> {
        redis::cmd("PING").query_async(&mut connection.wire).await
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        !self.era.is(connection.era)
    }
}
