//! Registry of live sessions.
//!
//! A session is registered when its CONNACK is queued. The REST API notifies sessions of
//! changes and ends them; [`crate::methods`] waits for sessions and sends methods through
//! their [`Outlet`].
//!
//! This module does not handle sockets. It represents a session by a queue of packets, its
//! subscriptions and a channel that ends it.

mod in_flight;
mod mqtt5;
mod outlet;
mod tap;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::id::DeviceId;
use protocol::mqtt5::ReasonCode;
use protocol::topic::{Filter, HubTopic};
use protocol::twin::DesiredPatch;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::warn;

use crate::events::Events;
use crate::faults::{ConnectionFate, Faults, Forget, Handling, Step};
use crate::mqtt::Outbound;
use crate::state::Owner;
pub(crate) use in_flight::InFlight;
use mqtt5::KeptSession;
pub(crate) use mqtt5::{MAX_SESSION_EXPIRY, Mqtt5Wire};
pub(crate) use outlet::Outlet;
pub(crate) use tap::Tap;
pub(crate) use wire::SessionWire;

/// Capacity of the packet queue of each connection.
pub(crate) const QUEUE_PACKETS: usize = 1024;

/// Maximum number of connections of a device within [`CONNECT_WINDOW`] without a pause.
const MAX_CONNECTS: usize = 5;

/// Time over which the connections of a device are counted, and the pause before each further
/// one.
const CONNECT_WINDOW: Duration = Duration::from_secs(1);

/// The sessions of all devices and modules that have connected since the start of the hub.
pub(crate) struct Sessions {
    devices: Mutex<HashMap<Owner, DeviceSlot>>,
    next_serial: AtomicU64,
    faults: Arc<Faults>,
    events: Arc<Events>,
}

struct DeviceSlot {
    live: Option<LiveSession>,
    /// The session of MQTT 5 that outlives its connection.
    kept: Option<KeptSession>,
    /// `true` while the device is connected and subscribed to methods.
    ready: watch::Sender<bool>,
    /// Times of recent connections, oldest first.
    connects: Vec<Instant>,
}

struct LiveSession {
    serial: u64,
    outlet: Outlet,
    wire: SessionWire,
    end: oneshot::Sender<Ending>,
    /// Expiry of the token, in Unix seconds.
    expiry_unix: u64,
}

/// Reason why the hub ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Replacement by a newer connection of the device.
    TakenOver,
    /// Disabled or deleted device.
    Revoked,
    /// Device that reads too slowly.
    Stalled,
    /// Connection that a fault or a test has dropped.
    Dropped,
    /// Token that a fault has expired.
    Expired,
    /// DISCONNECT with this reason, by a fault.
    Disconnected(ReasonCode),
    /// Stopping hub.
    Stopping,
}

/// A registered session: its serial number and a receiver of its end.
pub(crate) struct OpenedSession {
    pub(crate) serial: u64,
    pub(crate) ended: oneshot::Receiver<Ending>,
}

/// Availability of a device for methods.
pub(crate) enum MethodRoute {
    /// Connected and subscribed device.
    Ready(MethodLink),
    /// Device that is not connected or not subscribed. The receiver's value becomes `true` once
    /// the device is both.
    NotReady(watch::Receiver<bool>),
}

/// The way to a device that accepts methods.
pub(crate) struct MethodLink {
    pub(crate) outlet: Outlet,
    pub(crate) serial: u64,
    /// The unacknowledged messages of a session of MQTT 5.
    pub(crate) in_flight: Option<Arc<InFlight>>,
}

impl Sessions {
    pub(crate) fn new(faults: Arc<Faults>, events: Arc<Events>) -> Sessions {
        Sessions { devices: Mutex::default(), next_serial: AtomicU64::new(0), faults, events }
    }

    /// Returns the events of the hub.
    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Counts a connection of the device and returns the pause before its CONNACK. A device
    /// that reconnects too often is slowed down rather than refused, since some clients never
    /// retry after a refusal.
    pub(crate) fn connect_pause(&self, id: &Owner) -> Duration {
        self.with(id, |device| {
            let now = Instant::now();
            device.connects.retain(|at| now.duration_since(*at) < CONNECT_WINDOW);
            device.connects.push(now);
            if device.connects.len() > MAX_CONNECTS { CONNECT_WINDOW } else { Duration::ZERO }
        })
    }

