//! The one way to a connection: a call takes a place in front of the driver's pool, runs under a
//! deadline, and gives the place back only when the driver has nothing left to do for it.
//!
//! The driver (3.9) serves one waiting check-out for each event of its pool, two a second when
//! idle, and does not notice that the caller of one has gone. So no more calls enter it than it has
//! connections, and a call that is given up while its check-out waits keeps its place until the
//! driver's queue has passed that check-out.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use mongodb::bson::doc;
use mongodb::error::Error as DriverError;
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection as DriverCollection, Database};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::DEADLINE;
use crate::admission::{Admission, Place, tell_late};
use crate::error::{Error, Result};
use crate::metrics::PoolMetrics;

/// Connections of each pool that no request waits for: those that follow changes, and those that
/// the driver uses by itself, to close cursors and sessions.
pub(super) const RESERVED: u32 = 4;

/// How many of them [`Pool::background`] gives out: the stream of events, the stream of ended
/// sessions, and the question whether the server answers.
const BACKGROUND: u32 = 3;

/// How long a call that is late may still take once it has left the driver's queue.
const GRACE: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// Whether the call that is polled now waits in the driver's queue.
    static QUEUED: Arc<AtomicBool>;
}

/// A client with the places in front of its connections; cloning shares both.
#[derive(Debug, Clone)]
pub(in crate::store) struct Pool {
    pub(super) client: Client,
    admission: Admission,
}

/// A handle that knows the pool of its calls.
pub(in crate::store) trait Pooled {
    fn pool(&self) -> &Pool;
}

impl Pooled for Pool {
    fn pool(&self) -> &Pool {
        self
    }
}

impl Pool {
    /// A pool of `connections`, of which requests get all but the reserved ones.
    pub(super) fn new(client: &Client, connections: u32, metrics: PoolMetrics) -> Self {
        let admission = Admission::new(connections - RESERVED, metrics);
        Self { client: client.clone(), admission }
    }

    /// The reserved connections of that client.
    pub(super) fn background(client: &Client, metrics: PoolMetrics) -> Self {
        Self { client: client.clone(), admission: Admission::new(BACKGROUND, metrics) }
    }

    /// A place for one call, or for one session whose commands come one after the other.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Entrance> {
        let place = self.admission.place(deadline).await?;
        Ok(Entrance { client: self.client.clone(), place: Some(place), queued: Arc::default() })
    }

    /// Runs one call under the deadline; the wait for a place counts.
    pub(super) async fn run<T>(&self, limit: Duration, call: impl Future<Output = T>) -> Result<T> {
        let deadline = Instant::now() + limit;
        let entrance = self.enter(deadline).await?;
        let outcome = entrance.run(deadline, call).await;
        outcome
            .ok_or_else(|| Error::unavailable().with_source("the database did not answer in time"))
    }
}

/// Handler of pool events, which lets the polled call notice its check-outs: the driver emits them
/// in the task that waits.
pub(super) fn observe_checkouts(options: &mut ClientOptions) {
    options.cmap_event_handler = Some(EventHandler::callback(|event| {
        let queued = match event {
            CmapEvent::ConnectionCheckoutStarted(_) => true,
            CmapEvent::ConnectionCheckedOut(_) | CmapEvent::ConnectionCheckoutFailed(_) => false,
            _ => return,
        };
        let _ = QUEUED.try_with(|flag| flag.store(queued, Ordering::Relaxed));
    }));
}

/// A place in use.
pub(super) struct Entrance {
    client: Client,
    /// Taken when it is dropped.
    place: Option<Place>,
    queued: Arc<AtomicBool>,
}

impl Entrance {
    /// Runs a call in this place; `None` if it is not done by the deadline.
    ///
    /// It is never given up while it waits in the driver's queue: that ends by itself, with a
    /// connection, or because the server is found not to answer. Until then the caller is
    /// answered without it.
    pub async fn run<T>(&self, deadline: Instant, call: impl Future<Output = T>) -> Option<T> {
        let mut call = pin!(QUEUED.scope(self.queued.clone(), call));
        let mut until = deadline;
        loop {
            if let Ok(outcome) = timeout_at(until, call.as_mut()).await {
                return Some(outcome);
            }
            if !self.is_queued() {
                return None;
            }
            tell_late();
            let left_queue = poll_fn(|cx| match call.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending if self.is_queued() => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
            });
            if let Some(outcome) = left_queue.await {
                return Some(outcome);
            }
            // Its connection would be lost with it.
            until = Instant::now() + GRACE;
        }
    }

    fn is_queued(&self) -> bool {
        self.queued.load(Ordering::Relaxed)
    }

    /// The same place, for what is still to be done for a call that was given up.
    pub fn take_over(&mut self) -> Self {
        let queued = Arc::new(AtomicBool::new(false));
        Self { client: self.client.clone(), place: self.place.take(), queued }
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if self.place.is_none() || !self.is_queued() {
            return;
        }
        let entrance = self.take_over();
        // Without a runtime there is no driver any more either.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(entrance.pass_queue());
        }
    }
}

impl Entrance {
    /// Waits until the driver's queue, which is first in, first out, has passed the check-out that
    /// was left in it.
    async fn pass_queue(self) {
        let ping = async { self.client.database("admin").run_command(doc! { "ping": 1 }).await };
        let _: Option<Result<_, DriverError>> = self.run(Instant::now() + DEADLINE, ping).await;
    }
}

/// A collection with the pool that its calls go through.
#[derive(Debug)]
pub(in crate::store) struct Collection<T: Send + Sync> {
    rows: DriverCollection<T>,
    pool: Pool,
}

impl<T: Send + Sync> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone(), pool: self.pool.clone() }
    }
}

impl<T: Send + Sync> Collection<T> {
    pub(super) fn new(database: &Database, name: &str, pool: &Pool) -> Self {
        Self { rows: database.collection(name), pool: pool.clone() }
    }

    /// The same collection, its rows read as another type.
    pub fn clone_with_type<U: Send + Sync>(&self) -> Collection<U> {
        Collection { rows: self.rows.clone_with_type(), pool: self.pool.clone() }
    }
}

impl<T: Send + Sync> std::ops::Deref for Collection<T> {
    type Target = DriverCollection<T>;

    fn deref(&self) -> &Self::Target {
        &self.rows
    }
}

impl<T: Send + Sync> Pooled for Collection<T> {
    fn pool(&self) -> &Pool {
        &self.pool
    }
}
