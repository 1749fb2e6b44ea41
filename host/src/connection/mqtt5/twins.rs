//! Requests for the twin and their answers.
//!
//! Reported properties change only from their current version. On a mismatch, the patch is
//! sent again with the version that the hub has answered. A patch of a plugin names the
//! properties that it changes, so those of another writer stay.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::id::RequestId;
use protocol::mqtt5::{
    BirthAck, CorrelationId, DesiredUpdate, Message as _, MessageType, PatchOutcome, ProtobufError,
    ReportedPatch, ReportedPatchResponse, Sections, TwinGet, TwinGetResponse,
};
use protocol::topic::HubTopic;
use protocol::twin::{DesiredPatch, DeviceTwin};
use rumqttc::{Packet, Publish, QoS};
use serde_json::{Map, Value};
use tracing::warn;

use super::Translated;
use super::methods::random_bytes;
use crate::connection::failure::ConnectionFailure;

/// The maximum number of requests for the twin without an answer. The oldest is forgotten; the
/// twin repeats it.
const MAX_GETS: usize = 8;

/// The maximum number of versions with which a patch is tried before it waits. Another writer
/// that changes the properties all the time must not keep the device busy.
const MAX_ATTEMPTS: u32 = 5;

/// The requests of a connection.
#[derive(Default)]
pub(super) struct Twins {
    desired_version: u64,
    reported_version: u64,
    gets: VecDeque<(CorrelationId, RequestId)>,
    report: Option<PendingPatch>,
}

/// A change of reported properties that the hub has not answered.
struct PendingPatch {
    request_id: CorrelationId,
    rid: RequestId,
    payload: Bytes,
    attempts: u32,
}

/// The consequence of an answer to a patch.
pub(super) enum PatchAnswer {
    Answer(Vec<Translated>),
    /// The same patch for another version.
    Again(CorrelationId, ReportedPatch),
}

impl Twins {
    /// Takes the versions of the answer to the birth.
    pub(super) fn born(&mut self, ack: BirthAck) {
        (self.desired_version, self.reported_version) = (ack.desired_version, ack.reported_version);
    }

    pub(super) fn get(&mut self, rid: RequestId) -> (CorrelationId, TwinGet) {
        let request_id = CorrelationId::from_random(random_bytes());
        if self.gets.len() == MAX_GETS {
            self.gets.pop_front();
        }
        self.gets.push_back((request_id, rid));
        (request_id, TwinGet { sections: Sections::Both, ..TwinGet::default() })
    }

    /// Begins a report. The twin has at most one at a time, and repeats it if it is not answered.
    pub(super) fn report(
        &mut self,
        rid: RequestId,
        payload: Bytes,
    ) -> (CorrelationId, ReportedPatch) {
        let request_id = CorrelationId::from_random(random_bytes());
        let patch = ReportedPatch { if_match: self.reported_version, payload: payload.to_vec() };
        self.report = Some(PendingPatch { request_id, rid, payload, attempts: 1 });
        (request_id, patch)
    }

    /// Handles the twin that the hub has sent.
    pub(super) fn got(
        &mut self,
        request_id: CorrelationId,
        payload: &[u8],
    ) -> Result<Vec<Translated>, ConnectionFailure> {
        let kind = MessageType::TwinGetResponse;
        let known = self.gets.iter().position(|(known, _)| *known == request_id);
        let Some((_, rid)) = known.and_then(|at| self.gets.remove(at)) else {
            return Ok(Vec::new());
        };
        let response = match TwinGetResponse::decode(payload) {
            Ok(response) => response,
            Err(error) => return Ok(ignored(kind, &error)),
        };
        let section = |payload: Option<Vec<u8>>| object(&payload.unwrap_or_default());
        let sections = (section(response.desired_payload), section(response.reported_payload));
        let (Some(desired), Some(reported)) = sections else {
            warn!("twin from the hub ignored: it is not JSON");
            return Ok(Vec::new());
        };
        let (desired_version, reported_version) =
            (response.desired_version, response.reported_version);
        (self.desired_version, self.reported_version) = (desired_version, reported_version);
        let twin = DeviceTwin { desired, desired_version, reported, reported_version };
        Ok(vec![answer(200, rid, None, twin.to_json().to_string())])
    }

