//! Errors that prevent a start of the host or end the host, with their hints.

use std::io;

use trust::TrustError;

use crate::config::ConfigError;
use crate::connection::{OptionsError, ProvisioningFailure};
use crate::control::ControlError;
use crate::fleet::SuppliesError;
use crate::issued::IssuedError;
use crate::journal::JournalError;
use crate::otlp::OtlpError;
use crate::plugins::PluginError;
use crate::supervision::TaskEnded;

/// Error that prevents the host from starting, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Error of a plugin or of the engine.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// Error of the control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Error in the connection settings.
    #[error(transparent)]
    Connection(#[from] OptionsError),
    /// Failed registration with the Device Provisioning Service.
    #[error(transparent)]
    Provisioning(#[from] ProvisioningFailure),
    /// Certificate or key that cannot be requested, created or used.
    #[error(transparent)]
    Issued(#[from] IssuedError),
    /// Key that an operator wants to create, but that the host generates.
    #[error("the host generates the key of the issued certificate itself")]
    GeneratedKey,
    /// Configuration without a key of a certificate.
    #[error("the configuration names no key of a certificate")]
    NoKey,
    /// Renewal without an issued certificate.
    #[error("[provisioning.issued_certificate] is missing, so no certificate is renewed")]
    NoIssuedCertificate,
    /// Assignment of another device id to the running device.
    #[error("the provisioning service has assigned another device id")]
    Renamed,
    /// Error of the data directory or its journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Method with two plugins.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Unusable keys or files for plugins from registries.
    #[error(transparent)]
    Supplies(#[from] SuppliesError),
    /// Unusable header fields for OTLP.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// Thread that the system does not start.
    #[error("cannot start the thread of the device")]
    Thread(#[source] io::Error),
    /// Unexpected end of an essential task.
    #[error("the host has a fault")]
    Task(#[from] TaskEnded),
}

impl RunError {
    /// Returns a hint on how to fix the error, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            RunError::Plugin(error) => error.hint(),
            RunError::Journal(JournalError::InUse(_)) => Some(
                "stop the other host, or set `data` under [host] to another directory".into(),
            ),
            RunError::Journal(JournalError::Layout { .. }) => Some(
                "run the version of the host that wrote it, or move `journal.redb` away, which \
                 loses its jobs, its state and its unsent messages"
                    .into(),
            ),
            RunError::Journal(_) => {
                Some("set `data` under [host] to a writable directory".into())
            }
            // The operator cannot fix a fault of the host.
            RunError::Task(_) | RunError::Thread(_) => None,
            RunError::Config(_) => Some("remove the method from one of the plugins".into()),
            RunError::Supplies(error) => Some(error.hint().into()),
            RunError::Otlp(error) => Some(error.hint().to_owned()),
            RunError::Control(error) => Some(error.hint().to_owned()),
            RunError::Connection(OptionsError::Trust(TrustError::NoCertificates)) => Some(
                "install the system's certificates (Debian: ca-certificates), or set `ca_file`"
                    .into(),
            ),
            RunError::Connection(OptionsError::Trust(_)) => Some(
                "set `ca_file` under [hub], or IOTHUB_CA_FILE, to a PEM file of certificates"
                    .into(),
            ),
            RunError::Connection(OptionsError::Wildcard { .. }) => {
                Some("register the device with an id without `+` and `#`".into())
            }
            RunError::Connection(OptionsError::NoCertificate) => Some(
                "set `certificate_file` and `key_file` under [hub.identity], or use a connection \
                 string with SharedAccessKey"
                    .into(),
            ),
            RunError::Connection(OptionsError::TwoCredentials) => Some(
                "put `x509=true` in place of the key in the connection string, or remove \
                 [hub.identity]"
                    .into(),
            ),
            RunError::Connection(OptionsError::TwoIdentities) => Some(
                "unset IOTHUB_DEVICE_CONNECTION_STRING, or remove [provisioning]".into(),
            ),
            RunError::Connection(OptionsError::Mqtt5Identity) => Some(
                "set [hub.identity] and `x509=true` in the connection string, or remove `profile`"
                    .into(),
            ),
            RunError::Connection(OptionsError::TelemetryTopic) => {
                Some("set `profile = \"mqttV5\"` under [hub], or remove `telemetry_topic`".into())
            }
            RunError::Connection(OptionsError::MessagesOfProfile) => {
                Some("remove `messages` or `profile` under [hub]".into())
            }
            RunError::Connection(OptionsError::MessagesOfModule(_)) => {
                Some("remove `messages` under [hub], or run the host as the device".into())
            }
            RunError::Connection(OptionsError::OtherProfile { .. }) => {
                Some("remove `profile` under [hub], or assign the device to another hub".into())
            }
            RunError::Connection(OptionsError::NoProvisioning) => {
                Some("add [provisioning] with `id_scope`, or use a connection string".into())
            }
            RunError::Issued(error) => Some(error.hint().to_owned()),
            RunError::GeneratedKey => Some(
                "set `key_uri` under [provisioning.issued_certificate] for a key in a token".into(),
            ),
            RunError::NoKey => Some(
                "set `key_file` or `key_uri` under [hub.identity] or [provisioning]".into(),
            ),
            RunError::NoIssuedCertificate => Some(
                "add the table, or replace the files of the certificate: the host reads changed \
                 files by itself"
                    .into(),
            ),
            RunError::Provisioning(failure) => failure.hint().map(str::to_owned),
            RunError::Renamed => {
                Some("start the host again, which then connects with this id".into())
            }
            RunError::Connection(OptionsError::Certificate(error)) => Some(error.hint().into()),
            RunError::Connection(OptionsError::Expired(_)) => Some(
                "create a new token, or use SharedAccessKey, with which the host creates tokens itself"
                    .into(),
            ),
        }
    }
}
