//! Events from the hub, parsed from its packets.

use bytes::Bytes;
use protocol::id::{MethodName, RequestId};
use protocol::properties::MessageProperties;
use protocol::topic::HubTopic;
use protocol::twin::DesiredPatch;
use rumqttc::Publish;
use tokio::time::Instant;
use tracing::warn;

/// An event from the hub.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A new connection, with every subscription granted.
    Connected,
    /// The end of the connection. `deliberate` is `true` if the hub may have closed it
    /// because of a packet that it received.
    Lost { deliberate: bool },
    /// A method that has to be answered.
    Method(Method),
    /// A method whose topic is malformed. It has to be answered as well.
    MalformedMethod(MalformedMethod),
    /// The answer to one of the host's twin requests.
    TwinAnswer { status: u16, rid: RequestId, version: Option<u64>, body: Bytes },
    /// A change of the desired properties.
    Desired(DesiredPatch),
    /// An answer to the request for a certificate.
    CredentialAnswer(CredentialAnswer),
    /// A cloud-to-device message, which the device has to acknowledge.
    Message(IncomingMessage),
}

/// A cloud-to-device message as it arrived.
#[derive(Debug)]
pub(crate) struct IncomingMessage {
    pub(crate) properties: MessageProperties,
    pub(crate) body: Bytes,
    /// The delivery, for the acknowledgement.
    pub(crate) delivery: TakenMessage,
}

/// A delivery of a cloud-to-device message, which is acknowledged on the same connection only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TakenMessage {
    /// The packet id; 0 if the hub expects no acknowledgement.
    pub(crate) id: u16,
    /// The number of the connection on which the message arrived.
    pub(crate) connection: u64,
}

/// An answer to a request for a certificate.
#[derive(Debug, Clone)]
pub(crate) struct CredentialAnswer {
    pub(crate) status: u16,
    pub(crate) rid: RequestId,
    pub(crate) body: Bytes,
}

/// A method as it arrived.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: MethodName,
    pub(crate) rid: RequestId,
    pub(crate) payload: Bytes,
    /// `true` if the packet is marked as a duplicate: it may have been delivered before.
    pub(crate) redelivered: bool,
    /// The number of the connection on which it arrived.
    pub(crate) connection: u64,
    pub(crate) arrived: Instant,
}

/// A method whose topic is malformed except for the request id.
#[derive(Debug)]
pub(crate) struct MalformedMethod {
    pub(crate) rid: RequestId,
    /// The error in the topic.
    pub(crate) reason: String,
    /// `true` if the packet is marked as a duplicate, as in [`Method`].
    pub(crate) redelivered: bool,
    pub(crate) connection: u64,
    pub(crate) arrived: Instant,
}

/// Parses a PUBLISH packet. Returns `None` for a packet that the host ignores, and logs it. A
/// malformed packet must not end the connection.
pub(super) fn parse(publish: Publish, connection: u64) -> Option<Incoming> {
    let log_ignored =
        |reason: &dyn std::error::Error| warn!(topic = publish.topic, "message ignored: {reason}");
    match publish.topic.parse() {
        Ok(HubTopic::Method { name, rid }) => {
            let (redelivered, payload) = (publish.dup, publish.payload);
            let arrived = Instant::now();
            Some(Incoming::Method(Method { name, rid, payload, redelivered, connection, arrived }))
        }
        Ok(HubTopic::TwinAnswer { status, rid, version }) => {
            Some(Incoming::TwinAnswer { status, rid, version, body: publish.payload })
        }
        Ok(HubTopic::Desired { .. }) => match DesiredPatch::parse(&publish.payload) {
            Ok(patch) => Some(Incoming::Desired(patch)),
            Err(error) => {
                log_ignored(&error);
                None
            }
        },
        Ok(HubTopic::CredentialAnswer { status, rid }) => {
            Some(Incoming::CredentialAnswer(CredentialAnswer {
                status,
                rid,
                body: publish.payload,
            }))
        }
        Ok(HubTopic::CloudToDevice { properties, .. }) => {
            let delivery = TakenMessage { id: publish.pkid, connection };
            let body = publish.payload;
            Some(Incoming::Message(IncomingMessage { properties, body, delivery }))
        }
        Err(error) => {
            let Some(rid) = HubTopic::malformed_method(&publish.topic) else {
                log_ignored(&error);
                return None;
            };
            let (reason, redelivered) = (program::chain(&error).to_string(), publish.dup);
            let arrived = Instant::now();
            let method = MalformedMethod { rid, reason, redelivered, connection, arrived };
            Some(Incoming::MalformedMethod(method))
        }
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::QoS;

    use super::*;

    fn arrived(topic: &str) -> Option<Incoming> {
        parse(Publish::new(topic, QoS::AtLeastOnce, "1"), 1)
    }

    #[test]
    fn a_malformed_method_keeps_its_request_id() {
        for (name, reason) in [
            ("my%20m", "topic with a malformed name: method name `my m` has a ' '"),
            ("caf\u{e9}", "topic with a malformed name: method name `caf\u{e9}` has a 'é'"),
            ("a/b", "topic `$iothub/methods/POST/a/b/?$rid=4` is not a topic of IoT Hub"),
            ("%ff", "topic `$iothub/methods/POST/%ff/?$rid=4` is not a topic of IoT Hub"),
            ("", "topic with a malformed name: method name is empty"),
            ("who?", "topic `$iothub/methods/POST/who?/?$rid=4` has no $rid"),
        ] {
            let Some(Incoming::MalformedMethod(method)) =
                arrived(&format!("$iothub/methods/POST/{name}/?$rid=4"))
            else {
                panic!("{name}")
            };
            assert_eq!(method.rid.as_str(), "4");
            assert!(method.reason.starts_with(reason), "{name}: {}", method.reason);
        }
    }

    #[test]
    fn a_method_without_a_request_id_is_ignored() {
        for topic in ["$iothub/methods/POST/m/", "$iothub/methods/POST/m/?$rid=", "nonsense"] {
            assert!(arrived(topic).is_none(), "{topic}");
        }
    }
}
