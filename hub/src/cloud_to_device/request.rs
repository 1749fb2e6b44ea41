//! Messages that services send.

use protocol::cloud_to_device::{Acknowledgement, DEFAULT_LIFETIME, MAX_BYTES, MAX_LIFETIME};
use protocol::error::{ErrorCode, HubError};
use protocol::http_message::HttpMessage;
use protocol::id::DeviceId;
use protocol::properties::MessageProperties;
use protocol::rest::{DEVICE_MESSAGES, of_device};
use protocol::topic::{HubTopic, MAX_TOPIC_BYTES};

use crate::stamps::guid;
use crate::state::QueuedMessage;

/// Checks a message for a device. Returns its id, and the message with the properties that the
/// hub adds.
pub(super) fn parse(
    device: &DeviceId,
    message: HttpMessage,
    now_ms: u64,
) -> Result<(String, QueuedMessage), HubError> {
    let invalid = |reason: String| HubError::new(ErrorCode::ArgumentInvalid, reason);
    let size = message.size();
    if size > MAX_BYTES {
        let text = format!("the message has {size} bytes; at most {MAX_BYTES} are allowed");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    let HttpMessage { properties: given, body } = message;
    if let Some(word) = given.get(MessageProperties::ACK) {
        word.parse::<Acknowledgement>().map_err(|error| invalid(format!("iothub-ack: {error}")))?;
    }
    let lifetime_ms = |time: std::time::Duration| time.as_millis() as u64;
    let expires_ms = match given.get(MessageProperties::EXPIRY).filter(|text| !text.is_empty()) {
        None => now_ms + lifetime_ms(DEFAULT_LIFETIME),
        Some(text) => {
            let expires_ms = time_ms(text).map_err(invalid)?;
            if expires_ms <= now_ms || expires_ms > now_ms + lifetime_ms(MAX_LIFETIME) {
                let days = MAX_LIFETIME.as_secs() / 86_400;
                let text = format!("iothub-expiry: not within the next {days} days");
                return Err(invalid(text));
            }
            expires_ms
        }
    };
    let id = given.get(MessageProperties::MESSAGE_ID).filter(|id| !id.is_empty());
    let id = id.map_or_else(guid, str::to_owned);
    let address = of_device(DEVICE_MESSAGES, device);
    let mut properties = MessageProperties::default()
        .with(MessageProperties::MESSAGE_ID, &id)
        .with(MessageProperties::TO, address);
    let own = [MessageProperties::MESSAGE_ID, MessageProperties::TO];
    for (name, value) in given.iter().filter(|(name, _)| !own.contains(name)) {
        properties = properties.with(name, value.unwrap_or_default());
    }
    let topic = HubTopic::CloudToDevice { device: device.clone(), properties: properties.clone() };
    let length = topic.to_string().len();
    if length > MAX_TOPIC_BYTES {
        let text = format!(
            "the properties need a topic of {length} bytes; at most {MAX_TOPIC_BYTES} are allowed"
        );
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    let message = QueuedMessage {
        sequence: 0,
        properties,
        body: body.into(),
        queued_ms: now_ms,
        expires_ms,
        deliveries: 0,
    };
    Ok((id, message))
}

/// Parses a time: a timestamp, or a number of Unix milliseconds.
fn time_ms(text: &str) -> Result<u64, String> {
    let parsed = match text.parse::<jiff::Timestamp>() {
        Ok(time) => u64::try_from(time.as_millisecond()).ok(),
        Err(_) => text.parse().ok(),
    };
    parsed.ok_or_else(|| {
        let text = json::excerpt(text, 40);
        format!("iothub-expiry: `{text}` is not a timestamp such as 2030-01-01T00:00:00Z")
    })
}
