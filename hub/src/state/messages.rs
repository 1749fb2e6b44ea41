//! The queue of cloud-to-device messages of a device.

use std::sync::Arc;

use bytes::Bytes;
use protocol::cloud_to_device::{Acknowledgement, MAX_QUEUED};
use protocol::properties::MessageProperties;
use serde::{Deserialize, Serialize};

/// The messages of a device that it has not completed, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct MessageQueue {
    /// Number of messages that were ever queued.
    queued: u64,
    #[serde(with = "as_list")]
    messages: Vec<Arc<QueuedMessage>>,
}

impl MessageQueue {
    /// Returns the number of messages.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns the messages, oldest first.
    pub(super) fn messages(&self) -> &[Arc<QueuedMessage>] {
        &self.messages
    }

    /// Adds a message and sets its sequence number. Returns `false` if the queue is full.
    pub(super) fn push(&mut self, message: QueuedMessage) -> bool {
        if self.messages.len() >= MAX_QUEUED {
            return false;
        }
        self.queued += 1;
        self.messages.push(Arc::new(QueuedMessage { sequence: self.queued, ..message }));
        true
    }

    /// Counts an abandoned delivery of a message, and returns their number; `None` if there is no
    /// such message.
    pub(super) fn count_delivery(&mut self, sequence: u64) -> Option<u32> {
        let message = self.messages.iter_mut().find(|message| message.sequence == sequence)?;
        let message = Arc::make_mut(message);
        message.deliveries += 1;
        Some(message.deliveries)
    }

    /// Removes messages and returns them.
    pub(super) fn remove(
        &mut self,
        is_removed: impl Fn(&QueuedMessage) -> bool,
    ) -> Vec<Arc<QueuedMessage>> {
        self.messages.extract_if(.., |message| is_removed(message)).collect()
    }
}

/// A message for a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct QueuedMessage {
    /// Number of the message in the queue of its device, from 1.
    pub(crate) sequence: u64,
    /// System and application properties.
    #[serde(with = "as_text")]
    pub(crate) properties: MessageProperties,
    #[serde(with = "as_base64")]
    pub(crate) body: Bytes,
    /// Time at which the message was queued, in Unix milliseconds.
    pub(crate) queued_ms: u64,
    /// Time at which the message expires, in Unix milliseconds.
    pub(crate) expires_ms: u64,
    /// Number of deliveries that the device has abandoned.
    pub(crate) deliveries: u32,
}

impl QueuedMessage {
    /// Returns the outcomes of which the sender wants to be notified.
    pub(crate) fn acknowledgement(&self) -> Acknowledgement {
        let word = self.properties.get(MessageProperties::ACK);
        word.and_then(|word| word.parse().ok()).unwrap_or_default()
    }
}

/// Serialization of shared messages as those themselves.
mod as_list {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::QueuedMessage;

    pub(super) fn serialize<S: Serializer>(
        messages: &[Arc<QueuedMessage>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(messages.iter().map(Arc::as_ref))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Arc<QueuedMessage>>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
    }
}

/// Serialization of properties as a property bag.
mod as_text {
    use protocol::properties::MessageProperties;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        properties: &MessageProperties,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(properties)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<MessageProperties, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Serialization of a body as base64.
mod as_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(body))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
