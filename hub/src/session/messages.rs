//! Messages from a device: method answers, twin requests and telemetry.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use ::json;
use program::chain;
use protocol::error::{ErrorCode, HubError};
use protocol::id::RequestId;
use protocol::properties::MessageProperties;
use protocol::topic::{DeviceTopic, Filter, HubTopic, MAX_MESSAGE_BYTES};
use serde_json::{Map, Value, json};
use tracing::{debug, info};

use super::{Session, SessionEnd, faulty, on_disk};
use crate::faults::{Handling, Injection, Step};
use crate::methods::method_outcome;
use crate::mqtt::{Outbound, Publish, Will};
use crate::stamps::{now, tracking_id};
use crate::state::Owner;
use crate::telemetry::TelemetryMessage;

/// Delay of the answer to a failed twin request, because some clients repeat the request
/// immediately and indefinitely.
const GET_ERROR_DELAY: Duration = Duration::from_secs(1);

impl Session {
    /// Processes a message. Returns `true` if it is to be acknowledged. An error ends the
    /// session.
    pub(super) async fn message(&mut self, message: Publish) -> Result<bool, SessionEnd> {
        let topic: DeviceTopic = message
            .topic
            .parse()
            .map_err(|error| SessionEnd::Misused(chain(&error).to_string()))?;
        match topic {
            DeviceTopic::MethodAnswer { status, rid } => {
                let outcome = method_outcome(status, &message.payload);
                let handling = self.handling(Step::Answer);
                if faulty::receive(&self.outlet, handling).await? {
                    self.context.methods.answer(&self.owner, &rid, outcome);
                }
                acknowledged(handling)
            }
            DeviceTopic::TwinGet { rid } => self.twin_get(rid).await.map(|()| true),
            DeviceTopic::TwinReport { rid } => {
                self.twin_report(rid, &message.payload).await.map(|()| true)
            }
            DeviceTopic::IssueCertificate { rid } => {
                self.issue_certificate(rid, &message).await.map(|()| false)
            }
            DeviceTopic::Telemetry { device, module, properties } => {
                let sender = Owner { device, module };
                if sender != self.owner {
                    let reason = format!("telemetry on behalf of `{sender}`");
                    return Err(SessionEnd::Misused(reason));
                }
                if message.payload.len() > MAX_MESSAGE_BYTES {
                    let (bytes, max) = (message.payload.len(), MAX_MESSAGE_BYTES);
                    let reason = format!("telemetry of {bytes} bytes; at most {max} are allowed");
                    return Err(SessionEnd::Misused(reason));
                }
                if let Some(injection) = Injection::parse(&properties) {
                    // The connection ends before the acknowledgement, so the device repeats the
                    // message. The injection must run only once.
                    let repeated = self.is_repeated(injection, &message);
                    if !repeated {
                        self.inject(injection);
                    }
                    return Ok(repeated);
                }
                let handling = self.handling(Step::Message);
                if faulty::receive(&self.outlet, handling).await? {
                    let properties = match message.retain {
                        true => properties.with("mqtt-retain", "true"),
                        false => properties,
                    };
                    self.telemetry(TelemetryMessage::new(
                        &self.sender,
                        properties,
                        message.payload,
                    ));
                }
                acknowledged(handling)
            }
        }
    }

    /// Returns `true` if the fault injection has already been performed. Compares topic and
    /// payload, since some clients repeat the message without the DUP flag.
    fn is_repeated(&self, injection: Injection, message: &Publish) -> bool {
        let mut hasher = DefaultHasher::new();
        (&message.topic, &message.payload).hash(&mut hasher);
        let message_hash = hasher.finish();
        let faults = &self.context.faults;
        faults.take_repeated(
            &self.owner.device,
            message_hash,
            message.duplicate,
            injection.lifetime(),
        )
    }

    /// Performs a fault injection after its delay.
    fn inject(&self, injection: Injection) {
        // Cloning the whole context would keep the state file open during the delay.
        let (faults, sessions) =
            (Arc::clone(&self.context.faults), Arc::clone(&self.context.sessions));
        let (owner, serial) = (self.owner.clone(), self.serial);
        tokio::spawn(async move {
            tokio::time::sleep(injection.delay).await;
            for fault in injection.faults(&owner.device) {
                if let Err(error) = faults.set(fault) {
                    info!(device = %owner, %error, "fault injection not performed");
                }
            }
            sessions.drop_session(&owner, serial);
        });
    }

    /// Publishes the will.
    pub(super) fn publish_will(&self, will: Will) {
        let properties = own_telemetry(&will.topic, &self.owner);
        let properties = properties.expect("the topic of a will is checked at CONNECT");
        let properties = properties.with("iothub-MessageType", "Will");
        self.telemetry(TelemetryMessage::new(&self.sender, properties, will.payload));
    }

