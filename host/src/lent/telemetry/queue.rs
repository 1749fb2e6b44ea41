//! Messages that the hub has not acknowledged, oldest first: those handed to the
//! connection, then those that wait.
//!
//! A state machine without a network or a disk: the caller hands over the messages that
//! [`MessageQueue::next`] returns, passes on their outcomes, and persists the records that
//! [`MessageQueue::unsaved`] returns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use plugin::HostError;
use protocol::topic::DeviceTopic;

use crate::config::{TelemetryLimits, WhenFull};

/// Messages at once that were handed over and not acknowledged: enough for a
/// distant hub, few enough to be held twice.
const HANDED_AT_ONCE: usize = 64;

/// Part of the free room that one plugin may use where new messages are refused.
const SHARE: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Saved {
    No,
    UnderWay,
    Yes,
}

/// A message, and how far it has come.
#[derive(Debug)]
struct Message {
    /// Its place in the order of all, and its name on disk.
    number: u64,
    /// The plugin that sent it; `None` if an earlier run of the host accepted it.
    plugin: Option<Arc<str>>,
    topic: DeviceTopic,
    body: Bytes,
    bytes: usize,
    saved: Saved,
}

pub(super) struct MessageQueue {
    limits: TelemetryLimits,
    messages: VecDeque<Message>,
    /// So many of the first were handed over.
    handed: usize,
    bytes: usize,
    next_number: u64,
    /// Records that are to go: `true` while they are being removed.
    gone: BTreeMap<u64, bool>,
    dropped: u64,
}

impl MessageQueue {
    pub(super) fn new(limits: TelemetryLimits) -> MessageQueue {
        MessageQueue {
            limits,
            messages: VecDeque::new(),
            handed: 0,
            bytes: 0,
            next_number: 0,
            gone: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// A message that was on disk when the host was started; by number.
    pub(super) fn restore(&mut self, number: u64, topic: DeviceTopic, body: Bytes) {
        self.next_number = self.next_number.max(number.saturating_add(1));
        self.append(Message::new(number, topic, body, Saved::Yes));
    }

    /// Takes a message; returns how many have been dropped, if that dropped any.
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
            let (bytes, most) = (message.bytes, self.limits.bytes);
            let why = format!("message has {bytes} bytes; {most} may wait");
            return Err(HostError::TooLarge(why));
        }
        if self.limits.when_full == WhenFull::Refuse && !self.is_within_share(&message) {
            let why = "messages of this plugin use its share of the queue already".to_owned();
            return Err(HostError::QuotaExceeded(why));
        }
        while self.messages.len() >= self.limits.messages
            || self.bytes + message.bytes > self.limits.bytes
        {
            let oldest = match self.limits.when_full {
                WhenFull::DropOldest => self.oldest_of_the_largest(&message),
                WhenFull::Refuse => None,
            };
            let Some(oldest) = oldest.and_then(|at| self.messages.remove(at)) else {
                let why = format!(
                    "{} messages with {} bytes wait for the hub already",
                    self.messages.len(),
                    self.bytes
                );
                return Err(HostError::QuotaExceeded(why));
            };
            self.forget(&oldest);
            self.dropped += 1;
        }
        self.next_number += 1;
        self.append(message);
        Ok((self.dropped > dropped).then_some(self.dropped))
    }

    /// Returns the place of the oldest message that has to make room for a new one: of the
    /// plugin that uses most of what is short, the new message included. So a plugin
    /// that floods the queue drops its own messages and those of no other. What the
    /// connection has is on its way already and stays.
    fn oldest_of_the_largest(&self, new: &Message) -> Option<usize> {
        let by_bytes = self.messages.len() < self.limits.messages;
        let weight = |message: &Message| if by_bytes { message.bytes } else { 1 };
        let mut used = BTreeMap::from([(new.plugin.as_deref(), weight(new))]);
        for message in self.messages.range(self.handed..) {
            *used.entry(message.plugin.as_deref()).or_default() += weight(message);
        }
        let of_new = used[&new.plugin.as_deref()];
        let (largest, most) = used.into_iter().max_by_key(|(_, used)| *used)?;
        let victim = if of_new >= most { new.plugin.as_deref() } else { largest };
        let mut waiting = self.messages.iter().enumerate().skip(self.handed);
        waiting.find(|(_, message)| message.plugin.as_deref() == victim).map(|(at, _)| at)
    }

    /// Checks whether a new message leaves room for other plugins: all that wait of one
    /// plugin take [`SHARE`] times what stays free at most. So a single plugin may use
    /// four fifths, and several that flood the queue leave room for one that does not.
    fn is_within_share(&self, new: &Message) -> bool {
        let theirs = self.messages.iter().filter(|message| message.plugin == new.plugin);
        let (messages, bytes) =
            theirs.fold((0, 0), |(messages, bytes), message| (messages + 1, bytes + message.bytes));
        messages <= SHARE * self.limits.messages.saturating_sub(self.messages.len())
            && bytes <= SHARE * self.limits.bytes.saturating_sub(self.bytes)
    }

    fn append(&mut self, message: Message) {
        self.bytes += message.bytes;
        self.messages.push_back(message);
    }

