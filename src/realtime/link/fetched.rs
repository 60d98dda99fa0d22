//! Frames of events with a large audience: the bus keeps each once, an instance fetches it once.

use std::collections::{HashMap, VecDeque};

use crate::bus::Bus;
use crate::domain::events::{Frame, Position};
use crate::error::Result;

/// Frames that an instance keeps.
const MAX_CACHED_FRAMES: usize = 256;

/// The frames that were fetched last.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    frames: HashMap<Position, Frame>,
    /// The oldest first.
    order: VecDeque<Position>,
}

impl Fetched {
    /// The frame of an event; `None` where the bus no longer keeps it.
    pub async fn frame(&mut self, bus: &Bus, position: Position) -> Result<Option<Frame>> {
        if let Some(frame) = self.frames.get(&position) {
            return Ok(Some(frame.clone()));
        }
        let Some(frame) = bus.frame(position).await? else { return Ok(None) };
        if self.order.len() >= MAX_CACHED_FRAMES
            && let Some(oldest) = self.order.pop_front()
        {
            self.frames.remove(&oldest);
        }
        self.order.push_back(position);
        self.frames.insert(position, frame.clone());
        Ok(Some(frame))
    }
}
