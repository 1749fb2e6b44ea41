//! Requests that write configurations.

use protocol::configuration::{Configuration, ConfigurationContent, MAX_METRICS, content_path};
use protocol::error::{ErrorCode, HubError};
use protocol::id::ConfigurationId;
use protocol::twin::{MAX_SECTION_BYTES, check_patch, check_size};
use serde_json::{Map, Value};

use super::compiled::{self, Target};
use super::{invalid, not_found};
use crate::query::{self, TargetError, TwinFilter};
use crate::refusal::Refusal;
use crate::state::{ConfigurationRecord, IfMatch};

/// The condition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteCondition {
    /// The configuration must not exist yet.
    New,
    /// The configuration must exist and have this etag.
    Match(IfMatch),
}

impl WriteCondition {
    /// Parses the `If-Match` header of a PUT. An etag without quotes is no condition: IoT Hub
    /// answers as if the configuration were created (Azure/azure-iot-sdk-python#983).
    pub(crate) fn of_put(header: Option<&str>) -> WriteCondition {
        match header.map(str::trim) {
            None | Some("" | "\"\"") => WriteCondition::New,
            Some(text) if text == "*" || text.starts_with('"') => {
                WriteCondition::Match(IfMatch::parse(Some(text)))
            }
            Some(_) => WriteCondition::New,
        }
    }

    /// Checks the condition for the current configuration.
    pub(super) fn check(
        &self,
        id: &str,
        current: Option<&ConfigurationRecord>,
    ) -> Result<(), Refusal> {
        match (self, current) {
            (WriteCondition::New, None) => Ok(()),
            (WriteCondition::New, Some(_)) => Err(already_exists(id)),
            (WriteCondition::Match(_), None) => Err(not_found(id)),
            (WriteCondition::Match(condition), Some(current)) => {
                match condition.matches(&current.etag()) {
                    true => Ok(()),
                    false => Err(HubError::new(
                        ErrorCode::PreconditionFailed,
                        format!("ETag mismatch for configuration ID '{id}'"),
                    )
                    .into()),
                }
            }
        }
    }
}

/// Parses and checks a requested configuration.
pub(super) fn parse(id: &str, mut body: Map<String, Value>) -> Result<Configuration, Refusal> {
    let id: ConfigurationId =
        id.parse().map_err(|error: protocol::id::IdError| invalid(&error.to_string()))?;
    match body.get("id") {
        None => drop(body.insert("id".to_owned(), id.as_str().into())),
        Some(Value::String(named)) if named == id.as_str() => {}
        Some(_) => {
            return Err(invalid("the id in the body differs from the id in the path").into());
        }
    }
    let requested: Configuration = serde_json::from_value(Value::Object(body))
        .map_err(|error| invalid(&format!("configuration: {error}")))?;
    if requested.priority < 0 {
        return Err(invalid("priority is negative").into());
    }
    let target = check_target(&requested.target_condition)?;
    if let Some(content) = &requested.content {
        check_content(content, target)?;
    }
    let queries = &requested.metrics.queries;
    if queries.len() > MAX_METRICS {
        let count = queries.len();
        let text = format!("{count} custom metrics; at most {MAX_METRICS} are allowed");
        return Err(metrics_refusal(text));
    }
    for (name, text) in queries {
        query::parse(text).map_err(|error| metrics_refusal(format!("{name}: {error}")))?;
    }
    Ok(requested)
}

/// Returns the record of a written configuration.
pub(super) fn written(
    requested: Configuration,
    current: Option<&ConfigurationRecord>,
    now: String,
) -> Result<ConfigurationRecord, Refusal> {
    let content = match (requested.content.map(without_empty), current) {
        (Some(content), Some(current)) if content != current.content => {
            return Err(Refusal::content("the content of a configuration cannot be changed"));
        }
        (Some(content), None) if content == ConfigurationContent::default() => {
            return Err(Refusal::content("the content is empty"));
        }
        (None, None) => return Err(Refusal::content("the content is missing")),
        (_, Some(current)) => current.content.clone(),
        (Some(content), None) => content,
    };
    // The condition of an update can select another collection than the content is for.
    check_content(&content, check_target(&requested.target_condition)?)?;
    Ok(ConfigurationRecord {
        id: requested.id.to_string(),
        schema_version: requested.schema_version,
        labels: requested.labels,
        content,
        target_condition: requested.target_condition,
        priority: requested.priority,
        metrics: requested.metrics.queries,
        created: current.map_or_else(|| now.clone(), |current| current.created.clone()),
        updated: now,
        writes: current.map_or(0, |current| current.writes) + 1,
    })
}

fn without_empty(content: ConfigurationContent) -> ConfigurationContent {
    let filled = |kind: Option<Map<String, Value>>| kind.filter(|kind| !kind.is_empty());
    ConfigurationContent {
        device_content: filled(content.device_content),
        module_content: filled(content.module_content),
        modules_content: filled(content.modules_content),
    }
}

/// Checks a target condition. Returns the collection; `None` for an empty condition.
fn check_target(condition: &str) -> Result<Option<Target>, Refusal> {
    match TwinFilter::of_target(condition) {
        Ok(filter) => Ok(filter.map(|filter| Target::of(&filter))),
        Err(TargetError::Forbidden(found)) => Err(target_refusal(format!(
            "Invalid targetCondition. It must be a filter condition based on 'deviceId', 'tags', \
             or 'properties.reported'. It contains: {found}"
        ))),
        Err(TargetError::Syntax(error)) => Err(target_refusal(format!("BadRequest, {error}"))),
    }
}

