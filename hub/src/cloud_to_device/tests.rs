//! Tests of queues and feedback without connections.

use protocol::error::ErrorCode;
use protocol::properties::MessageProperties;
use tokio::time::advance;

use super::*;
use crate::state::{IfMatch, Owner};

const SERIAL: u64 = 1;

struct Rig {
    messages: CloudToDevice,
    device: DeviceId,
}

impl Rig {
    fn new() -> Rig {
        let state = State::open(None, vec!["localhost".into()]).unwrap();
        let device: DeviceId = "d1".parse().unwrap();
        state.create_device(&device).unwrap();
        Rig { messages: CloudToDevice::new(state), device }
    }

    fn send(&self, properties: &[(&str, &str)]) -> Result<String, HubError> {
        let with = |bag: MessageProperties, (name, value): &(&str, &str)| bag.with(*name, *value);
        let properties = properties.iter().fold(MessageProperties::default(), with);
        let message = HttpMessage { properties, body: b"hi".to_vec() };
        self.messages.send(&self.device, message, now_ms())
    }

    fn attach(&self, serial: u64, clean: bool) {
        self.messages.attach(&self.device, serial, clean);
    }

    fn take(&self, serial: u64) -> Option<Delivery> {
        self.take_at(serial, now_ms())
    }

    fn take_at(&self, serial: u64, now_ms: u64) -> Option<Delivery> {
        match self.messages.take(&self.device, serial, now_ms) {
            Taken::Delivery(delivery) => Some(delivery),
            Taken::Nothing(_) => None,
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let Some((lock, records)) = self.messages.feedback().receive() else { return Vec::new() };
        self.messages.feedback().complete(&lock).unwrap();
        records.iter().map(|record| record.status_code).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_delivered_again_after_its_lock_with_the_same_packet_id() {
    let rig = Rig::new();
    let id = rig.send(&[("$.mid", "m1"), ("iothub-ack", "full")]).unwrap();
    assert_eq!(id, "m1");
    rig.attach(SERIAL, false);
    let first = rig.take(SERIAL).unwrap();
    assert!(!first.is_duplicate);
    assert!(rig.take(SERIAL).is_none());
    advance(LOCK_TIME).await;
    let again = rig.messages.next(&rig.device, SERIAL).await;
    assert_eq!((again.packet, again.is_duplicate), (first.packet, true));
    assert_eq!(again.message.deliveries, 0, "only an abandoned delivery counts");
    // An acknowledgement of an earlier connection has no effect.
    rig.messages.acknowledged(&rig.device, SERIAL + 1, first.packet);
    assert!(rig.outcomes().is_empty());
    rig.messages.acknowledged(&rig.device, SERIAL, first.packet);
    assert_eq!(rig.outcomes(), [Outcome::Success]);
    advance(LOCK_TIME).await;
    assert!(rig.take(SERIAL).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_gets_unacknowledged_messages_at_once() {
    let rig = Rig::new();
    rig.send(&[]).unwrap();
    rig.attach(SERIAL, false);
    let first = rig.take(SERIAL).unwrap();
    rig.messages.detach(&rig.device, SERIAL);
    assert!(rig.take(SERIAL).is_none(), "an ended session gets nothing");
    rig.attach(2, false);
    let again = rig.take(2).unwrap();
    assert_eq!((again.packet, again.is_duplicate), (first.packet, true));
    // A clean session has never seen the message.
    rig.attach(3, true);
    assert!(!rig.take(3).unwrap().is_duplicate);
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_is_not_delivered_and_frees_its_place() {
    let rig = Rig::new();
    let soon = (now_ms() + 5_000).to_string();
    rig.send(&[("$.exp", &soon), ("iothub-ack", "negative")]).unwrap();
    rig.send(&[("$.mid", "m2")]).unwrap();
    rig.attach(SERIAL, false);
    let delivered = rig.take_at(SERIAL, now_ms() + 10_000).unwrap();
    assert_eq!(delivered.message.properties.get("$.mid"), Some("m2"));
    assert_eq!(rig.outcomes(), [Outcome::Expired]);
    for wrong in [now_ms() - 1, now_ms() + MAX_LIFETIME_MS + 60_000] {
        let refused = rig.send(&[("$.exp", &wrong.to_string())]).unwrap_err();
        assert_eq!(refused.message, "iothub-expiry: not within the next 2 days");
    }
    let refused = rig.send(&[("$.exp", "tomorrow")]).unwrap_err();
    let reason = "iothub-expiry: `tomorrow` is not a timestamp such as 2030-01-01T00:00:00Z";
    assert_eq!(refused.message, reason);
}

const MAX_LIFETIME_MS: u64 = protocol::cloud_to_device::MAX_LIFETIME.as_millis() as u64;

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_messages_until_it_is_purged() {
    let rig = Rig::new();
    for _ in 0..50 {
        rig.send(&[("iothub-ack", "full")]).unwrap();
    }
    let refused = rig.send(&[]).unwrap_err();
    assert_eq!(refused.code, ErrorCode::DeviceMaximumQueueDepthExceeded);
    assert_eq!(rig.messages.purge(&rig.device).unwrap(), 50);
    assert_eq!(rig.messages.purge(&rig.device).unwrap(), 0);
    assert_eq!(rig.outcomes(), [Outcome::Purged; 50]);
    rig.send(&[]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_large_or_has_a_wrong_acknowledgement_is_refused() {
    let rig = Rig::new();
    let large = HttpMessage { body: vec![0; 64 * 1024 + 1], ..HttpMessage::default() };
    let refused = rig.messages.send(&rig.device, large, now_ms()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::MessageTooLarge);
    // Each of these characters takes six bytes in a topic.
    let wide = "é".repeat(12_000);
    assert_eq!(rig.send(&[("a", &wide)]).unwrap_err().code, ErrorCode::MessageTooLarge);
    let refused = rig.send(&[("iothub-ack", "some")]).unwrap_err();
    assert!(refused.message.starts_with("iothub-ack: `some` is not one of"), "{}", refused.message);
    let unknown = "nobody".parse().unwrap();
    let refused = rig.messages.send(&unknown, HttpMessage::default(), now_ms()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::DeviceNotFound);
}

#[tokio::test(start_paused = true)]
async fn feedback_is_received_again_until_it_is_completed() {
    let rig = Rig::new();
    rig.send(&[("$.mid", "m1"), ("iothub-ack", "full")]).unwrap();
    rig.messages.purge(&rig.device).unwrap();
    let feedback = rig.messages.feedback();
    let (lock, records) = feedback.receive().unwrap();
    assert_eq!(records[0].original_message_id, "m1");
    assert_eq!(records[0].device_id, "d1");
    assert!(feedback.receive().is_none(), "the records are locked");
    feedback.abandon(&lock).unwrap();
    let (lock, again) = feedback.receive().unwrap();
    assert_eq!(again, records);
    advance(LOCK_TIME).await;
    assert_eq!(feedback.complete(&lock).unwrap_err().code, ErrorCode::DeviceMessageLockLost);
    let (lock, _) = feedback.receive().unwrap();
    feedback.complete(&lock).unwrap();
    advance(LOCK_TIME).await;
    assert!(feedback.receive().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_request_has_locked_is_completed_rejected_or_abandoned() {
    let rig = Rig::new();
    let receive = || rig.messages.receive(&rig.device, LOCK_TIME, now_ms()).unwrap();
    let settle = |lock: &str, how| rig.messages.settle(&rig.device, lock, how);
    rig.send(&[("$.mid", "m1"), ("iothub-ack", "full")]).unwrap();
    let (lock, message) = receive().unwrap();
    assert_eq!(message.deliveries, 0);
    assert!(receive().is_none(), "the message is locked");
    rig.attach(SERIAL, false);
    assert!(rig.take(SERIAL).is_none(), "for sessions too");
    settle(&lock, Settlement::Abandon).unwrap();
    assert_eq!(
        settle(&lock, Settlement::Complete).unwrap_err().code,
        ErrorCode::DeviceMessageLockLost
    );
    let (lock, message) = receive().unwrap();
    assert_eq!(message.deliveries, 1);
    settle(&lock, Settlement::Reject).unwrap();
    assert_eq!(rig.outcomes(), [Outcome::Rejected]);

    rig.send(&[("iothub-ack", "full")]).unwrap();
    let (lock, _) = receive().unwrap();
    advance(LOCK_TIME).await;
    assert!(settle(&lock, Settlement::Complete).is_err(), "the lock has ended");
    for _ in 0..10 {
        let (lock, _) = receive().unwrap();
        settle(&lock, Settlement::Abandon).unwrap();
    }
    assert!(receive().is_none());
    assert_eq!(rig.outcomes(), [Outcome::DeliveryCountExceeded]);
}

#[test]
fn requests_for_unknown_or_deleted_devices_leave_nothing_behind() {
    let rig = Rig::new();
    let unknown: DeviceId = "d2".parse().unwrap();
    let found = rig.messages.receive(&unknown, LOCK_TIME, now_ms());
    assert_eq!(found.unwrap_err().code, ErrorCode::DeviceNotFound);
    rig.messages.purge(&unknown).unwrap_err();
    assert!(rig.messages.mailboxes.lock().is_empty());
    rig.attach(SERIAL, false);
    assert_eq!(rig.messages.mailboxes.lock().len(), 1);
    let owner = Owner { device: rig.device.clone(), module: None };
    rig.messages.state.delete(&owner, &IfMatch::Any).unwrap();
    rig.messages.detach(&rig.device, SERIAL);
    assert!(rig.messages.mailboxes.lock().is_empty());
}
