//! Device-to-cloud messages of plugins, in a bounded queue.
//!
//! A message that the hub does not acknowledge promptly is written to the journal, and stays
//! there until it is acknowledged, even across restarts. Messages are the only records that
//! are not persisted before the plugin's request returns: a sync for each reading of a sensor
//! would wear out flash memory.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use plugin::{HostError, QueueMemory, TelemetrySink, readable};
use protocol::connection_string::DeviceConnectionString;
use protocol::properties::MessageProperties;
use protocol::topic::{DeviceTopic, MAX_TOPIC_BYTES};
use tracing::{error, info, warn};

use crate::config::TelemetryLimits;
use crate::connection::{Outbox, Receipt};
use crate::journal::{Journal, Mirrored, Persistent, RecordKind};
use crate::supervision::Supervisor;
use queue::MessageQueue;

mod queue;

/// The sender of plugins' messages.
pub(crate) struct Telemetry {
    identity: DeviceConnectionString,
    queue: Arc<Mirrored<MessageQueue>>,
    /// `None` if pending messages are lost on a restart.
    journal: Option<Arc<Journal>>,
}

impl Telemetry {
    /// Restores the messages in the journal, and starts a task that sends to `outbox`.
    pub(crate) fn new(
        identity: DeviceConnectionString,
        outbox: Outbox,
        limits: TelemetryLimits,
        journal: Option<Arc<Journal>>,
        supervisor: &Supervisor,
    ) -> Telemetry {
        let mut queue = MessageQueue::new(limits);
        let found = journal.as_deref().map(Mirrored::<MessageQueue>::found).unwrap_or_default();
        for (number, topic, body) in found {
            queue.restore(number, topic, body);
        }
        if !queue.is_empty() {
            info!(device = identity.client_id(), "messages of the last run wait for the hub");
        }
        let queue = Mirrored::new(queue, journal.as_deref());
        let send = send(Arc::clone(&queue), outbox, journal.clone());
        // The supervisor must not take the end of this task for a failure: `send` returns once
        // the connection is closed for good.
        let task = async move {
            send.await;
            std::future::pending::<()>().await;
        };
        tokio::spawn(supervisor.watch("telemetry", task));
        Telemetry { identity, queue, journal }
    }

    /// Counts the memory of the messages from now on. They use at most half of `memory`, so that
    /// reports and jobs are accepted while the queue is full.
    pub(crate) fn count_in(&self, memory: &QueueMemory) {
        self.queue.lock().count_in(memory.half());
    }

    /// Returns `true` if the hub has acknowledged all messages.
    pub(crate) fn is_sent(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// Returns the number of messages dropped since the start of the host.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.lock().dropped()
    }

    /// Returns the number of messages that the hub has not acknowledged.
    pub(crate) fn pending(&self) -> usize {
        self.queue.lock().len()
    }

    /// Checks a message and adds it to the queue.
    fn push(
        &self,
        plugin: &str,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> Result<(), HostError> {
        let mut all = MessageProperties::default();
        if !content_type.is_empty() {
            all = all.with(MessageProperties::CONTENT_TYPE, content_type);
        }
        for (name, value) in properties {
            if name.is_empty() || name.starts_with('$') {
                let reason = format!("property `{}` is reserved for the system", readable(&name));
                return Err(HostError::Invalid(reason));
            }
            all = all.with(name, value);
        }
        let topic = DeviceTopic::Telemetry {
            device: self.identity.device.clone(),
            module: self.identity.module.clone(),
            properties: all,
        };
        let bytes = topic.to_string().len();
        if bytes > MAX_TOPIC_BYTES {
            let reason = format!(
                "the topic with the properties has {bytes} bytes; at most {MAX_TOPIC_BYTES} are allowed"
            );
            return Err(HostError::TooLarge(reason));
        }
        let dropped = self.queue.lock().push(plugin, topic, body.into())?;
        // Logged for few of the messages, because an outage can last for days.
        if let Some(dropped) = dropped.filter(|dropped| dropped.is_power_of_two()) {
            warn!(plugin, dropped, "oldest messages dropped: the queue is full");
        }
        self.queue.wake.notify_one();
        if let Some(journal) = &self.journal {
            journal.nudge();
        }
        Ok(())
    }
}

/// Hands messages over to the connection, and removes those that the hub has acknowledged.
/// Returns once the connection is closed for good.
async fn send(queue: Arc<Mirrored<MessageQueue>>, outbox: Outbox, journal: Option<Arc<Journal>>) {
    let settle = |receipts: Vec<Receipt>| {
        let mut queue = queue.lock();
        for receipt in receipts {
            match receipt {
                Receipt::Acknowledged(number) => drop(queue.settled(number)),
                Receipt::SetAside(number) => {
                    let plugin = queue.settled(number).flatten();
                    error!(
                        plugin = plugin.as_deref(),
                        number, "message dropped: the hub does not accept it"
                    );
                }
            }
        }
        if let Some(journal) = journal.as_ref().filter(|_| queue.has_removals()) {
            journal.nudge();
        }
    };
    loop {
        loop {
            let next = queue.lock().next();
            let Some((number, topic, body)) = next else { break };
            let mut handing_over = std::pin::pin!(outbox.message(&topic, body, number));
            // Handing over waits for a connection. Receipts of the last connection are handled
            // meanwhile.
            let handed_over = loop {
                tokio::select! {
                    handed_over = &mut handing_over => break handed_over,
                    receipts = outbox.receipts().next() => settle(receipts),
                }
            };
            if handed_over.is_none() {
                return;
            }
        }
        let receipts = tokio::select! {
            () = queue.wake.notified() => continue,
            receipts = outbox.receipts().next() => receipts,
            () = outbox.closed() => return,
        };
        settle(receipts);
    }
}

/// Parses a record: the length of the topic, the topic and the body. Returns `None` if it is
/// corrupt.
fn read(key: &[u8], value: &[u8]) -> Option<(u64, DeviceTopic, Bytes)> {
    let (length, rest) = value.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    let (topic, body) = rest.split_at_checked(length)?;
    let topic = std::str::from_utf8(topic).ok()?.parse().ok()?;
    Some((u64::from_be_bytes(key.try_into().ok()?), topic, Bytes::copy_from_slice(body)))
}

/// Returns the persisted form of a message, as [`read`] parses it.
fn record(topic: &DeviceTopic, body: &[u8]) -> Vec<u8> {
    let topic = topic.to_string();
    let length = u32::try_from(topic.len()).expect("a topic is far shorter than 4 GiB");
    [&length.to_be_bytes(), topic.as_bytes(), body].concat()
}

impl Persistent for MessageQueue {
    const KIND: RecordKind = RecordKind::Message;
    type Record = (DeviceTopic, Bytes);
    type Found = (u64, DeviceTopic, Bytes);

