//! The persisted form of a job.

use jiff::Timestamp;
use plugin::BootOutcome;
use serde::{Deserialize, Serialize};

use super::message::CloudMessage;
use crate::lent::size;

/// A job of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) plugin: String,
    /// The function that runs the job.
    #[serde(default)]
    pub(super) kind: JobKind,
    /// The name that the plugin chose.
    pub(super) name: String,
    /// The payload, as JSON text.
    pub(super) payload: String,
    pub(super) when: When,
    /// The outcome of the boot that the job waited for.
    pub(super) outcome: BootOutcome,
    /// The number of attempts, a running one included.
    pub(super) attempt: u32,
    /// The span that has requested the job, as `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<String>,
}

impl Job {
    /// Returns the memory of the job, including the copy of a running one.
    pub(super) fn memory_bytes(&self) -> usize {
        let Job { plugin, name, payload, traceparent, .. } = self;
        let traceparent = traceparent.as_ref().map_or(0, String::len);
        size::ENTRY_BYTES + 2 * (plugin.len() + name.len() + payload.len() + traceparent)
    }

    /// Returns the id of the cloud-to-device message, if the job is one.
    pub(super) fn message_id(&self) -> Option<String> {
        match self.kind {
            JobKind::Message => CloudMessage::id_of(&self.payload),
            JobKind::Deferred => None,
        }
    }
}

/// The function of the plugin that runs a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JobKind {
    /// `deferred.run`, for a job that the plugin has scheduled.
    #[default]
    Deferred,
    /// `messages.receive`, for a cloud-to-device message.
    Message,
}

/// The event that makes a job due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum When {
    /// The end of a call, after its answer was sent.
    Call { call: String },
    /// The end of a wait.
    Time {
        /// The due time by the wall clock.
        #[serde(with = "millis")]
        at: Timestamp,
        /// The maximum wait, in milliseconds.
        wait_ms: u64,
    },
    /// A boot of the machine, with a time limit.
    Boot {
        /// The boot in which the job was scheduled.
        boot: String,
        /// The run of the host in which the job was scheduled.
        run: String,
        /// The time limit by the wall clock.
        #[serde(with = "millis")]
        by: Timestamp,
        /// The maximum wait, in milliseconds.
        wait_ms: u64,
    },
}

/// The persisted form of a time: milliseconds since the Unix epoch.
mod millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.as_millisecond())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let millis = i64::deserialize(from)?;
        Timestamp::from_millisecond(millis).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::queue::{Now, ScheduledJobs};
    use super::*;
    use crate::journal::tests::mutations;

    #[test]
    fn a_corrupt_job_never_causes_a_panic() {
        let now = Now { wall: Timestamp::UNIX_EPOCH, ticks: Duration::ZERO };
        let by = Timestamp::MAX;
        let (boot, run) = ("boot".to_owned(), "run".to_owned());
        for when in [
            When::Call { call: "call".into() },
            When::Time { at: by, wait_ms: u64::MAX },
            When::Boot { boot, run, by, wait_ms: u64::MAX },
        ] {
            let outcome = BootOutcome::NotWaitedFor;
            let (plugin, name, payload) = ("p".into(), "job".into(), "[1]".into());
            let kind = JobKind::Deferred;
            let (attempt, traceparent) = (u32::MAX, Some("00-1".into()));
            let job = Job { plugin, kind, name, payload, when, outcome, attempt, traceparent };
            let record = serde_json::to_vec(&job).unwrap();
            let mut queue = ScheduledJobs::new(None, "run".into());
            for value in std::iter::once(record.clone()).chain(mutations(&record)) {
                if let Ok(job) = serde_json::from_slice(&value) {
                    queue.restore(Arc::from("id"), job, now);
                    queue.due(now);
                    queue.begin(&Arc::from("id"));
                }
            }
        }
    }
}
