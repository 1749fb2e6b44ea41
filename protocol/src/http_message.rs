//! Messages over HTTPS: a body with properties in headers, or batches as JSON.
//!
//! ```text
//! iothub-messageid: m1          the system property `$.mid`
//! iothub-app-level: high        the application property `level`
//! ```
//!
//! HTTP headers have no case, so the names of application properties lose theirs. A batch,
//! a JSON array with the media type [`BATCH_TYPE`], keeps it and any characters.
//!
//! The headers are those of the IoT Hub REST reference, "Send device event" and "Receive device
//! bound notification".

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::properties::MessageProperties;

/// Media type of a batch.
pub const BATCH_TYPE: &str = "application/vnd.microsoft.iothub.json";

/// Header of a request for a message: the time in seconds for which the message is locked.
pub const LOCK_TIMEOUT: &str = "iothub-messagelocktimeout";

/// Range of [`LOCK_TIMEOUT`].
pub const LOCK_SECONDS: RangeInclusive<u64> = 5..=300;

/// Header of a received message: its number in the queue.
pub const SEQUENCE_NUMBER: &str = "iothub-sequencenumber";

/// Header of a received message: the number of earlier deliveries that were abandoned.
pub const DELIVERY_COUNT: &str = "iothub-deliverycount";

/// Header of a received message: the time at which it was queued.
pub const ENQUEUED_TIME: &str = "iothub-enqueuedtime";

/// Headers of system properties, and the names of these properties in MQTT.
const SYSTEM: [(&str, &str); 10] = [
    ("iothub-messageid", MessageProperties::MESSAGE_ID),
    ("iothub-correlationid", MessageProperties::CORRELATION_ID),
    ("iothub-userid", MessageProperties::USER_ID),
    ("iothub-to", MessageProperties::TO),
    ("iothub-expiry", MessageProperties::EXPIRY),
    ("iothub-contenttype", MessageProperties::CONTENT_TYPE),
    ("iothub-contentencoding", MessageProperties::CONTENT_ENCODING),
    ("iothub-interface-id", "$.ifid"),
    ("dt-subject", "$.sub"),
    ("iothub-ack", MessageProperties::ACK),
];

/// Prefix of the headers of application properties.
const APPLICATION: &str = "iothub-app-";

/// A message over HTTPS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpMessage {
    /// System and application properties.
    pub properties: MessageProperties,
    /// The body.
    pub body: Vec<u8>,
}

/// A malformed message or batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpMessageError {
    /// A header of a property that is not UTF-8.
    #[error("header `{0}` is not UTF-8")]
    Header(String),
    /// An application property with a name that could be that of a system property in MQTT.
    #[error("header `{0}`: the names of application properties do not begin with `$`")]
    SystemName(String),
    /// A batch that is not a JSON array of objects.
    #[error("the batch is not a JSON array of objects")]
    NotABatch,
    /// A message without a body, or with one that is not a string. Messages are numbered from 1.
    #[error("message {0} of the batch has no string `body`")]
    NoBody(usize),
    /// A body that is not base64. Messages are numbered from 1.
    #[error("the body of message {0} of the batch is not base64")]
    NotBase64(usize),
    /// Properties that are not strings. Messages are numbered from 1.
    #[error("the properties of message {0} of the batch are not strings")]
    Properties(usize),
}

impl HttpMessage {
    /// Parses the properties in the headers of a request. Other headers are ignored.
    pub fn from_headers<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        body: Vec<u8>,
    ) -> Result<HttpMessage, HttpMessageError> {
        let mut properties = MessageProperties::default();
        for (header, value) in headers {
            let Some(name) = property_of(header)? else { continue };
            let value = std::str::from_utf8(value)
                .map_err(|_| HttpMessageError::Header(header.to_owned()))?;
            properties = properties.with(name, value);
        }
        Ok(HttpMessage { properties, body })
    }

    /// Parses a batch. Bodies are base64 unless a message has `"base64Encoded": false`.
    pub fn from_batch(batch: &[u8]) -> Result<Vec<HttpMessage>, HttpMessageError> {
        let items: Vec<Map<String, Value>> =
            serde_json::from_slice(batch).map_err(|_| HttpMessageError::NotABatch)?;
        items.iter().enumerate().map(|(index, item)| from_item(item, index + 1)).collect()
    }

    /// Returns the message as a batch of one message.
    #[must_use]
    pub fn to_batch(&self) -> String {
        let properties: Map<String, Value> = self
            .properties
            .iter()
            .map(|(name, value)| (header_of(name), value.unwrap_or_default().into()))
            .collect();
        json!([{ "body": STANDARD.encode(&self.body), "base64Encoded": true, "properties": properties }])
            .to_string()
    }

    /// Returns the size that counts against limits: that of the body, of the values of system
    /// properties, and of the names and values of application properties, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let is_system = |name: &str| SYSTEM.iter().any(|(_, own)| *own == name);
        let of_property = |(name, value): (&str, Option<&str>)| {
            value.map_or(0, str::len) + if is_system(name) { 0 } else { name.len() }
        };
        self.body.len() + self.properties.iter().map(of_property).sum::<usize>()
    }
}

