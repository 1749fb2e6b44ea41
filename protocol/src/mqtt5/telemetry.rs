//! The properties of device-to-cloud messages in MQTT 5.

use super::TYPE_PROPERTY;
use super::message_type::MessageType;
use crate::properties::MessageProperties;

/// The user property in which the C SDK repeats the content type.
const CONTENT_TYPE_PROPERTY: &str = "content-type";

/// The system property with the correlation id.
const CORRELATION_ID: &str = "$.cid";

/// The properties of a PUBLISH packet that belong to a device-to-cloud message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TelemetryFields {
    /// The content type.
    pub content_type: Option<String>,
    /// The correlation data. The .NET SDK sends the correlation id here, the C SDK as a user
    /// property.
    pub correlation: Option<Vec<u8>>,
    /// The user properties, in order.
    pub user: Vec<(String, String)>,
}

impl TelemetryFields {
    /// Returns the fields of a message with these properties, as the C SDK sends them. A
    /// property without a value gets an empty one.
    #[must_use]
    pub fn new(properties: &MessageProperties) -> TelemetryFields {
        let content_type = properties.get(MessageProperties::CONTENT_TYPE).map(str::to_owned);
        let mut user = vec![(TYPE_PROPERTY.to_owned(), MessageType::Telemetry.to_string())];
        user.extend(content_type.iter().map(|kind| (CONTENT_TYPE_PROPERTY.into(), kind.clone())));
        let others = properties.iter().filter(|(name, _)| *name != MessageProperties::CONTENT_TYPE);
        user.extend(others.map(|(name, value)| (name.into(), value.unwrap_or_default().into())));
        TelemetryFields { content_type, correlation: None, user }
    }

    /// Returns the properties of the message. Drops the user properties that SDKs add on their
    /// own: the type, and the repetition of the content type.
    #[must_use]
    pub fn to_properties(&self) -> MessageProperties {
        let mut properties = MessageProperties::default();
        if let Some(kind) = &self.content_type {
            properties = properties.with(MessageProperties::CONTENT_TYPE, kind);
        }
        let has = |name: &str| self.user.iter().any(|(known, _)| known == name);
        let correlation = self.correlation.as_deref().and_then(|id| std::str::from_utf8(id).ok());
        if let Some(id) = correlation.filter(|_| !has(CORRELATION_ID)) {
            properties = properties.with(CORRELATION_ID, id);
        }
        let (mut types, mut content_types) = (0, 0);
        for (name, value) in &self.user {
            let added = match name.as_str() {
                TYPE_PROPERTY if value.starts_with("telemetry:") => &mut types,
                CONTENT_TYPE_PROPERTY if self.content_type.as_ref() == Some(value) => {
                    &mut content_types
                }
                _ => {
                    properties = properties.with(name, value);
                    continue;
                }
            };
            // A second one is a property of the application.
            *added += 1;
            if *added > 1 {
                properties = properties.with(name, value);
            }
        }
        properties
    }
}
