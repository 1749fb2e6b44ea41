//! Feedback: the outcomes of messages, for their senders.
//!
//! A service receives a batch of records and completes it, or returns it to the queue. Feedback
//! is kept in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::cloud_to_device::{FeedbackRecord, LOCK_TIME, Outcome};
use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use protocol::properties::MessageProperties;
use tokio::time::Instant;
use tracing::warn;

use crate::stamps::{guid, now};
use crate::state::{QueuedMessage, State};

/// Maximum number of records in a batch, as in IoT Hub.
const MAX_BATCH: usize = 64;

/// Lifetime of a record, the default of IoT Hub.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Maximum number of times that a batch is received, the default of IoT Hub.
const MAX_RECEIVED: u32 = 10;

/// Maximum number of records, received ones included. Beyond it, the oldest ones are lost.
const MAX_RECORDS: usize = 10_000;

/// The records that no service has completed.
pub(crate) struct Feedback {
    state: Arc<State>,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    waiting: VecDeque<(FeedbackRecord, Instant)>,
    received: Vec<Batch>,
}

/// Records that a service has received.
struct Batch {
    lock: String,
    /// End of the lock.
    until: Instant,
    /// Number of times that the batch was received.
    times: u32,
    records: Vec<(FeedbackRecord, Instant)>,
}

impl Feedback {
    pub(super) fn new(state: Arc<State>) -> Feedback {
        Feedback { state, records: Mutex::default() }
    }

    /// Adds the outcome of a message.
    pub(super) fn add(&self, device: &DeviceId, message: &QueuedMessage, outcome: Outcome) {
        // The feedback of a deleted device is dropped.
        let Some(generation) = self.generation(device) else { return };
        let id = message.properties.get(MessageProperties::MESSAGE_ID).unwrap_or_default();
        let record = FeedbackRecord {
            original_message_id: id.to_owned(),
            enqueued_time_utc: now(),
            status_code: outcome,
            description: format!("{outcome:?}"),
            device_id: device.to_string(),
            device_generation_id: generation,
        };
        let mut records = self.records.lock();
        if records.len() >= MAX_RECORDS {
            warn!(records = MAX_RECORDS, "feedback lost: no service completes it");
            records.drop_oldest();
        }
        records.waiting.push_back((record, Instant::now() + LIFETIME));
    }

    /// Returns the next records and their lock; `None` if there are none.
    pub(crate) fn receive(&self) -> Option<(String, Vec<FeedbackRecord>)> {
        let now = Instant::now();
        let mut records = self.records.lock();
        let is_current = |(record, expires): &(FeedbackRecord, Instant)| {
            let device = record.device_id.parse().ok();
            let generation = device.and_then(|device| self.generation(&device));
            *expires > now && generation.as_ref() == Some(&record.device_generation_id)
        };
        records.waiting.retain(is_current);
        for batch in &mut records.received {
            batch.records.retain(is_current);
        }
        records.received.retain(|batch| {
            !batch.records.is_empty() && (batch.until > now || batch.times < MAX_RECEIVED)
        });
        let lock = guid();
        let until = now + LOCK_TIME;
        if let Some(batch) = records.received.iter_mut().find(|batch| batch.until <= now) {
            (batch.lock, batch.until) = (lock, until);
            batch.times += 1;
            return Some(batch.shown());
        }
        let count = records.waiting.len().min(MAX_BATCH);
        let batch: Vec<_> = records.waiting.drain(..count).collect();
        let batch = Batch { lock, until, times: 1, records: batch };
        let shown = batch.shown();
        (count > 0).then(|| {
            records.received.push(batch);
            shown
        })
    }

    /// Removes the records of a lock.
    pub(crate) fn complete(&self, lock: &str) -> Result<(), HubError> {
        let mut records = self.records.lock();
        let index = records.find(lock)?;
        records.received.remove(index);
        Ok(())
    }

    /// Ends a lock, so that its records can be received again.
    pub(crate) fn abandon(&self, lock: &str) -> Result<(), HubError> {
        let mut records = self.records.lock();
        let index = records.find(lock)?;
        records.received[index].until = Instant::now();
        Ok(())
    }

    fn generation(&self, device: &DeviceId) -> Option<String> {
        self.state.device_messages(device).ok().map(|found| found.generation)
    }
}

impl Records {
    fn len(&self) -> usize {
        self.waiting.len() + self.received.iter().map(|batch| batch.records.len()).sum::<usize>()
    }

    /// Removes the oldest waiting record, or the oldest batch if all records have been received.
    fn drop_oldest(&mut self) {
        if self.waiting.pop_front().is_none() {
            self.received.remove(0);
        }
    }

    fn find(&self, lock: &str) -> Result<usize, HubError> {
        let now = Instant::now();
        let found = self.received.iter().position(|own| own.lock == lock && own.until > now);
        found.ok_or_else(|| {
            let text = "the lock does not exist or has ended; receive the feedback again";
            HubError::new(ErrorCode::DeviceMessageLockLost, text)
        })
    }
}

impl Batch {
    fn shown(&self) -> (String, Vec<FeedbackRecord>) {
        (self.lock.clone(), self.records.iter().map(|(record, _)| record.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use protocol::http_message::HttpMessage;

    use super::super::{CloudToDevice, request};
    use super::*;

    #[tokio::test]
    async fn feedback_is_bounded_also_if_it_is_received_and_never_completed() {
        let state = State::open(None, vec!["localhost".into()]).unwrap();
        let device: DeviceId = "d1".parse().unwrap();
        state.create_device(&device).unwrap();
        let (_, message) = request::parse(&device, HttpMessage::default(), 0).unwrap();
        let messages = CloudToDevice::new(state);
        let feedback = messages.feedback();
        for _ in 0..2 {
            for _ in 0..MAX_RECORDS {
                feedback.add(&device, &message, Outcome::Success);
            }
            let (_, received) = feedback.receive().unwrap();
            assert_eq!(received.len(), MAX_BATCH);
            assert_eq!(feedback.records.lock().len(), MAX_RECORDS);
        }
        feedback.records.lock().waiting.clear();
        feedback.records.lock().drop_oldest();
        assert_eq!(feedback.records.lock().len(), MAX_BATCH);
    }
}
