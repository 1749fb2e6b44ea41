//! MQTT 3.1.1 as a hub speaks it: seven packets in, six out.
//!
//! Strict: what the standard forbids is [`Malformed`] and ends the connection,
//! and so is QoS 2, which IoT Hub does not serve. It only turns bytes into
//! packets and back; what a packet means is the session's affair. Written apart
//! from the host's client, so that each checks the other.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub(crate) use decode::decode;

/// The largest packet: a message of 256 KiB with its topic.
pub(crate) const MAX_PACKET_BYTES: usize = 256 * 1024 + 4096;

/// What a device sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inbound {
    Connect(Connect),
    Publish(Publish),
    PubAck(u16),
    Subscribe { id: u16, filters: Vec<(String, u8)> },
    Unsubscribe { id: u16, filters: Vec<String> },
    PingReq,
    Disconnect,
}

/// How a device introduces itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    /// 4 is MQTT 3.1.1; the rest of another level is not read.
    pub(crate) level: u8,
    pub(crate) clean_session: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) client_id: String,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) will: Option<Will>,
}

/// What is published for a device that leaves without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

/// A message, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    /// The packet id; present at QoS 1, absent at QoS 0.
    pub(crate) id: Option<u16>,
    pub(crate) duplicate: bool,
    pub(crate) retain: bool,
    pub(crate) payload: Bytes,
}

/// What a hub sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outbound<'a> {
    ConnAck {
        session_present: bool,
        code: ConnAckCode,
    },
    /// At QoS 0: a device answers a method, nobody needs a second packet for it.
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

/// The answer to a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnAckCode {
    Accepted = 0,
    UnacceptableProtocol = 1,
    /// Only by a fault, as 4 is.
    IdentifierRejected = 2,
    ServerUnavailable = 3,
    BadUserNameOrPassword = 4,
    NotAuthorized = 5,
}

/// The return code of a filter that is not served.
pub(crate) const SUBSCRIPTION_REFUSED: u8 = 0x80;

/// Why bytes are not a packet that a device may send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("packet of {0} bytes; at most {MAX_PACKET_BYTES} are allowed")]
    TooLarge(usize),
    #[error("length of more than four bytes, or longer than it needs to be")]
    Length,
    #[error("packet type {0} does not come from a device")]
    Type(u8),
    #[error("flags {flags:#06b} of a {packet}")]
    Flags { packet: &'static str, flags: u8 },
    #[error("{0} ends too early")]
    Short(&'static str),
    #[error("{0} has bytes behind its end")]
    Trailing(&'static str),
    #[error("{0} is not UTF-8, or has U+0000")]
    Text(&'static str),
    #[error("packet id 0")]
    PacketId,
    #[error("QoS 2, which this hub does not serve")]
    QosTwo,
    #[error("QoS 3, or a duplicate at QoS 0")]
    Qos,
    #[error("topic with a wildcard, or an empty one")]
    Topic,
    #[error("no filter, or an empty one")]
    Filter,
    #[error("protocol name is not MQTT")]
    Protocol,
    #[error("CONNECT flags {0:#010b}")]
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
