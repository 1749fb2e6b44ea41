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
            odd(&error);
            None
        }
    }
}
