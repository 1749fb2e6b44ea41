//! The connection profile `mqttV5` (preview) below a session.
//!
//! The session, the twin and the router know only the messages of MQTT 3.1.1. A [`Translator`]
//! converts them into messages of the profile and back, and makes the birth and the steps of
//! methods itself. It is a state machine without I/O; [`Mqtt5Link`] sends and receives its
//! packets.
//!
//! A translator lives as long as its connection, and the twin is read after each birth. The methods
//! for which the device is ready outlive it ([`SharedMethods`]).

mod codec;
mod executed;
mod link;
mod methods;
mod sending;
mod twins;

use protocol::id::DeviceId;
use protocol::mqtt5::{
    Birth, BirthAck, CorrelationId, Direction, Feature, Message as _, MessageType, ReasonCode,
    TYPE_PROPERTY, Topic,
};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, Packet as Packet5, PingReq, PubAck as PubAck5, PubAckReason, Publish as Publish5,
    Subscribe as Subscribe5, SubscribeReasonCode as SubscribeReasonCode5,
};
use rumqttc::{Packet, PubAck, SubAck, SubscribeReasonCode};
use tokio::time::Instant;
use tracing::warn;

use super::failure::ConnectionFailure;
use super::window::{LAST_ID, SUBSCRIBE_ID};
pub(super) use link::Mqtt5Link;
use methods::random_bytes;
pub(super) use methods::{ReadyMethods, SharedMethods};
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
#[cfg_attr(
    target_pointer_width = "64",
    expect(clippy::large_enum_variant, reason = "each value is moved once, to the next queue")
)]
pub(super) enum Translated {
    ToSession(Packet),
    ToHub(Packet5),
    /// A message of the session that the hub does not accept.
    Refused {
        id: u16,
        reason: ReasonCode,
    },
}

/// The facts about a connection that its translator needs.
pub(super) struct Mqtt5Connection {
    pub(super) device: DeviceId,
    pub(super) nonce: CorrelationId,
    /// `true` if the hub has kept the session of an earlier connection.
    pub(super) session_present: bool,
    /// The maximum size of a packet that the hub accepts, in bytes, if it has one.
    pub(super) max_packet_bytes: Option<u32>,
    /// The topic of telemetry, if it is not that of the profile.
    pub(super) telemetry_topic: Option<String>,
    pub(super) methods: SharedMethods,
}

/// The state of a connection with the profile.
pub(super) struct Translator {
    connection: Mqtt5Connection,
    /// The topics of the hub's messages.
    topics: [(Feature, String); 3],
    /// The SUBSCRIBE of the session: its id and its number of filters.
    subscribing: Option<(u16, usize)>,
    admitted: bool,
    twins: Twins,
    next_step_id: u16,
}

impl Drop for Translator {
    fn drop(&mut self) {
        self.connection.methods.lock().disconnected(self.connection.nonce);
    }
}

impl Translator {
    pub(super) fn new(connection: Mqtt5Connection) -> Translator {
        if !connection.session_present {
            connection.methods.lock().forget();
        }
        let topic = |feature| {
            let (device, direction) = (connection.device.clone(), Direction::ToDevice);
            (feature, Topic { device, direction, feature }.to_string())
        };
        let topics = [Feature::Presence, Feature::Twin, Feature::Methods].map(topic);
        Translator {
            connection,
            topics,
            subscribing: None,
            admitted: false,
            twins: Twins::default(),
            next_step_id: FIRST_STEP_ID,
        }
    }

