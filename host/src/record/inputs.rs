//! The inputs of a recorded call.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plugin::{BootOutcome, Document, Limits};

/// Everything that the plugin could read at the start of the call.
pub(super) struct CallInputs {
    pub(super) plugin: String,
    pub(super) digest: String,
    pub(super) device: String,
    /// Id of the call.
    pub(super) call: String,
    /// Name of the method or job.
    pub(super) name: String,
    /// Attempt and boot outcome of a job; `None` for a method.
    pub(super) job: Option<(u32, BootOutcome)>,
    pub(super) payload: String,
    pub(super) trace_parent: Option<String>,
    pub(super) time: Timestamp,
    /// Half of the twin; `None` if the host has not received it.
    pub(super) desired: Option<Document>,
    /// Half of the twin; `None` if the host has not received it.
    pub(super) reported: Option<Document>,
    pub(super) state: BTreeMap<String, Vec<u8>>,
    /// `true` if the state could not be read.
    pub(super) state_is_unknown: bool,
    pub(super) capabilities: Vec<String>,
    pub(super) limits: Limits,
    pub(super) config: BTreeMap<String, String>,
}
