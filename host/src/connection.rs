//! The MQTT connection to IoT Hub.
//!
//! Keeps one session alive: connects, subscribes, renews the SAS token before it expires or follows
//! changes of the device's certificate, and reconnects with exponential back-off, without a limit
//! on attempts. The rest of the host sees a stream of [`Incoming`] events and an [`Outbox`].
//!
//! This module knows nothing about plugins and never answers a method itself. It is the
//! only module that depends on `rumqttc`, and uses only its packets and codec: the client
//! of `rumqttc` closes the connection on a repeated acknowledgement, and cannot replace
//! one connection with another.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::id::RequestId;
use protocol::topic::DeviceTopic;
use rumqttc::{Packet, Publish, QoS};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) use answers::AnswerGuard;
use answers::Answers;
pub use certificate::CertificateError;
pub(crate) use certificate::{DeviceCertificate, LiveCertificate, RequiredName};
pub(crate) use client::tls;
pub(crate) use deliveries::Deliveries;
use driver::Driver;
pub(crate) use history::ConnectionHistory;
pub(crate) use incoming::{
    CredentialAnswer, Incoming, IncomingMessage, MalformedMethod, Method, TakenMessage,
};
pub(crate) use issued::{ChainRefusal, IssuedCertificate};
pub(crate) use options::{Dial, check_certificate, check_identity};
pub(crate) use options_error::OptionsError;
pub(crate) use provisioning::Provisioning;
pub use provisioning::ProvisioningFailure;
pub(crate) use receipts::{Receipt, Receipts};
use session::{Session, Suspicion};
use window::Window;

use crate::supervision::{Pulse, Supervisor};

mod address;
pub(crate) mod admission;
mod answers;
mod certificate;
mod client;
mod clock_step;
mod codec;
mod deliveries;
mod driver;
mod failure;
mod history;
mod incoming;
mod issued;
mod mqtt5;
mod options;
mod options_error;
mod provisioning;
mod receipts;
mod received;
mod renewal;
mod rivals;
mod session;
mod session_renewal;
mod socket;
mod window;
mod wire;

/// Decodes bytes and parses each PUBLISH packet as a connection does. Returns the number of
/// packets. For fuzzing only.
pub(crate) fn read_packets(bytes: &[u8]) -> usize {
    let (mut codec, mut bytes) = (codec::Packets::default(), bytes::BytesMut::from(bytes));
    let mut packets = 0;
    while let Ok(Some(packet)) = tokio_util::codec::Decoder::decode(&mut codec, &mut bytes) {
        packets += 1;
        if let Packet::Publish(publish) = packet {
            drop(incoming::parse(publish, 0));
        }
    }
    packets
}

/// The capacity of the message queue and of the request queue. A message waits while its queue
/// is full. A request is rejected.
const OUTBOX_PACKETS: usize = 256;

/// The capacity of the queue of events for the device loop.
const INBOX_EVENTS: usize = 256;

/// The maximum time for which a caller waits for an answer. It is the maximum response timeout
/// of a method in IoT Hub.
const MAX_ANSWER_WAIT: Duration = Duration::from_secs(300);

/// The device loop's handle to the connection.
pub(crate) struct Connection {
    incoming: mpsc::Receiver<Incoming>,
    outbox: Outbox,
    closing: CancellationToken,
    /// The driver and its pulse, until it is started.
    idle: Option<(Driver, Pulse)>,
    /// The task of the driver.
    driver: Option<JoinHandle<()>>,
    history: Arc<ConnectionHistory>,
}

/// A sender of packets to the hub. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<Outgoing>,
    requests: mpsc::Sender<OutgoingRequest>,
    taken: mpsc::Sender<TakenMessage>,
    answers: Answers,
    /// `true` while connected.
    online: watch::Receiver<bool>,
    receipts: Arc<Receipts>,
}

