//! Stored form of a job.

use jiff::Timestamp;
use plugin::BootOutcome;
use serde::{Deserialize, Serialize};

/// Work that a plugin has asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) plugin: String,
    /// Name that the plugin gave it.
    pub(super) name: String,
    /// JSON text.
    pub(super) payload: String,
    pub(super) when: When,
    /// Outcome of the boot that it waited for.
    pub(super) outcome: BootOutcome,
    /// The attempts that were begun.
    pub(super) attempt: u32,
}

/// Time at which it is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum When {
    /// Once the answer of this call has left.
    Call { call: String },
    /// At this time, and after this wait at the latest.
    Time {
        #[serde(with = "millis")]
        at: Timestamp,
        wait_ms: u64,
    },
    /// In another boot than this one, or without at this time.
    Boot {
        boot: String,
        /// The run of the host in which it was asked for.
        run: String,
        #[serde(with = "millis")]
        by: Timestamp,
        wait_ms: u64,
    },
}

/// A time on disk: milliseconds since 1970.
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

    use super::super::queue::{Now, WaitingJobs};
    use super::*;
    use crate::journal::tests::mutations;

    #[test]
    fn a_damaged_job_is_left_out_or_another_job_and_never_a_panic() {
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
            let job = Job { plugin, name, payload, when, outcome, attempt: u32::MAX };
            let record = serde_json::to_vec(&job).unwrap();
            let mut queue = WaitingJobs::new(None, "run".into());
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
