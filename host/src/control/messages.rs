//! Requests of operators, and their answers.

use protocol::id::MethodName;
use serde::{Deserialize, Serialize};

use super::status::{HostStatus, JobStatus};
use crate::lent::log::LoggedLine;
use crate::plugins::Compilation;
use crate::plugins::slot::{CallFailure, Counters, RejectedDesired, RolledBack, SlotStatus};
use crate::record::RecordedCall;
use crate::router::PluginSlot;

/// Request of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlRequest {
    /// List of all plugins.
    List {},
    /// Description of the host.
    Status {},
    /// Metrics of the host.
    Metrics {},
    /// List of the pending jobs.
    Jobs {},
    /// Cancellation of a pending job.
    CancelJob {
        /// Id of the job.
        job: String,
    },
    /// Disabling of a plugin until it is enabled again. All its calls are refused.
    Disable {
        /// Name of the plugin.
        plugin: String,
    },
    /// Enabling of a plugin, effective immediately.
    Enable {
        /// Name of the plugin.
        plugin: String,
    },
    /// Reloading of a plugin's file.
    Reload {
        /// Name of the plugin.
        plugin: String,
    },
    /// Return to a plugin's previous version.
    Rollback {
        /// Name of the plugin.
        plugin: String,
    },
    /// Last log lines of a plugin. With `follow`, the connection stays open and carries the
    /// lines that are added.
    Logs {
        /// Name of the plugin.
        plugin: String,
        /// Number of earlier lines.
        lines: u32,
        /// `true` for the lines that are added, too.
        follow: bool,
    },
    /// Recording of the next calls of a plugin. The connection stays open and carries a line for
    /// each call. The recording ends with the connection.
    Record {
        /// Method to record; `None` for all methods and jobs of the plugin.
        method: Option<MethodName>,
        /// Name of the plugin; `None` for the plugin that serves the method.
        plugin: Option<String>,
        /// Number of calls.
        calls: u32,
        /// Time limit of the recording, in seconds.
        seconds: u64,
        /// JSON pointers to values of the cases that are left out.
        redact: Vec<String>,
    },
}

/// Answer to a [`ControlRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAnswer {
    /// Result of an action, in one line.
    Done(String),
    /// Reason why an action failed, in one line.
    Error(String),
    /// Name of a plugin that the host does not have.
    UnknownPlugin(String),
    /// Start of a recording: name of the plugin whose calls are recorded.
    Recording(String),
    /// A recorded call.
    Recorded(RecordedCall),
    /// A log line of a plugin.
    LogLine(Box<LoggedLine>),
    /// Number of log lines, of all plugins, that a slow client has missed.
    MissedLines(u64),
    /// Id of a job that the host does not have.
    UnknownJob(String),
    /// Answer to [`ControlRequest::Status`].
    Status(Box<HostStatus>),
    /// Answer to [`ControlRequest::Metrics`], as OpenMetrics text.
    Metrics(String),
    /// Answer to [`ControlRequest::Jobs`].
    Jobs(Vec<JobStatus>),
    /// Answer to [`ControlRequest::List`].
    #[serde(untagged, rename_all = "snake_case")]
    Plugins {
        /// Plugins in the order of their names.
        plugins: Vec<PluginStatus>,
        /// Compilations in progress, the oldest first.
        #[serde(default)]
        compiling: Vec<Compilation>,
        /// Error because of which the host refused the current `host.toml`.
        configuration_refused: Option<String>,
        /// `true` if a change in `host.toml` takes effect only after a restart.
        restart_needed: bool,
    },
}

/// Status of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// Name of the plugin in the configuration.
    pub name: String,
    /// Number of the version, from 1 at the start of the host; 0 if no version is loaded.
    pub version: u32,
    /// SHA-256 of the component in hexadecimal; empty if no version is loaded.
    pub digest: String,
    /// State: `active`, `loading`, `disabled` (after failures), `off` (by an operator) or
    /// `not-started`.
    pub state: String,
    /// Time at which this version became active; empty if no version is loaded.
    pub since: String,
    /// Last error while loading, starting or running the plugin.
    pub last_error: Option<String>,
    /// Last call that failed or that the plugin refused.
    pub last_call_error: Option<CallFailure>,
    /// Version that was rolled back, if the plugin's file still contains it.
    pub rolled_back: Option<RolledBack>,
    /// Desired properties that the plugin has rejected.
    pub desired: Option<RejectedDesired>,
    /// Capabilities that were granted to the plugin.
    pub capabilities: Vec<String>,
    /// `true` if there is a previous version to roll back to.
    pub may_roll_back: bool,
    /// Counters since the start of the host.
    pub counters: Counters,
}

impl ControlRequest {
    /// Parses a line of JSON.
    pub fn parse(line: &[u8]) -> Result<ControlRequest, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Returns the name of the plugin that the request concerns.
    pub(super) fn plugin(&self) -> Option<&str> {
        match self {
            ControlRequest::List {}
            | ControlRequest::Status {}
            | ControlRequest::Metrics {}
            | ControlRequest::Jobs {}
            | ControlRequest::CancelJob { .. } => None,
            ControlRequest::Record { plugin, .. } => plugin.as_deref(),
            ControlRequest::Disable { plugin }
            | ControlRequest::Enable { plugin }
            | ControlRequest::Reload { plugin }
            | ControlRequest::Rollback { plugin }
            | ControlRequest::Logs { plugin, .. } => Some(plugin),
        }
    }
}

impl ControlAnswer {
    /// Parses a line of JSON.
    pub fn parse(line: &[u8]) -> Result<ControlAnswer, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

impl PluginStatus {
    /// Returns the status of the plugin in a slot.
    pub(super) fn of(slot: &PluginSlot) -> PluginStatus {
        let view = slot.view();
        let version = view.active.as_ref();
        let loaded = version.map(|version| &version.loaded);
        let capabilities = loaded.into_iter().flat_map(|loaded| loaded.plugin.capabilities());
        PluginStatus {
            name: slot.name().to_owned(),
            version: version.map_or(0, |version| version.number),
            digest: loaded.map(|loaded| loaded.digest.clone()).unwrap_or_default(),
            state: state_name(view.state).to_owned(),
            since: version.map(|version| format!("{:.3}", version.since)).unwrap_or_default(),
            last_error: view.last_error,
            last_call_error: view.last_call_error,
            rolled_back: view.rolled_back,
            desired: view.desired_rejected,
            capabilities: capabilities.map(|it| it.name().to_owned()).collect(),
            may_roll_back: view.may_roll_back,
            counters: view.counters,
        }
    }
}

/// Returns the name of a state in messages.
fn state_name(state: SlotStatus) -> &'static str {
    match state {
        SlotStatus::Active => "active",
        SlotStatus::Disabled => "disabled",
        SlotStatus::Off => "off",
        SlotStatus::NotStarted => "not-started",
        SlotStatus::Loading => "loading",
    }
}