/// Checks that the content is valid and for the targeted collection.
fn check_content(content: &ConfigurationContent, target: Option<Target>) -> Result<(), Refusal> {
    let content = without_empty(content.clone());
    if content.modules_content.is_some() {
        let text = "this hub supports deviceContent and moduleContent, not modulesContent";
        return Err(Refusal::content(text));
    }
    let (changes, kind) = match (&content.device_content, &content.module_content) {
        (Some(_), Some(_)) => return Err(Refusal::content("several kinds of content")),
        (Some(changes), None) => (changes, Target::Devices),
        (None, Some(changes)) => (changes, Target::Modules),
        (None, None) => return Ok(()),
    };
    if let Some(target) = target.filter(|target| *target != kind) {
        let text = format!("the target condition selects {target}, the content is for {kind}");
        return Err(Refusal::content(text));
    }
    for (key, value) in changes {
        let Some(path) = content_path(key) else {
            let text = format!("`{key}` does not begin with `properties.desired`");
            return Err(Refusal::content(text));
        };
        if path.is_empty() && !value.is_object() {
            return Err(Refusal::content(format!("`{key}` is not a JSON object")));
        }
    }
    let body = compiled::body(changes);
    check_patch(&body).map_err(|error| Refusal::content(error.to_string()))?;
    check_size("content", &body, MAX_SECTION_BYTES)
        .map_err(|error| Refusal::content(error.to_string()))
}

fn already_exists(id: &str) -> Refusal {
    let text = format!("A configuration with ID '{id}' already exists.");
    Refusal::named(409, "ConfigurationAlreadyExists", text)
}

fn target_refusal(message: String) -> Refusal {
    Refusal::named(400, "InvalidConfigurationTargetCondition", message)
}

fn metrics_refusal(message: String) -> Refusal {
    Refusal::named(400, "InvalidConfigurationCustomMetricsQuery", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(change: Value) -> Result<ConfigurationRecord, Refusal> {
        let mut body = json!({"content": {"deviceContent": {"properties.desired.a": 1}},
            "targetCondition": "*"});
        let Value::Object(change) = change else { panic!() };
        body.as_object_mut().unwrap().extend(change);
        let Value::Object(body) = body else { panic!() };
        written(parse("c1", body)?, None, "now".to_owned())
    }

    #[test]
    fn an_etag_without_quotes_creates_and_does_not_update() {
        for header in [None, Some(""), Some("\"\""), Some("MQ==")] {
            assert_eq!(WriteCondition::of_put(header), WriteCondition::New, "{header:?}");
        }
        let any = WriteCondition::Match(IfMatch::Any);
        assert_eq!(WriteCondition::of_put(Some("*")), any);
        assert_eq!(WriteCondition::of_put(Some("\"*\"")), any);
        let record = request(json!({})).unwrap();
        assert_eq!(record.etag(), "MQ==");
        assert!(WriteCondition::of_put(Some("\"MQ==\"")).check("c1", Some(&record)).is_ok());
        let stale = WriteCondition::of_put(Some("\"Mg==\"")).check("c1", Some(&record));
        assert!(matches!(stale, Err(Refusal::Hub(error)) if error.code.http_status() == 412));
    }

    #[test]
    fn the_content_is_immutable_and_all_else_can_change() {
        let first = request(json!({"labels": {"a": "b"}})).unwrap();
        let body = json!({"content": {"deviceContent": {"properties.desired.a": 1},
            "moduleContent": {}, "modulesContent": {}}, "priority": 7});
        let Value::Object(body) = body else { panic!() };
        let requested = parse("c1", body.clone()).unwrap();
        let second = written(requested, Some(&first), "later".to_owned()).unwrap();
        assert_eq!((second.priority, second.etag().as_str()), (7, "Mg=="));
        assert_eq!((second.created.as_str(), second.updated.as_str()), ("now", "later"));
        let mut other = body;
        other["content"]["deviceContent"]["properties.desired.a"] = json!(2);
        let refused = written(parse("c1", other).unwrap(), Some(&first), String::new());
        assert!(refused.is_err());
    }

    #[test]
    fn an_invalid_configuration_is_refused_with_the_reason() {
        let queries = |count: usize| {
            let query = |n| (format!("m{n}"), json!("select * from devices"));
            json!({"metrics": {"queries": (0..count).map(query).collect::<Map<_, _>>()}})
        };
        assert!(request(queries(5)).is_ok());
        for (change, reason) in [
            (json!({"id": "c2"}), "the id in the body differs"),
            (json!({"priority": -1}), "priority is negative"),
            (json!({"priority": "high"}), "configuration: invalid type"),
            (json!({"labels": {"a": 1}}), "configuration: invalid type"),
            (json!({"targetCondition": "deviceId IN ['a']"}), "It contains: IN"),
            (json!({"targetCondition": "tags.a ="}), "BadRequest, query, character"),
            (json!({"content": {}}), "the content is empty"),
            (json!({"content": {"deviceContent": {"a": 1}}}), "`a` does not begin with"),
            (json!({"content": {"deviceContent": {"properties.desired": 1}}}), "not a JSON object"),
            (json!({"content": {"deviceContent": {"properties.desired.$a": 1}}}), "$a"),
            (json!({"content": {"modulesContent": {"m": {}}}}), "not modulesContent"),
            (
                json!({"targetCondition": "FROM devices.modules WHERE moduleId = 'm'"}),
                "the target condition selects modules, the content is for devices",
            ),
            (queries(6), "6 custom metrics; at most 5 are allowed"),
            (json!({"metrics": {"queries": {"m": "selec"}}}), "m: query, character 1"),
        ] {
            let message = match request(change.clone()).unwrap_err() {
                Refusal::Hub(error) => error.message,
                Refusal::Named { message, .. } => message,
            };
            assert!(message.contains(reason), "{change}: {message}");
        }
    }
}
