//! Messages from a device: births, twin requests, the steps of methods, and telemetry.

use protocol::id::DeviceId;
use protocol::mqtt5::{
    Abandon, Birth, CorrelationId, Direction, Feature, Message, MessageType, PatchOutcome,
    ProbeAck, ProtobufError, ReasonCode, ReportedPatch, ReportedPatchResponse, ResultMessage,
    Sections, TelemetryFields, Topic, TwinGet, TwinGetResponse,
};
use protocol::topic::MAX_MESSAGE_BYTES;
use tracing::{debug, info};

use super::super::messages::reported_patch;
use super::super::{SessionEnd, faulty, on_disk};
use super::Mqtt5Session;
use super::births::text;
use crate::faults::{Handling, Step};
use crate::methods::DeviceStep;
use crate::mqtt5::Mqtt5Publish;
use crate::state::NotReported;
use crate::telemetry::TelemetryMessage;

impl Mqtt5Session {
    /// Processes a message of the profile. Returns the reason code of its acknowledgement, or
    /// `None` if a fault suppresses that.
    pub(super) async fn message(
        &mut self,
        kind: MessageType,
        correlation: CorrelationId,
        payload: &[u8],
    ) -> Result<Option<ReasonCode>, SessionEnd> {
        let step = match kind {
            MessageType::Birth => match self.decoded(Birth::decode(payload)) {
                Some(birth) => return self.birth(correlation, birth).await.map(acknowledged),
                None => return Ok(Some(ReasonCode::PAYLOAD_FORMAT_INVALID)),
            },
            MessageType::TwinGet => match self.decoded(TwinGet::decode(payload)) {
                Some(get) => return self.twin_get(correlation, get).await.map(acknowledged),
                None => return Ok(Some(ReasonCode::PAYLOAD_FORMAT_INVALID)),
            },
            MessageType::ReportedPatch => match self.decoded(ReportedPatch::decode(payload)) {
                Some(patch) => return self.reported(correlation, patch).await.map(acknowledged),
                None => return Ok(Some(ReasonCode::PAYLOAD_FORMAT_INVALID)),
            },
            MessageType::ProbeAck => ProbeAck::decode(payload).map(DeviceStep::ProbeAck),
            MessageType::Result => ResultMessage::decode(payload).map(DeviceStep::Result),
            MessageType::Abandon => Abandon::decode(payload).map(DeviceStep::Abandon),
            // Types that only the hub sends.
            _ => return Ok(Some(ReasonCode::SUCCESS)),
        };
        let Some(step) = self.decoded(step) else {
            return Ok(Some(ReasonCode::PAYLOAD_FORMAT_INVALID));
        };
        let handling = match step {
            DeviceStep::ProbeAck(_) => self.handling(Step::ProbeAck),
            DeviceStep::Result(_) | DeviceStep::Abandon(_) => self.handling(Step::Answer),
        };
        if faulty::receive(&self.outlet, handling).await? {
            self.context.methods.step(&self.owner.device, correlation, step);
        }
        acknowledged_after(handling)
    }

    /// Returns the message, or logs that it is malformed.
    fn decoded<T>(&self, decoded: Result<T, ProtobufError>) -> Option<T> {
        decoded
            .inspect_err(
                |error| info!(device = %self.owner.device, %error, "malformed message refused"),
            )
            .ok()
    }

    async fn twin_get(&self, correlation: CorrelationId, get: TwinGet) -> Result<(), SessionEnd> {
        let handling = self.handling(Step::TwinGet);
        // Such a request has no answer, and neither has one that a fault throttles.
        if get.sections == Sections::Unspecified || handling.is_throttled() {
            info!(device = %self.owner.device, ?get, "request for the twin not answered");
            return Ok(());
        }
        let twin = match self.context.state.device_twin(&self.owner) {
            Ok(twin) => twin,
            Err(error) => {
                info!(device = %self.owner.device, error = error.message, "twin not read");
                return Ok(());
            }
        };
        let wanted =
            |asked: bool, known: u64, version: u64| asked && (known == 0 || known != version);
        let has_desired =
            wanted(get.sections.has_desired(), get.if_not_match_desired, twin.desired_version);
        let has_reported =
            wanted(get.sections.has_reported(), get.if_not_match_reported, twin.reported_version);
        let response = TwinGetResponse {
            desired_version: twin.desired_version,
            reported_version: twin.reported_version,
            desired_payload: has_desired.then(|| text(&twin.desired)),
            reported_payload: has_reported.then(|| text(&twin.reported)),
        };
        self.answer(MessageType::TwinGetResponse, correlation, &response, handling).await
    }

