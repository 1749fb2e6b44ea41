//! The bounded queue of one listener.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Event, Interest};

/// Maximum number of queued events.
pub(super) const MAX_EVENTS: usize = 4096;

/// Maximum size of the queued events, in bytes of JSON.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A queue that drops its oldest events when it is full, so that a slow listener sees the
/// current ones.
pub(super) struct Queue {
    pub(super) interest: Interest,
    pending: Mutex<Pending>,
    arrived: Notify,
}

#[derive(Default)]
struct Pending {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Number of events that were dropped before the first pending one.
    dropped: u64,
}

/// Next item of a queue.
#[derive(Debug)]
pub(crate) enum Received {
    Event(Arc<Event>),
    /// Number of events that the listener has missed because it read too slowly.
    Dropped(u64),
}

impl Queue {
    pub(super) fn new(interest: Interest) -> Queue {
        Queue { interest, pending: Mutex::default(), arrived: Notify::new() }
    }

    pub(super) fn push(&self, event: Arc<Event>) {
        let mut pending = self.pending.lock();
        pending.bytes += event.json.len();
        pending.events.push_back(event);
        while pending.events.len() > MAX_EVENTS || pending.bytes > MAX_BYTES {
            let Some(oldest) = pending.events.pop_front() else { break };
            pending.bytes -= oldest.json.len();
            pending.dropped += 1;
        }
        drop(pending);
        self.arrived.notify_one();
    }

    /// Waits for the next item. Can be cancelled without losing it.
    pub(super) async fn next(&self) -> Received {
        loop {
            if let Some(received) = self.take() {
                return received;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<Received> {
        let mut pending = self.pending.lock();
        if pending.dropped > 0 {
            return Some(Received::Dropped(std::mem::take(&mut pending.dropped)));
        }
        let event = pending.events.pop_front()?;
        pending.bytes -= event.json.len();
        Some(Received::Event(event))
    }
}
