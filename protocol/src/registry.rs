//! Device identities in the REST API of the registry.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::DeviceId;

/// The kind of a device that signs in with a SAS token.
pub const SAS: &str = "sas";

/// The kind of a device that signs in with a certificate of a registered thumbprint.
pub const SELF_SIGNED: &str = "selfSigned";

/// The kind of a device that signs in with a certificate of a registered authority.
pub const CERTIFICATE_AUTHORITY: &str = "certificateAuthority";

/// A device's permission to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// Allowed.
    #[default]
    Enabled,
    /// Refused. Disabling a connected device disconnects it.
    Disabled,
}

/// A device's identity. Fields without a counterpart here are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceIdentity {
    /// The id of the device.
    pub device_id: DeviceId,
    /// An id that distinguishes the device from a deleted one with the same device id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// The version of the identity, for conditional changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The permission to connect.
    #[serde(default)]
    pub status: DeviceStatus,
    /// The reason for the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// `Connected` or `Disconnected`. Updated with a delay, so only suitable for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<String>,
    /// The credentials of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

/// The credentials of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// `sas`, `selfSigned`, `certificateAuthority` or `none`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The two keys. One of them can be replaced while the other is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeys>,
    /// The thumbprints of the two certificates of a device of the kind `selfSigned`. One of
    /// them can be replaced while the other is in use.
    #[serde(default, rename = "x509Thumbprint", skip_serializing_if = "Option::is_none")]
    pub thumbprints: Option<Thumbprints>,
}

/// The two keys of a device, as base64. The hub generates missing ones.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymmetricKeys {
    /// The primary key.
    #[serde(default)]
    pub primary_key: Option<String>,
    /// The secondary key.
    #[serde(default)]
    pub secondary_key: Option<String>,
}

/// Thumbprints of the two certificates of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thumbprints {
    /// The thumbprint of the primary certificate.
    pub primary_thumbprint: Option<String>,
    /// The thumbprint of the secondary certificate.
    pub secondary_thumbprint: Option<String>,
}

impl fmt::Debug for SymmetricKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKeys(…)")
    }
}

impl DeviceIdentity {
    /// Returns the identity of an enabled device. The hub generates its keys.
    #[must_use]
    pub fn new(device_id: DeviceId) -> DeviceIdentity {
        DeviceIdentity {
            device_id,
            generation_id: None,
            etag: None,
            status: DeviceStatus::Enabled,
            status_reason: None,
            connection_state: None,
            authentication: Some(Authentication { kind: SAS.to_owned(), ..Default::default() }),
        }
    }

    /// Returns `true` if the device signs in with a certificate.
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        let kind = self.authentication.as_ref().map(|authentication| authentication.kind.as_str());
        kind.is_some_and(|kind| [SELF_SIGNED, CERTIFICATE_AUTHORITY].contains(&kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_identity_is_parsed_and_debug_hides_its_keys() {
        let text = r#"{"deviceId":"nd","generationId":"637315714436756822","etag":"NDAzODk4OTIx","connectionState":"Disconnected","status":"enabled","statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00","cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":{"primaryKey":"c2VjcmV0","secondaryKey":"c2VjcmV0"},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},"capabilities":{"iotEdge":false}}"#;
        let identity: DeviceIdentity = serde_json::from_str(text).unwrap();
        assert_eq!(identity.etag.as_deref(), Some("NDAzODk4OTIx"));
        assert_eq!(identity.status, DeviceStatus::Enabled);
        assert!(!format!("{identity:?}").contains("c2VjcmV0"));
    }
}
