//! The bodies of registrations.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::{OperationId, RegistrationId};
use crate::id::DeviceId;

/// The body of a registration. All members are optional over MQTT, where the user name has
/// the registration id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationRequest {
    /// The registration id, equal to that of the user name or the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// A value for the webhook of a custom allocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// A certificate signing request: PKCS #10 as DER in base64, without line breaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
}

/// The body of an answer to a registration or a poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationOperation {
    /// The id for the next poll.
    pub operation_id: OperationId,
    /// The state of the operation.
    pub status: AssignmentStatus,
    /// The registration; absent in the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<RegistrationState>,
}

/// The state of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssignmentStatus {
    /// Not assigned, and not in progress.
    Unassigned,
    /// In progress.
    Assigning,
    /// Assigned to a hub.
    Assigned,
    /// Ended with an error, which [`RegistrationState`] contains.
    Failed,
    /// Refused, because the enrollment is disabled.
    Disabled,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The kind of an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssignmentSubstatus {
    /// The first assignment, or a repetition that left hub and twin unchanged.
    InitialAssignment,
    /// An assignment to another hub that kept the twin.
    DeviceDataMigrated,
    /// An assignment with the initial twin of the enrollment.
    DeviceDataReset,
    /// The first assignment of a device that the hub already knew.
    ReprovisionedToInitialAssignment,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// A registration, as devices and services see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationState {
    /// The device's certificate, if it signed in with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<X509Result>,
    /// Present if the device signed in with a symmetric key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeyResult>,
    /// The registration id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<RegistrationId>,
    /// The time of the first registration, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<String>,
    /// The host name of the assigned hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_hub: Option<String>,
    /// The id of the device at the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The connection profile of the assigned hub. Not parsed, so that a profile that this
    /// version does not know keeps its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_profile: Option<String>,
    /// The state of the registration.
    pub status: AssignmentStatus,
    /// The kind of the assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substatus: Option<AssignmentSubstatus>,
    /// The code of the error; 0 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<i32>,
    /// The message of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The time of the last change, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<String>,
    /// The version of the registration, for conditional changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// A value from the webhook of a custom allocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The issued certificate and those of its authorities, each as DER in base64. Only in the
    /// operation that carried the signing request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_certificate_chain: Option<Vec<String>>,
}

impl RegistrationState {
    /// Returns a registration with this id and state, and nothing else.
    #[must_use]
    pub fn new(registration_id: RegistrationId, status: AssignmentStatus) -> RegistrationState {
        RegistrationState {
            x509: None,
            symmetric_key: None,
            registration_id: Some(registration_id),
            created_date_time_utc: None,
            assigned_hub: None,
            device_id: None,
            connection_profile: None,
            status,
            substatus: None,
            error_code: None,
            error_message: None,
            last_updated_date_time_utc: None,
            etag: None,
            payload: None,
            issued_certificate_chain: None,
        }
    }
}

/// The outcome of a sign-in with a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509Result {
    /// The device's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_info: Option<CertificateInfo>,
    /// The group that the device belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
    /// The certificate of the group that signed the device's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_certificate_info: Option<CertificateInfo>,
}

/// The outcome of a sign-in with a symmetric key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SymmetricKeyResult {
    /// The group that the device belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
}

/// Facts about a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateInfo {
    /// The subject, such as `CN=device-1`.
    pub subject_name: String,
    /// The SHA-1 thumbprint, 40 hexadecimal digits.
    pub sha1_thumbprint: String,
    /// The SHA-256 thumbprint, 64 hexadecimal digits.
    pub sha256_thumbprint: String,
    /// The issuer, such as `CN=fleet authority`.
    pub issuer_name: String,
    /// The start of the validity, in RFC 3339.
    pub not_before_utc: String,
    /// The end of the validity, in RFC 3339.
    pub not_after_utc: String,
    /// The serial number, as hexadecimal digits.
    pub serial_number: String,
    /// The version of X.509: 1 or 3.
    pub version: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_answer_is_parsed_and_survives_a_round_trip() {
        let text = r#"{"operationId":"5.506603669bd3e2bf.b3602f8f-76fe-4341-9214-bb6cfb891b8a","status":"assigned","registrationState":{"x509":{},"registrationId":"my-x509-device","createdDateTimeUtc":"2022-08-27T17:53:19.5143497Z","assignedHub":"MyExampleHub.azure-devices.net","deviceId":"my-x509-device","status":"assigned","substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2022-08-27T17:53:19.7519141Z","etag":"IjEyMDA4NmYyLTAwMDAtMDMwMC0wMDAwLTYzMGE1YTBmMDAwMCI="}}"#;
        let operation: RegistrationOperation = serde_json::from_str(text).unwrap();
        assert_eq!(operation.status, AssignmentStatus::Assigned);
        let state = operation.registration_state.as_ref().unwrap();
        assert_eq!(state.substatus, Some(AssignmentSubstatus::InitialAssignment));
        assert_eq!(serde_json::to_string(&operation).unwrap(), text);
    }

    #[test]
    fn the_first_answer_has_no_registration_and_new_states_are_accepted() {
        let text = r#"{"operationId":"4.d0a6","status":"assigning"}"#;
        let operation: RegistrationOperation = serde_json::from_str(text).unwrap();
        assert_eq!(operation.registration_state, None);
        assert_eq!(serde_json::to_string(&operation).unwrap(), text);
        let text = r#"{"operationId":"4.d0a6","status":"parked","more":1}"#;
        let operation: RegistrationOperation = serde_json::from_str(text).unwrap();
        assert_eq!(operation.status, AssignmentStatus::Unknown);
    }

    #[test]
    fn a_request_without_a_payload_is_short() {
        let request = RegistrationRequest {
            registration_id: Some("sn-7".to_owned()),
            ..RegistrationRequest::default()
        };
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"registrationId":"sn-7"}"#);
        assert_eq!(serde_json::from_str::<RegistrationRequest>("{}").unwrap(), Default::default());
    }
}
