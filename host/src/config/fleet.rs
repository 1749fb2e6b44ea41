//! `[fleet]`: the plugins that the cloud may choose, and the bounds of its choice.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use plugin::{Capability, HttpSettings, Limits, UnknownCapability, readable, readable_url};
use protocol::id::{IdError, MethodName};

use super::plugin::checked_limits;
use super::registry::is_registry;
use super::{ConfigError, file, http, is_a_name, within};

/// Settings in `[fleet]`.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSection {
    /// Repositories whose images the cloud may name.
    pub images: Vec<ImagePattern>,
    /// Names of plugins that the cloud may use; `None` for all.
    pub plugins: Option<BTreeSet<String>>,
    /// Methods that the cloud may assign; `None` for all.
    pub methods: Option<BTreeSet<MethodName>>,
    /// Capabilities that the cloud may grant.
    pub capabilities: BTreeSet<Capability>,
    /// Plugins of `host.toml` that the cloud may replace.
    pub replaces: BTreeSet<String>,
    /// Desired property that lists the plugins.
    pub desired_key: String,
    /// Maximum number of plugins that the cloud may name.
    pub max_plugins: usize,
    /// Time in which a new version has to prove itself.
    pub health_time: Duration,
    /// Maximum of each limit of a plugin.
    pub limits: Limits,
    pub(super) http: HttpSettings,
}

/// Repository, or all repositories below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern {
    text: String,
}

impl ImagePattern {
    /// Returns `true` if `repository`, which begins with the host of its registry, matches.
    #[must_use]
    pub fn matches(&self, repository: &str) -> bool {
        match self.text.strip_suffix('*') {
            Some(prefix) => repository.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
            None => repository == self.text,
        }
    }
}

pub(super) fn fleet(
    section: file::FleetKeys,
    local: impl Fn(&str) -> bool,
    directory: &Path,
) -> Result<FleetSection, ConfigError> {
    if section.images.is_empty() {
        return Err(ConfigError::FleetWithoutImages);
    }
    let images = section.images.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?;
    let named = section.plugins.into_iter().filter(|name| name != "*").collect::<BTreeSet<_>>();
    if let Some(name) = named.iter().find(|name| !is_a_name(name)) {
        return Err(ConfigError::PluginName(readable(name).into_owned()));
    }
    if let Some(name) = section.replaces.iter().find(|name| !local(name)) {
        return Err(ConfigError::FleetReplaces(readable(name).into_owned()));
    }
    let methods = section.methods.iter().filter(|name| *name != "*");
    let methods = methods
        .map(|name| name.parse())
        .collect::<Result<BTreeSet<_>, IdError>>()
        .map_err(|source| ConfigError::FleetMethod { source })?;
    let capabilities = section.capabilities.iter().map(|name| name.parse());
    let capabilities = capabilities
        .collect::<Result<BTreeSet<_>, UnknownCapability>>()
        .map_err(|source| ConfigError::FleetCapability { source })?;
    let http = http::http(section.http.as_ref(), &capabilities, directory)
        .map_err(|source| ConfigError::FleetHttp { source })?;
    let desired_key = section.desired_key.unwrap_or_else(|| "plugins".to_owned());
    if !is_a_name(&desired_key) {
        return Err(ConfigError::FleetKey(readable(&desired_key).into_owned()));
    }
    let second = Duration::from_secs(1);
    Ok(FleetSection {
        images,
        plugins: (!named.is_empty()).then_some(named),
        methods: (!methods.is_empty()).then_some(methods),
        capabilities,
        replaces: section.replaces,
        desired_key,
        max_plugins: section.max_plugins.map_or(16, NonZeroUsize::get),
        health_time: within(
            "fleet.health_time",
            section.health_time,
            FleetSection::HEALTH_TIME,
            second,
            3600 * second,
        )?,
        limits: checked_limits("fleet", &section.limits, section.deadline, &BTreeMap::new())?,
        http,
    })
}

fn pattern(text: &str) -> Result<ImagePattern, ConfigError> {
    let wrong = || ConfigError::FleetImage(readable_url(text).into_owned());
    let whole = text.strip_suffix("/*").unwrap_or(text);
    let (registry, path) = whole.split_once('/').unwrap_or((whole, ""));
    let is_part = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | '/')
    };
    let names_something = !path.is_empty() || whole.len() != text.len();
    if !is_registry(registry) || !names_something || !path.chars().all(is_part) {
        return Err(wrong());
    }
    Ok(ImagePattern { text: text.to_owned() })
}

impl FleetSection {
    /// Default time in which a new version has to prove itself.
    pub(crate) const HEALTH_TIME: Duration = Duration::from_secs(60);

    /// Returns `true` if the cloud may name an image of this repository, which begins with the
    /// host of its registry.
    #[must_use]
    pub fn allows_image(&self, repository: &str) -> bool {
        self.images.iter().any(|pattern| pattern.matches(repository))
    }

    /// Returns the plugin's settings for HTTP requests with these capabilities.
    pub(super) fn http_for(&self, capabilities: &BTreeSet<Capability>) -> HttpSettings {
        match capabilities.contains(&Capability::Http) {
            true => self.http.clone(),
            false => HttpSettings::default(),
        }
    }
}
