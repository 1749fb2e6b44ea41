//! Device twins: sections, patches and limits.
//!
//! A twin consists of tags, desired properties and reported properties. All three are
//! changed by patches ([`merge()`]) within the same limits ([`check_patch`]). A
//! [`Section`] holds desired or reported properties with their version and `$metadata`.
//! [`DeviceTwin`] and [`DesiredPatch`] are a device's view of a twin; [`Twin`] is the
//! view of a service.

use serde_json::{Map, Value};

pub use device::{DesiredPatch, DeviceTwin, TwinBodyError};
pub use document::{Properties, Twin};
pub use limits::{PatchError, check_patch, check_section, check_size, size};
pub use section::{Section, Stamp};

mod device;
mod document;
mod limits;
mod section;

/// Maximum size of the tags, as counted by [`size`].
pub const MAX_TAGS_BYTES: usize = 8 * 1024;
/// Maximum size of the desired or of the reported properties, as counted by [`size`].
pub const MAX_SECTION_BYTES: usize = 32 * 1024;
/// Maximum length of a key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// Maximum length of a string value, in bytes.
pub const MAX_STRING_BYTES: usize = 4 * 1024;
/// Maximum nesting depth of objects and arrays.
pub const MAX_DEPTH: usize = 10;
/// Minimum integer.
pub const MIN_INTEGER: i64 = -4_503_599_627_370_496;
/// Maximum integer.
pub const MAX_INTEGER: i64 = 4_503_599_627_370_495;

/// The fields of a twin document. A service can change `tags` and `properties.desired`; the
/// hub and the device maintain all others.
pub const FIELDS: &[&str] = &[
    "deviceId",
    "moduleId",
    "etag",
    "deviceEtag",
    "version",
    "status",
    "statusReason",
    "statusUpdateTime",
    "connectionState",
    "connectionStateUpdatedTime",
    "lastActivityTime",
    "authenticationType",
    "cloudToDeviceMessageCount",
    "x509Thumbprint",
    "capabilities",
    "modelId",
    "deviceScope",
    "parentScopes",
    "configurations",
    "managedBy",
    "tags",
    "properties",
];

/// The key of a section's version in JSON.
pub const VERSION: &str = "$version";
/// The key of a section's metadata in JSON.
pub const METADATA: &str = "$metadata";

