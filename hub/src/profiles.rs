//! Connection profiles of devices.
//!
//! In Azure, a profile belongs to a hub. This hub can take the place of several, so a device can
//! have a profile of its own.

use std::collections::HashMap;
use std::str::FromStr;

use parking_lot::RwLock;
use protocol::id::{DeviceId, IdError};
use protocol::mqtt5::{ConnectionProfile, UnknownProfile};

/// The connection profile of one device, such as `pump-7=mqttV5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProfile {
    /// The device.
    pub device: DeviceId,
    /// Its profile.
    pub profile: ConnectionProfile,
}

/// A malformed profile of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceProfileError {
    /// A text of another form.
    #[error("not `DEVICE=PROFILE`")]
    Form,
    /// A malformed device id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An unknown profile.
    #[error(transparent)]
    Profile(#[from] UnknownProfile),
}

impl FromStr for DeviceProfile {
    type Err = DeviceProfileError;

    fn from_str(text: &str) -> Result<DeviceProfile, DeviceProfileError> {
        // A device id can contain `=`, a profile cannot.
        let (device, profile) = text.rsplit_once('=').ok_or(DeviceProfileError::Form)?;
        Ok(DeviceProfile { device: device.parse()?, profile: profile.parse()? })
    }
}

/// The connection profiles of a hub and of its devices.
#[derive(Debug, Default)]
pub(crate) struct Profiles(RwLock<KnownProfiles>);

#[derive(Debug, Default)]
struct KnownProfiles {
    /// The profile of all other devices; `None` if their CONNECT selects one.
    others: Option<ConnectionProfile>,
    devices: HashMap<DeviceId, ConnectionProfile>,
}

impl Profiles {
    /// Sets the profile of the hub and those of some of its devices.
    pub(crate) fn set(&self, others: Option<ConnectionProfile>, devices: Vec<DeviceProfile>) {
        let devices = devices.into_iter().map(|it| (it.device, it.profile)).collect();
        *self.0.write() = KnownProfiles { others, devices };
    }

    /// Sets the profile of a device.
    pub(crate) fn set_of(&self, device: &DeviceId, profile: ConnectionProfile) {
        self.0.write().devices.insert(device.clone(), profile);
    }

    /// Returns the profile of a device; `None` if its CONNECT selects one.
    pub(crate) fn of(&self, device: &DeviceId) -> Option<ConnectionProfile> {
        let known = self.0.read();
        known.devices.get(device).copied().or(known.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_its_own_profile_or_else_that_of_the_hub() {
        let (own, other) = ("a=b".parse().unwrap(), "c".parse().unwrap());
        let profiles = Profiles::default();
        assert_eq!(profiles.of(&own), None);
        let of_device = "a=b=mqttv5".parse().unwrap();
        profiles.set(Some(ConnectionProfile::Classic), vec![of_device]);
        assert_eq!(profiles.of(&own), Some(ConnectionProfile::MqttV5));
        assert_eq!(profiles.of(&other), Some(ConnectionProfile::Classic));
    }

    #[test]
    fn a_malformed_profile_of_a_device_is_refused_by_its_name() {
        let error = |text: &str| text.parse::<DeviceProfile>().unwrap_err().to_string();
        assert_eq!(error("pump-7"), "not `DEVICE=PROFILE`");
        assert!(error("pump-7=v6").starts_with("unknown connection profile `v6`"));
        assert!(matches!("a b=classic".parse::<DeviceProfile>(), Err(DeviceProfileError::Id(_))));
    }
}
