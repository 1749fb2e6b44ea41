//! Messages at QoS 1 that an MQTT 5 device has not acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::mqtt5::CorrelationId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::mqtt5::{Mqtt5Outbound, Mqtt5Publish};

/// Maximum number of messages and of their bytes that outlive a connection. A session with
/// more of them ends, as in the broker of Azure Event Grid.
const MAX_KEPT: usize = 100;
const MAX_KEPT_BYTES: usize = 1024 * 1024;

/// The unacknowledged messages of a session.
pub(crate) struct InFlight {
    /// Permits for further messages, by the device's receive maximum.
    permits: Semaphore,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    messages: VecDeque<Unacknowledged>,
    last_id: u16,
}

struct Unacknowledged {
    message: Mqtt5Publish,
    expires: Instant,
}

impl InFlight {
    pub(super) fn new(receive_maximum: u16) -> InFlight {
        InFlight { permits: Semaphore::new(receive_maximum.into()), sent: Mutex::default() }
    }

    /// Waits until the device accepts a further message, and returns its packet. The message
    /// expires after `lifetime`. Returns `None` if the session has ended.
    pub(crate) async fn send(&self, message: Mqtt5Publish, lifetime: Duration) -> Option<Bytes> {
        self.permits.acquire().await.ok()?.forget();
        let mut sent = self.sent.lock();
        let id = sent.free_id();
        let message =
            Mqtt5Publish { id: Some(id), expiry: Some(whole_seconds(lifetime)), ..message };
        let packet = Mqtt5Outbound::Publish(&message).encode();
        sent.messages.push_back(Unacknowledged { message, expires: Instant::now() + lifetime });
        Some(packet)
    }

    /// Removes an acknowledged message. An unknown id is ignored.
    pub(crate) fn acknowledged(&self, id: u16) {
        let mut sent = self.sent.lock();
        let known = sent.messages.iter().position(|it| it.message.id == Some(id));
        if known.and_then(|index| sent.messages.remove(index)).is_some() {
            self.permits.add_permits(1);
        }
    }

    /// Removes the messages of a request that was given up.
    pub(crate) fn forget(&self, request_id: CorrelationId) {
        let mut sent = self.sent.lock();
        let before = sent.messages.len();
        sent.messages.retain(|it| it.message.correlation.as_deref() != Some(request_id.as_bytes()));
        self.permits.add_permits(before - sent.messages.len());
    }

    /// Moves the messages to a new connection of the session. Returns them, and the packets to
    /// send again. Messages that have expired or exceed the receive maximum are dropped.
    pub(super) fn resume(&self, receive_maximum: u16) -> (InFlight, Vec<Bytes>) {
        self.permits.close();
        let mut sent = std::mem::take(&mut *self.sent.lock());
        let now = Instant::now();
        sent.messages.retain(|it| it.expires > now);
        sent.messages.truncate(receive_maximum.into());
        for Unacknowledged { message, expires } in &mut sent.messages {
            message.duplicate = true;
            message.expiry = Some(whole_seconds(expires.duration_since(now)));
        }
        let packet = |it: &Unacknowledged| Mqtt5Outbound::Publish(&it.message).encode();
        let packets: Vec<_> = sent.messages.iter().map(packet).collect();
        let permits = usize::from(receive_maximum) - packets.len();
        (InFlight { permits: Semaphore::new(permits), sent: Mutex::new(sent) }, packets)
    }

    /// Returns `true` if the messages fit into a session without a connection.
    pub(super) fn can_be_kept(&self) -> bool {
        let sent = self.sent.lock();
        let bytes: usize = sent.messages.iter().map(|it| it.message.payload.len()).sum();
        sent.messages.len() <= MAX_KEPT && bytes <= MAX_KEPT_BYTES
    }
}

impl Sent {
    /// Returns an id that no unacknowledged message has. There is one, since the receive maximum
    /// is below the number of ids.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.messages.iter().any(|it| it.message.id == Some(self.last_id)) {
                return self.last_id;
            }
        }
    }
}

/// Returns the time in whole seconds, at least one.
fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Mqtt5Publish {
        Mqtt5Publish { topic: "ih/d1/dev/methods".to_owned(), ..Mqtt5Publish::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_an_acknowledgement_at_the_receive_maximum() {
        let in_flight = InFlight::new(1);
        let lifetime = Duration::from_secs(30);
        assert!(in_flight.send(message(), lifetime).await.is_some());
        let second = tokio::time::timeout(lifetime, in_flight.send(message(), lifetime));
        assert!(second.await.is_err());
        in_flight.acknowledged(7);
        in_flight.acknowledged(1);
        in_flight.acknowledged(1);
        assert!(in_flight.send(message(), lifetime).await.is_some());
        let third = tokio::time::timeout(lifetime, in_flight.send(message(), lifetime));
        assert!(third.await.is_err(), "a repeated acknowledgement counts once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_resumed_session_repeats_messages_with_the_rest_of_their_time() {
        let in_flight = InFlight::new(10);
        for seconds in [5, 30] {
            in_flight.send(message(), Duration::from_secs(seconds)).await.unwrap();
        }
        tokio::time::advance(Duration::from_millis(10_200)).await;
        let (resumed, packets) = in_flight.resume(10);
        let again = Mqtt5Publish { id: Some(2), duplicate: true, expiry: Some(20), ..message() };
        assert_eq!(packets, [Mqtt5Outbound::Publish(&again).encode()]);
        assert!(in_flight.send(message(), Duration::from_secs(1)).await.is_none());
        assert!(resumed.send(message(), Duration::from_secs(1)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_of_a_request_that_was_given_up_is_not_repeated() {
        let (in_flight, lifetime) = (InFlight::new(2), Duration::from_secs(30));
        for id in [[1; 16], [2; 16]] {
            let correlation = Some(Bytes::copy_from_slice(&id));
            in_flight.send(Mqtt5Publish { correlation, ..message() }, lifetime).await.unwrap();
        }
        in_flight.forget([1; 16].into());
        assert!(in_flight.send(message(), lifetime).await.is_some(), "its place is free");
        assert_eq!(in_flight.resume(2).1.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_with_too_many_messages_is_not_kept() {
        let in_flight = InFlight::new(1000);
        for _ in 0..MAX_KEPT {
            in_flight.send(message(), Duration::from_secs(30)).await.unwrap();
        }
        assert!(in_flight.can_be_kept());
        in_flight.send(message(), Duration::from_secs(30)).await.unwrap();
        assert!(!in_flight.can_be_kept());
    }
}
