//! Errors of a configuration.

use std::path::PathBuf;
use std::time::Duration;

use plugin::{LimitError, UnknownCapability};
use protocol::id::IdError;

use super::http::HttpError;

/// Error of a configuration, in one line that names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Reason.
        problem: String,
    },
    /// No plugin is configured.
    #[error("no [plugins.NAME]: every method would be unknown")]
    NoPlugins,
    /// Text that is not a plugin name.
    #[error("[plugins.{0}]: a plugin's name is 1 to 64 letters, digits, `-` or `_`")]
    PluginName(String),
    /// Text that is not a property name.
    #[error("`host.report_plugins_under` is `{0}`, not 1 to 64 letters, digits, `-` or `_`")]
    PropertyName(String),
    /// A key of `[hub]` or `[host]` whose value is out of range.
    #[error("`{key}` is {found:?}, not between {least:?} and {most:?}")]
    Range {
        /// The key with its table.
        key: &'static str,
        /// Duration in the configuration.
        found: Duration,
        /// The least it may be.
        least: Duration,
        /// The most it may be.
        most: Duration,
    },
    /// Reboot command without a program.
    #[error("`host.reboot_command` is empty; name the program and its arguments")]
    RebootCommand,
    /// Plugin without methods.
    #[error("[plugins.{0}]: `methods` is empty; name methods, or [\"*\"] for all others")]
    NoMethods(String),
    /// Text that is not a method name.
    #[error("[plugins.{plugin}]: `methods`")]
    Method {
        /// The plugin.
        plugin: String,
        /// Cause.
        #[source]
        source: IdError,
    },
    /// Method that two plugins serve.
    #[error("both `{first}` and `{second}` serve {method}; a method has one plugin")]
    Twice {
        /// Name of the first plugin.
        first: String,
        /// Name of the second plugin.
        second: String,
        /// Name of the method, quoted, or `*`.
        method: String,
    },
    /// Capability that cannot be granted.
    #[error("[plugins.{plugin}]: `capabilities`")]
    Capability {
        /// The plugin.
        plugin: String,
        /// Cause.
        #[source]
        source: UnknownCapability,
    },
    /// Section that the capability `http` cannot be used with.
    #[error("[plugins.{plugin}.http]")]
    Http {
        /// The plugin.
        plugin: String,
        /// Cause.
        #[source]
        source: HttpError,
    },
    /// Limit that is out of range.
    #[error("[plugins.{plugin}]: limits")]
    Limit {
        /// The plugin.
        plugin: String,
        /// Cause.
        #[source]
        source: LimitError,
    },
    /// Limit above that of IoT Hub.
    #[error("[plugins.{plugin}.limits]: `{limit}` is {found}; IoT Hub carries {most} at most")]
    PastTheHub {
        /// The plugin.
        plugin: String,
        /// Name of the limit.
        limit: &'static str,
        /// Value in the configuration.
        found: usize,
        /// Largest value that the hub accepts.
        most: usize,
    },
}
