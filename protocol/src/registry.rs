//! Device identities, as the registry's REST API says them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::DeviceId;

/// Whether a device may connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// It may.
    #[default]
    Enabled,
    /// It is refused, and dropped if it is connected.
    Disabled,
}

/// A device's identity. Fields that a hub adds and nobody here reads are lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceIdentity {
    /// The id.
    pub device_id: DeviceId,
    /// New for each device that takes the id after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_id: Option<String>,
    /// Guards changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Whether it may connect.
    #[serde(default)]
    pub status: DeviceStatus,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// `Connected` or `Disconnected`; for people, since it lags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<String>,
    /// What it signs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

/// What a device signs in with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// `sas`, `selfSigned`, `certificateAuthority` or `none`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Two keys, so that one can be changed while the other is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeys>,
}

/// The two keys of a device, as base64. Empty ones ask the hub to make them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymmetricKeys {
    /// The first.
    #[serde(default)]
    pub primary_key: Option<String>,
    /// The second.
    #[serde(default)]
    pub secondary_key: Option<String>,
}

impl fmt::Debug for SymmetricKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKeys(…)")
    }
}

impl DeviceIdentity {
    /// An enabled device whose keys the hub makes.
    #[must_use]
    pub fn new(device_id: DeviceId) -> DeviceIdentity {
        DeviceIdentity {
            device_id,
            generation_id: None,
            etag: None,
            status: DeviceStatus::Enabled,
            status_reason: None,
            connection_state: None,
            authentication: Some(Authentication { kind: "sas".to_owned(), symmetric_key: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_identity_is_read_and_its_keys_are_not_printed() {
        let text = r#"{"deviceId":"nd","generationId":"637315714436756822","etag":"NDAzODk4OTIx","connectionState":"Disconnected","status":"enabled","statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00","cloudToDeviceMessageCount":0,"authentication":{"symmetricKey":{"primaryKey":"c2VjcmV0","secondaryKey":"c2VjcmV0"},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},"capabilities":{"iotEdge":false}}"#;
        let identity: DeviceIdentity = serde_json::from_str(text).unwrap();
        assert_eq!(identity.etag.as_deref(), Some("NDAzODk4OTIx"));
        assert_eq!(identity.status, DeviceStatus::Enabled);
        assert!(!format!("{identity:?}").contains("c2VjcmV0"));
    }
}
