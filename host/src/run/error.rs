//! Errors that keep a host from starting, with their hints.

use trust::TrustError;

use crate::connection::OptionsError;
use crate::control::ControlError;
use crate::journal::JournalError;
use crate::plugins::PluginError;

/// Everything that is found out before the first connection.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A plugin, or the engine that runs them.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The operator's way to the host.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The way to the hub.
    #[error(transparent)]
    Connection(#[from] OptionsError),
    /// The data that outlives the process has no place.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl StartError {
    /// Returns the way out, if one action helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            StartError::Plugin(error) => error.hint(),
            StartError::Journal(JournalError::InUse(_)) => Some(
                "stop the other host, or set `data` under [host] to a directory of its own".into(),
            ),
            StartError::Journal(_) => {
                Some("set `data` under [host] to a directory that may be written".into())
            }
            StartError::Control(error) => Some(error.hint().to_owned()),
            StartError::Connection(OptionsError::Trust(TrustError::NoCertificates)) => Some(
                "install the system's certificates (Debian: ca-certificates), or set `ca_file`"
                    .into(),
            ),
            StartError::Connection(OptionsError::Trust(_)) => Some(
                "set `ca_file` under [hub], or IOTHUB_CA_FILE, to a PEM file of certificates"
                    .into(),
            ),
            StartError::Connection(OptionsError::Wildcard { .. }) => {
                Some("register the device under an id without `+` and `#`".into())
            }
            StartError::Connection(OptionsError::X509) => {
                Some("use a connection string with SharedAccessKey".into())
            }
            StartError::Connection(OptionsError::Expired(_)) => Some(
                "make a new token, or use SharedAccessKey, from which the host makes its own"
                    .into(),
            ),
        }
    }
}
