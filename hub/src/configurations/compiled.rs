//! A configuration that is ready for evaluation, and its queries.

use std::collections::BTreeMap;
use std::fmt;

use protocol::configuration::content_path;
use serde_json::{Map, Value};

use crate::query::{Source, TwinFilter};
use crate::state::{ConfigurationRecord, ConfigurationStatus, DesiredPath, Overlay};

/// The collection of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Devices,
    Modules,
}

impl Target {
    pub(super) fn of(filter: &TwinFilter) -> Target {
        match filter.source() {
            Source::Modules => Target::Modules,
            Source::Devices | Source::Jobs => Target::Devices,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Devices => "devices",
            Target::Modules => "modules",
        })
    }
}

/// A configuration with a target.
pub(super) struct Compiled {
    pub(super) id: String,
    priority: i32,
    created: String,
    pub(super) filter: TwinFilter,
    values: BTreeMap<DesiredPath, Value>,
}

impl Compiled {
    /// Compiles the configurations that target twins, those that win first.
    pub(super) fn all<'r>(records: impl Iterator<Item = &'r ConfigurationRecord>) -> Vec<Compiled> {
        let mut all: Vec<Compiled> = records.filter_map(Compiled::new).collect();
        // Newer ones win among the same priority. All times have the same number of digits.
        all.sort_by(|a, b| (b.priority, &b.created, &b.id).cmp(&(a.priority, &a.created, &a.id)));
        all
    }

    fn new(record: &ConfigurationRecord) -> Option<Compiled> {
        let filter = TwinFilter::of_target(&record.target_condition).ok().flatten()?;
        let content = &record.content;
        let changes = match Target::of(&filter) {
            Target::Devices => &content.device_content,
            Target::Modules => &content.module_content,
        };
        Some(Compiled {
            id: record.id.clone(),
            priority: record.priority,
            created: record.created.clone(),
            filter,
            values: changes.as_ref().map(values).unwrap_or_default(),
        })
    }
}

/// Combines configurations that target the same twin, those that win first.
///
/// A configuration is applied if it wins at least one path. A path below another one is part of
/// that one.
pub(super) fn combine<'c>(targeting: impl Iterator<Item = &'c Compiled>) -> Overlay {
    let mut overlay = Overlay::default();
    for configuration in targeting {
        let mut wins = configuration.values.is_empty();
        let mut won = Vec::new();
        for (path, value) in &configuration.values {
            let is_taken = (1..=path.len()).any(|end| overlay.values.contains_key(&path[..end]));
            if !is_taken {
                wins = true;
                won.push((path.clone(), value.clone()));
            }
        }
        overlay.values.extend(won);
        let status =
            if wins { ConfigurationStatus::Applied } else { ConfigurationStatus::Targeted };
        overlay.statuses.insert(configuration.id.clone(), status);
    }
    overlay
}

/// Returns the value at each path of a content.
fn values(changes: &Map<String, Value>) -> BTreeMap<DesiredPath, Value> {
    let mut values = BTreeMap::new();
    for (key, value) in changes {
        match (content_path(key), value) {
            (None, _) => {}
            (Some(path), Value::Object(members)) if path.is_empty() => {
                let members = members.iter().filter(|(name, _)| !name.starts_with('$'));
                values.extend(members.map(|(name, value)| (vec![name.clone()], defined(value))));
            }
            (Some(path), value) => drop(values.insert(path, defined(value))),
        }
    }
    values
}

/// Returns a value without nulls in objects, which a twin does not have.
fn defined(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.map(|(name, value)| (name.clone(), defined(value))).collect())
        }
        value => value.clone(),
    }
}

/// Returns the patch that a content is for a twin without properties.
pub(super) fn body(changes: &Map<String, Value>) -> Map<String, Value> {
    let mut body = Map::new();
    for (path, value) in values(changes) {
        let mut parent = &mut body;
        let (last, names) = path.split_last().expect("paths are not empty");
        for name in names {
            let slot = parent.entry(name.as_str()).or_insert(Value::Null);
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            parent = slot.as_object_mut().expect("the value is an object");
        }
        parent.insert(last.clone(), value);
    }
    body
}

