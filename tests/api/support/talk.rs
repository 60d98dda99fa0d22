//! A flood of messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use super::Actor;

/// Someone who writes a hundred messages a second until told to stop.
pub struct Talk {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Talk {
    /// Begins to write to this user or group.
    pub fn begin(actor: &Actor, to: Value) -> Self {
        let (stop, actor) = (Arc::new(AtomicBool::new(false)), actor.clone());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            let mut sends = JoinSet::new();
            while !stopped.load(Ordering::Relaxed) {
                tick.tick().await;
                let mut body = to.clone();
                body["message"] = "talk".into();
                let actor = actor.clone();
                sends.spawn(async move { actor.post("/messages", body).await });
            }
            sends.join_all().await;
        });
        Self { stop, task }
    }

    /// Ends when all that was sent is answered.
    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("a talk");
    }
}
