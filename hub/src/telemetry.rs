//! Device-to-cloud messages, as whoever embeds the hub sees them.

use bytes::Bytes;
use protocol::id::DeviceId;
use protocol::properties::MessageProperties;

/// Messages that may wait for a slow listener before the oldest are lost.
pub(crate) const BACKLOG: usize = 1024;

/// One message, with what the hub stamps on it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who sent it.
    pub device: DeviceId,
    /// System and application properties, those of the hub among them.
    pub properties: MessageProperties,
    /// The body as it came.
    pub body: Bytes,
}

impl Message {
    pub(crate) fn new(device: DeviceId, properties: MessageProperties, body: Bytes) -> Message {
        let properties = properties
            .with("iothub-connection-device-id", device.as_str())
            .with(
                "iothub-connection-auth-method",
                r#"{"scope":"device","type":"sas","issuer":"iothub"}"#,
            )
            .with("iothub-enqueuedtime", jiff::Timestamp::now().to_string());
        Message { device, properties, body }
    }
}
