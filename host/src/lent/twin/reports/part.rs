//! A part of the queue of reports: the waiting reports of one plugin, merged.

use std::io;

use plugin::HostError;
use protocol::twin::{MAX_SECTION_BYTES, check_patch, check_size};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

/// Limit of a patch as JSON text. IoT Hub does not count control characters
/// (`protocol::twin::size`), so that a patch within its limit may be of any length.
/// A twin at its limit with every text escaped stays below this.
pub(super) const MAX_PATCH_BYTES: usize = 128 * 1024;

pub(crate) type Patch = Map<String, Value>;
pub(crate) type Waiter = oneshot::Sender<Result<u64, HostError>>;

/// Waiting reports of one plugin, merged.
pub(super) struct Part {
    /// Its place in the order of all, and its name on disk.
    pub(super) number: u64,
    pub(super) saved: ReportRecord,
    pub(super) waiters: Vec<Waiter>,
    /// A patch that it was merged into was refused, so it is sent by itself.
    pub(super) alone: bool,
    /// Something older was merged into it after it was accepted.
    pub(super) older_inside: bool,
    /// It may be several reports in one: one of them may be refused, and the others
    /// not.
    pub(super) folded: bool,
    /// Sent one top-level key at a time, since the hub refused the whole.
    pub(super) by_key: bool,
    /// The reason of the hub to refuse one of the keys.
    pub(super) refused: Option<HostError>,
    /// Connections in a row that the hub closed while this was on its way.
    pub(super) closings: u32,
}

/// Stored form of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReportRecord {
    pub(crate) plugin: String,
    pub(crate) patch: Patch,
}

/// Outcome of a patch that the hub has answered.
#[derive(Debug, PartialEq)]
pub(crate) enum PatchOutcome {
    /// The hub has it; the new version of the reported properties.
    Taken { patch: Patch, version: u64 },
    /// The hub does not want it, and will not want it later.
    Refused { status: u16, message: String, plugin: String },
    /// It will be sent again.
    Again { status: u16 },
}

impl Part {
    pub(super) fn new(number: u64, saved: ReportRecord, waiter: Option<Waiter>) -> Part {
        let waiters = waiter.into_iter().collect();
        Part {
            number,
            saved,
            waiters,
            alone: false,
            older_inside: false,
            folded: false,
            by_key: false,
            refused: None,
            closings: 0,
        }
    }

    /// Returns the patch to send next of this part.
    pub(super) fn patch(&self) -> Patch {
        let count = if self.by_key { 1 } else { usize::MAX };
        let keys = self.saved.patch.iter().take(count);
        keys.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// Checks whether the hub will accept this patch, as far as that is known here.
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

/// Checks that a merged patch is within the limits of IoT Hub and of a packet.
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
