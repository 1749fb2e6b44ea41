//! Events from the hub, parsed from its packets.

use bytes::Bytes;
use protocol::id::{MethodName, RequestId};
use protocol::topic::HubTopic;
use protocol::twin::DesiredPatch;
use rumqttc::Publish;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Event from the hub.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Connected, and every subscription is granted.
    Connected,
    /// No longer connected. `deliberate`: the hub may have closed the connection
    /// because of what it was sent.
    Lost { deliberate: bool },
    /// A method to be answered.
    Method(Method),
    /// A method that cannot be read. Its caller gets an answer all the same.
    MalformedMethod(MalformedMethod),
    /// The answer to a twin request of this device.
    TwinAnswer { status: u16, rid: RequestId, version: Option<u64>, body: Bytes },
    /// The desired properties have changed.
    Desired(DesiredPatch),
}

/// A method as it arrived.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: MethodName,
    pub(crate) rid: RequestId,
    pub(crate) payload: Bytes,
    /// MQTT says that it may have been delivered before.
    pub(crate) redelivered: bool,
    /// The number of the connection that it came on.
    pub(crate) connection: u64,
    /// Time of arrival.
    pub(crate) arrived: Instant,
}

/// A method with a request id, and a topic that is malformed otherwise.
#[derive(Debug)]
pub(crate) struct MalformedMethod {
    pub(crate) rid: RequestId,
    /// The fault of the topic.
    pub(crate) why: String,
    /// The same as of a [`Method`].
    pub(crate) redelivered: bool,
    pub(crate) connection: u64,
    pub(crate) arrived: Instant,
}

/// Parses a packet. No packet of the hub may end the connection.
pub(super) fn read(publish: Publish, connection: u64) -> Option<Incoming> {
    let odd = |why: &dyn std::error::Error| warn!(topic = publish.topic, "message ignored: {why}");
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
                odd(&error);
                None
            }
        },
        Ok(HubTopic::CloudToDevice { .. }) => {
            debug!(topic = publish.topic, "cloud-to-device message ignored");
            None
        }
        Err(error) => {
            let Some(rid) = HubTopic::malformed_method(&publish.topic) else {
                odd(&error);
                return None;
            };
            let (why, redelivered) = (program::chain(&error).to_string(), publish.dup);
            let arrived = Instant::now();
            let method = MalformedMethod { rid, why, redelivered, connection, arrived };
            Some(Incoming::MalformedMethod(method))
        }
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::QoS;

    use super::*;

    fn arrived(topic: &str) -> Option<Incoming> {
        read(Publish::new(topic, QoS::AtLeastOnce, "1"), 1)
    }

    #[test]
    fn a_method_that_cannot_be_read_keeps_its_request_id() {
        for (name, why) in [
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
            assert!(method.why.starts_with(why), "{name}: {}", method.why);
        }
    }

    #[test]
    fn a_method_without_a_request_id_is_ignored() {
        for topic in ["$iothub/methods/POST/m/", "$iothub/methods/POST/m/?$rid=", "nonsense"] {
            assert!(arrived(topic).is_none(), "{topic}");
        }
    }
}
