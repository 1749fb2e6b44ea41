//! Payloads as members of events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::EventData;

/// Adds a payload of at most `max` bytes as `body` or, if it is not UTF-8, as `bodyBase64`. A
/// longer one is cut, and `truncated` is set.
pub(crate) fn add_payload(data: &mut EventData, payload: &[u8], max: usize) {
    let cut = &payload[..payload.len().min(max)];
    let text = match std::str::from_utf8(cut) {
        Ok(text) => Some(text),
        // The cut can be within a character.
        Err(error) if cut.len() < payload.len() && error.error_len().is_none() => {
            std::str::from_utf8(&cut[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) => data.insert("body".to_owned(), json!(text)),
        None => data.insert("bodyBase64".to_owned(), json!(STANDARD.encode(cut))),
    };
    if cut.len() < payload.len() {
        data.insert("truncated".to_owned(), Value::Bool(true));
    }
}
