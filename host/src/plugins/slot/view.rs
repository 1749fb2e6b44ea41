//! The observable state of a slot: its health, its changes and its outstanding work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Counters, Version};

/// The state of a slot at one moment.
pub(crate) struct SlotView<P> {
    /// The version that receives calls. `None` if no version was loaded.
    pub(crate) active: Option<Arc<Version<P>>>,
    pub(crate) state: SlotStatus,
    pub(crate) last_error: Option<String>,
    pub(crate) counters: Counters,
    /// Time since when the counters count.
    pub(crate) since: Instant,
    pub(crate) may_roll_back: bool,
    pub(crate) rolled_back: Option<RolledBack>,
    pub(crate) desired_rejected: Option<RejectedDesired>,
    pub(crate) last_call_error: Option<CallFailure>,
}

/// The version in a plugin's file, if it was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// Number of the version. `None` if an earlier run of the host rolled it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// SHA-256 of the component, in hex.
    pub digest: String,
}

/// Desired properties that a plugin has rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedDesired {
    /// Version of the desired properties.
    pub version: u64,
    /// The plugin's reason.
    pub rejected: String,
}

/// The last call that a plugin refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailure {
    /// Error code of the answer.
    pub error: String,
    /// Message of the answer.
    pub message: String,
    /// Time of the answer.
    pub at: String,
}

/// The state of a plugin, as reports and lists show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SlotStatus {
    /// A plugin that accepts calls.
    Active,
    /// A plugin that failed too often and has not succeeded since.
    Disabled,
    /// A plugin that an operator has switched off.
    Off,
    /// A plugin that could not be loaded or started.
    NotStarted,
    /// A plugin whose first version is being loaded.
    Loading,
}

/// The digests of a slot's versions to persist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VersionDigests {
    /// The active version, if it counts as good.
    pub(crate) good: Option<String>,
    /// The active version, once it is started.
    pub(crate) active: Option<String>,
    /// The previous version.
    pub(crate) previous: Option<String>,
    /// The version that was rolled back.
    pub(crate) rolled_back: Option<String>,
}

/// The reason why a plugin accepts no calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disabled {
    #[error("disabled after repeated failures; next attempt in {0:.1?}")]
    Resting(Duration),
    #[error("switched off by the device's operator")]
    SwitchedOff,
    /// The start of the first version. [`Slot::until_started`](super::Slot::until_started) waits
    /// for its end.
    #[error("is being started")]
    Starting,
    #[error("did not start; next attempt within 30 s")]
    NotStarted,
    /// The loading of the first version. [`Slot::until_started`](super::Slot::until_started)
    /// waits for its end.
    #[error("is being loaded; call again in a moment")]
    Loading,
}

/// The change of a plugin's health by a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A rollback from the active version to the previous one.
    RolledBack { from: u32, to: u32 },
    /// The duration for which the plugin accepts no calls.
    Disabled(Duration),
    /// The first success of a disabled plugin.
    Recovered,
}

/// Outstanding work for a version that was replaced or rolled back to.
#[derive(Debug)]
pub(crate) enum Chore<P> {
    /// The stop of a replaced version, after its last call has ended.
    Stop(Arc<Version<P>>),
    /// The start of a stopped version that is active again. `instead_of` is the digest of the
    /// version that it replaces.
    StartAgain { version: Arc<Version<P>>, instead_of: String },
}