    /// Returns the time at which [`Translator::expired`] has packets, if there is one.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.connection.methods.lock().next_expiry()
    }

    /// Abandons the methods whose time is over.
    pub(super) fn expired(&mut self) -> Vec<Translated> {
        let steps = self.connection.methods.lock().abandoned(Instant::now());
        self.steps(steps)
    }

    /// Translates a packet of the session.
    pub(super) fn outgoing(&mut self, packet: Packet) -> Vec<Translated> {
        match packet {
            Packet::Subscribe(subscribe) => {
                self.subscribing = Some((subscribe.pkid, subscribe.filters.len()));
                let filter = Filter::new(Topic::filter(&self.connection.device), QoS::AtLeastOnce);
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
                let session_present = self.connection.session_present;
                let birth = Birth { session_present, ..Birth::default() };
                Ok(vec![self.message(MessageType::Birth, self.connection.nonce, &birth)])
            }
            Packet5::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                warn!(
                    "message of the hub ignored: its QoS is 2, and the device has subscribed at 1"
                );
                Ok(Vec::new())
            }
            Packet5::Publish(publish) => {
                let acknowledged = (publish.pkid != 0)
                    .then(|| Translated::ToHub(Packet5::PubAck(PubAck5::new(publish.pkid, None))));
                let translated = self.published(publish)?;
                Ok(acknowledged.into_iter().chain(translated).collect())
            }
            Packet5::PubAck(ack) => {
                let (id, reason) = (ack.pkid, codec::reason_of(ack.reason));
                let is_step = id >= FIRST_STEP_ID;
                match ack.reason {
                    PubAckReason::QuotaExceeded => {
                        Err(ConnectionFailure::busy("the hub throttles messages"))
                    }
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers if is_step => {
                        Ok(Vec::new())
                    }
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                        Ok(vec![Translated::ToSession(Packet::PubAck(PubAck::new(id)))])
                    }
                    _ if is_step => {
                        warn!(%reason, "the hub refused a step of a method");
                        Ok(Vec::new())
                    }
                    _ => Ok(vec![Translated::Refused { id, reason }]),
                }
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

    /// Translates a message of the hub.
    fn published(&mut self, publish: Publish5) -> Result<Vec<Translated>, ConnectionFailure> {
        let properties = publish.properties.unwrap_or_default();
        let kind = properties.user_properties.iter().find(|(name, _)| name == TYPE_PROPERTY);
        let kind = kind.and_then(|(_, kind)| kind.parse::<MessageType>().ok());
        let correlation = properties.correlation_data.as_deref();
        let correlation = correlation.and_then(|id| CorrelationId::try_from(id).ok());
        // Unknown types and versions are ignored, as the profile requires.
        let (Some(kind), Some(correlation)) = (kind, correlation) else { return Ok(Vec::new()) };
        if !self.is_own_topic(&publish.topic, kind) || publish.retain {
            let topic = String::from_utf8_lossy(&publish.topic);
            warn!(%kind, topic = %json::readable(&topic), "message of the hub ignored");
            return Ok(Vec::new());
        }
        let nonce = self.connection.nonce;
        let payload = &publish.payload[..];
        match kind {
            MessageType::BirthAck if correlation == nonce && !self.admitted => {
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
            MessageType::DesiredPatch if correlation == nonce => self.twins.changed(payload),
            MessageType::Probe => {
                let expiry = properties.message_expiry_interval;
                let mut methods = self.connection.methods.lock();
                let steps = methods.probed(nonce, correlation, payload, expiry);
                drop(methods);
                Ok(self.steps(steps))
            }
            MessageType::Exec => {
                let expiry = properties.message_expiry_interval;
                let steps = self.connection.methods.lock().executed(correlation, payload, expiry);
                Ok(self.steps(steps))
            }
            // Pushes, which the birth does not ask for, and messages of an earlier connection.
            _ => Ok(Vec::new()),
        }
    }

    /// Returns `true` if a message of this type can arrive on this topic.
    fn is_own_topic(&self, topic: &[u8], kind: MessageType) -> bool {
        kind.direction() == Direction::ToDevice
            && self
                .topics
                .iter()
                .any(|(feature, own)| *feature == kind.feature() && own.as_bytes() == topic)
    }
}

#[cfg(test)]
mod tests;