    async fn reported(
        &self,
        correlation: CorrelationId,
        patch: ReportedPatch,
    ) -> Result<(), SessionEnd> {
        let handling = self.handling(Step::TwinReport);
        let current = || {
            let twin = self.context.state.device_twin(&self.owner);
            twin.map(|twin| twin.reported_version).unwrap_or_default()
        };
        let (outcome, version) = match reported_patch(&patch.payload) {
            _ if handling.is_throttled() => (PatchOutcome::InternalError, current()),
            Err(reason) => {
                info!(device = %self.owner.device, reason, "reported properties refused");
                (PatchOutcome::PayloadInvalid, current())
            }
            Ok(body) => {
                let (owner, if_match) = (self.owner.clone(), patch.if_match);
                let reported =
                    on_disk(&self.context.state, move |it| it.report_if(&owner, if_match, &body));
                match reported.await {
                    Ok(version) => (PatchOutcome::Ok, version),
                    Err(NotReported::Version(version)) => (PatchOutcome::VersionMismatch, version),
                    Err(NotReported::Invalid) => (PatchOutcome::PayloadInvalid, current()),
                    Err(NotReported::Large) => (PatchOutcome::PayloadTooLarge, current()),
                    Err(NotReported::Failed(error)) => {
                        info!(device = %self.owner.device, error = error.message, "not reported");
                        (PatchOutcome::InternalError, current())
                    }
                }
            }
        };
        let response = ReportedPatchResponse { outcome, version };
        self.answer(MessageType::ReportedPatchResponse, correlation, &response, handling).await
    }

    async fn answer(
        &self,
        kind: MessageType,
        correlation: CorrelationId,
        message: &impl Message,
        handling: Handling,
    ) -> Result<(), SessionEnd> {
        // Without the subscription, a device receives no answers.
        if !self.subscribed {
            return Ok(());
        }
        let sent = self.outlet.send(self.packet(kind, correlation, message), handling).await;
        sent.map_err(|_| SessionEnd::Closed)?;
        if handling.drops_connection() { Err(SessionEnd::Fault) } else { Ok(()) }
    }

    /// Publishes a device-to-cloud message, as if every message had a route.
    pub(super) async fn telemetry(
        &self,
        message: Mqtt5Publish,
    ) -> Result<Option<ReasonCode>, SessionEnd> {
        if message.payload.len() > MAX_MESSAGE_BYTES {
            let (bytes, max) = (message.payload.len(), MAX_MESSAGE_BYTES);
            info!(device = %self.owner.device, bytes, max, "message refused: it is too large");
            // A PUBACK has no code for the size (MQTT 5, section 3.4.2.1).
            return Ok(Some(ReasonCode::IMPLEMENTATION_ERROR));
        }
        let handling = self.handling(Step::Message);
        if faulty::receive(&self.outlet, handling).await? {
            self.publish_telemetry(telemetry_of(&self.sender, &message));
        }
        acknowledged_after(handling)
    }

    pub(super) fn publish_will(&self, will: &Mqtt5Publish) {
        let mut message = telemetry_of(&self.sender, will);
        message.properties = message.properties.with("iothub-MessageType", "Will");
        self.publish_telemetry(message);
    }

    fn publish_telemetry(&self, message: TelemetryMessage) {
        let (bytes, properties) = (message.body.len(), &message.properties);
        debug!(device = %message.device, bytes, %properties, "telemetry received");
        self.context.publish(message);
    }
}

/// Returns `true` if `topic` is the telemetry topic of the device.
pub(super) fn is_telemetry_topic(topic: &str, device: &DeviceId) -> bool {
    topic.parse::<Topic>().is_ok_and(|topic| {
        topic.device == *device
            && topic.direction == Direction::ToService
            && topic.feature == Feature::Telemetry
    })
}

fn telemetry_of(sender: &crate::telemetry::Sender, message: &Mqtt5Publish) -> TelemetryMessage {
    let fields = TelemetryFields {
        content_type: message.content_type.clone(),
        correlation: message.correlation.as_ref().map(|id| id.to_vec()),
        user: message.user.clone(),
    };
    let mut properties = fields.to_properties();
    if !is_telemetry_topic(&message.topic, &sender.owner.device) {
        properties = properties.with("mqtt-topic", &message.topic);
    }
    TelemetryMessage::new(sender, properties, message.payload.clone())
}

/// Returns the reason code of a processed message.
fn acknowledged((): ()) -> Option<ReasonCode> {
    Some(ReasonCode::SUCCESS)
}

/// Returns the reason code of a processed message, or an error if a fault drops the connection.
fn acknowledged_after(handling: Handling) -> Result<Option<ReasonCode>, SessionEnd> {
    if handling.drops_connection() { Err(SessionEnd::Fault) } else { Ok(Some(ReasonCode::SUCCESS)) }
}
