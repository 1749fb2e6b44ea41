//! Desired or reported properties, with their version and metadata.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::limits::{PatchError, check_patch, check_section, check_size};
use super::{MAX_SECTION_BYTES, METADATA, VERSION, merge};

/// The desired or the reported properties of a twin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// The properties, without metadata and version.
    pub body: Map<String, Value>,
    /// The time of the last change of each property, in the format of `$metadata`.
    pub metadata: Map<String, Value>,
    /// The version: initially 1, incremented by each change.
    pub version: u64,
    stamp: Stamp,
}

/// The contents of each property's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stamp {
    /// `$lastUpdated`: reported properties.
    Time,
    /// `$lastUpdated` and `$lastUpdatedVersion`: desired properties.
    TimeAndVersion,
}

impl Section {
    /// Creates an empty section. `now` is in RFC 3339 format, here and in all methods below.
    #[must_use]
    pub fn new(stamp: Stamp, now: &str) -> Section {
        let metadata = Map::from_iter([("$lastUpdated".to_owned(), Value::from(now))]);
        Section { body: Map::new(), metadata, version: 1, stamp }
    }

    /// Merges a patch. An error leaves the section unchanged.
    pub fn apply(&mut self, patch: &Map<String, Value>, now: &str) -> Result<(), PatchError> {
        check_patch(patch)?;
        let mut body = self.body.clone();
        merge(&mut body, patch);
        check_size(self.name(), &body, MAX_SECTION_BYTES)?;
        self.body = body;
        self.version += 1;
        let stamps = self.stamps(now);
        update_metadata(&mut self.metadata, patch, &stamps);
        Ok(())
    }

    /// Replaces all properties. Nulls are refused. An error leaves the section unchanged.
    pub fn replace(&mut self, body: Map<String, Value>, now: &str) -> Result<(), PatchError> {
        check_section(&body)?;
        check_size(self.name(), &body, MAX_SECTION_BYTES)?;
        self.version += 1;
        self.metadata = Map::new();
        let stamps = self.stamps(now);
        update_metadata(&mut self.metadata, &body, &stamps);
        self.body = body;
        Ok(())
    }

    /// Returns a service's view: the properties, `$metadata` and `$version`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = self.body.clone();
        json.insert(METADATA.to_owned(), Value::Object(self.metadata.clone()));
        json.insert(VERSION.to_owned(), Value::from(self.version));
        Value::Object(json)
    }

    fn name(&self) -> &'static str {
        match self.stamp {
            Stamp::Time => "reported properties",
            Stamp::TimeAndVersion => "desired properties",
        }
    }

    fn stamps(&self, now: &str) -> Map<String, Value> {
        let stamps = match self.stamp {
            Stamp::Time => json!({"$lastUpdated": now}),
            Stamp::TimeAndVersion => {
                json!({"$lastUpdated": now, "$lastUpdatedVersion": self.version})
            }
        };
        match stamps {
            Value::Object(stamps) => stamps,
            _ => unreachable!("both values are objects"),
        }
    }
}

/// Updates the metadata of changed keys and removes the metadata of deleted keys.
fn update_metadata(
    metadata: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    stamps: &Map<String, Value>,
) {
    metadata.extend(stamps.clone());
    for (key, change) in patch {
        match change {
            Value::Null => {
                metadata.remove(key);
            }
            Value::Object(change) => {
                let slot = metadata.entry(key.as_str()).or_insert_with(|| json!({}));
                if let Value::Object(inner) = slot {
                    update_metadata(inner, change, stamps);
                }
            }
            _ => {
                metadata.insert(key.clone(), Value::Object(stamps.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_patch_updates_the_metadata_of_its_keys() {
        let mut desired = Section::new(Stamp::TimeAndVersion, "T0");
        assert_eq!(desired.to_json(), json!({"$metadata": {"$lastUpdated": "T0"}, "$version": 1}));

        desired.apply(&object(json!({"a": {"b": 1}})), "T").unwrap();

        let mark = json!({"$lastUpdated": "T", "$lastUpdatedVersion": 2});
        let mut metadata = mark.clone();
        metadata["a"] = mark.clone();
        metadata["a"]["b"] = mark;
        assert_eq!(desired.to_json(), json!({"a": {"b": 1}, "$metadata": metadata, "$version": 2}));
    }

    #[test]
    fn reported_properties_have_no_version_per_key() {
        let mut reported = Section::new(Stamp::Time, "T0");
        reported.apply(&object(json!({"x": 1, "y": 2})), "T1").unwrap();
        reported.apply(&object(json!({"x": null})), "T2").unwrap();
        assert_eq!(
            reported.to_json(),
            json!({"y": 2, "$version": 3,
                "$metadata": {"$lastUpdated": "T2", "y": {"$lastUpdated": "T1"}}})
        );
    }

    #[test]
    fn a_replacement_removes_old_properties_and_a_refused_change_has_no_effect() {
        let mut desired = Section::new(Stamp::TimeAndVersion, "T0");
        desired.apply(&object(json!({"a": 1})), "T1").unwrap();
        desired.replace(object(json!({"b": 2})), "T2").unwrap();
        assert_eq!(Value::Object(desired.body.clone()), json!({"b": 2}));
        assert_eq!(desired.version, 3);

        let before = desired.clone();
        let large: Map<_, _> = (0..9).map(|n| (n.to_string(), "x".repeat(4000).into())).collect();
        assert!(desired.apply(&large, "T3").is_err());
        assert!(desired.apply(&object(json!({"$a": 1})), "T3").is_err());
        assert!(desired.replace(object(json!({"b": 2, "c": null})), "T3").is_err());
        assert_eq!(desired, before);
    }
}
