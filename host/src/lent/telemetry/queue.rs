//! The queue of messages that the hub has not acknowledged, the oldest first. Messages that
//! were handed to the connection come before waiting ones.
//!
//! This is a state machine without I/O: the caller hands over the messages that
//! [`MessageQueue::next`] returns, reports their outcomes, and persists the records that
//! [`MessageQueue::unsaved`] returns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use plugin::HostError;
use protocol::topic::DeviceTopic;

use crate::config::{TelemetryLimits, WhenFull};

/// The maximum number of messages that were handed over and not acknowledged. It is high enough
/// for a hub with a long round trip, and low enough to hold a second copy of each in memory.
const MAX_HANDED_OVER: usize = 64;

/// The limit of one plugin's messages, as a multiple of the free capacity, if new messages are
/// refused when the queue is full.
const SHARE: usize = 4;

/// The progress of a message's record to the journal.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Saved {
    No,
    InFlight,
    Yes,
}

/// A message in the queue.
#[derive(Debug)]
struct Message {
    /// The position in the order of all messages, and the key of the record.
    number: u64,
    /// The plugin that sent it. `None` if an earlier run of the host accepted it.
    plugin: Option<Arc<str>>,
    topic: DeviceTopic,
    body: Bytes,
    bytes: usize,
    saved: Saved,
}

/// The messages of all plugins.
pub(super) struct MessageQueue {
    limits: TelemetryLimits,
    messages: VecDeque<Message>,
    /// The number of messages at the front that were handed over.
    handed_over: usize,
    /// The size of all messages, in bytes.
    bytes: usize,
    next_number: u64,
    /// The numbers of the records to remove; `true` while the removal is in flight.
    to_remove: BTreeMap<u64, bool>,
    /// The number of messages dropped since the start of the host.
    dropped: u64,
}

