//! Automatic device configurations.
//!
//! A configuration changes the desired properties of all devices that match its target
//! condition. Source: documentation of IoT Hub, "Automatic device management".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::ConfigurationId;
use crate::nulls::null_as_default;

/// Maximum number of custom metrics.
pub const MAX_METRICS: usize = 5;

/// Maximum number of configurations of a hub.
pub const MAX_CONFIGURATIONS: usize = 100;

/// The beginning of each key in the content.
pub const DESIRED: &str = "properties.desired";

/// A configuration.
///
/// The members are in the order of IoT Hub's responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// The id.
    pub id: ConfigurationId,
    /// The version of the document's format, chosen by the client.
    #[serde(default)]
    pub schema_version: Option<String>,
    /// Notes of the client.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// The changes of the desired properties. Cannot be changed.
    #[serde(default)]
    pub content: Option<ConfigurationContent>,
    /// The condition on the twins; `*` selects all devices, an empty one none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub target_condition: String,
    /// The time of creation, in RFC 3339 format; set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time_utc: Option<String>,
    /// The time of the last write; set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated_time_utc: Option<String>,
    /// The priority: the highest one writes a property that several configurations have.
    #[serde(default, deserialize_with = "null_as_default")]
    pub priority: i32,
    /// The numbers of targeted and of applied devices; set by the hub.
    #[serde(default, deserialize_with = "null_as_default")]
    pub system_metrics: Metrics,
    /// Numbers of the client.
    #[serde(default, deserialize_with = "null_as_default")]
    pub metrics: Metrics,
    /// The version of the configuration; set by the hub.
    #[serde(default)]
    pub etag: Option<String>,
}

/// The changes of a configuration, each with the path from `properties.desired`. Only one of
/// the kinds has members.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationContent {
    /// Changes of devices' twins.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub device_content: Option<Map<String, Value>>,
    /// Changes of modules' twins.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub module_content: Option<Map<String, Value>>,
    /// The modules of IoT Edge devices.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub modules_content: Option<Map<String, Value>>,
}

/// Numbers of a configuration: queries by name, and the number of rows that each had in the last
/// evaluation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// The numbers; empty before the first evaluation.
    #[serde(default, deserialize_with = "null_as_default")]
    pub results: BTreeMap<String, u64>,
    /// The queries.
    #[serde(default, deserialize_with = "null_as_default")]
    pub queries: BTreeMap<String, String>,
}

impl Configuration {
    /// Creates a configuration of devices, as in a request.
    #[must_use]
    pub fn new(id: ConfigurationId, device_content: Map<String, Value>) -> Configuration {
        Configuration {
            id,
            schema_version: None,
            labels: None,
            content: Some(ConfigurationContent {
                device_content: Some(device_content),
                ..ConfigurationContent::default()
            }),
            target_condition: String::new(),
            created_time_utc: None,
            last_updated_time_utc: None,
            priority: 0,
            system_metrics: Metrics::default(),
            metrics: Metrics::default(),
            etag: None,
        }
    }

    /// Returns a label; `None` if it is missing.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }
}

/// Returns the names after `properties.desired` in a key of the content. Returns `None` if the
/// key is malformed.
#[must_use]
pub fn content_path(key: &str) -> Option<Vec<String>> {
    let rest = key.strip_prefix(DESIRED)?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let names = rest.strip_prefix('.')?.split('.').map(str::to_owned);
    let names: Vec<String> = names.collect();
    names.iter().all(|name| !name.is_empty()).then_some(names)
}

fn is_empty(content: &Option<Map<String, Value>>) -> bool {
    content.as_ref().is_none_or(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_recorded_configuration_survives_a_round_trip() {
        let text = r#"{"id":"c1","schemaVersion":null,"labels":{"env":"t"},"content":{"deviceContent":{"properties.desired.deviceContent_key":"v"}},"targetCondition":"*","createdTimeUtc":"2020-01-01T00:00:00Z","lastUpdatedTimeUtc":"2020-01-01T00:00:00Z","priority":10,"systemMetrics":{"results":{},"queries":{"appliedCount":"select deviceId from devices where configurations.[[c1]].status = 'Applied'","targetedCount":"select deviceId from devices"}},"metrics":{"results":{},"queries":{}},"etag":"MQ=="}"#;
        let configuration: Configuration = serde_json::from_str(text).unwrap();
        assert_eq!(configuration.label("env"), Some("t"));
        assert_eq!(serde_json::to_string(&configuration).unwrap(), text);
    }

    #[test]
    fn members_that_clients_send_empty_or_null_are_absent() {
        let body = json!({"id": "c1", "labels": null, "targetCondition": null, "priority": null,
            "metrics": {"queries": null}, "systemMetrics": null,
            "content": {"deviceContent": {"properties.desired.a": 1}, "moduleContent": {},
                "modulesContent": null}});
        let configuration: Configuration = serde_json::from_value(body).unwrap();
        let content = json!({"deviceContent": {"properties.desired.a": 1}});
        assert_eq!(json!(configuration.content), content);
        assert_eq!((configuration.target_condition.as_str(), configuration.priority), ("", 0));
    }

    #[test]
    fn a_key_of_the_content_is_a_path_below_the_desired_properties() {
        for (key, path) in [
            ("properties.desired", Some(vec![])),
            ("properties.desired.a", Some(vec!["a".to_owned()])),
            ("properties.desired.a.b-c", Some(vec!["a".to_owned(), "b-c".to_owned()])),
            ("properties.desired.", None),
            ("properties.desired.a..b", None),
            ("properties.desireda", None),
            ("properties.reported.a", None),
            ("a", None),
        ] {
            assert_eq!(content_path(key), path, "{key}");
        }
    }
}