    fn unsaved(&mut self) -> Vec<(Vec<u8>, Option<(DeviceTopic, Bytes)>)> {
        let unsaved = MessageQueue::unsaved(self).into_iter();
        unsaved.map(|(number, message)| (number.to_be_bytes().to_vec(), message)).collect()
    }

    fn saved(&mut self, written: bool) {
        MessageQueue::saved(self, written);
    }

    fn lost(&mut self) {
        MessageQueue::lost(self);
    }

    fn write((topic, body): &(DeviceTopic, Bytes)) -> Vec<u8> {
        record(topic, body)
    }

    fn read(key: &[u8], value: &[u8]) -> Option<(u64, DeviceTopic, Bytes)> {
        read(key, value)
    }
}

impl TelemetrySink for Telemetry {
    fn send<'a>(
        &'a self,
        plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move { self.push(plugin, body, content_type, properties) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::{Link, link};
    use crate::journal::tests::{journal, mutations};

    fn telemetry(link: &Link, journal: Journal) -> Telemetry {
        let identity = "HostName=h;DeviceId=d1;SharedAccessKey=a2V5".parse().unwrap();
        let journal = Some(Arc::new(journal));
        let limits = TelemetryLimits::default();
        Telemetry::new(identity, link.outbox.clone(), limits, journal, &Supervisor::new(None))
    }

    async fn send(telemetry: &Telemetry, body: &[u8]) {
        telemetry.send("p", body.to_vec(), String::new(), Vec::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_message_survives_restarts_until_the_hub_has_acknowledged_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = telemetry(&link(), journal(&directory));
        send(&first, b"21.5").await;
        first.journal.as_ref().unwrap().close().await;
        drop(first);

        let link = link();
        let second = telemetry(&link, journal(&directory));
        assert!(!second.is_sent());
        link.online.send_replace(true);
        link.outbox.receipts().push(Receipt::Acknowledged(0));
        while !second.is_sent() {
            tokio::task::yield_now().await;
        }
        second.journal.as_ref().unwrap().close().await;
        drop(second);

        assert!(telemetry(&link, journal(&directory)).is_sent());
    }

    #[tokio::test]
    async fn a_message_with_a_topic_too_long_for_mqtt_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let telemetry = telemetry(&link(), journal(&directory));
        // A topic encodes each space as three characters.
        let properties = vec![("a".to_owned(), " ".repeat(22_000))];
        let sent = telemetry.send("p", b"1".to_vec(), String::new(), properties).await;
        assert!(
            matches!(sent, Err(HostError::TooLarge(reason)) if reason.contains("65535 are allowed"))
        );
        assert!(telemetry.is_sent());
    }

    #[tokio::test]
    async fn an_acknowledged_message_is_removed_while_another_waits_for_a_connection() {
        let directory = tempfile::tempdir().unwrap();
        let link = link();
        let telemetry = telemetry(&link, journal(&directory));
        send(&telemetry, b"1").await;
        send(&telemetry, b"2").await;
        link.outbox.receipts().push(Receipt::Acknowledged(0));
        while telemetry.queue.lock().len() > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_record_round_trips_and_a_truncated_one_is_rejected() {
        let topic: DeviceTopic =
            "devices/d1/messages/events/a=b&%24.ct=text%2Fplain".parse().unwrap();
        let written = record(&topic, b"21.5");
        assert_eq!(read(&7_u64.to_be_bytes(), &written), Some((7, topic, "21.5".into())));
        for cut in 0..written.len() - 4 {
            assert_eq!(read(&7_u64.to_be_bytes(), &written[..cut]), None);
        }
        assert_eq!(read(b"short", &written), None);
    }

    #[test]
    fn a_corrupt_record_never_causes_a_panic() {
        let topic: DeviceTopic = "devices/d1/messages/events/a=b&%24.ct=text".parse().unwrap();
        let (mut queue, mut all) = (MessageQueue::new(TelemetryLimits::default()), 0);
        let (key, value) = (u64::MAX.to_be_bytes(), record(&topic, b"21.5"));
        for value in mutations(&value) {
            if let Some((number, topic, body)) = read(&key, &value) {
                queue.restore(number, topic, body);
                all += 1;
            }
        }
        assert_eq!(queue.len(), all);
        assert!(mutations(&key).filter(|key| read(key, &value).is_some()).count() >= 64);
    }
}
