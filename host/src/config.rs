//! `host.toml`: the plugins, their methods and their limits.
//!
//! ```toml
//! [hub]                             # all optional
//! port = 8883                       # MQTT over TLS
//! ca_file = "hub-ca.pem"            # trusted besides the system's; also IOTHUB_CA_FILE
//!
//! [plugins.reboot]
//! file = "reboot.wasm"
//! methods = ["rebootDevice"]        # or ["*"]: all methods that no other plugin serves
//! ```
//!
//! An unknown key is an error that names its line, because a misspelled limit would
//! otherwise be ignored. Paths are relative to the file. The file contains no secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::Origin;
use program::toml_text;
use protocol::id::MethodName;
use protocol::remote_method::reserved;

mod commits;
mod compression;
pub(crate) mod desired;
mod error;
mod file;
mod fleet;
mod host;
mod http;
mod hub;
mod identity;
mod image;
mod installed;
mod metrics;
mod otlp;
mod period;
mod pkcs11_uri;
mod plugin;
mod provisioning;
mod reboot;
mod registry;
mod remote;
mod signal;
mod signatures;
mod telemetry;
#[cfg(test)]
mod tests;

pub use commits::CommitLimits;
pub use compression::Compression;
pub use error::ConfigError;
use error::Errors;
pub use fleet::{FleetSection, ImagePattern};
pub use host::HostSection;
pub use http::HttpError;
pub use hub::HubSection;
pub(crate) use hub::default_port;
pub use identity::{IdentitySection, KeySource};
pub use image::ImageSection;
pub(crate) use installed::Configured;
pub use metrics::MetricsSection;
pub use otlp::{OtlpEndpoint, OtlpReceiver, OtlpSection, OtlpUrlError};
pub use pkcs11_uri::{Pkcs11Uri, TokenAttributes, UriError};
pub(crate) use plugin::Settings;
pub use plugin::{Patience, PluginSection};
pub use provisioning::{Attestation, IssuedSection, ProvisioningSection};
pub use reboot::{RebootCommand, RebootLimits};
pub use registry::RegistrySection;
pub use remote::{RemoteMethod, RemoteSection};
pub use signal::OtlpSignal;
pub use signatures::{SignatureRule, TrustSection};
pub use telemetry::{TelemetryLimits, WhenFull};

/// Parsed configuration. Parsing does not access the files that the configuration names.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// File that the configuration was read from, which is watched for changes; `None` if
    /// it was parsed from a string.
    pub file: Option<PathBuf>,
    /// Settings of the connection to the hub.
    pub hub: HubSection,
    /// Settings of the registration with the Device Provisioning Service; `None` for a device
    /// with a connection string.
    pub provisioning: Option<ProvisioningSection>,
    /// Settings of the host itself.
    pub host: HostSection,
    /// The plugins with a file, by name.
    pub plugins: BTreeMap<String, PluginSection>,
    /// The plugins that are named by an image, by name.
    pub images: BTreeMap<String, ImageSection>,
    /// Bounds of the plugins that the cloud may choose; `None` if it may choose none.
    pub fleet: Option<FleetSection>,
}

impl Config {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = program::text::read(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config = Config::parse(&text, path.parent().unwrap_or(Path::new("")))?;
        Ok(Config { file: Some(path.to_owned()), ..config })
    }

    /// Parses a configuration whose paths are relative to `directory`.
    pub fn parse(text: &str, directory: &Path) -> Result<Config, ConfigError> {
        let (file, lines) = toml_text::parse::<file::File>(text);
        // The parser removed these tables, so that the rules about them do not apply.
        let is_invalid = |keys: &[&str]| {
            lines.iter().any(|line| {
                line.path.iter().zip(keys).filter(|(one, other)| one == *other).count()
                    == keys.len()
            })
        };
        let mut errors = Errors::default();
        let Some(mut file) = file else {
            errors.add_lines(lines);
            return Err(errors.into_error());
        };
        let has_no_plugins = file.plugins.is_empty() && file.fleet.is_none() && lines.is_empty();
        for (name, section) in &mut file.plugins {
            if is_invalid(&["plugins", name, "http"])
                || is_invalid(&["plugins", name, "capabilities"])
            {
                (section.http, section.capabilities) = Default::default();
            }
        }
        errors.add_lines(lines);
        let hub = hub::hub(file.hub, directory, &mut errors);
        let provisioning = file
            .provisioning
            .map(|section| provisioning::provisioning(section, directory, &mut errors));
        if let (Some(hub), Some(_)) = (&hub, &provisioning) {
            errors.ok(hub.check_alone());
        }
        let host = host::host(file.host, directory, &mut errors);
        let is_local = |name: &str| file.plugins.contains_key(name);
        let fleet = file.fleet.map(|section| fleet::fleet(section, is_local, directory));
        let fleet = errors.ok(fleet.transpose());
        if has_no_plugins {
            errors.ok::<()>(Err(ConfigError::NoPlugins));
        }
        let (mut plugins, mut images) = (BTreeMap::new(), BTreeMap::new());
        for (name, section) in file.plugins {
            match errors.ok(image::origin(&name, &section, directory)) {
                Some(Origin::File(file)) => {
                    let section = plugin::plugin(name.clone(), section, file, directory);
                    plugins.extend(errors.ok(section).map(|section| (name, section)));
                }
                Some(Origin::Image(image)) => {
                    let section = image::image(name.clone(), image, section, directory);
                    images.extend(errors.ok(section).map(|section| (name, section)));
                }
                None => {}
            }
        }
        let provisioning = provisioning.map_or(Some(None), |section| section.map(Some));
        let (Some(hub), Some(provisioning), Some(host), Some(fleet)) =
            (hub, provisioning, host, fleet)
        else {
            return Err(errors.into_error());
        };
        let config = Config { file: None, hub, provisioning, host, plugins, images, fleet };
        let named = config.images.iter().map(|(name, image)| (name, image.settings()));
        errors.ok(check_methods(config.plugins.iter().chain(named)));
        errors.ok(config.check_fetching());
        errors.ok(config.check_messages());
        match errors.is_empty() {
            true => Ok(config),
            false => Err(errors.into_error()),
        }
    }