/// A message that is sent again until the hub has acknowledged it.
struct Outgoing {
    topic: String,
    body: Bytes,
    /// The number of the receipt that is added to the [`Receipts`] once the outcome is known.
    receipt: Option<u64>,
}

/// A request that is sent once. The hub answers it instead of acknowledging it.
struct OutgoingRequest {
    topic: String,
    body: Bytes,
    /// The request id, if the request changes the twin.
    change: Option<RequestId>,
}

impl Connection {
    /// Creates a connection, which [`Connection::start`] opens.
    pub(crate) fn new(dial: Dial, supervisor: &Supervisor) -> Connection {
        let (messages, messages_out) = mpsc::channel(OUTBOX_PACKETS);
        let (requests, requests_out) = mpsc::channel(OUTBOX_PACKETS);
        let (taken, taken_out) = mpsc::channel(OUTBOX_PACKETS);
        let (to_device, incoming) = mpsc::channel(INBOX_EVENTS);
        let (online_tx, online) = watch::channel(false);
        let (answers, receipts) = (Answers::default(), Arc::<Receipts>::default());
        let closing = CancellationToken::new();
        let history = Arc::new(ConnectionHistory::new(dial.to_string()));
        let pulse = supervisor.pulse("connection");
        let session = Session {
            history: Arc::clone(&history),
            pulse: pulse.clone(),
            to_device,
            messages: messages_out,
            requests: requests_out,
            taken: taken_out,
            online: online_tx,
            receipts: Arc::clone(&receipts),
            answers: answers.clone(),
            closing: closing.clone(),
            window: Window::default(),
            connection: 0,
            change: None,
            suspicion: Suspicion::None,
        };
        let idle = Some((Driver::new(dial, session), pulse));
        let outbox = Outbox { messages, requests, taken, answers, online, receipts };
        Connection { incoming, outbox, closing, idle, driver: None, history }
    }

    /// Starts connecting in the background, in the runtime of the caller. Attempts continue
    /// until the connection is closed.
    pub(crate) fn start(&mut self) {
        let idle = self.idle.take();
        self.driver = idle.map(|(driver, pulse)| tokio::spawn(pulse.over(driver.run())));
    }

    /// Returns a sender of packets on this connection.
    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Returns the state of the connection, for the operator.
    pub(crate) fn history(&self) -> Arc<ConnectionHistory> {
        Arc::clone(&self.history)
    }

    /// Waits for the next event. Never returns once the driver has ended. If it ended
    /// unexpectedly, the supervisor ends the process.
    pub(crate) async fn next(&mut self) -> Incoming {
        match self.incoming.recv().await {
            Some(incoming) => incoming,
            None => std::future::pending().await,
        }
    }

    /// Returns the next event if it has already arrived.
    pub(crate) fn come(&mut self) -> Option<Incoming> {
        self.incoming.try_recv().ok()
    }

    /// Sends the pending packets, disconnects and stops the driver. Takes at most a few seconds.
    pub(crate) async fn close(self) {
        self.closing.cancel();
        drop(self.incoming);
        if let Some(driver) = self.driver {
            // The supervisor has already reported a panic in the driver.
            driver.await.ok();
        }
    }
}

impl Outbox {
    /// Waits until the host is connected, then queues the answer to a method that arrived at
    /// `arrived`. Returns `false` if the caller gave up or the connection was closed for good
    /// before that.
    pub(crate) async fn answer(&self, topic: &DeviceTopic, body: Bytes, arrived: Instant) -> bool {
        let message = Outgoing { topic: topic.to_string(), body, receipt: None };
        // In the usual case the host is connected and the queue has capacity, so no timer is
        // needed.
        let connected = *self.online.borrow();
        if connected && let Ok(permit) = self.messages.try_reserve() {
            permit.send(message);
            return true;
        }
        let mut online = self.online.clone();
        let sent = timeout_at(arrived + MAX_ANSWER_WAIT, async {
            // An error means that the connection was closed for good.
            online.wait_for(|online| *online).await.ok()?;
            self.messages.send(message).await.ok()
        });
        sent.await.ok().flatten().is_some()
    }

