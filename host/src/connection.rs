//! The connection to IoT Hub: MQTT in, MQTT out.
//!
//! Keeps one session alive. It connects, subscribes, renews the SAS token before
//! it expires and comes back after a loss, waiting longer each time, without
//! end. The rest of the host sees a stream of [`Incoming`] and an [`Outbox`].
//!
//! It knows nothing of plugins and never answers a method by itself. Everything
//! that depends on `rumqttc` is in this room.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::id::{MethodName, RequestId};
use protocol::topic::DeviceTopic;
use protocol::twin::DesiredPatch;
use rumqttc::{AsyncClient, QoS};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use driver::{Driver, Links};
pub(crate) use options::{Dial, OptionsError, tls};

mod driver;
mod failure;
mod options;
mod rivals;

/// Packets that wait to be sent; more make their senders wait.
const OUTBOX_PACKETS: usize = 256;

/// What has come in and waits for the device's loop.
const INBOX_EVENTS: usize = 256;

/// After this nobody waits for an answer: the hub's own wait is 300 s.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What comes from the hub.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Connected, and every subscription is granted.
    Connected,
    /// No longer connected.
    Lost,
    /// A method to be answered.
    Method(Method),
    /// The answer to a twin request of this device.
    TwinAnswer { status: u16, rid: RequestId, version: Option<u64>, body: Bytes },
    /// The desired properties have changed.
    Desired(DesiredPatch),
}

/// A method as it arrived.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: MethodName,
    pub(crate) rid: RequestId,
    pub(crate) payload: Bytes,
    /// MQTT says that it may have been delivered before.
    pub(crate) redelivered: bool,
    /// The number of the connection that it came on.
    pub(crate) connection: u64,
    /// When it came.
    pub(crate) arrived: Instant,
}

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
    client: AsyncClient,
    under_way: Arc<watch::Sender<usize>>,
    /// Whether there is a connection, or the host has closed it for good.
    online: watch::Receiver<bool>,
    /// How many publishes that the hub acknowledges were handed over, and how many
    /// it has acknowledged: it does so in their order.
    handed: Arc<Mutex<u64>>,
    acknowledged: watch::Receiver<u64>,
}

/// Held while an answer is being made: a token is not renewed meanwhile, if
/// that can wait.
pub(crate) struct UnderWay(Arc<watch::Sender<usize>>);

impl Connection {
    /// Begins to connect, and goes on for as long as it takes.
    pub(crate) fn open(dial: Dial) -> Connection {
        let (client, event_loop) = AsyncClient::new(dial.mqtt_options(), OUTBOX_PACKETS);
        let (to_device, incoming) = mpsc::channel(INBOX_EVENTS);
        let under_way = Arc::new(watch::Sender::new(0));
        let closing = CancellationToken::new();
        let (say_online, online) = watch::channel(false);
        let (say_acknowledged, acknowledged) = watch::channel(0);
        let driver = Driver::new(
            dial,
            event_loop,
            client.clone(),
            Links {
                to_device,
                online: say_online,
                acknowledged: say_acknowledged,
                under_way: under_way.subscribe(),
                closing: closing.clone(),
            },
        );
        let handed = Arc::default();
        let outbox = Outbox { client, under_way, online, handed, acknowledged };
        Connection { incoming, outbox, closing, driver: tokio::spawn(driver.run()) }
    }

    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// What comes next; `None` after the connection was closed.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Sends what waits, says goodbye and ends. Takes some seconds at most.
    pub(crate) async fn close(self) {
        self.closing.cancel();
        drop(self.incoming);
        // A panic in the driver has been printed where it happened.
        self.driver.await.ok();
    }
}

impl Outbox {
    /// Sends the answer to a method that came at `arrived`, when there is a
    /// connection; says whether there was one before nobody waits any more.
    pub(crate) async fn answer(&self, topic: &DeviceTopic, body: Bytes, arrived: Instant) -> bool {
        let mut online = self.online.clone();
        let sent = timeout_at(arrived + LONGEST_WAIT, async {
            // After the end there is none any more.
            online.wait_for(|online| *online).await.ok()?;
            self.publish(topic, body).await
        });
        sent.await.ok().flatten().is_some()
    }

    /// Sends a message when there is a connection, however long that takes; gives
    /// its place among all that [`Outbox::acknowledged`] counts. `None` after the
    /// end.
    pub(crate) async fn message(&self, topic: &DeviceTopic, body: Bytes) -> Option<u64> {
        self.online.clone().wait_for(|online| *online).await.ok()?;
        self.publish(topic, body).await
    }

    /// How many of what was sent the hub has acknowledged.
    pub(crate) fn acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.clone()
    }

    /// Waits while there is no room.
    async fn publish(&self, topic: &DeviceTopic, body: Bytes) -> Option<u64> {
        // Held while it is handed over, so that the count has the same order.
        let mut handed = self.handed.lock().await;
        let send = self.client.publish_bytes(topic.to_string(), QoS::AtLeastOnce, false, body);
        send.await.ok()?;
        *handed += 1;
        Some(*handed)
    }

    /// Sends a twin request, which the hub answers, so that it needs no
    /// acknowledgement. Says whether there was room.
    pub(crate) fn request(&self, topic: &DeviceTopic, body: Vec<u8>) -> bool {
        self.client.try_publish(topic.to_string(), QoS::AtMostOnce, false, body).is_ok()
    }

    pub(crate) fn under_way(&self) -> UnderWay {
        self.under_way.send_modify(|count| *count += 1);
        UnderWay(Arc::clone(&self.under_way))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An outbox, and what a driver would hold: the test says whether there is a
    /// connection, and what the hub has acknowledged.
    pub(crate) struct Link {
        pub(crate) outbox: Outbox,
        pub(crate) online: watch::Sender<bool>,
        pub(crate) acknowledged: watch::Sender<u64>,
        /// Takes what is sent.
        _event_loop: rumqttc::EventLoop,
    }

    pub(crate) fn link() -> Link {
        let (client, event_loop) =
            AsyncClient::new(rumqttc::MqttOptions::new("d1", "localhost", 1), OUTBOX_PACKETS);
        let (say_online, online) = watch::channel(false);
        let (say_acknowledged, acknowledged) = watch::channel(0);
        let (under_way, handed) = (Arc::default(), Arc::default());
        Link {
            outbox: Outbox { client, under_way, online, handed, acknowledged },
            online: say_online,
            acknowledged: say_acknowledged,
            _event_loop: event_loop,
        }
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
