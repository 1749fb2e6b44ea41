//! Cloud-to-device messages: their delivery to devices, and feedback to their senders.
//!
//! A service queues a message with [`CloudToDevice::send`]. The session of the device waits for
//! it with [`CloudToDevice::next`], which locks it, and completes it with
//! [`CloudToDevice::acknowledged`]. A device without MQTT receives it with
//! [`CloudToDevice::receive`] and settles it with [`CloudToDevice::settle`]. A lock ends after a
//! minute or with the connection; the message is then delivered again, with the same packet id.
//! Messages expire when their queue is next used.
//!
//! The queues are part of the state, and persisted with it. Locks and feedback are not.

mod feedback;
mod request;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::cloud_to_device::{LOCK_TIME, MAX_DELIVERIES, Outcome};
use protocol::error::{ErrorCode, HubError};
use protocol::http_message::HttpMessage;
use protocol::id::DeviceId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::stamps::{guid, now_ms};
use crate::state::{DeviceMessages, QueuedMessage, State};
pub(crate) use feedback::Feedback;

/// The messages of all devices.
pub(crate) struct CloudToDevice {
    state: Arc<State>,
    mailboxes: Mutex<HashMap<DeviceId, Mailbox>>,
    feedback: Feedback,
}

/// The deliveries of one device.
#[derive(Default)]
struct Mailbox {
    /// The generation of the device's identity.
    generation: String,
    /// The serial number of the session that receives messages.
    session: Option<u64>,
    /// Locked messages by their sequence numbers.
    locks: HashMap<u64, Lock>,
    /// Messages that the MQTT session has got, on any of its connections.
    sent: HashSet<u64>,
    changed: Arc<Notify>,
}

struct Lock {
    holder: Holder,
    packet: u16,
    until: Instant,
}

/// The receiver that has locked a message.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// The MQTT session of the device.
    Session,
    /// A request of the device, with the lock that it has got.
    Request(String),
}

/// A message on its way to a device.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<QueuedMessage>,
    /// Packet id, the same for each delivery of the message.
    pub(crate) packet: u16,
    /// `true` if the MQTT session has got the message before.
    pub(crate) is_duplicate: bool,
}

/// The way in which a device settles a message that it has received by a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Success.
    Complete,
    /// Failure, after which the message is not delivered again.
    Reject,
    /// Return to the queue, which counts as a delivery.
    Abandon,
}

/// Result of an attempt to take a message.
enum Taken {
    Delivery(Delivery),
    /// No message: the time at which the first lock ends.
    Nothing(Option<Instant>),
}

impl CloudToDevice {
    pub(crate) fn new(state: Arc<State>) -> CloudToDevice {
        let feedback = Feedback::new(Arc::clone(&state));
        CloudToDevice { state, mailboxes: Mutex::default(), feedback }
    }

    /// Returns the feedback to the senders of messages.
    pub(crate) fn feedback(&self) -> &Feedback {
        &self.feedback
    }

    /// Queues a message and returns its id. `now_ms` is the time in Unix milliseconds.
    pub(crate) fn send(
        &self,
        device: &DeviceId,
        message: HttpMessage,
        now_ms: u64,
    ) -> Result<String, HubError> {
        let (id, message) = request::parse(device, message, now_ms)?;
        self.with(device, |_| self.expire(device, now_ms));
        self.state.queue_message(device, message)?;
        self.with(device, |mailbox| mailbox.changed.notify_waiters());
        Ok(id)
    }

    /// Removes all messages of a device and returns their number.
    pub(crate) fn purge(&self, device: &DeviceId) -> Result<usize, HubError> {
        let (removed, queued) =
            self.with(device, |_| self.state.remove_messages(device, |_| true))?;
        queued.wait()?;
        self.report(device, &removed, Outcome::Purged);
        Ok(removed.len())
    }

    /// Records that a session receives the messages of the device from now on. A clean session
    /// does not continue an earlier one.
    pub(crate) fn attach(&self, device: &DeviceId, serial: u64, clean: bool) {
        self.with(device, |mailbox| {
            mailbox.session = Some(serial);
            mailbox.unlock_session();
            if clean {
                mailbox.sent.clear();
            }
        });
    }

