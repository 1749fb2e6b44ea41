//! Events of the hub for its listeners: telemetry, twin changes, lifecycle, methods and traffic.
//!
//! [`Events::publish`] queues an event for every listener that is interested in it. Without
//! such a listener, it reads one atomic number and does not build the event. Each listener
//! has a bounded queue of its own, so a slow one loses its own events only, and is notified of
//! their number.
//!
//! This module does not know what the events describe, or how they reach a listener.

mod payload;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::RwLock;
use protocol::id::DeviceId;
use serde_json::{Map, Value, json};

use crate::stamps::now;
pub(crate) use payload::add_payload;
use queue::Queue;
pub(crate) use queue::Received;

/// Maximum number of listeners. Each can hold [`queue::MAX_BYTES`].
pub(crate) const MAX_LISTENERS: usize = 64;

/// Kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Device-to-cloud message.
    Telemetry,
    /// Change of a twin.
    Twin,
    /// Device that was created, changed, deleted, connected or disconnected.
    Lifecycle,
    /// Direct method with its outcome.
    Method,
    /// MQTT packet from or to a device.
    Traffic,
}

impl EventKind {
    pub(crate) const ALL: [EventKind; 5] = [
        EventKind::Telemetry,
        EventKind::Twin,
        EventKind::Lifecycle,
        EventKind::Method,
        EventKind::Traffic,
    ];

    /// Returns the name of the kind in streams.
    pub(crate) fn name(self) -> &'static str {
        match self {
            EventKind::Telemetry => "telemetry",
            EventKind::Twin => "twin",
            EventKind::Lifecycle => "lifecycle",
            EventKind::Method => "method",
            EventKind::Traffic => "traffic",
        }
    }

    /// Returns the kind with this name.
    pub(crate) fn parse(name: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The members of an event, except `deviceId` and `time`.
pub(crate) type EventData = Map<String, Value>;

/// An event for listeners.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// A JSON object on one line.
    pub(crate) json: String,
}

/// The events in which a listener is interested.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interest {
    kinds: u8,
    /// `None` for all devices.
    device: Option<DeviceId>,
}

impl Interest {
    /// Returns the interest in these kinds, of one device or of all devices.
    pub(crate) fn new(kinds: &[EventKind], device: Option<DeviceId>) -> Interest {
        Interest { kinds: kinds.iter().fold(0, |bits, kind| bits | kind.bit()), device }
    }

    fn covers(&self, kind: EventKind, device: &DeviceId) -> bool {
        self.kinds & kind.bit() != 0 && self.device.as_ref().is_none_or(|own| own == device)
    }
}

/// The listeners of a hub.
#[derive(Default)]
pub(crate) struct Events {
    /// Kinds in which any listener is interested.
    wanted: AtomicU8,
    queues: RwLock<Vec<Arc<Queue>>>,
}

/// Error for a listener beyond [`MAX_LISTENERS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyListeners;

impl Events {
    /// Queues an event for the listeners that are interested in it. `data` is called only if
    /// there is one.
    pub(crate) fn publish(
        &self,
        kind: EventKind,
        device: &DeviceId,
        data: impl FnOnce() -> EventData,
    ) {
        if self.wanted.load(Ordering::Relaxed) & kind.bit() == 0 {
            return;
        }
        let queues = self.queues.read();
        let mut interested =
            queues.iter().filter(|queue| queue.interest.covers(kind, device)).peekable();
        if interested.peek().is_none() {
            return;
        }
        let mut data = data();
        data.insert("deviceId".to_owned(), json!(device));
        data.insert("time".to_owned(), json!(now()));
        let event = Arc::new(Event { kind, json: Value::Object(data).to_string() });
        for queue in interested {
            queue.push(Arc::clone(&event));
        }
    }

    /// Adds a listener, which receives all further events of its interest.
    pub(crate) fn listen(
        self: &Arc<Events>,
        interest: Interest,
    ) -> Result<EventListener, TooManyListeners> {
        let mut queues = self.queues.write();
        if queues.len() >= MAX_LISTENERS {
            return Err(TooManyListeners);
        }
        let queue = Arc::new(Queue::new(interest));
        queues.push(Arc::clone(&queue));
        self.update_wanted(&queues);
        Ok(EventListener { events: Arc::clone(self), queue })
    }

    fn update_wanted(&self, queues: &[Arc<Queue>]) {
        let wanted = queues.iter().fold(0, |bits, queue| bits | queue.interest.kinds);
        self.wanted.store(wanted, Ordering::Relaxed);
    }
}

/// A listener, which is removed when dropped.
pub(crate) struct EventListener {
    events: Arc<Events>,
    queue: Arc<Queue>,
}

impl EventListener {
    /// Waits for the next event, or for the number of events that were lost before it.
    pub(crate) async fn next(&mut self) -> Received {
        self.queue.next().await
    }
}

impl Drop for EventListener {
    fn drop(&mut self) {
        let mut queues = self.events.queues.write();
        queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.events.update_wanted(&queues);
    }
}

/// Returns an object's members as the data of an event.
pub(crate) fn data(object: Value) -> EventData {
    match object {
        Value::Object(members) => members,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

#[cfg(test)]
mod tests;
