//! Handling of packets from the hub.

use std::time::Duration;

use rumqttc::{Packet, PubAck, Publish, SubAck, SubscribeReasonCode};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use super::{ConnectionFailure, Dial, Phase, Session, Talk};
use crate::connection::incoming::{Incoming, read};
use crate::connection::receipts::Receipt;
use crate::connection::window::NotSent;

/// The time that the hub has to acknowledge a packet. It passes only if an acknowledgement was
/// lost; the packet is then sent again on a new connection.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(120);

/// The time that the hub has to close a connection that it has replaced.
const REST_WAIT: Duration = Duration::from_secs(1);

/// The number of packets that are handled before their acknowledgements are sent.
const READ_AT_ONCE: usize = 64;

impl Session {
    /// Handles a packet and those that have already arrived after it.
    pub(super) async fn take_all(
        &mut self,
        talk: &mut Talk,
        first: Result<Packet, ConnectionFailure>,
        dial: &Dial,
    ) -> Result<(), ConnectionFailure> {
        talk.heard = true;
        let mut acknowledgements = Vec::new();
        let mut packet = first?;
        for left in (0..READ_AT_ONCE).rev() {
            match packet {
                Packet::SubAck(ack) if talk.phase == Phase::Opening => {
                    self.opened(talk, &ack, dial).await?;
                }
                Packet::Publish(publish) => {
                    let id = publish.pkid;
                    self.take(publish).await;
                    if id != 0 {
                        acknowledgements.push(Packet::PubAck(PubAck::new(id)));
                    }
                }
                Packet::PubAck(ack) => self.acknowledged(ack.pkid),
                Packet::Disconnect => {
                    return Err(ConnectionFailure::new("the hub sent DISCONNECT"));
                }
                _ => {}
            }
            let Some(next) = (left > 0).then(|| talk.wire.come()).flatten() else { break };
            packet = next?;
        }
        let released = self.window.released(talk.wire.session_present);
        let packets = acknowledgements.into_iter().chain(released.into_iter().map(Packet::Publish));
        let packets: Vec<_> = packets.collect();
        if packets.is_empty() {
            return Ok(());
        }
        self.send(talk, packets).await
    }

    /// Handles the SUBACK: the connection is open, unless the hub refused a subscription.
    async fn opened(
        &mut self,
        talk: &mut Talk,
        ack: &SubAck,
        dial: &Dial,
    ) -> Result<(), ConnectionFailure> {
        if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
            return Err(ConnectionFailure::new("the hub refused a subscription"));
        }
        (talk.phase, talk.until) = (Phase::Open, None);
        info!(hub = %dial, device = %dial.user_name().device, "connected");
        // Drops the requests of an earlier connection. Their senders repeat them if needed.
        while self.requests.try_recv().is_ok() {}
        self.pass_on(Incoming::Connected).await;
        self.online.send_replace(true);
        Ok(())
    }

    /// Reads the packets that the hub sent before it replaced this connection.
    pub(super) async fn read_rest(&mut self, talk: &mut Talk) {
        let until = Instant::now() + REST_WAIT;
        while let Ok(Ok(packet)) = timeout_at(until, talk.wire.next()).await {
            match packet {
                Packet::Publish(publish) => self.take(publish).await,
                Packet::PubAck(ack) => self.acknowledged(ack.pkid),
                _ => {}
            }
        }
    }

    async fn take(&self, publish: Publish) {
        if let Some(incoming) = read(publish, self.connection) {
            self.pass_on(incoming).await;
        }
    }

    /// Passes an event to the device's loop, and waits for room in its queue. Drops the event
    /// after the loop has ended.
    pub(super) async fn pass_on(&self, incoming: Incoming) {
        self.to_device.send(incoming).await.ok();
    }

    fn acknowledged(&mut self, id: u16) {
        match self.window.acknowledged(id) {
            Ok(Some(number)) => self.receipts.put(Receipt::Acknowledged(number)),
            Ok(None) => {}
            // Not a reason to end a connection with calls in progress.
            Err(NotSent) => debug!(id, "unexpected acknowledgement ignored"),
        }
    }

    /// Returns an error if the hub has sent nothing since the last call, or has not
    /// acknowledged the oldest packet within [`ACKNOWLEDGE_WAIT`].
    pub(super) fn check_alive(&self, talk: &mut Talk) -> Result<(), ConnectionFailure> {
        if !std::mem::take(&mut talk.heard) {
            return Err(ConnectionFailure::new("no packet from the hub within the keep-alive"));
        }
        if self.window.oldest().is_some_and(|since| since.elapsed() > ACKNOWLEDGE_WAIT) {
            return Err(ConnectionFailure::new("the hub does not acknowledge messages"));
        }
        Ok(())
    }
}
