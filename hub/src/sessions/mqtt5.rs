//! Sessions of MQTT 5: what outlives a connection, and the admission of a device.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::id::DeviceId;
use protocol::mqtt5::{CorrelationId, DesiredUpdate, MessageType};
use protocol::twin::DesiredPatch;
use serde_json::Value;
use tokio::time::Instant;

use super::in_flight::InFlight;
use super::{SessionWire, Sessions};
use crate::faults::Handling;
use crate::mqtt5::{Mqtt5Outbound, Mqtt5Publish};
use crate::state::Owner;

/// Maximum time for which a session outlives its connection.
pub(crate) const MAX_SESSION_EXPIRY: Duration = Duration::from_secs(8 * 3600);

/// The state of a session of MQTT 5.
pub(crate) struct Mqtt5Wire {
    /// The nonce of the birth, once the device is admitted.
    pub(super) nonce: Option<CorrelationId>,
    subscribed: bool,
    /// The time for which the session outlives its connection.
    expiry: Duration,
    pub(super) in_flight: Arc<InFlight>,
}

/// A session whose device is not connected.
pub(super) struct KeptSession {
    in_flight: Arc<InFlight>,
    subscribed: bool,
    until: Instant,
}

/// The session of a device that connects.
pub(crate) struct ResumedSession {
    /// `true` if there was an earlier session.
    pub(crate) is_present: bool,
    /// `true` if the device has subscribed to its topics in the earlier session.
    pub(crate) subscribed: bool,
    pub(crate) in_flight: Arc<InFlight>,
    /// Packets that the device has not acknowledged.
    pub(crate) again: Vec<Bytes>,
}

impl Mqtt5Wire {
    /// Returns the state before the birth.
    pub(crate) fn new(resumed: &ResumedSession, expiry: Duration) -> Mqtt5Wire {
        let (subscribed, in_flight) = (resumed.subscribed, Arc::clone(&resumed.in_flight));
        Mqtt5Wire { nonce: None, subscribed, expiry, in_flight }
    }

    /// Returns the state that outlives the connection, if any.
    pub(super) fn keep(self) -> Option<KeptSession> {
        let Mqtt5Wire { subscribed, expiry, in_flight, .. } = self;
        let until = Instant::now() + expiry;
        let is_kept = !expiry.is_zero() && in_flight.can_be_kept();
        is_kept.then_some(KeptSession { in_flight, subscribed, until })
    }

    /// Returns the packet with a change of desired properties if the device is admitted.
    pub(super) fn desired(&self, id: &DeviceId, patch: &DesiredPatch) -> Option<Bytes> {
        let update = DesiredUpdate {
            version: patch.version,
            payload: Value::Object(patch.patch.clone()).to_string().into_bytes(),
        };
        let message = Mqtt5Publish::to_device(id, MessageType::DesiredPatch, self.nonce?, &update);
        Some(Mqtt5Outbound::Publish(&message).encode())
    }
}

impl Sessions {
    /// Returns the state of the device's session for a new connection. With `clean_start`, the
    /// state is that of a new session.
    pub(crate) fn resume(
        &self,
        id: &Owner,
        clean_start: bool,
        receive_maximum: u16,
    ) -> ResumedSession {
        let (kept, live) = self.with(id, |device| {
            let live = device.live.as_ref().and_then(|live| match &live.wire {
                SessionWire::Mqtt5(wire) => Some((Arc::clone(&wire.in_flight), wire.subscribed)),
                SessionWire::Classic(_) => None,
            });
            (device.kept.take(), live)
        });
        let kept = kept.filter(|kept| kept.until > Instant::now());
        let kept = kept.map(|kept| (kept.in_flight, kept.subscribed));
        match live.or(kept).filter(|_| !clean_start) {
            None => ResumedSession {
                is_present: false,
                subscribed: false,
                in_flight: Arc::new(InFlight::new(receive_maximum)),
                again: Vec::new(),
            },
            Some((in_flight, subscribed)) => {
                let (in_flight, again) = in_flight.resume(receive_maximum);
                let in_flight = Arc::new(in_flight);
                ResumedSession { is_present: true, subscribed, in_flight, again }
            }
        }
    }

    /// Changes the time for which a session outlives its connection.
    pub(crate) fn set_session_expiry(&self, id: &Owner, serial: u64, expiry: Duration) {
        self.with(id, |device| {
            let live = device.session(serial);
            if let Some(SessionWire::Mqtt5(wire)) = live.map(|live| &mut live.wire) {
                wire.expiry = expiry;
            }
        });
    }

    /// Forgets all sessions of MQTT 5 that have no connection.
    pub(crate) fn forget_kept(&self) {
        for device in self.devices.lock().values_mut() {
            device.kept = None;
        }
    }

    /// Admits the device of a session: from now on, it receives methods and changes of desired
    /// properties. `greet` returns the packets that precede them; no change can happen between
    /// the call of `greet` and the admission.
    pub(crate) fn admit(
        &self,
        id: &Owner,
        serial: u64,
        nonce: CorrelationId,
        greet: impl FnOnce() -> Vec<(Bytes, Handling)>,
    ) {
        self.with(id, |device| {
            let Some(SessionWire::Mqtt5(wire)) = device.session(serial).map(|live| &mut live.wire)
            else {
                return;
            };
            wire.nonce = Some(nonce);
            for (packet, handling) in greet() {
                device.send_later(id, packet, handling);
            }
            device.update_ready();
        });
    }

    /// Records that the device of a session has subscribed to its topics or unsubscribed, which
    /// ends its admission.
    pub(crate) fn subscribed_mqtt5(&self, id: &Owner, serial: u64, subscribed: bool) {
        self.with(id, |device| {
            let live = device.session(serial);
            if let Some(SessionWire::Mqtt5(wire)) = live.map(|live| &mut live.wire) {
                wire.subscribed = subscribed;
                wire.nonce = wire.nonce.filter(|_| subscribed);
            }
            device.update_ready();
        });
    }
}