    /// Handles the answer to a report.
    pub(super) fn reported(&mut self, request_id: CorrelationId, payload: &[u8]) -> PatchAnswer {
        let Some(mut report) = self.report.take_if(|report| report.request_id == request_id) else {
            return PatchAnswer::Answer(Vec::new());
        };
        let response = match ReportedPatchResponse::decode(payload) {
            Ok(response) => response,
            Err(error) => {
                return PatchAnswer::Answer(ignored(MessageType::ReportedPatchResponse, &error));
            }
        };
        let ReportedPatchResponse { outcome, version } = response;
        self.reported_version = version;
        let (status, message) = match outcome {
            PatchOutcome::Ok => {
                let answered = answer(204, report.rid, Some(version), String::new());
                return PatchAnswer::Answer(vec![answered]);
            }
            PatchOutcome::VersionMismatch if report.attempts < MAX_ATTEMPTS => {
                report.attempts += 1;
                let patch = ReportedPatch { if_match: version, payload: report.payload.to_vec() };
                self.report = Some(report);
                return PatchAnswer::Again(request_id, patch);
            }
            // The twin waits and sends the report again.
            PatchOutcome::VersionMismatch => (429, "another writer changes the properties"),
            PatchOutcome::PayloadInvalid => (400, "the hub does not accept the properties"),
            PatchOutcome::PayloadTooLarge => (413, "the properties are too large"),
            PatchOutcome::InternalError | PatchOutcome::Unspecified => {
                (500, "a failure of the hub")
            }
        };
        let body = serde_json::json!({ "message": message }).to_string();
        PatchAnswer::Answer(vec![answer(status, report.rid, None, body)])
    }

    /// Handles a change of desired properties.
    pub(super) fn changed(&mut self, payload: &[u8]) -> Result<Vec<Translated>, ConnectionFailure> {
        let update = match DesiredUpdate::decode(payload) {
            Ok(update) => update,
            Err(error) => return Ok(ignored(MessageType::DesiredPatch, &error)),
        };
        let DesiredUpdate { version, payload } = update;
        if version <= self.desired_version {
            return Ok(Vec::new());
        }
        // Without a payload, the hub only announces the version. A new connection reads the
        // twin, as after each birth.
        if payload.is_empty() {
            return Err(ConnectionFailure::new("changes of desired properties were lost"));
        }
        let Some(patch) = object(&payload) else {
            warn!(version, "change of desired properties ignored: it is not JSON");
            return Ok(Vec::new());
        };
        self.desired_version = version;
        let body = DesiredPatch { patch, version }.to_json().to_string();
        Ok(vec![message(&HubTopic::Desired { version }, body)])
    }
}

/// Parses a section of a twin. No payload is an empty one.
fn object(payload: &[u8]) -> Option<Map<String, Value>> {
    if payload.is_empty() {
        return Some(Map::new());
    }
    serde_json::from_slice(payload).ok()
}

fn answer(status: u16, rid: RequestId, version: Option<u64>, body: String) -> Translated {
    message(&HubTopic::TwinAnswer { status, rid, version }, body)
}

fn message(topic: &HubTopic, body: String) -> Translated {
    let publish = Publish::new(topic.to_string(), QoS::AtMostOnce, body);
    Translated::ToSession(Packet::Publish(publish))
}

/// Logs a malformed message of the hub, which is ignored.
pub(super) fn ignored(kind: MessageType, error: &ProtobufError) -> Vec<Translated> {
    warn!(%kind, %error, "malformed message of the hub ignored");
    Vec::new()
}
