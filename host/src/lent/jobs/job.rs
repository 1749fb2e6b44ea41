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
