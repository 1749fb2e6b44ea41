//! The part of a twin that configurations manage.
//!
//! An [`Overlay`] contains the desired properties that the configurations of a device require,
//! and [`Managed::overlaid`] brings them into force. [`Managed`] remembers the paths, to remove
//! them when no configuration requires them any longer.

use std::collections::{BTreeMap, BTreeSet};

use protocol::twin::{PatchError, Section, difference};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A path below the desired properties. Never empty.
pub(crate) type DesiredPath = Vec<String>;

/// The desired properties that the configurations of a device require.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Overlay {
    /// The value at each path; `null` removes the property. A path comes before those below.
    pub(crate) values: BTreeMap<DesiredPath, Value>,
    /// The configurations that target the device, and their status once the values are in
    /// force.
    pub(crate) statuses: BTreeMap<String, ConfigurationStatus>,
}

/// The status of a configuration on a device (documentation of IoT Hub, "Automatic device
/// management").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ConfigurationStatus {
    /// The device matches the target condition, but the content is not in force.
    Targeted,
    /// The content, or a part of it, is in force.
    Applied,
}

/// The persisted result of the last overlay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Managed {
    pub(super) statuses: BTreeMap<String, ConfigurationStatus>,
    paths: BTreeSet<DesiredPath>,
}

impl Managed {
    pub(super) fn is_empty(&self) -> bool {
        self.statuses.is_empty() && self.paths.is_empty()
    }
}

/// Desired properties with an overlay in force.
pub(super) struct Overlaid {
    pub(super) desired: Section,
    pub(super) managed: Managed,
    /// The change of the desired properties; `None` if they are the same.
    pub(super) patch: Option<Map<String, Value>>,
    /// The reason for which the values are not in force: the twin would exceed a limit.
    pub(super) refused: Option<PatchError>,
}

impl Managed {
    /// Returns `true` if [`Managed::overlaid`] would certainly change nothing.
    pub(super) fn has(&self, desired: &Section, overlay: &Overlay) -> bool {
        self.statuses == overlay.statuses
            && self.paths.iter().eq(overlay.values.keys())
            && overlay.values.iter().all(|(path, value)| {
                let found = look_up(&desired.body, path);
                if value.is_null() { found.is_none() } else { found == Some(value) }
            })
    }

    /// Returns the desired properties with an overlay in force, or `None` if nothing changes.
    /// `now` is in RFC 3339 format.
    pub(super) fn overlaid(
        &self,
        desired: &Section,
        overlay: &Overlay,
        now: &str,
    ) -> Option<Overlaid> {
        let mut body = desired.body.clone();
        for path in self.paths.iter().filter(|path| !overlay.values.contains_key(*path)) {
            remove(&mut body, path);
        }
        for (path, value) in &overlay.values {
            match value {
                Value::Null => remove(&mut body, path),
                value => set(&mut body, path, value),
            }
        }
        let patch = Some(difference(&desired.body, &body)).filter(|patch| !patch.is_empty());
        let mut desired = desired.clone();
        let refused = patch.as_ref().and_then(|patch| desired.apply(patch, now).err());
        let mut managed = Managed {
            statuses: overlay.statuses.clone(),
            paths: overlay.values.keys().cloned().collect(),
        };
        if refused.is_some() {
            managed.paths.clone_from(&self.paths);
            for status in managed.statuses.values_mut() {
                *status = ConfigurationStatus::Targeted;
            }
        }
        let patch = patch.filter(|_| refused.is_none());
        let changes = patch.is_some() || managed != *self;
        changes.then_some(Overlaid { desired, managed, patch, refused })
    }
}

fn look_up<'b>(body: &'b Map<String, Value>, path: &[String]) -> Option<&'b Value> {
    let (last, parents) = path.split_last()?;
    let parent = parents.iter().try_fold(body, |body, key| body.get(key)?.as_object())?;
    parent.get(last)
}

fn remove(body: &mut Map<String, Value>, path: &[String]) {
    match path {
        [] => {}
        [last] => drop(body.remove(last)),
        [first, rest @ ..] => {
            if let Some(Value::Object(inner)) = body.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

fn set(body: &mut Map<String, Value>, path: &[String], value: &Value) {
    match path {
        [] => {}
        [last] => drop(body.insert(last.clone(), value.clone())),
        [first, rest @ ..] => {
            let slot = body.entry(first.as_str()).or_insert(Value::Null);
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Value::Object(inner) = slot {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use protocol::twin::Stamp;

    use super::*;

    fn overlay(values: &[(&str, Value)]) -> Overlay {
        let split = |path: &str| path.split('.').map(str::to_owned).collect();
        Overlay {
            values: values.iter().map(|(path, value)| (split(path), value.clone())).collect(),
            statuses: BTreeMap::from([("c".to_owned(), ConfigurationStatus::Applied)]),
        }
    }

    fn desired(body: Value) -> Section {
        let mut section = Section::new(Stamp::TimeAndVersion, "now");
        let Value::Object(body) = body else { panic!("{body} is not an object") };
        section.replace(body, "now").unwrap();
        section
    }

    #[test]
    fn an_overlay_replaces_whole_values_in_one_patch() {
        let before = desired(json!({"a": {"old": 1, "kept": 2}, "b": 1, "c": {"d": 1}}));
        let overlay =
            overlay(&[("a", json!({"kept": 2, "new": 3})), ("b", Value::Null), ("c.e", json!(1))]);
        let overlaid = Managed::default().overlaid(&before, &overlay, "now").unwrap();
        assert_eq!(overlaid.desired.version, before.version + 1);
        assert_eq!(
            json!(overlaid.patch),
            json!({"a": {"old": null, "new": 3}, "b": null, "c": {"e": 1}})
        );
        assert!(overlaid.managed.has(&overlaid.desired, &overlay));
        assert!(overlaid.managed.overlaid(&overlaid.desired, &overlay, "now").is_none());
    }

    #[test]
    fn paths_that_no_configuration_requires_any_longer_are_removed() {
        let mut section = desired(json!({"z": 1}));
        let mut managed = Managed::default();
        for (next, after) in [
            (
                overlay(&[("a.x", json!(1)), ("a", json!({"y": 2}))]),
                json!({"z": 1, "a": {"x": 1, "y": 2}}),
            ),
            (overlay(&[("a.x", json!(1))]), json!({"z": 1, "a": {"x": 1}})),
            (Overlay::default(), json!({"z": 1, "a": {}})),
        ] {
            let overlaid = managed.overlaid(&section, &next, "now").unwrap();
            (section, managed) = (overlaid.desired, overlaid.managed);
            assert_eq!(json!(section.body), after);
        }
        assert!(managed.is_empty());
    }

    #[test]
    fn an_overlay_that_exceeds_a_limit_leaves_the_twin_and_stays_targeted() {
        let before = desired(json!({"z": 1}));
        let large = overlay(&[("a", json!("x".repeat(5000)))]);
        let overlaid = Managed::default().overlaid(&before, &large, "now").unwrap();
        assert!(overlaid.refused.is_some() && overlaid.patch.is_none());
        assert_eq!(overlaid.desired, before);
        assert_eq!(overlaid.managed.statuses["c"], ConfigurationStatus::Targeted);
        assert!(overlaid.managed.overlaid(&before, &large, "now").is_none());
    }
}
