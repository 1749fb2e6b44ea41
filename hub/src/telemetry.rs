//! Device-to-cloud messages for programs that embed the hub.

use bytes::Bytes;
use protocol::id::{DeviceId, ModuleId};
use protocol::properties::MessageProperties;
use serde_json::{Map, Value, json};

use crate::events::{EventData, add_payload, data};
use crate::state::Owner;

/// Maximum backlog of a slow receiver, which loses the oldest messages beyond it.
pub(crate) const BACKLOG: usize = 1024;

/// A device-to-cloud message, including the properties that the hub adds.
#[derive(Debug, Clone)]
pub struct TelemetryMessage {
    /// The device that sent the message.
    pub device: DeviceId,
    /// The module that sent it, if one did.
    pub module: Option<ModuleId>,
    /// System and application properties.
    pub properties: MessageProperties,
    /// The unchanged body.
    pub body: Bytes,
}

/// The authenticated sender of messages.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) owner: Owner,
    /// Generation of the device or module.
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
        let Sender { owner: Owner { device, module }, generation, model_id } = sender;
        let properties = match model_id {
            Some(model_id) => properties.with("dt-dataschema", model_id),
            None => properties,
        };
        let properties = match module {
            Some(module) => properties.with("iothub-connection-module-id", module.as_str()),
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
        TelemetryMessage { device: device.clone(), module: module.clone(), properties, body }
    }

    /// Returns the message as the data of an event. A property that occurs more than once has
    /// its last value.
    pub(crate) fn to_event(&self) -> EventData {
        let TelemetryMessage { module, properties, body, .. } = self;
        let properties: Map<String, Value> =
            properties.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let mut event = data(json!({ "properties": properties }));
        if let Some(module) = module {
            event.insert("moduleId".to_owned(), json!(module));
        }
        add_payload(&mut event, body, usize::MAX);
        event
    }
}
