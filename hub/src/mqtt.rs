//! MQTT 3.1.1 packets, from the server's point of view.
//!
//! The decoder is strict: a packet that violates the standard is [`Malformed`] and ends the
//! connection. The same applies to QoS 2, which IoT Hub does not support.
//!
//! This module converts between bytes and packets; sessions interpret the packets. It shares
//! no code with the host's client, so that each of them verifies the other.

mod decode;
mod encode;
mod sent;

use bytes::Bytes;

pub(crate) use decode::{Body, PacketType, decode, first_level, take_packet};
pub(crate) use encode::{put_binary, put_length};
pub(crate) use sent::{SentPacket, packet_name};

pub(crate) use protocol::topic::MAX_PACKET_BYTES;

/// A packet from a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inbound {
    Connect(Connect),
    /// A CONNECT of another version of MQTT. Its remaining fields are not decoded.
    OtherVersion {
        level: u8,
    },
    Publish(Publish),
    PubAck(u16),
    Subscribe {
        id: u16,
        filters: Vec<(String, u8)>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    PingReq,
    Disconnect,
}

/// The first packet of a connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) clean_session: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) client_id: String,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) will: Option<Will>,
}

/// The message to publish if the device disconnects without a DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

/// A message from a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    /// Packet id at QoS 1; `None` at QoS 0.
    pub(crate) id: Option<u16>,
    pub(crate) duplicate: bool,
    pub(crate) retain: bool,
    pub(crate) payload: Bytes,
}

/// A packet to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outbound<'a> {
    ConnAck {
        session_present: bool,
        code: ConnAckCode,
    },
    /// A message at QoS 0. Methods need no PUBACK, since they are answered.
    Publish {
        topic: &'a str,
        payload: &'a [u8],
    },
    /// A message at QoS 1 with a packet id.
    PublishAcknowledged {
        id: u16,
        /// `true` if the message was sent before.
        duplicate: bool,
        topic: &'a str,
        payload: &'a [u8],
    },
    PubAck(u16),
    SubAck {
        id: u16,
        codes: &'a [u8],
    },
    UnsubAck(u16),
    PingResp,
}

/// The return code of a CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnAckCode {
    Accepted = 0,
    UnacceptableProtocol = 1,
    /// Sent only by faults.
    IdentifierRejected = 2,
    ServerUnavailable = 3,
    /// Sent only by faults.
    BadUserNameOrPassword = 4,
    NotAuthorized = 5,
}

/// A malformed packet, or one that devices must not send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("packet of {0} bytes; at most {MAX_PACKET_BYTES} are allowed")]
    TooLarge(usize),
    #[error("remaining length has more than four bytes or a redundant byte")]
    Length,
    #[error("packet type {0}, which devices must not send")]
    Type(u8),
    #[error("{packet} with the flags {flags:#06b}")]
    Flags { packet: &'static str, flags: u8 },
    #[error("{0} ends too early")]
    Short(&'static str),
    #[error("{0} has bytes after its end")]
    Trailing(&'static str),
    #[error("{0} has a string that is not UTF-8 or contains U+0000")]
    Text(&'static str),
    #[error("packet id 0")]
    PacketId,
    #[error("QoS 2, which is not supported")]
    QosTwo,
    #[error("QoS 3, or a duplicate at QoS 0")]
    Qos,
    #[error("topic is empty or has a wildcard")]
    Topic,
    #[error("filter is missing or empty")]
    Filter,
    #[error("protocol name or level of another protocol than MQTT")]
    Protocol,
    #[error("CONNECT with the flags {0:#010b}")]
    ConnectFlags(u8),
    #[error("topic alias, which this hub does not offer")]
    TopicAlias,
    #[error("{packet} with the property {property:#04x}, which it cannot have")]
    Property { packet: &'static str, property: u8 },
    #[error("{packet} with a repeated property {property:#04x}")]
    Repeated { packet: &'static str, property: u8 },
    #[error("{packet} with an invalid value of the property {property:#04x}")]
    PropertyValue { packet: &'static str, property: u8 },
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("clean_session", &self.clean_session)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
