//! MQTT 5 packets, from the server's point of view.
//!
//! The decoder is strict, as that of MQTT 3.1.1 in [`crate::mqtt`]. Unlike there, a packet that
//! violates the standard is answered with a reason code ([`reason_of`]).
//!
//! This module converts between bytes and packets; sessions interpret the packets. It shares no
//! code with the host's client, so that each of them verifies the other.

mod decode;
mod encode;
mod properties;

use bytes::Bytes;
use protocol::id::DeviceId;
use protocol::mqtt5::{CONTENT_TYPE, CorrelationId, Feature, MessageType, ReasonCode, Topic};
use protocol::mqtt5::{Message, TYPE_PROPERTY};

pub(crate) use decode::decode;

use crate::mqtt::Malformed;

/// The protocol level of MQTT 5 in a CONNECT.
pub(crate) const LEVEL: u8 = 5;

/// A packet from a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mqtt5Inbound {
    Connect(Box<Mqtt5Connect>),
    Publish(Mqtt5Publish),
    /// The acknowledgement of a message with this packet id.
    PubAck(u16),
    Subscribe(Mqtt5Subscribe),
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    PingReq,
    Disconnect {
        reason: ReasonCode,
        /// A new session expiry, in seconds.
        session_expiry: Option<u32>,
    },
}

/// The first packet of a connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Mqtt5Connect {
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_seconds: u16,
    /// The time for which the session outlives its connection, in seconds.
    pub(crate) session_expiry: u32,
    /// The number of messages at QoS 1 that the device accepts before it acknowledges them.
    pub(crate) receive_maximum: u16,
    /// The maximum size of a packet that the device accepts.
    pub(crate) max_packet_bytes: Option<u32>,
    pub(crate) client_id: String,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Bytes>,
    pub(crate) will: Option<Mqtt5Publish>,
}

/// A message in either direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mqtt5Publish {
    pub(crate) topic: String,
    /// Packet id at QoS 1; `None` at QoS 0.
    pub(crate) id: Option<u16>,
    pub(crate) duplicate: bool,
    pub(crate) retain: bool,
    /// The time after which the message is no longer of use, in seconds.
    pub(crate) expiry: Option<u32>,
    pub(crate) content_type: Option<String>,
    pub(crate) correlation: Option<Bytes>,
    pub(crate) user: Vec<(String, String)>,
    pub(crate) payload: Bytes,
}

/// A request for subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mqtt5Subscribe {
    pub(crate) id: u16,
    /// The filters with their requested QoS.
    pub(crate) filters: Vec<(String, u8)>,
    /// `true` if the request has a subscription identifier.
    pub(crate) has_identifier: bool,
}

/// A packet to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mqtt5Outbound<'a> {
    ConnAck {
        session_present: bool,
        reason: ReasonCode,
        /// The session expiry, if it differs from the requested one.
        session_expiry: Option<u32>,
    },
    Publish(&'a Mqtt5Publish),
    PubAck {
        id: u16,
        reason: ReasonCode,
    },
    SubAck {
        id: u16,
        reasons: &'a [ReasonCode],
    },
    UnsubAck {
        id: u16,
        reasons: &'a [ReasonCode],
    },
    PingResp,
    Disconnect(ReasonCode),
}

/// Returns the reason code of the DISCONNECT that follows a malformed packet.
pub(crate) fn reason_of(malformed: &Malformed) -> ReasonCode {
    match malformed {
        Malformed::TooLarge(_) => ReasonCode::PACKET_TOO_LARGE,
        Malformed::QosTwo => ReasonCode::QOS_NOT_SUPPORTED,
        Malformed::Topic => ReasonCode::TOPIC_NAME_INVALID,
        Malformed::TopicAlias => ReasonCode::TOPIC_ALIAS_INVALID,
        Malformed::Type(_) | Malformed::Repeated { .. } | Malformed::PropertyValue { .. } => {
            ReasonCode::PROTOCOL_ERROR
        }
        _ => ReasonCode::MALFORMED_PACKET,
    }
}

impl Mqtt5Publish {
    /// Returns a message of the hub at QoS 0.
    pub(crate) fn to_device(
        device: &DeviceId,
        kind: MessageType,
        correlation: CorrelationId,
        message: &impl Message,
    ) -> Mqtt5Publish {
        let topic =
            Topic { device: device.clone(), direction: kind.direction(), feature: kind.feature() };
        let has_content_type = kind.feature() != Feature::Presence;
        Mqtt5Publish {
            topic: topic.to_string(),
            content_type: has_content_type.then(|| CONTENT_TYPE.to_owned()),
            correlation: Some(Bytes::copy_from_slice(correlation.as_bytes())),
            user: vec![(TYPE_PROPERTY.to_owned(), kind.to_string())],
            payload: message.encode().into(),
            ..Mqtt5Publish::default()
        }
    }

    /// Returns the value of the first user property with this name.
    pub(crate) fn user_property(&self, name: &str) -> Option<&str> {
        self.user.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Debug for Mqtt5Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("clean_start", &self.clean_start)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
