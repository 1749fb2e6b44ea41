//! `[plugins.NAME]`: settings of one plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin::{
    Capability, HttpSettings, Limits, MAX_DEADLINE, PluginSettings, UnknownCapability, readable,
};
use protocol::id::{IdError, MethodName};
use protocol::method::MAX_PAYLOAD_BYTES;
use protocol::topic::MAX_MESSAGE_BYTES;

use super::period::Period;
use super::{ConfigError, file, http, is_a_name, within};

/// Default number of consecutive failures after which a plugin is temporarily disabled.
pub(super) const DISABLE_AFTER: u32 = 5;

/// Default time for which all calls of a plugin must have failed before it is disabled or
/// rolled back. Within this time, a successful call of any caller prevents both, so one caller
/// with bad payloads has no effect.
const FAILING_FOR: Duration = Duration::from_secs(10);

/// Default time for which an answer is repeated to calls with the same key.
pub(super) const IDEMPOTENCY_TIME: Duration = Duration::from_secs(300);

/// Settings in `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSection {
    /// Path of the component.
    pub file: PathBuf,
    /// `true` if the file comes from an image.
    pub from_image: bool,
    /// Digest that the file must have: SHA-256 in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// Methods that the plugin serves.
    pub methods: Vec<MethodName>,
    /// `true` if the plugin serves all methods that no other plugin names.
    pub any_method: bool,
    /// Tolerance for failures.
    pub patience: Patience,
    /// Field of the payload that identifies a repeated call; `None` if every call runs.
    pub idempotency_key: Option<String>,
    /// Time for which an answer is repeated to calls with the same key.
    pub idempotency_time: Duration,
    /// Shortest times that single methods need, by name. A method is not begun for a caller that
    /// waits less, if the connection allows that decision.
    pub min_times: BTreeMap<String, Duration>,
    /// Settings of the sandbox.
    pub settings: Settings,
}

/// Tolerance for failures before a plugin is disabled or rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Number of consecutive failures after which the plugin is temporarily disabled; 0
    /// disables this rule.
    pub disable_after: u32,
    /// Minimum time for which all calls must have failed.
    pub failing_for: Duration,
    /// `true` to roll back a new version of which no call succeeds.
    pub rollback: bool,
}

/// Settings of a plugin's sandbox.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    pub(super) limits: Limits,
    pub(super) config: BTreeMap<String, String>,
    pub(super) capabilities: BTreeSet<Capability>,
    pub(super) http: HttpSettings,
}

impl Settings {
    /// Returns the granted capabilities.
    pub(crate) fn capabilities(&self) -> &BTreeSet<Capability> {
        &self.capabilities
    }

    /// Returns the texts that the plugin reads through the interface `config`.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.config.values().map(String::as_str)
    }

    /// Returns the maximum size of a component, in bytes.
    pub(crate) fn component_bytes(&self) -> usize {
        self.limits.component_bytes
    }

    /// Returns the maximum number of attempts of a job.
    pub(crate) fn job_attempts(&self) -> u32 {
        self.limits.job_attempts
    }

    /// Returns the PEM file of certificates that the plugin trusts for HTTP in addition to
    /// the system's.
    pub(crate) fn http_ca_file(&self) -> Option<&Path> {
        self.http.ca_file.as_deref()
    }

    /// Converts the settings to those of the sandbox.
    pub(crate) fn to_sandbox(&self) -> PluginSettings {
        let Settings { limits, config, capabilities, http } = self.clone();
        PluginSettings { limits, config, capabilities, http }
    }
}

/// Returns the section of a plugin whose component is at `file`.
pub(super) fn plugin(
    name: String,
    section: file::Plugin,
    file: PathBuf,
    directory: &Path,
) -> Result<PluginSection, ConfigError> {
    if !is_a_name(&name) {
        return Err(ConfigError::PluginName(readable(&name).into_owned()));
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
    let table = format!("plugins.{name}");
    let limits = checked_limits(&table, &section.limits, section.deadline, &section.deadlines)?;
    let sha256 = section.sha256.map(|text| digest(&name, text)).transpose()?;
    let config = section.config.into_iter().map(|(key, value)| (key, text_of(value))).collect();
    Ok(PluginSection {
        file,
        from_image: false,
        sha256,
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
            IDEMPOTENCY_TIME,
            Duration::from_secs(1),
            24 * 3600 * Duration::from_secs(1),
        )?,
        min_times: min_times(section.min_times)?,
        settings: Settings { limits, config, capabilities, http },
    })
}

/// Checks the shortest times of methods.
fn min_times(section: BTreeMap<String, Period>) -> Result<BTreeMap<String, Duration>, ConfigError> {
    let least = Duration::from_millis(1);
    let checked = section.into_iter().map(|(method, time)| {
        let time = within("min_times", Some(time), least, least, MAX_DEADLINE)?;
        Ok((method, time))
    });
    checked.collect()
}

/// Parses a SHA-256 digest. Upper-case digits are accepted.
fn digest(plugin: &str, text: String) -> Result<String, ConfigError> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(ConfigError::Sha256 { plugin: plugin.to_owned(), found: readable(&text).into_owned() })
}

/// Returns the default limits with those of the file, which must be within their ranges.
pub(super) fn checked_limits(
    table: &str,
    keys: &file::Limits,
    deadline: Option<Period>,
    deadlines: &BTreeMap<String, Period>,
) -> Result<Limits, ConfigError> {
    let mut limits = Limits::default();
    keys.apply(&mut limits);
    limits.deadline = deadline.map_or(limits.deadline, |period| period.0);
    let deadlines = deadlines.iter();
    limits.deadlines = deadlines.map(|(method, period)| (method.clone(), period.0)).collect();
    check_limits(table, &limits)?;
    Ok(limits)
}

/// Checks that each limit is within its range, and within the limits of IoT Hub.
pub(super) fn check_limits(table: &str, limits: &Limits) -> Result<(), ConfigError> {
    limits.check().map_err(|source| ConfigError::Limit { table: table.to_owned(), source })?;
    for (limit, found, max) in [
        ("payload_bytes", limits.payload_bytes, MAX_PAYLOAD_BYTES),
        ("answer_bytes", limits.answer_bytes, MAX_PAYLOAD_BYTES),
        ("message_bytes", limits.message_bytes, MAX_MESSAGE_BYTES),
    ] {
        if found > max {
            let table = table.to_owned();
            return Err(ConfigError::AboveHubLimit { table, limit, found, max });
        }
    }
    Ok(())
}

/// Returns a value of the `config` table in the form that the plugin gets: a string as it is,
/// any other value as JSON.
fn text_of(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        toml::Value::Datetime(time) => time.to_string(),
        other => serde_json::to_string(&other).expect("TOML's other values are JSON"),
    }
}