    /// Unlocks the messages of a session that has ended.
    pub(crate) fn detach(&self, device: &DeviceId, serial: u64) {
        let mut mailboxes = self.mailboxes.lock();
        let Some(mailbox) = mailboxes.get_mut(device) else { return };
        if mailbox.session == Some(serial) {
            mailbox.session = None;
            mailbox.unlock_session();
        }
        if !self.exists(device) {
            mailboxes.remove(device);
        }
    }

    /// Waits for the next message of a session's device. Can be cancelled without losing it.
    pub(crate) async fn next(&self, device: &DeviceId, serial: u64) -> Delivery {
        loop {
            let changed = self.with(device, |mailbox| Arc::clone(&mailbox.changed));
            let mut changed = std::pin::pin!(changed.notified());
            // A change after the attempt is not missed.
            changed.as_mut().enable();
            let until = match self.take(device, serial, now_ms()) {
                Taken::Delivery(delivery) => return delivery,
                Taken::Nothing(until) => until,
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    /// Completes the message with this packet id if the session has locked it.
    pub(crate) fn acknowledged(&self, device: &DeviceId, serial: u64, packet: u16) {
        let removed = self.with(device, |mailbox| {
            if mailbox.session != Some(serial) {
                return Vec::new();
            }
            let locked = mailbox
                .locks
                .iter()
                .find(|(_, lock)| lock.packet == packet && lock.holder == Holder::Session);
            let Some(sequence) = locked.map(|(sequence, _)| *sequence) else { return Vec::new() };
            mailbox.locks.remove(&sequence);
            mailbox.sent.remove(&sequence);
            let is_done = |message: &QueuedMessage| message.sequence == sequence;
            // A completion that a crash loses repeats the message.
            self.state
                .remove_messages(device, is_done)
                .map(|(removed, _)| removed)
                .unwrap_or_default()
        });
        self.report(device, &removed, Outcome::Success);
    }

    /// Locks the next message of a device for a request. Returns it with its lock; `None` if there
    /// is no message.
    pub(crate) fn receive(
        &self,
        device: &DeviceId,
        lock_time: Duration,
        now_ms: u64,
    ) -> Result<Option<(String, Arc<QueuedMessage>)>, HubError> {
        self.with(device, |mailbox| {
            self.expire(device, now_ms);
            let DeviceMessages { generation, messages } = self.state.device_messages(device)?;
            mailbox.follow(generation, &messages);
            let lock = guid();
            let until = Instant::now() + lock_time;
            let holder = || Holder::Request(lock.clone());
            let locked = mailbox.lock_first(&messages, holder, until);
            Ok(locked.map(|message| (lock, message)))
        })
    }

    /// Completes, rejects or abandons a message that a request has locked.
    pub(crate) fn settle(
        &self,
        device: &DeviceId,
        lock: &str,
        settlement: Settlement,
    ) -> Result<(), HubError> {
        let (settled, queued) = self.with(device, |mailbox| {
            let DeviceMessages { generation, messages } = self.state.device_messages(device)?;
            mailbox.follow(generation, &messages);
            let is_locked = |(_, own): &(&u64, &Lock)| {
                matches!(&own.holder, Holder::Request(holder) if holder == lock)
            };
            let sequence = *mailbox.locks.iter().find(is_locked).ok_or_else(lock_lost)?.0;
            mailbox.locks.remove(&sequence);
            let is_settled = |message: &QueuedMessage| message.sequence == sequence;
            let outcome = match settlement {
                Settlement::Complete => Outcome::Success,
                Settlement::Reject => Outcome::Rejected,
                Settlement::Abandon => {
                    let (deliveries, queued) = self.state.count_delivery(device, sequence)?;
                    if deliveries < MAX_DELIVERIES {
                        mailbox.changed.notify_waiters();
                        return Ok((None, queued));
                    }
                    Outcome::DeliveryCountExceeded
                }
            };
            let (removed, queued) = self.state.remove_messages(device, is_settled)?;
            Ok::<_, HubError>((Some((removed, outcome)), queued))
        })?;
        queued.wait()?;
        if let Some((removed, outcome)) = settled {
            self.report(device, &removed, outcome);
        }
        Ok(())
    }

    fn take(&self, device: &DeviceId, serial: u64, now_ms: u64) -> Taken {
        self.with(device, |mailbox| {
            self.expire(device, now_ms);
            let Ok(DeviceMessages { generation, messages }) = self.state.device_messages(device)
            else {
                return Taken::Nothing(None);
            };
            if mailbox.session != Some(serial) {
                return Taken::Nothing(None);
            }
            mailbox.follow(generation, &messages);
            let until = Instant::now() + LOCK_TIME;
            let Some(message) = mailbox.lock_first(&messages, || Holder::Session, until) else {
                return Taken::Nothing(mailbox.locks.values().map(|lock| lock.until).min());
            };
            let packet = packet_id(message.sequence);
            let is_duplicate = !mailbox.sent.insert(message.sequence);
            Taken::Delivery(Delivery { message, packet, is_duplicate })
        })
    }

    /// Removes the expired messages of a device.
    fn expire(&self, device: &DeviceId, now_ms: u64) {
        let has_expired = |message: &QueuedMessage| message.expires_ms <= now_ms;
        let found = self.state.device_messages(device);
        if !found.is_ok_and(|found| found.messages.iter().any(|message| has_expired(message))) {
            return;
        }
        // An expiry that a crash loses is repeated.
        if let Ok((removed, _)) = self.state.remove_messages(device, has_expired) {
            self.report(device, &removed, Outcome::Expired);
        }
    }

    /// Notifies the senders of messages of their outcome.
    fn report(&self, device: &DeviceId, messages: &[Arc<QueuedMessage>], outcome: Outcome) {
        for message in messages {
            if message.acknowledgement().includes(outcome) {
                self.feedback.add(device, message, outcome);
            }
        }
    }

    /// Runs `work` with the mailbox of a device. The state's lock can be taken within.
    fn with<T>(&self, device: &DeviceId, work: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut mailboxes = self.mailboxes.lock();
        match mailboxes.get_mut(device) {
            Some(mailbox) => work(mailbox),
            None if self.exists(device) => work(mailboxes.entry(device.clone()).or_default()),
            // A request for an unknown device leaves nothing behind.
            None => work(&mut Mailbox::default()),
        }
    }

    fn exists(&self, device: &DeviceId) -> bool {
        self.state.device_messages(device).is_ok()
    }
}

impl Mailbox {
    /// Forgets ended locks, and everything about the messages of an earlier device of this id.
    fn follow(&mut self, generation: String, messages: &[Arc<QueuedMessage>]) {
        if self.generation != generation {
            self.locks.clear();
            self.sent.clear();
            self.generation = generation;
        }
        let now = Instant::now();
        let is_queued = |sequence: &u64| messages.iter().any(|own| own.sequence == *sequence);
        self.locks.retain(|sequence, lock| lock.until > now && is_queued(sequence));
        self.sent.retain(is_queued);
    }

    /// Locks the first message that is not locked.
    fn lock_first(
        &mut self,
        messages: &[Arc<QueuedMessage>],
        holder: impl Fn() -> Holder,
        until: Instant,
    ) -> Option<Arc<QueuedMessage>> {
        let is_locked = |message: &Arc<QueuedMessage>| {
            let packet = packet_id(message.sequence);
            self.locks.contains_key(&message.sequence)
                || self.locks.values().any(|lock| lock.packet == packet)
        };
        let message = Arc::clone(messages.iter().find(|message| !is_locked(message))?);
        let lock = Lock { holder: holder(), packet: packet_id(message.sequence), until };
        self.locks.insert(message.sequence, lock);
        Some(message)
    }

    /// Ends the locks of the MQTT session.
    fn unlock_session(&mut self) {
        self.locks.retain(|_, lock| lock.holder != Holder::Session);
    }
}

fn lock_lost() -> HubError {
    let text = "the lock does not exist or has ended; receive the message again";
    HubError::new(ErrorCode::DeviceMessageLockLost, text)
}

/// Returns the packet id of a message, which is not 0.
fn packet_id(sequence: u64) -> u16 {
    u16::try_from(sequence % u64::from(u16::MAX) + 1).expect("the remainder is less than u16::MAX")
}

#[cfg(test)]
mod tests;
