//! The common name that a certificate must have.

use protocol::connection_string::DeviceConnectionString;
use protocol::provisioning::RegistrationId;

/// The common name that a certificate must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequiredName {
    /// The client id of a device or a module. A self-signed certificate can have any name, since
    /// the hub knows it by its thumbprint.
    Device(String),
    /// The registration id at the Device Provisioning Service, also in a self-signed certificate.
    Registration(RegistrationId),
}

impl RequiredName {
    /// Returns the name for a device or a module that has a connection string.
    pub(crate) fn of(identity: &DeviceConnectionString) -> RequiredName {
        RequiredName::Device(identity.client_id())
    }

    /// Returns `true` if this is the common name of a certificate.
    pub(super) fn is(&self, common_name: Option<&str>) -> bool {
        common_name.is_some_and(|found| match self {
            RequiredName::Device(expected) => found == expected,
            RequiredName::Registration(expected) => found.parse().is_ok_and(|id| *expected == id),
        })
    }

    /// Returns `true` if a self-signed certificate needs the name as well.
    pub(super) fn is_for_all(&self) -> bool {
        matches!(self, RequiredName::Registration(_))
    }

    /// Returns the kind and the text of the name.
    pub(super) fn kind_and_text(&self) -> (&'static str, String) {
        match self {
            RequiredName::Device(id) => ("device id", id.clone()),
            RequiredName::Registration(id) => ("registration id", id.to_string()),
        }
    }
}
