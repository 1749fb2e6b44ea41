//! `[hub]`: connection to the hub.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ConfigError, file, within};

/// The port of MQTT over TLS.
const MQTT_PORT: u16 = 8883;

/// Upper limit of the keep-alive. IoT Hub allows 1.5 times the
/// keep-alive and at most 1767 s.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(1177);

/// `[hub]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSection {
    /// Port of MQTT over TLS. `None`: the port of the connection string, or 8883.
    pub port: Option<u16>,
    /// Certificates to trust beside the system's: a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The file that holds the device's connection string.
    pub connection_string_file: Option<PathBuf>,
    /// The longest silence on the connection.
    pub keep_alive: Duration,
    /// Lifetime of a SAS token. It is renewed at 70 to 80 % of it.
    pub token_lifetime: Duration,
}

pub(super) fn hub(section: file::Hub, directory: &Path) -> Result<HubSection, ConfigError> {
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

/// Returns the port to connect to if neither the file nor the connection string names
/// one.
pub(crate) const fn default_port() -> u16 {
    MQTT_PORT
}
