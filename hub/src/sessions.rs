//! Live sessions, by device.
//!
//! A session registers itself here when its CONNACK is queued. The REST API
//! pushes changes to it and ends it; [`crate::methods`] waits for it and sends
//! methods through its [`Outlet`].
//!
//! This module knows no sockets: a session is a queue of packets, a set of
//! subscriptions and a way to end it.

mod outlet;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::id::DeviceId;
use protocol::topic::{Filter, HubTopic};
use protocol::twin::DesiredPatch;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::warn;

use crate::faults::{ConnectionFate, Faults, Step};
use crate::mqtt::Outbound;
pub(crate) use outlet::Outlet;

/// Packets that may wait for one device's socket.
pub(crate) const QUEUE_PACKETS: usize = 1024;

/// Connections of one id within [`BUSY_WINDOW`] that are answered at once.
const CALM_CONNECTS: usize = 5;

/// Time over which connections of one id are counted, and the pause of one more.
const BUSY_WINDOW: Duration = Duration::from_secs(1);

/// All devices that have connected, or were called, since the hub started.
pub(crate) struct Sessions {
    devices: Mutex<HashMap<DeviceId, DeviceSlot>>,
    next_serial: AtomicU64,
    faults: Arc<Faults>,
}

struct DeviceSlot {
    live: Option<LiveSession>,
    /// `true` while methods reach the device: connected and subscribed.
    ready: watch::Sender<bool>,
    /// Times of recent connections, oldest first.
    connects: Vec<Instant>,
}

struct LiveSession {
    serial: u64,
    outlet: Outlet,
    filters: Vec<Filter>,
    end: oneshot::Sender<Ending>,
    /// Expiry of the token, in Unix seconds.
    expiry_unix: u64,
}

/// Reason for which the hub ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A newer connection has the same id.
    TakenOver,
    /// The device was disabled or deleted.
    Revoked,
    /// The device does not read what it is sent.
    Stalled,
    /// A fault or a test asked for it.
    Dropped,
    /// A fault has let the token expire.
    Expired,
    /// The hub stops.
    Stopping,
}

/// New session: its number, and the notification of its end.
pub(crate) struct OpenedSession {
    pub(crate) serial: u64,
    pub(crate) ended: oneshot::Receiver<Ending>,
}

/// State of a device for methods.
pub(crate) enum MethodRoute {
    /// The device is connected and subscribed; its session has this number.
    Ready(Outlet, u64),
    /// The device is not connected or not subscribed; turns `true` when it is.
    NotReady(watch::Receiver<bool>),
}

impl Sessions {
    pub(crate) fn new(faults: Arc<Faults>) -> Sessions {
        Sessions { devices: Mutex::default(), next_serial: AtomicU64::new(0), faults }
    }

    /// Counts a connection of this id and returns the pause before its CONNACK.
    /// An id that reconnects many times a second is slowed down, not refused:
    /// some clients never try again after a refusal.
    pub(crate) fn connect_pause(&self, id: &DeviceId) -> Duration {
        self.with(id, |device| {
            let now = Instant::now();
            device.connects.retain(|at| now.duration_since(*at) < BUSY_WINDOW);
            device.connects.push(now);
            if device.connects.len() > CALM_CONNECTS { BUSY_WINDOW } else { Duration::ZERO }
        })
    }

    /// Registers a session and ends the device's former one.
    pub(crate) fn open(
        &self,
        id: &DeviceId,
        outlet: Outlet,
        filters: Vec<Filter>,
        expiry_unix: u64,
    ) -> OpenedSession {
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        let live = LiveSession { serial, outlet, filters, end, expiry_unix };
        self.with(id, |device| {
            if let Some(former) = device.live.replace(live) {
                // It may have ended a moment ago.
                let _ = former.end.send(Ending::TakenOver);
            }
            device.update_ready();
        });
        OpenedSession { serial, ended }
    }

    /// Replaces the subscriptions of a session.
    pub(crate) fn subscribed(&self, id: &DeviceId, serial: u64, filters: Vec<Filter>) {
        self.with(id, |device| {
            if let Some(live) = device.live.as_mut().filter(|live| live.serial == serial) {
                live.filters = filters;
            }
            device.update_ready();
        });
    }

    /// Removes a session; returns whether it was still the device's current one.
    pub(crate) fn close(&self, id: &DeviceId, serial: u64) -> bool {
        self.with(id, |device| {
            let current = device.has_session(serial);
            if current {
                device.live = None;
                device.update_ready();
            }
            current
        })
    }

