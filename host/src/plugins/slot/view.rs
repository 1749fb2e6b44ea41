//! Observable state of a slot: its health, its changes, its outstanding work.

use std::sync::Arc;
use std::time::Duration;

use super::{Counters, Version};

/// State of a slot at one moment.
pub(crate) struct SlotView<P> {
    /// `None` if no version could be loaded, or none yet.
    pub(crate) active: Option<Arc<Version<P>>>,
    pub(crate) state: SlotStatus,
    pub(crate) last_error: Option<String>,
    pub(crate) counters: Counters,
    pub(crate) may_roll_back: bool,
}

/// State of a plugin, in the words of reports and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SlotStatus {
    /// It takes calls.
    Active,
    /// It has failed too often and has not worked since.
    Disabled,
    /// An operator has switched it off.
    Off,
    /// It could not be loaded or started.
    NotStarted,
    /// Its first version is being loaded.
    Loading,
}

/// Digests of a slot that outlive the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VersionDigests {
    /// Active version, if it has worked.
    pub(crate) good: Option<String>,
    /// Active version, once it is started.
    pub(crate) active: Option<String>,
    /// Version before.
    pub(crate) previous: Option<String>,
    /// Version that was rolled back.
    pub(crate) rolled_back: Option<String>,
}

/// Reason why a plugin takes no calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disabled {
    #[error("disabled after repeated failures; next attempt in {0:.1?}")]
    Resting(Duration),
    #[error("switched off by the device's operator")]
    SwitchedOff,
    /// Worth waiting for: [`Slot::until_started`].
    #[error("is being started")]
    Starting,
    #[error("did not start; next attempt within 30 s")]
    NotStarted,
    /// Worth waiting for, for a moment: [`Slot::until_started`].
    #[error("is being loaded; call again in a moment")]
    Loading,
}

/// Change of a plugin by a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The version before takes the calls again.
    RolledBack { from: u32, to: u32 },
    /// No calls for this long.
    Disabled(Duration),
    /// It works again.
    Recovered,
}

/// Outstanding work for a version that left or came back without an operator.
#[derive(Debug)]
pub(crate) enum Chore<P> {
    /// It takes no more calls: stop it when its last one has ended.
    Stop(Arc<Version<P>>),
    /// It was stopped and takes calls again, in place of the version with this
    /// digest.
    StartAgain { version: Arc<Version<P>>, instead_of: String },
}