    /// Waits until the host is connected, without a time limit, then queues a message. Its
    /// receipt is added to [`Outbox::receipts`] once the message is acknowledged or set aside.
    /// Returns `None` if the connection was closed for good.
    pub(crate) async fn message(
        &self,
        topic: &DeviceTopic,
        body: Bytes,
        receipt: u64,
    ) -> Option<()> {
        self.online.clone().wait_for(|online| *online).await.ok()?;
        let message = Outgoing { topic: topic.to_string(), body, receipt: Some(receipt) };
        self.messages.send(message).await.ok()
    }

    /// Returns the receipts of the messages sent with [`Outbox::message`].
    pub(crate) fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// Waits until the connection is closed for good. After that, nothing is sent or
    /// acknowledged.
    pub(crate) async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Queues a twin request, which the hub answers instead of acknowledging it. Returns `false`
    /// if the queue is full or the connection was closed.
    pub(crate) fn request(&self, topic: &DeviceTopic, body: Vec<u8>) -> bool {
        let change = match topic {
            DeviceTopic::TwinReport { rid } => Some(rid.clone()),
            _ => None,
        };
        let request = OutgoingRequest { topic: topic.to_string(), body: body.into(), change };
        self.requests.try_send(request).is_ok()
    }

    /// Acknowledges a cloud-to-device message. An acknowledgement that is lost repeats the message.
    pub(crate) fn acknowledge(&self, message: TakenMessage) {
        if message.id != 0 {
            self.taken.try_send(message).ok();
        }
    }

    /// Returns `true` while the host is connected.
    pub(crate) fn is_online(&self) -> bool {
        *self.online.borrow()
    }

    /// Counts an answer as in progress until the returned guard is dropped.
    pub(crate) fn begin_answer(&self) -> AnswerGuard {
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

    /// An outbox and the other ends of its channels. In production, the driver holds them.
    pub(crate) struct Link {
        pub(crate) outbox: Outbox,
        pub(crate) online: watch::Sender<bool>,
        /// The receivers of the packets, held to keep the channels open.
        _messages: mpsc::Receiver<Outgoing>,
        _requests: mpsc::Receiver<OutgoingRequest>,
        _taken: mpsc::Receiver<TakenMessage>,
    }

    pub(crate) fn link() -> Link {
        let (messages, _messages) = mpsc::channel(OUTBOX_PACKETS);
        let (requests, _requests) = mpsc::channel(OUTBOX_PACKETS);
        let (taken, _taken) = mpsc::channel(OUTBOX_PACKETS);
        let (online_tx, online) = watch::channel(false);
        let (answers, receipts) = (Answers::default(), Arc::default());
        let outbox = Outbox { messages, requests, taken, answers, online, receipts };
        Link { outbox, online: online_tx, _messages, _requests, _taken }
    }

    fn answer() -> DeviceTopic {
        DeviceTopic::MethodAnswer { status: 200, rid: "1".parse().unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_for_a_connection_until_its_caller_gives_up() {
        let Link { outbox, online: online_tx, .. } = &link();
        let arrived = Instant::now();
        let back = async {
            tokio::time::sleep(MAX_ANSWER_WAIT - Duration::from_secs(1)).await;
            online_tx.send_replace(true);
        };
        let topic = answer();
        let (sent, ()) = tokio::join!(outbox.answer(&topic, Bytes::new(), arrived), back);
        assert!(sent);

        online_tx.send_replace(false);
        assert!(!outbox.answer(&topic, Bytes::new(), Instant::now()).await);
        assert!(arrived.elapsed() > MAX_ANSWER_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_dropped_once_the_connection_is_closed_for_good() {
        let Link { outbox, online: online_tx, .. } = link();
        drop(online_tx);
        let begun = Instant::now();
        assert!(!outbox.answer(&answer(), Bytes::new(), begun).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