    /// Ends the device's session; returns whether it had one.
    pub(crate) fn end(&self, id: &DeviceId, ending: Ending) -> bool {
        self.with(id, |device| device.end(ending))
    }

    /// Drops this session if it is the device's current one.
    pub(crate) fn drop_session(&self, id: &DeviceId, serial: u64) {
        self.with(id, |device| {
            if device.has_session(serial) {
                device.end(Ending::Dropped);
            }
        });
    }

    /// Silences the device's connection for this time; returns whether it had one.
    pub(crate) fn silence(&self, id: &DeviceId, lasting: Duration) -> bool {
        self.with(id, |device| {
            let Some(live) = &device.live else { return false };
            live.outlet.silence_if(ConnectionFate::Silenced(lasting));
            true
        })
    }

    /// Ends the device's session and refuses its token and all older ones;
    /// returns whether it had a session.
    pub(crate) fn expire_token(&self, id: &DeviceId) -> bool {
        self.with(id, |device| {
            let Some(live) = &device.live else { return false };
            self.faults.expire(id, live.expiry_unix);
            device.end(Ending::Expired)
        })
    }

    /// Ends every connection, runs `forget`, and turns connections away for `down`.
    pub(crate) fn restart<T>(&self, down: Duration, forget: impl FnOnce() -> T) -> T {
        self.faults.begin_outage(None);
        self.end_all();
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

    /// Returns whether the device has a session.
    pub(crate) fn is_connected(&self, id: &DeviceId) -> bool {
        self.devices.lock().get(id).is_some_and(|device| device.live.is_some())
    }

    /// Waits until methods reach the device.
    pub(crate) async fn ready(&self, id: &DeviceId) {
        let mut ready = self.with(id, |device| device.ready.subscribe());
        // The slot holds the sender and lives as long as the hub.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Returns the way for a method to the device.
    pub(crate) fn method_route(&self, id: &DeviceId) -> MethodRoute {
        self.with(id, |device| match &device.live {
            Some(live) if live.takes_methods() => {
                MethodRoute::Ready(live.outlet.clone(), live.serial)
            }
            _ => MethodRoute::NotReady(device.ready.subscribe()),
        })
    }

    /// Sends a change of desired properties to the device if it is subscribed.
    pub(crate) fn push_desired(&self, id: &DeviceId, patch: &DesiredPatch) {
        let topic = HubTopic::Desired { version: patch.version };
        let (text, body) = (topic.to_string(), patch.to_json().to_string());
        let packet = Outbound::Publish { topic: &text, payload: body.as_bytes() }.encode();
        self.with(id, |device| {
            let subscribed =
                |live: &&LiveSession| live.filters.iter().any(|filter| filter.covers(&topic));
            let Some(live) = device.live.as_ref().filter(subscribed) else { return };
            let handling = self.faults.handling(Step::Desired, Some(id));
            if !handling.delay.is_zero() {
                let outlet = live.outlet.clone();
                // The connection may have ended meanwhile.
                tokio::spawn(async move { outlet.send(packet, handling).await.ok() });
            } else if live.outlet.try_send(&packet, handling).is_err() {
                warn!(device = %id, packets = QUEUE_PACKETS, "device stalled: its queue is full");
                device.end(Ending::Stalled);
            } else if handling.drops_connection() {
                device.end(Ending::Dropped);
            }
        });
    }

    fn with<T>(&self, id: &DeviceId, work: impl FnOnce(&mut DeviceSlot) -> T) -> T {
        let mut devices = self.devices.lock();
        match devices.get_mut(id) {
            Some(device) => work(device),
            None => work(devices.entry(id.clone()).or_insert_with(DeviceSlot::new)),
        }
    }
}

impl DeviceSlot {
    fn new() -> DeviceSlot {
        DeviceSlot { live: None, ready: watch::Sender::new(false), connects: Vec::new() }
    }

    fn has_session(&self, serial: u64) -> bool {
        self.live.as_ref().is_some_and(|live| live.serial == serial)
    }

    fn end(&mut self, ending: Ending) -> bool {
        let Some(live) = self.live.take() else { return false };
        let _ = live.end.send(ending);
        self.update_ready();
        true
    }

    fn update_ready(&self) {
        let ready = self.live.as_ref().is_some_and(LiveSession::takes_methods);
        self.ready.send_if_modified(|before| std::mem::replace(before, ready) != ready);
    }
}

impl LiveSession {
    fn takes_methods(&self) -> bool {
        self.filters.contains(&Filter::Methods)
    }
}

#[cfg(test)]
mod tests;
