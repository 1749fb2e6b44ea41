//! Sending of packets to the hub, in the right order.

use std::time::Duration;

use protocol::topic::{Filter, MAX_PACKET_BYTES, MAX_TOPIC_BYTES};
use rumqttc::{Packet, QoS, Subscribe, SubscribeFilter};
use tokio::time::{Instant, sleep};
use tracing::error;

use super::{ConnectionFailure, GRANT_WAIT, Phase, Session, Talk};
use crate::connection::receipts::Receipt;
use crate::connection::window::SUBSCRIBE_ID;
use crate::connection::{Outgoing, OutgoingRequest};

/// The time that the hub has to close the connection after a DISCONNECT.
pub(super) const GOODBYE_WAIT: Duration = Duration::from_secs(3);

/// The maximum length of topic and body together, in bytes, which leaves room for the
/// packet's headers.
const MAX_CONTENT_BYTES: usize = MAX_PACKET_BYTES - 16;

/// The number of bytes that are sent at once before incoming packets are read again. On a
/// slow network, sending them takes seconds.
const BATCH_BYTES: usize = 64 * 1024;

impl Session {
    /// Sends the first packets of a connection: the subscriptions, then the packets that were
    /// not acknowledged on an earlier connection.
    pub(super) async fn begin(&mut self, talk: &mut Talk) -> Result<(), ConnectionFailure> {
        let again = self.window.again(talk.wire.session_present).into_iter();
        let packets = std::iter::once(Packet::Subscribe(subscriptions()));
        let packets = packets.chain(again.map(Packet::Publish)).collect();
        self.send(talk, packets).await?;
        // On a slow network, sending takes long. That time must not count as the hub's.
        self.window.sent_now();
        talk.until = Some(Instant::now() + GRANT_WAIT);
        Ok(())
    }

    /// Returns `true` if anything still has to be sent or acknowledged.
    pub(super) fn has_unsent(&self) -> bool {
        !(self.messages.is_empty() && self.requests.is_empty() && self.window.is_empty())
    }

    /// Returns the queued packets that can be sent now, `request` and `message` included.
    /// Requests come first, so that a report is sent before the answer of its call.
    pub(super) fn waiting(
        &mut self,
        request: Option<OutgoingRequest>,
        message: Option<Outgoing>,
    ) -> Vec<Packet> {
        let others = std::iter::from_fn(|| self.requests.try_recv().ok());
        // Reports are already limited where they are accepted. This check makes sure that
        // an oversized one cannot end the connection.
        let fits = |request: &OutgoingRequest| is_sendable(&request.topic, &request.body);
        let requests = request.into_iter().chain(others).filter(fits);
        let mut packets: Vec<_> = requests.map(OutgoingRequest::into_packet).collect();
        let (mut next, mut taken) = (message, 0);
        while let Some(Outgoing { topic, body, receipt }) = next.take().or_else(|| {
            let room = taken < BATCH_BYTES && self.window.has_room();
            room.then(|| self.messages.try_recv().ok()).flatten()
        }) {
            taken += topic.len() + body.len();
            if is_sendable(&topic, &body) {
                packets.push(Packet::Publish(self.window.send(topic, body, receipt)));
            } else if let Some(number) = receipt {
                self.receipts.put(Receipt::SetAside(number));
            }
        }
        packets
    }

    /// Sends everything that is queued, then DISCONNECT.
    pub(super) async fn leave(&mut self, talk: &mut Talk) -> Result<(), ConnectionFailure> {
        self.online.send_replace(false);
        talk.phase = Phase::Leaving;
        loop {
            let packets = self.waiting(None, None);
            if packets.is_empty() {
                break;
            }
            self.send(talk, packets).await?;
        }
        talk.until = Some(Instant::now() + GOODBYE_WAIT);
        self.send(talk, vec![Packet::Disconnect]).await
    }

    /// Sends packets in one write where possible. Fails if the hub does not accept a packet
    /// within `talk.patience`. Even a slow network transmits a packet in that time.
    pub(super) async fn send(
        &self,
        talk: &mut Talk,
        packets: Vec<Packet>,
    ) -> Result<(), ConnectionFailure> {
        let Talk { wire, patience, .. } = talk;
        for packet in packets {
            self.within(*patience, wire.feed(packet)).await?;
        }
        self.within(*patience, wire.flush()).await
    }

    async fn within(
        &self,
        patience: Duration,
        sending: impl Future<Output = Result<(), ConnectionFailure>>,
    ) -> Result<(), ConnectionFailure> {
        let patience_is_over = async {
            tokio::select! {
                () = sleep(patience) => {}
                () = self.closing.cancelled() => sleep(GOODBYE_WAIT).await,
            }
        };
        tokio::select! {
            // Usually there is room in the buffer, so no timer is needed.
            biased;
            sent = sending => sent,
            () = patience_is_over => Err(ConnectionFailure::new("the hub accepts no more data")),
        }
    }
}

/// Checks that a PUBLISH fits into a packet. Logs an error if it does not.
fn is_sendable(topic: &str, body: &[u8]) -> bool {
    let bytes = topic.len() + body.len();
    let fits = topic.len() <= MAX_TOPIC_BYTES && bytes <= MAX_CONTENT_BYTES;
    if !fits {
        error!(bytes, max_bytes = MAX_CONTENT_BYTES, "publication not sent: it is too large");
    }
    fits
}

/// Returns the SUBSCRIBE packet with all subscriptions of the host.
fn subscriptions() -> Subscribe {
    let filters = [Filter::Methods, Filter::TwinAnswers, Filter::Desired];
    let filters = filters.map(|filter| SubscribeFilter::new(filter.to_string(), QoS::AtLeastOnce));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = SUBSCRIBE_ID;
    subscribe
}