    /// The next message to hand over, which counts as handed from now on.
    pub(super) fn next(&mut self) -> Option<(u64, DeviceTopic, Bytes)> {
        if self.handed >= HANDED_AT_ONCE {
            return None;
        }
        let message = self.messages.get(self.handed)?;
        self.handed += 1;
        Some((message.number, message.topic.clone(), message.body.clone()))
    }

    /// Removes a message that was handed over and will not be sent again. Returns its
    /// plugin, which is not known of a message of an earlier run.
    pub(super) fn settled(&mut self, number: u64) -> Option<Option<Arc<str>>> {
        let mut handed = self.messages.iter().take(self.handed);
        let at = handed.position(|message| message.number == number)?;
        let message = self.messages.remove(at)?;
        self.handed -= 1;
        self.forget(&message);
        Some(message.plugin)
    }

    fn forget(&mut self, message: &Message) {
        self.bytes -= message.bytes;
        if message.saved != Saved::No {
            self.gone.insert(message.number, false);
        }
    }

    /// Checks whether the hub has all messages.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Checks whether a record has to be removed from the disk.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Returns the entries not yet persisted: the number, with the message if there
    /// still is one. They count as in flight from then on.
    pub(super) fn unsaved(&mut self) -> Vec<(u64, Option<(DeviceTopic, Bytes)>)> {
        let new = self.messages.iter_mut().filter(|message| message.saved == Saved::No);
        let mut unsaved: Vec<_> = new
            .map(|message| {
                message.saved = Saved::UnderWay;
                (message.number, Some((message.topic.clone(), message.body.clone())))
            })
            .collect();
        for (number, under_way) in &mut self.gone {
            *under_way = true;
            unsaved.push((*number, None));
        }
        unsaved
    }

    /// Receives the outcome of the entries that [`MessageQueue::unsaved`] returned last.
    pub(super) fn saved(&mut self, written: bool) {
        let under_way = self.messages.iter_mut().filter(|it| it.saved == Saved::UnderWay);
        under_way.for_each(|it| it.saved = if written { Saved::Yes } else { Saved::No });
        if written {
            self.gone.retain(|_, under_way| !*under_way);
        }
    }
}

impl MessageQueue {
    /// Counts all messages as not yet persisted.
    pub(super) fn lost(&mut self) {
        self.messages.iter_mut().for_each(|message| message.saved = Saved::No);
        self.gone.clear();
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
    fn messages_leave_in_order_and_are_gone_once_they_are_acknowledged() {
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
    fn an_acknowledgement_is_of_its_own_message_alone_however_often_it_comes() {
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
    fn one_that_is_acknowledged_in_time_never_comes_to_the_disk() {
        let mut queue = queue(10, WhenFull::Refuse);
        push(&mut queue, "a").unwrap();
        let (number, _) = next(&mut queue).unwrap();
        queue.settled(number);
        assert!(unsaved(&mut queue).is_empty());
    }

    #[test]
    fn what_is_on_disk_goes_from_there_when_it_is_acknowledged() {
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
        assert!(!queue.has_gone());
    }

    #[test]
    fn the_oldest_gives_way_and_is_counted_but_not_what_is_on_its_way() {
        let mut queue = queue(2, WhenFull::DropOldest);
        push(&mut queue, "on its way").unwrap();
        next(&mut queue).unwrap();
        push(&mut queue, "oldest").unwrap();
        assert_eq!(push(&mut queue, "newest"), Ok(Some(1)));
        assert_eq!(next(&mut queue).unwrap().1, "newest");
        assert!(matches!(push(&mut queue, "no room"), Err(HostError::QuotaExceeded(_))));
    }

    fn push_of(queue: &mut MessageQueue, plugin: &str) -> Result<Option<u64>, HostError> {
        queue.push(plugin, topic(), Bytes::from_static(b"x"))
    }

    fn waiting(queue: &MessageQueue, plugin: &str) -> usize {
        queue.messages.iter().filter(|message| message.plugin.as_deref() == Some(plugin)).count()
    }

    #[test]
    fn a_plugin_that_floods_the_queue_drops_no_message_of_another() {
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
    fn where_new_messages_are_refused_one_plugin_leaves_room_for_others() {
        let mut queue = queue(100, WhenFull::Refuse);
        for plugin in ["loud", "louder"] {
            while push_of(&mut queue, plugin).is_ok() {}
        }
        assert!(waiting(&queue, "loud") > 70, "{}", waiting(&queue, "loud"));
        assert_eq!(push_of(&mut queue, "quiet"), Ok(None));
    }

    #[test]
    fn a_new_one_is_refused_where_that_is_wanted() {
        let mut queue = queue(1, WhenFull::Refuse);
        push(&mut queue, "a").unwrap();
        push(&mut queue, "b").unwrap_err();
        assert_eq!(next(&mut queue).unwrap().1, "a");
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let mut queue = queue(10, WhenFull::DropOldest);
        let large = || Bytes::from(vec![b'x'; 6_000]);
        queue.push("p", topic(), large()).unwrap();
        assert_eq!(queue.push("p", topic(), large()), Ok(Some(1)));
        queue.push("p", topic(), Bytes::from(vec![b'x'; 11_000])).unwrap_err();
        assert!(!queue.is_empty());
    }
}
