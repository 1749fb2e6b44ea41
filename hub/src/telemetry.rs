//! Device-to-cloud messages for programs that embed the hub.

use bytes::Bytes;
use protocol::id::DeviceId;
use protocol::properties::MessageProperties;
use serde_json::{Map, Value, json};

use crate::events::{EventData, add_payload, data};

/// Maximum backlog of a slow receiver, which loses the oldest messages beyond it.
pub(crate) const BACKLOG: usize = 1024;

/// A device-to-cloud message, including the properties that the hub adds.
#[derive(Debug, Clone)]
pub struct TelemetryMessage {
    /// The device that sent the message.
    pub device: DeviceId,
    /// System and application properties.
    pub properties: MessageProperties,
    /// The unchanged body.
    pub body: Bytes,
}

/// The authenticated sender of messages.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) device: DeviceId,
    /// Generation of the device.
    pub(crate) generation: String,
    /// Plug and Play model that the device announced.
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

    /// Returns the message as the data of an event. A property that occurs more than once has
    /// its last value.
    pub(crate) fn to_event(&self) -> EventData {
        let TelemetryMessage { properties, body, .. } = self;
        let properties: Map<String, Value> =
            properties.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let mut event = data(json!({ "properties": properties }));
        add_payload(&mut event, body, usize::MAX);
        event
    }
}
