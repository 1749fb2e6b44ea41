//! A device's session with MQTT 5: the connection profile `mqttV5`.
//!
//! A device subscribes to its topics, then sends its birth. The hub admits it with the answer
//! (`births`), and from then on sends methods and changes of desired properties. Packets that
//! violate the standard or the profile are answered with a reason code.

mod accept;
mod births;
mod messages;

use std::time::Duration;

use program::chain;
use protocol::mqtt5::{
    CorrelationId, CustomTopic, Direction, Feature, MessageType, ReasonCode, Topic,
};
use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tracing::{debug, info};

use super::packets::{Ends, Packets};
use super::{SessionContext, SessionEnd, faulty};
use crate::faults::{Handling, Step};
use crate::mqtt5::{Mqtt5Inbound, Mqtt5Outbound, Mqtt5Publish, Mqtt5Subscribe, decode, reason_of};
use crate::peer::Peer;
use crate::sessions::{Ending, InFlight, MAX_SESSION_EXPIRY, Outlet, Tap};
use crate::state::Owner;
use crate::telemetry::Sender;

/// The reason code for an unsubscription of a filter that has no subscription.
const NO_SUBSCRIPTION_EXISTED: ReasonCode = ReasonCode(0x11);

/// Serves a device until either side ends the connection. Returns `true` if a fault has silenced
/// the connection.
pub(super) async fn serve<R: AsyncRead + Unpin>(
    context: &SessionContext,
    peer: Peer,
    packets: &mut Packets<R>,
    outlet: Outlet,
) -> bool {
    let accepted = accept::accept(context, peer.certificates, packets, outlet.clone()).await;
    let (mut session, ended) = match accepted {
        Ok(accepted) => accepted,
        Err(end) => {
            info!(reason = %chain(&end), "connection not accepted");
            return outlet.is_silent();
        }
    };
    let end = session.run(packets, ended).await;
    session.leave(&end).await;
    session.outlet.is_silent()
}

/// A session after its CONNACK.
struct Mqtt5Session {
    context: SessionContext,
    owner: Owner,
    sender: Sender,
    serial: u64,
    /// The nonce of the connection, which its birth has to repeat.
    nonce: CorrelationId,
    /// Maximum time between two packets of the device.
    max_idle: Duration,
    /// `true` once the device has subscribed to its topics.
    subscribed: bool,
    /// `true` once the device is admitted, which counts as connected.
    admitted: bool,
    /// `true` if the device has asked for a session that outlives its connection.
    has_expiry: bool,
    will: Option<Mqtt5Publish>,
    in_flight: std::sync::Arc<InFlight>,
    outlet: Outlet,
    tap: Tap,
}

