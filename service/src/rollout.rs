//! Rollout of a plugin to many devices, in waves.
//!
//! A rollout is one automatic configuration of the hub: its content is the desired entry of the
//! plugin, its target condition selects the devices of all waves so far, and its labels have the
//! progress. There is no other state, so that any desk can continue a rollout with [`drive`].
//! Each step is one write with the configuration's etag.
//!
//! The devices report their progress under the key of the plugin: `state`, `digest` and
//! `reason`. A wave is healthy as long as few devices report that they refused the plugin or
//! rolled it back.

mod drive;
mod health;
mod labels;
mod percent;
mod running;
mod start;
mod wave_target;

use std::time::Duration;

use jiff::Timestamp;
use protocol::configuration::{Configuration, DESIRED};
use protocol::id::ConfigurationId;
use serde_json::{Map, Value, json};

use crate::ServiceError;
pub use drive::{RolloutEvent, RolloutOutcome, drive, failures, go_back, measure, take_back};
pub use health::{Verdict, WaveHealth};
pub use percent::{Percent, PercentError};
pub use running::{RunningVersion, running};
pub use start::{forget_earlier, start};
pub use wave_target::{DeviceRange, WaveTarget, WaveTargetError};

/// Priority of the first rollout of a plugin. Each further one has a higher priority.
const FIRST_PRIORITY: i32 = 1000;

/// Maximum length of a target condition, so that queries with it are short enough for the hub.
pub const MAX_CONDITION_CHARACTERS: usize = 7000;

/// A rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// The number, which increases with each rollout of the plugin.
    pub number: u32,
    /// The plugin, as in the host's configuration.
    pub plugin: String,
    /// The key of plugins in the desired and reported properties.
    pub key: String,
    /// The image with its digest, such as `registry.example/reboot@sha256:…`.
    pub image: String,
    /// The condition on the devices of all waves; `*` for all devices.
    pub target: String,
    /// The share of the devices in each wave, including the waves before it.
    pub waves: Vec<Percent>,
    /// The index of the current wave.
    pub wave: usize,
    /// The time at which the current wave began.
    pub wave_began: Timestamp,
    /// The minimum share of healthy devices in a wave.
    pub healthy: Percent,
    /// The minimum time from the beginning of a wave to the next one.
    pub pause: Duration,
    /// Maximum time for the devices of a wave to report.
    pub timeout: Duration,
    /// The state.
    pub state: RolloutState,
    /// The reason of the state; empty if there is none.
    pub reason: String,
    configuration: Configuration,
}

/// The state of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutState {
    /// The waves follow one another.
    Running,
    /// Paused by an operator.
    Paused,
    /// Stopped because too few devices were healthy.
    Stopped,
    /// Ended by an operator. The devices of the waves so far keep the plugin.
    Aborted,
    /// Taken back from all devices.
    Back,
    /// On all devices.
    Done,
}

impl RolloutState {
    const ALL: [RolloutState; 6] = [
        RolloutState::Running,
        RolloutState::Paused,
        RolloutState::Stopped,
        RolloutState::Aborted,
        RolloutState::Back,
        RolloutState::Done,
    ];

    /// Returns the name in labels and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RolloutState::Running => "running",
            RolloutState::Paused => "paused",
            RolloutState::Stopped => "stopped",
            RolloutState::Aborted => "aborted",
            RolloutState::Back => "back",
            RolloutState::Done => "done",
        }
    }

    fn from_name(name: &str) -> Option<RolloutState> {
        RolloutState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A rollout that cannot begin or continue.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// A failed request to the hub.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A name of a plugin or key that cannot be part of a path.
    #[error("`{0}` has characters besides letters, digits, - and _, or is too long")]
    Name(String),
    /// A target condition that is too long, in characters.
    #[error(
        "the target condition of the wave has {0} characters; at most {MAX_CONDITION_CHARACTERS} \
         are allowed"
    )]
    TooLong(usize),
    /// A target without devices.
    #[error("no device matches `{0}`")]
    NoDevices(String),
    /// Another rollout of the plugin to the same devices.
    #[error("rollout `{id}` to the same devices is {}", .state.name())]
    Unfinished {
        /// The id of the other rollout.
        id: ConfigurationId,
        /// Its state.
        state: RolloutState,
    },
}

/// The settings of a new rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutPlan {
    /// See [`Rollout::plugin`].
    pub plugin: String,
    /// See [`Rollout::key`].
    pub key: String,
    /// The desired entry of the plugin, with its `image`.
    pub entry: Map<String, Value>,
    /// See [`Rollout::target`].
    pub target: String,
    /// See [`Rollout::waves`].
    pub waves: Vec<Percent>,
    /// See [`Rollout::healthy`].
    pub healthy: Percent,
    /// See [`Rollout::pause`].
    pub pause: Duration,
    /// See [`Rollout::timeout`].
    pub timeout: Duration,
}

