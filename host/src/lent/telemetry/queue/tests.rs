//! Tests of the queue of messages.

use super::*;

fn topic() -> DeviceTopic {
    let device = "d1".parse().unwrap();
    DeviceTopic::Telemetry { device, module: None, properties: Default::default() }
}

fn queue(messages: usize, when_full: WhenFull) -> MessageQueue {
    MessageQueue::new(TelemetryLimits { messages, bytes: 10_000, when_full })
}

fn push(queue: &mut MessageQueue, body: &'static str) -> Result<Option<u64>, HostError> {
    queue.push("p", topic(), Bytes::from_static(body.as_bytes()))
}

fn next(queue: &mut MessageQueue) -> Option<(u64, Bytes)> {
    queue.next().map(|(number, _, body)| (number, body))
}

fn unsaved(queue: &mut MessageQueue) -> Vec<(u64, bool)> {
    queue.unsaved().into_iter().map(|(number, it)| (number, it.is_some())).collect()
}

#[test]
fn messages_are_sent_in_order_and_removed_once_acknowledged() {
    let mut queue = queue(10, WhenFull::Refuse);
    push(&mut queue, "a").unwrap();
    push(&mut queue, "b").unwrap();
    assert_eq!(next(&mut queue).unwrap(), (0, "a".into()));
    assert_eq!(next(&mut queue).unwrap(), (1, "b".into()));
    assert_eq!(next(&mut queue), None);

    queue.settled(0);
    assert!(!queue.is_empty());
    queue.settled(1);
    assert!(queue.is_empty());
    assert_eq!(queue.bytes, 0);
}

#[test]
fn a_repeated_acknowledgement_removes_no_other_message() {
    let mut queue = queue(10, WhenFull::Refuse);
    for body in ["a", "b", "c"] {
        push(&mut queue, body).unwrap();
    }
    next(&mut queue).unwrap();
    next(&mut queue).unwrap();

    queue.settled(1);
    queue.settled(1);
    // Not handed over, so it cannot be acknowledged.
    queue.settled(2);
    assert_eq!(unsaved(&mut queue), [(0, true), (2, true)]);
    assert_eq!(next(&mut queue).unwrap(), (2, "c".into()));
}

#[test]
fn a_message_that_is_acknowledged_promptly_is_never_persisted() {
    let mut queue = queue(10, WhenFull::Refuse);
    push(&mut queue, "a").unwrap();
    let (number, _) = next(&mut queue).unwrap();
    queue.settled(number);
    assert!(unsaved(&mut queue).is_empty());
}

#[test]
fn the_record_of_an_acknowledged_message_is_removed() {
    let mut queue = queue(10, WhenFull::Refuse);
    push(&mut queue, "a").unwrap();
    assert_eq!(unsaved(&mut queue), [(0, true)]);
    queue.saved(false);
    assert_eq!(unsaved(&mut queue), [(0, true)]);
    let (number, _) = next(&mut queue).unwrap();
    // Acknowledged while its write is in flight.
    queue.settled(number);
    queue.saved(true);
    assert_eq!(unsaved(&mut queue), [(0, false)]);
    queue.saved(true);
    assert!(!queue.has_removals());
}

#[test]
fn the_oldest_waiting_message_is_dropped_and_counted() {
    let mut queue = queue(2, WhenFull::DropOldest);
    push(&mut queue, "handed over").unwrap();
    next(&mut queue).unwrap();
    push(&mut queue, "oldest").unwrap();
    assert_eq!(push(&mut queue, "newest"), Ok(Some(1)));
    assert_eq!(next(&mut queue).unwrap().1, "newest");
    assert!(matches!(push(&mut queue, "rejected"), Err(HostError::QuotaExceeded(_))));
}

fn push_of(queue: &mut MessageQueue, plugin: &str) -> Result<Option<u64>, HostError> {
    queue.push(plugin, topic(), Bytes::from_static(b"x"))
}

fn waiting(queue: &MessageQueue, plugin: &str) -> usize {
    queue.messages.iter().filter(|message| message.plugin.as_deref() == Some(plugin)).count()
}

#[test]
fn a_plugin_that_floods_the_queue_loses_only_its_own_messages() {
    let mut queue = queue(100, WhenFull::DropOldest);
    for _ in 0..10 {
        push_of(&mut queue, "quiet").unwrap();
    }
    for _ in 0..1000 {
        push_of(&mut queue, "loud").unwrap();
    }
    assert_eq!((waiting(&queue, "quiet"), waiting(&queue, "loud")), (10, 90));
    for _ in 0..10 {
        push_of(&mut queue, "quiet").unwrap();
    }
    assert_eq!((waiting(&queue, "quiet"), waiting(&queue, "loud")), (20, 80));
}

#[test]
fn plugins_that_fill_a_refusing_queue_leave_capacity_for_others() {
    let mut queue = queue(100, WhenFull::Refuse);
    for plugin in ["loud", "louder"] {
        while push_of(&mut queue, plugin).is_ok() {}
    }
    assert!(waiting(&queue, "loud") > 70, "{}", waiting(&queue, "loud"));
    assert_eq!(push_of(&mut queue, "quiet"), Ok(None));
}

#[test]
fn a_full_queue_can_refuse_new_messages() {
    let mut queue = queue(1, WhenFull::Refuse);
    push(&mut queue, "a").unwrap();
    push(&mut queue, "b").unwrap_err();
    assert_eq!(next(&mut queue).unwrap().1, "a");
}

#[test]
fn the_size_of_all_messages_is_limited() {
    let mut queue = queue(10, WhenFull::DropOldest);
    let large = || Bytes::from(vec![b'x'; 6_000]);
    queue.push("p", topic(), large()).unwrap();
    assert_eq!(queue.push("p", topic(), large()), Ok(Some(1)));
    queue.push("p", topic(), Bytes::from(vec![b'x'; 11_000])).unwrap_err();
    assert!(!queue.is_empty());
}

#[test]
fn all_messages_together_occupy_at_most_an_eighth_of_the_memory_budget() {
    const BUDGET: usize = 8 * 1024 * 1024;
    let engine = crate::lent::size::tests::engine(BUDGET);
    let mut queue = MessageQueue::new(TelemetryLimits::default());
    let properties = (0..1000).map(|_| "a=b").collect::<Vec<_>>().join("&");
    let topic = || format!("devices/d1/messages/events/{properties}").parse().unwrap();
    queue.push("p", topic(), Bytes::new()).unwrap();
    queue.count_in(engine.queue_memory().half());
    assert!(engine.memory_in_use() > 100_000);

    // The text of these messages is within the limits of the queue, and their memory is not.
    let mut dropped = 0;
    for _ in 0..100 {
        dropped = queue.push("p", topic(), Bytes::new()).unwrap().unwrap_or(dropped);
        assert!(engine.memory_in_use() <= BUDGET / 8);
    }
    assert!(dropped > 80 && !queue.is_empty(), "{dropped}");
    queue.limits.when_full = WhenFull::Refuse;
    let refused = queue.push("p", topic(), Bytes::new());
    assert!(matches!(refused, Err(HostError::QuotaExceeded(reason)) if reason.contains("memory")));

    while let Some((number, _, _)) = queue.next() {
        queue.settled(number);
    }
    assert_eq!(engine.memory_in_use(), 0);
}
