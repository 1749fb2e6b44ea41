//! Messages for the hub.

use std::time::Duration;

use bytes::Bytes;
use protocol::mqtt5::{
    CONTENT_TYPE, CorrelationId, Feature, Message, MessageType, ReasonCode, ResultMessage,
    TYPE_PROPERTY, TelemetryFields, Topic,
};
use protocol::topic::DeviceTopic;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet as Packet5, Publish as Publish5, PublishProperties};
use rumqttc::{Packet, PubAck, Publish};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::methods::{MIN_USE, MethodStep};
use super::{FIRST_STEP_ID, SUBSCRIBE_ID, Translated, Translator};

impl Translator {
    /// Translates a message of the session.
    pub(super) fn publish(&mut self, publish: Publish) -> Vec<Translated> {
        let translated = match publish.topic.parse::<DeviceTopic>() {
            Ok(DeviceTopic::MethodAnswer { status, rid }) => match rid.as_str().parse() {
                Ok(request_id) => self.result(request_id, status, &publish),
                Err(_) => None,
            },
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
                Some(self.telemetry(publish.payload.clone(), properties))
            }
            _ => None,
        };
        match translated {
            Some(Translated::ToHub(Packet5::Publish(mut publish5))) => {
                if publish.pkid != 0 {
                    publish5.qos = QoS::AtLeastOnce;
                }
                (publish5.pkid, publish5.dup) = (publish.pkid, publish.dup);
                // A larger packet would end the connection (MQTT 5, section 3.2.2.3.6).
                let max = self.connection.max_packet_bytes.unwrap_or(u32::MAX);
                if publish.pkid != 0 && u32::try_from(publish5.size()).is_ok_and(|it| it > max) {
                    let reason = ReasonCode::PACKET_TOO_LARGE;
                    return vec![Translated::Refused { id: publish.pkid, reason }];
                }
                vec![Translated::ToHub(Packet5::Publish(publish5))]
            }
            _ => {
                debug!(topic = publish.topic, "message not sent");
                let ack = (publish.pkid != 0)
                    .then(|| Translated::ToSession(Packet::PubAck(PubAck::new(publish.pkid))));
                ack.into_iter().collect()
            }
        }
    }

    /// Returns the result of a method, unless its caller no longer waits for it.
    fn result(
        &self,
        request_id: CorrelationId,
        status: i32,
        publish: &Publish,
    ) -> Option<Translated> {
        let executed = self.connection.methods.lock().executed_before(request_id).copied();
        let left = executed.and_then(|executed| executed.until);
        let left = left.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left < MIN_USE) {
            warn!(%request_id, "result not sent: its caller no longer waits");
            return None;
        }
        let result = ResultMessage { status, body: publish.payload.to_vec() };
        Some(expiring(self.message(MessageType::Result, request_id, &result), left))
    }

    /// Returns a message of a plugin.
    fn telemetry(&self, payload: Bytes, properties: PublishProperties) -> Translated {
        let Some(topic) = &self.connection.telemetry_topic else {
            return self.packet(MessageType::Telemetry, payload, properties);
        };
        let qos = QoS::AtMostOnce;
        let publish = Publish5::new(topic.clone(), qos, payload, Some(properties));
        Translated::ToHub(Packet5::Publish(publish))
    }

    /// Converts the steps of methods into messages.
    pub(super) fn steps(&mut self, steps: Vec<MethodStep>) -> Vec<Translated> {
        let mut translated = Vec::with_capacity(steps.len());
        for step in steps {
            translated.push(match step {
                MethodStep::Ack(id, ack, left) => {
                    expiring(self.step(MessageType::ProbeAck, id, &ack), left)
                }
                MethodStep::Abandon(id, abandon, left) => {
                    expiring(self.step(MessageType::Abandon, id, &abandon), Some(left))
                }
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
    pub(super) fn message(
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
            device: self.connection.device.clone(),
            direction: kind.direction(),
            feature: kind.feature(),
        };
        let publish = Publish5::new(topic.to_string(), QoS::AtMostOnce, payload, Some(properties));
        Translated::ToHub(Packet5::Publish(publish))
    }
}

/// Adds the time in which a message is of use, in whole seconds.
fn expiring(translated: Translated, left: Option<Duration>) -> Translated {
    let seconds = left.and_then(|left| u32::try_from(left.as_secs()).ok()).filter(|it| *it > 0);
    match translated {
        Translated::ToHub(Packet5::Publish(mut publish)) => {
            let properties = publish.properties.get_or_insert_default();
            properties.message_expiry_interval = seconds;
            Translated::ToHub(Packet5::Publish(publish))
        }
        other => other,
    }
}
