//! Cloud-to-device messages in cases.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A cloud-to-device message that a plugin receives.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseMessage {
    /// The body: a string is its text, any other value is sent as JSON. Empty by default.
    pub body: Option<Value>,
    /// The bytes of the body in base64, in place of `body`.
    pub body_base64: Option<String>,
    /// The names and values of the properties, in the order of the file.
    #[serde(default, deserialize_with = "pairs")]
    pub properties: Vec<(String, String)>,
}

impl CaseMessage {
    /// Returns the bytes of the body.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.body, &self.body_base64) {
            (Some(_), Some(_)) => {
                Err("message: expected at most one of `body` and `body_base64`".to_owned())
            }
            (None, Some(text)) => {
                STANDARD.decode(text).map_err(|_| "message.body_base64: expected base64".to_owned())
            }
            (Some(Value::String(text)), None) => Ok(text.clone().into_bytes()),
            (Some(value), None) => Ok(value.to_string().into_bytes()),
            (None, None) => Ok(Vec::new()),
        }
    }
}

fn pairs<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<(String, String)>, D::Error> {
    let map = Map::<String, Value>::deserialize(json)?;
    map.into_iter()
        .map(|(name, value)| match value {
            Value::String(value) => Ok((name, value)),
            _ => Err(serde::de::Error::custom("expected strings as values of properties")),
        })
        .collect()
}
