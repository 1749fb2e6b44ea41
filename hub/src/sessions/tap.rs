//! Publication of the MQTT packets of a device.

use std::sync::Arc;

use serde_json::json;

use crate::events::{EventData, EventKind, Events, add_payload, data};
use crate::mqtt::{Connect, Inbound, SentPacket};
use crate::mqtt5::{Mqtt5Connect, Mqtt5Inbound};
use crate::state::Owner;

mod mqtt5;

/// Maximum size of a payload in an event, in bytes. A longer payload is cut.
const MAX_PAYLOAD_BYTES: usize = 16 * 1024;

/// The publisher of a connection's packets. Costs one atomic read per packet while no listener
/// is interested in traffic.
#[derive(Clone)]
pub(crate) struct Tap {
    events: Arc<Events>,
    owner: Owner,
    /// Returns the members of an encoded packet of the hub.
    sent: fn(&[u8]) -> EventData,
}

impl Tap {
    /// Returns the publisher of a connection with MQTT 3.1.1.
    pub(crate) fn new(events: &Arc<Events>, owner: &Owner) -> Tap {
        Tap { events: Arc::clone(events), owner: owner.clone(), sent }
    }

    /// Returns the publisher of a connection with MQTT 5.
    pub(crate) fn of_mqtt5(events: &Arc<Events>, owner: &Owner) -> Tap {
        Tap { sent: mqtt5::sent, ..Tap::new(events, owner) }
    }

    /// Publishes the CONNECT of a device with MQTT 5, without its password.
    pub(crate) fn connecting_mqtt5(&self, connect: &Mqtt5Connect) {
        self.publish("fromDevice", || mqtt5::connecting(connect));
    }

    /// Publishes a later packet of a device with MQTT 5.
    pub(crate) fn received_mqtt5(&self, packet: &Mqtt5Inbound) {
        self.publish("fromDevice", || mqtt5::received(packet));
    }

    /// Publishes the CONNECT of the device, without its password.
    pub(crate) fn connecting(&self, connect: &Connect) {
        self.publish("fromDevice", || {
            data(json!({
                "packet": "CONNECT",
                "clientId": connect.client_id,
                "userName": connect.user_name,
                "cleanSession": connect.clean_session,
                "keepAliveSeconds": connect.keep_alive_seconds,
            }))
        });
    }

    /// Publishes a later packet of the device.
    pub(crate) fn received(&self, packet: &Inbound) {
        self.publish("fromDevice", || received(packet));
    }

    /// Publishes an encoded packet of the hub.
    pub(super) fn sent(&self, packet: &[u8]) {
        self.publish("toDevice", || (self.sent)(packet));
    }

    fn publish(&self, direction: &str, packet: impl FnOnce() -> EventData) {
        self.events.publish(EventKind::Traffic, &self.owner.device, || {
            let mut packet = packet();
            packet.insert("direction".to_owned(), json!(direction));
            self.owner.add_module(&mut packet);
            packet
        });
    }
}

fn received(packet: &Inbound) -> EventData {
    match packet {
        // A second CONNECT, which ends the session.
        Inbound::Connect(_) | Inbound::OtherVersion { .. } => data(json!({ "packet": "CONNECT" })),
        Inbound::Publish(message) => {
            let qos = u8::from(message.id.is_some());
            let mut members = published(&message.topic, qos, &message.payload);
            if message.duplicate {
                members.insert("duplicate".to_owned(), json!(true));
            }
            if message.retain {
                members.insert("retain".to_owned(), json!(true));
            }
            members
        }
        Inbound::PubAck(_) => data(json!({ "packet": "PUBACK" })),
        Inbound::Subscribe { filters, .. } => {
            let filters: Vec<&str> = filters.iter().map(|(filter, _)| filter.as_str()).collect();
            data(json!({ "packet": "SUBSCRIBE", "filters": filters }))
        }
        Inbound::Unsubscribe { filters, .. } => {
            data(json!({ "packet": "UNSUBSCRIBE", "filters": filters }))
        }
        Inbound::PingReq => data(json!({ "packet": "PINGREQ" })),
        Inbound::Disconnect => data(json!({ "packet": "DISCONNECT" })),
    }
}

fn sent(packet: &[u8]) -> EventData {
    match SentPacket::parse(packet) {
        SentPacket::Publish { topic, qos, payload } => published(topic, qos, payload),
        SentPacket::Other { name } => data(json!({ "packet": name })),
    }
}

fn published(topic: &str, qos: u8, payload: &[u8]) -> EventData {
    let mut members = data(json!({
        "packet": "PUBLISH",
        "topic": topic,
        "qos": qos,
        "bytes": payload.len(),
    }));
    add_payload(&mut members, payload, MAX_PAYLOAD_BYTES);
    members
}
