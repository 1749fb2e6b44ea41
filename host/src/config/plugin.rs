//! `[plugins.NAME]`: methods and limits of a plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin::{Capability, HttpSettings, Limits, PluginSettings, UnknownCapability};
use protocol::id::{IdError, MethodName};
use protocol::method::MAX_PAYLOAD_BYTES;
use protocol::topic::MAX_MESSAGE_BYTES;

use super::{ConfigError, file, http, is_a_name, within};

/// Failures in a row that disable a plugin for a while.
const DISABLE_AFTER: u32 = 5;

/// Time that failures must last. A caller who sends what a plugin cannot take would
/// otherwise disable it, or put back the version that repairs it, with a few calls; within
/// this time the calls of others succeed.
const FAILING_FOR: Duration = Duration::from_secs(10);

/// `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSection {
    /// The component.
    pub file: PathBuf,
    /// The methods that it serves.
    pub methods: Vec<MethodName>,
    /// `true` if it serves the methods that no other plugin names.
    pub any_method: bool,
    /// Failures that it may have.
    pub patience: Patience,
    /// Field of a payload that identifies a repeated method; `None`: every call runs.
    pub idempotency_key: Option<String>,
    /// Time after the first answer in which a repeated call gets the same answer.
    pub idempotency_time: Duration,
    /// Settings of the sandbox.
    pub settings: Settings,
}

/// Failures that a plugin may have before it is disabled or rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Failures in a row that disable it for a while; 0: it is never disabled.
    pub disable_after: u32,
    /// Least time over which all calls must have failed.
    pub failing_for: Duration,
    /// `true` if a new version that never succeeds is rolled back.
    pub rollback: bool,
}

/// Limits, capabilities and the plugin's own settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    pub(super) limits: Limits,
    pub(super) config: BTreeMap<String, String>,
    pub(super) capabilities: BTreeSet<Capability>,
    pub(super) http: HttpSettings,
}

impl Settings {
    /// Returns the capabilities that were granted to the plugin.
    pub(crate) fn capabilities(&self) -> &BTreeSet<Capability> {
        &self.capabilities
    }

    /// The longest file that is read for a component.
    pub(crate) fn component_bytes(&self) -> usize {
        self.limits.component_bytes
    }

    /// Returns the longest time of compiling.
    pub(crate) fn compile_time(&self) -> Duration {
        self.limits.compile_time
    }

    /// Returns the number of attempts for one of its jobs.
    pub(crate) fn job_attempts(&self) -> u32 {
        self.limits.job_attempts
    }

    /// Returns the file of certificates that it trusts over HTTP beside those of the
    /// system.
    pub(crate) fn http_ca_file(&self) -> Option<&Path> {
        self.http.ca_file.as_deref()
    }

    pub(crate) fn to_sandbox(&self) -> PluginSettings {
        let Settings { limits, config, capabilities, http } = self.clone();
        PluginSettings { limits, config, capabilities, http }
    }
}

pub(super) fn plugin(
    name: String,
    section: file::Plugin,
    directory: &Path,
) -> Result<PluginSection, ConfigError> {
    if !is_a_name(&name) {
        return Err(ConfigError::PluginName(name.escape_debug().to_string()));
    }
    if section.methods.is_empty() {
        return Err(ConfigError::NoMethods(name));
    }
    let (any, named): (Vec<_>, Vec<_>) = section.methods.iter().partition(|name| *name == "*");
    let methods = named
        .into_iter()
        .map(|method| method.parse())
        .collect::<Result<_, IdError>>()
        .map_err(|source| ConfigError::Method { plugin: name.clone(), source })?;
    let capabilities = section.capabilities.iter().map(|name| name.parse());
    let capabilities = capabilities
        .collect::<Result<_, UnknownCapability>>()
        .map_err(|source| ConfigError::Capability { plugin: name.clone(), source })?;
    let http = http::http(section.http.as_ref(), &capabilities, directory)
        .map_err(|source| ConfigError::Http { plugin: name.clone(), source })?;
    let limits = limits(&name, &section)?;
    let config = section.config.into_iter().map(|(key, value)| (key, text_of(value))).collect();
    Ok(PluginSection {
        file: directory.join(section.file),
        methods,
        any_method: !any.is_empty(),
        patience: Patience {
            disable_after: section.disable_after.unwrap_or(DISABLE_AFTER),
            failing_for: within(
                "failing_for",
                section.failing_for,
                FAILING_FOR,
                Duration::ZERO,
                3600 * Duration::from_secs(1),
            )?,
            rollback: section.rollback.unwrap_or(true),
        },
        idempotency_key: section.idempotency_key,
        idempotency_time: within(
            "idempotency_time",
            section.idempotency_time,
            300 * Duration::from_secs(1),
            Duration::from_secs(1),
            24 * 3600 * Duration::from_secs(1),
        )?,
        settings: Settings { limits, config, capabilities, http },
    })
}

fn limits(plugin: &str, section: &file::Plugin) -> Result<Limits, ConfigError> {
    let mut limits = Limits::default();
    section.limits.apply(&mut limits);
    limits.deadline = section.deadline.map_or(limits.deadline, |period| period.0);
    let deadlines = section.deadlines.iter();
    limits.deadlines = deadlines.map(|(method, period)| (method.clone(), period.0)).collect();
    limits.check().map_err(|source| ConfigError::Limit { plugin: plugin.to_owned(), source })?;
    for (limit, found, most) in [
        ("payload_bytes", limits.payload_bytes, MAX_PAYLOAD_BYTES),
        ("answer_bytes", limits.answer_bytes, MAX_PAYLOAD_BYTES),
        ("message_bytes", limits.message_bytes, MAX_MESSAGE_BYTES),
    ] {
        if found > most {
            return Err(ConfigError::PastTheHub { plugin: plugin.to_owned(), limit, found, most });
        }
    }
    Ok(limits)
}

/// Returns a plugin's own setting as text: a string unchanged, any other value as JSON.
fn text_of(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        toml::Value::Datetime(time) => time.to_string(),
        other => serde_json::to_string(&other).expect("TOML's other values are JSON"),
    }
}
