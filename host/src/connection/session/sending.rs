//! Sending of packets to the hub, in the right order.

use std::time::Duration;

use protocol::topic::{Filter, MAX_PACKET_BYTES, MAX_TOPIC_BYTES};
use rumqttc::{Packet, QoS, Subscribe, SubscribeFilter};
use tokio::time::{Instant, sleep};
use tracing::error;

use super::{ConnectionFailure, ConnectionState, GRANT_WAIT, Phase, Session};
use crate::connection::receipts::Receipt;
use crate::connection::window::SUBSCRIBE_ID;
use crate::connection::{Outgoing, OutgoingRequest};

/// The time limit for the hub to close the connection after a DISCONNECT.
pub(super) const GOODBYE_WAIT: Duration = Duration::from_secs(3);

/// The maximum length of topic and body together, in bytes. The rest of a packet is for its
/// headers.
const MAX_CONTENT_BYTES: usize = MAX_PACKET_BYTES - 16;

/// The number of bytes to send before incoming packets are read again. On a slow network,
/// sending them takes seconds.
const BATCH_BYTES: usize = 64 * 1024;

impl Session {
    /// Sends the first packets of a connection: the subscriptions, then the packets that were
    /// not acknowledged on an earlier connection, except those that wait for a suspect.
    pub(super) async fn begin(
        &mut self,
        state: &mut ConnectionState,
        filters: Subscribe,
    ) -> Result<(), ConnectionFailure> {
        let again = self.window.again(state.wire.session_present).into_iter();
        let packets = std::iter::once(Packet::Subscribe(filters));
        let packets = packets.chain(again.map(Packet::Publish)).collect();
        self.send(state, packets).await?;
        // The time limit for acknowledgements must not include the time for sending, which is
        // long on a slow network.
        self.window.sent_now();
        state.until = Some(Instant::now() + GRANT_WAIT);
        Ok(())
    }

    /// Returns `true` if anything still has to be sent or acknowledged.
    pub(super) fn has_unsent(&self) -> bool {
        !(self.messages.is_empty() && self.requests.is_empty() && self.window.is_empty())
    }

    /// Returns the queued packets that can be sent now, `request` and `message` included.
    /// Requests come first, so that a report is sent before the answer of its call. They stay
    /// in the queue while a suspect is in flight alone.
    pub(super) fn queued(
        &mut self,
        request: Option<OutgoingRequest>,
        message: Option<Outgoing>,
    ) -> Vec<Packet> {
        let reserved = self.window.is_reserved();
        let others =
            std::iter::from_fn(|| if reserved { None } else { self.requests.try_recv().ok() });
        // The size of a report is checked when it is accepted. This check ensures that an
        // oversized request cannot end the connection.
        let fits = |request: &OutgoingRequest| is_sendable(&request.topic, &request.body);
        let requests: Vec<_> = request.into_iter().chain(others).filter(fits).collect();
        if let Some(change) = requests.iter().rev().find_map(|request| request.change.clone()) {
            self.change = Some(change);
        }
        let mut packets: Vec<_> = requests.into_iter().map(OutgoingRequest::into_packet).collect();
        let (mut next, mut taken) = (message, 0);
        while let Some(Outgoing { topic, body, receipt }) = next.take().or_else(|| {
            let may_send = taken < BATCH_BYTES && self.window.has_capacity();
            may_send.then(|| self.messages.try_recv().ok()).flatten()
        }) {
            taken += topic.len() + body.len();
            if is_sendable(&topic, &body) {
                packets.extend(self.window.send(topic, body, receipt).map(Packet::Publish));
            } else if let Some(number) = receipt {
                self.receipts.push(Receipt::SetAside(number));
            }
        }
        packets
    }

    /// Sends everything that is queued, then DISCONNECT.
    pub(super) async fn disconnect(
        &mut self,
        state: &mut ConnectionState,
    ) -> Result<(), ConnectionFailure> {
        self.online.send_replace(false);
        state.phase = Phase::Leaving;
        loop {
            let packets = self.queued(None, None);
            if packets.is_empty() {
                break;
            }
            self.send(state, packets).await?;
        }
        state.until = Some(Instant::now() + GOODBYE_WAIT);
        self.send(state, vec![Packet::Disconnect]).await
    }

    /// Sends packets, in one write if possible. Returns an error if the hub does not accept a
    /// packet within `state.send_timeout`, which is enough even for a slow network.
    pub(super) async fn send(
        &self,
        state: &mut ConnectionState,
        packets: Vec<Packet>,
    ) -> Result<(), ConnectionFailure> {
        let ConnectionState { wire, send_timeout, .. } = state;
        let packets_count = u32::try_from(packets.len()).unwrap_or(u32::MAX);
        self.pulse.allow(send_timeout.saturating_mul(packets_count.saturating_add(1)));
        for packet in packets {
            self.within(*send_timeout, wire.feed(packet)).await?;
        }
        let sent = self.within(*send_timeout, wire.flush()).await;
        self.pulse.beat();
        sent
    }

    /// Waits for `sending`. Returns an error after `send_timeout`, or after [`GOODBYE_WAIT`] once
    /// the host closes the connection.
    async fn within(
        &self,
        send_timeout: Duration,
        sending: impl Future<Output = Result<(), ConnectionFailure>>,
    ) -> Result<(), ConnectionFailure> {
        let timed_out = async {
            tokio::select! {
                () = sleep(send_timeout) => {}
                () = self.closing.cancelled() => sleep(GOODBYE_WAIT).await,
            }
        };
        tokio::select! {
            // The buffer usually has capacity, so no timer is started.
            biased;
            sent = sending => sent,
            () = timed_out => Err(ConnectionFailure::new("the hub accepts no more data")),
        }
    }
}

/// Returns `true` if a PUBLISH fits into a packet. Logs an error if it does not.
fn is_sendable(topic: &str, body: &[u8]) -> bool {
    let bytes = topic.len() + body.len();
    let fits = topic.len() <= MAX_TOPIC_BYTES && bytes <= MAX_CONTENT_BYTES;
    if !fits {
        error!(bytes, max_bytes = MAX_CONTENT_BYTES, "publication not sent: it is too large");
    }
    fits
}

/// Returns the SUBSCRIBE packet with all subscriptions of the host. Only a device with an issued
/// certificate requests the next one, and only one with a receiver gets messages.
pub(super) fn subscriptions(has_issued_certificate: bool, messages: Option<Filter>) -> Subscribe {
    let filters = [Filter::Methods, Filter::TwinAnswers, Filter::Desired];
    let credentials = has_issued_certificate.then_some(Filter::CredentialAnswers);
    let filters = filters
        .into_iter()
        .chain(credentials)
        .chain(messages)
        .map(|filter| SubscribeFilter::new(filter.to_string(), QoS::AtLeastOnce));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = SUBSCRIBE_ID;
    subscribe
}