    fn telemetry(&self, message: TelemetryMessage) {
        let body = String::from_utf8_lossy(&message.body);
        debug!(
            device = %message.device,
            bytes = message.body.len(),
            properties = %message.properties,
            ?body,
            "telemetry received"
        );
        self.context.publish(message);
    }

    async fn twin_get(&self, rid: RequestId) -> Result<(), SessionEnd> {
        let handling = self.handling(Step::TwinGet);
        if handling.is_throttled() {
            return self.twin_error(rid, &throttled()).await;
        }
        match self.context.state.device_twin(&self.owner) {
            Ok(twin) => {
                self.twin_answer(200, rid, None, twin.to_json().to_string(), handling).await
            }
            Err(error) => {
                tokio::time::sleep(GET_ERROR_DELAY).await;
                self.twin_error(rid, &error).await
            }
        }
    }

    async fn twin_report(&self, rid: RequestId, body: &[u8]) -> Result<(), SessionEnd> {
        let patch = match reported_patch(body) {
            Ok(patch) => patch,
            Err(reason) => {
                let error = HubError::new(ErrorCode::ArgumentInvalid, reason);
                return self.twin_error(rid, &error).await;
            }
        };
        let handling = self.handling(Step::TwinReport);
        if handling.is_throttled() {
            return self.twin_error(rid, &throttled()).await;
        }
        let owner = self.owner.clone();
        let reported = on_disk(&self.context.state, move |state| state.report(&owner, &patch));
        match reported.await {
            Ok(version) => self.twin_answer(204, rid, Some(version), String::new(), handling).await,
            Err(error) => self.twin_error(rid, &error).await,
        }
    }

    /// Sends an error. Its body contains `errorCode`, the only part that some clients read.
    async fn twin_error(&self, rid: RequestId, error: &HubError) -> Result<(), SessionEnd> {
        let body = json!({
            "errorCode": error.code.number(),
            "trackingId": tracking_id(),
            "message": error.message,
            "timestampUtc": now(),
        });
        self.twin_answer(error.code.http_status(), rid, None, body.to_string(), Handling::REGULAR)
            .await
    }

    async fn twin_answer(
        &self,
        status: u16,
        rid: RequestId,
        version: Option<u64>,
        body: String,
        handling: Handling,
    ) -> Result<(), SessionEnd> {
        // Without a subscription, a device receives no answers.
        if !self.filters.iter().any(|(filter, _)| *filter == Filter::TwinAnswers) {
            return Ok(());
        }
        let topic = HubTopic::TwinAnswer { status, rid, version }.to_string();
        self.send(&Outbound::Publish { topic: &topic, payload: body.as_bytes() }, handling).await
    }
}

/// Returns the properties in `topic` if it is the telemetry topic of the device or module `own`.
pub(super) fn own_telemetry(topic: &str, own: &Owner) -> Option<MessageProperties> {
    match topic.parse() {
        Ok(DeviceTopic::Telemetry { device, module, properties })
            if device == own.device && module == own.module =>
        {
            Some(properties)
        }
        _ => None,
    }
}

/// Returns `true` to acknowledge a processed packet, or an error if a fault drops the
/// connection.
fn acknowledged(handling: Handling) -> Result<bool, SessionEnd> {
    if handling.drops_connection() { Err(SessionEnd::Fault) } else { Ok(true) }
}

fn throttled() -> HubError {
    HubError::new(ErrorCode::ThrottlingException, "throttled by a fault")
}

/// Parses reported properties.
pub(super) fn reported_patch(body: &[u8]) -> Result<Map<String, Value>, String> {
    match text(body).and_then(|text| json::value(text).map_err(|error| error.to_string())) {
        Ok(Value::Object(patch)) => Ok(patch),
        Ok(_) => Err("the patch is not a JSON object".to_owned()),
        Err(reason) => Err(format!("the patch {reason}")),
    }
}

fn text(body: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(body).map_err(|_| "is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_integers_that_would_lose_precision_are_refused() {
        for (patch, reason) in [
            (
                r#"{"a":[18446744073709551616]}"#,
                "the patch has the integer 18446744073709551616, which does not fit in 64 bits",
            ),
            ("[]", "the patch is not a JSON object"),
        ] {
            assert_eq!(reported_patch(patch.as_bytes()).unwrap_err(), reason);
        }
        let kept = reported_patch(br#"{"a":-0}"#).unwrap();
        assert_eq!(Value::Object(kept).to_string(), r#"{"a":0}"#);
    }
}
