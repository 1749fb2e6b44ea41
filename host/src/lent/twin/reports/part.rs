//! A part of the queue of reports: merged reports of one plugin.

use std::io;

use plugin::{HostError, QueuedMemory};
use protocol::id::RequestId;
use protocol::twin::{MAX_SECTION_BYTES, check_patch, check_size};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::lent::size;

/// The maximum length of a patch as JSON text, in bytes. IoT Hub does not count control
/// characters (`protocol::twin::size`), so its limit does not bound the length. A section at
/// IoT Hub's limit stays below this one if it has no control characters.
pub(super) const MAX_PATCH_BYTES: usize = 128 * 1024;

/// A change of the reported properties.
pub(crate) type Patch = Map<String, Value>;

/// A sender of the outcome to the caller that waits for a report: the new version of the
/// reported properties, or an error.
pub(crate) type Waiter = oneshot::Sender<Result<u64, HostError>>;

/// Merged reports of one plugin.
pub(super) struct Part {
    /// The position in the order of all parts, and the key of the record.
    pub(super) number: u64,
    pub(super) saved: ReportRecord,
    pub(super) waiters: Vec<Waiter>,
    /// `true` if the part is sent in a patch of its own, because the hub refused a patch with
    /// several parts, or closed the connection on it.
    pub(super) alone: bool,
    /// `true` if an older part was merged into this one after its report was accepted.
    pub(super) contains_older: bool,
    /// `true` if the part may consist of several reports, of which the hub may refuse only one.
    pub(super) folded: bool,
    /// `true` if the part is sent one top-level key at a time, because the hub refused the
    /// whole part.
    pub(super) by_key: bool,
    /// The hub's reason for refusing one of the keys.
    pub(super) refused: Option<HostError>,
    /// The number of connections in a row that the hub closed while the part was in flight.
    pub(super) closings: u32,
    pub(super) memory: QueuedMemory,
}

/// The patch in flight.
pub(super) struct SentPatch {
    pub(super) parts: Vec<Part>,
    pub(super) patch: Patch,
    pub(super) rid: RequestId,
    /// The time limit for the answer.
    pub(super) until: Instant,
}

/// An accepted report, with the data to undo it.
#[derive(Debug)]
pub(crate) struct AcceptedReport {
    pub(super) number: u64,
    /// The number and patch of the part that it was merged with, before the merge.
    pub(super) before: Option<(u64, Patch)>,
    /// `true` if a caller waits for the hub's answer.
    pub(super) has_waiter: bool,
}

/// The persisted form of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReportRecord {
    pub(crate) plugin: String,
    pub(crate) patch: Patch,
}

/// The outcome of a patch that the hub has answered.
#[derive(Debug, PartialEq)]
pub(crate) enum PatchOutcome {
    /// A patch that the hub accepted, with the new version of the reported properties.
    Accepted { patch: Patch, version: u64 },
    /// A patch that the hub refused for good.
    Refused { status: u16, message: String, plugin: String },
    /// A patch that will be sent again.
    Retry { status: u16 },
}

impl Part {
    pub(super) fn new(number: u64, saved: ReportRecord, waiter: Option<Waiter>) -> Part {
        let waiters = waiter.into_iter().collect();
        Part {
            number,
            saved,
            waiters,
            alone: false,
            contains_older: false,
            folded: false,
            by_key: false,
            refused: None,
            closings: 0,
            memory: QueuedMemory::default(),
        }
    }

    /// Returns the memory of the part, including its copies in flight: the merged patch, its
    /// text, and the copy for the journal.
    pub(super) fn memory_bytes(&self) -> usize {
        size::ENTRY_BYTES + 3 * size::of_map(&self.saved.patch)
    }

    /// Counts the memory of the part after its patch has changed.
    pub(super) fn count_again(&mut self) {
        self.memory.resize(self.memory_bytes());
    }

    /// Returns the patch to send next: the whole part, or its first key.
    pub(super) fn patch(&self) -> Patch {
        let count = if self.by_key { 1 } else { usize::MAX };
        let keys = self.saved.patch.iter().take(count);
        keys.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// Checks a patch against the rules and limits of IoT Hub.
pub(crate) fn check(patch: &Patch) -> Result<(), HostError> {
    check_patch(patch).map_err(|error| HostError::Invalid(error.to_string()))?;
    check_size("patch", patch, MAX_SECTION_BYTES)
        .map_err(|error| HostError::TooLarge(error.to_string()))?;
    match text_bytes(patch) {
        bytes if bytes > MAX_PATCH_BYTES => Err(HostError::TooLarge(format!(
            "patch has {bytes} bytes as JSON; at most {MAX_PATCH_BYTES} are allowed"
        ))),
        _ => Ok(()),
    }
}

/// Returns `true` if a merged patch is within the limits of IoT Hub and of a packet.
pub(super) fn fits(patch: &Patch) -> bool {
    check_size("patch", patch, MAX_SECTION_BYTES).is_ok() && text_bytes(patch) <= MAX_PATCH_BYTES
}

/// Returns the length of a patch as JSON text.
fn text_bytes(patch: &Patch) -> usize {
    struct Length(usize);
    impl io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    serde_json::to_writer(&mut length, patch).expect("a patch is JSON");
    length.0
}
