//! The protocol of a session.

use std::sync::Arc;

use bytes::Bytes;
use protocol::id::DeviceId;
use protocol::topic::{Filter, HubTopic};
use protocol::twin::DesiredPatch;

use super::in_flight::InFlight;
use super::mqtt5::Mqtt5Wire;
use crate::mqtt::Outbound;

/// The protocol of a session, with its state.
pub(crate) enum SessionWire {
    /// MQTT 3.1.1, with these subscriptions.
    Classic(Vec<Filter>),
    Mqtt5(Mqtt5Wire),
}

impl SessionWire {
    /// Returns `true` if the device receives methods.
    pub(super) fn accepts_methods(&self) -> bool {
        match self {
            SessionWire::Classic(filters) => filters.contains(&Filter::Methods),
            SessionWire::Mqtt5(wire) => wire.nonce.is_some(),
        }
    }

    pub(super) fn in_flight(&self) -> Option<Arc<InFlight>> {
        match self {
            SessionWire::Classic(_) => None,
            SessionWire::Mqtt5(wire) => Some(Arc::clone(&wire.in_flight)),
        }
    }

    /// Returns `true` if a device of MQTT 3.1.1 has subscribed to this topic.
    pub(super) fn accepts(&self, topic: &HubTopic) -> bool {
        match self {
            SessionWire::Classic(filters) => filters.iter().any(|filter| filter.covers(topic)),
            SessionWire::Mqtt5(_) => false,
        }
    }

    /// Returns the packet with a change of desired properties if the device receives them.
    pub(super) fn desired(&self, id: &DeviceId, patch: &DesiredPatch) -> Option<Bytes> {
        if let SessionWire::Mqtt5(wire) = self {
            return wire.desired(id, patch);
        }
        let topic = HubTopic::Desired { version: patch.version };
        if !self.accepts(&topic) {
            return None;
        }
        let (topic, body) = (topic.to_string(), patch.to_json().to_string());
        Some(Outbound::Publish { topic: &topic, payload: body.as_bytes() }.encode())
    }
}
