//! Bytes as base64, for values of JSON files that are not text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Bytes that are base64 in JSON, with padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Base64(pub Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = String;

    fn try_from(text: String) -> Result<Base64, String> {
        match STANDARD.decode(&text) {
            Ok(bytes) => Ok(Base64(bytes)),
            Err(error) => Err(format!("`{}` is not base64: {error}", json::readable(&text))),
        }
    }
}

impl From<Base64> for String {
    fn from(Base64(bytes): Base64) -> String {
        STANDARD.encode(bytes)
    }
}
