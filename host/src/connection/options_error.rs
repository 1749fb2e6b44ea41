//! Reasons why a device cannot connect with its settings.

use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::id::{DeviceId, ModuleId};
use protocol::mqtt5::{ConnectionProfile, Topic};
use trust::TrustError;

use super::certificate::CertificateError;
use crate::config::HubSection;

/// The reason why a device cannot connect with these settings.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A failure to load the trusted certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A device id that is valid in IoT Hub, but that no topic can hold: `+` and `#`
    /// are wildcards of MQTT (3.1.1, 4.7.1), and ids are not encoded in topics.
    #[error("device id `{device}` contains `{wildcard}`, which MQTT topics cannot hold")]
    Wildcard {
        /// The id.
        device: String,
        /// The first wildcard in the id.
        wildcard: char,
    },
    /// A connection string that requires a certificate, without one in the configuration.
    #[error("the connection string says x509=true, but [hub.identity] names no certificate")]
    NoCertificate,
    /// A configured certificate and a key or token in the connection string.
    #[error("[hub.identity] names a certificate, but the connection string has a key or a token")]
    TwoCredentials,
    /// A connection string beside `[provisioning]`.
    #[error("a connection string and [provisioning] are both present; a device has one identity")]
    TwoIdentities,
    /// A registration without `[provisioning]`.
    #[error("[provisioning] is missing, which a device without a connection string needs")]
    NoProvisioning,
    /// A certificate that cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// An identity that cannot use MQTT 5: a module, a device behind a gateway, or one with a
    /// key or a token.
    #[error(
        "the connection profile is `mqttV5`, for which a device needs a certificate and no module or gateway"
    )]
    Mqtt5Identity,
    /// A topic of telemetry, which the profile `classic` does not have.
    #[error("`telemetry_topic` under [hub] needs a hub with the profile `mqttV5`")]
    TelemetryTopic,
    /// Cloud-to-device messages of a hub with the profile `mqttV5`, which has none.
    #[error(
        "`messages` under [hub] needs a hub with the profile `classic`; with `mqttV5` there are no cloud-to-device messages"
    )]
    MessagesOfProfile,
    /// Cloud-to-device messages of a module.
    #[error(
        "`messages` under [hub] needs a device; a module such as `{0}` gets no cloud-to-device messages"
    )]
    MessagesOfModule(ModuleId),
    /// An assignment to a hub with another profile than the configured one.
    #[error(
        "`profile` under [hub] is `{configured}`, but that of the assigned hub is `{assigned}`"
    )]
    OtherProfile {
        /// The configured profile.
        configured: ConnectionProfile,
        /// The profile of the hub.
        assigned: ConnectionProfile,
    },
    /// An expired token in the connection string, with the number of seconds since it expired.
    #[error("the token of the connection string expired {0} s ago")]
    Expired(u64),
}

/// Checks that topics can hold the id of a device.
pub(super) fn check_topics(device: &DeviceId) -> Result<(), OptionsError> {
    let device = device.to_string();
    match device.chars().find(|c| matches!(c, '+' | '#')) {
        Some(wildcard) => Err(OptionsError::Wildcard { device, wildcard }),
        None => Ok(()),
    }
}

/// Checks that an identity and the settings fit a connection profile.
pub(super) fn check_profile(
    profile: ConnectionProfile,
    identity: &DeviceConnectionString,
    hub: &HubSection,
) -> Result<(), OptionsError> {
    if hub.messages.is_some() {
        if let Some(module) = &identity.module {
            return Err(OptionsError::MessagesOfModule(module.clone()));
        }
        if profile == ConnectionProfile::MqttV5 {
            return Err(OptionsError::MessagesOfProfile);
        }
    }
    match profile {
        ConnectionProfile::Classic if hub.telemetry_topic.is_some() => {
            Err(OptionsError::TelemetryTopic)
        }
        ConnectionProfile::Classic => Ok(()),
        ConnectionProfile::MqttV5 => check_mqtt5(identity),
    }
}

/// Checks that an identity fits the profile `mqttV5`.
fn check_mqtt5(identity: &DeviceConnectionString) -> Result<(), OptionsError> {
    let has_certificate = identity.credential == DeviceCredential::X509;
    match has_certificate && identity.module.is_none() && identity.gateway.is_none() {
        true if Topic::can_contain(&identity.device) => Ok(()),
        _ => Err(OptionsError::Mqtt5Identity),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn messages_are_refused_with_the_reason_that_applies() {
        let text = "[hub]\nmessages = \"p\"\n[plugins.p]\nfile = \"p.wasm\"\nmethods = [\"*\"]\n";
        let hub = Config::parse(text, Path::new("")).unwrap().hub;
        let check = |profile, module: &str| {
            let identity = format!("HostName=h;DeviceId=d{module};x509=true").parse().unwrap();
            check_profile(profile, &identity, &hub).map_err(|error| error.to_string())
        };
        let (classic, mqtt5) = (ConnectionProfile::Classic, ConnectionProfile::MqttV5);
        assert_eq!(check(classic, ""), Ok(()));
        let of_module = "`messages` under [hub] needs a device; a module such as `m` gets no \
                         cloud-to-device messages";
        assert_eq!(check(classic, ";ModuleId=m"), Err(of_module.to_owned()));
        assert_eq!(check(mqtt5, ";ModuleId=m"), Err(of_module.to_owned()));
        let of_profile = "`messages` under [hub] needs a hub with the profile `classic`; with \
                          `mqttV5` there are no cloud-to-device messages";
        assert_eq!(check(mqtt5, ""), Err(of_profile.to_owned()));
    }
}