fn from_item(item: &Map<String, Value>, number: usize) -> Result<HttpMessage, HttpMessageError> {
    let body = item.get("body").and_then(Value::as_str).ok_or(HttpMessageError::NoBody(number))?;
    let body = match item.get("base64Encoded").and_then(Value::as_bool) {
        Some(false) => body.as_bytes().to_vec(),
        _ => STANDARD.decode(body).map_err(|_| HttpMessageError::NotBase64(number))?,
    };
    let malformed = || HttpMessageError::Properties(number);
    let no_properties = Map::new();
    let given = match item.get("properties") {
        None | Some(Value::Null) => &no_properties,
        Some(properties) => properties.as_object().ok_or_else(malformed)?,
    };
    let mut properties = MessageProperties::default();
    for (header, value) in given {
        let Some(name) = property_of(header)? else { continue };
        properties = properties.with(name, value.as_str().ok_or_else(malformed)?);
    }
    Ok(HttpMessage { properties, body })
}

/// Returns the name of the property in a header; `None` for other headers.
fn property_of(header: &str) -> Result<Option<&str>, HttpMessageError> {
    let is_same = |(own, _): &&(&str, &str)| own.eq_ignore_ascii_case(header);
    if let Some((_, name)) = SYSTEM.iter().find(is_same) {
        return Ok(Some(name));
    }
    match header.split_at_checked(APPLICATION.len()) {
        Some((prefix, name)) if prefix.eq_ignore_ascii_case(APPLICATION) => match name {
            "" => Ok(None),
            _ if name.starts_with('$') => Err(HttpMessageError::SystemName(header.to_owned())),
            _ => Ok(Some(name)),
        },
        _ => Ok(None),
    }
}

/// Returns the header of a property.
#[must_use]
pub fn header_of(property: &str) -> String {
    match SYSTEM.iter().find(|(_, name)| *name == property) {
        Some((header, _)) => (*header).to_owned(),
        None => format!("{APPLICATION}{property}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_become_properties() {
        let headers: [(&str, &[u8]); 5] = [
            ("iothub-messageid", b"m1"),
            ("IoTHub-App-level", "höh".as_bytes()),
            ("iothub-ack", b"full"),
            ("content-type", b"text/plain"),
            ("iothub-app-", b"nameless"),
        ];
        let message = HttpMessage::from_headers(headers, b"b".to_vec()).unwrap();
        assert_eq!(message.properties.to_string(), "%24.mid=m1&level=h%C3%B6h&iothub-ack=full");
        // m1, level, höh, full and the body.
        assert_eq!(message.size(), 2 + 5 + 4 + 4 + 1);
        let broken: [(&str, &[u8]); 1] = [("iothub-app-a", b"\xff")];
        let refused = HttpMessage::from_headers(broken, Vec::new()).unwrap_err();
        assert_eq!(refused.to_string(), "header `iothub-app-a` is not UTF-8");
    }

    #[test]
    fn an_application_property_cannot_replace_a_system_property() {
        let headers: [(&str, &[u8]); 2] =
            [("iothub-messageid", b"m1"), ("IoTHub-App-$.mid", b"spoof")];
        let refused = HttpMessage::from_headers(headers, Vec::new()).unwrap_err();
        let reason = "header `IoTHub-App-$.mid`: the names of application properties do not begin \
                      with `$`";
        assert_eq!(refused.to_string(), reason);
        let batch = r#"[{"body":"","properties":{"iothub-app-$.on":"1"}}]"#;
        let refused = HttpMessage::from_batch(batch.as_bytes()).unwrap_err();
        assert_eq!(refused, HttpMessageError::SystemName("iothub-app-$.on".to_owned()));
    }

    #[test]
    fn a_batch_keeps_the_case_of_names_and_any_bytes() {
        let properties = MessageProperties::default()
            .with(MessageProperties::MESSAGE_ID, "m1")
            .with("Level", "°C");
        let message = HttpMessage { properties, body: vec![0, 0xff] };
        let again = HttpMessage::from_batch(message.to_batch().as_bytes()).unwrap();
        let again = again.first().unwrap();
        assert_eq!(again.body, message.body);
        assert_eq!(again.properties.get("Level"), Some("°C"));
        assert_eq!(again.properties.get(MessageProperties::MESSAGE_ID), Some("m1"));
    }

    #[test]
    fn a_malformed_batch_names_the_message() {
        for (batch, reason) in [
            ("{}", "the batch is not a JSON array of objects"),
            (
                r#"[{"body":"aGk="},{"properties":{}}]"#,
                "message 2 of the batch has no string `body`",
            ),
            (r#"[{"body":"?"}]"#, "the body of message 1 of the batch is not base64"),
            (
                r#"[{"body":"","properties":{"iothub-app-a":1}}]"#,
                "the properties of message 1 of the batch are not strings",
            ),
        ] {
            assert_eq!(HttpMessage::from_batch(batch.as_bytes()).unwrap_err().to_string(), reason);
        }
        let plain = HttpMessage::from_batch(br#"[{"body":"hi","base64Encoded":false}]"#).unwrap();
        assert_eq!(plain[0].body, b"hi");
    }
}
