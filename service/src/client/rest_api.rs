//! The REST APIs that the client uses.

use protocol::provisioning::service::SERVICE_API_VERSION;
use protocol::rest;

/// The REST API that a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RestApi {
    /// That of IoT Hub.
    Hub,
    /// That of the Device Provisioning Service.
    Provisioning,
}

impl RestApi {
    pub(super) fn version(self) -> &'static str {
        match self {
            RestApi::Hub => rest::API_VERSION,
            RestApi::Provisioning => SERVICE_API_VERSION,
        }
    }

    /// Returns the scope of access tokens of Microsoft Entra ID.
    pub(super) fn scope(self) -> &'static str {
        match self {
            RestApi::Hub => "https://iothubs.azure.net/.default",
            RestApi::Provisioning => "https://azure-devices-provisioning.net/.default",
        }
    }
}
