//! Plugins in the desired properties, and the check that `[fleet]` allows them.
//!
//! ```json
//! {"image": "registry.example.com/plugins/reboot@sha256:…", "methods": ["rebootDevice"],
//!  "config": {"delay_seconds": 2}, "capabilities": ["power"], "limits": {"memory_bytes": 1048576},
//!  "deadline": "30s", "allowDowngrade": false}
//! ```
//!
//! Only `image` is required. The artifact provides the methods, the capabilities and the settings
//! that an entry does not name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use oci::{Digest, Reference};
use plugin::{Capability, Limits, readable};
use protocol::id::MethodName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::period::Period;
use super::plugin::{DISABLE_AFTER, IDEMPOTENCY_TIME, Settings, check_limits};
use super::{ConfigError, FleetSection, Patience, PluginSection, file, is_a_name};

/// Time for which all calls of a new version must have failed before it is rolled back. It is
/// shorter than that of a local plugin, because a broken version reaches a whole wave at once.
const FAILING_FOR: Duration = Duration::from_secs(5);

/// Entry of a plugin in the desired properties.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DesiredPlugin {
    /// Entry as the hub has sent it.
    pub(crate) json: Value,
    pub(crate) image: Reference,
    /// Digest of the image.
    pub(crate) digest: Digest,
    /// `true` to accept a release number below the highest that was active.
    pub(crate) allow_downgrade: bool,
    keys: DesiredKeys,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DesiredKeys {
    image: String,
    methods: Option<Vec<String>>,
    #[serde(default)]
    config: Map<String, Value>,
    capabilities: Option<BTreeSet<String>>,
    #[serde(default)]
    limits: file::Limits,
    deadline: Option<Period>,
    #[serde(default)]
    allow_downgrade: bool,
}

/// Proposals of an artifact for settings that a desired entry does not name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposals {
    pub(crate) methods: Vec<String>,
    pub(crate) capabilities: BTreeSet<String>,
    pub(crate) config: BTreeMap<String, String>,
    /// Method that must succeed before the version is active.
    #[serde(default)]
    pub(crate) health: Option<String>,
}

/// Reason why an entry is refused before anything is fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NotAllowed {
    /// Short name for programs.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

fn not_allowed(code: &'static str, message: String) -> NotAllowed {
    NotAllowed { code, message }
}

impl DesiredPlugin {
    /// Parses an entry.
    pub(crate) fn parse(json: &Value) -> Result<DesiredPlugin, NotAllowed> {
        let keys: DesiredKeys = DesiredKeys::deserialize(json)
            .map_err(|error| not_allowed("invalid-entry", readable(&error.to_string()).into()))?;
        let image: Reference = keys.image.parse().map_err(|error: oci::ReferenceError| {
            not_allowed("invalid-entry", program::chain(&error).to_string())
        })?;
        let Some(digest) = image.digest() else {
            let message = format!("`{image}` has no digest; a tag can move");
            return Err(not_allowed("not-pinned", message));
        };
        let allow_downgrade = keys.allow_downgrade;
        Ok(DesiredPlugin { json: json.clone(), image, digest, allow_downgrade, keys })
    }
}

impl FleetSection {
    /// Checks everything about an entry that is known before its image is fetched. `is_local` is
    /// `true` if `host.toml` has a plugin of this name.
    pub(crate) fn check(
        &self,
        name: &str,
        entry: &DesiredPlugin,
        is_local: bool,
    ) -> Result<(), NotAllowed> {
        let is_named = self.plugins.as_ref().is_none_or(|names| names.contains(name));
        if !is_a_name(name) || !is_named {
            let message = format!("`plugins` under [fleet] does not contain `{}`", readable(name));
            return Err(not_allowed("name-not-allowed", message));
        }
        if is_local && !self.replaces.contains(name) {
            let message = format!("`{name}` is in host.toml, and not in `replaces` under [fleet]");
            return Err(not_allowed("local-plugin", message));
        }
        let repository = format!("{}/{}", entry.image.registry(), entry.image.repository());
        if !self.allows_image(&repository) {
            let message = format!("`images` under [fleet] does not contain `{repository}`");
            return Err(not_allowed("image-not-allowed", message));
        }
        if let Some(limit) = self.above_ceiling(entry) {
            let message = format!("`{limit}` is above [fleet.limits]");
            return Err(not_allowed("limit-above-ceiling", message));
        }
        self.methods_of(entry, &Proposals::default())?;
        self.capabilities_of(entry, &Proposals::default())?;
        Ok(())
    }

