//! Handling of packets from the hub.

use std::sync::Arc;
use std::time::Duration;

use protocol::mqtt5::ReasonCode;
use rumqttc::{Packet, PubAck, Publish, SubAck, SubscribeReasonCode};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, info, warn};

use super::{ConnectionFailure, ConnectionState, Dial, Phase, Session};
use crate::connection::certificate::DeviceCertificate;
use crate::connection::history::Validity;
use crate::connection::incoming::{Incoming, parse};
use crate::connection::receipts::Receipt;
use crate::connection::received::Received;
use crate::connection::window::UnknownId;

/// The time limit for the hub to acknowledge a packet. It is exceeded only if an
/// acknowledgement was lost. The packet is then sent again on a new connection.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(120);

/// The time limit for the hub to close a connection that it has replaced.
const REST_WAIT: Duration = Duration::from_secs(1);

/// The maximum number of packets to handle before their acknowledgements are sent.
const READ_AT_ONCE: usize = 64;

impl Session {
    /// Handles a packet and all packets that have already arrived after it.
    pub(super) async fn handle_all(
        &mut self,
        state: &mut ConnectionState,
        first: Result<Received, ConnectionFailure>,
        dial: &Dial,
    ) -> Result<(), ConnectionFailure> {
        state.heard = true;
        let mut acknowledgements = Vec::new();
        let mut received = first?;
        for left in (0..READ_AT_ONCE).rev() {
            let packet = match received {
                Received::Packet(packet) => packet,
                Received::Refused { id, reason } => {
                    self.refused(id, reason);
                    Packet::PingResp
                }
            };
            match packet {
                Packet::SubAck(ack) if state.phase == Phase::Opening => {
                    self.opened(state, &ack, dial).await?;
                }
                Packet::Publish(publish) => {
                    let id = publish.pkid;
                    let is_done = self.handle_publish(publish).await;
                    if id != 0 && is_done {
                        acknowledgements.push(Packet::PubAck(PubAck::new(id)));
                    }
                }
                Packet::PubAck(ack) => self.acknowledged(ack.pkid),
                Packet::Disconnect => {
                    return Err(ConnectionFailure::new("the hub sent DISCONNECT"));
                }
                _ => {}
            }
            let Some(next) = (left > 0).then(|| state.wire.try_next()).flatten() else { break };
            received = next?;
        }
        let due = if state.phase == Phase::Open { self.window.due() } else { Vec::new() };
        let packets = acknowledgements.into_iter().chain(due.into_iter().map(Packet::Publish));
        let packets: Vec<_> = packets.collect();
        if packets.is_empty() {
            return Ok(());
        }
        self.send(state, packets).await
    }

    /// Handles the SUBACK: the connection is open, unless the hub refused a subscription.
    async fn opened(
        &mut self,
        state: &mut ConnectionState,
        ack: &SubAck,
        dial: &Dial,
    ) -> Result<(), ConnectionFailure> {
        if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
            return Err(ConnectionFailure::new("the hub refused a subscription"));
        }
        (state.phase, state.until) = (Phase::Open, None);
        if let Some(issued) = dial.issued() {
            issued.over_session.granted();
        }
        let validity = |it: &Arc<DeviceCertificate>| Validity {
            from: it.valid_from(),
            until: it.valid_until(),
        };
        let certificate = state.wire.certificate.as_ref().map(validity);
        self.history.connected(state.wire.token, certificate);
        info!(hub = %dial, device = dial.user_name().client_id(), "connected");
        // The requests of an earlier connection are dropped: their senders repeat them if
        // needed.
        while self.requests.try_recv().is_ok() {}
        self.forward(Incoming::Connected).await;
        self.online.send_replace(true);
        Ok(())
    }

    /// Reads the packets that the hub sent before it replaced this connection.
    pub(super) async fn read_rest(&mut self, state: &mut ConnectionState) {
        self.pulse.allow(REST_WAIT);
        let until = Instant::now() + REST_WAIT;
        while let Ok(Ok(packet)) = timeout_at(until, state.wire.next()).await {
            match packet {
                Received::Packet(Packet::Publish(publish)) => {
                    self.handle_publish(publish).await;
                }
                Received::Packet(Packet::PubAck(ack)) => self.acknowledged(ack.pkid),
                Received::Packet(_) => {}
                Received::Refused { id, reason } => self.refused(id, reason),
            }
        }
    }

    /// Parses a packet and forwards its event. Returns `false` if the device acknowledges it.
    async fn handle_publish(&mut self, publish: Publish) -> bool {
        let mut is_done = true;
        if let Some(incoming) = parse(publish, self.connection) {
            if let Incoming::TwinAnswer { rid, .. } = &incoming {
                self.change.take_if(|change| change == rid);
            }
            is_done = !matches!(incoming, Incoming::Message(_));
            self.forward(incoming).await;
        }
        is_done
    }

    /// Sends an event to the device loop, and waits while its queue is full. Drops the event
    /// if the loop has ended.
    pub(super) async fn forward(&self, incoming: Incoming) {
        self.to_device.send(incoming).await.ok();
    }

    /// Handles a PUBACK.
    fn acknowledged(&mut self, id: u16) {
        match self.window.acknowledged(id) {
            Ok(Some(number)) => self.receipts.push(Receipt::Acknowledged(number)),
            Ok(None) => {}
            // An unknown acknowledgement is harmless, so it does not end the connection.
            Err(UnknownId) => debug!(id, "unexpected acknowledgement ignored"),
        }
    }

    /// Handles the refusal of a message, which is not sent again.
    fn refused(&mut self, id: u16, reason: ReasonCode) {
        // The sender of a message logs its loss, because it knows the plugin.
        match self.window.acknowledged(id) {
            Ok(Some(number)) => {
                warn!(number, %reason, "the hub does not accept a message");
                self.receipts.push(Receipt::SetAside(number));
            }
            Ok(None) => error!(%reason, "answer dropped: the hub does not accept it"),
            Err(UnknownId) => debug!(id, "unexpected refusal ignored"),
        }
    }

    /// Returns an error if the hub has sent nothing since the last call, or has not
    /// acknowledged the oldest packet within [`ACKNOWLEDGE_WAIT`].
    pub(super) fn check_alive(&self, state: &mut ConnectionState) -> Result<(), ConnectionFailure> {
        if !std::mem::take(&mut state.heard) {
            return Err(ConnectionFailure::new("no packet from the hub within the keep-alive"));
        }
        if self.window.oldest().is_some_and(|since| since.elapsed() > ACKNOWLEDGE_WAIT) {
            return Err(ConnectionFailure::new("the hub does not acknowledge messages"));
        }
        Ok(())
    }
}
