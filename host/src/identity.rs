//! The identity that a device starts with: a connection string, or a registration with the
//! Device Provisioning Service, which assigns the device to a hub.

use protocol::connection_string::DeviceConnectionString;
use protocol::provisioning::RegistrationId;
use protocol::sas::Key;

/// Identity of a device. `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A connection string, which names the hub.
    ConnectionString(DeviceConnectionString),
    /// A registration, for `[provisioning]` in the configuration.
    Registration(Registration),
}

/// Registration of a device with the Device Provisioning Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Id of the registration.
    pub id: RegistrationId,
    /// Credential that proves the identity, also at the hub.
    pub credential: RegistrationCredential,
}

/// Credential of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationCredential {
    /// The key of an individual enrollment.
    Key(Key),
    /// A key that is derived from the key of an enrollment group.
    DerivedKey(Key),
    /// The certificate that `[provisioning]` names.
    Certificate,
}

/// Key whose length the Device Provisioning Service does not accept, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key has {0} bytes; the Device Provisioning Service accepts 16 to 64")]
pub struct WeakKey(usize);

impl Registration {
    /// Creates a registration with the key of an individual enrollment.
    pub fn with_key(id: RegistrationId, key: Key) -> Result<Registration, WeakKey> {
        check(&key)?;
        Ok(Registration { id, credential: RegistrationCredential::Key(key) })
    }

    /// Creates a registration with a key that is derived from the key of an enrollment group.
    pub fn with_group_key(id: RegistrationId, group: &Key) -> Result<Registration, WeakKey> {
        check(group)?;
        let credential = RegistrationCredential::DerivedKey(group.derive(&id));
        Ok(Registration { id, credential })
    }

    /// Creates a registration with the certificate that `[provisioning]` names.
    #[must_use]
    pub fn with_certificate(id: RegistrationId) -> Registration {
        Registration { id, credential: RegistrationCredential::Certificate }
    }

    /// Returns the name of the data of a registration.
    pub(crate) fn data_name(id: &RegistrationId) -> String {
        id.folded()
    }
}

fn check(key: &Key) -> Result<(), WeakKey> {
    match key.length() {
        16..=64 => Ok(()),
        length => Err(WeakKey(length)),
    }
}

impl Identity {
    /// Returns the name of the device's data: the id of the device, of the device and its
    /// module, or of the registration.
    pub(crate) fn data_name(&self) -> String {
        match self {
            Identity::ConnectionString(identity) => identity.client_id(),
            Identity::Registration(registration) => Registration::data_name(&registration.id),
        }
    }
}

impl From<DeviceConnectionString> for Identity {
    fn from(identity: DeviceConnectionString) -> Identity {
        Identity::ConnectionString(identity)
    }
}

impl From<Registration> for Identity {
    fn from(registration: Registration) -> Identity {
        Identity::Registration(registration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_length_that_the_service_refuses_is_named_by_its_length() {
        let with = |bytes: usize| {
            let key = Key::from_bytes(&vec![7; bytes]).unwrap();
            Registration::with_key("pump-7".parse().unwrap(), key)
        };
        assert!(with(16).is_ok() && with(64).is_ok());
        assert_eq!(
            with(15).unwrap_err().to_string(),
            "key has 15 bytes; the Device Provisioning Service accepts 16 to 64"
        );
        assert!(with(65).is_err());
    }

    #[test]
    fn a_registration_never_shows_its_key() {
        let key: Key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".parse().unwrap();
        let registration = Registration::with_group_key("pump-7".parse().unwrap(), &key).unwrap();
        let RegistrationCredential::DerivedKey(derived) = &registration.credential else {
            panic!("a group key is derived");
        };
        let text = format!("{registration:?}");
        assert!(!text.contains(&key.to_base64()) && !text.contains(&derived.to_base64()));
    }
}
