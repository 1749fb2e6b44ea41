//! The Device Provisioning Service (DPS): its device API and its service API.
//!
//! A device registers under a registration id, polls the operation until it has ended, and
//! then connects to the assigned hub. Both transports have the same bodies.
//!
//! ```text
//! MQTT   user name  {idScope}/registrations/{registrationId}/api-version={v}[&ClientVersion={c}]
//!        →  $dps/registrations/PUT/iotdps-register/?$rid={rid}
//!        →  $dps/registrations/GET/iotdps-get-operationstatus/?$rid={rid}&operationId={operation}
//!        ←  $dps/registrations/res/{status}/?$rid={rid}[&retry-after={seconds}]
//! HTTPS  PUT  /{idScope}/registrations/{registrationId}/register?api-version={v}
//!        GET  /{idScope}/registrations/{registrationId}/operations/{operation}?api-version={v}
//!        POST /{idScope}/registrations/{registrationId}?api-version={v}
//! ```
//!
//! A device with a symmetric key signs a token for [`resource`] with its key. A device of a
//! group derives its key from that of the group ([`Key::derive`]). A device with a
//! certificate has no password.
//!
//! [`enrollment`] and [`service`] have the bodies and paths for services, which manage the
//! enrollments.
//!
//! [`Key::derive`]: crate::sas::Key::derive

pub mod enrollment;
mod error;
mod id;
mod registration;
pub mod service;
mod topic;
mod user_name;

pub use error::{ProvisioningError, ProvisioningErrorCode};
pub use id::{IdScope, OperationId, RegistrationId};
pub use registration::{
    AssignmentStatus, AssignmentSubstatus, CertificateInfo, RegistrationOperation,
    RegistrationRequest, RegistrationState, SymmetricKeyResult, X509Result,
};
pub use topic::{ANSWERS, ProvisioningAnswer, ProvisioningTopic, ProvisioningTopicError};
pub use user_name::{ProvisioningUserName, ProvisioningUserNameError};

/// The API version of this product's host.
pub const API_VERSION: &str = "2021-06-01";

/// The first API version with certificate signing requests.
pub const API_VERSION_WITH_CSR: &str = "2025-07-01-preview";

/// The first API version whose assignments name the connection profile of the hub.
pub const API_VERSION_WITH_PROFILE: &str = "2026-11-02-preview";

/// The host of all instances of the service in Azure.
pub const GLOBAL_HOST: &str = "global.azure-devices-provisioning.net";

/// The policy name that a device puts into its token. The Python SDK omits it.
pub const TOKEN_POLICY: &str = "registration";

/// The path of a registration over HTTPS: PUT.
pub const REGISTER: &str = "/{scope}/registrations/{registration}/register";
/// The path of an operation over HTTPS: GET.
pub const OPERATION: &str = "/{scope}/registrations/{registration}/operations/{operation}";
/// The path of the stored registration over HTTPS: POST.
pub const REGISTRATION_STATUS: &str = "/{scope}/registrations/{registration}";

/// Maximum size of a message over MQTT, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 96 * 1024;

/// Number of seconds between two polls if the answer has no `retry-after`.
pub const DEFAULT_RETRY_AFTER_SECONDS: u64 = 2;

/// Returns `true` if the assignments of an API version name the connection profile of the hub.
#[must_use]
pub fn names_profile(api_version: &str) -> bool {
    const DATE: usize = "2026-11-02".len();
    let first = &API_VERSION_WITH_PROFILE[..DATE];
    api_version.get(..DATE).is_some_and(|date| date >= first)
}

/// Returns the resource of a device's token: `{idScope}/registrations/{registrationId}`.
#[must_use]
pub fn resource(scope: &IdScope, registration: &RegistrationId) -> String {
    format!("{scope}/registrations/{registration}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_name_the_profile_from_one_api_version_on() {
        for version in [API_VERSION_WITH_PROFILE, "2026-11-02", "2027-01-01"] {
            assert!(names_profile(version), "{version}");
        }
        for version in [API_VERSION, API_VERSION_WITH_CSR, "2026-11-01-preview", "2026", ""] {
            assert!(!names_profile(version), "{version}");
        }
    }
}