    /// Registers a session and ends the previous session of the device.
    pub(crate) fn open(
        &self,
        id: &Owner,
        outlet: Outlet,
        wire: SessionWire,
        expiry_unix: u64,
    ) -> OpenedSession {
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        let live = LiveSession { serial, outlet, wire, end, expiry_unix };
        self.with(id, |device| {
            if let Some(previous) = device.live.replace(live) {
                // Fails if the previous session has just ended.
                let _ = previous.end.send(Ending::TakenOver);
            }
            device.update_ready();
        });
        OpenedSession { serial, ended }
    }

    /// Replaces the subscriptions of a session.
    pub(crate) fn subscribed(&self, id: &Owner, serial: u64, filters: Vec<Filter>) {
        self.with(id, |device| {
            if let Some(live) = device.session(serial) {
                live.wire = SessionWire::Classic(filters);
            }
            device.update_ready();
        });
    }

    /// Removes a session. Returns `true` if it was the device's current session.
    pub(crate) fn close(&self, id: &Owner, serial: u64) -> bool {
        self.with(id, |device| {
            let current = device.has_session(serial);
            if current {
                device.release();
            }
            current
        })
    }

    /// Ends the device's session. Returns `true` if the device was connected.
    pub(crate) fn end(&self, id: &Owner, ending: Ending) -> bool {
        self.with(id, |device| device.end(ending))
    }

    /// Ends the sessions of a device and of its modules.
    pub(crate) fn end_device(&self, id: &DeviceId, ending: Ending) {
        let mut devices = self.devices.lock();
        let own = devices.iter_mut().filter(|(owner, _)| owner.device == *id);
        own.for_each(|(_, slot)| _ = slot.end(ending));
    }

    /// Drops a session if it is the device's current one.
    pub(crate) fn drop_session(&self, id: &Owner, serial: u64) {
        self.with(id, |device| {
            if device.has_session(serial) {
                device.end(Ending::Dropped);
            }
        });
    }

    /// Silences the device's connection for this time. Returns `true` if the device was
    /// connected.
    pub(crate) fn silence(&self, id: &Owner, lasting: Duration) -> bool {
        self.with(id, |device| {
            let Some(live) = &device.live else { return false };
            live.outlet.silence_if(ConnectionFate::Silenced(lasting));
            true
        })
    }

    /// Ends the device's session and refuses its token and all older ones. Returns `true` if
    /// the device was connected.
    pub(crate) fn expire_token(&self, id: &Owner) -> bool {
        self.with(id, |device| {
            let Some(live) = &device.live else { return false };
            self.faults.expire(&id.device, live.expiry_unix);
            device.end(Ending::Expired)
        })
    }

    /// Ends every connection, runs `forget`, and then refuses new connections for `down`.
    pub(crate) fn restart<T>(&self, down: Duration, part: Forget, forget: impl FnOnce() -> T) -> T {
        self.faults.begin_outage(None);
        self.end_all();
        if part != Forget::Nothing {
            self.forget_kept();
        }
        let forgotten = forget();
        self.faults.begin_outage(Some(down));
        forgotten
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self) {
        for device in self.devices.lock().values_mut() {
            device.end(Ending::Stopping);
        }
    }

    /// Returns `true` if the device has a session.
    pub(crate) fn is_connected(&self, id: &Owner) -> bool {
        self.devices.lock().get(id).is_some_and(|device| device.live.is_some())
    }

