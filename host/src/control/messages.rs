//! Requests of operators, and the answers.

use serde::{Deserialize, Serialize};

use crate::plugins::slot::{Counters, SlotStatus};
use crate::router::PluginSlot;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlRequest {
    /// All plugins.
    List {},
    /// No calls for a plugin until it is enabled.
    Disable {
        /// Name of the plugin.
        plugin: String,
    },
    /// Calls for a plugin again, at once.
    Enable {
        /// Name of the plugin.
        plugin: String,
    },
    /// Take a plugin's file again.
    Reload {
        /// Name of the plugin.
        plugin: String,
    },
    /// Put a plugin's version before back.
    Rollback {
        /// Name of the plugin.
        plugin: String,
    },
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ControlAnswer {
    /// Summary of the action, in one line.
    Done(String),
    /// Reason of a failure, in one line.
    Error(String),
    /// No plugin has this name.
    UnknownPlugin(String),
    /// To [`ControlRequest::List`].
    #[serde(untagged, rename_all = "camelCase")]
    Plugins {
        /// By name.
        plugins: Vec<PluginStatus>,
        /// Reason why `host.toml` on disk is not in force, if it is not.
        configuration_refused: Option<String>,
        /// `true` if changes in it wait for a restart of the host.
        restart_needed: bool,
    },
}

/// A plugin in the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Counted from 1 since the host was started; 0 if none is loaded.
    pub version: u32,
    /// SHA-256 of its file, in hex; empty if none is loaded.
    pub digest: String,
    /// `active`, `loading`, `disabled` after failures, `off` by an operator, or
    /// `not-started`.
    pub state: String,
    /// Time since which this version takes the calls; empty if none is loaded.
    pub since: String,
    /// Last error in loading, starting or running it.
    pub last_error: Option<String>,
    /// Capabilities that were granted to it.
    pub capabilities: Vec<String>,
    /// `true` if there is a version to roll back to.
    pub may_roll_back: bool,
    /// Counters since the start of the host.
    pub counters: Counters,
}

impl ControlRequest {
    /// Parses one line.
    pub fn parse(line: &[u8]) -> Result<ControlRequest, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Returns the plugin that the request is about.
    pub(super) fn plugin(&self) -> Option<&str> {
        match self {
            ControlRequest::List {} => None,
            ControlRequest::Disable { plugin }
            | ControlRequest::Enable { plugin }
            | ControlRequest::Reload { plugin }
            | ControlRequest::Rollback { plugin } => Some(plugin),
        }
    }
}

impl ControlAnswer {
    /// Parses one line.
    pub fn parse(line: &[u8]) -> Result<ControlAnswer, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

impl PluginStatus {
    pub(super) fn of(slot: &PluginSlot) -> PluginStatus {
        let view = slot.view();
        let version = view.active.as_ref();
        let made = version.map(|version| &version.made);
        let capabilities = made.into_iter().flat_map(|made| made.plugin.capabilities());
        PluginStatus {
            name: slot.name().to_owned(),
            version: version.map_or(0, |version| version.number),
            digest: made.map(|made| made.digest.clone()).unwrap_or_default(),
            state: word(view.state).to_owned(),
            since: version.map(|version| format!("{:.3}", version.since)).unwrap_or_default(),
            last_error: view.last_error,
            capabilities: capabilities.map(|it| it.name().to_owned()).collect(),
            may_roll_back: view.may_roll_back,
            counters: view.counters,
        }
    }
}

fn word(state: SlotStatus) -> &'static str {
    match state {
        SlotStatus::Active => "active",
        SlotStatus::Disabled => "disabled",
        SlotStatus::Off => "off",
        SlotStatus::NotStarted => "not-started",
        SlotStatus::Loading => "loading",
    }
}
