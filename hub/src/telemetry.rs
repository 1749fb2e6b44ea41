//! Device-to-cloud messages for the program that embeds the hub.

use bytes::Bytes;
use protocol::id::DeviceId;
use protocol::properties::MessageProperties;

/// Messages that may wait for a slow receiver before the oldest are lost.
pub(crate) const BACKLOG: usize = 1024;

/// Device-to-cloud message, with the properties that the hub adds.
#[derive(Debug, Clone)]
pub struct TelemetryMessage {
    /// Sender.
    pub device: DeviceId,
    /// System and application properties, including those of the hub.
    pub properties: MessageProperties,
    /// Body, unchanged.
    pub body: Bytes,
}

/// Sender of messages, as it has signed in.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) device: DeviceId,
    /// Creation of the device.
    pub(crate) generation: String,
    /// Model that it has announced.
    pub(crate) model_id: Option<String>,
}

impl TelemetryMessage {
    pub(crate) fn new(
        sender: &Sender,
        properties: MessageProperties,
        body: Bytes,
    ) -> TelemetryMessage {
        let Sender { device, generation, model_id } = sender;
        let properties = match model_id {
            Some(model_id) => properties.with("dt-dataschema", model_id),
            None => properties,
        };
        let properties = properties
            .with("iothub-connection-device-id", device.as_str())
            .with("iothub-connection-auth-generation-id", generation)
            .with(
                "iothub-connection-auth-method",
                r#"{"scope":"device","type":"sas","issuer":"iothub"}"#,
            )
            .with("iothub-enqueuedtime", jiff::Timestamp::now().to_string());
        TelemetryMessage { device: device.clone(), properties, body }
    }
}
