//! `[hub]`: settings of the connection to the hub.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::mqtt5::{ConnectionProfile, CustomTopic};

use super::{ConfigError, Errors, IdentitySection, file, identity, within};

/// Default port of MQTT over TLS.
const MQTT_PORT: u16 = 8883;

/// Longest keep-alive. IoT Hub closes a connection after 1.5 times the keep-alive without a
/// packet, and accepts at most 1767 s.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(1177);

/// Settings in `[hub]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSection {
    /// Port of MQTT over TLS; `None` for the port of the connection string, or 8883.
    pub port: Option<u16>,
    /// PEM file of certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// File that contains the device's connection string.
    pub connection_string_file: Option<PathBuf>,
    /// MQTT keep-alive: the longest time without a packet on the connection.
    pub keep_alive: Duration,
    /// Lifetime of a SAS token. Tokens are renewed after 70 to 80 % of it.
    pub token_lifetime: Duration,
    /// Certificate that the device signs in with, instead of a token.
    pub identity: Option<IdentitySection>,
    /// Connection profile of the hub; `None` for that of the assignment, or `classic`.
    pub profile: Option<ConnectionProfile>,
    /// Topic of messages with MQTT 5; `None` for that of the profile.
    pub telemetry_topic: Option<CustomTopic>,
    /// Plugin that receives cloud-to-device messages; `None` if the device receives none.
    pub messages: Option<String>,
}

impl HubSection {
    /// Checks that the section names no identity, because `[provisioning]` is another one.
    pub(super) fn check_alone(&self) -> Result<(), ConfigError> {
        let second = match self {
            HubSection { connection_string_file: Some(_), .. } => "`connection_string_file`",
            HubSection { identity: Some(_), .. } => "[hub.identity]",
            _ => return Ok(()),
        };
        Err(ConfigError::TwoIdentities { second })
    }
}

pub(super) fn hub(section: file::Hub, directory: &Path, errors: &mut Errors) -> Option<HubSection> {
    let absolute = |path: Option<PathBuf>| path.map(|path| directory.join(path));
    let second = Duration::from_secs(1);
    let day = 24 * 3600 * second;
    let keep_alive =
        within("hub.keep_alive", section.keep_alive, 60 * second, 2 * second, MAX_KEEP_ALIVE);
    let keep_alive = errors.ok(keep_alive);
    let token_lifetime =
        within("hub.token_lifetime", section.token_lifetime, 3600 * second, second, 365 * day);
    let token_lifetime = errors.ok(token_lifetime);
    let identity = section.identity.map(|section| identity::identity(section, directory));
    let identity = errors.ok(identity.transpose());
    let profile = errors.ok(profile(section.profile));
    let telemetry_topic = section.telemetry_topic.map(|topic| topic.parse());
    let telemetry_topic =
        errors.ok(telemetry_topic.transpose().map_err(ConfigError::TelemetryTopic));
    Some(HubSection {
        port: section.port.map(NonZeroU16::get),
        ca_file: absolute(section.ca_file),
        connection_string_file: absolute(section.connection_string_file),
        keep_alive: keep_alive?,
        token_lifetime: token_lifetime?,
        identity: identity?,
        profile: profile?,
        telemetry_topic: telemetry_topic?,
        messages: section.messages,
    })
}

fn profile(text: Option<String>) -> Result<Option<ConnectionProfile>, ConfigError> {
    text.map(|text| text.parse()).transpose().map_err(ConfigError::Profile)
}

/// Returns the port for a configuration and a connection string that name none.
pub(crate) const fn default_port() -> u16 {
    MQTT_PORT
}
