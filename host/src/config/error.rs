//! Errors of a configuration.

use std::path::PathBuf;
use std::time::Duration;

use plugin::{LimitError, UnknownCapability};
use program::chain;
use program::duration::display;
use program::toml_text::TomlError;
use protocol::host_name::HostNameError;
use protocol::id::IdError;
use protocol::mqtt5::{CustomTopicError, UnknownProfile};

use super::http::HttpError;
use super::otlp::OtlpUrlError;
use super::pkcs11_uri::UriError;

/// Error in a configuration. The message is one line that names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// File that cannot be read.
    #[error("{}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Invalid TOML, an unknown key, or a value of the wrong type.
    #[error(transparent)]
    Line(#[from] TomlError),
    /// Several errors.
    #[error("{}", joined(.0))]
    Several(Vec<ConfigError>),
    /// No plugins.
    #[error("no [plugins.NAME]: every method would be unknown")]
    NoPlugins,
    /// Invalid plugin name.
    #[error("[plugins.{0}]: a plugin's name is 1 to 64 letters, digits, `-` or `_`")]
    PluginName(String),
    /// Invalid name of a reported property.
    #[error("`host.report_plugins_under` is `{0}`, not 1 to 64 letters, digits, `-` or `_`")]
    PropertyName(String),
    /// Malformed topic of messages.
    #[error("`hub.telemetry_topic`")]
    TelemetryTopic(#[source] CustomTopicError),
    /// Address for metrics that is none, or not a loopback one.
    #[error(
        "`host.metrics.listen` is `{0}`, not a loopback address with a port such as `127.0.0.1:9464`"
    )]
    MetricsAddress(String),
    /// Endpoint of OTLP that is none.
    #[error("`{key}`")]
    OtlpEndpoint {
        /// The key with the URL.
        key: &'static str,
        /// Cause.
        #[source]
        source: OtlpUrlError,
    },
    /// Unknown connection profile of the hub.
    #[error("`hub.profile`: {0}")]
    Profile(UnknownProfile),
    /// A key of `[hub]` or `[host]` whose value is out of range.
    #[error("`{key}` is {}, not between {} and {}", display(*.found), display(*.min), display(*.max))]
    Range {
        /// Key with its table.
        key: &'static str,
        /// Configured duration.
        found: Duration,
        /// Minimum duration.
        min: Duration,
        /// Maximum duration.
        max: Duration,
    },
    /// Invalid endpoint of the Device Provisioning Service.
    #[error("[provisioning]: `endpoint`")]
    ProvisioningEndpoint(#[source] HostNameError),
    /// Invalid id scope or registration id.
    #[error("[provisioning]")]
    ProvisioningName {
        /// Cause.
        #[source]
        source: IdError,
    },
    /// Two proofs of the identity.
    #[error(
        "[provisioning]: more than one of `symmetric_key_file`, `group_key_file` and \
         `certificate_file`"
    )]
    TwoAttestations,
    /// Certificate without a key.
    #[error("[provisioning]: `certificate_file` needs `key_file` or `key_uri`")]
    CertificateWithoutKey,
    /// Key without a certificate.
    #[error("[provisioning]: `key_file` or `key_uri` needs `certificate_file`")]
    KeyWithoutCertificate,
    /// Certificate without a key.
    #[error("[{table}]: neither `key_file` nor `key_uri` names the key")]
    NoKey {
        /// Name of the table.
        table: &'static str,
    },
    /// Two keys of a certificate.
    #[error("[{table}]: `key_file` and `key_uri` are both present; a certificate has one key")]
    TwoKeys {
        /// Name of the table.
        table: &'static str,
    },
    /// New keys in a token.
    #[error(
        "[provisioning.issued_certificate]: `rotate_key` needs a key in a file, but `key_uri` \
         names one in a token"
    )]
    RotateTokenKey,
    /// Malformed PKCS #11 URI.
    #[error("[{table}]: `key_uri`")]
    KeyUri {
        /// Name of the table.
        table: &'static str,
        /// Cause.
        #[source]
        source: UriError,
    },
    /// Identity of the device beside `[provisioning]`.
    #[error("{second} and [provisioning] are both present; a device has one identity")]
    TwoIdentities {
        /// Key or section of the other identity.
        second: &'static str,
    },
    /// Malformed host in `[host.registry]`.
    #[error("[host.registry]: `{0}` is not a host with an optional port")]
    RegistryHost(String),
    /// Signatures are required, but no key is configured.
    #[error("[host.trust]: `keys` is empty, so no signature can be verified")]
    NoKeys,
    /// `[fleet]` without repositories.
    #[error("[fleet]: `images` is empty; name the repositories that the cloud may use")]
    FleetWithoutImages,
    /// Malformed pattern of repositories.
    #[error(
        "[fleet]: `images`: `{0}` is not a registry and a repository, or one that ends in `/*`"
    )]
    FleetImage(String),
    /// Replaceable plugin that does not exist.
    #[error("[fleet]: `replaces`: no [plugins.{0}]")]
    FleetReplaces(String),
    /// Receiver of cloud-to-device messages that does not exist.
    #[error("[hub]: `messages`: no [plugins.{0}]")]
    MessagesPlugin(String),
    /// Invalid method name in `[fleet]`.
    #[error("[fleet]: `methods`")]
    FleetMethod {
        /// Cause.
        #[source]
        source: IdError,
    },
    /// Unknown capability in `[fleet]`.
    #[error("[fleet]: `capabilities`")]
    FleetCapability {
        /// Cause.
        #[source]
        source: UnknownCapability,
    },
    /// Invalid section `http` of `[fleet]`.
    #[error("[fleet.http]")]
    FleetHttp {
        /// Cause.
        #[source]
        source: HttpError,
    },
    /// Invalid name of a desired property.
    #[error("`fleet.desired_key` is `{0}`, not 1 to 64 letters, digits, `-` or `_`")]
    FleetKey(String),
    /// Plugins that the cloud chooses without reports about them.
    #[error("[fleet] needs `report_plugins_under` under [host], which is empty")]
    FleetWithoutReport,
    /// Plugin without a component.
    #[error("[plugins.{0}]: neither `file` nor `image` names the component")]
    NoOrigin(String),
    /// Plugin with two components.
    #[error("[plugins.{0}]: `file` and `image` are both present; a plugin has one component")]
    TwoOrigins(String),
    /// `allow_tag` without an image.
    #[error("[plugins.{0}]: `allow_tag` needs `image`")]
    TagWithoutImage(String),
    /// Digest of a file beside an image, which has its own digest.
    #[error("[plugins.{0}]: `sha256` is of a `file`; the digest of an image follows its name")]
    ImageWithSha256(String),
    /// Malformed name of an image.
    #[error("[plugins.{plugin}]: `image`")]
    Image {
        /// Name of the plugin.
        plugin: String,
        /// Cause.
        #[source]
        source: oci::ReferenceError,
    },
    /// Image without a digest.
    #[error("[plugins.{plugin}]: `image` is `{image}`, which has no digest; a tag can move")]
    ImageNotPinned {
        /// Name of the plugin.
        plugin: String,
        /// Image, escaped.
        image: String,
    },
    /// Reboot command without a program.
    #[error("`host.reboot_command` is empty; name the program and its arguments")]
    RebootCommand,
    /// Plugin without methods.
    #[error("[plugins.{0}]: `methods` is empty; name methods, or [\"*\"] for all others")]
    NoMethods(String),
    /// Invalid method name.
    #[error("[plugins.{plugin}]: `methods`")]
    Method {
        /// Name of the plugin.
        plugin: String,
        /// Cause.
        #[source]
        source: IdError,
    },
    /// Method that two plugins serve.
    #[error("both `{first}` and `{second}` serve {method}; a method has one plugin")]
    Duplicate {
        /// Name of the first plugin.
        first: String,
        /// Name of the second plugin.
        second: String,
        /// Name of the method, quoted, or `*`.
        method: String,
    },
    /// Method whose name is reserved.
    #[error(
        "[plugins.{plugin}]: `{method}` is reserved for the host, as all names that begin with `behaviour.`"
    )]
    ReservedMethod {
        /// Name of the plugin.
        plugin: String,
        /// Name of the method.
        method: String,
    },
    /// Unknown capability.
    #[error("[plugins.{plugin}]: `capabilities`")]
    Capability {
        /// Name of the plugin.
        plugin: String,
        /// Cause.
        #[source]
        source: UnknownCapability,
    },
    /// Invalid section `http` of a plugin.
    #[error("[plugins.{plugin}.http]")]
    Http {
        /// Name of the plugin.
        plugin: String,
        /// Cause.
        #[source]
        source: HttpError,
    },
    /// Text that is not a SHA-256 digest.
    #[error("[plugins.{plugin}]: `sha256` is `{found}`, not 64 hexadecimal digits")]
    Sha256 {
        /// Name of the plugin.
        plugin: String,
        /// Value in the configuration, escaped.
        found: String,
    },
    /// Limit out of range.
    #[error("[{table}]: limits")]
    Limit {
        /// Name of the table.
        table: String,
        /// Cause.
        #[source]
        source: LimitError,
    },
    /// Limit that exceeds the limit of IoT Hub.
    #[error("[{table}.limits]: `{limit}` is {found}; IoT Hub allows at most {max}")]
    AboveHubLimit {
        /// Name of the table.
        table: String,
        /// Name of the limit.
        limit: &'static str,
        /// Configured value.
        found: usize,
        /// Maximum value in IoT Hub.
        max: usize,
    },
}

impl ConfigError {
    /// Returns the errors one by one.
    pub fn into_all(self) -> Vec<ConfigError> {
        match self {
            ConfigError::Several(errors) => errors,
            error => vec![error],
        }
    }
}

/// Joins errors and their causes on one line.
fn joined(errors: &[ConfigError]) -> String {
    let errors: Vec<_> = errors.iter().map(|error| chain(error).to_string()).collect();
    errors.join("; ")
}

/// The errors that were found so far.
#[derive(Default)]
pub(super) struct Errors(Vec<ConfigError>);

impl Errors {
    /// Adds the error of a result, and returns its value.
    pub(super) fn ok<T>(&mut self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    /// Adds the errors of the text.
    pub(super) fn add_lines(&mut self, errors: Vec<TomlError>) {
        self.0.extend(errors.into_iter().map(ConfigError::Line));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all errors as one.
    pub(super) fn into_error(mut self) -> ConfigError {
        match self.0.len() {
            1 => self.0.remove(0),
            _ => ConfigError::Several(self.0),
        }
    }
}