impl Mqtt5Session {
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        packets: &mut Packets<R>,
        ended: oneshot::Receiver<Ending>,
    ) -> SessionEnd {
        let mut ends = Ends::by_faults(&self.outlet).or_by(ended);
        loop {
            let packet = packets.next_before(&mut ends, self.max_idle, decode).await;
            let done = match packet {
                Ok(packet) => self.process(packet).await,
                Err(end) => Err(end),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn process(&mut self, packet: Mqtt5Inbound) -> Result<(), SessionEnd> {
        self.tap.received_mqtt5(&packet);
        match packet {
            Mqtt5Inbound::Publish(message) => {
                let id = message.id;
                let answer = self.publish(message).await?;
                match (id, answer) {
                    (Some(id), Some(reason)) => {
                        let packet = Mqtt5Outbound::PubAck { id, reason };
                        self.send_at(Step::Acknowledge, &packet).await
                    }
                    _ => Ok(()),
                }
            }
            Mqtt5Inbound::PubAck(id) => {
                self.in_flight.acknowledged(id);
                Ok(())
            }
            Mqtt5Inbound::Subscribe(subscribe) => self.subscribe(&subscribe).await,
            Mqtt5Inbound::Unsubscribe { id, filters } => {
                let own = Topic::filter(&self.owner.device);
                let reason = |filter: &String| match *filter == own && self.subscribed {
                    true => ReasonCode::SUCCESS,
                    false => NO_SUBSCRIPTION_EXISTED,
                };
                let reasons: Vec<_> = filters.iter().map(reason).collect();
                if reasons.contains(&ReasonCode::SUCCESS) {
                    self.set_subscribed(false);
                }
                let packet = Mqtt5Outbound::UnsubAck { id, reasons: &reasons };
                self.send(&packet, Handling::REGULAR).await
            }
            Mqtt5Inbound::PingReq => self.send(&Mqtt5Outbound::PingResp, Handling::REGULAR).await,
            Mqtt5Inbound::Disconnect { reason, session_expiry } => {
                if reason == ReasonCode::SUCCESS {
                    self.will = None;
                }
                if let Some(seconds) = session_expiry {
                    if seconds > 0 && !self.has_expiry {
                        let text = "a session expiry in DISCONNECT, but none in CONNECT";
                        return Err(violation(ReasonCode::PROTOCOL_ERROR, text));
                    }
                    let expiry = Duration::from_secs(seconds.into()).min(MAX_SESSION_EXPIRY);
                    self.context.sessions.set_session_expiry(&self.owner, self.serial, expiry);
                }
                Err(SessionEnd::Disconnected)
            }
            Mqtt5Inbound::Connect(_) => {
                Err(violation(ReasonCode::PROTOCOL_ERROR, "a second CONNECT"))
            }
        }
    }

    /// Processes a message. Returns the reason code of its acknowledgement, or `None` if a fault
    /// suppresses that.
    async fn publish(&mut self, message: Mqtt5Publish) -> Result<Option<ReasonCode>, SessionEnd> {
        if message.retain {
            let text = "a retained message, which the hub does not offer";
            return Err(violation(ReasonCode::RETAIN_NOT_SUPPORTED, text));
        }
        let topic = message.topic.parse::<Topic>().ok();
        let own = topic.filter(|topic| {
            topic.device == self.owner.device && topic.direction == Direction::ToService
        });
        let Some(topic) = own else {
            let is_custom = |it: &CustomTopic| it.of(&self.owner.device) == message.topic;
            if self.context.custom_topics.iter().any(is_custom) {
                return self.telemetry(message).await;
            }
            let topic = json::readable(&message.topic);
            debug!(device = %self.owner.device, %topic, "message refused: its topic is not allowed");
            return Ok(Some(ReasonCode::NOT_AUTHORIZED));
        };
        if topic.feature == Feature::Telemetry {
            return self.telemetry(message).await;
        }
        let kind = message.user_property(protocol::mqtt5::TYPE_PROPERTY);
        let kind = kind.and_then(|kind| kind.parse::<MessageType>().ok());
        let kind = kind.filter(|kind| kind.feature() == topic.feature);
        let correlation = message.correlation.as_deref();
        let correlation = correlation.and_then(|id| CorrelationId::try_from(id).ok());
        // Unknown types and versions are ignored, as the profile requires.
        let (Some(kind), Some(correlation)) = (kind, correlation) else {
            debug!(device = %self.owner.device, topic = message.topic, "message of no known type ignored");
            return Ok(Some(ReasonCode::SUCCESS));
        };
        self.message(kind, correlation, &message.payload).await
    }

    async fn subscribe(&mut self, subscribe: &Mqtt5Subscribe) -> Result<(), SessionEnd> {
        let own = Topic::filter(&self.owner.device);
        let reason = |(filter, qos): &(String, u8)| match filter.as_str() {
            _ if subscribe.has_identifier => ReasonCode::SUBSCRIPTION_IDS_NOT_SUPPORTED,
            filter if filter == own => ReasonCode((*qos).min(1)),
            filter if filter.starts_with("$share/") => {
                ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
            }
            _ => ReasonCode::NOT_AUTHORIZED,
        };
        let reasons: Vec<_> = subscribe.filters.iter().map(reason).collect();
        let packet = Mqtt5Outbound::SubAck { id: subscribe.id, reasons: &reasons };
        self.send_at(Step::Subscribe, &packet).await?;
        if reasons.iter().any(|reason| !reason.is_error()) {
            self.set_subscribed(true);
        }
        Ok(())
    }

    fn set_subscribed(&mut self, subscribed: bool) {
        self.subscribed = subscribed;
        self.context.sessions.subscribed_mqtt5(&self.owner, self.serial, subscribed);
    }

    /// Returns the handling of a packet at this step, which a fault can change.
    fn handling(&self, step: Step) -> Handling {
        self.context.faults.handling(step, Some(&self.owner.device))
    }

    /// Sends a packet with the handling of this step.
    async fn send_at(&self, step: Step, packet: &Mqtt5Outbound<'_>) -> Result<(), SessionEnd> {
        self.send(packet, self.handling(step)).await
    }

    async fn send(&self, packet: &Mqtt5Outbound<'_>, handling: Handling) -> Result<(), SessionEnd> {
        faulty::send(&self.outlet, packet.encode(), handling).await
    }

    /// Cleans up after the connection has ended: sends a DISCONNECT with the reason if the hub
    /// ends it, and publishes the will unless the device has sent a DISCONNECT.
    async fn leave(&mut self, end: &SessionEnd) {
        if let Some(reason) = disconnect_reason(end) {
            // The connection may have ended already.
            let packet = Mqtt5Outbound::Disconnect(reason).encode();
            let _ = self.outlet.send(packet, Handling::REGULAR).await;
        }
        if let Some(will) = self.will.take() {
            self.publish_will(&will);
        }
        let current = self.context.sessions.close(&self.owner, self.serial);
        if self.admitted && (current || !self.context.sessions.is_connected(&self.owner)) {
            self.context.state.set_connected(&self.owner, false);
        }
        info!(device = %self.owner.device, reason = %chain(end), "device disconnected");
    }
}

/// Returns the end of a session whose device has violated the standard or the profile.
fn violation(reason: ReasonCode, text: impl Into<String>) -> SessionEnd {
    SessionEnd::Violation { reason, text: text.into() }
}

/// Returns the reason code of the DISCONNECT that the hub sends at this end, if it sends one.
fn disconnect_reason(end: &SessionEnd) -> Option<ReasonCode> {
    match end {
        SessionEnd::Malformed(malformed) => Some(reason_of(malformed)),
        SessionEnd::Violation { reason, .. } => Some(*reason),
        SessionEnd::Silent => Some(ReasonCode::KEEP_ALIVE_TIMEOUT),
        SessionEnd::Ended(ending) => match ending {
            Ending::TakenOver => Some(ReasonCode::SESSION_TAKEN_OVER),
            Ending::Revoked | Ending::Expired => Some(ReasonCode::NOT_AUTHORIZED),
            Ending::Stalled => Some(ReasonCode::IMPLEMENTATION_ERROR),
            Ending::Disconnected(reason) => Some(*reason),
            Ending::Stopping => Some(ReasonCode::SERVER_SHUTTING_DOWN),
            Ending::Dropped => None,
        },
        _ => None,
    }
}
