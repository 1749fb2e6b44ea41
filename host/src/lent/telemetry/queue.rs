//! The queue of messages that the hub has not acknowledged, the oldest first. Messages that
//! were handed to the connection come before waiting ones.
//!
//! This is a state machine without I/O: the caller hands over the messages that
//! [`MessageQueue::next`] returns, reports their outcomes, and persists the records that
//! [`MessageQueue::unsaved`] returns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use plugin::{HostError, QueueMemory, QueuedMemory};
use protocol::topic::DeviceTopic;

use crate::config::{TelemetryLimits, WhenFull};
use crate::lent::size;

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
    memory: QueuedMemory,
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
    memory: QueueMemory,
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
            memory: QueueMemory::default(),
        }
    }

    /// Counts the memory of the messages, of which those that wait already are kept in any case.
    pub(super) fn count_in(&mut self, memory: QueueMemory) {
        for message in &mut self.messages {
            message.memory = memory.occupy(message.memory_bytes());
        }
        self.memory = memory;
    }

    /// Returns the number of messages dropped since the start of the host.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
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
        message.memory = loop {
            let has_capacity = self.messages.len() < self.limits.messages
                && self.bytes + message.bytes <= self.limits.bytes;
            let memory = self.memory.reserve(message.memory_bytes());
            let refused = match memory {
                Ok(memory) if has_capacity => break memory,
                Err(no_memory) if has_capacity => no_memory.to_string(),
                _ => format!(
                    "{} messages with {} bytes already wait for the hub",
                    self.messages.len(),
                    self.bytes
                ),
            };
            let oldest = match self.limits.when_full {
                WhenFull::DropOldest => self.position_to_drop(&message),
                WhenFull::Refuse => None,
            };
            let Some(oldest) = oldest.and_then(|at| self.messages.remove(at)) else {
                return Err(HostError::QuotaExceeded(refused));
            };
            self.removed(&oldest);
            self.dropped += 1;
        };
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
        let memory = QueuedMemory::default();
        Message { number, plugin: None, topic, body, bytes, memory, saved }
    }

    /// Returns the memory of the message, including the copy that is handed over.
    fn memory_bytes(&self) -> usize {
        size::ENTRY_BYTES + self.body.len() + size::of_topic(&self.topic)
    }
}

#[cfg(test)]
mod tests;
