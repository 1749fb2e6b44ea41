//! FleetReports about the plugins of the fleet, as they appear in the reported properties.

use std::collections::BTreeSet;

use oci::Digest;
use serde::Serialize;
use serde_json::{Map, Value};

/// Maximum length of a reported message, in characters.
const MAX_MESSAGE_CHARS: usize = 256;

/// State of a plugin that is fetched from a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FleetState {
    Downloading,
    Verifying,
    Compiling,
    Starting,
    Active,
    Refused,
    RolledBack,
}

impl FleetState {
    /// Returns the name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FleetState::Downloading => "downloading",
            FleetState::Verifying => "verifying",
            FleetState::Compiling => "compiling",
            FleetState::Starting => "starting",
            FleetState::Active => "active",
            FleetState::Refused => "refused",
            FleetState::RolledBack => "rolled-back",
        }
    }
}

impl Serialize for FleetState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Report about a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) state: FleetState,
    /// Digest of the wanted image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
    /// Version of the desired properties to which the state belongs.
    pub(crate) desired_version: u64,
    /// Time at which the state began (RFC 3339).
    pub(crate) since: String,
    /// Digest of the image that runs while another one is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) running_digest: Option<Digest>,
    /// Percentage of a large download.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<u8>,
    /// Reason of a refusal or of a wait, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Reason of a refusal or of a wait, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Change of the granted capabilities, reported before the version starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capability_change: Option<CapabilityChange>,
}

/// Difference between the granted capabilities of two versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CapabilityChange {
    pub(crate) added: BTreeSet<&'static str>,
    pub(crate) removed: BTreeSet<&'static str>,
}

impl Report {
    /// Sets the reason of a refusal or of a wait.
    pub(crate) fn because(mut self, reason: &str, message: &str) -> Report {
        self.reason = Some(reason.to_owned());
        self.message = Some(message.chars().take(MAX_MESSAGE_CHARS).collect());
        self
    }

    /// Adds the report to the status of the plugin's slot, whose state stands if the version is
    /// active.
    pub(crate) fn add_to(&self, status: &mut Map<String, Value>) {
        let own = match serde_json::to_value(self) {
            Ok(Value::Object(own)) => own,
            _ => unreachable!("a report is a JSON object"),
        };
        let slot_state = status.get("state").cloned();
        status.extend(own);
        if let (FleetState::Active, Some(state)) = (self.state, slot_state) {
            status.insert("state".to_owned(), state);
        }
    }
}

/// Channel with the reports about all plugins, by name.
pub(crate) type FleetReports =
    tokio::sync::watch::Receiver<std::collections::BTreeMap<String, Report>>;
