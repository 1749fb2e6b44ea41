//! What a device publishes: answers, twin requests, telemetry.

use std::sync::Arc;
use std::time::Duration;

use protocol::error::{ErrorCode, HubError};
use protocol::id::RequestId;
use protocol::method::{MAX_PAYLOAD_BYTES, MethodResult};
use protocol::topic::{DeviceTopic, Filter, HubTopic, MAX_MESSAGE_BYTES};
use serde_json::{Map, Value, json};

use super::{Over, Session, chain, on_disk};
use crate::faults::{Effect, Injection, Step};
use crate::mqtt::{Outbound, Publish, Will};
use crate::telemetry::Message;

/// How long an error to a twin get is held back: some clients ask again at
/// once, for ever.
const GET_ERROR_DELAY: Duration = Duration::from_secs(1);

impl Session {
    /// Does what a message asks for, and says whether it may be acknowledged.
    /// An error ends the session.
    pub(super) async fn message(&mut self, message: Publish) -> Result<bool, Over> {
        let topic: DeviceTopic =
            message.topic.parse().map_err(|error| Over::Misused(chain(&error)))?;
        match topic {
            DeviceTopic::MethodAnswer { status, rid } => {
                let answer = answer(status, &message.payload);
                let fault = self.fault(Step::Answer);
                if let Some(effect) = fault
                    && self.mistake(effect).await?
                {
                    return Ok(true);
                }
                self.shared.sessions.answer(&self.device, &rid, answer);
                self.unless_dropped(fault)
            }
            DeviceTopic::TwinGet { rid } => self.twin_get(rid).await.map(|()| true),
            DeviceTopic::TwinReport { rid } => {
                self.twin_report(rid, &message.payload).await.map(|()| true)
            }
            DeviceTopic::Telemetry { device, module, properties } => {
                if device != self.device || module.is_some() {
                    return Err(Over::Misused(format!("telemetry in the name of {device}")));
                }
                if message.payload.len() > MAX_MESSAGE_BYTES {
                    return Err(Over::Misused("telemetry of more than 256 KiB".into()));
                }
                if let Some(injection) = Injection::read(&properties) {
                    // The connection ends before the acknowledgement; so it comes
                    // once more, and then it has been done.
                    if !message.duplicate {
                        self.inject(injection);
                    }
                    return Ok(message.duplicate);
                }
                let fault = self.fault(Step::Message);
                if let Some(effect) = fault
                    && self.mistake(effect).await?
                {
                    return Ok(true);
                }
                let properties = match message.retain {
                    true => properties.with("mqtt-retain", "true"),
                    false => properties,
                };
                self.telemetry(Message::new(device, properties, message.payload));
                self.unless_dropped(fault)
            }
        }
    }

    /// The end of a packet that was taken, with a fault or without.
    fn unless_dropped(&self, fault: Option<Effect>) -> Result<bool, Over> {
        if fault == Some(Effect::DropAfter) { Err(Over::Fault) } else { Ok(true) }
    }

    /// Does what a fault-injection message asks for, when it is time.
    fn inject(&self, injection: Injection) {
        let (sessions, device) = (Arc::clone(&self.shared.sessions), self.device.clone());
        let serial = self.serial;
        tokio::spawn(async move {
            tokio::time::sleep(injection.delay).await;
            injection.set(&sessions.faults, &device);
            sessions.end_one(&device, serial);
        });
    }

    /// Publishes the will of a device that left without a word.
    pub(super) fn will(&self, will: Will) {
        let Ok(DeviceTopic::Telemetry { device, properties, .. }) = will.topic.parse() else {
            return;
        };
        if device == self.device {
            let properties = properties.with("iothub-MessageType", "Will");
            self.telemetry(Message::new(device, properties, will.payload));
        }
    }

    fn telemetry(&self, message: Message) {
        tracing::debug!(device = %message.device, bytes = message.body.len(), "telemetry");
        // Nobody may be listening.
        let _ = self.shared.telemetry.send(message);
    }

    async fn twin_get(&self, rid: RequestId) -> Result<(), Over> {
        let fault = self.fault(Step::TwinGet);
        if fault == Some(Effect::Throttle) {
            return self.twin_error(rid, &throttled()).await;
        }
        match self.shared.state.device_twin(&self.device) {
            Ok(twin) => self.twin_answer(200, rid, None, twin.to_json().to_string(), fault).await,
            Err(error) => {
                tokio::time::sleep(GET_ERROR_DELAY).await;
                self.twin_error(rid, &error).await
            }
        }
    }

    async fn twin_report(&self, rid: RequestId, body: &[u8]) -> Result<(), Over> {
        let patch: Map<String, Value> = match serde_json::from_slice(body) {
            Ok(patch) => patch,
            Err(error) => {
                let text = format!("the patch is not a JSON object: {error}");
                let error = HubError::new(ErrorCode::ArgumentInvalid, text);
                return self.twin_error(rid, &error).await;
            }
        };
        let fault = self.fault(Step::TwinReport);
        if fault == Some(Effect::Throttle) {
            return self.twin_error(rid, &throttled()).await;
        }
        let device = self.device.clone();
        let reported = on_disk(&self.shared.state, move |state| state.report(&device, &patch));
        match reported.await {
            Ok(version) => self.twin_answer(204, rid, Some(version), String::new(), fault).await,
            Err(error) => self.twin_error(rid, &error).await,
        }
    }

    /// Some clients ignore the status and look for `errorCode` in the body.
    async fn twin_error(&self, rid: RequestId, error: &HubError) -> Result<(), Over> {
        let body = json!({"errorCode": error.code.number(), "message": error.message});
        self.twin_answer(error.code.http_status(), rid, None, body.to_string(), None).await
    }

    async fn twin_answer(
        &self,
        status: u16,
        rid: RequestId,
        version: Option<u64>,
        body: String,
        fault: Option<Effect>,
    ) -> Result<(), Over> {
        // Nothing is delivered that the device has not subscribed to.
        if !self.filters.iter().any(|(filter, _)| *filter == Filter::TwinAnswers) {
            return Ok(());
        }
        let topic = HubTopic::TwinAnswer { status, rid, version }.to_string();
        let packet = Outbound::Publish { topic: &topic, payload: body.as_bytes() };
        match fault {
            None => self.send(&packet).await,
            Some(effect) => self.missend(effect, &packet).await,
        }
    }
}

fn throttled() -> HubError {
    HubError::new(ErrorCode::ThrottlingException, "a fault throttles this device")
}

/// The device's answer as its caller gets it.
fn answer(status: i32, body: &[u8]) -> Result<MethodResult, HubError> {
    if body.len() > MAX_PAYLOAD_BYTES {
        let text = format!("the device's answer has {} bytes", body.len());
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    if body.is_empty() {
        return Ok(MethodResult { status, payload: Value::Null });
    }
    let payload = serde_json::from_slice(body).map_err(|error| {
        HubError::new(ErrorCode::ServerError, format!("the device's answer is not JSON: {error}"))
    })?;
    Ok(MethodResult { status, payload })
}
