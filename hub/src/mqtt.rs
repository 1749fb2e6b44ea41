//! Packets of MQTT 3.1.1 at the hub's end: seven incoming, six outgoing.
//!
//! The decoder is strict: a packet that the standard forbids is [`Malformed`] and
//! ends the connection, and so does QoS 2, which IoT Hub does not offer. This
//! module converts between bytes and packets; sessions give them a meaning. It
//! shares no code with the host's client, so that each checks the other.

mod decode;
mod encode;

use bytes::Bytes;

pub(crate) use decode::decode;

pub(crate) use protocol::topic::MAX_PACKET_BYTES;

/// Packet that a device sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inbound {
    Connect(Connect),
    /// A CONNECT of another version of MQTT, whose rest is not decoded.
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

/// First packet of a connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) clean_session: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) client_id: String,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) will: Option<Will>,
}

/// Message that is published for a device that goes without a DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

/// Message of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    /// Packet id at QoS 1; `None` at QoS 0.
    pub(crate) id: Option<u16>,
    pub(crate) duplicate: bool,
    pub(crate) retain: bool,
    pub(crate) payload: Bytes,
}

/// Packet that the hub sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outbound<'a> {
    ConnAck {
        session_present: bool,
        code: ConnAckCode,
    },
    /// A message at QoS 0. A method is acknowledged by its answer.
    Publish {
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

/// Return code of a CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnAckCode {
    Accepted = 0,
    UnacceptableProtocol = 1,
    /// Sent by a fault only, like 4.
    IdentifierRejected = 2,
    ServerUnavailable = 3,
    BadUserNameOrPassword = 4,
    NotAuthorized = 5,
}

/// Reason why bytes are not a packet that a device may send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("packet of {0} bytes; at most {MAX_PACKET_BYTES} are allowed")]
    TooLarge(usize),
    #[error("remaining length with more than four bytes, or more than it needs")]
    Length,
    #[error("packet type {0}, which a device does not send")]
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
    #[error("QoS 2, which this hub does not offer")]
    QosTwo,
    #[error("QoS 3, or a duplicate at QoS 0")]
    Qos,
    #[error("topic that is empty or has a wildcard")]
    Topic,
    #[error("no filter, or an empty one")]
    Filter,
    #[error("protocol name that is neither MQTT nor MQIsdp")]
    Protocol,
    #[error("CONNECT with the flags {0:#010b}")]
    ConnectFlags(u8),
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
