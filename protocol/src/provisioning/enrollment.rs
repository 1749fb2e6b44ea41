//! Enrollments and enrollment groups, as the service API of DPS reads and writes them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::registration::{CertificateInfo, RegistrationState};
use crate::id::DeviceId;
use crate::registry::SymmetricKeys;

/// An individual enrollment, which admits one device, or an enrollment group, which admits
/// all devices with a derived key or a certificate of an authority.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrollment {
    /// The device's registration id; only in an individual enrollment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// The id of the group; only in an enrollment group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
    /// The id of the device at the hub; the registration id if there is none. Only in an
    /// individual enrollment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The credentials of the device or of the group.
    pub attestation: Attestation,
    /// The capabilities of the created devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<EnrollmentCapabilities>,
    /// The host name of the only candidate for an assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iot_hub_host_name: Option<String>,
    /// The host names of the candidates for an assignment; all linked hubs if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iot_hubs: Option<Vec<String>>,
    /// The choice between the candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_policy: Option<AllocationPolicy>,
    /// Tags and desired properties of new devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<Map<String, Value>>,
    /// Information about the device for services. Only in an individual enrollment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional_device_information: Option<Value>,
    /// The permission to register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_status: Option<ProvisioningStatus>,
    /// The handling of repeated registrations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reprovision_policy: Option<ReprovisionPolicy>,
    /// The name of the policy that signs certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_policy_name: Option<String>,
    /// The device's registration. Only in answers about an individual enrollment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<RegistrationState>,
    /// The version of the enrollment, for conditional changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The time of creation, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<String>,
    /// The time of the last change, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<String>,
}

/// The credentials of an enrollment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// `symmetricKey`, `x509`, `tpm` or `none`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The keys of a device or of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeys>,
    /// The certificates of a device or of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<X509Attestation>,
}

/// The kind of an attestation with symmetric keys.
pub const SYMMETRIC_KEY: &str = "symmetricKey";

/// The kind of an attestation with certificates.
pub const X509: &str = "x509";

/// Certificates of an enrollment; exactly one of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509Attestation {
    /// The certificates of a device. Only in an individual enrollment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<CertificatePair>,
    /// The authorities of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_certificates: Option<CertificatePair>,
    /// The names of verified authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_references: Option<CaReferences>,
}

/// Two certificates, of which one can be replaced while the other is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificatePair {
    /// The primary certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<EnrolledCertificate>,
    /// The secondary certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary: Option<EnrolledCertificate>,
}

/// A certificate in an enrollment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnrolledCertificate {
    /// The certificate: PEM, or base64 of PEM or DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Facts about the certificate; only in answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<CertificateInfo>,
}

/// Names of verified authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CaReferences {
    /// The name of the primary authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The name of the secondary authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary: Option<String>,
}

/// Capabilities of the created devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnrollmentCapabilities {
    /// `true` for devices of IoT Edge.
    pub iot_edge: bool,
}

/// The choice between the hubs of an enrollment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AllocationPolicy {
    /// Evenly, by the registration id.
    Hashed,
    /// The closest hub.
    GeoLatency,
    /// The hub of the enrollment.
    Static,
    /// The hub that a webhook returns.
    Custom,
}

/// A device's or a group's permission to register.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvisioningStatus {
    /// Allowed.
    #[default]
    Enabled,
    /// Refused.
    Disabled,
}

/// The handling of repeated registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReprovisionPolicy {
    /// `true` to choose the hub again.
    pub update_hub_assignment: bool,
    /// `true` to keep the twin, `false` to reset it to the initial twin.
    pub migrate_device_data: bool,
}

impl Default for ReprovisionPolicy {
    /// Returns the policy of new enrollments: choose again, and keep the twin.
    fn default() -> ReprovisionPolicy {
        ReprovisionPolicy { update_hub_assignment: true, migrate_device_data: true }
    }
}

impl Attestation {
    /// Returns an attestation with symmetric keys. The service generates missing ones.
    #[must_use]
    pub fn symmetric_key(primary: Option<String>, secondary: Option<String>) -> Attestation {
        let keys = SymmetricKeys { primary_key: primary, secondary_key: secondary };
        Attestation { kind: SYMMETRIC_KEY.to_owned(), symmetric_key: Some(keys), x509: None }
    }

    /// Returns an attestation with certificates.
    #[must_use]
    pub fn x509(x509: X509Attestation) -> Attestation {
        Attestation { kind: X509.to_owned(), symmetric_key: None, x509: Some(x509) }
    }
}

impl CertificatePair {
    /// Returns a pair of these certificates: PEM, or base64 of PEM or DER.
    #[must_use]
    pub fn new(primary: String, secondary: Option<String>) -> CertificatePair {
        let enrolled =
            |certificate| EnrolledCertificate { certificate: Some(certificate), info: None };
        CertificatePair { primary: Some(enrolled(primary)), secondary: secondary.map(enrolled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enrollment_of_the_node_client_survives_a_round_trip_and_debug_hides_its_keys() {
        let text = r#"{"registrationId":"sn-7","deviceId":"device-7","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"c2VjcmV0","secondaryKey":"c2VjcmV0"}},"capabilities":{"iotEdge":false},"allocationPolicy":"static","initialTwin":{"properties":{"desired":{"speed":1}},"tags":{"floor":2}},"provisioningStatus":"enabled","reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":true},"etag":"\"13003fea-0000-0300-0000-62d1d5e50000\""}"#;
        let enrollment: Enrollment = serde_json::from_str(text).unwrap();
        assert_eq!(enrollment.reprovision_policy, Some(ReprovisionPolicy::default()));
        assert!(!format!("{enrollment:?}").contains("c2VjcmV0"));
        assert_eq!(serde_json::to_string(&enrollment).unwrap(), text);
    }

    #[test]
    fn a_group_names_its_authorities_by_certificate_or_by_reference() {
        let text = r#"{"enrollmentGroupId":"fleet","attestation":{"type":"x509","x509":{"caReferences":{"primary":"root"}}}}"#;
        let group: Enrollment = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&group).unwrap(), text);
        let pair = CertificatePair::new("PEM".to_owned(), None);
        let x509 = X509Attestation { signing_certificates: Some(pair), ..Default::default() };
        let json = serde_json::to_string(&Attestation::x509(x509)).unwrap();
        let expected =
            r#"{"type":"x509","x509":{"signingCertificates":{"primary":{"certificate":"PEM"}}}}"#;
        assert_eq!(json, expected);
    }
}
