//! Cloud-to-device messages, which are persisted and run as jobs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The name of the job of a message, in logs and lists.
pub(crate) const MESSAGE_JOB: &str = "messages.receive";

/// A cloud-to-device message of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloudMessage {
    pub(crate) body: Vec<u8>,
    /// The names and values of the properties, in order.
    pub(crate) properties: Vec<(String, String)>,
}

/// The persisted form of a message.
#[derive(Serialize, Deserialize)]
struct CloudMessageRecord {
    /// The body in base64.
    body: String,
    properties: Vec<(String, String)>,
}

impl CloudMessage {
    /// Returns the message as the payload of a job.
    pub(crate) fn to_payload(&self) -> String {
        let (body, properties) = (STANDARD.encode(&self.body), self.properties.clone());
        serde_json::to_string(&CloudMessageRecord { body, properties }).expect("a record is JSON")
    }

    /// Returns the id that the hub has given to a persisted message.
    pub(super) fn id_of(payload: &str) -> Option<String> {
        let properties = CloudMessage::from_payload(payload)?.properties;
        properties.into_iter().find(|(name, _)| name == "$.mid").map(|(_, id)| id)
    }

    /// Parses the payload of a job; `None` if it is corrupt.
    pub(crate) fn from_payload(payload: &str) -> Option<CloudMessage> {
        let CloudMessageRecord { body, properties } = serde_json::from_str(payload).ok()?;
        Some(CloudMessage { body: STANDARD.decode(body).ok()?, properties })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_its_persisted_form() {
        let properties = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        let message = CloudMessage { body: vec![0, 0xff], properties };
        assert_eq!(CloudMessage::id_of(&message.to_payload()), None);
        assert_eq!(CloudMessage::from_payload(&message.to_payload()), Some(message));
        let properties = vec![("$.mid".to_owned(), "m1".to_owned())];
        let message = CloudMessage { body: Vec::new(), properties };
        assert_eq!(CloudMessage::id_of(&message.to_payload()).as_deref(), Some("m1"));
        assert_eq!(CloudMessage::from_payload("{}"), None);
        assert_eq!(CloudMessage::from_payload(r#"{"body":"?","properties":[]}"#), None);
    }
}
