//! The connection to IoT Hub: MQTT in, MQTT out.
//!
//! Keeps one session alive. It connects, subscribes, renews the SAS token before
//! it expires and comes back after a loss, waiting longer each time, without
//! end. The rest of the host sees a stream of [`Incoming`] and an [`Outbox`].
//!
//! It knows nothing of plugins and never answers a method by itself. Everything
//! that depends on `rumqttc` is in this room; of that it is the packets alone,
//! since its client ends a connection for an acknowledgement that comes twice,
//! and cannot take one connection for another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::topic::DeviceTopic;
use rumqttc::{Packet, Publish, QoS};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) use deliveries::Deliveries;
use driver::Driver;
pub(crate) use incoming::{Incoming, MalformedMethod, Method};
pub(crate) use options::{Dial, OptionsError, check_identity, tls};
pub(crate) use receipts::{Receipt, Receipts};
use session::Session;
use under_way::Answers;
pub(crate) use under_way::UnderWay;
use window::Window;

use crate::supervision::Supervisor;

mod address;
mod codec;
mod deliveries;
mod driver;
mod failure;
mod incoming;
mod options;
mod receipts;
mod renewal;
mod rivals;
mod session;
mod under_way;
mod window;
mod wire;

/// Decodes bytes and reads each publication as a connection does; returns the number
/// of packets. For fuzzing only.
pub(crate) fn read_packets(bytes: &[u8]) -> usize {
    let (mut codec, mut bytes) = (codec::Packets::default(), bytes::BytesMut::from(bytes));
    let mut packets = 0;
    while let Ok(Some(packet)) = tokio_util::codec::Decoder::decode(&mut codec, &mut bytes) {
        packets += 1;
        if let Packet::Publish(publish) = packet {
            drop(incoming::read(publish, 0));
        }
    }
    packets
}

/// Packets of each kind that wait to be sent; more make their senders wait.
const OUTBOX_PACKETS: usize = 256;

/// Events that have arrived and wait for the device's loop.
const INBOX_EVENTS: usize = 256;

/// Age after which the caller of a method has given up: the hub itself waits 300 s.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// One end of the link to the hub, for the device's loop.
pub(crate) struct Connection {
    incoming: mpsc::Receiver<Incoming>,
    outbox: Outbox,
    closing: CancellationToken,
    driver: JoinHandle<()>,
}

/// Sends to the hub; clones send to the same one.
#[derive(Clone)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<Outgoing>,
    requests: mpsc::Sender<OutgoingRequest>,
    answers: Answers,
    /// `true` while there is a connection.
    online: watch::Receiver<bool>,
    receipts: Arc<Receipts>,
}

/// To be sent until the hub has acknowledged it.
struct Outgoing {
    topic: String,
    body: Bytes,
    /// Put among the [`Receipts`] when it has.
    receipt: Option<u64>,
}

/// To be sent once: the hub answers it.
struct OutgoingRequest {
    topic: String,
    body: Bytes,
}

impl Connection {
    /// Starts to connect. Attempts go on until the connection is closed.
    pub(crate) fn open(dial: Dial, supervisor: &Supervisor) -> Connection {
        let (messages, messages_out) = mpsc::channel(OUTBOX_PACKETS);
        let (requests, requests_out) = mpsc::channel(OUTBOX_PACKETS);
        let (to_device, incoming) = mpsc::channel(INBOX_EVENTS);
        let (say_online, online) = watch::channel(false);
        let (answers, receipts) = (Answers::default(), Arc::<Receipts>::default());
        let closing = CancellationToken::new();
        let session = Session {
            to_device,
            messages: messages_out,
            requests: requests_out,
            online: say_online,
            receipts: Arc::clone(&receipts),
            answers: answers.clone(),
            closing: closing.clone(),
            window: Window::default(),
            connection: 0,
        };
        let driver = Driver::new(dial, session).run();
        let driver = tokio::spawn(supervisor.watch("connection", driver));
        let outbox = Outbox { messages, requests, answers, online, receipts };
        Connection { incoming, outbox, closing, driver }
    }

    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Returns the next event. Never returns if the driver has died, which ends the
    /// process.
    pub(crate) async fn next(&mut self) -> Incoming {
        match self.incoming.recv().await {
            Some(incoming) => incoming,
            None => std::future::pending().await,
        }
    }

