//! The inputs of a recorded call.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plugin::{BootOutcome, Document, Limits};

/// Everything that the plugin could read before the call.
pub(super) struct Before {
    pub(super) plugin: String,
    pub(super) digest: String,
    pub(super) device: String,
    /// The id of the call.
    pub(super) call: String,
    /// The name of the method or job.
    pub(super) name: String,
    /// The attempt and the outcome of the boot, if it is a job.
    pub(super) job: Option<(u32, BootOutcome)>,
    pub(super) payload: String,
    pub(super) time: Timestamp,
    /// The halves of the twin; `None` if the host has not received them.
    pub(super) desired: Option<Document>,
    pub(super) reported: Option<Document>,
    pub(super) state: BTreeMap<String, Vec<u8>>,
    /// `true` if the state could not be read.
    pub(super) state_is_unknown: bool,
    pub(super) capabilities: Vec<String>,
    pub(super) limits: Limits,
    pub(super) config: BTreeMap<String, String>,
}
