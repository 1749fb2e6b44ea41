//! Events for the planner, and the actions that it returns.

use std::collections::BTreeMap;

use oci::Digest;
use tokio::time::Instant;

use crate::fleet::failure::Failure;
use crate::fleet::record::Installed;
use crate::fleet::report::{CapabilityChange, FleetState};
use crate::fleet::wish::{RefusedWish, Wish};

/// Time of an event.
#[derive(Debug, Clone)]
pub(crate) struct EventTime {
    pub(crate) instant: Instant,
    /// Time by the wall clock (RFC 3339).
    pub(crate) text: String,
}

/// FleetEvent for the planner.
#[derive(Debug)]
pub(crate) enum FleetEvent {
    /// The desired properties, and the images of `host.toml`. A plugin that is not among the
    /// wishes is unwanted.
    Wishes {
        version: u64,
        wishes: BTreeMap<String, Result<Wish, RefusedWish>>,
    },
    Progress {
        plugin: String,
        generation: u64,
        progress: ActivationProgress,
    },
    /// End of an activation. The version is started and healthy, or `None` if the tag still names
    /// the version in force.
    Activated {
        plugin: String,
        generation: u64,
        outcome: Result<Option<Box<Installed>>, Failure>,
    },
    /// End of a probation.
    Proved {
        plugin: String,
        generation: u64,
        outcome: Result<(), Failure>,
    },
    /// Time of [`Planner::next_due`].
    Due,
    /// New connection to the hub. The network may work again for registries too.
    Connected,
}

/// Progress of an activation.
#[derive(Debug, Clone)]
pub(crate) enum ActivationProgress {
    State(FleetState),
    Percent(u8),
    Capabilities(CapabilityChange),
    Digest(Digest),
}

/// Step to carry out.
#[derive(Debug, PartialEq)]
pub(crate) enum FleetAction {
    /// Fetches, verifies, compiles and starts a version.
    Activate { plugin: String, generation: u64, wish: Wish, floor: u64, running: Option<Installed> },
    /// Watches the version in force until it has proved itself.
    Watch { plugin: String, generation: u64, version: Installed },
    /// Cancels the step of a plugin.
    Cancel { plugin: String },
    /// Puts a version into force again; `None` for that of `host.toml`, or no plugin.
    Restore { plugin: String, version: Option<Installed> },
    /// Persists [`Planner::record`].
    Persist,
}