    /// Returns `true` if a running host can apply the other configuration without a
    /// restart.
    pub(crate) fn needs_no_restart_for(&self, other: &Config) -> bool {
        // The CA file may come from the command line.
        let mut hub = other.hub.clone();
        hub.ca_file = hub.ca_file.or_else(|| self.hub.ca_file.clone());
        self.hub == hub
            && self.provisioning == other.provisioning
            && self.host == other.host
            && self.images == other.images
            && self.fleet == other.fleet
    }

    /// Returns `true` if `host.toml` has a plugin of this name.
    pub(crate) fn names(&self, plugin: &str) -> bool {
        self.plugins.contains_key(plugin) || self.images.contains_key(plugin)
    }

    /// Returns `true` if any plugin can be fetched from a registry.
    pub(crate) fn fetches(&self) -> bool {
        self.fleet.is_some() || !self.images.is_empty()
    }

    /// Returns the largest number of concurrent calls of all plugins together.
    pub(crate) fn calls_at_once(&self) -> usize {
        self.all_limits().map(|limits| limits.calls_at_once).sum()
    }

    /// Returns the largest memory limit of any plugin, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.all_limits().map(|limits| limits.memory_bytes).max().unwrap_or_default()
    }

    /// Returns the limits of all plugins, and the ceiling of those that the cloud chooses.
    fn all_limits(&self) -> impl Iterator<Item = &::plugin::Limits> {
        let local = self.plugins.values().chain(self.images.values().map(ImageSection::settings));
        let cloud = self.fleet.iter().map(|fleet| &fleet.limits);
        local.map(|plugin| &plugin.settings.limits).chain(cloud)
    }

    /// Checks that the receiver of cloud-to-device messages exists. The cloud can install it later.
    fn check_messages(&self) -> Result<(), ConfigError> {
        match &self.hub.messages {
            Some(name) if !self.names(name) && self.fleet.is_none() => {
                Err(ConfigError::MessagesPlugin(::plugin::readable(name).into_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the host can judge what it fetches, and report it.
    fn check_fetching(&self) -> Result<(), ConfigError> {
        let TrustSection { keys, signature } = &self.host.trust;
        let needs_a_key = match signature {
            SignatureRule::Required => self.fleet.is_some(),
            SignatureRule::Always => self.fetches(),
            SignatureRule::Off => false,
        };
        if needs_a_key && keys.is_empty() {
            return Err(ConfigError::NoKeys);
        }
        if self.fleet.is_some() && self.host.report_plugins_under.is_none() {
            return Err(ConfigError::FleetWithoutReport);
        }
        Ok(())
    }
}

/// Returns `true` if `text` is readable in a log and valid as a key of a twin.
fn is_a_name(text: &str) -> bool {
    let readable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(readable)
}

/// Returns the configured duration or the default, if it is within its range.
fn within(
    key: &'static str,
    configured: Option<period::Period>,
    default: Duration,
    min: Duration,
    max: Duration,
) -> Result<Duration, ConfigError> {
    let found = configured.map_or(default, |period| period.0);
    if found < min || found > max {
        return Err(ConfigError::Range { key, found, min, max });
    }
    Ok(found)
}

/// Checks that no method has two plugins, and that none is reserved.
fn check_methods<'a>(
    plugins: impl Iterator<Item = (&'a String, &'a PluginSection)>,
) -> Result<(), ConfigError> {
    let mut served: BTreeMap<Option<&MethodName>, &str> = BTreeMap::new();
    for (name, plugin) in plugins {
        let named = plugin.methods.iter().map(Some);
        for method in named.chain(plugin.any_method.then_some(None)) {
            if let Some(method) = method.filter(|method| reserved(method).is_some()) {
                let (plugin, method) = (name.clone(), method.to_string());
                return Err(ConfigError::ReservedMethod { plugin, method });
            }
            match served.insert(method, name) {
                Some(first) if first != name => {
                    let method = method.map_or("`*`".to_owned(), |name| format!("`{name}`"));
                    let (first, second) = (first.to_owned(), name.clone());
                    return Err(ConfigError::Duplicate { first, second, method });
                }
                _ => {}
            }
        }
    }
    Ok(())
}
