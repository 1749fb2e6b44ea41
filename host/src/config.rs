//! `host.toml`: which plugins serve which methods, within which limits.
//!
//! ```toml
//! [hub]                             # all optional
//! port = 8883                       # where the hub takes MQTT over TLS
//! ca_file = "hub-ca.pem"            # trusted beside the system's; also IOTHUB_CA_FILE
//!
//! [plugins.reboot]
//! file = "reboot.wasm"
//! methods = ["rebootDevice"]        # or ["*"]: whatever no other plugin serves
//! ```
//!
//! Strict, since a key that is lost is a limit that is off: an unknown key is an
//! error with its line. Paths are relative to the file. No secret stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin::{Capability, HttpSettings, LimitError, Limits, PluginSettings, UnknownCapability};
use protocol::id::{IdError, MethodName};
use protocol::method::MAX_PAYLOAD_BYTES;
use protocol::topic::MAX_MESSAGE_BYTES;

use crate::power::RebootCommand;
use crate::telemetry::TelemetryLimits;

mod file;
mod http;
mod period;
#[cfg(test)]
mod tests;

pub use http::HttpError;
/// Failures in a row that disable a plugin for a while.
const DISABLE_AFTER: u32 = 5;

/// The port of MQTT over TLS.
const MQTT_PORT: u16 = 8883;

/// The longest time between two signs of life. IoT Hub allows 1.5 times the
/// keep-alive and at most 1767 s.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(1177);

/// A whole configuration, checked but for what stands in its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where it was read, and where it is watched for changes; `None`: it was
    /// not read from a file.
    pub file: Option<PathBuf>,
    /// How to reach the hub.
    pub hub: HubSection,
    /// The host itself.
    pub host: HostSection,
    /// The plugins by name; never empty.
    pub plugins: BTreeMap<String, PluginSection>,
}

/// `[hub]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSection {
    /// Where the hub takes MQTT over TLS. `None`: as the connection string says,
    /// or 8883.
    pub port: Option<u16>,
    /// Certificates to trust beside the system's: a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The file that holds the device's connection string.
    pub connection_string_file: Option<PathBuf>,
    /// The longest silence on the connection.
    pub keep_alive: Duration,
    /// How long a SAS token is good for; renewed at 80 % of it.
    pub token_lifetime: Duration,
}

/// `[host]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSection {
    /// How long calls may go on after the host was told to stop.
    pub grace: Duration,
    /// Where compiled plugins are kept; else in the user's cache directory.
    pub compile_cache: Option<PathBuf>,
    /// Where that is kept which must outlive the process; else where systemd says,
    /// or in the user's data directory.
    pub data: Option<PathBuf>,
    /// Messages that may wait for the hub.
    pub telemetry: TelemetryLimits,
    /// How the machine is rebooted for a plugin that may ask for it.
    pub reboot: RebootCommand,
    /// The reported property under which the plugins are listed; `None`: they
    /// are not.
    pub report_plugins_under: Option<String>,
    /// Where operators reach the host; else in a directory of the user's.
    pub control_socket: Option<PathBuf>,
}

/// `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSection {
    /// The component.
    pub file: PathBuf,
    /// The methods that it serves.
    pub methods: Vec<MethodName>,
    /// Whether it serves the methods that no plugin names.
    pub any_method: bool,
    /// Failures in a row that disable it for a while; 0: it is never disabled.
    pub disable_after: u32,
    /// The field of a payload by which a repeated method is known; `None`: all run.
    pub idempotency_key: Option<String>,
    /// How long after the first answer a repeat gets it.
    pub idempotency_time: Duration,
    /// What the sandbox is told.
    pub settings: Settings,
}

/// Limits, capabilities and the plugin's own settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    limits: Limits,
    config: BTreeMap<String, String>,
    capabilities: BTreeSet<Capability>,
    http: HttpSettings,
}