impl Rollout {
    /// Creates a rollout after the `others`. It has no wave yet.
    ///
    /// # Errors
    ///
    /// Fails if the name of the plugin cannot be part of a path.
    pub fn new(
        plan: RolloutPlan,
        others: &[Rollout],
        now: Timestamp,
    ) -> Result<Rollout, RolloutError> {
        let RolloutPlan { plugin, key, entry, target, waves, healthy, pause, timeout } = plan;
        for name in [&plugin, &key] {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if name.is_empty() || !name.chars().all(is_plain) {
                return Err(RolloutError::Name(name.clone()));
            }
        }
        let of_plugin = others.iter().filter(|other| other.plugin == plugin && other.key == key);
        let number = 1 + of_plugin.map(|other| other.number).max().unwrap_or_default();
        let image = entry.get("image").and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = format!("rollout-{}-{number}", plugin.to_ascii_lowercase());
        let id: ConfigurationId = id.parse().map_err(|_| RolloutError::Name(plugin.clone()))?;
        let path = format!("{DESIRED}.{key}.{plugin}");
        let content = Map::from_iter([(path, Value::Object(entry))]);
        let mut configuration = Configuration::new(id, content);
        configuration.priority =
            FIRST_PRIORITY.saturating_add(i32::try_from(number).unwrap_or(i32::MAX));
        Ok(Rollout {
            number,
            plugin,
            key,
            image,
            target,
            waves,
            wave: 0,
            wave_began: now,
            healthy,
            pause,
            timeout,
            state: RolloutState::Running,
            reason: String::new(),
            configuration,
        })
    }

    /// Returns the rollouts among configurations, ordered by plugin and number.
    #[must_use]
    pub fn all(configurations: Vec<Configuration>) -> Vec<Rollout> {
        let mut all: Vec<_> = configurations.into_iter().filter_map(labels::read).collect();
        all.sort_by(|a, b| (&a.plugin, a.number).cmp(&(&b.plugin, b.number)));
        all
    }

    /// Reads a rollout from its configuration. Returns `None` for another configuration.
    #[must_use]
    pub fn read(configuration: Configuration) -> Option<Rollout> {
        labels::read(configuration)
    }

    /// Returns the configuration to write, with the progress in its labels.
    #[must_use]
    pub fn to_configuration(&self) -> Configuration {
        labels::write(self)
    }

    /// Returns the id of the configuration.
    #[must_use]
    pub fn id(&self) -> &ConfigurationId {
        &self.configuration.id
    }

    /// Returns the condition that selects the devices so far; empty for none.
    #[must_use]
    pub fn condition(&self) -> &str {
        &self.configuration.target_condition
    }

    /// Returns the digest of the image.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.image.rsplit_once('@').map_or("", |(_, digest)| digest)
    }

    /// Returns the share of the current wave.
    #[must_use]
    pub fn share(&self) -> Percent {
        self.waves.get(self.wave).copied().unwrap_or(Percent::ALL)
    }

    /// Returns `true` if there is no wave after the current one.
    #[must_use]
    pub fn is_last_wave(&self) -> bool {
        self.wave + 1 >= self.waves.len()
    }

    /// Begins a wave. `ids` are the devices of all waves.
    ///
    /// # Errors
    ///
    /// Fails if the target condition would be too long.
    pub fn begin_wave(
        &mut self,
        wave: usize,
        ids: Vec<protocol::id::DeviceId>,
        now: Timestamp,
    ) -> Result<(), RolloutError> {
        // Before the first wave, the configuration has no devices.
        let earlier = match self.condition() {
            "" => Vec::new(),
            condition => {
                WaveTarget::parse(condition).map(|target| target.ranges).unwrap_or_default()
            }
        };
        (self.wave, self.wave_began) = (wave, now);
        let target = WaveTarget::new(&self.target, self.share(), ids, &earlier);
        let condition = target.to_string();
        let length = condition.chars().count();
        if length > MAX_CONDITION_CHARACTERS {
            return Err(RolloutError::TooLong(length));
        }
        self.configuration.target_condition = condition;
        Ok(())
    }

    /// Ends the rollout and selects no device any longer. The hub removes the entry from all
    /// devices, and applies that of the earlier rollout.
    pub fn take_back(&mut self) {
        self.configuration.target_condition = String::new();
        self.state = RolloutState::Back;
    }

    /// Returns the document for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id(),
            "plugin": self.plugin,
            "image": self.image,
            "target": self.target,
            "state": self.state.name(),
            "reason": self.reason,
            "wave": self.wave + 1,
            "waves": self.waves.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "waveBegan": self.wave_began.to_string(),
            "healthy": self.healthy.to_string(),
        })
    }
}
