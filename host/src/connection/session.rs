//! What is said on one connection, from SUBSCRIBE to its end, and what is kept
//! from one connection to the next.

use std::sync::Arc;
use std::time::Duration;

use protocol::topic::Filter;
use rumqttc::{
    Packet, PubAck, Publish, QoS, SubAck, Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::failure::Failure;
use super::incoming::{Incoming, read};
use super::options::{Dial, MAX_PACKET_BYTES};
use super::receipts::Receipts;
use super::renewal::Renewal;
use super::window::{NotSent, SUBSCRIBE_ID, Window};
use super::wire::Wire;
use super::{Message, Request};

/// From SUBSCRIBE to SUBACK.
const GRANT_WAIT: Duration = Duration::from_secs(30);

/// How long the hub may take to acknowledge. It comes to that only if an
/// acknowledgement was lost: what waits for it is sent again on a new connection.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(120);

/// How long the hub may take to close after a DISCONNECT, or after it has taken
/// the next connection.
const GOODBYE_WAIT: Duration = Duration::from_secs(3);
const REST_WAIT: Duration = Duration::from_secs(1);

/// A topic and a body that fit into a packet.
const MOST_MESSAGE_BYTES: usize = MAX_PACKET_BYTES - 16;

/// Packets that are read before what was fed meanwhile is sent.
const READ_AT_ONCE: usize = 64;

/// The host's end of the hub's session, over all its connections.
pub(super) struct Session {
    pub(super) to_device: mpsc::Sender<Incoming>,
    /// What is to be sent, and acknowledged.
    pub(super) messages: mpsc::Receiver<Message>,
    /// What is to be sent, and answered.
    pub(super) requests: mpsc::Receiver<Request>,
    /// Told whether messages can be sent.
    pub(super) online: watch::Sender<bool>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) under_way: watch::Receiver<usize>,
    pub(super) closing: CancellationToken,
    pub(super) window: Window,
    /// The number of the connection, from 1.
    pub(super) connection: u64,
}

/// How a connection ended.
pub(super) enum Ended {
    /// As it was asked to.
    Closed,
    /// The hub has taken this one for it.
    Renewed(Wire),
    Lost(Failure),
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Waits for the SUBACK.
    Opening,
    Open,
    /// A DISCONNECT was sent.
    Leaving,
}

/// One connection at work.
struct Talk {
    wire: Wire,
    phase: Phase,
    /// When the phase has to be over.
    until: Option<Instant>,
    /// Whether the hub has said anything since the last ping.
    heard: bool,
    /// How long the hub may take to take what it is sent.
    patience: Duration,
}

impl Session {
    /// One connection, from the first packet to the last.
    pub(super) async fn run(&mut self, wire: Wire, dial: &Arc<Dial>) -> Ended {
        self.connection += 1;
        let mut renewal = Renewal::of(wire.token);
        let until = Some(Instant::now() + GRANT_WAIT);
        let patience = dial.keep_alive() + Duration::from_secs(1);
        let mut talk = Talk { wire, phase: Phase::Opening, until, heard: true, patience };
        let ended = self.talk(&mut talk, &mut renewal, dial).await;
        self.online.send_replace(false);
        let ended = match ended {
            Ok(ended) => ended,
            Err(_) if talk.phase == Phase::Leaving => Ended::Closed,
            Err(failure) => tokio::select! {
                next = renewal.finish() => next.map_or(Ended::Lost(failure), Ended::Renewed),
                () = self.closing.cancelled() => Ended::Closed,
            },
        };
        if matches!(ended, Ended::Renewed(_)) {
            self.read_rest(&mut talk).await;
            info!(hub = %dial, "token renewed");
        }
        if talk.phase != Phase::Opening {
            self.pass_on(Incoming::Lost).await;
        }
        ended
    }

