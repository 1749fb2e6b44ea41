//! The birth of a device: its answer, and the pushes that follow.

use bytes::Bytes;
use protocol::mqtt5::{
    Birth, BirthAck, CorrelationId, Message as _, MessageType, TwinPush, TwinSection,
};
use protocol::twin::DeviceTwin;
use serde_json::{Map, Value};
use tracing::debug;

use super::super::{SessionEnd, faulty};
use super::Mqtt5Session;
use crate::faults::{Handling, Step};
use crate::mqtt5::{Mqtt5Outbound, Mqtt5Publish};

impl Mqtt5Session {
    /// Admits the device if the birth repeats the nonce of this connection, and sends the
    /// answer. A birth before the subscription is ignored, since its answer would be lost.
    pub(super) async fn birth(
        &mut self,
        nonce: CorrelationId,
        birth: Birth,
    ) -> Result<(), SessionEnd> {
        if nonce != self.nonce || !self.subscribed {
            let subscribed = self.subscribed;
            debug!(device = %self.owner.device, %nonce, subscribed, "birth ignored");
            return Ok(());
        }
        let handling = self.handling(Step::Birth);
        if handling.is_stale {
            let stale = CorrelationId::from([0; 16]);
            let ack = self.packet(MessageType::BirthAck, stale, &BirthAck::default());
            self.outlet.send(ack, Handling::REGULAR).await.map_err(|_| SessionEnd::Closed)?;
            return Ok(());
        }
        // A lost birth is one that the hub has not received.
        if handling.copies == 0 {
            return faulty::receive(&self.outlet, handling).await.map(drop);
        }
        if !std::mem::replace(&mut self.admitted, true) {
            self.context.state.set_connected(&self.owner, true);
        }
        let greet = || {
            let Ok(twin) = self.context.state.device_twin(&self.owner) else { return Vec::new() };
            let ack = BirthAck {
                desired_version: twin.desired_version,
                reported_version: twin.reported_version,
            };
            let ack = self.packet(MessageType::BirthAck, nonce, &ack);
            let push = push(&birth, &twin);
            let push = push.map(|push| self.packet(MessageType::TwinPush, nonce, &push));
            std::iter::once((ack, handling))
                .chain(push.map(|push| (push, Handling::REGULAR)))
                .collect()
        };
        self.context.sessions.admit(&self.owner, self.serial, nonce, greet);
        Ok(())
    }

    /// Returns a packet of the hub at QoS 0.
    pub(super) fn packet(
        &self,
        kind: MessageType,
        correlation: CorrelationId,
        message: &impl protocol::mqtt5::Message,
    ) -> Bytes {
        let message = Mqtt5Publish::to_device(&self.owner.device, kind, correlation, message);
        Mqtt5Outbound::Publish(&message).encode()
    }
}

/// Returns the sections that the device has asked for and does not have.
fn push(birth: &Birth, twin: &DeviceTwin) -> Option<TwinPush> {
    let section = |asked: bool, known: u64, version: u64, body: &Map<String, Value>| {
        (asked && known != version).then(|| TwinSection { version, payload: text(body) })
    };
    let push = TwinPush {
        desired: section(
            birth.push_desired,
            birth.desired_version,
            twin.desired_version,
            &twin.desired,
        ),
        reported: section(
            birth.push_reported,
            birth.reported_version,
            twin.reported_version,
            &twin.reported,
        ),
    };
    (!push.encode().is_empty()).then_some(push)
}

/// Returns a section as JSON.
pub(super) fn text(body: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(body).expect("a map with string keys is JSON")
}
