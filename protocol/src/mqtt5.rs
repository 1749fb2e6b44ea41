//! The `mqttV5` connection profile of IoT Hub (preview): topics, messages and reason codes.
//!
//! A hub has one of two [profiles](ConnectionProfile). A device of the profile `mqttV5`
//! connects by MQTT 5 with a certificate. Its messages are protobuf documents with a
//! [`MessageType`] and a [`CorrelationId`] in the properties of the packet. A direct method
//! takes four of them:
//!
//! ```
//! use behaviour_protocol::mqtt5::{Message as _, MessageType, Probe, Topic};
//!
//! let topic: Topic = "ih/dev1/dev/methods".parse()?;
//! assert_eq!(topic.device.as_str(), "dev1");
//! assert_eq!("probe:1".parse(), Ok(MessageType::Probe));
//! let probe = Probe::decode(b"\x0a\x06reboot\x10\x1e")?;
//! assert_eq!((probe.method_name.as_str(), probe.response_timeout_seconds), ("reboot", 30));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The messages are in `presence`, `twins` and `methods`. They follow the `.proto` files of
//! Microsoft's unified SDK (`common/Protos` in `Azure/azure-iot-sdk`). A decoder skips unknown
//! fields.

mod correlation;
mod custom_topic;
mod message_type;
mod methods;
mod presence;
mod profile;
mod protobuf;
mod reason;
mod telemetry;
mod topic;
mod twins;
mod user_name;

pub use correlation::{CorrelationId, CorrelationIdError};
pub use custom_topic::{CustomTopic, CustomTopicError};
pub use message_type::{MessageType, UnknownType};
pub use methods::{
    Abandon, AbandonReason, Exec, Probe, ProbeAck, Rejection, ResultMessage, Timestamp,
};
pub use presence::{Birth, BirthAck};
pub use profile::{ConnectionProfile, UnknownProfile};
pub use protobuf::{MAX_MESSAGE_BYTES, Message, ProtobufError};
pub use reason::ReasonCode;
pub use telemetry::TelemetryFields;
pub use topic::{Direction, Feature, Mqtt5TopicError, Topic};
pub use twins::{
    DesiredUpdate, PatchOutcome, ReportedPatch, ReportedPatchResponse, Sections, TwinGet,
    TwinGetResponse, TwinPush, TwinSection,
};
pub use user_name::{Mqtt5UserName, Mqtt5UserNameError};

/// The content type of messages about twins and methods.
pub const CONTENT_TYPE: &str = "application/protobuf";

/// The name of the user property with the [`MessageType`].
pub const TYPE_PROPERTY: &str = "type";

#[cfg(test)]
mod tests;