/// Why a text is not a configuration. One line that names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing for the host to do.
    #[error("has no [plugins.NAME], so that every method would be unknown")]
    NoPlugins,
    /// A name that would not read well in a log.
    #[error("[plugins.{0}]: a plugin's name is 1 to 64 letters, digits, `-` or `_`")]
    PluginName(String),
    /// What is no name of a property.
    #[error("`host.report_plugins_under` is `{0}`, not 1 to 64 letters, digits, `-` or `_`")]
    PropertyName(String),
    /// A key of `[hub]` or `[host]` whose value cannot be meant.
    #[error("`{key}` is {found:?}, not between {least:?} and {most:?}")]
    Range {
        /// The key with its table.
        key: &'static str,
        /// What it says.
        found: Duration,
        /// The least it may be.
        least: Duration,
        /// The most it may be.
        most: Duration,
    },
    /// A reboot that no program makes.
    #[error("`host.reboot_command` is empty; name the program and its arguments")]
    RebootCommand,
    /// A plugin that nothing is routed to.
    #[error("[plugins.{0}]: `methods` is empty; name methods, or [\"*\"] for all others")]
    NoMethods(String),
    /// What is no method name.
    #[error("[plugins.{plugin}]: `methods`")]
    Method {
        /// The plugin.
        plugin: String,
        /// Why.
        #[source]
        source: IdError,
    },
    /// A method that two plugins want.
    #[error("both `{first}` and `{second}` serve {method}; a method has one plugin")]
    Twice {
        /// The plugin that comes first.
        first: String,
        /// The other one.
        second: String,
        /// The method's name, quoted, or what `*` means.
        method: String,
    },
    /// What cannot be granted.
    #[error("[plugins.{plugin}]: `capabilities`")]
    Capability {
        /// The plugin.
        plugin: String,
        /// Which.
        #[source]
        source: UnknownCapability,
    },
    /// What the capability `http` cannot come with.
    #[error("[plugins.{plugin}.http]")]
    Http {
        /// The plugin.
        plugin: String,
        /// What is wrong.
        #[source]
        source: HttpError,
    },
    /// A limit that cannot be meant.
    #[error("[plugins.{plugin}]: limits")]
    Limit {
        /// The plugin.
        plugin: String,
        /// Which and why.
        #[source]
        source: LimitError,
    },
    /// A limit past what IoT Hub carries.
    #[error("[plugins.{plugin}.limits]: `{limit}` is {found}; IoT Hub carries {most} at most")]
    PastTheHub {
        /// The plugin.
        plugin: String,
        /// Which limit.
        limit: &'static str,
        /// What it says.
        found: usize,
        /// What the hub carries.
        most: usize,
    },
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config = Config::parse(&text, path.parent().unwrap_or(Path::new("")))?;
        Ok(Config { file: Some(path.to_owned()), ..config })
    }

    /// Reads a text whose paths are relative to `directory`.
    pub fn parse(text: &str, directory: &Path) -> Result<Config, ConfigError> {
        let file: file::File = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        let hub = hub(file.hub, directory)?;
        let host = host(file.host, directory)?;
        if file.plugins.is_empty() {
            return Err(ConfigError::NoPlugins);
        }
        let plugins = file.plugins.into_iter();
        let plugins = plugins
            .map(|(name, section)| Ok((name.clone(), plugin(name, section, directory)?)))
            .collect::<Result<_, ConfigError>>()?;
        check_one_plugin_a_method(&plugins)?;
        Ok(Config { file: None, hub, host, plugins })
    }

    /// Whether a running host can take the other one without being started again.
    pub(crate) fn needs_no_restart_for(&self, other: &Config) -> bool {
        // The program may have filled in what the file leaves out.
        let mut hub = other.hub.clone();
        hub.ca_file = hub.ca_file.or_else(|| self.hub.ca_file.clone());
        self.hub == hub && self.host == other.host
    }

    /// Calls at once over all plugins.
    pub(crate) fn calls_at_once(&self) -> usize {
        self.plugins.values().map(|plugin| plugin.settings.limits.calls_at_once).sum()
    }

    /// The most memory that a call of any plugin may have.
    pub(crate) fn memory_bytes(&self) -> usize {
        let limits = self.plugins.values().map(|plugin| plugin.settings.limits.memory_bytes);
        limits.max().unwrap_or_default()
    }
}

impl Settings {
    /// What was granted to the plugin.
    pub(crate) fn capabilities(&self) -> &BTreeSet<Capability> {
        &self.capabilities
    }

    /// The longest file that is read for a component.
    pub(crate) fn component_bytes(&self) -> usize {
        self.limits.component_bytes
    }

    /// Whom it trusts over HTTP, beside whom the system trusts.
    pub(crate) fn http_ca_file(&self) -> Option<&Path> {
        self.http.ca_file.as_deref()
    }

