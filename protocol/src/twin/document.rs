//! The whole document of a twin, as a service reads it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{DeviceId, ModuleId};
use crate::registry::{DeviceStatus, Thumbprints};

/// A whole twin. Fields without a counterpart here are kept in `rest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Twin {
    /// The id of the device.
    pub device_id: DeviceId,
    /// The id of the module, if the twin is that of a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
    /// The version of tags and desired properties, for conditional changes.
    pub etag: String,
    /// The version of the device's identity, for conditional changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_etag: Option<String>,
    /// The device's permission to connect.
    #[serde(default)]
    pub status: DeviceStatus,
    /// The reason for the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// The time of the last change of `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_update_time: Option<String>,
    /// `Connected` or `Disconnected`. Updated with a delay, so only suitable for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<String>,
    /// The time of the device's last activity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<String>,
    /// The number of messages queued for the device.
    #[serde(default)]
    pub cloud_to_device_message_count: u64,
    /// `sas`, `selfSigned`, `certificateAuthority` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_type: Option<String>,
    /// Thumbprints of the device's certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<Thumbprints>,
    /// The Plug and Play model that the device announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// The version of the twin. Every change increments it.
    pub version: u64,
    /// The tags: properties that the device cannot see.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
    /// The desired and reported properties, with `$metadata` and `$version`.
    pub properties: Properties,
    /// All other fields, such as `capabilities`.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Desired and reported properties of a twin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Properties {
    /// The desired properties.
    pub desired: Map<String, Value>,
    /// The reported properties.
    pub reported: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_twin_survives_a_round_trip() {
        let text = r#"{"deviceId":"d1","etag":"AAAAAAAAAAE=","deviceEtag":"NDAzODk4OTIx","status":"enabled","statusUpdateTime":"0001-01-01T00:00:00Z","connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authenticationType":"sas","x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"version":2,"properties":{"desired":{"$metadata":{"$lastUpdated":"2020-07-20T20:09:17.1190276Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"2020-07-20T20:09:17.1190276Z"},"$version":1}},"capabilities":{"iotEdge":false}}"#;
        let recorded: Value = serde_json::from_str(text).unwrap();
        let twin: Twin = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&twin).unwrap(), recorded);
    }
}