    /// Sends what waits, says goodbye and ends. Takes some seconds at most.
    pub(crate) async fn close(self) {
        self.closing.cancel();
        drop(self.incoming);
        // A panic in the driver was reported by its supervisor.
        self.driver.await.ok();
    }
}

impl Outbox {
    /// Sends the answer to a method that arrived at `arrived`, as soon as there is a
    /// connection. Returns `false` if there was none before the caller gave up.
    pub(crate) async fn answer(&self, topic: &DeviceTopic, body: Bytes, arrived: Instant) -> bool {
        let message = Outgoing { topic: topic.to_string(), body, receipt: None };
        // As a rule there is a connection, and room: nothing has to be waited for.
        let connected = *self.online.borrow();
        if connected && let Ok(room) = self.messages.try_reserve() {
            room.send(message);
            return true;
        }
        let mut online = self.online.clone();
        let sent = timeout_at(arrived + LONGEST_WAIT, async {
            // After the end there is none any more.
            online.wait_for(|online| *online).await.ok()?;
            self.messages.send(message).await.ok()
        });
        sent.await.ok().flatten().is_some()
    }

    /// Sends a message when there is a connection, however long that takes; its
    /// receipt is put among [`Outbox::receipts`] when the hub has acknowledged it.
    /// `None` after the end.
    pub(crate) async fn message(
        &self,
        topic: &DeviceTopic,
        body: Bytes,
        receipt: u64,
    ) -> Option<()> {
        self.online.clone().wait_for(|online| *online).await.ok()?;
        let message = Outgoing { topic: topic.to_string(), body, receipt: Some(receipt) };
        // Waits for room in the queue.
        self.messages.send(message).await.ok()
    }

    /// Returns the outcomes of messages that were sent with a receipt.
    pub(crate) fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// Waits for the end, after which nothing is sent or acknowledged.
    pub(crate) async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Sends a twin request, which the hub answers, so that it needs no
    /// acknowledgement. Says whether there was room.
    pub(crate) fn request(&self, topic: &DeviceTopic, body: Vec<u8>) -> bool {
        self.requests
            .try_send(OutgoingRequest { topic: topic.to_string(), body: body.into() })
            .is_ok()
    }

    /// Counts an answer as in progress until the returned value is dropped.
    pub(crate) fn under_way(&self) -> UnderWay {
        self.answers.begin()
    }
}

impl OutgoingRequest {
    fn into_packet(self) -> Packet {
        Packet::Publish(Publish::from_bytes(self.topic, QoS::AtMostOnce, self.body))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An outbox, and what a driver would hold: the test says whether there is a
    /// connection.
    pub(crate) struct Link {
        pub(crate) outbox: Outbox,
        pub(crate) online: watch::Sender<bool>,
        /// Take what is sent.
        _messages: mpsc::Receiver<Outgoing>,
        _requests: mpsc::Receiver<OutgoingRequest>,
    }

    pub(crate) fn link() -> Link {
        let (messages, _messages) = mpsc::channel(OUTBOX_PACKETS);
        let (requests, _requests) = mpsc::channel(OUTBOX_PACKETS);
        let (say_online, online) = watch::channel(false);
        let (answers, receipts) = (Answers::default(), Arc::default());
        let outbox = Outbox { messages, requests, answers, online, receipts };
        Link { outbox, online: say_online, _messages, _requests }
    }

    fn answer() -> DeviceTopic {
        DeviceTopic::MethodAnswer { status: 200, rid: "1".parse().unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_for_the_connection_as_long_as_somebody_waits_for_it() {
        let Link { outbox, online: say_online, .. } = &link();
        let arrived = Instant::now();
        let back = async {
            tokio::time::sleep(LONGEST_WAIT - Duration::from_secs(1)).await;
            say_online.send_replace(true);
        };
        let topic = answer();
        let (sent, ()) = tokio::join!(outbox.answer(&topic, Bytes::new(), arrived), back);
        assert!(sent);

        say_online.send_replace(false);
        assert!(!outbox.answer(&topic, Bytes::new(), Instant::now()).await);
        assert!(arrived.elapsed() > LONGEST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_a_connection_to_come_is_given_up() {
        let Link { outbox, online: say_online, .. } = link();
        drop(say_online);
        let begun = Instant::now();
        assert!(!outbox.answer(&answer(), Bytes::new(), begun).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
