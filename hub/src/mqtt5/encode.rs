//! Packet encoder.

use bytes::{BufMut as _, Bytes, BytesMut};
use protocol::mqtt5::ReasonCode;

use super::properties::{REASON_STRING, of_publish, put_connack};
use super::{Mqtt5Outbound, Mqtt5Publish};
use crate::mqtt::{put_binary, put_length};

impl Mqtt5Outbound<'_> {
    /// Encodes the packet. The hub's topics and payloads never exceed the maximum packet size.
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = BytesMut::new();
        let first = match self {
            Mqtt5Outbound::ConnAck { session_present, reason, session_expiry } => {
                body.put_slice(&[u8::from(*session_present), reason.0]);
                put_connack(&mut body, *session_expiry);
                0x20
            }
            Mqtt5Outbound::Publish(message) => put_publish(&mut body, message),
            Mqtt5Outbound::PubAck { id, reason } => {
                body.put_u16(*id);
                if *reason != ReasonCode::SUCCESS {
                    body.put_u8(reason.0);
                }
                0x40
            }
            Mqtt5Outbound::SubAck { id, reasons } => {
                put_reasons(&mut body, *id, reasons);
                0x90
            }
            Mqtt5Outbound::UnsubAck { id, reasons } => {
                put_reasons(&mut body, *id, reasons);
                0xb0
            }
            Mqtt5Outbound::PingResp => 0xd0,
            Mqtt5Outbound::Disconnect(reason) => {
                body.put_u8(reason.0);
                put_reason_string(&mut body, *reason);
                0xe0
            }
        };
        let mut packet = BytesMut::with_capacity(body.len() + 5);
        packet.put_u8(first);
        put_length(&mut packet, body.len());
        packet.put_slice(&body);
        packet.freeze()
    }
}

/// Adds a message and returns the first byte of its packet.
fn put_publish(body: &mut BytesMut, message: &Mqtt5Publish) -> u8 {
    put_binary(body, message.topic.as_bytes());
    let qos = match message.id {
        Some(id) => {
            body.put_u16(id);
            1
        }
        None => 0,
    };
    let properties = of_publish(message);
    put_length(body, properties.len());
    body.put_slice(&properties);
    body.put_slice(&message.payload);
    0x30 | u8::from(message.duplicate) << 3 | qos << 1 | u8::from(message.retain)
}

/// Adds the name of a reason as its property. Without properties, paho-mqtt 2.1 does not read
/// the reason of a DISCONNECT, and rumqttc 0.25 drops the packet.
fn put_reason_string(body: &mut BytesMut, reason: ReasonCode) {
    let mut properties = BytesMut::new();
    properties.put_u8(REASON_STRING);
    put_binary(&mut properties, reason.name().unwrap_or("unknown").as_bytes());
    put_length(body, properties.len());
    body.put_slice(&properties);
}

fn put_reasons(body: &mut BytesMut, id: u16, reasons: &[ReasonCode]) {
    body.put_u16(id);
    // No properties.
    body.put_u8(0);
    body.extend(reasons.iter().map(|reason| reason.0));
}