    /// Returns the section of a plugin whose component is at `file`. It has been checked by
    /// [`FleetSection::check`].
    pub(crate) fn section(
        &self,
        name: &str,
        entry: &DesiredPlugin,
        proposals: &Proposals,
        file: PathBuf,
        sha256: String,
    ) -> Result<PluginSection, NotAllowed> {
        let (methods, any_method) = self.methods_of(entry, proposals)?;
        if methods.is_empty() && !any_method {
            let message = "neither the desired entry nor the artifact names methods".to_owned();
            return Err(not_allowed("no-methods", message));
        }
        let capabilities = self.capabilities_of(entry, proposals)?;
        let mut limits = Limits::default();
        file::lower_to(&mut limits, &self.limits);
        entry.keys.limits.apply(&mut limits);
        limits.deadline = entry.keys.deadline.map_or(limits.deadline, |period| period.0);
        check_limits(name, &limits).map_err(|error: ConfigError| {
            not_allowed("invalid-entry", program::chain(&error).to_string())
        })?;
        let mut config = proposals.config.clone();
        config.extend(entry.keys.config.iter().map(|(key, value)| (key.clone(), text_of(value))));
        let http = self.http_for(&capabilities);
        Ok(PluginSection {
            file,
            from_image: true,
            sha256: Some(sha256),
            methods,
            any_method,
            patience: Patience {
                disable_after: DISABLE_AFTER,
                failing_for: FAILING_FOR,
                rollback: true,
            },
            idempotency_key: None,
            idempotency_time: IDEMPOTENCY_TIME,
            min_times: BTreeMap::new(),
            settings: Settings { limits, config, capabilities, http },
        })
    }

    /// Returns the name of a limit of an entry that is above the ceiling.
    fn above_ceiling(&self, entry: &DesiredPlugin) -> Option<&'static str> {
        let above = entry.keys.limits.first_above(&self.limits);
        let deadline = entry.keys.deadline.is_some_and(|period| period.0 > self.limits.deadline);
        above.or(deadline.then_some("deadline"))
    }

    /// Returns the methods of an entry, and `true` if it serves all that no other plugin serves.
    fn methods_of(
        &self,
        entry: &DesiredPlugin,
        proposals: &Proposals,
    ) -> Result<(Vec<MethodName>, bool), NotAllowed> {
        let names = entry.keys.methods.as_ref().unwrap_or(&proposals.methods);
        let (any, named): (Vec<_>, Vec<_>) = names.iter().partition(|name| *name == "*");
        let refused = |name: &str| {
            let message = format!("`methods` under [fleet] does not contain `{}`", readable(name));
            not_allowed("method-not-allowed", message)
        };
        if !any.is_empty() && self.methods.is_some() {
            return Err(refused("*"));
        }
        let parse = |name: &&String| {
            let method: MethodName = name.parse().map_err(|error: protocol::id::IdError| {
                not_allowed("invalid-entry", error.to_string())
            })?;
            match &self.methods {
                Some(allowed) if !allowed.contains(&method) => Err(refused(name)),
                _ => Ok(method),
            }
        };
        Ok((named.iter().map(parse).collect::<Result<_, _>>()?, !any.is_empty()))
    }

    /// Returns the capabilities of an entry.
    fn capabilities_of(
        &self,
        entry: &DesiredPlugin,
        proposals: &Proposals,
    ) -> Result<BTreeSet<Capability>, NotAllowed> {
        let names = entry.keys.capabilities.as_ref().unwrap_or(&proposals.capabilities);
        let parse = |name: &String| {
            let capability: Capability =
                name.parse().map_err(|error: plugin::UnknownCapability| {
                    not_allowed("capability-above-ceiling", error.to_string())
                })?;
            match self.capabilities.contains(&capability) {
                true => Ok(capability),
                false => {
                    let message =
                        format!("`capabilities` under [fleet] does not contain `{capability}`");
                    Err(not_allowed("capability-above-ceiling", message))
                }
            }
        };
        names.iter().map(parse).collect()
    }
}

/// Returns a value of `config` in the form that the plugin gets: a string as it is, any other
/// value as JSON.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
