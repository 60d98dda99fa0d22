//! Which primary the driver sees, as a number that changes with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::TopologyType;
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;

/// The primary that the driver sends commands to; cloning shares what is known.
#[derive(Debug, Clone, Default)]
pub struct PrimaryWatch(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Changes of the topology so far. One comes with each election, also where the same member
    /// wins again: the driver compares election ids.
    changes: AtomicU64,
    /// The change that brought the present primary; 0 where none is known.
    present: AtomicU64,
}

impl PrimaryWatch {
    /// The number of the present primary: another one after each election. `None` where there is
    /// none, or the driver does not see which: behind `mongos`, or without a replica set.
    pub(in crate::store) fn number(&self) -> Option<u64> {
        Some(self.0.present.load(Ordering::SeqCst)).filter(|number| *number > 0)
    }

    /// Learns from the driver's events.
    pub(super) fn handler(&self) -> EventHandler<SdamEvent> {
        let state = self.0.clone();
        EventHandler::callback(move |event| {
            let SdamEvent::TopologyDescriptionChanged(event) = event else { return };
            let change = state.changes.fetch_add(1, Ordering::SeqCst) + 1;
            let known =
                event.new_description.topology_type() == TopologyType::ReplicaSetWithPrimary;
            state.present.store(if known { change } else { 0 }, Ordering::SeqCst);
        })
    }
}