/// Merges `patch` into `target`. Objects are merged, other values replaced, and `null`
/// deletes a key.
///
/// An object that replaces another value starts empty, so `{"p":{"q":null}}` makes `p`
/// an empty object.
pub fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, change) in patch {
        match change {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(change) => {
                let slot = target.entry(key.as_str()).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(inner) = slot {
                    merge(inner, change);
                }
            }
            value => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Returns the patch that notifies a device of a replaced section: all of `after`, and
/// `null` for every key that was removed, at every depth (IoT Hub's team in
/// Azure/azure-iot-sdk-csharp#954).
#[must_use]
pub fn replacement(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    let mut patch: Map<_, _> = removed.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in after {
        let value = match (before.get(key), value) {
            (Some(Value::Object(before)), Value::Object(after)) => {
                Value::Object(replacement(before, after))
            }
            (_, value) => value.clone(),
        };
        patch.insert(key.clone(), value);
    }
    patch
}

/// Returns the patch that turns `before` into `after`: new and changed values, and `null`
/// for removed keys.
#[must_use]
pub fn difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    let mut patch: Map<_, _> = removed.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in after {
        match (before.get(key), value) {
            (Some(same), value) if same == value => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                patch.insert(key.clone(), difference(before, after).into());
            }
            (_, value) => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    patch
}

/// Combines two patches into one with the same effect, and stores it in `earlier`. Keeps
/// `null`, which deletes a key when the combined patch is merged into a twin.
///
/// Returns `false` and leaves `earlier` unchanged if no single patch has that effect. This
/// is the case if `earlier` replaces or deletes a key and `later` sets it to an object:
/// a single patch would merge the object into the old value.
#[must_use]
pub fn merge_patches(earlier: &mut Map<String, Value>, later: &Map<String, Value>) -> bool {
    let combinable = can_combine(earlier, later);
    if combinable {
        combine(earlier, later);
    }
    combinable
}

fn can_combine(earlier: &Map<String, Value>, later: &Map<String, Value>) -> bool {
    later.iter().all(|(key, change)| match (earlier.get(key), change) {
        (Some(Value::Object(inner)), Value::Object(change)) => can_combine(inner, change),
        (Some(_), Value::Object(_)) => false,
        _ => true,
    })
}

fn combine(earlier: &mut Map<String, Value>, later: &Map<String, Value>) {
    for (key, change) in later {
        match (earlier.get_mut(key), change) {
            (Some(Value::Object(inner)), Value::Object(change)) => combine(inner, change),
            _ => {
                earlier.insert(key.clone(), change.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is not an object"),
        }
    }

    fn check(before: Value, patch: Value, after: Value) {
        let mut target = object(before);
        merge(&mut target, &object(patch));
        assert_eq!(Value::Object(target), after);
    }

    #[test]
    fn a_patch_merges_objects_replaces_values_and_deletes_by_null() {
        check(json!({"a": {"b": 1}}), json!({"a": {"c": 2}}), json!({"a": {"b": 1, "c": 2}}));
        check(json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]}));
        check(json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2}));
        check(json!({"a": 1}), json!({"a": {"b": 2}}), json!({"a": {"b": 2}}));
        check(json!({"a": {"b": 1}}), json!({"a": 2}), json!({"a": 2}));
    }

    #[test]
    fn a_null_below_a_missing_key_creates_an_empty_object() {
        check(json!({}), json!({"p": {"q": null}}), json!({"p": {}}));
        check(json!({}), json!({"p": null}), json!({}));
    }

    fn patches() -> impl Strategy<Value = Map<String, Value>> {
        let leaf = prop_oneof![Just(Value::Null), (0..9i64).prop_map(Value::from)];
        let value = leaf.prop_recursive(3, 20, 4, |inner| {
            proptest::collection::hash_map("[abc]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        });
        proptest::collection::hash_map("[abc]", value, 0..3)
            .prop_map(|map| map.into_iter().collect())
    }

    /// Generates documents of a twin, which contain no `null`.
    fn documents() -> impl Strategy<Value = Map<String, Value>> {
        patches().prop_map(|patch| {
            let mut document = Map::new();
            merge(&mut document, &patch);
            document
        })
    }

    #[test]
    fn a_replacement_patch_has_a_null_for_every_removed_key() {
        let patch = replacement(
            &object(json!({"a": 1, "b": 1, "n": {"x": 1, "y": {"z": 1}}, "o": {"p": 1}, "s": 1})),
            &object(json!({"a": 1, "c": 100, "n": {"x": 1, "y": {}}, "o": 2, "s": {"t": 1}})),
        );
        assert_eq!(
            Value::Object(patch),
            json!({"a": 1, "b": null, "c": 100, "n": {"x": 1, "y": {"z": null}}, "o": 2,
                "s": {"t": 1}})
        );
    }

    proptest! {
        #[test]
        fn merging_a_replacement_yields_the_new_section(before in documents(), after in documents()) {
            let patch = replacement(&before, &after);
            let mut merged = before;
            merge(&mut merged, &patch);
            prop_assert_eq!(merged, after);
        }

        #[test]
        fn merging_a_difference_yields_the_later_document(before in documents(), after in documents()) {
            let patch = difference(&before, &after);
            let mut merged = before;
            merge(&mut merged, &patch);
            prop_assert_eq!(&merged, &after);
            prop_assert!(difference(&after, &after).is_empty());
        }

        #[test]
        fn merging_a_patch_is_idempotent(start in patches(), patch in patches()) {
            let mut once = Map::new();
            merge(&mut once, &start);
            merge(&mut once, &patch);
            let mut twice = once.clone();
            merge(&mut twice, &patch);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn a_combined_patch_has_the_effect_of_both_in_turn(
            start in patches(), first in patches(), second in patches(),
        ) {
            let (mut in_turn, mut at_once) = (Map::new(), Map::new());
            merge(&mut in_turn, &start);
            merge(&mut at_once, &start);
            merge(&mut in_turn, &first);
            merge(&mut in_turn, &second);
            let mut both = first.clone();
            if merge_patches(&mut both, &second) {
                merge(&mut at_once, &both);
                prop_assert_eq!(in_turn, at_once);
            } else {
                prop_assert_eq!(both, first);
            }
        }
    }
}
