//! The connection profile of a hub.

use std::fmt;
use std::str::FromStr;

/// The protocol of a hub towards its devices. A hub has one profile and never changes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ConnectionProfile {
    /// MQTT 3.1.1.
    #[default]
    Classic,
    /// MQTT 5, in preview.
    MqttV5,
}

/// A profile that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown connection profile `{}`; expected `classic` or `mqttV5`", json::readable(.0))]
pub struct UnknownProfile(pub String);

impl FromStr for ConnectionProfile {
    type Err = UnknownProfile;

    /// Parses a profile. Azure spells `mqttV5` in several ways.
    fn from_str(text: &str) -> Result<ConnectionProfile, UnknownProfile> {
        match text {
            "classic" => Ok(ConnectionProfile::Classic),
            _ if text.eq_ignore_ascii_case("mqttV5") => Ok(ConnectionProfile::MqttV5),
            _ => Err(UnknownProfile(text.to_owned())),
        }
    }
}

impl fmt::Display for ConnectionProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectionProfile::Classic => "classic",
            ConnectionProfile::MqttV5 => "mqttV5",
        })
    }
}
