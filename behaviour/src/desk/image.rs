//! The durable part of a simulated device: everything that survives between two runs of the
//! author's tool, in a readable form.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plugin::BootOutcome;
use protocol::twin::PatchError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::encoded::Base64;
use super::{Desk, EPOCH, StateEntries};

/// The value of `format` in a file of this version.
const FORMAT: &str = "behaviour device 1";

/// The durable part of a simulated device. Its JSON is the format of `--state-file`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    format: String,
    /// The time on the device.
    #[serde(with = "rfc3339")]
    time: Timestamp,
    /// The plugin's state.
    state: BTreeMap<String, StateValue>,
    /// The desired properties.
    desired: TwinImage,
    /// The reported properties.
    reported: TwinImage,
    /// The number of jobs that were scheduled so far. It determines the id of the next job.
    jobs_scheduled: u32,
    /// The pending jobs, in the order in which they were queued.
    jobs: Vec<PendingJobImage>,
}

/// One half of a twin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwinImage {
    /// The version that the hub assigned.
    pub version: u64,
    /// The properties.
    pub properties: Map<String, Value>,
}

/// A pending job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingJobImage {
    /// The job's id.
    pub id: String,
    /// The job's name.
    pub name: String,
    /// The payload.
    pub payload: Box<RawValue>,
    /// The time of the next run. For a job that waits for a boot, the end of its wait.
    #[serde(with = "rfc3339")]
    pub due: Timestamp,
    /// `true` if a boot makes the job due.
    pub waits_for_boot: bool,
    /// The number of runs.
    pub runs: u32,
    /// The outcome of the boot that the job waited for.
    pub boot_outcome: BootOutcome,
}

/// A value of the plugin's state: a string, or `{"base64": "..."}` if it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StateText", into = "StateText")]
pub struct StateValue(pub Vec<u8>);

/// The JSON of a [`StateValue`].
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a string or {\"base64\": \"...\"}")]
enum StateText {
    Text(String),
    Bytes { base64: String },
}

impl TryFrom<StateText> for StateValue {
    type Error = String;

    fn try_from(text: StateText) -> Result<StateValue, String> {
        match text {
            StateText::Text(text) => Ok(StateValue(text.into_bytes())),
            StateText::Bytes { base64 } => Ok(StateValue(Base64::try_from(base64)?.0)),
        }
    }
}

impl From<StateValue> for StateText {
    fn from(StateValue(bytes): StateValue) -> StateText {
        match String::from_utf8(bytes) {
            Ok(text) => StateText::Text(text),
            Err(error) => StateText::Bytes { base64: Base64(error.into_bytes()).into() },
        }
    }
}

/// The reason why a text is not an image of a device.
#[derive(Debug, thiserror::Error)]
pub enum InvalidImage {
    /// A text of another origin.
    #[error("not a state file of this program")]
    Foreign,
    /// A state file with an invalid value.
    #[error(transparent)]
    Invalid(#[from] serde_json::Error),
    /// A twin that breaks the rules of IoT Hub.
    #[error(transparent)]
    Twin(#[from] PatchError),
}

impl Image {
    pub(super) fn new(
        time: Timestamp,
        state: StateEntries,
        desired: TwinImage,
        reported: TwinImage,
        jobs_scheduled: u32,
        jobs: Vec<PendingJobImage>,
    ) -> Image {
        let state = state.into_iter().map(|(key, value)| (key, StateValue(value))).collect();
        let format = FORMAT.to_owned();
        Image { format, time, state, desired, reported, jobs_scheduled, jobs }
    }

    /// Parses the content of a state file.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not a state file of this version.
    pub fn parse(text: &str) -> Result<Image, InvalidImage> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        match serde_json::from_str(text) {
            Ok(Head { format }) if format == FORMAT => Ok(serde_json::from_str(text)?),
            _ => Err(InvalidImage::Foreign),
        }
    }

    /// Returns the content of a state file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("an image is JSON");
        text.push('\n');
        text
    }

    /// Sets the state of a device before a call.
    ///
    /// # Errors
    ///
    /// Returns an error if the twin breaks the rules of IoT Hub.
    pub fn restore(&self, desk: &mut Desk) -> Result<(), PatchError> {
        desk.epoch = self.time;
        for (half, image) in
            [(&mut desk.desired, &self.desired), (&mut desk.reported, &self.reported)]
        {
            half.replace(image.properties.clone(), EPOCH)?;
            half.version = image.version;
        }
        let state = self.state.iter();
        desk.state = state.map(|(key, value)| (key.clone(), value.0.clone())).collect();
        (desk.scheduled, desk.pending) = (self.jobs_scheduled, self.jobs.clone());
        Ok(())
    }
}

/// The JSON of a timestamp: a string in RFC 3339 format.
mod rfc3339 {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
