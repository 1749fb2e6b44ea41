//! What operators ask, and what they are told.

use serde::{Deserialize, Serialize};

use crate::plugins::slot::{Counters, State};
use crate::router::PluginSlot;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// All plugins.
    List {},
    /// No calls for a plugin until it is enabled.
    Disable {
        /// Which.
        plugin: String,
    },
    /// Calls for a plugin again, at once.
    Enable {
        /// Which.
        plugin: String,
    },
    /// Take a plugin's file as it is now.
    Reload {
        /// Which.
        plugin: String,
    },
    /// Put a plugin's version before back.
    Rollback {
        /// Which.
        plugin: String,
    },
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// What has been done, in one line.
    Done(String),
    /// Why not, in one line.
    Error(String),
    /// There is no plugin of this name.
    UnknownPlugin(String),
    /// To [`Request::List`].
    #[serde(untagged, rename_all = "camelCase")]
    Plugins {
        /// By name.
        plugins: Vec<PluginStatus>,
        /// Why `host.toml` as it lies there is not in force, if it is not.
        configuration_refused: Option<String>,
        /// Whether changes in it wait for the host to be started again.
        restart_needed: bool,
    },
}

/// A plugin, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Counted from 1 since the host was started.
    pub version: u32,
    /// SHA-256 of its file, in hex.
    pub digest: String,
    /// `active`, `disabled` after failures, `off` by an operator, or
    /// `not-started`.
    pub state: String,
    /// Since when this version takes the calls.
    pub since: String,
    /// What last went wrong with loading, starting or running it.
    pub last_error: Option<String>,
    /// What it was granted.
    pub capabilities: Vec<String>,
    /// Whether there is a version to roll back to.
    pub may_roll_back: bool,
    /// What has happened to it since the host was started.
    pub counters: Counters,
}

impl Request {
    /// The plugin that it is about.
    pub(super) fn plugin(&self) -> Option<&str> {
        match self {
            Request::List {} => None,
            Request::Disable { plugin }
            | Request::Enable { plugin }
            | Request::Reload { plugin }
            | Request::Rollback { plugin } => Some(plugin),
        }
    }
}

impl PluginStatus {
    pub(super) fn of(slot: &PluginSlot) -> PluginStatus {
        let view = slot.view();
        let version = &view.active;
        let capabilities = version.made.plugin.capabilities().iter();
        PluginStatus {
            name: slot.name().to_owned(),
            version: version.number,
            digest: version.made.digest.clone(),
            state: word(view.state).to_owned(),
            since: format!("{:.3}", version.since),
            last_error: view.last_error,
            capabilities: capabilities.map(|it| it.name().to_owned()).collect(),
            may_roll_back: view.may_roll_back,
            counters: view.counters,
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Disabled => "disabled",
        State::Off => "off",
        State::NotStarted => "not-started",
    }
}
