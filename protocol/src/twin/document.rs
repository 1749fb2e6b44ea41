//! What a service sees of a twin: the whole document.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{DeviceId, ModuleId};
use crate::registry::DeviceStatus;

/// The whole twin. Fields that this type does not name are kept in `rest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Twin {
    /// Whose.
    pub device_id: DeviceId,
    /// The module, where it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
    /// Guards tags and desired properties; changes with them.
    pub etag: String,
    /// The identity's own etag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_etag: Option<String>,
    /// Whether the device may connect.
    #[serde(default)]
    pub status: DeviceStatus,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_update_time: Option<String>,
    /// `Connected` or `Disconnected`; for people, since it lags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_state: Option<String>,
    /// When the device was last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<String>,
    /// Messages that wait for the device.
    #[serde(default)]
    pub cloud_to_device_message_count: u64,
    /// `sas`, `selfSigned`, `certificateAuthority` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_type: Option<String>,
    /// Thumbprints of the device's certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<Thumbprints>,
    /// The Plug and Play model that the device says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Counts every change.
    pub version: u64,
    /// The service's own notes on the device.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
    /// Desired and reported, with `$metadata` and `$version`.
    pub properties: Properties,
    /// Everything else, such as `capabilities`.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Both halves of a twin's properties, as a service sees them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Properties {
    /// What the cloud wants.
    pub desired: Map<String, Value>,
    /// What the device says.
    pub reported: Map<String, Value>,
}

/// Thumbprints of the two certificates of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thumbprints {
    /// The first.
    pub primary_thumbprint: Option<String>,
    /// The second.
    pub secondary_thumbprint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_twin_reads_back_as_it_was_written() {
        let text = r#"{"deviceId":"d1","etag":"AAAAAAAAAAE=","deviceEtag":"NDAzODk4OTIx","status":"enabled","statusUpdateTime":"0001-01-01T00:00:00Z","connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authenticationType":"sas","x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"version":2,"properties":{"desired":{"$metadata":{"$lastUpdated":"2020-07-20T20:09:17.1190276Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"2020-07-20T20:09:17.1190276Z"},"$version":1}},"capabilities":{"iotEdge":false}}"#;
        let recorded: Value = serde_json::from_str(text).unwrap();
        let twin: Twin = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&twin).unwrap(), recorded);
    }
}
