//! The expectations of a case, and their comparison with the outcome of its call.

use std::fmt;
use std::marker::PhantomData;

use json::placeholder::{ANY, REST};
use protocol::twin::merge_patches;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::compare::{Difference, compare, difference, matches};
use super::metrics::{ActualMetrics, Metric};
use super::{log_diff, positions};
use crate::desk::{Action, Outcome, milliseconds, object, text};

/// The keys of [`Expect`], in the order in which differences are shown. The keys that the
/// caller of a method sees come first.
const KEYS: [&str; 13] = [
    "status",
    "answer",
    "error",
    "message",
    "reported",
    "log",
    "took_ms",
    "telemetry",
    "state",
    "jobs",
    "ran",
    "metrics",
    "reboot",
];

/// The expectations of a case. Missing keys are not compared. If both `status` and `error`
/// are missing, the call must succeed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The status that the caller of a method receives, from the plugin or from the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The payload of the answer, which can be `null`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// The identifier of the error: `refused`, `deadline-exceeded` or another identifier listed
    /// in ARCHITECTURE.md. For a job or a change, it can also be `retry`, `rejected` or `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The one-line message that belongs to `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// All reported patches of the call and its jobs, merged into one; `{}` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Map<String, Value>>,
    /// The lines of the log: messages, or objects with some of `level`, `message` and
    /// `fields`. The string `...` matches any number of lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<Value>>,
    /// The duration of the call in milliseconds of virtual time, without its jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// The sent messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Vec<Listed<Message>>>,
    /// The plugin's state after the call and its jobs: keys and their values as strings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Map<String, Value>>,
    /// The scheduled jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Vec<Listed<Job>>>,
    /// The runs of jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ran: Option<Vec<Listed<Run>>>,
    /// The metrics that were updated, in the order of their names and labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<Listed<Metric>>>,
    /// The requested reboot; `null` for none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub reboot: Option<Option<Reboot>>,
}

/// An item of a list, or the string `...`, which stands for any number of items.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Listed<T> {
    /// The string `...`.
    Rest(&'static str),
    /// An item.
    Item(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Listed<T>, D::Error> {
        struct ListedVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListedVisitor<T> {
            type Value = Listed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or \"...\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Listed<T>, E> {
                match text {
                    REST => Ok(Listed::Rest(REST)),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listed<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Listed::Item)
            }
        }

        json.deserialize_any(ListedVisitor(PhantomData))
    }
}

/// A sent message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The body: the JSON value if it is valid JSON, otherwise a string.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The content type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The application properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Map<String, Value>>,
}

/// A scheduled job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The job's id: `job-1` for the first job of a case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The job's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The job's payload.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The time when the job is due: `after-response`, `after-delay 5000 ms` or `after-boot
    /// within 60000 ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The outcome of each run in the same step: `done`, `again in 1000 ms` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Vec<String>>,
}

/// A run of a job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The job's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The job's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number of the run, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// The outcome: `done`, `again in 1000 ms` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// A requested reboot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reboot {
    /// The delay after the request, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// The reason given by the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Deserialises a key that is present, so that `null` differs from a missing key.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    json: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(json).map(Some)
}

impl Expect {
    /// Returns `true` if nothing is expected.
    pub(super) fn is_empty(&self) -> bool {
        json!(self) == json!({})
    }

    /// Checks the rules that the types do not enforce.
    pub(super) fn check(&self) -> Result<(), String> {
        for (index, line) in self.log.iter().flatten().enumerate() {
            log_diff::check(line).map_err(|reason| format!("expect.log[{index}]: {reason}"))?;
        }
        Ok(())
    }