impl MessageQueue {
    pub(super) fn new(limits: TelemetryLimits) -> MessageQueue {
        MessageQueue {
            limits,
            messages: VecDeque::new(),
            handed_over: 0,
            bytes: 0,
            next_number: 0,
            to_remove: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// Adds a message found in the journal at the start. The caller passes them in the order of
    /// their numbers.
    pub(super) fn restore(&mut self, number: u64, topic: DeviceTopic, body: Bytes) {
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.append(Message::new(number, topic, body, Saved::Yes));
    }

    /// Adds a message. If that dropped others, returns the total number of dropped messages.
    pub(super) fn push(
        &mut self,
        plugin: &str,
        topic: DeviceTopic,
        body: Bytes,
    ) -> Result<Option<u64>, HostError> {
        let mut message = Message::new(self.next_number, topic, body, Saved::No);
        message.plugin = Some(plugin.into());
        let dropped = self.dropped;
        if message.bytes > self.limits.bytes {
            let (bytes, max_bytes) = (message.bytes, self.limits.bytes);
            let reason = format!("message has {bytes} bytes; at most {max_bytes} are allowed");
            return Err(HostError::TooLarge(reason));
        }
        if self.limits.when_full == WhenFull::Refuse && !self.is_within_share(&message) {
            let reason = "this plugin already uses its share of the queue".to_owned();
            return Err(HostError::QuotaExceeded(reason));
        }
        while self.messages.len() >= self.limits.messages
            || self.bytes + message.bytes > self.limits.bytes
        {
            let oldest = match self.limits.when_full {
                WhenFull::DropOldest => self.position_to_drop(&message),
                WhenFull::Refuse => None,
            };
            let Some(oldest) = oldest.and_then(|at| self.messages.remove(at)) else {
                let reason = format!(
                    "{} messages with {} bytes already wait for the hub",
                    self.messages.len(),
                    self.bytes
                );
                return Err(HostError::QuotaExceeded(reason));
            };
            self.removed(&oldest);
            self.dropped += 1;
        }
        self.next_number += 1;
        self.append(message);
        Ok((self.dropped > dropped).then_some(self.dropped))
    }

    /// Returns the position of the message to drop for a new one: the oldest waiting message of
    /// the plugin that uses most of the exhausted limit, the new message included. A plugin that
    /// floods the queue therefore only loses its own messages. Messages that were handed over
    /// are kept.
    fn position_to_drop(&self, new: &Message) -> Option<usize> {
        let by_bytes = self.messages.len() < self.limits.messages;
        let weight = |message: &Message| if by_bytes { message.bytes } else { 1 };
        let mut usage = BTreeMap::from([(new.plugin.as_deref(), weight(new))]);
        for message in self.messages.range(self.handed_over..) {
            *usage.entry(message.plugin.as_deref()).or_default() += weight(message);
        }
        let new_usage = usage[&new.plugin.as_deref()];
        let (largest, max_usage) = usage.into_iter().max_by_key(|(_, used)| *used)?;
        let victim = if new_usage >= max_usage { new.plugin.as_deref() } else { largest };
        let mut waiting = self.messages.iter().enumerate().skip(self.handed_over);
        waiting.find(|(_, message)| message.plugin.as_deref() == victim).map(|(at, _)| at)
    }

    /// Returns `true` if a new message leaves capacity for other plugins: the messages of a
    /// plugin use at most [`SHARE`] times the free capacity. A single plugin can therefore use
    /// four fifths of the queue, and even several plugins that flood it leave some capacity.
    fn is_within_share(&self, new: &Message) -> bool {
        let same_plugin = self.messages.iter().filter(|message| message.plugin == new.plugin);
        let (messages, bytes) = same_plugin
            .fold((0, 0), |(messages, bytes), message| (messages + 1, bytes + message.bytes));
        messages <= SHARE * self.limits.messages.saturating_sub(self.messages.len())
            && bytes <= SHARE * self.limits.bytes.saturating_sub(self.bytes)
    }

    fn append(&mut self, message: Message) {
        self.bytes += message.bytes;
        self.messages.push_back(message);
    }

    /// Returns the next message to hand over, and counts it as handed over.
    pub(super) fn next(&mut self) -> Option<(u64, DeviceTopic, Bytes)> {
        if self.handed_over >= MAX_HANDED_OVER {
            return None;
        }
        let message = self.messages.get(self.handed_over)?;
        self.handed_over += 1;
        Some((message.number, message.topic.clone(), message.body.clone()))
    }

    /// Removes a message that was handed over and will not be sent again. Returns its plugin, or
    /// `Some(None)` if an earlier run of the host accepted it. Returns `None` if no such message
    /// was handed over.
    pub(super) fn settled(&mut self, number: u64) -> Option<Option<Arc<str>>> {
        let mut handed_over = self.messages.iter().take(self.handed_over);
        let at = handed_over.position(|message| message.number == number)?;
        let message = self.messages.remove(at)?;
        self.handed_over -= 1;
        self.removed(&message);
        Some(message.plugin)
    }

    /// Accounts for a removed message, and schedules the removal of its record.
    fn removed(&mut self, message: &Message) {
        self.bytes -= message.bytes;
        if message.saved != Saved::No {
            self.to_remove.insert(message.number, false);
        }
    }

    /// Returns `true` if the hub has acknowledged all messages.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns the number of messages that the hub has not acknowledged.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns `true` if a record has to be removed from the journal.
    pub(super) fn has_removals(&self) -> bool {
        !self.to_remove.is_empty()
    }

    /// Returns the entries not yet persisted, with `None` for a removed message. They count as in
    /// flight from then on.
    pub(super) fn unsaved(&mut self) -> Vec<(u64, Option<(DeviceTopic, Bytes)>)> {
        let new = self.messages.iter_mut().filter(|message| message.saved == Saved::No);
        let mut unsaved: Vec<_> = new
            .map(|message| {
                message.saved = Saved::InFlight;
                (message.number, Some((message.topic.clone(), message.body.clone())))
            })
            .collect();
        for (number, in_flight) in &mut self.to_remove {
            *in_flight = true;
            unsaved.push((*number, None));
        }
        unsaved
    }

    /// Records the outcome of the write of the entries in flight.
    pub(super) fn saved(&mut self, written: bool) {
        let in_flight = self.messages.iter_mut().filter(|it| it.saved == Saved::InFlight);
        in_flight.for_each(|it| it.saved = if written { Saved::Yes } else { Saved::No });
        if written {
            self.to_remove.retain(|_, in_flight| !*in_flight);
        }
    }
}

impl MessageQueue {
    /// Marks all messages as not yet persisted.
    pub(super) fn lost(&mut self) {
        self.messages.iter_mut().for_each(|message| message.saved = Saved::No);
        self.to_remove.clear();
    }
}

impl Message {
    fn new(number: u64, topic: DeviceTopic, body: Bytes, saved: Saved) -> Message {
        let bytes = topic.to_string().len() + body.len();
        Message { number, plugin: None, topic, body, bytes, saved }
    }
}

#[cfg(test)]
mod tests {
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
}