    /// Waits until the device is connected and subscribed to methods.
    pub(crate) async fn ready(&self, id: &Owner) {
        let mut ready = self.with(id, |device| device.ready.subscribe());
        // Cannot fail: slots are never removed, and each holds its sender.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Waits until a session is no longer the device's current one.
    pub(crate) async fn replaced(&self, id: &Owner, serial: u64) {
        let mut ready = self.with(id, |device| device.ready.subscribe());
        // A change cannot be missed, since the receiver is older than the check.
        while self.with(id, |device| device.has_session(serial)) {
            if ready.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns the availability of the device for methods.
    pub(crate) fn method_route(&self, id: &Owner) -> MethodRoute {
        self.with(id, |device| match &device.live {
            Some(live) if live.accepts_methods() => MethodRoute::Ready(MethodLink {
                outlet: live.outlet.clone(),
                serial: live.serial,
                in_flight: live.wire.in_flight(),
            }),
            _ => MethodRoute::NotReady(device.ready.subscribe()),
        })
    }

    /// Sends a change of desired properties to the device if it has subscribed to them.
    pub(crate) fn push_desired(&self, id: &Owner, patch: &DesiredPatch) {
        self.with(id, |device| {
            let Some(live) = &device.live else { return };
            let Some(packet) = live.wire.desired(&id.device, patch) else { return };
            let handling = self.faults.handling(Step::Desired, Some(&id.device));
            device.send_later(id, packet, handling);
        });
    }

    /// Sends a message to the device if it has subscribed to its topic. Returns `false` if the
    /// device is not subscribed, or if its connection ends before the message. Ignores the delay
    /// of `handling`.
    pub(crate) fn publish(
        &self,
        id: &Owner,
        topic: &HubTopic,
        body: &[u8],
        handling: Handling,
    ) -> bool {
        let text = topic.to_string();
        let packet = Outbound::Publish { topic: &text, payload: body }.encode();
        self.with(id, |device| {
            device.is_subscribed(topic) && {
                let is_lost = handling.copies == 0 && handling.connection == ConnectionFate::Kept;
                device.send(id, &packet, handling) && (handling.copies > 0 || is_lost)
            }
        })
    }

    fn with<T>(&self, id: &Owner, work: impl FnOnce(&mut DeviceSlot) -> T) -> T {
        let mut devices = self.devices.lock();
        match devices.get_mut(id) {
            Some(device) => work(device),
            None => work(devices.entry(id.clone()).or_insert_with(DeviceSlot::new)),
        }
    }
}

impl DeviceSlot {
    fn new() -> DeviceSlot {
        DeviceSlot {
            live: None,
            kept: None,
            ready: watch::Sender::new(false),
            connects: Vec::new(),
        }
    }

    fn has_session(&self, serial: u64) -> bool {
        self.live.as_ref().is_some_and(|live| live.serial == serial)
    }

    fn session(&mut self, serial: u64) -> Option<&mut LiveSession> {
        self.live.as_mut().filter(|live| live.serial == serial)
    }

    fn is_subscribed(&self, topic: &HubTopic) -> bool {
        self.live.as_ref().is_some_and(|live| live.wire.accepts(topic))
    }

    /// Queues a packet after the delay of its handling.
    fn send_later(&mut self, id: &Owner, packet: Bytes, handling: Handling) {
        let Some(live) = self.live.as_ref().filter(|_| !handling.delay.is_zero()) else {
            self.send(id, &packet, handling);
            return;
        };
        let outlet = live.outlet.clone();
        // Fails if the connection has ended in the meantime.
        tokio::spawn(async move { outlet.send(packet, handling).await.ok() });
    }

    /// Queues a packet, and ends the session if its queue is full or the handling requires it.
    /// Returns `false` if the packet is not queued.
    fn send(&mut self, id: &Owner, packet: &Bytes, handling: Handling) -> bool {
        let Some(live) = &self.live else { return false };
        let queued = live.outlet.try_send(packet, handling).is_ok();
        if !queued {
            warn!(device = %id, packets = QUEUE_PACKETS, "device stalled: its queue is full");
            self.end(Ending::Stalled);
        } else if handling.drops_connection() {
            self.end(Ending::Dropped);
        }
        queued
    }

    fn end(&mut self, ending: Ending) -> bool {
        let Some(end) = self.release() else { return false };
        if ending == Ending::Revoked {
            self.kept = None;
        }
        let _ = end.send(ending);
        true
    }

    /// Removes the session and keeps the state that outlives its connection. Returns the sender
    /// that ends it.
    fn release(&mut self) -> Option<oneshot::Sender<Ending>> {
        let LiveSession { wire, end, .. } = self.live.take()?;
        if let SessionWire::Mqtt5(wire) = wire {
            self.kept = wire.keep();
        }
        self.update_ready();
        Some(end)
    }

    fn update_ready(&self) {
        let ready = self.live.as_ref().is_some_and(LiveSession::accepts_methods);
        self.ready.send_if_modified(|before| std::mem::replace(before, ready) != ready);
    }
}

impl LiveSession {
    fn accepts_methods(&self) -> bool {
        self.wire.accepts_methods()
    }
}

#[cfg(test)]
mod tests;
