//! The connection profile `mqttV5` (preview) below a session.
//!
//! The session, the twin and the router know only the messages of MQTT 3.1.1. A [`Translator`]
//! converts them into messages of the profile and back, and makes the birth and the steps of
//! methods itself. It is a state machine without I/O; [`Mqtt5Link`] sends and receives its
//! packets.
//!
//! A translator lives as long as its connection. Methods for which the device was ready on an
//! earlier connection are therefore unknown and not run, and the twin is read after each birth.

mod codec;
mod link;
mod methods;
mod twins;

use std::sync::Arc;

use bytes::Bytes;
use protocol::id::DeviceId;
use protocol::mqtt5::{
    Birth, BirthAck, CONTENT_TYPE, CorrelationId, Feature, Message, MessageType, ReasonCode,
    TYPE_PROPERTY, TelemetryFields, Topic,
};
use protocol::topic::DeviceTopic;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, Packet as Packet5, PingReq, PubAck as PubAck5, PubAckReason, Publish as Publish5,
    PublishProperties, Subscribe as Subscribe5, SubscribeReasonCode as SubscribeReasonCode5,
};
use rumqttc::{Packet, PubAck, Publish, SubAck, SubscribeReasonCode};
use tracing::{debug, error};

use super::admission::Admission;
use super::failure::ConnectionFailure;
use super::window::{LAST_ID, SUBSCRIBE_ID};
pub(super) use link::Mqtt5Link;
use methods::{MethodStep, ReadyMethods, random_bytes};
use twins::{Twins, ignored};

/// The first id of the packets that the translator itself sends at QoS 1. Those of the session
/// are lower.
const FIRST_STEP_ID: u16 = LAST_ID + 1;

/// Returns the nonce of a new connection.
pub(super) fn new_nonce() -> CorrelationId {
    CorrelationId::from_random(random_bytes())
}

/// A packet that a translator has made of another one.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "each value is moved once, to the next queue")]
pub(super) enum Translated {
    ToSession(Packet),
    ToHub(Packet5),
}

/// The state of a connection with the profile.
pub(super) struct Translator {
    device: DeviceId,
    nonce: CorrelationId,
    session_present: bool,
    /// The SUBSCRIBE of the session: its id and its number of filters.
    subscribing: Option<(u16, usize)>,
    admitted: bool,
    twins: Twins,
    methods: ReadyMethods,
    next_step_id: u16,
}

impl Translator {
    pub(super) fn new(
        device: DeviceId,
        nonce: CorrelationId,
        session_present: bool,
        admission: Arc<dyn Admission>,
    ) -> Translator {
        Translator {
            device,
            nonce,
            session_present,
            subscribing: None,
            admitted: false,
            twins: Twins::default(),
            methods: ReadyMethods::new(admission),
            next_step_id: FIRST_STEP_ID,
        }
    }

    /// Translates a packet of the session.
    pub(super) fn outgoing(&mut self, packet: Packet) -> Vec<Translated> {
        match packet {
            Packet::Subscribe(subscribe) => {
                self.subscribing = Some((subscribe.pkid, subscribe.filters.len()));
                let filter = Filter::new(Topic::filter(&self.device), QoS::AtLeastOnce);
                let mut subscribe5 = Subscribe5::new(filter, None);
                subscribe5.pkid = subscribe.pkid;
                vec![Translated::ToHub(Packet5::Subscribe(subscribe5))]
            }
            Packet::Publish(publish) => self.publish(publish),
            Packet::PingReq => vec![Translated::ToHub(Packet5::PingReq(PingReq))],
            Packet::Disconnect => vec![Translated::ToHub(codec::disconnect())],
            // The translator acknowledges the hub's messages itself.
            _ => Vec::new(),
        }
    }