    /// Returns the differences between the expectations and an outcome.
    pub(super) fn compare(&self, outcome: &Outcome) -> Vec<Difference> {
        let mut differences = Vec::new();
        let found = ActualValues::new(outcome);
        if self.status.is_none() && self.error.is_none() && outcome.answer.is_err() {
            let reason = [&found.value["error"], &found.value["message"]]
                .map(|v| v.as_str().unwrap_or_default())
                .join(": ");
            differences.push(difference("error", None, Some(&reason.into())));
        }
        let Value::Object(expected) = json!(self) else { unreachable!("a struct is an object") };
        for (key, expected) in KEYS.iter().filter_map(|key| Some((*key, expected.get(*key)?))) {
            match (key, expected, found.value.get(key)) {
                ("log", Value::Array(lines), _) => {
                    let lines = log_diff::compare(lines, &found.log);
                    differences.extend(lines.map(|lines| Difference::Log { at: "log", lines }));
                }
                // The outcomes of jobs are failures too.
                ("jobs" | "ran", _, Some(found))
                    if matches(
                        &in_part(&positions::without(expected)),
                        &positions::without(found),
                    ) => {}
                ("telemetry" | "jobs" | "ran" | "metrics" | "reboot", _, Some(found)) => {
                    compare(key, &in_part(expected), found, &mut differences);
                }
                ("message", _, Some(found))
                    if matches(&positions::without(expected), &positions::without(found)) => {}
                (_, _, Some(found)) => compare(key, expected, found, &mut differences),
                (_, _, None) => differences.push(difference(key, Some(expected), None)),
            }
        }
        differences
    }
}

/// An outcome under the keys of [`Expect`].
struct ActualValues {
    value: Value,
    log: Vec<Value>,
}

impl ActualValues {
    fn new(outcome: &Outcome) -> ActualValues {
        let (mut log, mut telemetry) = (Vec::new(), Vec::new());
        let (mut jobs, mut runs) = (Vec::new(), Vec::new());
        let (mut reported, mut reboot) = (Map::new(), Value::Null);
        let mut metrics = ActualMetrics::default();
        for event in &outcome.events {
            match &event.action {
                Action::Log { level, message, fields } => {
                    log.push(json!({"level": level, "message": message, "fields": object(fields)}));
                }
                Action::Reported(patch) if merge_patches(&mut reported, patch) => {}
                // If the patches cannot be merged, the later one wins.
                Action::Reported(patch) => reported.extend(patch.clone()),
                Action::Sent { content_type, body, properties } => telemetry.push(json!({
                    "body": as_json(body), "content_type": content_type, "properties": object(properties),
                })),
                Action::JobAsked { id, name, payload, when } => {
                    let outcomes = outcome.events.iter().filter_map(|later| match &later.action {
                        Action::JobRan { id: ran, outcome, .. } if ran == id => Some(outcome),
                        _ => None,
                    });
                    jobs.push(json!({
                        "id": id, "name": name, "payload": as_json(payload), "when": when,
                        "outcomes": outcomes.collect::<Vec<_>>(),
                    }));
                }
                Action::JobRan { id, name, run, outcome } => {
                    runs.push(json!({"id": id, "name": name, "run": run, "outcome": outcome}));
                }
                Action::RebootAsked { delay_ms, reason } if reboot.is_null() => {
                    reboot = json!({"delay_ms": delay_ms, "reason": reason});
                }
                action => metrics.add(action),
            }
        }
        let state: Map<String, Value> =
            outcome.state.iter().map(|(key, value)| (key.clone(), text(value).into())).collect();
        let took_ms = milliseconds(outcome.took);
        let mut value = json!({
            "reported": reported, "took_ms": took_ms, "telemetry": telemetry, "state": state,
            "jobs": jobs, "ran": runs, "metrics": metrics.into_values(), "reboot": reboot,
        });
        match &outcome.answer {
            Ok(Some(answer)) => {
                value["status"] = answer.status.into();
                value["answer"] =
                    answer.payload.as_ref().map_or(Value::Null, |json| as_json(json.get()));
            }
            Ok(None) => {}
            Err(error) => {
                if let Some(status) = error.status() {
                    value["status"] = status.into();
                }
                value["error"] = error.code().into();
                value["message"] = error.message().into();
            }
        }
        ActualValues { value, log }
    }
}

fn as_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Returns an expected value that allows other members, since a case can describe a message,
/// a job or a reboot in part.
fn in_part(expected: &Value) -> Value {
    match expected {
        Value::Object(members) => {
            let mut members = members.clone();
            members.insert(REST.to_owned(), ANY.into());
            Value::Object(members)
        }
        Value::Array(items) => items.iter().map(in_part).collect(),
        other => other.clone(),
    }
}