    /// Talks until there is a reason not to.
    async fn talk(
        &mut self,
        talk: &mut Talk,
        renewal: &mut Renewal,
        dial: &Arc<Dial>,
    ) -> Result<Ended, Failure> {
        let mut packets = vec![Packet::Subscribe(subscriptions())];
        packets
            .extend(self.window.again(talk.wire.session_present).into_iter().map(Packet::Publish));
        self.send(talk, packets).await?;
        let mut ping_at = Instant::now() + dial.ping_every();
        loop {
            let (open, until) = (talk.phase == Phase::Open, talk.until);
            tokio::select! {
                packet = talk.wire.next() => self.take_all(talk, packet, dial).await?,
                Some(request) = self.requests.recv(), if open => {
                    let packets = self.waiting(Some(request), None);
                    self.send(talk, packets).await?;
                }
                Some(message) = self.messages.recv(), if open && self.window.has_room() => {
                    let packets = self.waiting(None, Some(message));
                    self.send(talk, packets).await?;
                }
                next = renewal.next(dial, &mut self.under_way), if open => match next {
                    Ok(next) => return Ok(Ended::Renewed(next)),
                    Err(Failure { what, hint, .. }) => {
                        let next_try = renewal.failed();
                        warn!(hub = %dial, ?next_try, hint, "token not renewed yet: {what}");
                    }
                },
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + dial.ping_every();
                    // On a busy machine it may have come, and not been looked at.
                    if let Some(packet) = talk.wire.come() {
                        self.take_all(talk, packet, dial).await?;
                    }
                    self.look_whether_it_is_there(talk)?;
                    self.send(talk, vec![Packet::PingReq]).await?;
                }
                () = self.closing.cancelled(), if talk.phase != Phase::Leaving => {
                    if !open {
                        return Ok(Ended::Closed);
                    }
                    self.leave(talk).await?;
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return match talk.phase {
                        Phase::Leaving => Ok(Ended::Closed),
                        _ => Err(Failure::new("the hub does not answer")),
                    };
                }
            }
        }
    }

    /// Takes a packet, and those that have come with it.
    async fn take_all(
        &mut self,
        talk: &mut Talk,
        first: Result<Packet, Failure>,
        dial: &Dial,
    ) -> Result<(), Failure> {
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
                Packet::Disconnect => return Err(Failure::new("hub said goodbye")),
                _ => {}
            }
            let Some(next) = (left > 0).then(|| talk.wire.come()).flatten() else { break };
            packet = next?;
        }
        if acknowledgements.is_empty() {
            return Ok(());
        }
        self.send(talk, acknowledgements).await
    }

    /// Every subscription is answered.
    async fn opened(&mut self, talk: &mut Talk, ack: &SubAck, dial: &Dial) -> Result<(), Failure> {
        if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
            return Err(Failure::new("the hub refused a subscription"));
        }
        (talk.phase, talk.until) = (Phase::Open, None);
        info!(hub = %dial, device = %dial.user_name().device, "connected");
        // Those of an earlier connection: who needs an answer asks anew.
        while self.requests.try_recv().is_ok() {}
        self.pass_on(Incoming::Connected).await;
        self.online.send_replace(true);
        Ok(())
    }

    /// What the hub has sent before it took the next connection for this one.
    async fn read_rest(&mut self, talk: &mut Talk) {
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

    /// The device's loop always takes what comes; after it has ended, nobody does.
    async fn pass_on(&self, incoming: Incoming) {
        self.to_device.send(incoming).await.ok();
    }

    fn acknowledged(&mut self, id: u16) {
        match self.window.acknowledged(id) {
            Ok(receipt) => receipt.into_iter().for_each(|receipt| self.receipts.put(receipt)),
            // No reason to end a connection on which calls are under way.
            Err(NotSent) => debug!(id, "acknowledgement of nothing that was sent: ignored"),
        }
    }

    fn look_whether_it_is_there(&self, talk: &mut Talk) -> Result<(), Failure> {
        if !std::mem::take(&mut talk.heard) {
            return Err(Failure::new("no sign of life from the hub within the keep-alive"));
        }
        if self.window.oldest().is_some_and(|since| since.elapsed() > ACKNOWLEDGE_WAIT) {
            return Err(Failure::new("the hub does not acknowledge what it is sent"));
        }
        Ok(())
    }

    /// Everything that waits to be sent, the requests first: a report leaves
    /// before the answer of its call.
    fn waiting(&mut self, request: Option<Request>, message: Option<Message>) -> Vec<Packet> {
        let others = std::iter::from_fn(|| self.requests.try_recv().ok());
        let requests = request.into_iter().chain(others);
        let mut packets: Vec<_> = requests.map(Request::into_packet).collect();
        let mut next = message;
        while let Some(Message { topic, body, receipt }) = next.take().or_else(|| {
            let room = self.window.has_room();
            room.then(|| self.messages.try_recv().ok()).flatten()
        }) {
            if topic.len() + body.len() > MOST_MESSAGE_BYTES {
                error!(topic, bytes = body.len(), "longer than any hub takes: not sent");
                receipt.into_iter().for_each(|receipt| self.receipts.put(receipt));
            } else {
                packets.push(Packet::Publish(self.window.send(topic, body, receipt)));
            }
        }
        packets
    }

    /// Says goodbye behind everything that waits to be sent.
    async fn leave(&mut self, talk: &mut Talk) -> Result<(), Failure> {
        let mut packets = self.waiting(None, None);
        packets.push(Packet::Disconnect);
        self.online.send_replace(false);
        talk.phase = Phase::Leaving;
        talk.until = Some(Instant::now() + GOODBYE_WAIT);
        self.send(talk, packets).await
    }

    /// Sends packets in one go. A hub that is there takes them within the
    /// keep-alive.
    async fn send(&self, talk: &mut Talk, packets: Vec<Packet>) -> Result<(), Failure> {
        let Talk { wire, patience, .. } = talk;
        let sending = async {
            for packet in packets {
                wire.feed(packet).await?;
            }
            wire.flush().await
        };
        let patience_is_over = async {
            tokio::select! {
                () = sleep(*patience) => {}
                () = self.closing.cancelled() => sleep(GOODBYE_WAIT).await,
            }
        };
        tokio::select! {
            sent = sending => sent,
            () = patience_is_over => Err(Failure::new("the hub takes no more data")),
        }
    }
}

/// The subscriptions: all that the host listens to.
fn subscriptions() -> Subscribe {
    let filters = [Filter::Methods, Filter::TwinAnswers, Filter::Desired];
    let filters = filters.map(|filter| SubscribeFilter::new(filter.to_string(), QoS::AtLeastOnce));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = SUBSCRIBE_ID;
    subscribe
}