    pub(crate) fn to_sandbox(&self) -> PluginSettings {
        let Settings { limits, config, capabilities, http } = self.clone();
        PluginSettings { limits, config, capabilities, http }
    }
}

fn at_line(text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
    ConfigError::Line { line, problem: error.message().replace('\n', " ") }
}

fn hub(section: file::Hub, directory: &Path) -> Result<HubSection, ConfigError> {
    let absolute = |path: Option<PathBuf>| path.map(|path| directory.join(path));
    let second = Duration::from_secs(1);
    let day = 24 * 3600 * second;
    let keep_alive =
        within("hub.keep_alive", section.keep_alive, 60 * second, 2 * second, MAX_KEEP_ALIVE)?;
    let token_lifetime =
        within("hub.token_lifetime", section.token_lifetime, 3600 * second, second, 365 * day)?;
    Ok(HubSection {
        port: section.port,
        ca_file: absolute(section.ca_file),
        connection_string_file: absolute(section.connection_string_file),
        keep_alive,
        token_lifetime,
    })
}

fn host(section: file::Host, directory: &Path) -> Result<HostSection, ConfigError> {
    let second = Duration::from_secs(1);
    Ok(HostSection {
        grace: within("host.grace", section.grace, 10 * second, Duration::ZERO, 3600 * second)?,
        compile_cache: section.compile_cache.map(|path| directory.join(path)),
        data: section.data.map(|path| directory.join(path)),
        telemetry: telemetry(section.telemetry),
        reboot: RebootCommand {
            command: reboot_command(section.reboot_command)?,
            dry_run: section.dry_run_reboot,
        },
        report_plugins_under: report_plugins_under(section.report_plugins_under)?,
        control_socket: section.control_socket.map(|path| directory.join(path)),
    })
}

fn telemetry(section: file::Telemetry) -> TelemetryLimits {
    let default = TelemetryLimits::default();
    TelemetryLimits {
        messages: section.messages.map_or(default.messages, NonZeroUsize::get),
        bytes: section.bytes.map_or(default.bytes, NonZeroUsize::get),
        when_full: section.when_full.unwrap_or_default(),
    }
}

fn reboot_command(asked: Option<Vec<String>>) -> Result<Vec<String>, ConfigError> {
    let command = asked.unwrap_or_else(|| ["systemctl", "reboot"].map(str::to_owned).to_vec());
    match command.first() {
        Some(program) if !program.is_empty() => Ok(command),
        _ => Err(ConfigError::RebootCommand),
    }
}

fn report_plugins_under(asked: Option<String>) -> Result<Option<String>, ConfigError> {
    let key = asked.unwrap_or_else(|| "plugins".to_owned());
    if key.is_empty() {
        return Ok(None);
    }
    if !is_a_name(&key) {
        return Err(ConfigError::PropertyName(key.escape_debug().to_string()));
    }
    Ok(Some(key))
}

/// What reads well in a log, and is a key of a twin.
fn is_a_name(text: &str) -> bool {
    let readable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(readable)
}

fn within(
    key: &'static str,
    asked: Option<period::Period>,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, ConfigError> {
    let found = asked.map_or(default, |period| period.0);
    if found < least || found > most {
        return Err(ConfigError::Range { key, found, least, most });
    }
    Ok(found)
}

fn plugin(
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
        disable_after: section.disable_after.unwrap_or(DISABLE_AFTER),
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

/// A plugin's own setting: a text as it is, everything else as JSON.
fn text_of(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        toml::Value::Datetime(time) => time.to_string(),
        other => serde_json::to_string(&other).expect("TOML's other values are JSON"),
    }
}

fn check_one_plugin_a_method(plugins: &BTreeMap<String, PluginSection>) -> Result<(), ConfigError> {
    let mut served: BTreeMap<Option<&MethodName>, &str> = BTreeMap::new();
    for (name, plugin) in plugins {
        let named = plugin.methods.iter().map(Some);
        for method in named.chain(plugin.any_method.then_some(None)) {
            match served.insert(method, name) {
                Some(first) if first != name => {
                    let method = method.map_or("`*`".to_owned(), |name| format!("`{name}`"));
                    let (first, second) = (first.to_owned(), name.clone());
                    return Err(ConfigError::Twice { first, second, method });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Where to connect, if neither the file nor the connection string says a port.
pub(crate) const fn default_port() -> u16 {
    MQTT_PORT
}