/// Returns the queries of the numbers of targeted and applied devices.
pub(super) fn system_queries(record: &ConfigurationRecord) -> BTreeMap<String, String> {
    let (source, rest) = split(&record.target_condition);
    let columns = if source == "devices" { "deviceId" } else { "deviceId, moduleId" };
    let select = format!("select {columns} from {source}");
    let targeted = match rest {
        "" => String::new(),
        "*" => select.clone(),
        condition => format!("{select} where {condition}"),
    };
    let id = &record.id;
    let applied = format!("{select} where configurations.[[{id}]].status = 'Applied'");
    BTreeMap::from([("targetedCount".to_owned(), targeted), ("appliedCount".to_owned(), applied)])
}

/// Returns the collection and the condition of a target condition.
fn split(condition: &str) -> (&'static str, &str) {
    let condition = condition.trim();
    let lower = condition.to_ascii_lowercase();
    match lower.strip_prefix("from") {
        // The condition has been parsed, so `where` is the first word after the collection.
        Some(_) => match lower.find("where") {
            Some(at) => ("devices.modules", condition[at + "where".len()..].trim()),
            None => ("devices.modules", "*"),
        },
        None => ("devices", condition),
    }
}

#[cfg(test)]
mod tests {
    use protocol::configuration::ConfigurationContent;
    use serde_json::json;

    use super::*;

    fn record(id: &str, priority: i32, created: &str, changes: Value) -> ConfigurationRecord {
        let Value::Object(changes) = changes else { panic!() };
        ConfigurationRecord {
            id: id.to_owned(),
            schema_version: None,
            labels: None,
            content: ConfigurationContent {
                device_content: Some(changes),
                ..ConfigurationContent::default()
            },
            target_condition: "*".to_owned(),
            priority,
            metrics: BTreeMap::new(),
            created: created.to_owned(),
            updated: created.to_owned(),
            writes: 1,
        }
    }

    fn overlay(records: &[ConfigurationRecord]) -> Overlay {
        combine(Compiled::all(records.iter()).iter())
    }

    #[test]
    fn the_highest_priority_writes_a_path_and_a_tie_goes_to_the_newer() {
        let overlay = overlay(&[
            record("low", 1, "3", json!({"properties.desired.a": 1, "properties.desired.b": 1})),
            record("old", 5, "1", json!({"properties.desired.a": 2})),
            record("new", 5, "2", json!({"properties.desired": {"a": 3}})),
        ]);
        let values: Vec<_> = overlay.values.iter().map(|(path, v)| (path.join("."), v)).collect();
        assert_eq!(values, [("a".to_owned(), &json!(3)), ("b".to_owned(), &json!(1))]);
        let applied = |id| overlay.statuses[id] == ConfigurationStatus::Applied;
        assert!(applied("new") && applied("low") && !applied("old"));
    }

    #[test]
    fn a_path_includes_those_below_it_and_a_lower_priority_fills_the_rest() {
        let overlay = overlay(&[
            record(
                "low",
                1,
                "1",
                json!({"properties.desired.a": {"x": 1, "y": null},
                "properties.desired.b.c": 1}),
            ),
            record(
                "high",
                2,
                "1",
                json!({"properties.desired.a.x": 2,
                "properties.desired.b": {"d": 2}}),
            ),
        ]);
        let values: Vec<_> = overlay.values.iter().map(|(path, v)| (path.join("."), v)).collect();
        let expected = [("a", json!({"x": 1})), ("a.x", json!(2)), ("b", json!({"d": 2}))];
        assert_eq!(values, expected.each_ref().map(|(path, v)| ((*path).to_owned(), v)));
    }

    #[test]
    fn system_metrics_have_the_texts_of_iot_hub() {
        let mut record = record("c-1", 1, "1", json!({}));
        let queries = system_queries(&record);
        assert_eq!(queries["targetedCount"], "select deviceId from devices");
        assert_eq!(
            queries["appliedCount"],
            "select deviceId from devices where configurations.[[c-1]].status = 'Applied'"
        );
        record.target_condition = "tags.a = 1".to_owned();
        let targeted = &system_queries(&record)["targetedCount"];
        assert_eq!(targeted, "select deviceId from devices where tags.a = 1");
        record.target_condition = String::new();
        assert_eq!(system_queries(&record)["targetedCount"], "");
        record.target_condition = "FROM devices.modules WHERE moduleId = 'm'".to_owned();
        assert_eq!(
            system_queries(&record)["targetedCount"],
            "select deviceId, moduleId from devices.modules where moduleId = 'm'"
        );
    }
}