    /// Translates a packet of the hub.
    pub(super) fn incoming(
        &mut self,
        packet: Packet5,
    ) -> Result<Vec<Translated>, ConnectionFailure> {
        match packet {
            Packet5::SubAck(ack) => {
                let granted = SubscribeReasonCode5::Success(QoS::AtLeastOnce);
                if ack.return_codes != [granted] {
                    return Ok(self.subscribed(SubscribeReasonCode::Failure));
                }
                let birth = Birth { session_present: self.session_present, ..Birth::default() };
                Ok(vec![self.message(MessageType::Birth, self.nonce, &birth)])
            }
            Packet5::Publish(publish) => {
                let acknowledged = (publish.pkid != 0)
                    .then(|| Translated::ToHub(Packet5::PubAck(PubAck5::new(publish.pkid, None))));
                let translated = self.published(publish)?;
                Ok(acknowledged.into_iter().chain(translated).collect())
            }
            Packet5::PubAck(ack) => {
                match ack.reason {
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {}
                    PubAckReason::QuotaExceeded => {
                        return Err(ConnectionFailure::busy("the hub throttles messages"));
                    }
                    reason => error!(?reason, "the hub refused a message, which is dropped"),
                }
                if ack.pkid >= FIRST_STEP_ID {
                    return Ok(Vec::new());
                }
                Ok(vec![Translated::ToSession(Packet::PubAck(PubAck::new(ack.pkid)))])
            }
            Packet5::PingResp(_) => Ok(vec![Translated::ToSession(Packet::PingResp)]),
            Packet5::Disconnect(disconnect) => {
                let reason = ReasonCode(disconnect.reason_code as u8);
                Err(ConnectionFailure::disconnected(reason))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Returns the SUBACK that the session waits for.
    fn subscribed(&mut self, code: SubscribeReasonCode) -> Vec<Translated> {
        let Some((id, filters)) = self.subscribing.take() else { return Vec::new() };
        let ack = SubAck::new(id, vec![code; filters]);
        vec![Translated::ToSession(Packet::SubAck(ack))]
    }

    /// Translates a message of the session.
    fn publish(&mut self, publish: Publish) -> Vec<Translated> {
        let translated = match publish.topic.parse::<DeviceTopic>() {
            Ok(DeviceTopic::MethodAnswer { status, rid }) => {
                methods::result(status, &rid, &publish).map(|(request_id, result)| {
                    self.message(MessageType::Result, request_id, &result)
                })
            }
            Ok(DeviceTopic::TwinGet { rid }) => {
                let (request_id, get) = self.twins.get(rid);
                Some(self.message(MessageType::TwinGet, request_id, &get))
            }
            Ok(DeviceTopic::TwinReport { rid }) => {
                let (request_id, patch) = self.twins.report(rid, publish.payload.clone());
                Some(self.message(MessageType::ReportedPatch, request_id, &patch))
            }
            Ok(DeviceTopic::Telemetry { properties, .. }) => {
                let TelemetryFields { content_type, user, .. } = TelemetryFields::new(&properties);
                let properties =
                    PublishProperties { content_type, user_properties: user, ..Default::default() };
                let (kind, payload) = (MessageType::Telemetry, publish.payload.clone());
                Some(self.packet(kind, payload, properties))
            }
            _ => None,
        };
        match translated {
            Some(Translated::ToHub(Packet5::Publish(mut publish5))) => {
                if publish.pkid != 0 {
                    publish5.qos = QoS::AtLeastOnce;
                }
                (publish5.pkid, publish5.dup) = (publish.pkid, publish.dup);
                vec![Translated::ToHub(Packet5::Publish(publish5))]
            }
            _ => {
                debug!(topic = publish.topic, "message dropped: it belongs to another profile");
                let ack = (publish.pkid != 0)
                    .then(|| Translated::ToSession(Packet::PubAck(PubAck::new(publish.pkid))));
                ack.into_iter().collect()
            }
        }
    }

    /// Translates a message of the hub.
    fn published(&mut self, publish: Publish5) -> Result<Vec<Translated>, ConnectionFailure> {
        let properties = publish.properties.unwrap_or_default();
        let kind = properties.user_properties.iter().find(|(name, _)| name == TYPE_PROPERTY);
        let kind = kind.and_then(|(_, kind)| kind.parse::<MessageType>().ok());
        let correlation = properties.correlation_data.as_deref();
        let correlation = correlation.and_then(|id| CorrelationId::try_from(id).ok());
        // Unknown types and versions are ignored, as the profile requires.
        let (Some(kind), Some(correlation)) = (kind, correlation) else { return Ok(Vec::new()) };
        let payload = &publish.payload[..];
        match kind {
            MessageType::BirthAck if correlation == self.nonce && !self.admitted => {
                match BirthAck::decode(payload) {
                    Ok(ack) => {
                        self.admitted = true;
                        self.twins.born(ack);
                        Ok(self.subscribed(SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)))
                    }
                    Err(error) => Ok(ignored(kind, &error)),
                }
            }
            MessageType::TwinGetResponse => self.twins.got(correlation, payload),
            MessageType::ReportedPatchResponse => match self.twins.reported(correlation, payload) {
                twins::PatchAnswer::Answer(answers) => Ok(answers),
                twins::PatchAnswer::Again(request_id, patch) => {
                    Ok(vec![self.message(MessageType::ReportedPatch, request_id, &patch)])
                }
            },
            MessageType::DesiredPatch if correlation == self.nonce => self.twins.changed(payload),
            MessageType::Probe => {
                let expiry = properties.message_expiry_interval;
                let steps = self.methods.probed(correlation, payload, expiry);
                Ok(self.steps(steps))
            }
            MessageType::Exec => {
                let expiry = properties.message_expiry_interval;
                let steps = self.methods.executed(correlation, payload, expiry);
                Ok(self.steps(steps))
            }
            // Pushes, which the birth does not ask for, and messages of an earlier connection.
            _ => Ok(Vec::new()),
        }
    }

    fn steps(&mut self, steps: Vec<MethodStep>) -> Vec<Translated> {
        let mut translated = Vec::with_capacity(steps.len());
        for step in steps {
            translated.push(match step {
                MethodStep::Ack(id, ack) => self.step(MessageType::ProbeAck, id, &ack),
                MethodStep::Abandon(id, abandon) => self.step(MessageType::Abandon, id, &abandon),
                MethodStep::Run(publish) => Translated::ToSession(Packet::Publish(publish)),
            });
        }
        translated
    }

    /// Returns a message at QoS 1 whose acknowledgement the session does not wait for.
    fn step(
        &mut self,
        kind: MessageType,
        correlation: CorrelationId,
        message: &impl Message,
    ) -> Translated {
        match self.message(kind, correlation, message) {
            Translated::ToHub(Packet5::Publish(mut publish)) => {
                (publish.qos, publish.pkid) = (QoS::AtLeastOnce, self.next_step_id);
                self.next_step_id = match self.next_step_id + 1 {
                    SUBSCRIBE_ID => FIRST_STEP_ID,
                    next => next,
                };
                Translated::ToHub(Packet5::Publish(publish))
            }
            other => other,
        }
    }

    /// Returns a message at QoS 0.
    fn message(
        &self,
        kind: MessageType,
        correlation: CorrelationId,
        message: &impl Message,
    ) -> Translated {
        let has_content_type = kind.feature() != Feature::Presence;
        let properties = PublishProperties {
            correlation_data: Some(Bytes::copy_from_slice(correlation.as_bytes())),
            content_type: has_content_type.then(|| CONTENT_TYPE.to_owned()),
            user_properties: vec![(TYPE_PROPERTY.to_owned(), kind.to_string())],
            ..PublishProperties::default()
        };
        self.packet(kind, message.encode().into(), properties)
    }

    fn packet(
        &self,
        kind: MessageType,
        payload: Bytes,
        properties: PublishProperties,
    ) -> Translated {
        let topic = Topic {
            device: self.device.clone(),
            direction: kind.direction(),
            feature: kind.feature(),
        };
        let publish = Publish5::new(topic.to_string(), QoS::AtMostOnce, payload, Some(properties));
        Translated::ToHub(Packet5::Publish(publish))
    }
}

#[cfg(test)]
mod tests;
