//! Cloud-to-device messages and their feedback.

use protocol::cloud_to_device::{FeedbackRecord, PurgeResult};
use protocol::http_message::{BATCH_TYPE, HttpMessage, header_of};
use protocol::id::DeviceId;
use protocol::properties::MessageProperties;
use protocol::rest;
use reqwest::Method;
use reqwest::header::ETAG;

use super::send::{HubRequest, Resend};
use super::{Client, device_request};
use crate::ServiceError;

/// Outcomes of messages, which the hub keeps until they are completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The lock with which the records are completed, within a minute.
    pub lock: String,
    /// The outcomes, oldest first.
    pub records: Vec<FeedbackRecord>,
}

impl Client {
    /// Queues a cloud-to-device message and returns its id. A message without the property
    /// [`MessageProperties::MESSAGE_ID`] gets one from the hub. Works with `behaviour-hub` only,
    /// since Azure IoT Hub accepts messages by AMQP.
    pub async fn send_message(
        &self,
        device: &DeviceId,
        message: &HttpMessage,
    ) -> Result<String, ServiceError> {
        let request = HubRequest {
            body: Some(message.to_batch()),
            content_type: BATCH_TYPE,
            resend: Resend::IfUndelivered,
            ..device_request(device, Method::POST, rest::DEVICE_MESSAGES)
        };
        let response = self.send(request).await?;
        let id = response.header(&header_of(MessageProperties::MESSAGE_ID));
        let given = message.properties.get(MessageProperties::MESSAGE_ID);
        Ok(given.or(id).unwrap_or_default().to_owned())
    }

    /// Removes all cloud-to-device messages from the queue of a device, and returns their number.
    pub async fn purge_messages(&self, device: &DeviceId) -> Result<usize, ServiceError> {
        let request = device_request(device, Method::DELETE, rest::COMMANDS);
        let purged: PurgeResult = self.send(request).await?.json()?;
        Ok(purged.total_messages_purged)
    }

    /// Receives outcomes of cloud-to-device messages; `None` if there are none.
    pub async fn receive_feedback(&self) -> Result<Option<Feedback>, ServiceError> {
        let path = rest::FEEDBACK.to_owned();
        let request = HubRequest::new(Method::GET, path, "feedback".to_owned());
        // A response that is lost locks its records for a minute.
        let response = self.send(HubRequest { resend: Resend::IfUndelivered, ..request }).await?;
        if response.is_empty() {
            return Ok(None);
        }
        let lock = response.header(ETAG.as_str()).unwrap_or_default().trim_matches('"').to_owned();
        Ok(Some(Feedback { lock, records: response.json()? }))
    }

    /// Removes received outcomes from the hub.
    pub async fn complete_feedback(&self, lock: &str) -> Result<(), ServiceError> {
        let path = rest::of_lock(rest::FEEDBACK_LOCK, lock);
        let request = HubRequest::new(Method::DELETE, path, "feedback".to_owned());
        self.send(request).await.map(drop)
    }
}
